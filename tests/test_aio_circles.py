"""Circles in which tasks are: what a suspended one holds, what it awaits, and silence where it will go on."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from support import PRELUDE, answer, run_program

LOOPS = """
import asyncio, contextlib, gc, os, time
from fastlock import _core, aio, suspended

async def until(condition):
    while not condition():
        await asyncio.sleep(0)

def codes():
    return [finding.code for finding in fastlock.findings()]

async def told(*wanted):
    while not set(wanted) <= set(codes()):
        await asyncio.sleep(0.001)
    return [finding.to_dict() for finding in fastlock.findings()]
"""
since_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup are 3.11's")


def run(source: str, **options: Any) -> Any:
    """Run a program after PRELUDE and LOOPS."""
    import textwrap

    return run_program(PRELUDE + LOOPS + textwrap.dedent(source), **options)


def ask(source: str, **options: Any) -> Any:
    """Run a program that ends with tell(); return what it told."""
    return answer(run(source, **options))


def names(finding: dict[str, Any]) -> list[str]:
    """Return who is in a circle, in its order."""
    by_id = {agent["id"]: agent["name"] for agent in finding["agents"]}
    return [by_id[edge["agent"]] for edge in finding["edges"]]


def locks(finding: dict[str, Any], key: str) -> list[str | None]:
    """Return the names of what is held (key "holds") or waited for ("waits"), in the circle's order."""
    by_id = {lock["id"]: lock["name"] for lock in finding["locks"]}
    return [by_id.get(edge[key]) for edge in finding["edges"]]


# ---- a synchronous lock held across await -------------------------------------------------------------

ACROSS = """
fastlock.configure(on_deadlock="{policy}")
ledger = fastlock.Lock()

async def settle():
    await asyncio.sleep(1000)

async def keeper():
    with ledger:
        await settle()

async def wants():
    await until(ledger.locked)
    try:
        with ledger:
            tell("not reached")
    except fastlock.DeadlockError as error:
        return error

async def main():
    idle = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(7)]
    kept = asyncio.create_task(keeper(), name="the keeper")
    error = await asyncio.create_task(wants(), name="the taker")
    kept.cancel()
    await asyncio.wait([kept])
    assert not ledger.locked()
    tell([error.finding.to_dict(), str(error.finding), str(error), [finding.code for finding in fastlock.find_deadlocks()]])

asyncio.run(main())
"""


def test_the_suspended_holder_of_a_synchronous_lock_is_named() -> None:
    """The task that blocks its own loop ends with status 3; both tasks, the line of the await, and what stands still are told."""
    done = run(ACROSS.format(policy="exit"))
    assert done.returncode == 3, done.stderr
    page = done.stderr[done.stderr.index("FL001 deadlock: 2 agents, 1 lock") :]
    for told in (
        'task "the taker" ── waits ──▶ ledger ── held by ──▶ task "the keeper"',
        "stopped by ──── its loop",
        'task "the keeper"    loop of MainThread',
        "a synchronous lock inside a task: this loop is stopped, 9 tasks with it",
        "await settle()",
        "await asyncio.sleep(1000)",
        "FL005: ledger is a synchronous lock that is held across await",
        "make ledger a fastlock.aio.Lock, or release it before the await",
    ):
        assert told in page, page
    assert "FL002" not in done.stderr and "Traceback" not in done.stderr


def test_raise_raises_inside_the_task_that_would_stop_its_loop() -> None:
    """The exception comes in the task that wants the lock; the loop goes on, and afterwards there is nothing to find."""
    finding, text, error, after = ask(ACROSS.format(policy="raise"))
    assert (finding["code"], finding["tier"], finding["clears"]) == ("FL001", "proven", False)
    assert names(finding) == ["the taker", "the keeper"]
    taker, keeper = finding["agents"]
    assert (taker["kind"], taker["loop"], keeper["kind"], keeper["loop"]) == ("task", "MainThread", "task", "MainThread")
    assert [frame["text"] for frame in keeper["stack"]][:2] == ["await settle()", "await asyncio.sleep(1000)"]
    assert taker["stack"][-1]["text"] == "with ledger:"
    assert (locks(finding, "holds"), locks(finding, "waits")) == ([None, "ledger"], ["ledger", None])
    assert "confirmed twice" in text and "the keeper" in error
    assert after == []


HOLDERS = {
    "contextmanager": "with managed(): await forever()",
    "contextmanager in contextmanager": "with outer(): await forever()",
    "ExitStack": "with contextlib.ExitStack() as stack: stack.enter_context(managed()); await forever()",
    "AsyncExitStack": "async with contextlib.AsyncExitStack() as stack: stack.enter_context(managed()); await forever()",
    "asynccontextmanager": "async with async_managed(): await forever()",
    "a function that takes it": "take(); await forever()",
    "a class with __enter__": "with Managed(): await forever()",
    "an async generator": "[None async for _ in generate()]",
    "an await deeper": "await deeper()",
    "a coroutine that is awaited twice removed": "await asyncio.wait_for(deeper(), 1000)",
}


@pytest.mark.parametrize("body", HOLDERS.values(), ids=HOLDERS)
def test_a_holder_is_found_however_it_took_the_lock(body: str) -> None:
    """Context managers, stacks of them, generators, helpers: the task is named, of several that do the same."""
    finding = ask(
        f"""
        fastlock.configure(on_deadlock="raise")
        lock = fastlock.Lock()
        def take(): lock.acquire()
        take(); lock.release()      # its owner releases it: evidence
        async def forever(): await asyncio.sleep(1000)
        async def deeper():
            with lock: await forever()
        @contextlib.contextmanager
        def managed():
            with lock: yield
        @contextlib.contextmanager
        def outer():
            with managed(): yield
        @contextlib.asynccontextmanager
        async def async_managed():
            with lock: yield
        async def generate():
            with lock:
                await forever()
                yield
        class Managed:
            def __enter__(self): lock.acquire()
            def __exit__(self, *error): lock.release()
        async def holder():
            {body}
        async def taker():
            with lock: pass
        async def main():
            others = [asyncio.create_task(forever()) for _ in range(5)]
            held = asyncio.create_task(holder(), name="the holder")
            await until(lock.locked)
            others += [asyncio.create_task(forever()) for _ in range(5)]
            await asyncio.sleep(0.001)
            try:
                await asyncio.create_task(taker(), name="the taker")
            except fastlock.DeadlockError as error:
                tell(error.finding.to_dict())
        asyncio.run(main())
        """
    )
    if "wait_for" in body and sys.version_info < (3, 12):
        # The lock is the inner task's.
        assert names(finding)[0] == "the taker" and names(finding)[1].endswith("(deeper)")
    else:
        assert names(finding) == ["the taker", "the holder"]
    assert locks(finding, "holds") == [None, "lock"]
