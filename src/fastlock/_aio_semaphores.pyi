from collections.abc import Awaitable, Coroutine
from types import TracebackType
from typing import Any, Literal

from typing_extensions import disjoint_base

from fastlock._aio import _OnDeadlock, _OnInversion
from fastlock._aio_shared import SharedPrimitive

@disjoint_base
class Semaphore(SharedPrimitive):
    def __init__(
        self,
        value: int = 1,
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
    @property
    def _value(self) -> int: ...
    @_value.setter
    def _value(self, value: int) -> None: ...

@disjoint_base
class BoundedSemaphore(Semaphore):
    _bound_value: int
