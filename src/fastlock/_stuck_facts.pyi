from typing import Any

from fastlock._stuck import Look

def stall_event(look: Look, group: list[int]) -> dict[str, Any] | None: ...
