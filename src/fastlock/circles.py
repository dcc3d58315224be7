"""Deadlocks that have been reported and still stand: whether they do is read from the table, wait by wait.

A wait is told from every other one by its lock's serial and the nanosecond in which it began. As long as each wait of a circle is still
the same nobody in it has run, and so it stands; as soon as one is over, by whatever, it is no circle any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastlock import _delays
from fastlock.findings import Finding
from fastlock.reporting import printable

CODES = frozenset({"FL001", "FL002", "FL003", "FL004", "FL012", "FL030", "FL031"})
MOST_CIRCLES = 1000


@dataclass(frozen=True)
class Circle:
    """A deadlock, an orphaned lock or the like: its waits as in `_delays.waits()`, who waits in it, and what to say of it."""

    code: str
    tier: str
    fingerprint: str
    detected_at: str
    reason: str
    waits: frozenset[tuple[int, int]]
    agents: frozenset[int]


_circles: tuple[Circle, ...] = ()  # replaced as a whole by the reporting thread


def note(event: Mapping[str, Any], finding: Finding) -> bool:
    """Remember what will not end by itself; False where it is remembered already, as each agent of a circle may look again.

    For the reporting thread alone. A policy that raises ends a circle at once.
    """
    global _circles
    if finding.code not in CODES or finding.tier not in ("proven", "possible") or event["policy"] == "raise":
        return True
    if (finding.code, finding.tier) == ("FL031", "possible"):
        return True  # who waits so may be woken yet
    waits = frozenset((edge["waits"], edge["since_ns"]) for edge in event["edges"] if edge["waits"] is not None)
    agents = frozenset(agent["id"] for agent in event["agents"] if agent["state"] == "alive")  # an owner that has ended waits for nobody
    if not waits:
        return True
    before = standing()
    if any((other.waits, other.tier) == (waits, finding.tier) for other in before):
        return False
    reason = printable(f"{finding.code} {finding.title}: {finding.explanation} (report {finding.fingerprint[:6]})")
    circle = Circle(finding.code, finding.tier, finding.fingerprint, finding.detected_at, reason, waits, agents)
    _circles = (*before, circle)[-MOST_CIRCLES:]
    return True


def standing() -> tuple[Circle, ...]:
    """Return what stands now, oldest first; any thread; linear in agents where there is anything, else nothing."""
    known = _circles
    if not known:
        return ()
    waits = _delays.waits()
    return tuple(circle for circle in known if circle.waits <= waits)


def deadlocked(circles: tuple[Circle, ...]) -> int:
    """Return how many agents are in these circles."""
    return len({agent for circle in circles for agent in circle.agents})


def _after_fork_in_child() -> None:
    global _circles
    _circles = ()  # their threads are not here


os.register_at_fork(after_in_child=_after_fork_in_child)
