"""What awaiting a coroutine of fastlock.aio's gives and leaves: its value, whoever drives it, and nothing that lives on."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aio_support import nothing_left
from fastlock import aio

MAKERS: list[Callable[[], Any]] = [aio.Lock, aio.RLock, aio.Condition, aio.Semaphore, aio.BoundedSemaphore, aio.Event]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No test leaves a trace in the table."""
    with nothing_left():
        yield


class Witness:
    """A local variable of a frame, to see whether that is kept alive."""


def coroutine_of(primitive: Any) -> Any:
    """A new coroutine of the primitive's, one that need not wait."""
    if isinstance(primitive, aio.Event):
        primitive.set()
        return primitive.wait()
    return primitive.acquire()


def let_go(primitive: Any) -> None:
    primitive.clear() if isinstance(primitive, aio.Event) else primitive.release()


def by_await(coroutine: Any) -> Any:
    """Await it as a coroutine function does, and return the value."""
    try:
        awaiting(coroutine).send(None)
    except StopIteration as stop:
        return stop.value


async def awaiting(coroutine: Any) -> Any:
    return await coroutine


def by_next(coroutine: Any) -> Any:
    try:
        next(coroutine)
    except StopIteration as stop:
        return stop.value


def by_send(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def by_iterator(coroutine: Any) -> Any:
    """Delegate to it from a generator, as an old-style coroutine does."""

    def generator() -> Any:
        return (yield from coroutine.__await__())

    try:
        next(generator())
    except StopIteration as stop:
        return stop.value


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("drive", [by_await, by_next, by_send, by_iterator])
def test_the_value_is_true_whoever_drives(make: Callable[[], Any], drive: Callable[[Any], Any]) -> None:
    """Each way to the end gives True, again and again, and in turns with the others."""

    async def main() -> None:
        primitive = make()
        for way in (drive, by_await, drive, by_next, drive):
            assert way(coroutine_of(primitive)) is True
            let_go(primitive)

    asyncio.run(main())


@pytest.mark.parametrize("drive", [by_await, by_next, by_send, by_iterator])
def test_no_frame_lives_on(drive: Callable[[Any], Any]) -> None:
    """The frames of who drove it are gone once they have returned, also those that were handling another exception."""

    def caller(event: aio.Event) -> weakref.ref[Witness]:
        witness = Witness()
        try:
            raise KeyError(witness)
        except KeyError:
            assert drive(event.wait()) is True
        return weakref.ref(witness)

    async def main() -> None:
        event = aio.Event()
        event.set()
        gc.collect()
        gc.disable()
        try:
            assert [caller(event)() for _ in range(3)] == [None] * 3
        finally:
            gc.enable()

    asyncio.run(main())


def test_exceptions_that_are_kept_stay_apart() -> None:
    """Who catches the end by hand has an exception of its own, with its own traceback and context."""

    def end(event: aio.Event) -> StopIteration:
        try:
            next(event.wait())
        except StopIteration as stop:
            return stop
        raise AssertionError("it has to end")

    async def main() -> None:
        event = aio.Event()
        event.set()
        first, second = end(event), end(event)
        assert first is not second and first.value is second.value is True
        assert first.__context__ is None and await event.wait() is True
        assert first.__traceback__ is not second.__traceback__ and first.__traceback__.tb_frame.f_code is end.__code__

    asyncio.run(main())


def test_a_tracer_may_keep_what_it_is_shown() -> None:
    """A tracer that collects exceptions, and writes into them, changes nothing for those who await."""
    shown: list[BaseException] = []

    def trace(frame: Any, what: str, argument: Any) -> Any:
        if what == "exception" and isinstance(argument[1], StopIteration):
            argument[1].value = "changed"
            shown.append(argument[1])
        return trace

    async def main() -> list[Any]:
        event = aio.Event()
        event.set()
        values = [await event.wait()]
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            await awaiting(event.wait())
        finally:
            sys.settrace(before)
        kept = list(map(id, shown))
        values += [await event.wait() for _ in range(3)]
        assert list(map(id, shown)) == kept and len(set(kept)) == len(kept)
        shown.clear()
        return [*values, await event.wait()]

    assert asyncio.run(main()) == [True] * 5


@pytest.mark.parametrize("make", MAKERS)
def test_timeouts_tasks_and_debug_mode(make: Callable[[], Any]) -> None:
    """wait_for(), a task made of it, and asyncio's debug mode give the value too."""

    async def main() -> None:
        primitive = make()
        assert await asyncio.wait_for(coroutine_of(primitive), 60) is True
        let_go(primitive)
        assert await asyncio.create_task(awaiting(coroutine_of(primitive))) is True
        let_go(primitive)

    for debug in (False, True):
        asyncio.run(main(), debug=debug)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are 3.12's")
def test_eager_tasks() -> None:
    """A task that ends before it was ever scheduled has the value as its result."""

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        event = aio.Event()
        event.set()
        task = asyncio.create_task(awaiting(event.wait()))
        assert task.done() and task.result() is True

    asyncio.run(main())


def test_one_that_is_dropped_before_its_end_says_so() -> None:
    """What never ran warns when it goes; what waits gives up its place."""

    async def main() -> None:
        permits = aio.Semaphore(0)
        with pytest.warns(RuntimeWarning, match="coroutine 'Semaphore.acquire' was never awaited"):
            permits.acquire()
        waiting = permits.acquire()
        next(waiting)
        assert len(permits._waiters) == 1
        del waiting
        assert len(permits._waiters) == 0

    asyncio.run(main())
