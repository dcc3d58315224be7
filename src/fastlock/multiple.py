"""acquire_all: many locks at once, without an order of theirs that anybody must know."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any


class acquire_all:
    """Context manager that holds all the given locks; any order of the arguments, and no deadlock through them.

    It never waits for one lock while it holds another of them: what cannot be had at once is waited for alone, and then the
    others are tried again (the algorithm of C++'s std::lock). Takes anything with acquire(blocking) and release(),
    such as Lock, RLock, or an RWLock's read() and write(). ValueError where a lock is named twice. Any thread; not re-entrant.
    """

    def __init__(self, *locks: Any) -> None:
        # A condition and the two sides of an RWLock have their lock in _lock; waiting for one side would never end.
        if len({id(getattr(lock, "_lock", lock)) for lock in locks}) != len(locks):
            raise ValueError("acquire_all: the same lock is named twice")
        for lock in locks:
            if hasattr(lock, "__aenter__") and not hasattr(lock, "__enter__"):
                raise TypeError("acquire_all takes locks of threads; for asyncio's there is fastlock.aio.acquire_all")
            if not (callable(getattr(lock, "acquire", None)) and callable(getattr(lock, "release", None))):
                raise TypeError(f"acquire_all takes locks, not {type(lock).__name__}")
        self._locks = locks

    def __enter__(self) -> Sequence[Any]:
        first = 0
        while self._locks:
            missing = self._try_from(first)
            if missing is None:
                break
            first = missing
        return self._locks

    def _try_from(self, first: int) -> int | None:
        """Wait for one lock, then try the others; return the number of one that could not be had, holding none."""
        order: list[int] = [*range(first, len(self._locks)), *range(first)]
        held: list[Any] = []
        try:
            for number in order:
                lock = self._locks[number]
                if not lock.acquire(not held):
                    _release(held)
                    return number
                held.append(lock)
        except BaseException:
            _release(held)
            raise
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _release(list(self._locks))


def _release(locks: list[Any]) -> None:
    try:
        while locks:
            locks.pop().release()
    finally:
        if locks:  # one could not be released: the others are all the same
            _release(locks)
