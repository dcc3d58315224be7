"""Chains of awaits: the coroutines and generators that a suspended task is in, their frames, and what those have entered.

Only reads. A frame is known to the core by its address, see FLock.placed; where that address lies in a coroutine or generator is
measured once, on some of our own, and where it cannot be, no frame is recognised.
"""

from __future__ import annotations

import gc
import sys
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType

from fastlock import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

MOST_LINKS = 200  # of a chain of awaits
_OLD = sys.version_info < (3, 11)  # a frame is an object of its own
_MASK = (1 << 48) - 1
_SUSPENDED = (CoroutineType, GeneratorType, AsyncGeneratorType)
_ITERATORS = frozenset({"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"})
_AWAITED = {CoroutineType: "cr_await", GeneratorType: "gi_yieldfrom", AsyncGeneratorType: "ag_await"}
_FRAME = {CoroutineType: "cr_frame", GeneratorType: "gi_frame", AsyncGeneratorType: "ag_frame"}


def _measure() -> int | None:
    """Return where a suspended frame lies inside its coroutine or generator, None where that is not the same for all."""
    told: list[int] = []

    def generator() -> Iterator[None]:
        told.append(_core.frame_here())
        yield

    async def coroutine() -> None:
        told.append(_core.frame_here())

    async def async_generator() -> Any:
        told.append(_core.frame_here())
        yield

    one, two, three = generator(), coroutine(), async_generator()
    next(one)
    frames = [getattr(one, "gi_frame")]
    for step in (two, three.__anext__()):
        frames.append(getattr(two, "cr_frame") if step is two else three.ag_frame)
        try:
            step.send(None)
        except (StopIteration, StopAsyncIteration):
            continue
    places = frames if _OLD else [one, two, three]
    offsets = {frame - (id(place) & _MASK) for frame, place in zip(told, places)}
    return offsets.pop() if len(offsets) == 1 and 0 not in told else None


_OFFSET = _measure()


def frame_of(link: Any) -> FrameType | None:
    """Return the frame of a coroutine or generator, None where it has ended or is neither."""
    attribute = _FRAME.get(type(link))
    return None if attribute is None else getattr(link, attribute)


def knows_frames() -> bool:
    """Tell whether frames can be recognised by their address."""
    return _OFFSET is not None


def _address(link: Any) -> int:
    return (id(frame_of(link)) if _OLD else id(link) + (_OFFSET or 0)) & _MASK


def links_of(coroutine: Any) -> list[Any]:
    """Return a chain of awaits: coroutines, generators and, at its end, what is waited for, the innermost last."""
    links: list[Any] = []
    link = coroutine
    while link is not None and len(links) < MOST_LINKS:
        links.append(link)
        attribute = _AWAITED.get(type(link))
        if attribute is not None:
            link = getattr(link, attribute)
        elif type(link).__name__ in _ITERATORS:
            link = next((each for each in gc.get_referents(link) if type(each) in _SUSPENDED), None)
        else:
            link = getattr(link, "cr_await", None)  # a coroutine of another making, as Cython's
    return links


def referents(link: Any) -> list[Any]:
    """Return what the frame of a suspended coroutine or generator refers to, its stack of values included."""
    if type(link) not in _SUSPENDED:
        return []
    found = gc.get_referents(link)
    if _OLD:
        found += [each for frame in found if type(frame) is FrameType for each in gc.get_referents(frame)]
    return found


def entered(link: Any) -> Iterator[Any]:
    """Yield the generators behind the context managers and iterations that a suspended frame is in."""
    for each in referents(link):
        if type(each) in _SUSPENDED:
            yield each
            continue
        manager = getattr(each, "__self__", each) if type(each).__name__ == "method" else each
        yield from _generators(manager)


def _generators(manager: Any) -> Iterator[Any]:
    contextlib = sys.modules.get("contextlib")
    if contextlib is None:
        return
    if isinstance(manager, contextlib._GeneratorContextManagerBase):
        yield manager.gen
    elif isinstance(manager, contextlib._BaseExitStack):
        for _, callback in list(manager._exit_callbacks):
            yield from _generators(getattr(callback, "__self__", None))


def is_in(links: Iterable[Any], frame: int) -> bool:
    """Tell whether the frame is one of a chain's own."""
    if _OLD:
        return any(type(link) in _SUSPENDED and _address(link) == frame for link in links)
    generator = (frame - (_OFFSET or 0)) & _MASK
    return any(id(link) & _MASK == generator for link in links)


def has_entered(links: Iterable[Any], frame: int, depth: int = 3) -> bool:
    """Tell whether the frame is one of the context managers and iterations that a chain is in, or of what those are in."""
    for link in links:
        for generator in entered(link):
            if _address(generator) == frame or (depth and has_entered([generator], frame, depth - 1)):
                return True
    return False


class no_collection:
    """Context manager: no collection begins in the calling thread until its end, for what the program's finalisers do has no place there; another thread may switch it on again."""

    __slots__ = ("_enabled",)

    def __enter__(self) -> None:
        self._enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *exc_info: object) -> None:
        if self._enabled:
            gc.enable()


class frames_now:
    """Context manager: the innermost frame of each thread, until the end of the with statement.

    They are let go of there: the caller's own frame is among them and has them as a local, and such a circle keeps all threads' locals alive until
    the collector comes. Through 3.11 sys._current_frames() deadlocks where its own allocations start a collection whose finalisers make a thread, so
    none starts meanwhile.
    """

    __slots__ = ("_frames",)

    def __enter__(self) -> dict[int, FrameType]:
        with no_collection():
            self._frames = sys._current_frames()
        return self._frames

    def __exit__(self, *exc_info: object) -> None:
        self._frames.clear()
