"""The rules of prediction, written down naively: the twin that the real lock-order graph is compared with.

Every edge keeps its witnesses, every circle is looked for from scratch, and every combination of witnesses is tried. A node is
a class, or one lock where both locks of an edge are of one class; a clock is a number, with the set of those before it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

WITNESSES = 16  # an edge keeps no more
SHARED, UPGRADABLE, EXCLUSIVE = 0, 1, 2  # two that add up to EXCLUSIVE keep each other out
FILTERS = ("agents", "gate", "happens-before", "shared")

Node = Hashable
Edge = tuple[Node, Node]


class Held(NamedTuple):
    """A lock that somebody holds while wanting another one."""

    serial: int
    node: Node
    shared: bool = False
    evidence: bool = True
    upgradable: bool = False


class Want(NamedTuple):
    """A blocking acquire, about to happen."""

    serial: int
    node: Node
    agent: Hashable
    clock: int
    held: tuple[Held, ...]
    job: int = 0
    shared: bool = False
    recursive: bool = False
    timed: bool = False
    nested: bool = False
    upgradable: bool = False  # the upgradable share; not shared: to write, by who has that

    @property
    def is_upgrade(self) -> bool:
        """It holds what it wants, and waits for others who read."""
        return self.upgradable and not self.shared


class Witness(NamedTuple):
    """One occurrence of an edge: who did it when, with which two locks in which modes, and what else was held."""

    edge: Edge
    agent: Hashable
    job: int
    clock: int
    held: int
    wanted: int
    wanted_node: Node
    lockset: frozenset[tuple[int, int]]  # serial, mode
    held_shared: bool
    shared: bool
    recursive: bool
    timed: bool
    evidence: bool
    upgradable: bool
    held_upgradable: bool


class Circle(NamedTuple):
    """Edges, the first of which was just shown, and what makes the circle less than sure."""

    edges: tuple[Edge, ...]
    doubts: frozenset[str]

    @property
    def tier(self) -> str:
        """The tier of the finding."""
        return "possible" if self.doubts else "high"


@dataclass
class NaiveOrder:
    """All that is known."""

    edges: dict[Edge, list[Witness]] = field(default_factory=dict)
    after: dict[Node, set[Node]] = field(default_factory=dict)
    written: set[Node] = field(default_factory=set)
    signals: set[int] = field(default_factory=set)
    earlier: dict[int, frozenset[int]] = field(default_factory=lambda: {0: frozenset()})
    agents: set[tuple[Hashable, int]] = field(default_factory=set)

    def clock(self, *predecessors: int) -> int:
        """Begin a segment of time after others."""
        number = len(self.earlier)
        self.earlier[number] = frozenset(predecessors).union(*(self.earlier[clock] for clock in predecessors))
        return number

    def learn(self, want: Want) -> tuple[list[Circle], bool]:
        """Return the circles that an acquire closes, each in its best reading, and whether it was anything new."""
        if not want.shared:
            self.written.add(want.node)
        self.written.update(held.node for held in want.held if not held.shared)
        shown, new = [], False
        if want.serial in self.signals or (any(held.serial == want.serial for held in want.held) and not want.is_upgrade):
            return [], False
        stack = [held for held in want.held if held.serial not in self.signals]
        lockset = frozenset((held.serial, _mode(held)) for held in stack)
        self.agents.add((want.agent, want.job))
        for held in stack:
            if held.serial == want.serial or (held.node == want.node and want.nested):
                continue
            witness = self._witness(want, held, lockset)
            known = self.edges.setdefault(witness.edge, [])
            if witness not in known and len(known) < WITNESSES:
                known.append(witness)
                self.after.setdefault(witness.edge[0], set()).add(witness.edge[1])
                new = True
            if witness in known:
                shown.append(witness)
        return [circle for witness in shown for circle in self.circles(witness)], new

    def signal(self, serial: int) -> None:
        """Somebody else has released the lock: what was learned from it is void, and it guards nothing."""
        self.signals.add(serial)
        for edge, known in list(self.edges.items()):
            left = [witness for witness in known if serial not in (witness.held, witness.wanted)]
            left = [witness._replace(lockset=self._gates(witness)) for witness in left]
            self.edges[edge] = list(dict.fromkeys(left))
            if not left:
                del self.edges[edge]
                self.after[edge[0]].discard(edge[1])

    def circles(self, witness: Witness) -> Iterator[Circle]:
        """Yield every circle of edges that a witness is in, where some witnesses of the others pass all filters."""
        for way in self.ways(witness.edge):
            readings = [doubts for doubts in self._readings((witness,), way[1:], FILTERS)]
            if readings:
                yield Circle(way, min(readings, key=len))

    def ways(self, edge: Edge) -> Iterator[tuple[Edge, ...]]:
        """Yield the circles of edges through one edge, as far as there are agents for them."""
        stack = [(edge,)]
        while stack:
            way = stack.pop()
            for node in self.after.get(way[-1][1], ()):
                longer = (*way, (way[-1][1], node))
                if node == edge[0]:
                    yield longer
                elif len(longer) < len(self.agents) and all(node != each for link in way for each in link):
                    stack.append(longer)

    def filter_of(self, way: tuple[Edge, ...]) -> str | None:
        """Name the first filter that no combination of the circle's witnesses passes with those before it."""
        for number, name in enumerate(FILTERS):
            passing = (self._readings((first,), way[1:], FILTERS[: number + 1]) for first in self.edges[way[0]])
            if all(next(readings, None) is None for readings in passing):
                return name
        return None

    def _witness(self, want: Want, held: Held, lockset: frozenset[tuple[int, bool]]) -> Witness:
        edge = (held.node, want.node) if held.node != want.node else (held.serial, want.serial)
        return Witness(
            edge, want.agent, want.job, want.clock, held.serial, want.serial, want.node, lockset,
            held.shared, want.shared, want.recursive, want.timed, held.evidence, want.upgradable, held.upgradable,
        )  # fmt: skip

    def _gates(self, witness: Witness) -> frozenset[tuple[int, int]]:
        return frozenset(gate for gate in witness.lockset if gate[0] not in self.signals)

    def _readings(
        self, chosen: tuple[Witness, ...], rest: tuple[Edge, ...], filters: tuple[str, ...]
    ) -> Iterator[frozenset[str]]:
        """Yield the doubts of each combination of witnesses that passes the filters."""
        if not rest:
            if "shared" not in filters or _can_block(chosen[-1], chosen[0]):
                yield self._doubts(chosen)
            return
        for witness in self.edges[rest[0]]:
            if "shared" in filters and not _can_block(chosen[-1], witness):
                continue
            if all(self._can_meet(witness, other, filters) for other in chosen):
                yield from self._readings((*chosen, witness), rest[1:], filters)

    def _can_meet(self, a: Witness, b: Witness, filters: tuple[str, ...]) -> bool:
        if "agents" in filters and a.agent == b.agent and (a.job == b.job or not (a.job and b.job)):
            return False
        gate = any(one == other and mode + other_mode >= EXCLUSIVE for one, mode in a.lockset for other, other_mode in b.lockset)
        if "gate" in filters and gate:
            return False
        ordered = a.clock in self.earlier[b.clock] or b.clock in self.earlier[a.clock]
        return not ("happens-before" in filters and ordered)

    def _doubts(self, chosen: tuple[Witness, ...]) -> frozenset[str]:
        doubts = set()
        for witness, following in zip(chosen, (*chosen[1:], chosen[0])):
            if witness.timed:
                doubts.add("timed")
            if witness.wanted != following.held:
                doubts.add("instances")
            if not witness.evidence:
                doubts.add("evidence")
            if _both_share(witness, following) and witness.wanted_node not in self.written:
                doubts.add("writer")
        return frozenset(doubts)


def _can_block(witness: Witness, following: Witness) -> bool:
    return not (witness.recursive and _both_share(witness, following))


def _both_share(witness: Witness, following: Witness) -> bool:
    return witness.shared and following.held_shared and not (witness.upgradable and following.held_upgradable)


def _mode(held: Held) -> int:
    return EXCLUSIVE if not held.shared else UPGRADABLE if held.upgradable else SHARED
