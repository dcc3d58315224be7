"""Where the agents of a finding stand: a thread by its stack, a suspended task by its chain of awaits."""

from __future__ import annotations

import itertools

from fastlock import assemble, chains, suspended
from fastlock.findings import Site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

MOST_AGENTS = 64


def stacks_of(event: dict[str, Any]) -> dict[int, tuple[Site, ...]]:
    """Return by agent where it stands now: a thread, and a task that has stopped its thread, where that one is; a task where it awaits."""
    stacks = {}
    with chains.frames_now() as frames:
        for agent in itertools.islice(event["agents"], MOST_AGENTS):
            if agent["state"] == "alive":
                awaits = suspended.await_chain(agent)
                stacks[agent["id"]] = (
                    assemble.stack_from_frame(frames.get(agent["ident"])) if awaits is None else assemble.stack_of_awaits(awaits)
                )
    return stacks


def stack_of_closing(event: dict[str, Any], frame: FrameType | None) -> tuple[Site, ...]:
    """Return where the agent stands that has met something: here, unless it is a task that is told of what others have done."""
    first = next(iter(event["agents"]), None)
    awaits = None if first is None or first["id"] != event["closing"] else suspended.await_chain(first)
    return assemble.stack_from_frame(frame) if awaits is None else assemble.stack_of_awaits(awaits)
