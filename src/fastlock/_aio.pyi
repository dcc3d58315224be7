from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Literal, TypeAlias, final

from typing_extensions import disjoint_base

_OnDeadlock: TypeAlias = Literal["report", "raise", "exit"] | Callable[..., Any] | None
_OnInversion: TypeAlias = Literal["report", "raise"] | None

def owner_ended(task: Any) -> None: ...

@disjoint_base
class Primitive:
    _waiters: deque[Future[Any]] | None
    _loop: AbstractEventLoop | None
    def _get_loop(self) -> AbstractEventLoop: ...

@final
class Acquisition(Coroutine[Any, Any, Any]):
    __name__: str
    __qualname__: str
    @property
    def cr_await(self) -> Future[Any] | None: ...
    @property
    def cr_running(self) -> bool: ...
    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __iter__(self) -> Acquisition: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any: ...
    def close(self) -> None: ...
    def now(self) -> bool: ...
    def expire(self) -> None: ...

@disjoint_base
class Lock(Primitive):
    def __init__(
        self,
        *,
        name: str | None = None,
        lock_class: str | None = None,
        timeout: float | None = None,
        rank: float | None = None,
        key: Any = None,
        signal: bool = False,
        on_deadlock: _OnDeadlock = None,
        on_inversion: _OnInversion = None,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[None]: ...
    def __aexit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None, /
    ) -> Awaitable[None]: ...
    def acquire(self) -> Coroutine[Any, Any, Literal[True]]: ...
    def release(self) -> None: ...
    def locked(self) -> bool: ...

class RLock(Lock):
    def __new__(
        cls,
        *,
        name: str | None = None,
        lock_class: str | None = None,
        timeout: float | None = None,
        rank: float | None = None,
        key: Any = None,
        signal: bool = False,
        on_deadlock: _OnDeadlock = None,
        on_inversion: _OnInversion = None,
    ) -> RLock: ...
    def _is_owned(self) -> bool: ...
