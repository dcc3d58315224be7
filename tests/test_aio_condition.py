"""fastlock.aio.Condition, Event, Barrier and acquire_all: as asyncio's, their waits in the table."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from aio_support import cancelled, holders_of, nothing_left, settle, started, tasks_in_table, waits_of
from fastlock import aio
from support import answer, run_program

LOCKS = [aio.Lock, aio.RLock, asyncio.Lock]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No test leaves a trace in the table."""
    with nothing_left():
        yield


# ---- Condition ----------------------------------------------------------------------------------------------


async def notified(condition: Any, log: list[Any] | None = None, name: str = "") -> Any:
    """Wait for one notification, and return what wait() returned."""
    async with condition:
        result = await condition.wait()
        if log is not None:
            log.append(name)
        return result


async def notify(condition: Any, count: int = 1) -> None:
    async with condition:
        condition.notify(count)


@pytest.mark.parametrize("kind", LOCKS)
def test_notifies_the_oldest(kind: type) -> None:
    """notify(n) wakes the n oldest, each with True and with the lock; the wait is in the table, and repr counts it."""

    async def main() -> None:
        condition = aio.Condition(kind())
        log: list[str] = []
        tasks = [await started(notified(condition, log, name), name) for name in "abc"]
        assert waits_of("a") == ["Condition.wait"] and repr(condition).endswith(" [unlocked, waiters:3]>")
        await notify(condition, 2)
        await settle()
        assert log == ["a", "b"]
        async with condition:
            condition.notify_all()
        assert await asyncio.gather(*tasks) == [True, True, True]

    asyncio.run(main())


def test_needs_the_lock() -> None:
    """wait() and notify() without it are RuntimeErrors with asyncio's words."""

    async def main() -> None:
        condition = aio.Condition()
        with pytest.raises(RuntimeError, match="^cannot wait on un-acquired lock$"):
            await condition.wait()
        with pytest.raises(RuntimeError, match="^cannot notify on un-acquired lock$"):
            condition.notify()
        owned = aio.Condition(aio.RLock())
        async with owned:
            other = await started(notify_bare(owned))
            assert isinstance(other.exception(), RuntimeError)

    asyncio.run(main())


async def notify_bare(condition: Any) -> None:
    condition.notify()


def test_wait_releases_an_rlock_wholly() -> None:
    """However deep it is held, the lock is free during the wait, and as deep afterwards."""

    async def main() -> None:
        lock = aio.RLock()
        condition = aio.Condition(lock)

        async def deep() -> None:
            async with lock, condition:
                await condition.wait()
                assert lock._is_owned()
                lock.release()
                assert lock._is_owned()
                await lock.acquire()
            assert not lock._is_owned()

        task = await started(deep())
        assert not lock.locked()
        await notify(condition)
        await task

    asyncio.run(main())


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("moment", ["waiting", "notified", "taking the lock again"])
def test_cancelled(kind: type, moment: str) -> None:
    """A cancelled waiter raises with the lock held, and a notification that it had got goes to the next one."""

    async def main() -> None:
        condition = aio.Condition(kind())
        held: list[bool] = []

        async def waits() -> None:
            async with condition:
                try:
                    await condition.wait()
                except asyncio.CancelledError:
                    held.append(condition.locked())
                    raise

        first, second = await started(waits()), await started(notified(condition))
        if moment == "waiting":
            first.cancel()
            await settle()
            assert first.cancelled()
            await notify(condition)
        else:
            async with condition:
                condition.notify()
                if moment != "notified":
                    await settle()
                first.cancel()
                await settle()
                assert not first.done()
        await settle()
        assert first.cancelled() and held == [True] and await second is True

    asyncio.run(main())


def test_the_very_cancellation_is_raised() -> None:
    """The message of cancel() arrives, also where the lock had to be waited for."""

    async def main() -> None:
        condition = aio.Condition()
        task = await started(notified(condition))
        async with condition:
            task.cancel("because")
            await settle()
        with pytest.raises(asyncio.CancelledError) as raised:
            await condition_result(task)
        assert raised.value.args == ("because",) or sys.version_info < (3, 11)

    asyncio.run(main())


async def condition_result(task: asyncio.Task[Any]) -> Any:
    return await task


def test_ownership_stays_with_the_caller() -> None:
    """wait() inside wait_for(), which up to 3.11 is another task, releases and takes the lock for the task that called it."""

    async def main() -> None:
        asyncio.current_task().set_name("main")
        lock = aio.RLock(name="guard")
        condition = aio.Condition(lock)
        async with condition:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(condition.wait(), 0.01)
            assert holders_of("guard") == ["main"]
            asyncio.get_running_loop().call_later(0.01, lambda: asyncio.ensure_future(notify(condition)))
            done = False

            def is_done() -> bool:
                nonlocal done
                done, before = True, done
                return before

            assert await asyncio.wait_for(condition.wait_for(is_done), 60) is True
            assert holders_of("guard") == ["main"]
        assert not lock.locked()

    asyncio.run(main())


def test_no_policy_acts_when_the_lock_is_taken_again() -> None:
    """A wait whose re-acquisition closes a circle comes back an owner: nothing raises there, the circle is only reported."""
    program = """\
import asyncio, json, fastlock
from fastlock import aio
from aio_support import *
from support import found
fastlock.configure(on_deadlock="raise")
async def main():
    lock, other = aio.Lock(name="lock"), aio.Lock(name="other")
    condition = aio.Condition(lock)
    result = []
    async def waits():
        async with other:
            async with condition:
                result.append(await condition.wait())
                result.append(lock.locked())
    async def closes():
        async with condition:
            condition.notify()
            await settle()          # it has the lock that the waiter wants back
            try:
                async with other: pass
            except fastlock.DeadlockError:
                result.append("raised")
    waiter = await started(waits())
    closer = await started(closes())
    await asyncio.gather(waiter, closer)
    fastlock.configure(acquire_timeout=0.2)
    again = await started(waits())
    await lock.acquire()
    async def wants_first():
        condition.notify()
        await settle()
        async with aio.Lock(): pass
        lock.release()
    asyncio.get_running_loop().call_later(0.5, lock.release)
    condition.notify()
    await again
    return result
result = asyncio.run(main())
print(json.dumps([result, sorted({finding.code for finding in found("FL001")})]))
"""
    assert answer(run_program(program)) == [["raised", True, True, True, True], ["FL001"]]


def test_lock_of_another_loop() -> None:
    """A condition on a lock that waits in another loop is made all the same; it fails where it has to wait."""
    loop = asyncio.new_event_loop()

    async def main() -> None:
        lock = aio.Lock()
        lock._loop = loop
        async with lock:
            condition = aio.Condition(lock)
            with pytest.raises(RuntimeError, match="is bound to a different event loop"):
                await condition.acquire()
        bound = aio.Condition()
        bound._loop = loop
        async with bound:
            with pytest.raises(RuntimeError, match="is bound to a different event loop"):
                await bound.wait()
            assert bound.locked()

    asyncio.run(main())
    loop.close()


def test_options_belong_to_the_lock() -> None:
    """They name the lock that is made; with a lock given they are a TypeError."""
    with pytest.raises(TypeError, match="belong to the lock"):
        aio.Condition(aio.Lock(), name="x")

    async def main() -> None:
        condition = aio.Condition(name="named")
        async with condition:
            assert len(holders_of("named")) == 1

    asyncio.run(main())


def test_subclasses_are_heard() -> None:
    """wait_for() calls a subclass's wait(), and `async with` what a lock of one's own has."""

    class Loud(aio.Condition):
        calls = 0

        async def wait(self) -> bool:
            type(self).calls += 1
            return await super().wait()

    async def main() -> None:
        condition = Loud()
        values = iter([False, True])

        async def waits() -> Any:
            async with condition:
                return await condition.wait_for(lambda: next(values))

        task = await started(waits())
        await notify(condition)
        assert await task is True and Loud.calls == 1

    asyncio.run(main())


# ---- Event ----------------------------------------------------------------------------------------------------


def test_event() -> None:
    """Waiters are woken by set(), also those whose flag is cleared before they run; the wait is in the table."""

    async def main() -> None:
        event = aio.Event()
        assert repr(event).endswith(" [unset]>") and not event.is_set()
        tasks = [await started(waited(event), name) for name in "ab"]
        assert waits_of("a") == ["Event.wait"] and repr(event).endswith(" [unset, waiters:2]>")
        assert await cancelled(tasks[0])
        event.set()
        event.clear()
        assert await tasks[1] is True
        event.set()
        assert await event.wait() is True and repr(event).endswith(" [set]>")

    asyncio.run(main())


async def waited(event: Any) -> Any:
    return await event.wait()


# ---- Barrier -----------------------------------------------------------------------------------------------------


def test_barrier_passes_parties_together() -> None:
    """Each of the parties gets a number of its own; who comes meanwhile belongs to the next filling."""

    async def main() -> None:
        barrier = aio.Barrier(3)
        first = await started(arrived(barrier), "first")
        assert barrier.n_waiting == 1 and repr(barrier).endswith(" [filling, waiters:1/3]>")
        assert waits_of("first") == ["Barrier.wait"]
        assert sorted(await asyncio.gather(arrived(barrier), arrived(barrier), first)) == [0, 1, 2]
        assert sorted(await asyncio.gather(*(arrived(barrier) for _ in range(6)))) == [0, 0, 1, 1, 2, 2]

    asyncio.run(main())


async def arrived(barrier: Any) -> int:
    async with barrier as index:
        return index


def test_barrier_breaks_and_is_mended() -> None:
    """abort() and reset() raise in those who wait; a broken one refuses until reset()."""
    broken = aio.BrokenBarrierError

    async def main() -> None:
        barrier = aio.Barrier(2)
        waiting = await started(arrived(barrier))
        await barrier.abort()
        with pytest.raises(broken):
            await waiting
        assert barrier.broken and repr(barrier).endswith(" [broken]>")
        with pytest.raises(broken):
            await barrier.wait()
        await barrier.reset()
        waiting = await started(arrived(barrier))
        await barrier.reset()
        with pytest.raises(broken):
            await waiting
        gone = await started(arrived(barrier))
        assert await cancelled(gone) and barrier.n_waiting == 0
        assert sorted(await asyncio.gather(arrived(barrier), arrived(barrier))) == [0, 1]

    asyncio.run(main())
    with pytest.raises(ValueError, match="^parties must be >"):
        aio.Barrier(0)
    assert issubclass(broken, RuntimeError) and broken is getattr(asyncio, "BrokenBarrierError", broken)


# ---- acquire_all ---------------------------------------------------------------------------------------------------


def test_acquire_all_holds_all_kinds() -> None:
    """Inside, all are held, whatever their kinds; behind an exception none is."""

    async def main() -> None:
        rw = aio.RWLock()
        locks = (aio.Lock(), aio.RLock(), aio.Semaphore(1), aio.Condition(), rw.write())
        with pytest.raises(KeyError):
            async with aio.acquire_all(*locks) as held:
                assert held == locks
                assert all(lock.locked() for lock in (*locks[:4], rw))
                raise KeyError
        assert not any(lock.locked() for lock in (*locks[:4], rw)) and tasks_in_table() == []
        async with aio.acquire_all() as held:
            assert held == ()

    asyncio.run(main())


def test_acquire_all_refuses() -> None:
    """One lock twice, by whatever name, is a ValueError; what is none of ours a TypeError."""
    lock, rw = aio.Lock(), aio.RWLock()
    for twice in ((lock, aio.Lock(), lock), (lock, aio.Condition(lock)), (rw.read(), rw.write()), (rw.read(), rw.read())):
        with pytest.raises(ValueError, match="named twice"):
            aio.acquire_all(*twice)
    for bad in (3, rw, asyncio.Lock(), aio.Event()):
        with pytest.raises(TypeError, match="acquire_all takes fastlock.aio's locks"):
            aio.acquire_all(lock, bad)


def test_acquire_all_holds_none_while_it_waits() -> None:
    """While one cannot be had the others are free for everybody; cancelled then, it holds none."""

    async def main() -> None:
        first, second, third = aio.Lock(), aio.Lock(), aio.Lock()

        async def hold() -> bool:
            async with aio.acquire_all(first, second, third):
                return first.locked() and second.locked() and third.locked()

        await third.acquire()
        waiting, given_up = await started(hold()), await started(hold())
        assert not first.locked() and not second.locked()
        assert await cancelled(given_up)
        third.release()
        assert await waiting is True
        assert not (first.locked() or second.locked() or third.locked())

    asyncio.run(main())


def test_acquire_all_in_any_order() -> None:
    """Many tasks with many orders get through, and nobody is said to be in a circle."""

    async def main() -> None:
        locks = [aio.Lock() for _ in range(4)]
        done = 0

        async def work(shift: int) -> None:
            nonlocal done
            for _ in range(5):
                async with aio.acquire_all(*locks[shift:], *locks[:shift]):
                    await asyncio.sleep(0)
                    done += 1

        await asyncio.wait_for(asyncio.gather(*(work(number % 4) for number in range(8))), 60)
        assert done == 40

    asyncio.run(main())


def test_abandoned_coroutines_let_go() -> None:
    """A coroutine that another task, or none, closes inside its `async with` ends the hold of the task that had begun it."""
    lock, semaphore, rw = aio.RLock(), aio.Semaphore(2), aio.RWLock()

    async def hold(guard: Any) -> None:
        async with guard:
            await asyncio.get_running_loop().create_future()

    async def explicit() -> None:
        await rw.acquire_read()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            rw.release_read()

    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(hold(guard)) for guard in (lock, semaphore, rw.read(), rw.read())]
    tasks.append(loop.create_task(explicit()))
    loop.run_until_complete(asyncio.sleep(0))
    assert lock.locked() and semaphore._value == 1 and rw.readers == 3
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False
        task.get_coro().close()
    del task, tasks
    assert not lock.locked() and semaphore._value == 2 and not rw.locked()
    asyncio.run(cleanly(semaphore, rw))


async def cleanly(semaphore: Any, rw: Any) -> None:
    """Who holds them is still known."""
    async with semaphore, rw.write():
        assert tasks_in_table() != []
