"""What asyncio and other threads give each other to do: coroutines for a loop, functions for an executor.

`wrappers(asyncio)` makes what stands in the place of asyncio's functions. They call the ones that they replace, so what
others have put around those goes on working; and a loop or an executor of a kind that is not known is left alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from fastlock import _results


def wrappers(asyncio: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """Yield (module or class, name, what is to stand there) for each function that is followed."""
    from asyncio import base_events, threads
    from asyncio import tasks as asyncio_tasks

    yield asyncio_tasks, "run_coroutine_threadsafe", _followed_threadsafe(asyncio_tasks.run_coroutine_threadsafe)
    cls = base_events.BaseEventLoop
    yield cls, "run_in_executor", _followed_executor(cls.run_in_executor)
    yield threads, "to_thread", _followed_to_thread(threads.to_thread, cls)


# ---- a coroutine for a loop ----------------------------------------------------------------------


def _followed_threadsafe(original: Any) -> Any:
    future_type, followed_type = _future_types()

    @functools.wraps(original)
    def run_coroutine_threadsafe(coro: Any, loop: Any) -> Any:
        future = original(coro, loop)
        if type(future) is future_type:
            future._fastlock = _results.Expected(loop, getattr(coro, "__qualname__", type(coro).__name__))
            future.__class__ = followed_type
        return future

    return run_coroutine_threadsafe


@functools.cache
def _future_types() -> tuple[type[Any], type[Any]]:
    """Return concurrent.futures.Future, and what a future of run_coroutine_threadsafe is made: no other pays for it."""
    from concurrent.futures import Future

    class Followed(Future):  # type: ignore[type-arg]
        __slots__ = ()  # or no future could be made one
        _fastlock: _results.Expected

        def result(self, timeout: float | None = None) -> Any:
            try:
                return _wait(self, super().result, timeout)
            finally:
                del self  # an exception that is raised keeps this frame, and the future keeps the exception

        def exception(self, timeout: float | None = None) -> Any:
            try:
                return _wait(self, super().exception, timeout)
            finally:
                del self  # an exception that is raised keeps this frame, and the future keeps the exception

        def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
            self._fastlock.learn(fn)
            super().add_done_callback(fn)

        def set_result(self, result: Any) -> None:
            self._fastlock.over()
            super().set_result(result)

        def set_exception(self, exception: BaseException | None) -> None:
            self._fastlock.over()
            super().set_exception(exception)

        def cancel(self) -> bool:
            if cancelled := super().cancel():
                self._fastlock.over()
            return cancelled

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(Followed, name, getattr(Future, name))
    return Future, Followed


def _wait(future: Any, wait: Callable[[float | None], Any], timeout: float | None) -> Any:
    try:
        if future.done():
            return wait(timeout)
        return future._fastlock.wait(future, wait, timeout)
    finally:
        del future, wait  # as above


# ---- a function for an executor ------------------------------------------------------------------


def _followed_executor(original: Any) -> Any:
    @functools.wraps(original)
    def run_in_executor(self: Any, executor: Any, func: Any, *args: Any) -> Any:
        if not _has_threads(executor, getattr(self, "_default_executor", None)):
            return original(self, executor, func, *args)
        if self._debug:
            self._check_closed()
            self._check_callback(func, "run_in_executor")  # which would find nothing wrong with a job
        job = _results.Job(func)
        future = original(self, executor, job, *args)
        job.belongs_to(future)
        return future

    return run_in_executor


def _has_threads(executor: Any, default: Any) -> bool:
    """Tell whether it is threads of this interpreter that the executor runs functions in: others are sent pickles."""
    executor = default if executor is None else executor
    if executor is None:
        return True  # the loop makes one
    threads = sys.modules.get("concurrent.futures.thread")
    if threads is None or not isinstance(executor, threads.ThreadPoolExecutor):
        return False
    cls = type(executor)
    home = "concurrent.futures.interpreter"
    return cls is threads.ThreadPoolExecutor or all(base.__module__ != home for base in cls.__mro__)


def _followed_to_thread(original: Any, asyncios: type[Any]) -> Any:
    """Serve loops whose run_in_executor cannot be followed, as uvloop's, which is no Python."""
    import contextvars
    from asyncio import get_running_loop

    @functools.wraps(original)
    async def to_thread(func: Any, /, *args: Any, **kwargs: Any) -> Any:
        loop = get_running_loop()
        if isinstance(loop, asyncios):
            return await original(func, *args, **kwargs)
        job = _results.Job(functools.partial(contextvars.copy_context().run, func, *args, **kwargs))
        future = loop.run_in_executor(None, job)
        job.belongs_to(future)
        return await future

    return to_thread
