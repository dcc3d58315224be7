from collections.abc import Coroutine
from typing import Any, TypeAlias

from typing_extensions import disjoint_base

from fastlock._aio_locks import Lock
from fastlock._aio_conditions import Condition
from fastlock._aio_rwlock import ReadGuard, WriteGuard
from fastlock._aio_semaphores import Semaphore

_Lock: TypeAlias = Lock | Semaphore | Condition | ReadGuard | WriteGuard

@disjoint_base
class acquire_all:
    def __init__(self, *locks: _Lock) -> None: ...
    def __aenter__(self) -> Coroutine[Any, Any, tuple[_Lock, ...]]: ...
    def __aexit__(self, *exc_info: Any) -> Coroutine[Any, Any, None]: ...
