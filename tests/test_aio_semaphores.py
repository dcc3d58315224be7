"""fastlock.aio.Semaphore and BoundedSemaphore: as asyncio's, and with known holders as long as those release."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import fastlock
from aio_support import cancelled, findings_now, holders_of, nothing_left, settle, started, tasks_in_table, waits_of
from fastlock import aio

KINDS = [aio.Semaphore, aio.BoundedSemaphore]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No test leaves a trace in the table."""
    with nothing_left():
        yield


async def inside(semaphore: Any, until: asyncio.Event | None = None) -> None:
    """Hold a permit until the event is set."""
    async with semaphore:
        if until is not None:
            await until.wait()


async def released(semaphore: Any) -> None:
    semaphore.release()


@pytest.mark.parametrize("kind", KINDS)
def test_counts_and_shows_itself(kind: type) -> None:
    """_value, locked(), _waiters and repr are what asyncio's are."""

    async def main() -> None:
        semaphore = kind(2)
        assert repr(semaphore).endswith(" [unlocked, value:2]>") and not semaphore.locked()
        go = asyncio.Event()
        tasks = [await started(inside(semaphore, go)) for _ in range(3)]
        assert repr(semaphore).endswith(" [locked, waiters:1]>")
        assert semaphore._value == 0 and semaphore.locked() and len(semaphore._waiters) == 1
        go.set()
        await asyncio.gather(*tasks)
        assert semaphore._value == 2 and not semaphore._waiters

    asyncio.run(main())


def test_bad_values() -> None:
    """A negative start is a ValueError, and so is one release too many of the bounded one, which changes nothing."""
    with pytest.raises(ValueError, match=r"^Semaphore initial value must be >= 0$"):
        aio.Semaphore(-1)
    with pytest.raises(ValueError, match=r"^Semaphore initial value must be >= 0$"):
        aio.BoundedSemaphore(-1)
    bounded = aio.BoundedSemaphore(1)
    with pytest.raises(ValueError, match=r"^BoundedSemaphore released too many times$"):
        bounded.release()
    assert bounded._value == 1


def test_endless_and_odd_values() -> None:
    """Any number may be the start: without end nobody waits, and two and a half permits are never exactly none."""

    async def main() -> None:
        for start in (math.inf, 2.5, 1 << 80):
            semaphore = aio.Semaphore(start)
            for _ in range(5):
                await semaphore.acquire()
            assert semaphore._value == start - 5 and not semaphore.locked()
        whole = aio.Semaphore(1.0)
        await whole.acquire()
        assert whole._value == 0.0 and whole.locked()
        whole._value = 1
        assert await asyncio.wait_for(whole.acquire(), 60)

    asyncio.run(main())


def test_holders_are_known() -> None:
    """Who has permits is in the table, once for however many, until the last one is back."""

    async def main() -> None:
        semaphore = aio.Semaphore(3, name="pool")
        go = asyncio.Event()

        async def twice() -> None:
            async with semaphore, semaphore:
                await go.wait()

        tasks = [await started(twice(), "greedy"), await started(inside(semaphore, go), "modest")]
        waiting = await started(inside(semaphore), "late")
        assert holders_of("pool") == ["greedy", "modest"] and waits_of("late") == ["Semaphore.acquire"]
        go.set()
        await asyncio.gather(*tasks, waiting)
        assert holders_of("pool") == []

    asyncio.run(main())


def test_foreign_release_ends_the_knowledge() -> None:
    """From the first release on by a task without a permit, or a callback, nobody is said to hold one."""

    async def main() -> None:
        semaphore = aio.Semaphore(2, name="throttle")
        go = asyncio.Event()
        task = await started(inside(semaphore, go))
        assert len(holders_of("throttle")) == 1
        await semaphore.acquire()
        asyncio.get_running_loop().call_soon(semaphore.release)
        await settle()
        assert holders_of("throttle") == [] and semaphore._value == 1
        go.set()
        await task
        assert semaphore._value == 2

    asyncio.run(main())


@pytest.mark.parametrize("called", [False, True])
def test_cancelling_a_waiter(called: bool) -> None:
    """A waiter that is cancelled, also after it got its permit, leaves it to the next one."""

    async def main() -> None:
        semaphore = aio.Semaphore(1)
        await semaphore.acquire()
        first, second = await started(inside(semaphore)), await started(inside(semaphore))
        if called:
            semaphore.release()
            assert semaphore._value == 0
        first.cancel()
        if not called:
            semaphore.release()
        await settle()
        assert first.cancelled() and second.done() and semaphore._value == 1

    asyncio.run(main())


def test_nobody_overtakes() -> None:
    """A newcomer queues behind waiters that are called and have not run yet."""

    async def main() -> None:
        semaphore = aio.Semaphore(1)
        order: list[str] = []

        async def take(name: str) -> None:
            async with semaphore:
                order.append(name)

        await semaphore.acquire()
        tasks = [await started(take("first"))]
        semaphore.release()
        await asyncio.gather(take("second"), *tasks)
        assert order == ["first", "second"]

    asyncio.run(main())


def test_circle_through_a_semaphore() -> None:
    """Where everybody with a permit waits for more, find_deadlocks() says so, as possible; one who can run is enough for silence."""

    async def main() -> None:
        semaphore, lock = aio.Semaphore(2, name="permits"), aio.Lock(name="ledger")
        go = asyncio.Event()

        async def permit_then_lock() -> None:
            async with semaphore:
                await go.wait()
                async with lock:
                    pass

        async def lock_then_permit() -> None:
            async with lock:
                await go.wait()
                await semaphore.acquire()

        free = asyncio.Event()
        holders = [await started(permit_then_lock()), await started(inside(semaphore, free))]
        waiter = await started(lock_then_permit())
        go.set()
        await settle()
        assert findings_now() == []
        other = await started(permit_then_lock())  # queues
        free.set()
        await settle()  # the permit goes to the waiter
        assert waiter.done() and findings_now() == []
        await asyncio.gather(*holders, other)

        stuck = [await started(permit_then_lock())]
        go.clear()
        await asyncio.gather(*stuck) if stuck[0].done() else None
        await reach_circle(semaphore, lock)

    async def reach_circle(semaphore: Any, lock: Any) -> None:
        semaphore, lock = aio.Semaphore(1), aio.Lock()
        both = asyncio.Event()

        async def take(one: Any, other: Any) -> None:
            async with one:
                await both.wait()
                async with other:
                    pass

        tasks = [await started(take(semaphore, lock)), await started(take(lock, semaphore))]
        both.set()
        await settle()
        assert findings_now() == ["FL001 possible"]
        assert await cancelled(tasks[0])
        await tasks[1]

    asyncio.run(main())


def test_no_policy_acts_on_a_semaphore() -> None:
    """on_deadlock="raise" leaves a semaphore's waiters waiting: anybody may release it."""

    async def main() -> None:
        semaphore = aio.Semaphore(1, on_deadlock="raise")
        await semaphore.acquire()
        task = await started(inside(semaphore))
        asyncio.get_running_loop().call_soon(semaphore.release)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(inside_twice(semaphore))), 0)
        await settle()
        assert task.done()
        semaphore.release()
        await settle()

    async def inside_twice(semaphore: Any) -> None:
        async with semaphore, semaphore:
            pass

    asyncio.run(main())


def test_a_limit_of_its_own() -> None:
    """timeout= ends a wait by LockTimeout, and the permit that comes later is the next one's."""

    async def main() -> None:
        semaphore = aio.Semaphore(1, name="limited", timeout=0.01)
        async with semaphore:
            with pytest.raises(fastlock.LockTimeout):
                await asyncio.create_task(inside(semaphore))
        assert semaphore._value == 1
        async with semaphore:
            pass

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_subclasses_are_heard(kind: type) -> None:
    """A subclass's acquire() and release() are what `async with` calls."""

    class Loud(kind):  # type: ignore[misc,valid-type]
        calls: list[str] = []

        async def acquire(self) -> bool:
            self.calls.append("acquire")
            return await super().acquire()

        def release(self) -> None:
            self.calls.append("release")
            super().release()

    async def main() -> None:
        semaphore = Loud(1)
        async with semaphore:
            assert semaphore.locked()
        assert semaphore.calls == ["acquire", "release"] and semaphore._value == 1

    asyncio.run(main())


def test_dropped_while_held() -> None:
    """A semaphore that is gone while permits are out leaves no hold behind."""

    async def main() -> None:
        semaphore = aio.Semaphore(2)
        await semaphore.acquire()
        await semaphore.acquire()
        gone = weakref.ref(semaphore)
        del semaphore
        gc.collect()
        assert gone() is None and tasks_in_table() == []

    asyncio.run(main())


@pytest.mark.parametrize("make", [lambda: aio.Semaphore(2), lambda: aio.RWLock().read(), lambda: aio.RWLock().write()])
def test_cycle_of_task_and_permit_is_collected(make: Any) -> None:
    """A pending task that has a permit or share of what only it knows goes with it, when its loop is closed."""
    seen: list[Any] = []

    async def hold() -> None:
        guard = make()
        async with guard:
            seen.append(weakref.ref(asyncio.current_task()))
            await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    task = loop.create_task(hold())
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    loop.close()
    del task, loop
    gc.collect()
    assert seen[0]() is None


def test_cost_depends_on_the_holders() -> None:
    """Very many tasks with permits of other semaphores are not asked who holds this one."""

    async def main() -> None:
        others = [aio.Semaphore(1) for _ in range(3000)]
        go = asyncio.Event()
        many = [asyncio.create_task(inside(other, go)) for other in others]
        await settle()
        semaphore = aio.Semaphore(1, name="this")
        holder = await started(inside(semaphore, go), "holder")
        assert holders_of("this") == ["holder"]
        go.set()
        await asyncio.gather(holder, *many)

    asyncio.run(main())


def test_a_record_that_was_a_locks_has_no_holders() -> None:
    """Locks of threading's that a loop's thread has taken leave nothing behind in the records which semaphores use after them."""

    async def main() -> None:
        locks = [fastlock.Lock() for _ in range(64)]
        for lock in locks:
            with lock:
                pass
        del locks, lock
        semaphores = [aio.Semaphore(0, name="later") for _ in range(64)]
        waiting = [asyncio.ensure_future(semaphore.acquire()) for semaphore in semaphores]
        await settle()
        assert holders_of("later") == []
        for semaphore in semaphores:
            semaphore.release()
        await asyncio.gather(*waiting)

    asyncio.run(main())
