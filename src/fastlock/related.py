"""What findings have to do with each other: an inversion and the deadlock of its orders, a long wait and what it is behind.

Advice about one pair of locks is given once: what the first report says is what every later one says, for a person who
is told to turn both orders round has been told nothing.
"""

from __future__ import annotations


from fastlock.findings import Finding
from fastlock.fingerprints import class_of, classes_of
from fastlock.reporting import orders, wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

CIRCLES = frozenset({"FL001", "FL010"})
_ENDLESS = frozenset({"FL001", "FL002", "FL003", "FL004", "FL012", "FL030"})


def advised(finding: Finding, known: Iterable[Finding]) -> Finding:
    """Return the finding with the advice of the first known one about the same orders, if there is one."""
    if finding.code not in CIRCLES:
        return finding
    ours = _orders(finding)
    for other in known:
        if other.code in CIRCLES and other.turns in ours and _orders(other) == ours:
            return wording.turning(finding, other.turns)
    return finding


def deadlock_of(finding: Finding, known: Iterable[Finding]) -> Finding | None:
    """Return the known deadlock of the classes of an inversion, or None."""
    classes = set(map(class_of, finding.locks)) if finding.code == "FL010" else set()
    for other in known if classes else ():
        if other.code == "FL001" and set(map(class_of, other.locks)) == classes:
            return other
    return None


def stuck_in(known: Iterable[Finding], waits: Iterable[Mapping[str, Any]]) -> dict[int, Finding]:
    """Return by agent the known deadlock that it is in and that still stands, of the waits of the core's table of this moment."""
    waiting = {(wait["agent"], wait["lock"]) for wait in waits}
    return {edge.agent: finding for finding in known for edge in _standing(finding, waiting)}


def _orders(finding: Finding) -> set[orders.Order]:
    classes = classes_of(finding)
    return {
        (classes[edge.holds], classes[edge.waits])
        for edge in finding.told.edges
        if edge.holds in classes and edge.waits in classes
    }


def _standing(finding: Finding, waits: set[tuple[int, int]]) -> list[Any]:
    """Return the waits of a deadlock, none where one of them is over: a policy, a signal or a timeout has ended it."""
    if finding.code not in _ENDLESS:
        return []
    own = [edge for edge in finding.edges if edge.is_wait]
    return own if all((edge.agent, edge.waits) in waits for edge in own) else []
