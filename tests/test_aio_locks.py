"""fastlock.aio.Lock and RLock: as asyncio's Lock, and owned by the task that asked."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import fastlock
from aio_support import cancelled, holders_of, nothing_left, settle, started, tasks_in_table, waits_of
from fastlock import aio
from support import answer, run_program

KINDS = [aio.Lock, aio.RLock]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No test leaves a trace in the table."""
    with nothing_left():
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_async_with(kind: type) -> None:
    """Inside the block the task holds the lock, behind it nobody does, whatever was raised."""

    async def main() -> None:
        lock = kind(name="guard")
        with pytest.raises(KeyError):
            async with lock as nothing:
                assert nothing is None and lock.locked() and holders_of("guard") == ["main"]
                raise KeyError
        assert not lock.locked() and holders_of("guard") == []

    asyncio.run(named(main()))


async def named(coroutine: Any) -> Any:
    """Run in a task that is called main."""
    asyncio.current_task().set_name("main")
    return await coroutine


@pytest.mark.parametrize("kind", KINDS)
def test_parity_of_what_is_seen(kind: type) -> None:
    """acquire() returns True, release() None, and repr has state and waiters as asyncio's has."""

    async def main() -> None:
        lock = kind()
        assert repr(lock).startswith(f"<fastlock.aio.{kind.__name__} object at 0x") and repr(lock).endswith(" [unlocked]>")
        assert await lock.acquire() is True
        waiter = await started(taken(lock))
        assert repr(lock).endswith(" [locked, waiters:1]>")
        assert lock.release() is None
        assert await waiter is True
        assert asyncio.iscoroutine(entered := lock.acquire())
        entered.close()

    asyncio.run(main())


def test_release_without_hold() -> None:
    """A RuntimeError with asyncio's words for Lock, threading's for RLock."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
            aio.Lock().release()
        with pytest.raises(RuntimeError, match="^cannot release un-acquired lock$"):
            aio.RLock().release()
        lock = aio.RLock()
        async with lock:
            other = await started(released(lock))
            assert isinstance(other.exception(), RuntimeError)

    asyncio.run(main())


async def released(lock: Any) -> None:
    lock.release()


async def taken(lock: Any) -> Any:
    return await lock.acquire()


def test_first_come_first_served() -> None:
    """Waiters get the lock in the order in which they came, and a newcomer does not overtake one that is called."""

    async def main() -> None:
        lock = aio.Lock()
        order: list[str] = []

        async def take(name: str) -> None:
            async with lock:
                order.append(name)

        await lock.acquire()
        tasks = [await started(take(name)) for name in "abc"]
        lock.release()  # a is called, but has not run
        assert not lock.locked()
        await asyncio.gather(take("late"), *tasks)
        assert order == ["a", "b", "c", "late"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("called", [False, True])
def test_cancelling_a_waiter(kind: type, called: bool) -> None:
    """A waiter that is cancelled, also after it was called, lets the next one have the lock."""

    async def main() -> None:
        lock = kind()
        await lock.acquire()
        first, second = await started(taken(lock)), await started(taken(lock))
        if called:
            lock.release()
        first.cancel()
        if not called:
            lock.release()
        await settle()
        assert first.cancelled() and second.done() and lock.locked()

    asyncio.run(main())


def test_the_owner_is_who_asked() -> None:
    """Whichever task runs acquire(), the lock belongs to the task that called it."""

    async def main() -> None:
        lock = aio.RLock(name="asked")
        for run in (
            lambda asked: asked,
            lambda asked: asyncio.create_task(as_coroutine(asked)),
            lambda asked: asyncio.wait_for(asked, 60),
            lambda asked: asyncio.shield(as_coroutine(asked)),
            lambda asked: asyncio.gather(asked),
        ):
            await run(lock.acquire())
            assert holders_of("asked") == ["main"] and lock._is_owned()
            lock.release()
        assert not lock.locked()

    asyncio.run(named(main()))


async def as_coroutine(asked: Any) -> Any:
    return await asked


def test_rlock_reenters() -> None:
    """The owner takes it again at once, in every way; it is free after as many releases."""

    async def main() -> None:
        lock = aio.RLock()
        async with lock, lock:
            await lock.acquire()
            waiter = await started(taken(lock), "other")
            lock.release()
            assert not waiter.done() and waits_of("other") == ["RLock.acquire"]
        await settle()
        assert waiter.done() and not lock._is_owned() and lock.locked()

    asyncio.run(main())


def test_foreign_release_makes_a_signal() -> None:
    """A Lock that another task releases has no owner from then on, and nothing is said about a task that waits for its own."""

    async def main() -> None:
        lock = aio.Lock(name="signal")
        await lock.acquire()
        await started(released(lock))
        await lock.acquire()
        assert holders_of("signal") == []
        waiter = await started(taken(lock))
        again = await started(released(lock))
        await asyncio.gather(waiter, again)
        lock.release()

    asyncio.run(main())


def test_subclasses_are_heard() -> None:
    """A subclass's acquire() and release() are what `async with` calls, and a forgotten __init__ is no crash."""

    class Loud(aio.Lock):
        def __init__(self) -> None:
            self.calls: list[str] = []

        async def acquire(self) -> bool:
            self.calls.append("acquire")
            return await super().acquire()

        def release(self) -> None:
            self.calls.append("release")
            super().release()

    async def main() -> None:
        lock = Loud()
        async with lock:
            assert lock.locked()
        assert lock.calls == ["acquire", "release"] and ".Loud object at " in repr(lock)

    asyncio.run(main())


def test_made_before_any_loop_and_used_in_several() -> None:
    """A lock may be made without a loop, and outlive one, as long as nobody waits for it in two."""
    lock = aio.Lock()

    async def use() -> None:
        async with lock:
            assert lock.locked()

    async def contend() -> None:
        await lock.acquire()
        waiter = await started(taken(lock))
        lock.release()
        await waiter
        lock.release()

    async def contend_elsewhere() -> None:
        await lock.acquire()
        with pytest.raises(RuntimeError, match="is bound to a different event loop"):
            await lock.acquire()
        lock.release()

    asyncio.run(use())
    asyncio.run(use())
    asyncio.run(contend())
    asyncio.run(use())
    asyncio.run(contend_elsewhere())


def test_two_loops_in_two_threads() -> None:
    """Locks of two loops know their owners apart, each in its own thread."""
    results: list[list[str]] = []

    def loop_of(number: int) -> None:
        async def main() -> None:
            asyncio.current_task().set_name(f"loop{number}")
            lock = aio.Lock(name=f"lock{number}")
            async with lock:
                waiter = await started(taken(lock), f"waiter{number}")
                results.append([*holders_of(f"lock{number}"), *waits_of(f"waiter{number}")])
            await waiter
            lock.release()

        asyncio.run(main())

    threads = [threading.Thread(target=loop_of, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [["loop0", "Lock.acquire"], ["loop1", "Lock.acquire"]]


@pytest.mark.parametrize("kind", [aio.Lock, aio.RLock, aio.Semaphore, aio.Event, aio.Condition])
def test_refuses_other_frameworks(kind: type) -> None:
    """Where no loop of asyncio's runs, awaiting says so; making one and looking at it works."""
    primitive = kind()
    repr(primitive)
    waiting = primitive.wait() if kind is aio.Event else primitive.acquire()
    with pytest.raises(RuntimeError, match="works under asyncio only"):
        waiting.send(None)


@pytest.mark.parametrize("kind", [aio.Lock, aio.RLock, aio.Condition, aio.Semaphore, aio.BoundedSemaphore, aio.Event])
def test_unknown_keywords(kind: type) -> None:
    """A misspelt option, and the loop of asyncio's past, is a TypeError."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'nmae'"):
        kind(nmae="x")
    with pytest.raises(TypeError, match="loop"):
        kind(loop=None)


def test_a_limit_of_its_own() -> None:
    """timeout= ends a wait by LockTimeout, which names the owner, and the lock goes to the next one."""

    async def main() -> None:
        lock = aio.Lock(name="limited", timeout=0.01)
        async with lock:
            waiting, next_one = await started(taken(lock)), await started(asyncio.wait_for(uses(lock), 60))
            with pytest.raises(fastlock.LockTimeout, match='limited not acquired within 10 ms: held by task "main" since '):
                await waiting
            assert lock.locked() and not next_one.done() or isinstance(next_one.exception(), fastlock.LockTimeout)
        await asyncio.wait([next_one])      # which has the same limit, and may be the first to reach it
        async with lock:
            pass

    asyncio.run(named(main()))


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_circles_raise_where_told(kind: str) -> None:
    """on_deadlock="raise" raises in the task that closes the circle, and the other one goes on."""
    program = f"""\
import asyncio, json, fastlock
from fastlock import aio
from aio_support import *
from support import found
async def take(one, other):
    async with one:
        await settle()
        async with other: pass
async def main():
    first, second = aio.{kind}(on_deadlock="raise"), aio.{kind}(on_deadlock="raise")
    results = await asyncio.gather(take(first, second), take(second, first), return_exceptions=True)
    return sorted(type(result).__name__ for result in results), first.locked(), second.locked()
told = asyncio.run(main())
print(json.dumps([told, [(finding.code, finding.tier) for finding in found("FL001")]]))
"""
    assert answer(run_program(program)) == [[["DeadlockError", "NoneType"], False, False], [["FL001", "proven"]]]


def test_a_cancelled_task_closes_no_circle() -> None:
    """Who was cancelled while it waits, or called, and has not run yet, keeps nobody waiting: no finding."""

    async def main() -> None:
        first, second = aio.Lock(), aio.Lock()

        async def other() -> None:
            async with first, second:
                pass

        await second.acquire()
        task = await started(other())
        task.cancel()
        waiting = asyncio.ensure_future(first.acquire())  # runs before the cancelled one does
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0)
        await settle()
        assert waiting.done() and task.cancelled()

        async def closer() -> None:
            await first.acquire()

        first.release()
        third = await started(other())  # holds first, waits for second
        asyncio.get_running_loop().call_soon(third.cancel)
        closing = asyncio.ensure_future(closer())
        asyncio.get_running_loop().call_soon(second.release)
        await asyncio.wait([third, closing])

    asyncio.run(main())


def test_dropped_while_held() -> None:
    """A lock that is gone while held leaves no hold behind, and takes nobody with it."""

    async def main() -> None:
        for kind in KINDS:
            lock = kind()
            await lock.acquire()
            gone = weakref.ref(lock)
            del lock
            gc.collect()
            assert gone() is None
        assert tasks_in_table() == []

    asyncio.run(main())


def test_cycle_of_task_and_lock_is_collected() -> None:
    """A pending task that holds a lock which only it knows goes with the lock, when its loop is closed."""
    seen: list[Any] = []

    async def hold() -> None:
        lock = aio.Lock()
        async with lock:
            seen.append(weakref.ref(lock))
            await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    task = loop.create_task(hold())
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    loop.close()
    del task, loop
    gc.collect()
    assert seen[0]() is None


def test_loop_closed_with_waiters() -> None:
    """Tasks that still wait when their loop is closed leave without an error, and the lock can be used in another loop."""
    lock = aio.Lock()

    async def hold() -> None:
        async with lock:
            await asyncio.get_running_loop().create_future()

    async def wait() -> None:
        async with lock:
            pass

    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(hold()), loop.create_task(wait()), loop.create_task(wait())]
    loop.run_until_complete(asyncio.sleep(0))
    assert len(lock._waiters) == 2
    for task in tasks:
        task._log_destroy_pending = False
    loop.close()
    for task in tasks:
        task.get_coro().close()
    assert not lock._waiters and not lock.locked()
    asyncio.run(uses(lock))


async def uses(lock: Any) -> None:
    async with lock:
        pass


def test_never_awaited() -> None:
    """acquire() without await is a RuntimeWarning that names it, and does nothing."""
    lock = aio.Lock()
    with pytest.warns(RuntimeWarning, match=r"coroutine 'Lock\.acquire' was never awaited"):
        lock.acquire()
        gc.collect()
    assert not lock.locked()


def test_asyncio_stays_out_until_asked_for() -> None:
    """Importing fastlock imports no asyncio, and fastlock.aio is there all the same."""
    program = (
        "import sys, fastlock; fastlock.Lock().acquire(); assert 'asyncio' not in sys.modules; "
        "print(fastlock.aio.Lock().locked()); assert 'asyncio' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fastlock.nothing


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks_own() -> None:
    """A task that is run at once, inside its maker's step, is the owner of what it takes."""

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        lock = aio.Lock(name="eager")
        go = asyncio.Event()

        async def take() -> None:
            async with lock:
                await go.wait()

        task = asyncio.create_task(take(), name="quick")
        assert holders_of("eager") == ["quick"]
        go.set()
        await task

    asyncio.run(main())


def test_debug_mode() -> None:
    """asyncio's debug mode has nothing to say about waits and wakes."""

    async def main() -> None:
        lock = aio.Lock()
        await lock.acquire()
        waiter = await started(taken(lock))
        assert await cancelled(await started(taken(lock)))
        lock.release()
        await waiter
        lock.release()

    asyncio.run(main(), debug=True)
