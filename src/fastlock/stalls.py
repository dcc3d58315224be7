"""Stalls: waiters whom nobody who can run is known to wake (FL031).

The look itself is the core's. Here stands what it cannot know: which Python threads there are, what a thread that waits in a queue's method is in,
whether C code has threads of its own, and whether signal handlers may wake somebody. The queue module is not patched: its calls are recognised by
the frames of those who wait, when somebody looks.
"""

from __future__ import annotations

import _thread
import os
import sys
import time

from fastlock import _core, _lent, _simple, _stuck, _stuck_facts, _sync, chains, resting, suspended
from fastlock.reporting import is_stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType
    from typing import Any

OWN_NATIVES = frozenset({"fastlock", "fastlock-listen"})  # threads of ours that are no Python threads, by name
_CALLS = {"get": "not_empty", "put": "not_full", "join": "all_tasks_done"}  # and what each waits on
_MOST_FAILURES = 3  # of tasks, that one report tells
_MOMENT_S, _NAP_S = 0.05, 0.0002
_PAUSE_S = 0.2  # for who has been woken to go on
_told: set[tuple[int, int, str]] = set()  # agents and when their waits began, threads and the step of their loop that rests, and in which tier they were told


def find(late_ns: int, asked: bool = False) -> list[dict[str, Any]]:
    """Return the stalls of now with a victim that waits since before ``late_ns`` (CLOCK_MONOTONIC), as events; `asked`, also what may be one."""
    with chains.frames_now() as frames:
        return _find(frames, late_ns, asked)


def _find(frames: Mapping[int, FrameType], late_ns: int, asked: bool) -> list[dict[str, Any]]:
    methods = _queue_methods()
    calls = {ident: call for ident, frame in frames.items() if (call := methods.get(id(frame.f_code))) is not None}
    rested = resting.loops(frames)
    look = _look(frames, calls, rested, asked)
    lent: list[_lent.Lent] = []
    more = 0
    if look.nothing_runs and rested:
        with chains.no_collection():
            lent, more = resting.lend(rested, frames)
        look = _look(frames, calls, rested, asked)
    if look.nothing_runs and not _rests():
        return []  # somebody was about to run; whoever waits on is looked at again
    events = []
    for group in look.stalls(late_ns):
        event = _stuck_facts.stall_event(look, group)
        if event is not None and (look.nothing_runs or not _gives_up(event)):
            _name_calls(event, frames, calls)
            _name_awaits(event, {each.id: each for each in lent})
            events.append(event)
    if look.nothing_runs and rested:
        return _of_loops(events, frames, rested, lent, more)
    return events


def _look(frames: Mapping[int, FrameType], calls: Mapping[int, str], rested: Mapping[int, Any], asked: bool) -> _stuck.Look:
    others = _consumers(frames, calls)
    return _stuck.look(frames.keys(), calls, others, _awaited_at_exit(frames), rested.keys(), resting.wanted(frames), _has_handlers(), _natives, _simple.served, asked)


def news(late_ns: int) -> list[dict[str, Any]]:
    """Return as find() those of whose waits none has been returned before in that tier; for the reporting thread."""
    events = find(late_ns)
    waits = [_waits_of(event) for event in events]
    fresh = [event for event, own in zip(events, waits) if not own & _told]
    _told.clear()  # what is over is never again
    _told.update(*waits)
    return fresh


def _waits_of(event: dict[str, Any]) -> set[tuple[int, int, str]]:
    if event.get("rests"):
        return {(ident, step, event["tier"]) for ident, step in event["rests"]}
    return {(edge["agent"], edge["since_ns"], event["tier"]) for edge in event["edges"] if edge["waits"] is not None}


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
    locks = {lock["id"]: lock for lock in event["locks"]}
    names = {number: lock["name"] for number, lock in locks.items()}
    for edge in event["edges"]:
        ident: int = idents.get(edge["agent"], 0)
        queue = _queue_in(frames[ident]) if edge["waits"] is not None and ident in calls else None
        if queue is None:
            continue
        call, lock = calls[ident], locks[edge["waits"]]
        edge["what"] = f"{type(queue).__name__}.{call} on {names[lock['id']]}{_filling(queue, call)}"
        edge["wanted_at"] = _caller(frames[ident]) or edge["wanted_at"]
        lock["name"] = f"{names[lock['id']]}.{_CALLS[call]}"


def _caller(frame: FrameType) -> tuple[str, int, str] | None:
    """Return the innermost place outside the standard library, as a site that nobody has interned."""
    outer: FrameType | None = frame
    while outer is not None and is_stdlib(outer.f_code.co_filename):
        outer = outer.f_back
    if outer is None:
        return None
    return outer.f_code.co_filename, outer.f_lineno, getattr(outer.f_code, "co_qualname", outer.f_code.co_name)


def _filling(queue: Any, call: str) -> str:
    if call == "put":
        ours_to_call = type(queue)._qsize.__module__ == "queue"  # else it is code of the program's
        return f", {queue._qsize()} of {queue.maxsize}" if ours_to_call else f", full at {queue.maxsize}"
    return f", {queue.unfinished_tasks} unfinished" if call == "join" else ", empty"


# ---- tasks --------------------------------------------------------------------------------------


def _of_loops(
    events: list[dict[str, Any]], frames: Mapping[int, FrameType], rested: Mapping[int, Any], lent: list[_lent.Lent], more: int
) -> list[dict[str, Any]]:
    """Return the events of a process whose loops rest, none where one of them has run meanwhile."""
    steps = resting.steps_of(rested)
    with chains.frames_now() as now:
        if not resting.still(rested, frames, now):
            return []
    for event in events:
        event.update(rests=steps, kept=[*event["kept"], *lent], behind=event["behind"] + more)
        loops = [agent["loop"] for agent in event["agents"] if agent["kind"] == "task"]
        event["reasons"] += [f"the loop of {name} has nothing to run: no callback, no timer, and no socket, pipe or process" for name in dict.fromkeys(loops)]
        with chains.no_collection():
            event["reasons"] += resting.failures(filter(None, [agent.get("task") for agent in event["agents"]]))[:_MOST_FAILURES]
    return events


def _gives_up(event: dict[str, Any]) -> bool:
    """Tell whether a timeout or a timer will end the wait of a task in it."""
    tasks = [_core.task_of(agent["id"]) for agent in event["agents"] if agent["kind"] == "task" and agent["state"] == "alive"]
    return any(limit is not None for limit in suspended.deadlines_of([task for task in tasks if task is not None]))


def _name_awaits(event: dict[str, Any], lent: Mapping[int, _lent.Lent]) -> None:
    """Say of each wait of a task what it awaits, as far as that is not ours, or a part of something else."""
    locks = {lock["id"]: lock for lock in event["locks"]}
    for agent in [each for each in event["agents"] if each["kind"] == "task" and not each["stops"]]:
        one = lent.get(agent["id"])
        task = _core.task_of(agent["id"])
        told = None if task is None else resting.describe(task)
        edge = next((edge for edge in event["edges"] if edge["agent"] == agent["id"] and edge["waits"] is not None), None)
        if told is None or edge is None:
            continue
        agent["task"] = task
        lock = locks[edge["waits"]]
        call = told.what.partition(" on ")[2] != ""
        if one is not None:
            edge["wanted_at"] = told.at or edge["wanted_at"]
        if one is not None and one.thing.has_needs:
            lock["kind"] = "Result"
        elif call or one is not None:
            edge.update(what=told.what, wanted_at=told.at or edge["wanted_at"])
            lock.update(name=told.name, kind=told.kind)
        if call:
            _leave_out(event, lock["id"])


def _leave_out(event: dict[str, Any], lock: int) -> None:
    """Take back who has woken what a queue's call waits on: not everybody has by a call of the queue's."""
    event["edges"] = [edge for edge in event["edges"] if edge["holds"] != lock or edge["waits"] is not None]
    for edge in event["edges"]:
        edge["holds"] = None if edge["holds"] == lock else edge["holds"]
    told = {edge["agent"] for edge in event["edges"]}
    event["agents"] = [agent for agent in event["agents"] if agent["id"] in told]


# ---- the process ----------------------------------------------------------------------------------


def _awaited_at_exit(frames: Mapping[int, FrameType]) -> dict[int, int]:
    """Return the threads for whose end the interpreter waits before it ends itself, each with the main one; none where it does not end yet."""
    threading = sys.modules.get("threading")
    shutdown = getattr(getattr(threading, "_shutdown", None), "__code__", None)
    if threading is None or shutdown is None:
        return {}
    main = threading._main_thread.ident
    frame = frames.get(main)
    if frame is None or frame.f_code is not shutdown:
        return {}
    return {ident: main for ident, thread in list(threading._active.items()) if ident != main and not thread._daemonic}


def _has_handlers() -> bool:
    """Tell whether a signal handler of the program's may run in its main thread, beside the one that raises KeyboardInterrupt."""
    signal = sys.modules.get("signal")
    if signal is None:
        return False
    handlers = map(signal.getsignal, signal.valid_signals())
    return any(callable(handler) and handler is not signal.default_int_handler and not _is_of_runner(handler) for handler in handlers)


def _is_of_runner(handler: Any) -> bool:
    """Tell whether this is asyncio.run()'s, which turns Ctrl-C into a cancellation: what the default one is to a thread."""
    partial = getattr(sys.modules.get("functools"), "partial", ())
    runner = getattr(sys.modules.get("asyncio.runners"), "Runner", None)
    return runner is not None and type(handler) is partial and getattr(handler.func, "__func__", None) is runner._on_sigint


def _rests() -> bool:
    """Let those go on who have been woken and lack the GIL or a processor, and tell whether nobody but the caller wants to run afterwards.

    C's SimpleQueue hands over what is put to who waits, and nothing but that thread's going on tells of it.
    """
    time.sleep(_PAUSE_S)
    try:
        tids = set(map(int, os.listdir("/proc/self/task"))) - {_thread.get_native_id()}
    except OSError:
        return True
    return all(_state_of(tid) not in ("R", "D") for tid in tids)


def _state_of(tid: int) -> str:
    try:
        with open(f"/proc/self/task/{tid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"  # it has ended meanwhile


def wait_a_moment(over: Callable[[], bool]) -> None:
    """Wait for what takes no longer than the end of a thread, or not for long."""
    limit = time.monotonic() + _MOMENT_S
    while not over() and time.monotonic() < limit:
        time.sleep(_NAP_S)


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
