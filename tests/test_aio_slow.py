"""FL020 of tasks: fastlock's own thread times what has no thread to time it."""

from __future__ import annotations

import pytest

from support import answer, run_program

PRELUDE = """
import asyncio, threading
import fastlock
from fastlock import _late, aio, watchdog
from support import *
def codes():
    watchdog.flush(90)
    return [(finding.code, finding.tier) for finding in fastlock.findings()]
async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)
"""


def ask(source: str, **options: object) -> object:
    """Run a program behind PRELUDE; return what it told."""
    return answer(run_program(PRELUDE + source, **options))


IDLE = """
async def settle():
    await until(fastlock.findings)
"""
BLOCKED = """
async def settle():
    found("FL020")          # blocks the loop's thread meanwhile
"""


@pytest.mark.parametrize("settle", [IDLE, BLOCKED], ids=["idle", "blocked"])
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_long_wait_names_the_owner(settle: str, kind: str) -> None:
    """After slow_wait the wait is told with both sites, once, whether the loop is idle or blocked, and goes on."""
    told = ask(
        settle
        + f"""
fastlock.configure(slow_wait=0.03)
lock = aio.{kind}(name="lock")
async def owner(end):
    async with lock:
        await end.wait()
async def waiter():
    async with lock:
        return "got"
async def main():
    end = asyncio.Event()
    tasks = [asyncio.create_task(owner(end), name="owner")]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(waiter(), name="waiter"))
    await asyncio.sleep(0)
    await settle()
    await asyncio.sleep(0.1)
    end.set()
    return (await asyncio.gather(*tasks))[1]
said = asyncio.run(main())
finding, = fastlock.findings()
waits, holds = finding.edges
tell([said, finding.code, finding.tier, finding.count, [agent.name for agent in finding.agents], waits.since_s >= 0.03,
      waits.wanted_at.text, holds.held_at.text, waits.wanted_at.function, finding.clears])
"""
    )
    assert told == ["got", "FL020", "measured", 1, ["waiter", "owner"], True, "async with lock:", "async with lock:", "waiter", False]


def test_what_nobody_holds_may_be_waited_for_however_long() -> None:
    """Events, conditions, queues and awaited tasks are waited for by design: no finding, and nobody has to look."""
    told = ask(
        """
fastlock.install()
fastlock.configure(slow_wait=0.02)
async def in_condition(condition):
    async with condition:
        await condition.wait()
async def main():
    event, condition, queue, lock = asyncio.Event(), asyncio.Condition(), asyncio.Queue(), asyncio.Lock()
    tasks = [asyncio.create_task(wait) for wait in (event.wait(), in_condition(condition), queue.get())]
    async with lock:
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
asyncio.run(main())
tell([codes(), _late.due_ns()])
"""
    )
    assert told == [[], -1]


def test_short_waits_are_silent_and_the_clock_stops() -> None:
    """A wait that ends in time is no finding; with no task waiting, nobody looks any more after the next look."""
    told = ask(
        """
fastlock.configure(slow_wait=0.05)
lock = aio.Lock()
async def member():
    async with lock:
        await asyncio.sleep(0)
async def main():
    idle = _late.due_ns()
    tasks = [asyncio.create_task(member()) for _ in range(5)]
    await asyncio.sleep(0)
    armed = _late.due_ns() > 0
    await asyncio.gather(*tasks)
    await until(lambda: _late.due_ns() == -1)
    return idle, armed
tell([asyncio.run(main()), codes()])
"""
    )
    assert told == [[-1, True], []]


def test_one_arm_for_many_waits() -> None:
    """Waits wake fastlock's thread only where it would look too late: the first one does, later ones do not."""
    told = ask(
        """
lock, wakes = aio.Lock(), []
_late.set_waker(lambda: wakes.append(1))
async def member():
    async with lock:
        await asyncio.sleep(0)
async def main():
    await asyncio.gather(*(member() for _ in range(50)))
    first = _late.due_ns()
    await asyncio.gather(*(member() for _ in range(50)))
    return first == _late.due_ns()
tell([asyncio.run(main()), len(wakes)])
"""
    )
    assert told == [True, 1]


def test_many_waiters_of_one_line_are_one_finding() -> None:
    """A thousand tasks that wait in one line are one finding; who else waits is counted behind it."""
    told = ask(
        """
lock = aio.Lock()
async def owner():
    async with lock:
        await until(lambda: len(lock._waiters or ()) == 1000)
        fastlock.configure(slow_wait=0.05)
        await until(fastlock.findings)
async def waiter():
    async with lock: pass
async def main():
    holding = asyncio.create_task(owner())
    await asyncio.sleep(0)
    await asyncio.gather(holding, *(waiter() for _ in range(1000)))
asyncio.run(main())
tell([codes(), [(finding.count < 20, finding.behind) for finding in fastlock.findings()]])
"""
    )
    assert told == [[["FL020", "measured"]], [[True, 999]]]


def test_a_shorter_limit_counts_for_waits_that_last_already() -> None:
    """configure(slow_wait=) in the middle of a wait times it anew."""
    told = ask(
        """
lock = aio.Lock()
async def waiter():
    async with lock: pass
async def main():
    async with lock:
        task = asyncio.create_task(waiter())
        await asyncio.sleep(0)
        silent = codes()
        fastlock.configure(slow_wait=0.01)
        await until(fastlock.findings)
    await task
    return silent
tell([asyncio.run(main()), codes()])
"""
    )
    assert told == [[], [["FL020", "measured"]]]


def test_off_means_off() -> None:
    """At level off nothing is told; when the level rises, a wait that lasts is."""
    told = ask(
        """
fastlock.configure(level="off", slow_wait=0.01)
lock = aio.Lock()
async def waiter():
    async with lock: pass
async def main():
    async with lock:
        task = asyncio.create_task(waiter())
        await asyncio.sleep(0.05)
        silent = codes()
        fastlock.set_level("detect")
        await until(fastlock.findings)
    await task
    return silent
tell([asyncio.run(main()), codes()])
"""
    )
    assert told == [[], [["FL020", "measured"]]]


def test_a_circle_is_not_told_as_a_long_wait_as_well() -> None:
    """Tasks of a circle that was told as it formed wait for long, of course: that is no news."""
    told = ask(
        """
fastlock.configure(slow_wait=0.03)
one, two = aio.Lock(name="one"), aio.Lock(name="two")
async def member(first, second):
    async with first:
        await asyncio.sleep(0)
        async with second: pass
async def main():
    tasks = [asyncio.create_task(member(one, two)), asyncio.create_task(member(two, one))]
    await until(fastlock.findings)
    await asyncio.sleep(0.15)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
asyncio.run(main())
tell([codes(), [finding.count for finding in fastlock.findings()]])
"""
    )
    assert told == [[["FL001", "proven"]], [1]]


def test_a_possible_circle_is_told_when_it_lasts() -> None:
    """A circle in which a Lock without evidence stands is told after slow_wait, by fastlock's thread; each once."""
    told = ask(
        """
fastlock.configure(slow_wait=0.03)
outer, inner = aio.Lock(name="outer"), fastlock.Lock(name="inner")
held, go_on = threading.Event(), threading.Event()
# A thread holds the plain Lock and waits for a task; that one waits for an aio lock of a task whose loop blocks on the plain Lock.
loops = [asyncio.new_event_loop() for _ in range(2)]
for number, loop in enumerate(loops):
    start(loop.run_forever, name=f"loop{number}")
    wait_until(loop.is_running)
fastlock.install(threading=False)
async def waits():
    async with outer: pass
async def holds():
    async with outer:
        later = asyncio.get_running_loop().create_task(waits())
        await asyncio.sleep(0)
        return later
async def keeps():
    async with outer:
        task = asyncio.get_running_loop().create_task(waits(), name="late")
        await asyncio.sleep(0)
        inner.acquire()
def first():
    inner.acquire()
    held.set()
    blocked("loop0", "late")
    async def result_of_late():
        async with outer: pass
    asyncio.run_coroutine_threadsafe(result_of_late(), loops[0]).result()
start(first, name="first")
held.wait()
asyncio.run_coroutine_threadsafe(keeps(), loops[0])
findings = wait_until(lambda: [finding for finding in fastlock.findings() if finding.code == "FL001"])
tell([findings[0].tier, sorted({lock.name for lock in findings[0].locks})])
"""
    )
    assert told[0] == "possible" and "inner" in told[1]


def test_a_fork_starts_anew() -> None:
    """In the child no task waits; its own loop's waits are timed by a thread of its own."""
    told = ask(
        """
import os
fastlock.configure(slow_wait=0.03)
lock = aio.Lock()
async def waiter(lock):
    async with lock: pass
async def long(lock):
    async with lock:
        task = asyncio.create_task(waiter(lock))
        await until(fastlock.findings)
    await task
async def main():
    async with lock:
        task = asyncio.create_task(waiter(lock))
        await asyncio.sleep(0)
        pid = os.fork()
        if pid == 0:
            def child():
                asyncio.run(long(aio.Lock()))
                os._exit(0 if codes() == [("FL020", "measured")] else 1)
            disarmed = _late.due_ns() == -1
            start(child)
            threading.Event().wait(20)
            os._exit(2)
        await until(fastlock.findings)
    await task
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
tell([asyncio.run(main()), codes()])
"""
    )
    assert told == [0, [["FL020", "measured"]]]
