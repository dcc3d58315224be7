from collections.abc import Callable, Collection, Mapping
from typing import final

@final
class Look:
    nothing_runs: bool
    natives: int | None
    handlers: bool
    def urgency(self, i: int) -> tuple[bool, int]: ...
    def stalls(self, late_ns: int) -> list[list[int]]: ...

def look(
    idents: Collection[int],
    calls: Mapping[int, str],
    others: Mapping[int, int],
    awaited: Mapping[int, int],
    resting: Collection[int],
    wanted: Collection[int],
    handlers: bool,
    natives: Callable[[frozenset[int]], int | None],
    served: Callable[[], set[int]],
    asked: bool,
) -> Look: ...
def own_thread(runs: bool) -> None: ...
def in_child() -> None: ...
