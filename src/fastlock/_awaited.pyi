from collections.abc import Iterable
from types import CodeType

class Source:
    name: str

def set_result_calls(codes: Iterable[CodeType]) -> None: ...
def in_child() -> None: ...
