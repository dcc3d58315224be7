"""What threads and event loops give each other to do, and wait for: coroutines for a loop, functions for a pool of threads; queues, processes.

Each function here yields what is to stand in the place of something of the standard library's. It calls what it replaces, so what others have put
around that goes on working; and a loop or an executor of a kind that is not known is left alone.
"""

from __future__ import annotations

from fastlock import _awaited, _joins, _results, _simple, _sync
from fastlock.lean import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    Replacement = tuple[Any, str, Any]


def of_asyncio(asyncio: ModuleType) -> Iterator[Replacement]:
    """Yield (module or class, name, what is to stand there) for what asyncio has of it."""
    from asyncio import tasks

    yield tasks, "run_coroutine_threadsafe", _followed_threadsafe(tasks.run_coroutine_threadsafe)


def of_futures(base: ModuleType) -> Iterator[Replacement]:
    """Yield the same for concurrent.futures._base; and let waits for results be known as such."""
    _awaited.set_result_calls([base.Future.result.__code__, base.Future.exception.__code__])
    original = base._create_and_install_waiters
    followed = _results.followed_waiters(original, base._AS_COMPLETED, base.ALL_COMPLETED)
    yield base, original.__name__, wraps(original)(followed)


def of_pools(thread: ModuleType) -> Iterator[Replacement]:
    """Yield the same for concurrent.futures.thread."""
    cls = thread.ThreadPoolExecutor
    yield cls, "submit", wraps(cls.submit)(_results.followed_submit(cls.submit))
    yield cls, "__init__", _followed_init(cls.__init__)
    yield thread, "_WorkItem", _results.followed_item(thread._WorkItem)


def of_queues(queue: ModuleType) -> Iterator[Replacement]:
    """Yield the same for queue: its SimpleQueue, where that is C's."""
    base = queue.SimpleQueue
    if base.__module__ == "_queue":
        yield queue, "SimpleQueue", _simple.followed_queue(base)


def of_processes(subprocess: ModuleType) -> Iterator[Replacement]:
    """Yield the same for subprocess."""
    original = subprocess.Popen._wait

    @wraps(original)
    def _wait(self: Any, timeout: float | None) -> Any:
        return _joins.wait_for_process(original, self, timeout)

    yield subprocess.Popen, "_wait", _wait


def _followed_init(original: Any) -> Any:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _results.pool_begins(self)

    return __init__


# ---- a coroutine for a loop ----------------------------------------------------------------------


def _followed_threadsafe(original: Any) -> Any:
    future_type, followed_type, alone_type = _future_types()

    @wraps(original)
    def run_coroutine_threadsafe(coro: Any, loop: Any) -> Any:
        future = original(coro, loop)
        if type(future) is future_type:
            future._fastlock = _results.Expected(loop, coro, future)
            future.__class__ = followed_type if isinstance(future._condition, _sync.Condition) else alone_type
        return future

    return run_coroutine_threadsafe


_types: tuple[type[Any], type[Any], type[Any]] | None = None


def _future_types() -> tuple[type[Any], type[Any], type[Any]]:
    """Return concurrent.futures.Future, what a future of run_coroutine_threadsafe is made, and what where threading's conditions are not ours."""
    global _types
    if _types is None:
        _types = _made_types()
    return _types


def _made_types() -> tuple[type[Any], type[Any], type[Any]]:
    from concurrent.futures import Future

    followed = _followed_type(Future)
    alone = _alone_type(followed)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(followed, name, getattr(Future, name))
        setattr(alone, name, getattr(Future, name))
    return Future, followed, alone


def _followed_type(future: Any) -> Any:
    class Followed(future):  # type: ignore[misc]
        __slots__ = ()  # or no future could be made one
        _fastlock: _results.Expected

        def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
            self._fastlock.learn(fn)
            super().add_done_callback(fn)

        def set_result(self, result: Any) -> None:
            self._fastlock.ends()
            super().set_result(result)

        def set_exception(self, exception: BaseException | None) -> None:
            self._fastlock.ends()
            super().set_exception(exception)

        def cancel(self) -> bool:
            if cancelled := super().cancel():
                self._fastlock.ends()
            return bool(cancelled)

    return Followed


def _alone_type(followed: Any) -> Any:
    class Alone(followed):  # type: ignore[misc]
        __slots__ = ()

        def result(self, timeout: float | None = None) -> Any:
            try:
                return self._fastlock.wait(self.done, super().result, timeout)
            finally:
                del self  # an exception that is raised keeps this frame, and the future keeps the exception

        def exception(self, timeout: float | None = None) -> Any:
            try:
                return self._fastlock.wait(self.done, super().exception, timeout)
            finally:
                del self  # as above

    return Alone
