"""advice(): what the order graph and the counters of contention say about the locks themselves; evidence in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastlock import order

# Fewer acquires than this are no habit.
ENOUGH = 20
# One wait in so many acquires is what makes a lock worth the rewrite.
CONTENDED = 0.01
_CONSUMERS = 2
_MOST_CONSUMERS = 5  # the core counts no further
_EXCLUSIVE = frozenset({"Lock", "RLock"})

_Node = Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """One thing to change: ``kind`` is "owner-task", "redundant" or "merge"; ``locks`` are classes; numbers by name."""

    kind: str
    locks: tuple[str, ...]
    text: str
    evidence: Mapping[str, int]

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {number:,}" for name, number in self.evidence.items())
        return f"{self.text} ({numbers})"


def advice() -> list[Advice]:
    """Return what to change in the use of locks, from what was seen at level "order"; nothing without enough evidence.

    Any thread; linear in classes and orders.
    """
    return advice_from_dump(order.dump())


def advice_from_dump(facts: Mapping[str, Any]) -> list[Advice]:
    """Return the advice that follows from a dump of the graph."""
    nodes: Mapping[int, _Node] = facts["nodes"]
    under: dict[int, list[Mapping[str, Any]]] = {}
    beside: dict[int, set[int]] = {}
    for edge in facts["edges"]:
        under.setdefault(edge["to"], []).append(edge)
        beside.setdefault(edge["from"], set()).add(edge["to"])
        beside.setdefault(edge["to"], set()).add(edge["from"])
    enough = {number: node for number, node in nodes.items() if node["acquired"] >= ENOUGH}
    found: list[Advice] = []
    for number, node in enough.items():
        found += _owner_task(node, len(beside.get(number, ())))
        found += _always_under(node, nodes, under.get(number, []))
    return sorted(found, key=lambda each: (each.kind, each.locks))


def _owner_task(node: _Node, nested: int) -> Iterator[Advice]:
    contended, acquired, consumers = node["contended"], node["acquired"], node["consumers"]
    if consumers <= _CONSUMERS or not nested or contended < max(1, acquired * CONTENDED) or node["kind"] not in _EXCLUSIVE:
        return
    many = f"{consumers} or more" if consumers >= _MOST_CONSUMERS else str(consumers)
    name = node["class"]
    yield Advice(
        "owner-task",
        (name,),
        f"{name}: {many} threads contend for it, with other locks held: let one owner thread have what it guards, "
        "and the others send it requests through a queue",
        MappingProxyType({"consumers": consumers, "acquired": acquired, "contended": contended, "nested with": nested}),
    )


def _always_under(node: _Node, nodes: Mapping[int, _Node], edges: list[Mapping[str, Any]]) -> Iterator[Advice]:
    """Judge a lock that was never taken but under one and the same other class."""
    outer = nodes[edges[0]["from"]] if len({edge["from"] for edge in edges}) == 1 else node
    together = sum(edge["count"] for edge in edges)
    if outer is node or together != node["acquired"] or outer["kind"] not in _EXCLUSIVE:
        return
    names = (outer["class"], node["class"])
    numbers = {f"acquired {names[1]}": node["acquired"], f"under {names[0]}": together, f"acquired {names[0]}": outer["acquired"]}
    evidence = MappingProxyType(numbers)
    # As many of the one as of the other: a pair for each object, or one pair.
    if outer["acquired"] == together and outer["live"] == node["live"]:
        yield Advice("merge", names, f"{names[0]} and {names[1]} were always taken together: they could be one lock", evidence)
    elif outer["live"] == 1:
        # Several locks of the outer class would not exclude each other, and then the inner one does the work.
        yield Advice("redundant", names, f"{names[1]} was always taken under {names[0]}, which excludes everybody already", evidence)
