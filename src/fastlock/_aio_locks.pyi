from collections.abc import Awaitable, Coroutine
from types import TracebackType
from typing import Any, Literal

from typing_extensions import disjoint_base

from fastlock._aio import Primitive, _OnDeadlock, _OnInversion

def owner_ended(task: Any) -> None: ...

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
