"""How an agent came to want what it holds: by itself, through a callback, in a signal handler or a finaliser."""

from __future__ import annotations

import sys

from fastlock import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any


def way_in(event: dict[str, Any], frame: FrameType | None) -> str:
    """Say how an agent came to want what it holds, from the frames between the one that wants it and the one that holds it."""
    edge = event["edges"][0]
    held = _core.site(edge["held_at"])
    holder = None if held is None else (held[0], held[3])
    handlers, finalisers = _signal_handlers(), _finalisers()
    between: list[CodeType] = []
    way = ""
    while frame is not None:
        code = frame.f_code
        if between and (code.co_filename, code.co_firstlineno) == holder:
            # Without another function in between it calls itself.
            return way or ("direct" if set(between) == {code} else "through a callback")
        if code in handlers:
            way = way or "in a signal handler"
        elif code.co_name == "__del__" or code in finalisers:
            way = way or "in a finaliser"
        if "/asyncio/" not in code.co_filename:     # wait_for() and the like call nobody back
            between.append(code)
        frame = frame.f_back
    alone = bool(between) and (between[0].co_filename, between[0].co_firstlineno) == holder
    return "direct" if alone else way or "direct"


def _signal_handlers() -> set[CodeType]:
    signal = sys.modules.get("signal")
    if signal is None:
        return set()
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    functions = [getattr(handler, "__func__", handler) for handler in handlers]
    return {function.__code__ for function in functions if hasattr(function, "__code__")}


def _finalisers() -> set[CodeType]:
    weakref = sys.modules.get("weakref")
    return set() if weakref is None else {weakref.finalize.__call__.__code__}
