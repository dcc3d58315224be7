from collections.abc import Mapping
from typing import Any

HOWS: Mapping[int, str]
KINDS: Mapping[int, str]
MODES: Mapping[int, str]
WHATS: Mapping[int, str]
RW_VERBS: Mapping[int, str]
STATES: Mapping[int, str]
TITLES: Mapping[int, str]
CALLS: Mapping[int, str]

def table() -> dict[str, list[dict[str, Any]]]: ...
def site(number: int) -> tuple[str, int, str, int] | None: ...
def task_of(number: int) -> Any: ...
def suspended_holder(task: Any, index: int, serial: int, placed: int) -> dict[str, Any] | None: ...
