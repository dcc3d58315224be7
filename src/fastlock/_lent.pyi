from collections.abc import Sequence
from typing import Any, final

@final
class Thing:
    has_needs: bool
    def __init__(self, name: str, label: str, needs: Sequence[Any] = ()) -> None: ...

@final
class Lent:
    id: int
    task: Any
    thing: Thing

def waits(task: Any) -> bool: ...
def wait_of(task: Any) -> tuple[int, int] | None: ...
def lend(task: Any, thing: Thing, since_ns: int) -> Lent | None: ...
