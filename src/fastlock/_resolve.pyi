from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

def set_resolver(
    resolve: Callable[[Sequence[Any], Sequence[tuple[int, int, CodeType | None]]], tuple[list[Any], list[Any], list[Any]]],
    deadlines_of: Callable[[Sequence[Any]], list[int | None]],
) -> None: ...
def set_waiting(future_type: type, codes: frozenset[CodeType]) -> None: ...
def frame_here() -> int: ...
