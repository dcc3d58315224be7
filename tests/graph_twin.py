"""The rules of judgement once more, naively: every circle and every combination of witnesses, without limits or an order.

The twin is shown what a Graph answered and fails where its own reading of the rules differs. Where the rules leave a choice (among
circles that are equally good, or equally short) it takes over the Graph's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fastlock import _graph_py as g

Edge = tuple[str, int, int]  # ("class", node, node) or ("instance", serial, serial)
Circle = tuple[Edge, ...]  # the smallest edge first
RANK = {"filtered": 0, "possible": 1, "high": 2}
KEPT = g.SHARED | g.RECURSIVE | g.TIMED | g.REACQUIRE


@dataclass
class Lock:
    """A held or wanted lock, as Graph.learn takes it."""

    serial: int
    node: int
    flags: int


@dataclass
class Witness:
    agent: int
    job: int
    clock: int
    held: int
    wanted: int
    lockset: frozenset[tuple[int, bool]]
    flags: int
    edge: Edge
    call: int = 0
    fresh: bool = False

    def key(self) -> tuple[Any, ...]:
        return self.agent, self.job, self.clock, self.held, self.wanted, self.lockset, self.flags


@dataclass
class Record:
    tier: str
    filter: str | None
    call: int
    before: tuple[str, str | None] | None


@dataclass
class Twin:
    edges: dict[Edge, list[Witness]] = field(default_factory=dict)
    classes: dict[int, int] = field(default_factory=dict)  # serial -> node, of locks that instance edges know
    writers: set[int] = field(default_factory=set)
    signals: set[int] = field(default_factory=set)
    records: dict[Circle, Record] = field(default_factory=dict)
    preds: dict[int, tuple[int, ...]] = field(default_factory=dict)  # of clocks, numbered by whoever makes them
    calls: int = 0

    # ---- the rules for two witnesses

    def before(self, a: int, b: int) -> bool:
        return any(p == a or self.before(a, p) for p in self.preds.get(b, ()))

    def fails(self, a: Witness, b: Witness, name: str) -> bool:
        """Whether two witnesses of one circle cannot go together, by one of the filters that look at pairs."""
        if name == "agents":
            return a.agent == b.agent and (a.job == b.job or 0 in (a.job, b.job))
        if name == "gate":
            return any(s == t and (x or y) for s, x in a.lockset for t, y in b.lockset)
        return bool(a.clock and b.clock) and (self.before(a.clock, b.clock) or self.before(b.clock, a.clock))

    def passes(self, chosen: tuple[Witness, ...], filters: tuple[str, ...]) -> bool:
        for name in filters:
            if name == "shared":
                for a, b in zip(chosen, (*chosen[1:], chosen[0])):
                    if a.flags & g.SHARED and a.flags & g.RECURSIVE and b.flags & g.HELD_SHARED:
                        return False
            elif any(self.fails(a, b, name) for a, b in itertools.combinations(chosen, 2)):
                return False
        return True

    def doubts(self, chosen: tuple[Witness, ...]) -> frozenset[str]:
        found = set()
        for a, b in zip(chosen, (*chosen[1:], chosen[0])):
            cls = b.edge[1] if b.edge[0] == "class" else self.classes[b.edge[1]]
            if a.flags & g.TIMED:
                found.add("timed")
            if not a.flags & g.EVIDENCE:
                found.add("evidence")
            if a.wanted != b.held:
                found.add("instances")
            if a.flags & g.SHARED and b.flags & g.HELD_SHARED and cls not in self.writers:
                found.add("writer")
        return frozenset(found)

    # ---- circles

    def circles(self, edge: Edge) -> Iterator[Circle]:
        """All circles through an edge, beginning with it."""
        out: dict[tuple[str, int], list[Edge]] = {}
        for e in self.edges:
            out.setdefault(e[:2], []).append(e)

        def go(path: list[Edge]) -> Iterator[Circle]:
            kind, head = path[-1][0], path[-1][2]
            if head == edge[1]:
                yield tuple(path)
            elif head not in [e[1] for e in path]:
                for e in out.get((kind, head), []):
                    yield from go([*path, e])

        return go([edge])

    def combinations(self, circle: Circle, first: Witness | None = None) -> Iterator[tuple[Witness, ...]]:
        lists = [self.edges[e] for e in circle]
        if first is not None:
            lists[0] = [first]
        return itertools.product(*lists)

    def filter_of(self, circle: Circle) -> str | None:
        for n in range(1, 5):
            if not any(self.passes(c, g.FILTERS[:n]) for c in self.combinations(circle)):
                return g.FILTERS[n - 1]
        return None

    def best(self, w: Witness) -> tuple[tuple[int, int], list[tuple[Circle, frozenset[str]]]] | None:
        """(tier, -length) of the best circles through a witness that pass, and those among them that are news in that tier."""
        found: dict[tuple[int, int], list[tuple[Circle, frozenset[str]]]] = {}
        for circle in self.circles(w.edge):
            record = self.records.get(rotated(circle))
            for chosen in self.combinations(circle, w):
                if self.passes(chosen, g.FILTERS[:4]):
                    doubts = self.doubts(chosen)
                    rank = 1 if doubts else 2
                    news = found.setdefault((rank, -len(circle)), [])
                    if record is None or RANK[record.tier] < rank:
                        news.append((circle, doubts))
        return (max(found), found[max(found)]) if found else None

    # ---- events

    def learn(self, agent: int, want: Lock, held: list[Lock], job: int, clock: int, graph: g.Graph, answer: Any) -> None:
        code, circle = answer
        self.calls += 1
        pending, touched, learned = self.gather(agent, want, held, job, clock)
        assert code in (g.KNOWN, g.LEARNED, g.WATCHED, g.FOUND)
        best: tuple[int, int] | None = None
        offers: list[tuple[Witness, tuple[int, int], list[tuple[Circle, frozenset[str]]]]] = []
        for w in pending:
            w.fresh = False
            found = self.best(w)
            if found is None:
                self.note_filtered(w, graph)
            elif found[1]:
                w.fresh = True
                offers.append((w, *found))
                best = found[0] if best is None else max(best, found[0])
        if best is None:
            expected = g.LEARNED if learned else g.KNOWN
            if any(self.watched(e) for e in touched):
                expected = g.WATCHED
            assert (code, circle) == (expected, None)
        else:
            assert code == g.FOUND
            self.take_report(best, offers, circle)
        self.compare(graph)

    def gather(
        self, agent: int, want: Lock, held: list[Lock], job: int, clock: int
    ) -> tuple[list[Witness], list[Edge], bool]:
        """The witnesses to judge, the edges touched, and whether any witness is new."""
        if want.serial in self.signals:
            return [], [], False
        if not want.flags & g.SHARED:
            self.writers.add(want.node)
        self.writers |= {h.node for h in held if not h.flags & g.SHARED}
        if any(h.serial == want.serial for h in held) or not held:
            return [], [], False
        held = [h for h in held if h.serial not in self.signals]
        exclusive = {h.serial for h in held if not h.flags & g.SHARED}
        lockset = frozenset((h.serial, h.serial in exclusive) for h in held)
        pending: list[Witness] = []
        touched = []
        learned = False
        for h in held:
            edge: Edge = ("class", h.node, want.node)
            if h.node == want.node:
                if want.flags & g.NESTED:
                    continue
                edge = ("instance", h.serial, want.serial)
                self.classes.update({h.serial: h.node, want.serial: want.node})
            flags = want.flags & KEPT | h.flags & (g.TRY | g.EVIDENCE) | (g.HELD_SHARED if h.flags & g.SHARED else 0)
            new = Witness(agent, job, clock, h.serial, want.serial, lockset, flags, edge, self.calls)
            known = [w for w in self.edges.get(edge, []) if w.key() == new.key()]
            touched.append(edge)
            if not known:
                self.edges.setdefault(edge, []).append(new)
                pending.append(new)
                learned = True
            elif known[0].fresh:
                known[0].call = self.calls
                pending.append(known[0])
        return pending, touched, learned

    def watched(self, edge: Edge) -> bool:
        return any(edge in circle and record.tier != "high" for circle, record in self.records.items())

    def tier_of(self, circle: Circle) -> tuple[str, str | None] | None:
        record = self.records.get(rotated(circle))
        return None if record is None else (record.tier, record.filter)

    def set_record(self, circle: Circle, tier: str, name: str | None) -> None:
        old = self.records.get(rotated(circle))
        before = (old.tier, old.filter) if old is not None else None
        if old is not None and old.call == self.calls:
            before = old.before
        self.records[rotated(circle)] = Record(tier, name, self.calls, before)

    def note_filtered(self, w: Witness, graph: g.Graph) -> None:
        circles = list(self.circles(w.edge))
        shortest = [c for c in circles if len(c) == min(map(len, circles))]
        theirs = judged(graph)
        reasons = {c: self.filter_of(c) for c in shortest}
        matching = [c for c, reason in reasons.items() if reason and theirs.get(rotated(c)) == ("filtered", reason)]
        # Of several shortest circles the Graph has taken one: one that is news to the twin, if there is any.
        matching.sort(key=lambda c: self.tier_of(c) == ("filtered", reasons[c]))
        if matching:
            self.set_record(matching[0], "filtered", reasons[matching[0]])
            return
        assert not reasons or None in reasons.values(), f"no circle of {reasons} is recorded: {theirs}"

    def take_report(self, best: tuple[int, int], offers: list[tuple[Witness, Any, Any]], circle: dict[str, Any]) -> None:
        told = tuple(edge_of(link) for link in circle["links"])
        assert (RANK[circle["tier"]], -len(told)) == best
        for w, rank, news in offers:
            if rank == best and (told, circle["doubts"]) in news:
                w.fresh = False
                self.set_record(told, circle["tier"], None)
                return
        raise AssertionError(f"{told} with {circle['doubts']} is not among {offers}")

    def drop(self, gone: Any) -> None:
        """Removes the witnesses that a predicate names, edges without one, and records of such edges."""
        for edge in list(self.edges):
            self.edges[edge] = [w for w in self.edges[edge] if not gone(w)]
            if not self.edges[edge]:
                del self.edges[edge]
                self.records = {c: r for c, r in self.records.items() if edge not in c}

    def retract(self) -> None:
        """Takes back what the last call has learned."""
        for circle, record in list(self.records.items()):
            if record.call == self.calls and record.before is None:
                del self.records[circle]
            elif record.call == self.calls and record.before is not None:
                self.records[circle] = Record(*record.before, 0, None)
        self.drop(lambda w: w.call == self.calls)

    def signal(self, serial: int) -> None:
        if serial in self.signals:
            return
        self.signals.add(serial)
        self.drop(lambda w: serial in (w.held, w.wanted))
        for w in itertools.chain(*self.edges.values()):
            reduced = frozenset(item for item in w.lockset if item[0] != serial)
            if reduced != w.lockset:
                w.lockset = reduced
                w.fresh = True

    def died(self, serial: int) -> None:
        self.signals.discard(serial)
        self.drop(lambda w: w.edge[0] == "instance" and serial in w.edge[1:])

    def drop_node(self, node: int) -> None:
        into = [e for e in self.edges if e[0] == "class" and e[2] == node]
        out = [e for e in self.edges if e[0] == "class" and e[1] == node]
        for a, b in itertools.product(into, out):
            edge: Edge = ("class", a[1], b[2])
            if a[1] != b[2]:
                there = self.edges.setdefault(edge, [])
                known = {w.key() for w in there}
                for w in self.edges[b]:
                    if w.key() not in known:
                        known.add(w.key())
                        there.append(replace(w, edge=edge))
        self.drop(lambda w: w.edge[0] == "class" and node in w.edge[1:])
        self.writers.discard(node)

    def compare(self, graph: g.Graph) -> None:
        """Everything that both keep is the same."""
        assert judged(graph) == {c: (r.tier, r.filter) for c, r in self.records.items()}
        assert graph.fault() is None
        stats = graph.stats()
        assert stats["edges"] == len(self.edges)
        assert stats["witnesses"] == sum(map(len, self.edges.values()))
        on_circles = [e for e in self.edges if next(self.circles(e), None)]
        # Of more than eight nodes a component is taken apart late, and what it counts too much is not judged so.
        assert stats["cyclic"] == len(on_circles) or stats["nodes"] > 8 and stats["cyclic"] > len(on_circles)
        counts = {name: 0 for name in g.FILTERS}
        for record in self.records.values():
            if record.filter is not None:
                counts[record.filter] += 1
        assert stats["filtered"] == counts
        standing = {
            c for c, r in self.records.items()
            if r.tier != "filtered" and any(self.passes(w, g.FILTERS[:4]) for w in self.combinations(c))
        }
        assert {rotated(tuple(map(edge_of, c["links"]))) for c in graph.circles()} == standing


def edge_of(link: dict[str, Any]) -> Edge:
    if link["from"] == link["to"]:
        return ("instance", link["from_serial"], link["to_serial"])
    return ("class", link["from"], link["to"])


def rotated(circle: Circle) -> Circle:
    first = circle.index(min(circle))
    return circle[first:] + circle[:first]


def judged(graph: g.Graph) -> dict[Circle, tuple[str, str | None]]:
    """How the Graph has judged circles."""
    found = {}
    for tier, name, links in graph.records():
        circle = tuple(("instance", s, t) if a == b else ("class", a, b) for a, b, s, t in links)
        found[rotated(circle)] = (tier, name)
    return found
