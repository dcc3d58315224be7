"""What findings have to do with each other: an inversion and the deadlock of its orders, a long wait and what it is behind.

Advice about one pair of locks is given once: what the first report says is what every later one says, for a person who
is told to turn both orders round has been told nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fastlock.findings import Finding, class_of, classes_of
from fastlock.reporting import orders, wording

CIRCLES = frozenset({"FL001", "FL010"})
CODES = CIRCLES | {"FL020"}  # those that others have a bearing on
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


def explained(finding: Finding, known: Iterable[Finding], table: Mapping[str, Any]) -> Finding:
    """Return a long wait with the deadlock that it is behind, in the core's table of this moment; any other as it is."""
    cause = _cause(finding, known, table)
    if cause is None:
        return finding
    return wording.complete(replace(finding, reasons=(f"{cause.title} {cause.fingerprint[:6]} ({cause.code})", *finding.reasons)))


def _orders(finding: Finding) -> set[orders.Order]:
    classes = classes_of(finding)
    return {
        (classes[edge.holds], classes[edge.waits])
        for edge in finding.told.edges
        if edge.holds in classes and edge.waits in classes
    }


def _cause(finding: Finding, known: Iterable[Finding], table: Mapping[str, Any]) -> Finding | None:
    """Follow the holders of what is waited for, and of what those wait for, to one who is in a deadlock."""
    if finding.code != "FL020":
        return None
    waits = {(wait["agent"], wait["lock"]) for wait in table["waits"]}
    stuck = {edge.agent: other for other in known for edge in _standing(other, waits)}
    holders = {lock["id"]: {lock["owner"], *lock["readers"]} for lock in table["locks"]}
    wanted: dict[int, set[int]] = {}
    for agent, lock in waits:
        wanted.setdefault(agent, set()).add(lock)
    seen: set[int] = set()
    queue = [edge.waits for edge in finding.told.edges if edge.is_wait][:1]
    while queue:
        for holder in holders.get(queue.pop(), set()) - seen:
            if holder in stuck:
                return stuck[holder]
            seen.add(holder)
            queue += wanted.get(holder, ())
    return None


def _standing(finding: Finding, waits: set[tuple[int, int]]) -> list[Any]:
    """Return the waits of a deadlock, none where one of them is over: a policy, a signal or a timeout has ended it."""
    if finding.code not in _ENDLESS:
        return []
    own = [edge for edge in finding.edges if edge.is_wait]
    return own if all((edge.agent, edge.waits) in waits for edge in own) else []
