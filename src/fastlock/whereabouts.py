"""Where an agent is, for who asks over the socket: a thread's stack, a suspended task's chain of awaits and whom it awaits, what a loop does.

Reads what other threads are just changing, and takes no lock: each line was true a moment ago. See answers.py and asked.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from fastlock import _asked, _core, assemble, chains, suspended
from fastlock._facts import HOWS
from fastlock._loops import loop_of
from fastlock.asked import Refused, Room, Turns, require_only, shown, site_facts

MOST_AGENTS = 16
MOST_AWAITS = 32
MOST_NAME = 200  # characters
LOOP_FRAMES = 10  # of a loop's thread, the innermost: those further out are asyncio's own
_MOST_ID = 1 << 56  # generation × 2²⁴ + number


def agents(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with where agents are, by their ids; those that are none (any more) are listed."""
    require_only(request, "agent", "agents")
    numbers = _numbers(request)
    turns, room = Turns(), Room()
    told, unknown = [], []
    for number in numbers:
        facts = _asked.agent(number)
        if facts is None:
            unknown.append(number)
            continue
        row = _row(facts)
        told.append(row if room.fits(row) else {**_bare(facts), "why": "this answer has no room for where it is"})
        turns.next()
    return {"agents": told, "unknown": unknown}


def _numbers(request: Mapping[str, Any]) -> list[int]:
    numbers = request.get("agents", [request["agent"]] if "agent" in request else [])
    if not isinstance(numbers, list) or ("agent" in request) == ("agents" in request) or not 0 < len(numbers) <= MOST_AGENTS:
        raise Refused(f"a request for agent has either the id of an agent, or a list of at most {MOST_AGENTS} as agents")
    for number in numbers:
        if type(number) is not int or not 0 <= number < _MOST_ID:
            raise Refused(f"{shown(number)} is no id of an agent")
    return list(dict.fromkeys(numbers))


def _bare(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": facts["id"],
        "kind": facts["kind"],
        "name": facts["name"][:MOST_NAME],
        "native_id": facts["native_id"] or None,
        "loop": None if facts["loop"] is None else facts["loop"][:MOST_NAME],
        "state": facts["state"],
        "doing": "",
        "stack": [],
        "awaits": [],
        "loop_does": None,
        "why": "",
    }


def _row(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of an agent; of asyncio's objects, which the program may have made itself, as far as they can be read."""
    row = _bare(facts)
    if facts["state"] != "alive":
        return {**row, "why": "it has ended"}
    with chains.frames_now() as frames:
        try:
            row.update(_of_task(facts) if facts["kind"] == "task" else {})
            row["loop_does"] = _loop_does(facts, frames)
        except Exception as error:  # of a task, loop or future that is none of asyncio's
            row["why"] = f"not all of it can be read: {type(error).__name__}"
        if row["doing"] != "suspended":
            row["stack"] = _stack(frames.get(facts["ident"]))
    return row


def _of_task(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a task is doing and, while it is suspended, where, and whom it awaits."""
    awaits = suspended.await_chain(dict(facts))
    if awaits is None:
        return {"doing": "stops its loop" if facts["stops"] else "runs"}
    stack = [site_facts(site) for site in assemble.stack_of_awaits(awaits)]
    return {"doing": "suspended", "stack": stack, "awaits": _awaits(facts["id"])}


def _stack(frame: FrameType | None, most: int = 40) -> list[dict[str, Any] | None]:
    return [site_facts(site) for site in assemble.stack_from_frame(frame, most)]


def _awaits(number: int) -> list[dict[str, Any]]:
    task = _core.task_of(number)
    if task is None:
        return []
    return [
        {"who": _agent_facts(one), "whom": _agent_facts(other), "how": HOWS[how]}
        for one, other, how in suspended.awaits_from(task, MOST_AWAITS)
    ]


def _agent_facts(whom: Any) -> dict[str, Any]:
    """Return a task, a thread by its agent's id, or a pool, as builtins."""
    if isinstance(whom, int):
        facts = _asked.agent(whom)
        return {"id": whom, "kind": "thread", "name": "" if facts is None else facts["name"][:MOST_NAME]}
    if hasattr(whom, "get_name"):
        return {"id": _asked.id_of_task(whom), "kind": "task", "name": str(whom.get_name())[:MOST_NAME]}
    return {"id": None, "kind": "pool", "name": _asked.name_of_lock(whom.index)[:MOST_NAME]}


def _loop_does(facts: Mapping[str, Any], frames: Mapping[int, FrameType]) -> dict[str, Any] | None:
    """Return what the loop of a task, or one that a thread runs, is doing; None where there is none, or it is not known."""
    loop = loop_of(facts["ident"]) if "asyncio" in sys.modules else None
    if loop is None:
        return None
    task = sys.modules["asyncio"].current_task(loop)
    return {
        "thread": facts["thread"],
        "running": None if task is None else str(task.get_name())[:MOST_NAME],
        "ready": _length(loop, "_ready"),
        "timers": _length(loop, "_scheduled"),
        "stack": _stack(frames.get(facts["ident"]), LOOP_FRAMES) if facts["kind"] == "task" else [],
    }


def _length(loop: Any, name: str) -> int | None:
    """Return how many there are of something in asyncio's own loops; others do not say."""
    things = getattr(loop, name, None)
    return None if things is None else len(things)

