from collections.abc import Mapping
from typing import Any

HOWS: Mapping[int, str]
KINDS: Mapping[int, str]
MODES: Mapping[int, str]
WHATS: Mapping[int, str]
STATES: Mapping[int, str]
TITLES: Mapping[int, str]

def table() -> dict[str, list[dict[str, Any]]]: ...
def site(number: int) -> tuple[str, int, str, int] | None: ...
def task_of(number: int) -> Any: ...
