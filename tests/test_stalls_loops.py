"""Stalls among the tasks of an event loop (FL031): proven where the loop, and everything else in the process, has nothing to run."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from support import answer, run_program

SETUP = """
import asyncio, concurrent.futures, ctypes, json, os, queue, signal, sys, threading, time
import fastlock
from support import *

def act(finding):
    agents = [[agent.kind, agent.name.partition(' ')[0], [site.function for site in agent.stack]] for agent in finding.agents]
    print(json.dumps([finding.code, finding.tier, finding.explanation, finding.fix, list(finding.reasons), agents]), flush=True)
    os._exit(0)

fastlock.configure(slow_wait=0.05, on_deadlock=act)
"""
INSTALL = SETUP + "fastlock.install()\n"


def stalled(source: str, setup: str = INSTALL) -> Any:
    """Return what the proven stall of a program says: explanation, fix, reasons and agents."""
    code, tier, *told = answer(run_program(setup + source))
    assert (code, tier) == ("FL031", "proven")
    assert any(reason.startswith("nothing in the process can run") for reason in told[2])
    return told


LOOP_RESTS = "the loop of MainThread has nothing to run: no callback, no timer, and no socket, pipe or process"


def test_a_worker_that_died_keeps_join_waiting() -> None:
    """The worker of an asyncio.Queue has ended with an exception that nobody has taken: both are told."""
    explanation, fix, reasons, agents = stalled(
        """
async def worker(jobs):
    while True:
        if await jobs.get() == 2:
            raise ValueError("two")
        jobs.task_done()

async def main():
    jobs = asyncio.Queue()
    task = asyncio.create_task(worker(jobs), name="w1")
    for number in range(5):
        jobs.put_nowait(number)
    await jobs.join()

asyncio.run(main())
"""
    )
    assert 'waits in asyncio.Queue.join on jobs, 3 unfinished, at program.py:' in explanation
    assert "task_done() of jobs" in fix
    assert LOOP_RESTS in reasons
    assert any(reason.startswith('w1 "worker" has ended with ValueError at program.py:') for reason in reasons)
    assert [agent[0] for agent in agents] == ["task"]
    assert agents[0][2] == ["main", "Queue.join" if sys.version_info >= (3, 11) else "join"]


def test_a_consumer_whose_producers_have_ended() -> None:
    """An end marker that is never sent."""
    explanation, fix, _, _ = stalled(
        """
async def producer(jobs):
    for number in range(3):
        await jobs.put(number)

async def main():
    jobs = asyncio.Queue()
    feeding = asyncio.create_task(producer(jobs))
    while await jobs.get() is not None:
        pass

asyncio.run(main())
"""
    )
    assert "waits in asyncio.Queue.get on jobs, empty, at program.py:" in explanation
    assert "who puts into it is not known" in explanation
    assert "end marker" in fix


def test_a_consumer_that_puts_into_its_own_full_queue() -> None:
    """The only one who takes from the queue waits for room in it."""
    explanation, _, _, _ = stalled(
        """
async def main():
    jobs = asyncio.Queue(2)
    for number in range(3):
        await jobs.put(number)

asyncio.run(main())
"""
    )
    assert "waits in asyncio.Queue.put on jobs, 2 of 2, at program.py:" in explanation


def test_an_event_whose_setter_has_ended() -> None:
    """Who was to set it ended before."""
    explanation, fix, _, _ = stalled(
        """
async def setter(ready, fails):
    if not fails:
        ready.set()

async def main():
    ready = asyncio.Event()
    asyncio.create_task(setter(ready, True))
    await ready.wait()

asyncio.run(main())
"""
    )
    assert "waits for ready at program.py:" in explanation and "nobody has set it so far" in explanation
    assert fix.startswith("set ready on every way out")


def test_who_has_waked_before_is_the_loops_thread() -> None:
    """An event that has been set before: what is known is in which thread."""
    explanation, _, _, _ = stalled(
        """
async def main():
    ready = asyncio.Event()
    ready.set()
    await ready.wait()
    ready.clear()
    await ready.wait()

asyncio.run(main())
"""
    )
    assert "Who has set it so far: MainThread, which has nothing to run in its loop" in explanation


def test_a_condition_without_a_notifier() -> None:
    """The notification came before the wait."""
    explanation, _, _, _ = stalled(
        """
async def main():
    ready = asyncio.Condition()

    async def waits():
        async with ready:
            await ready.wait()

    await asyncio.gather(waits(), waits())

asyncio.run(main())
"""
    )
    assert "wait for ready" in explanation and "nobody has notified it so far" in explanation


def test_a_barrier_short_of_a_party() -> None:
    """One of three has failed on its way."""
    explanation, _, _, agents = stalled(
        """
async def party(gate, fails):
    if fails:
        raise ValueError
    await gate.wait()

async def main():
    gate = fastlock.aio.Barrier(3)
    await asyncio.wait([asyncio.ensure_future(party(gate, number == 1)) for number in range(3)])

import fastlock.aio
asyncio.run(main())
"""
    )
    assert "has come to it" in explanation
    assert len([agent for agent in agents if agent[0] == "task"]) == 3


def test_a_future_that_nobody_completes() -> None:
    """A bare future: its line is told."""
    explanation, fix, _, agents = stalled(
        """
async def main():
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""
    )
    assert "waits for a future at program.py:" in explanation and "who completes it is not known" in explanation
    assert fix.startswith("complete a future on every way out")
    assert agents[0][2] == ["main"]


@pytest.mark.parametrize(
    "awaits",
    [
        "await asyncio.gather(one, other)",
        "await asyncio.wait([one, other])",
        "await one",
        "await asyncio.shield(one)",
        pytest.param("async with asyncio.TaskGroup() as group: group.create_task(waits(jobs))", marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="no TaskGroup")),
    ],
)
def test_who_awaits_tasks_that_stand_still(awaits: str) -> None:
    """The main task is told with the tasks that it awaits, and what those wait for."""
    explanation, _, _, _ = stalled(
        f"""
async def waits(jobs):
    await jobs.get()

async def main():
    jobs = asyncio.Queue()
    one, other = asyncio.ensure_future(waits(jobs)), asyncio.ensure_future(waits(jobs))
    {awaits}

asyncio.run(main())
"""
    )
    assert "which comes from" in explanation
    assert "which waits in asyncio.Queue.get on jobs, empty" in explanation


def test_a_job_in_a_thread_that_waits_for_the_loop() -> None:
    """A task awaits a job of the executor, which waits for an event that a task was to set."""
    explanation, _, _, agents = stalled(
        """
go = threading.Event()

async def main():
    await asyncio.get_running_loop().run_in_executor(None, go.wait)

asyncio.run(main())
"""
    )
    assert "waits for go" in explanation and "which comes from" in explanation
    assert {agent[0] for agent in agents} == {"task", "thread"}


def test_a_lock_whose_holder_awaits_what_never_comes() -> None:
    """Who waits for the lock is told with its holder, and what that one awaits."""
    explanation, _, _, _ = stalled(
        """
async def holds(lock):
    async with lock:
        await asyncio.get_running_loop().create_future()

async def wants(lock):
    async with lock:
        pass

async def main():
    lock = asyncio.Lock()
    await asyncio.gather(holds(lock), wants(lock))

asyncio.run(main())
"""
    )
    assert "waits for lock" in explanation and "held by" in explanation and "which waits for a future" in explanation


def test_a_thread_that_waits_for_a_coroutine_of_a_loop_at_rest() -> None:
    """The main thread waits for the result of a task in another thread's loop, which waits for an event."""
    explanation, _, reasons, agents = stalled(
        """
loop = asyncio.new_event_loop()
start(loop.run_forever, name="loop")

async def waits():
    await asyncio.Event().wait()

asyncio.run_coroutine_threadsafe(waits(), loop).result()
"""
    )
    assert "MainThread waits for result of waits()" in explanation
    assert "the loop of loop has nothing to run" in " ".join(reasons)
    assert {agent[0] for agent in agents} == {"task", "thread"}


@pytest.mark.parametrize("wait", ["asyncio.Event().wait()", "asyncio.Condition().acquire()", "asyncio.Semaphore(0).acquire()", "asyncio.Queue().get()"])
def test_asyncios_own_primitives(wait: str) -> None:
    """Without install() nothing of ours is in the loop, and the stall is told all the same."""
    source = f"""
async def main():
    primitive = {wait.partition('(')[0]}({'0' if 'Semaphore' in wait else ''})
    if hasattr(primitive, "locked"):
        await primitive.acquire() if not primitive.locked() else None
    await primitive.{wait.rpartition('.')[2]}

asyncio.run(main())
"""
    explanation, _, _, _ = stalled(source, SETUP)
    assert explanation.startswith('Task-1 "main" waits')


def test_many_tasks_are_counted() -> None:
    """Of thousands a few are told."""
    explanation, _, _, agents = stalled(
        """
async def main():
    jobs = asyncio.Queue()
    await asyncio.gather(*[jobs.get() for _ in range(3000)])

asyncio.run(main())
"""
    )
    assert "2,999 more wait" in explanation or "more wait" in explanation
    assert len(agents) <= 30


# ---- who may run ------------------------------------------------------------------------------

# Runs a loop, looks for stalls at each check of the loops, and tells what was found after six of them.
CHECKED = """
from fastlock import resting, stalls
checks = []
check = resting.check

def counted():
    check()
    checks.append([event["tier"] for event in stalls.find(time.monotonic_ns())])
    if len(checks) == 6:
        tell([len(fastlock.findings()), checks])

resting.check = counted
"""
HEALTHY = {
    "server": "server = await asyncio.start_server(lambda *_: None, '127.0.0.1', 0); await ready.wait()",
    "timer": "loop.call_later(60, ready.set); await ready.wait()",
    "sleep": "await asyncio.sleep(60)",
    "timeout": "await asyncio.wait_for(ready.wait(), 60)",
    "signal handler": "loop.add_signal_handler(signal.SIGUSR1, ready.set); await ready.wait()",
    "handler of signal's": "signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon_threadsafe(ready.set)); await ready.wait()",
    "thread": "start(lambda: (time.sleep(60), loop.call_soon_threadsafe(ready.set))); await ready.wait()",
    "job": "await loop.run_in_executor(None, time.sleep, 60)",
    "process": "process = await asyncio.create_subprocess_exec('sleep', '60', stdout=-3, stderr=-3); await process.wait()",
    "pipe of a process": "process = await asyncio.create_subprocess_exec('sleep', '60', stdout=-1, stderr=-3); await process.communicate()",
    "reader": "reading, writing = os.pipe(); loop.add_reader(reading, ready.set); await ready.wait()",
    "c code": """
    libc, number = ctypes.CDLL(None), ctypes.c_ulong()
    libc.pthread_create(ctypes.byref(number), None, ctypes.cast(libc.sleep, ctypes.c_void_p), ctypes.c_void_p(60))
    await ready.wait()""",
    "declared": "await declared()",
    "busy": """
    while True:
        await asyncio.sleep(0)""",
    "ready again": """
    def turn():
        loop.call_later(0.001, turn)
    turn()
    await ready.wait()""",
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_whoever_may_give_the_loop_something_to_run(kind: str) -> None:
    """An event that nobody has set is no stall as long as the loop waits for anything, or some thread runs."""
    found, checks = answer(
        run_program(
            f"""{INSTALL}{CHECKED}
async def declared():
    async with fastlock.waiting_for("the database"):
        await asyncio.get_running_loop().create_future()

async def main():
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    {HEALTHY[kind]}

asyncio.run(main())
"""
        )
    )
    assert (found, checks) == (0, [[]] * 6)


def test_a_loop_of_another_making_may_run() -> None:
    """uvloop does not say what it waits for."""
    pytest.importorskip("uvloop")
    source = f"""{INSTALL}{CHECKED}
import uvloop

async def main():
    await asyncio.Event().wait()

resting._begins()      # what it does not say, either
uvloop.run(main()) if hasattr(uvloop, "run") else None
"""
    found, checks = answer(run_program(source))
    assert (found, checks) == (0, [[]] * 6)


def test_a_loop_with_a_selector_of_the_programs_may_run() -> None:
    """What its select() waits for beside what is registered is not known."""
    source = f"""{INSTALL}{CHECKED}
import selectors

class Selector(selectors.DefaultSelector):
    def select(self, timeout=None):
        return super().select(timeout)

async def main():
    await asyncio.Event().wait()

asyncio.SelectorEventLoop(Selector()).run_until_complete(main())
"""
    found, checks = answer(run_program(source))
    assert (found, checks) == (0, [[]] * 6)


def test_a_loop_that_has_run_between_two_looks_has_not_rested() -> None:
    """still() sees that select() is another call, though the loop rests again."""
    source = INSTALL + """
from fastlock import chains, resting
loop = asyncio.new_event_loop()
thread = start(loop.run_forever)

def rested():
    with chains.frames_now() as frames:
        return resting.loops(frames)

wait_until(rested)
with chains.frames_now() as before:
    rests = resting.loops(before)
    with chains.frames_now() as same:
        steady = resting.still(rests, before, same)
    ran = threading.Event()
    loop.call_soon_threadsafe(ran.set)
    ran.wait()
    wait_until(rested)
    with chains.frames_now() as after:
        told = [list(rests) == [thread.ident], steady, resting.still(rests, before, after)]
tell(told)
"""
    assert answer(run_program(source)) == [True, True, False]


def test_what_is_lent_is_taken_back() -> None:
    """A look publishes what the tasks await, and leaves nothing behind; a loop that goes on then comes to its end."""
    source = INSTALL + """
from fastlock import chains, resting
loop = asyncio.new_event_loop()
start(loop.run_forever)
jobs = asyncio.Queue()
taken = asyncio.run_coroutine_threadsafe(jobs.get(), loop)

def lent():
    with chains.frames_now() as frames:
        loops = resting.loops(frames)
        return resting.lend(loops, frames) if loops else None

waits, more = wait_until(lent)
during = len([wait for wait in fastlock.snapshot().waits if wait.what == "await"])
loop.call_soon_threadsafe(jobs.put_nowait, 7)
result = taken.result(30)
del waits
wait_until(lambda: not fastlock.snapshot().waits)
tell([during, more, result])
"""
    assert answer(run_program(source)) == [1, 0, 7]


def test_a_stall_stands_until_the_loop_runs_again() -> None:
    """It is told once, /livez and the like see it for as long as the loop has run nothing, and no longer."""
    source = INSTALL.replace(", on_deadlock=act", "") + """
from fastlock import circles
loop = asyncio.new_event_loop()
jobs = asyncio.Queue()
said = []

def watch(finding):
    said.append(len(circles.standing()))
    loop.call_soon_threadsafe(jobs.put_nowait, 1)

fastlock.on_finding(watch, codes=["FL031"])
asyncio.set_event_loop(loop)
loop.run_until_complete(jobs.get())
tell([said, len(circles.standing()), [finding.count for finding in fastlock.findings()]])
"""
    assert answer(run_program(source)) == [[1], 0, [1]]


def test_ctrl_c_is_no_handler_of_the_programs() -> None:
    """asyncio.run() installs one from 3.11 on, which does what the interpreter's own does; the process still can be interrupted."""
    source = INSTALL.replace("on_deadlock=act", "on_deadlock=lambda finding: os.kill(os.getpid(), signal.SIGINT)") + """
async def main():
    await asyncio.Event().wait()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    tell([finding.tier for finding in fastlock.findings()])
"""
    assert answer(run_program(source)) == ["proven"]


# ---- a loop that runs ---------------------------------------------------------------------------

# Another task runs all the time. `waits` is awaited by the main task, and woken by `wakes`; tells the stalls of the first looks that come late enough.
BUSY = (
    SETUP.replace(", on_deadlock=act", "")
    + """
fastlock.install()
from fastlock import resting, stalls

def told():
    return [[finding.tier, finding.explanation, list(finding.reasons)] for finding in fastlock.findings() if finding.code == "FL031"]

async def runs():
    began = time.monotonic()
    while not told() and time.monotonic() < began + limit_s:
        await asyncio.sleep(0.005)
    tell(told())

async def waiter(ready):
    while True:
        await ready.wait()
        ready.clear()

async def notified(ready):
    while True:
        async with ready:
            await ready.wait()

async def setter(ready, times=4):
    for _ in range(times):
        ready.set()
        await asyncio.sleep(0.01)

async def notifier(ready):
    for _ in range(4):
        async with ready:
            ready.notify_all()
        await asyncio.sleep(0.01)
"""
)


@pytest.mark.parametrize(("kind", "waits", "wakes", "has"), [("Event", "waiter", "setter", "set"), ("Condition", "notified", "notifier", "notified")])
def test_who_has_waked_so_far_has_ended(kind: str, waits: str, wakes: str, has: str) -> None:
    """While other tasks run it is only possible, and comes after ten times slow_wait; the task that is gone is named."""
    ((tier, explanation, reasons),) = answer(
        run_program(
            f"""{BUSY}
limit_s = 30

async def main():
    ready = asyncio.{kind}()
    waiting, waking = asyncio.create_task({waits}(ready), name="waits"), asyncio.create_task({wakes}(ready), name="wakes")
    busy = asyncio.create_task(runs())
    await waiting

asyncio.run(main())
"""
        )
    )
    assert tier == "possible"
    assert f'Who has {has} it so far: task "wakes", which has ended' in explanation
    assert "assumed: nobody wakes who waits for ready but who has so far" in reasons


SILENT = {
    "the waker lives": "waking = asyncio.create_task(both(ready)); await waiter(ready)",
    "woken too rarely": "waking = asyncio.create_task(setter(ready, 2)); await waiter(ready)",
    "woken by timers": "[loop.call_later(0.01 * number, ready.set) for number in range(4)]; await waiter(ready)",
    "woken by another thread": "start(lambda: [loop.call_soon_threadsafe(ready.set) for _ in range(4)]); await waiter(ready)",
    "woken by a handler": "loop.add_signal_handler(signal.SIGUSR1, ready.set); waking = asyncio.create_task(setter(ready)); await waiter(ready)",
    "woken by who come and go": "[await asyncio.create_task(setter(ready, 1)) for _ in range(5)]; await waiter(ready)",
    "idle": "waking = asyncio.create_task(setter(ready)); idle = asyncio.create_task(waiter(ready)); await asyncio.sleep(60)",
    "with a timeout": "waking = asyncio.create_task(setter(ready)); await asyncio.wait_for(waiter(ready), 60)",
}


@pytest.mark.parametrize("how", SILENT)
def test_who_may_still_wake(how: str) -> None:
    """Nothing is said while it is not known that whoever has woken the waiter so far has ended."""
    source = f"""{BUSY}
limit_s = 2

async def both(ready):
    await setter(ready)
    await asyncio.sleep(60)

async def main():
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    busy = asyncio.create_task(runs())
    {SILENT[how]}

asyncio.run(main())
"""
    assert answer(run_program(source)) == []


def test_who_asks_is_told_of_a_running_loop_at_once() -> None:
    """find_deadlocks() does not wait for it to last, nor for three who have woken."""
    source = f"""{BUSY}
limit_s = 60
fastlock.configure(slow_wait=10)

async def main():
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    waking = asyncio.create_task(setter(ready, 1))
    asyncio.get_running_loop().call_later(0.01, asks)
    await waiter(ready)

def asks():
    start(lambda: tell([finding.tier for finding in wait_until(fastlock.find_deadlocks)]))
    asyncio.get_running_loop().call_later(60, print)

asyncio.run(main())
"""
    assert answer(run_program(source)) == ["possible"]


# ---- fastlock's own thread ------------------------------------------------------------------------


def test_a_fork_beside_a_loop_is_not_warned_of() -> None:
    """The thread that looks at loops has ended before a fork, which the interpreter would warn of from 3.12 on, and looks again afterwards."""
    source = f"""
import warnings
warnings.simplefilter("error")
{INSTALL}
from fastlock import resting

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)[1]

async def main():
    await asyncio.sleep(0)
    return fork()

statuses = [asyncio.run(main()), fork()]
checks = []
check = resting.check
resting.check = lambda: (check(), checks.append(None))

async def looks():
    fork()
    while not checks:
        await asyncio.sleep(0.01)

asyncio.run(looks())
tell([statuses, bool(checks)])
"""
    assert answer(run_program(source)) == [[0, 0], True]
