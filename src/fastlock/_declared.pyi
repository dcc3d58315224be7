from collections.abc import Iterable
from types import TracebackType
from typing import Any
import asyncio
import threading

from typing_extensions import disjoint_base

@disjoint_base
class waiting_for:
    def __init__(self, what: str, *, wakers: Iterable[threading.Thread | asyncio.Task[Any]] | None = None) -> None: ...
    def __enter__(self) -> waiting_for: ...
    def __exit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None
    ) -> None: ...
    async def __aenter__(self) -> waiting_for: ...
    async def __aexit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None
    ) -> None: ...
