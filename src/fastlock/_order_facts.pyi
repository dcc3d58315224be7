from typing import Any

PASSED: list[str]
FILTERS: tuple[str, ...]

def dump() -> dict[str, Any]: ...
