"""nested: locks of one class that may be taken under each other, because another lock makes it safe."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from fastlock import _core


class nested:
    """Context manager that acquires ``lock`` while the caller holds ``under``, without making their order a rule.

    For locks of one class where the structure says who comes first, such as a parent and its child, or where ``under`` keeps
    everybody else out. RuntimeError where this thread does not hold ``under``; TypeError for anything but a Lock, an RLock or a
    Condition of fastlock's. Any thread; about a microsecond.
    """

    def __init__(self, lock: Any, *, under: Any) -> None:
        self._lock = lock
        self._under = under

    def __enter__(self) -> Any:
        _core.begin_nested(self._lock, self._under)
        try:
            self._lock.acquire()
        finally:
            _core.end_nested()
        return self._lock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
