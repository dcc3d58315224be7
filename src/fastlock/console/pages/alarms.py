"""Deadlocks that stand: the circles that the table shows, and what only the process's own findings know, as circles over an await."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastlock.console.names import Names
from fastlock.console.seen import Circle, Seen, Target
from fastlock.reporting import printable


class Alarm(NamedTuple):
    """A deadlock: where it leads to, what it is, who is in it; ``circle`` where the table shows one."""

    target: Target
    what: str
    told: str
    agents: tuple[int, ...]
    circle: Circle | None = None


def alarms_of(seen: Seen, names: Names) -> list[Alarm]:
    """Return the deadlocks of a process, circles first; of one that is not deadlocked nothing is worked out."""
    if not seen.is_deadlocked:
        return []
    circles = [circle for circle in seen.circles if not circle.clears]
    alarms = [_of_circle(circle, seen, names) for circle in circles]
    inside = {agent for circle in circles for agent in circle.agents}
    standing = () if seen.view is None else seen.view.standing
    return alarms + [_of_finding(told, seen) for told in standing if inside.isdisjoint(_agents(told))]


def _of_circle(circle: Circle, seen: Seen, names: Names) -> Alarm:
    what = "DEADLOCK" if circle.proven else "POSSIBLE DEADLOCK"
    return Alarm(Target("circle", seen.pid, circle.agents[0]), what, among(circle, names), circle.agents, circle)


def _of_finding(told: Mapping[str, Any], seen: Seen) -> Alarm:
    what = printable(f"{told['code']} {told['title']}")
    return Alarm(Target("finding", seen.pid, str(told["fingerprint"])), what, printable(told["explanation"]), _agents(told))


def _agents(told: Mapping[str, Any]) -> tuple[int, ...]:
    agents: Sequence[Any] = [edge.get("agent") for edge in told["edges"]]
    return tuple(agent for agent in agents if isinstance(agent, int))


def among(circle: Circle, names: Names) -> str:
    """Return who is in a circle, as a sentence without an end."""
    agents = circle.agents
    if len(agents) == 1:
        return f"{names.agent(agents[0])} waits for itself"
    if len(agents) == 2:
        return f"{names.agent(agents[0])} and {names.agent(agents[1])} wait for each other"
    return f"{len(agents):,} agents wait in a circle, {names.agent(agents[0])} among them"
