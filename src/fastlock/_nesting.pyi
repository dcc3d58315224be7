from types import TracebackType
from typing import Any, final

@final
class nested:
    def __init__(self, lock: Any, *, under: Any) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None, /
    ) -> None: ...
