"""Circles that have been reported and still stand: whether they do is read from the table, wait by wait.

A wait is told from every other one by its lock's serial and the nanosecond in which it began. As long as each wait of a circle is still
the same nobody in it has run, and so it stands; as soon as one is over, by whatever, it is no circle any more. So one that another of its
agents reports is known to be the same, and counts once.
"""

from __future__ import annotations

import os

from fastlock import _delays, _loops
from fastlock.findings import Finding
from fastlock.lean import dataclass, field
from fastlock.reporting import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CODES = frozenset({"FL001", "FL002", "FL003", "FL004", "FL012", "FL030", "FL031"})
DEADLOCKS = frozenset({"proven", "possible"})  # the tiers of what will not end by itself
MOST_CIRCLES = 1000


@dataclass(frozen=True)
class Circle:
    """Agents that wait for each other, an orphaned lock or the like: its waits as in `_delays.waits()`, who waits in it, and what to say of it.

    `rests` are threads whose event loop has nothing to run, each with the step of the loop: as long as that is the same none of its tasks has run. What those
    await is in the table as long as it is `kept`.
    """

    code: str
    tier: str
    fingerprint: str
    detected_at: str
    reason: str
    waits: frozenset[tuple[int, int]]
    agents: frozenset[int]
    rests: tuple[tuple[int, int], ...] = ()
    kept: tuple[object, ...] = field(default=(), repr=False)


_circles: tuple[Circle, ...] = ()  # replaced as a whole by the reporting thread


def circle_of(event: Mapping[str, Any], finding: Finding) -> Circle | None:
    """Return what stands from now on; None where nothing does. A policy that raises ends a circle at once."""
    if finding.code not in CODES or event["policy"] == "raise":
        return None
    rests = event.get("rests", ())
    tasks = {agent["id"] for agent in event["agents"] if agent["kind"] == "task"} if rests else set()
    waits = frozenset((edge["waits"], edge["since_ns"]) for edge in event["edges"] if edge["waits"] is not None and edge["agent"] not in tasks)
    if not waits and not rests:
        return None
    agents = frozenset(agent["id"] for agent in event["agents"] if agent["state"] == "alive")  # an owner that has ended waits for nobody
    reason = printable(f"{finding.code} {finding.title}: {finding.explanation} (report {finding.fingerprint[:6]})")
    return Circle(finding.code, finding.tier, finding.fingerprint, finding.detected_at, reason, waits, agents, rests, tuple(event["kept"]) if rests else ())


def is_known(circle: Circle) -> bool:
    """Tell whether the very same circle has been remembered, whichever of its agents looked; for the reporting thread alone."""
    return any((other.waits, other.rests, other.fingerprint) == (circle.waits, circle.rests, circle.fingerprint) for other in _circles)


def remember(circle: Circle) -> None:
    """Remember a circle, unless it is in this tier; for the reporting thread alone."""
    global _circles
    if not any((other.waits, other.rests, other.tier) == (circle.waits, circle.rests, circle.tier) for other in _circles):
        _circles = (*_standing(_circles), circle)[-MOST_CIRCLES:]


def forget() -> None:
    """Let go of what does not stand any more; for the reporting thread alone."""
    global _circles
    _circles = _standing(_circles)


def standing() -> tuple[Circle, ...]:
    """Return what stands now and will not end by itself, oldest first; any thread; linear in agents where there is anything, else nothing."""
    return _standing(tuple(circle for circle in _circles if _will_stay(circle)))


def _will_stay(circle: Circle) -> bool:
    # Whoever is in a stall that is only possible may be woken yet.
    return circle.tier in DEADLOCKS and (circle.code, circle.tier) != ("FL031", "possible")


def _standing(known: tuple[Circle, ...]) -> tuple[Circle, ...]:
    if not known:
        return ()
    waits = _delays.waits()
    return tuple(circle for circle in known if circle.waits <= waits and all(_loops.step_of(ident) == step for ident, step in circle.rests))


def deadlocked(circles: tuple[Circle, ...]) -> int:
    """Return how many agents are in these circles."""
    return len({agent for circle in circles for agent in circle.agents})


def _after_fork_in_child() -> None:
    global _circles
    _circles = ()  # their threads are not here


os.register_at_fork(after_in_child=_after_fork_in_child)
