"""What a wait of a task asks without Python's way to a method: futures, queues and loops that are not as they are thought to be are asked as ever."""

from __future__ import annotations

import asyncio
import gc
import warnings
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from aio_support import nothing_left
from fastlock import aio

PRIMITIVES = [aio.Lock, aio.RLock, lambda: aio.Semaphore(1)]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No test leaves a trace in the table."""
    with nothing_left():
        yield


async def contend(primitive: Any, tasks: int = 5) -> list[int]:
    """Let tasks take it in turn, each of them contended, and return in which order they had it."""
    order: list[int] = []

    async def take(number: int) -> None:
        async with primitive:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*map(take, range(tasks)))
    return order


class Other(asyncio.Future[Any]):
    """A future that is not of asyncio's own type."""


class OtherLoop(asyncio.SelectorEventLoop):
    """A loop that makes futures of its own."""

    def create_future(self) -> asyncio.Future[Any]:
        return Other(loop=self)


@pytest.mark.parametrize("make", PRIMITIVES)
def test_futures_of_another_loop_are_awaited_by_their_own_way(make: Any) -> None:
    """A loop's own create_future() is called, and its futures serve as asyncio's do."""
    loop = OtherLoop()

    async def main() -> list[int]:
        primitive = make()
        async with primitive:
            waiters = asyncio.ensure_future(contend(primitive))
            for _ in range(2):  # once for that task, once for those that it starts
                await asyncio.sleep(0)
            assert [type(future) for future in primitive._waiters] == [Other] * 5
        return await waiters

    try:
        task = loop.create_task(main())
        assert loop.run_until_complete(task) == [0, 1, 2, 3, 4]
    finally:
        loop.close()


def test_a_loop_whose_type_is_changed_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been known of a type of loops is known no more once somebody has patched it."""
    made = []

    class Loop(asyncio.SelectorEventLoop):
        pass

    def create_future(self: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        made.append(Other(loop=self))
        return made[-1]

    async def main() -> None:
        lock = aio.Lock()
        await contend(lock)
        monkeypatch.setattr(Loop, "create_future", create_future)
        await contend(lock)

    loop = Loop()
    try:
        loop.run_until_complete(loop.create_task(main()))
    finally:
        loop.close()
    assert len(made) == 4


@pytest.mark.parametrize("make", PRIMITIVES)
def test_a_queue_of_somebody_elses_is_used(make: Any) -> None:
    """The queue may be replaced by anything that has a deque's methods."""

    class Queue(deque[Any]):
        pass

    async def main() -> None:
        primitive = make()
        primitive._waiters = Queue()
        assert await contend(primitive) == [0, 1, 2, 3, 4]
        assert type(primitive._waiters) is Queue and not primitive._waiters

    asyncio.run(main())


@pytest.mark.parametrize("make", PRIMITIVES)
def test_one_cancelled_in_the_middle_is_passed_over(make: Any) -> None:
    """The others have it in the order of their coming, whoever gives up among them."""

    async def main() -> list[int]:
        primitive, order = make(), []

        async def take(number: int) -> None:
            async with primitive:
                order.append(number)
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(take(number)) for number in range(6)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[4].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not primitive._waiters and not primitive.locked()
        return order

    assert asyncio.run(main()) == [0, 2, 3, 5]


def test_each_forgotten_coroutine_is_warned_of() -> None:
    """A coroutine that is kept for the next acquire forgets nothing: one that nobody awaits is told of, each time."""

    async def main() -> int:
        lock = aio.Lock()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(3):
                await lock.acquire()
                lock.release()
                forgotten = lock.acquire()
                del forgotten
                cycle: list[Any] = [lock.acquire()]
                cycle.append(cycle)
                del cycle
                gc.collect()
        return len(told)

    assert asyncio.run(main()) == 6


def test_what_is_over_refers_to_nothing() -> None:
    """Neither the lock nor the task stays because a coroutine is kept."""

    async def waits(lock: aio.Lock) -> weakref.ref[Any]:
        async with lock:
            return weakref.ref(asyncio.current_task())

    async def main() -> list[weakref.ref[Any]]:
        lock = aio.Lock()
        async with lock:
            task = asyncio.ensure_future(waits(lock))
            for _ in range(2):
                await asyncio.sleep(0)
        return [weakref.ref(lock), await task]

    gone = asyncio.run(main())
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
