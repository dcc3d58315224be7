from collections.abc import Iterable
from types import CodeType

def set_join_calls(codes: Iterable[CodeType]) -> None: ...
