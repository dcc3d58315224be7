"""Lock orders and inversions as a process has told them, and an inversion's report with what is counted now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fastlock import related
from fastlock.console.facts import finding_of, site_of
from fastlock.console.seen import Asked, Seen
from fastlock.findings import Finding, OrderFact, Site
from fastlock.reporting import printable, wording

_EDGE_TEXTS = ("first", "then")


class Edge(NamedTuple):
    """``then`` was taken so many times under ``first``."""

    seen: Seen
    first: str
    then: str
    times: int
    held_at: Site | None
    wanted_at: Site | None
    agent: str


class Inversion(NamedTuple):
    """Orders that make a circle; ``finding`` where the process has told it as one, and the graph has no more of it."""

    seen: Seen
    classes: tuple[str, ...]
    tier: str
    reasons: tuple[str, ...]
    edges: tuple[Edge, ...]
    finding: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """What tells it from others of its process."""
        return " → ".join(self.classes)


def edges_of(seen: Seen, asked: Asked) -> list[Edge]:
    """Return the orders that a process tells of; what makes no sense is left out."""
    answer = asked.order or {}
    return [edge for each in _list(answer.get("edges")) if (edge := _edge(each, seen)) is not None]


def inversions_of(seen: Seen, asked: Asked) -> list[Inversion]:
    """Return the inversions of a process: of its order graph, then of its findings those that are not among them."""
    answer = asked.order or {}
    found = [each for told in _list(answer.get("cycles")) if (each := _inversion(told, seen)) is not None]
    known = {frozenset(each.classes) for each in found}
    for told in reversed(seen.findings):
        each = _of_finding(told, seen)
        if each is not None and frozenset(each.classes) not in known:
            known.add(frozenset(each.classes))
            found.append(each)
    return found


def _inversion(told: object, seen: Seen) -> Inversion | None:
    if not isinstance(told, Mapping):
        return None
    classes = tuple(printable(each) for each in _list(told.get("classes")) if isinstance(each, str))
    edges = tuple(edge for each in _list(told.get("edges")) if (edge := _edge(each, seen)) is not None)
    reasons = tuple(printable(each) for each in _list(told.get("reasons")) if isinstance(each, str))
    return Inversion(seen, classes, printable(str(told.get("tier"))), reasons, edges) if classes else None


def _edge(told: object, seen: Seen) -> Edge | None:
    try:
        first, then = (printable(told[key]) for key in _EDGE_TEXTS)  # type: ignore[index]
        held, wanted = (site_of(told[key]) for key in ("held_at", "wanted_at"))  # type: ignore[index]
        return Edge(seen, first, then, number(told["count"]), held, wanted, printable(str(told["agent"])))  # type: ignore[index]
    except (LookupError, TypeError, AttributeError):
        return None


def _of_finding(told: Mapping[str, Any], seen: Seen) -> Inversion | None:
    """Return the inversion that a finding tells of, None where it tells of something else."""
    if told.get("code") != "FL010":
        return None
    try:
        names = {each["id"]: printable(each["class"]) for each in told["locks"]}
        edges = [
            Edge(seen, names[each["holds"]], names[each["waits"]], 0, site_of(each["held_at"]), site_of(each["wanted_at"]), "")
            for each in told["edges"]
            if each["holds"] is not None and each["waits"] is not None
        ]
    except (LookupError, TypeError, AttributeError):
        return None
    classes = tuple(edge.first for edge in edges)
    return Inversion(seen, classes, printable(str(told.get("tier"))), (), tuple(edges), told) if classes else None


def _list(told: object) -> Sequence[Any]:
    return told if isinstance(told, (list, tuple)) else ()


def number(told: object) -> int:
    """Return a number of an answer, 0 for what is none."""
    return told if isinstance(told, int) else 0


# ---- reports ---------------------------------------------------------------------------------------------------------


def inversion_of(told: Mapping[str, Any], inversions: Sequence[Inversion]) -> Inversion | None:
    """Return which of these inversions a finding is about, None where it is about none."""
    classes = {str(each.get("class")) for each in told.get("locks", ()) if isinstance(each, Mapping)}
    return next((each for each in inversions if {printable(name) for name in classes} == set(each.classes)), None)


def counted(finding: Finding, inversion: Inversion | None) -> Finding:
    """Return an inversion's finding with how often each order has been taken by now; which of them it advises to turn round stays."""
    known = {(edge.first, edge.then): edge for edge in (inversion.edges if inversion is not None else ())}
    names = {lock.id: printable(lock.lock_class) for lock in finding.locks}
    orders = []
    for edge in finding.edges:
        now = known.get((names.get(edge.holds or 0, ""), names.get(edge.waits or 0, "")))
        if edge.holds is not None and edge.waits is not None and now is not None and now.times:
            orders.append(OrderFact(edge.holds, edge.waits, edge.held_at, edge.wanted_at, now.times))
    if not orders or len(orders) < len(known):
        return finding
    return wording.recounted(replace(finding, orders=tuple(orders)))


def happened(finding: Finding, seen: Seen) -> Finding | None:
    """Return the deadlock of the classes of an inversion that the process has found, None where it has found none."""
    for told in seen.findings:
        try:
            other = finding_of(told, seen) if told.get("code") == "FL001" else None
        except ValueError:
            continue
        if other is not None and related.deadlock_of(finding, [other]) is not None:
            return other
    return None
