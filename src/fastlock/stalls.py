"""Stalls: waiters whom nobody who can run is known to wake (FL031).

The look itself is the core's. Here stands what it cannot know: which Python threads there are, what a thread that waits in a queue's method is in,
whether C code has threads of its own, and whether signal handlers may wake somebody. The queue module is not patched: its calls are recognised by
the frames of those who wait, when somebody looks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from fastlock import _stuck, _stuck_facts, _sync, chains

OWN_NATIVES = frozenset({"fastlock", "fastlock-listen"})  # threads of ours that are no Python threads, by name
SETTLED_NS = 1_000_000_000  # what is merely possible is told of waits that have lasted for so long
_CALLS = ("get", "put", "join")
_told: set[tuple[int, int]] = set()  # agents and when their waits began


def find(late_ns: int) -> list[dict[str, Any]]:
    """Return the stalls of now with a victim that waits since before ``late_ns`` (CLOCK_MONOTONIC), as events."""
    frames = chains.frames_now()
    methods = _queue_methods()
    calls = {ident: call for ident, frame in frames.items() if (call := methods.get(id(frame.f_code))) is not None}
    others = _consumers(frames, calls)
    look = _stuck.look(frames.keys(), calls, others, _has_handlers(), _natives)
    events = []
    for group in look.stalls(late_ns):
        event = _stuck_facts.stall_event(look, group)
        if event is not None:
            _name_calls(event, frames, calls)
            events.append(event)
    return events


def news(late_ns: int) -> list[dict[str, Any]]:
    """Return as find() those of whose waits none has been returned before; for the reporting thread."""
    events = find(late_ns)
    waits = {id(event): _waits_of(event) for event in events}
    fresh = [event for event in events if not waits[id(event)] & _told]
    _told.intersection_update(set().union(*waits.values()))  # what is over is never again
    for event in fresh:
        _told.update(waits[id(event)])
    return fresh


def _waits_of(event: dict[str, Any]) -> set[tuple[int, int]]:
    return {(edge["agent"], edge["since_ns"]) for edge in event["edges"] if edge["waits"] is not None}


def _after_fork_in_child() -> None:
    _told.clear()


# ---- queues -------------------------------------------------------------------------------------


def _queue_methods() -> dict[int, str]:
    """Return the calls of queue.Queue that wait, by the id of their code; none where the module is not loaded."""
    queue = getattr(sys.modules.get("queue"), "Queue", None)
    methods = {call: getattr(getattr(queue, call, None), "__code__", None) for call in _CALLS}
    return {id(code): call for call, code in methods.items() if code is not None}


def _queue_in(frame: FrameType) -> Any:
    """Return the queue whose method the frame is of, None where the frame has gone on."""
    queue = frame.f_locals.get("self")
    return queue if isinstance(queue, sys.modules["queue"].Queue) else None


def _consumers(frames: Mapping[int, FrameType], calls: Mapping[int, str]) -> dict[int, int]:
    """Return for each queue that is joined whose wakers bring its end: who takes from it wakes who waits for room."""
    others = {}
    for ident, call in calls.items():
        queue = _queue_in(frames[ident]) if call == "join" else None
        joined, taken = (_sync.number_of(getattr(queue, name, None)) for name in ("all_tasks_done", "not_full"))
        if joined is not None and taken is not None:
            others[joined[1]] = taken[0]
    return others


def _name_calls(event: dict[str, Any], frames: Mapping[int, FrameType], calls: Mapping[int, str]) -> None:
    """Say of each wait in a queue which call it is, and how full the queue."""
    idents = {agent["id"]: agent["ident"] for agent in event["agents"] if agent["kind"] == "thread"}
    names = {lock["id"]: lock["name"] for lock in event["locks"]}
    for edge in event["edges"]:
        ident = idents.get(edge["agent"])
        if edge["waits"] is None or ident not in calls or ident is None:
            continue
        queue = _queue_in(frames[ident])
        if queue is not None:
            edge["what"] = f"{type(queue).__name__}.{calls[ident]} on {names[edge['waits']]}{_filling(queue, calls[ident])}"


def _filling(queue: Any, call: str) -> str:
    if call == "put":
        return f", {queue._qsize()} of {queue.maxsize}"
    return f", {queue.unfinished_tasks} unfinished" if call == "join" else ", empty"


# ---- the process ----------------------------------------------------------------------------------


def _has_handlers() -> bool:
    """Tell whether a signal handler of the program's may run in its main thread, beside the one that raises KeyboardInterrupt."""
    signal = sys.modules.get("signal")
    if signal is None:
        return False
    default = signal.default_int_handler
    return any(callable(handler) and handler is not default for handler in map(signal.getsignal, signal.valid_signals()))


def _natives(known: frozenset[int]) -> int | None:
    """Return how many threads the process has beside those of these numbers and fastlock's own, None where nobody says."""
    try:
        tids = set(map(int, os.listdir("/proc/self/task"))) - known
    except OSError:
        return None
    return sum(_name_of(tid) not in OWN_NATIVES for tid in tids)


def _name_of(tid: int) -> str:
    try:
        with open(f"/proc/self/task/{tid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return "fastlock"  # it has ended meanwhile


os.register_at_fork(after_in_child=_after_fork_in_child)
