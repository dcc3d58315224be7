"""order_graph(): which lock classes were taken under which, how often and where first, and the circles in that."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import islice
from types import MappingProxyType
from typing import Any

from fastlock import _core, orderfile
from fastlock.assemble import Sites, iso
from fastlock.errors import ConfigError
from fastlock.findings import Site
from fastlock.reporting import printable

_UNJUDGED = 100  # circles of a graph that only a file is known of: each costs a walk over all orders


@dataclass(frozen=True)
class OrderEdge:
    """Locks of class ``then`` were taken ``count`` times under ones of class ``first``; the rest is the first time's."""

    first: str
    then: str
    count: int
    held_at: Site | None = None
    wanted_at: Site | None = None
    first_seen: str = ""
    agent: str = ""


@dataclass(frozen=True)
class OrderCycle:
    """Classes that are taken in a circle, each under the one before it; ``tier`` is "high" or "possible" with reasons.

    ``edges`` has the orders that are listed: one that only follows from others, as when three locks are held, is not.
    """

    classes: tuple[str, ...]
    tier: str
    edges: tuple[OrderEdge, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class OrderGraph:
    """The lock-order graph of one moment, immutable.

    ``filtered`` counts the circles that cannot happen, by what prevents them: "agents" (only one ever did this), "gate" (a
    common lock), "happens-before" (start and join), "shared" (readers); and under "budget" those whose search was cut short.
    ``full``: the tables have stopped learning.
    """

    classes: tuple[str, ...] = ()
    filtered: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    full: bool = False
    size_bytes: int = 0
    _edges: tuple[OrderEdge, ...] = field(default=(), repr=False)
    _cycles: tuple[OrderCycle, ...] | None = field(default=None, repr=False)

    def edges(self) -> list[OrderEdge]:
        """Return the orders, one for each pair of classes, sorted by their names."""
        return list(self._edges)

    def cycles(self) -> list[OrderCycle]:
        """Return the circles that were judged; of a loaded graph, where none was, at most 100 short ones as possible.

        Those of a loaded graph go through as many different orders as there are in circles, if 100 are enough for that.
        """
        return list(islice(_circles_of(self._edges), _UNJUDGED) if self._cycles is None else self._cycles)

    def to_dot(self) -> str:
        """Return the graph for Graphviz; orders in a circle are red."""
        cyclic = self._in_circles()
        lines = [f"  {_dot(name)};" for name in self.classes]
        for edge in self._edges:
            red = ", color=red, penwidth=2" if (edge.first, edge.then) in cyclic else ""
            lines.append(f'  {_dot(edge.first)} -> {_dot(edge.then)} [label="{edge.count:,}"{red}];')
        return "\n".join(['digraph "lock order" {', "  rankdir=LR;", *lines, "}", ""])

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart; orders in a circle are red."""
        cyclic = self._in_circles()
        numbers = {name: number for number, name in enumerate(self.classes)}
        lines = [f'    n{number}["{_mermaid(name)}"]' for name, number in numbers.items()]
        lines += [f"    n{numbers[edge.first]} -->|{edge.count}| n{numbers[edge.then]}" for edge in self._edges]
        red = [str(at) for at, edge in enumerate(self._edges) if (edge.first, edge.then) in cyclic]
        style = [f"    linkStyle {','.join(red)} stroke:red"] if red else []
        return "\n".join(["flowchart LR", *lines, *style, ""])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the orders to a file that diffs and merges well, in place of what is there; OSError where that fails."""
        lines = (orderfile.Line(edge.first, edge.then, edge.count, edge.held_at, edge.wanted_at) for edge in self._edges)
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(orderfile.write(lines))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OrderGraph:
        """Return the orders of a saved graph, sites without files and lines; ConfigError for what is no such file."""
        name = os.fsdecode(path)
        try:
            with open(path, encoding="utf-8", newline="") as file:
                text = file.read()
        except UnicodeDecodeError:
            raise ConfigError(f"{name} is no order graph: it is not UTF-8") from None
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{name} cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
        edges = [OrderEdge(*line) for line in orderfile.read(text, name)]
        return cls(classes=_classes_of(edges), _edges=_sorted(edges))

    def _in_circles(self) -> set[tuple[str, str]]:
        if self._cycles is None:
            parts = _parts(_by_first(self._edges))
            return {(edge.first, edge.then) for edge in self._edges if parts[edge.first] == parts[edge.then]}
        circles = [cycle.classes for cycle in self._cycles]
        return {pair for classes in circles for pair in zip(classes, (*classes[1:], *classes[:1]))}


def order_graph() -> OrderGraph:
    """Return what is known of the order of locks; empty where level "order" was never on.

    Any thread; takes no lock of the application; linear in the orders, and reads the source of their first sites.
    """
    return graph_from_dump(dump(), Sites(_core.site))


def dump() -> dict[str, Any]:
    """Return the core's own form of the graph, as builtins."""
    facts: dict[str, Any] = import_module("fastlock._order").dump()
    return facts


def graph_from_dump(facts: Mapping[str, Any], sites: Callable[[int], Site | None]) -> OrderGraph:
    """Return the graph of a dump; nodes of one name, such as the instances of a class, become one class."""
    nodes = facts["nodes"]
    raw = [_edge(edge, nodes, sites) for edge in facts["edges"]]
    return OrderGraph(
        classes=tuple(sorted({str(node["class"]) for node in nodes.values()})),
        filtered=MappingProxyType(dict(facts["filtered"])),
        full=facts["full"],
        size_bytes=facts["bytes"],
        _edges=_sorted(_merged(raw)),
        _cycles=tuple(sorted((_cycle(circle, raw, nodes) for circle in facts["circles"]), key=lambda c: (c.tier, c.classes))),
    )


def _edge(raw: Mapping[str, Any], nodes: Mapping[int, Any], sites: Callable[[int], Site | None]) -> OrderEdge:
    return OrderEdge(
        first=nodes[raw["from"]]["class"],
        then=nodes[raw["to"]]["class"],
        count=raw["count"],
        held_at=sites(raw["held_at"]),
        wanted_at=sites(raw["wanted_at"]),
        first_seen=iso(raw["first_s"]),
        agent=raw["agent_name"],
    )


def _cycle(raw: Mapping[str, Any], edges: list[OrderEdge], nodes: Mapping[int, Any]) -> OrderCycle:
    links = tuple(edges[number] for number in raw["edges"])
    tier = "high" if raw["high"] else "possible"
    known = [str(nodes[number]["class"]) for number in raw.get("nodes", ()) if number in nodes]
    return OrderCycle(tuple(known or [edge.first for edge in links]), tier, links, tuple(raw["reasons"]))


def _merged(edges: Iterable[OrderEdge]) -> Iterator[OrderEdge]:
    groups: dict[tuple[str, str], list[OrderEdge]] = {}
    for edge in edges:
        groups.setdefault((edge.first, edge.then), []).append(edge)
    for group in groups.values():
        earliest = min(group, key=lambda edge: edge.first_seen)
        yield replace(earliest, count=sum(edge.count for edge in group))


def _sorted(edges: Iterable[OrderEdge]) -> tuple[OrderEdge, ...]:
    return tuple(sorted(edges, key=lambda edge: (edge.first, edge.then)))


def _classes_of(edges: Iterable[OrderEdge]) -> tuple[str, ...]:
    return tuple(sorted({name for edge in edges for name in (edge.first, edge.then)}))


# ---- circles of a graph that nobody has judged --------------------------------------------------


def _by_first(edges: Iterable[OrderEdge]) -> dict[str, dict[str, OrderEdge]]:
    after: dict[str, dict[str, OrderEdge]] = {}
    for edge in edges:
        after.setdefault(edge.first, {})[edge.then] = edge
    return after


def _circles_of(edges: Iterable[OrderEdge]) -> Iterator[OrderCycle]:
    """Yield a shortest circle through each order that is in one and not in a circle yielded before; each costs a walk."""
    after = _by_first(edges)
    parts = _parts(after)
    done: set[tuple[str, str]] = set()
    for edge in edges:
        if parts[edge.first] == parts[edge.then] and (edge.first, edge.then) not in done:
            links = (edge, *_shortest(edge.then, edge.first, after, parts))
            done.update((link.first, link.then) for link in links)
            reasons = ("only the orders of a file are known",)
            yield OrderCycle(tuple(link.first for link in links), "possible", links, reasons)


def _shortest(
    start: str, end: str, after: Mapping[str, Mapping[str, OrderEdge]], parts: Mapping[str, int]
) -> list[OrderEdge]:
    """Return a shortest way inside a strongly connected part, in which there is one."""
    came: dict[str, OrderEdge] = {}
    queue = deque([start])
    while queue and end not in came and start != end:
        name = queue.popleft()
        for other, edge in after.get(name, {}).items():
            if parts[other] == parts[start] and other != start and other not in came:
                came[other] = edge
                queue.append(other)
    way: list[OrderEdge] = []
    while end != start:
        way.append(came[end])
        end = came[end].first
    return way[::-1]


def _parts(after: Mapping[str, Mapping[str, OrderEdge]]) -> dict[str, int]:
    """Return the number of each class's strongly connected part (Kosaraju's two walks, without recursion)."""
    names = list(dict.fromkeys(name for first in after for name in (first, *after[first])))
    before: dict[str, list[str]] = {name: [] for name in names}
    for first, others in after.items():
        for other in others:
            before[other].append(first)
    finished: list[str] = []
    seen: set[str] = set()
    for root in names:
        finished += _finishing(root, after, seen)
    parts: dict[str, int] = {}
    for number, root in enumerate(reversed(finished)):
        stack = [root] if root not in parts else []
        while stack:
            name = stack.pop()
            if name not in parts:
                parts[name] = number
                stack += before[name]
    return parts


def _finishing(root: str, after: Mapping[str, Mapping[str, OrderEdge]], seen: set[str]) -> Iterator[str]:
    """Yield what a depth-first walk reaches, in the order in which it is left."""
    if root in seen:
        return
    seen.add(root)
    stack: list[tuple[str, Iterator[str]]] = [(root, iter(after.get(root, ())))]
    while stack:
        name, others = stack[-1]
        other = next((other for other in others if other not in seen), None)
        if other is None:
            stack.pop()
            yield name
        else:
            seen.add(other)
            stack.append((other, iter(after.get(other, ()))))


def _dot(name: str) -> str:
    escaped = printable(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _mermaid(name: str) -> str:
    # Its entities are numbers between # and ;, so what could end a label or start one is written so.
    return "".join(f"#{ord(char)};" if char in "#\"<>&`\\" else char for char in printable(name))
