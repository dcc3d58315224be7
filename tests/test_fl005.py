"""FL005: a synchronous lock held across an await, proven by a look at the very acquire, however the lock was taken."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from support import PRELUDE, answer, ask, run_program

ASYNC = """
import asyncio, contextlib
from fastlock import watchdog
def told():
    watchdog.flush(90)
    return [finding.to_dict() for finding in fastlock.findings()]
def codes():
    return [[finding["code"], finding["tier"], finding["count"]] for finding in told()]
async def pause():
    await asyncio.sleep(0)
"""


def ask_async(source: str, **options: Any) -> Any:
    """Run a program with the helpers above; it ends with tell()."""
    return ask(ASYNC + source, **options)


WAYS = {
    "with": """
async def hold():
    with lock:
        await pause()
""",
    "acquire": """
async def hold():
    lock.acquire()
    try:
        await pause()
    finally:
        lock.release()
""",
    "try": """
async def hold():
    assert lock.acquire(blocking=False)
    await pause()
    lock.release()
""",
    "timeout": """
async def hold():
    assert lock.acquire(timeout=5)
    await pause()
    lock.release()
""",
    "exit stack": """
async def hold():
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock)
        await pause()
""",
    "context manager": """
@contextlib.contextmanager
def locked():
    with lock:
        yield
async def hold():
    with locked():
        await pause()
""",
    "helper": """
def take():
    lock.acquire()
async def hold():
    take()
    await pause()
    lock.release()
""",
    "helper coroutine": """
async def take():
    lock.acquire()
async def hold():
    await take()
    await pause()
    lock.release()
""",
    "async context manager": """
@contextlib.asynccontextmanager
async def locked():
    with lock:
        yield
async def hold():
    async with locked():
        await pause()
""",
    "async generator": """
async def numbers():
    with lock:
        yield 1
async def hold():
    async for number in numbers():
        await pause()
""",
    "deeper": """
async def inner():
    with lock:
        await pause()
async def hold():
    await inner()
""",
}


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("way", WAYS)
def test_a_lock_held_across_an_await_is_proven(way: str, kind: str) -> None:
    """However it was taken: one finding of the task, with where the lock was taken and where the task is suspended."""
    findings = ask_async(
        f"""
lock = fastlock.{kind}(name="rates_lock")
{WAYS[way]}
async def main():
    await hold()
    await asyncio.create_task(hold(), name="refresh")
asyncio.run(main())
tell(told())
"""
    )
    (finding,) = findings
    assert (finding["code"], finding["tier"], finding["clears"]) == ("FL005", "proven", None)
    assert [(agent["kind"], agent["name"], agent["loop"]) for agent in finding["agents"]] == [("task", "refresh", "MainThread")]
    assert [lock["name"] for lock in finding["locks"]] == ["rates_lock"]
    (edge,) = finding["edges"]
    assert (edge["agent"], edge["holds"], edge["waits"]) == (finding["agents"][0]["id"], finding["locks"][0]["id"], None)
    frames = {(frame["function"], frame["line"]): frame["text"] for frame in finding["agents"][0]["stack"]}
    wanted = edge["wanted_at"]
    assert "await pause()" in frames[wanted["function"], wanted["line"]] or "async for" in frames[wanted["function"], wanted["line"]]
    assert finding["agents"][0]["stack"][0]["function"] == "hold"
    assert edge["held_at"]["file"].endswith("program.py")


@pytest.mark.parametrize("level", ["detect", "order"])
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_after_many_ordinary_rounds(kind: str, level: str) -> None:
    """A place that has been harmless a hundred times, where the acquire is the shortest there is, is looked at like any other."""
    assert ask_async(
        f"""
fastlock.set_level({level!r})
lock = fastlock.{kind}(name="rates_lock")
async def visit(long):
    with lock:
        if long:
            await pause()
async def main():
    for _ in range(100):
        await visit(False)
    before = codes()
    for _ in range(2):
        await visit(True)
    tell([before, codes(), lock.acquire(blocking=False)])
asyncio.run(main())
"""
    ) == [[], [["FL005", "proven", 1]], True]


def test_an_rwlock_held_exclusively_counts_and_a_share_does_not() -> None:
    """A writer's hold is proven as a lock's is; of shares it is not known which task has them."""
    assert ask_async(
        """
rw = fastlock.RWLock(name="table")
async def hold(guard):
    with guard:
        await pause()
async def main():
    for _ in range(4):
        await asyncio.create_task(hold(rw.read()))
    shares = codes()
    for _ in range(2):
        await asyncio.create_task(hold(rw.write()))
    tell([shares, codes()])
asyncio.run(main())
"""
    ) == [[], [["FL005", "proven", 1]]]


def test_the_report() -> None:
    """People read which task, which lock, since where, across which await, and what to do."""
    done = run_program(
        PRELUDE
        + ASYNC
        + """
rates_lock = fastlock.Lock()
async def fetch():
    await pause()
async def refresh():
    with rates_lock:
        await fetch()
async def main():
    for _ in range(2):
        await asyncio.create_task(refresh(), name="refresh_rates")
asyncio.run(main())
tell(told()[0]["explanation"])
"""
    )
    explanation = answer(done)
    assert explanation == (
        'Task "refresh_rates" holds rates_lock since program.py:19, and is suspended at program.py:20: another task of the '
        "loop of MainThread that wants rates_lock stops the whole loop, and with it the task that would release it."
    )
    page = done.stderr.splitlines()
    assert page[0].startswith("FL005 synchronous lock held across await: rates_lock")
    assert "    holds  rates_lock   program.py:19   with rates_lock:" in page
    assert "    await               program.py:20   await fetch()" in page
    assert any("in refresh" in line and "await fetch()" in line for line in page)
    assert any("in fetch" in line and "await pause()" in line for line in page)
    assert "  Fix           make rates_lock a fastlock.aio.Lock, or release it before the await in program.py:20" in page
    assert "detected" in page[1] and "stuck" not in page[1]


def test_one_report_for_a_fingerprint_and_few_looks() -> None:
    """A thousand holds are one report; how often it was looked at is counted, and rises with the logarithm."""
    finding, calls = ask_async(
        """
lock = fastlock.Lock()
async def hold():
    with lock:
        await pause()
async def main():
    loop = asyncio.get_running_loop()
    calls = 0
    call_soon = loop.call_soon
    def counted(callback, *args, **kwargs):
        nonlocal calls
        calls += type(callback).__name__ == "Look"
        return call_soon(callback, *args, **kwargs)
    loop.call_soon = counted
    for _ in range(1000):
        await hold()
    tell([[[f["code"], f["count"]] for f in told()], calls])
asyncio.run(main())
"""
    )
    assert finding == [["FL005", calls]]
    assert 1 <= calls <= 10


NOT_ACROSS = {
    "Context.run": """
import contextvars
async def hold():
    with lock:
        contextvars.copy_context().run(int)
    await pause()
""",
    "released in time": """
async def hold():
    with lock:
        asyncio.get_running_loop().call_soon(int)
    await pause()
    with lock:
        pass
""",
    "no task": """
def take(): lock.acquire()
def give(): lock.release()
async def hold():
    loop = asyncio.get_running_loop()
    loop.call_soon(take); loop.call_soon(give)
    await pause(); await pause()
""",
    "another thread's": """
signal = fastlock.Lock()
async def hold():
    lock.acquire()
    await asyncio.to_thread(lock.release)
""",
    "a signal lock": """
lock = fastlock.Lock(signal=True)
async def hold():
    with lock:
        await pause()
""",
}


@pytest.mark.parametrize("way", NOT_ACROSS)
def test_what_looks_like_it_and_is_not(way: str) -> None:
    """Context switches without a suspension, callbacks, and locks that others release: looked at, and no finding."""
    assert (
        ask_async(
            f"""
lock = fastlock.Lock()
{NOT_ACROSS[way]}
async def main():
    for _ in range(40):
        await asyncio.create_task(hold())
    tell(codes())
asyncio.run(main())
"""
        )
        == []
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are started eagerly from 3.12 on")
def test_eager_tasks_that_did_not_yield() -> None:
    """A task that is run to its end inside the step that holds the lock is no suspension; one that yields with a lock is."""
    assert ask_async(
        """
lock, other = fastlock.Lock(), fastlock.Lock(name="other")
async def quick():
    return 1
async def slow():
    with other:
        await pause()
async def main():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    for _ in range(40):
        with lock:
            await_later = asyncio.create_task(quick())
    await pause()
    before = codes()
    for _ in range(2):
        await asyncio.create_task(slow())
    tell([before, [[f["code"], f["locks"][0]["name"]] for f in told()]])
asyncio.run(main())
"""
    ) == [[], [["FL005", "other"]]]


def test_a_task_that_ended_with_the_lock_is_not_suspended() -> None:
    """The look finds the task done: an abandoned lock is another finding."""
    assert ask_async(
        """
locks = [fastlock.Lock() for _ in range(6)]
async def hold(lock, end):
    lock.acquire()
    if end:
        return
    await pause()
    lock.release()
async def main():
    for lock in locks[:2]:
        lock.acquire(); lock.release()      # evidence that owners release
    await hold(locks[0], False)
    await asyncio.create_task(hold(locks[1], True))
    await pause()
    tell(codes())
asyncio.run(main())
"""
    ) == []


def test_a_loop_that_is_closed_before_the_look() -> None:
    """The look goes with the loop, and the place is open for the next one."""
    assert ask_async(
        """
import gc
lock = fastlock.Lock()
async def hold(stop=False):
    with lock:
        if stop:
            asyncio.get_running_loop().stop()
        await pause()
first = asyncio.new_event_loop()
first.run_until_complete(hold())        # from here on the next acquire is looked at
task = first.create_task(hold(True))
first.run_forever()                     # stops before the look
held = lock.locked()
first.close()
task._log_destroy_pending = False
del task
gc.collect()
for _ in range(2):
    asyncio.run(hold())
tell([held, lock.locked(), codes()])
"""
    ) == [True, False, [["FL005", "proven", 1]]]


def test_refusing_to_schedule_leaves_the_lock_free() -> None:
    """What call_soon raises comes out of the acquire, before the lock is taken."""
    assert ask_async(
        """
lock = fastlock.Lock()
async def hold():
    with lock:
        await pause()
async def main():
    loop = asyncio.get_running_loop()
    await hold()
    real = loop.call_soon
    def refuse(callback, *args, **kwargs):
        if type(callback).__name__ == "Look":
            raise KeyboardInterrupt
        return real(callback, *args, **kwargs)
    loop.call_soon = refuse
    try:
        await hold()
    except KeyboardInterrupt:
        refused = True
    loop.call_soon = real
    free = not lock.locked()
    for _ in range(2):
        await hold()
    tell([refused, free, lock.locked(), codes()])
asyncio.run(main())
"""
    ) == [True, True, False, [["FL005", "proven", 1]]]


def test_level_off_looks_at_nothing() -> None:
    """Nothing is noted and nothing found below detect; what was taken there and released above is no error."""
    assert ask_async(
        """
lock = fastlock.Lock()
async def hold(level=None):
    with lock:
        if level: fastlock.set_level(level)
        await pause()
async def main():
    fastlock.set_level("off")
    for _ in range(8):
        await hold()
    off = codes()
    await hold("detect")
    await hold()
    await hold("off")
    await hold("detect")
    tell([off, [code for code, _, _ in codes()] in ([], ["FL005"]), lock.locked()])
asyncio.run(main())
"""
    ) == [[], True, False]
