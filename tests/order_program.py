"""The program of test_prediction_oracle.py: random small programs on real threads, each step compared with naive_order.

One step at a time is taken, by the thread that the seed says, and only steps that need not block. What fastlock reports of the
step goes through its public face: every lock class here is suppressed, so that reports are counted and not written.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fastlock
from fastlock import watchdog
from naive_order import Circle, Held, NaiveOrder, Want
from workers import Worker

THREADS = 4
LOCKS = 12
DEEPEST = 5
KINDS = ("Lock", "Lock", "RLock", "writer", "reader")
UPGRADABLE_KINDS = ("Lock", "RLock", "writer", "reader", "writer", "reader")
RANK = {"none": 0, "possible": 1, "high": 2}


@dataclass(eq=False)
class Thing:
    """A lock, what the rules need to know of it, and who holds it."""

    number: int
    node: str
    kind: str
    lock: Any
    condition: Any = None
    released: bool = False  # by its owner, once at least
    by_with: bool = False  # as it is held now
    signal: bool = False
    holders: list[Agent] = field(default_factory=list)

    @property
    def is_rw(self) -> bool:
        return self.kind in ("writer", "reader")

    @property
    def evidence(self) -> bool:
        return self.kind != "Lock" or self.released or self.by_with


@dataclass
class Entry:
    """A hold, as the held stack has it."""

    thing: Thing
    shared: bool
    times: int = 1
    upgradable: bool = False


@dataclass(eq=False)
class Agent:
    """A thread of the program."""

    name: str
    worker: Worker
    clock: int
    stack: list[Entry] = field(default_factory=list)
    alive: bool = True

    def entry(self, thing: Thing) -> Entry | None:
        return next((entry for entry in reversed(self.stack) if entry.thing is thing), None)

    def upgrades(self, thing: Thing) -> bool:
        return any(entry.thing is thing and entry.upgradable for entry in self.stack)


class Program:
    """One random program: its locks, its threads, what the rules say and what has been reported."""

    def __init__(self, seed: int, number: int, many: bool, upgradable: bool) -> None:
        self.many = many
        self.upgradable = upgradable
        self.rng = random.Random(f"{seed}/{number}")
        self.naive = NaiveOrder()
        self.reported: dict[frozenset[Any], str] = {}
        self.log: list[str] = []
        self.calls: list[tuple[Agent, Callable[..., Any], tuple[Any, ...]]] = []
        self.owed: list[tuple[str, list[frozenset[Any]]]] = []
        count = self.rng.choice((2, 3, 3, 4, 5, 6, 8, LOCKS))
        classes = max(1, count // 2) if many else count
        kinds = [self.rng.choice(UPGRADABLE_KINDS if upgradable else KINDS) for _ in range(classes)]
        self.things = [self._make(n, f"p{seed}.{number}{'many' if many else ''}{'u' if upgradable else ''}.{n % classes}", kinds[n % classes]) for n in range(count)]
        self.main_clock = self.naive.clock()
        self.agents: list[Agent] = []
        self.circles = 0

    def _make(self, number: int, node: str, kind: str) -> Thing:
        if kind in ("writer", "reader"):
            return Thing(number, node, kind, fastlock.RWLock(prefer=kind, lock_class=node))
        lock = getattr(fastlock, kind)(lock_class=node)
        if self.many:
            with lock:  # so that a second run is no better evidence than the first
                pass
        condition = fastlock.Condition(lock) if self.rng.random() < 0.3 else None
        return Thing(number, node, kind, lock, condition, released=self.many)

    # ---- running

    def run(self) -> None:
        """Take the program's steps, then release everything and end the threads."""
        for _ in range(THREADS if self.many else self.rng.randint(2, 3)):
            self._start_thread(None)
        for _ in range(self.rng.randint(20, 120)):
            agent = self.rng.choice([agent for agent in self.agents if agent.alive])
            self.rng.choices((self._acquire, self._release, self._rare), (10, 7, 1))[0](agent)
        for agent in self.agents:
            while agent.stack:
                self._release(agent)
        if self.many:
            self._once_more()
        for agent in self.agents:
            if agent.alive:
                agent.worker.stop()

    def _once_more(self) -> None:
        """Take all steps again: a pair of classes that an agent has shown with some locks is news with others once it matters."""
        for agent, call, arguments in self.calls:
            agent.worker.do(call, *arguments)
        possible: dict[frozenset[Any], str] = {}
        for witness in [witness for known in self.naive.edges.values() for witness in known]:
            for circle in self.naive.circles(witness):
                edges = self._classes(circle.edges)
                possible[edges] = max(possible.get(edges, "none"), circle.tier, key=RANK.__getitem__)
        for edges, tier in self._reports():
            assert RANK[tier] <= RANK[possible.get(edges, "none")], f"a false alarm: {tier} {sorted(edges)}"
            self.reported[edges] = max(self.reported.get(edges, "none"), tier, key=RANK.__getitem__)
        missed = [(tier, equals) for tier, equals in self.owed if not any(self._is_told(edges, tier) for edges in equals)]
        assert not missed, f"missed {missed}, reported {self.reported}"

    def _is_told(self, edges: frozenset[Any], tier: str) -> bool:
        """Whether a circle was reported, or one that it shares an order with and that is told in its place: as bad, and no longer."""
        return any(
            RANK[told] >= RANK[tier] and (other == edges or other & edges and (RANK[told] > RANK[tier] or len(other) <= len(edges)))
            for other, told in self.reported.items()
        )

    def _do(self, agent: Agent, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        self.log.append(f"{agent.name}: {what}")
        self.calls.append((agent, call, arguments))
        return agent.worker.do(call, *arguments)

    def _acquire(self, agent: Agent) -> None:
        thing = self.rng.choice(self.things)
        drawn = self.rng.random() if thing.is_rw else 1.0
        upgradable = self.upgradable and 0.35 <= drawn < 0.75
        shared = drawn < 0.6 or upgradable
        entry = agent.entry(thing)
        again = entry is not None and ((shared and entry.shared and not upgradable) or thing.kind == "RLock")
        upgrade = entry is not None and entry.shared and not shared and agent.upgrades(thing)
        free = again or ((entry is None or upgrade) and self._lets_in(agent, thing, shared, upgradable))
        way = self.rng.choices(("plain", "with", "timed", "try"), (6, 6, 2, 3))[0]
        if len(agent.stack) >= DEEPEST or (not free and (way != "try" or entry is not None)):
            return
        if thing.is_rw and not shared:
            self.naive.written.add(thing.node)
        circles, new = self._learn(agent, thing, shared, way == "timed", upgradable=upgradable or upgrade) if way != "try" else ([], False)
        got = self._do(agent, f"{way} {self._text(thing, shared, upgradable)}", self._call(thing, shared, way, upgradable))
        assert bool(got) is free, (got, free)
        if got and again and thing.kind == "RLock":
            assert entry is not None
            entry.times += 1
        elif got:
            agent.stack.append(Entry(thing, shared, upgradable=upgradable))
            thing.holders.append(agent)
            thing.by_with = way == "with"
        self._compare(circles, new)

    def _guard(self, thing: Thing, shared: bool, upgradable: bool) -> Any:
        if not thing.is_rw:
            return thing.lock
        return thing.lock.upgradable() if upgradable else thing.lock.read() if shared else thing.lock.write()

    def _call(self, thing: Thing, shared: bool, way: str, upgradable: bool) -> Callable[[], Any]:
        guard = self._guard(thing, shared, upgradable)
        if way == "plain":
            return guard.acquire  # type: ignore[no-any-return]
        if way == "with":
            return guard.__enter__  # type: ignore[no-any-return]
        return (lambda: guard.acquire(True, 5.0)) if way == "timed" else lambda: guard.acquire(False)

    def _learn(
        self, agent: Agent, thing: Thing, shared: bool, timed: bool, nested: bool = False, upgradable: bool = False
    ) -> tuple[list[Circle], bool]:
        if thing.signal or (agent.entry(thing) is not None and (shared or not upgradable)):
            return [], False
        held = tuple(
            Held(e.thing.number, e.thing.node, e.shared, e.thing.evidence, e.upgradable) for e in agent.stack if not e.thing.signal
        )
        recursive = shared and thing.kind == "reader"
        want = Want(thing.number, thing.node, agent.name, agent.clock, held, 0, shared, recursive, timed, nested, upgradable)
        return self.naive.learn(want)

    def _lets_in(self, agent: Agent, thing: Thing, shared: bool, upgradable: bool) -> bool:
        """Whether the others who hold it let an agent in."""
        others = [other for other in thing.holders if other is not agent]
        if not shared:
            return not others
        entries = [entry for other in others if (entry := other.entry(thing)) is not None]
        return all(entry.shared for entry in entries) and not (upgradable and any(other.upgrades(thing) for other in others))

    def _release(self, agent: Agent) -> None:
        if not agent.stack:
            return
        entry = agent.stack[-1] if self.rng.random() < 0.6 else self.rng.choice(agent.stack)
        entry = agent.entry(entry.thing) or entry  # the newest
        thing = entry.thing
        guard = self._guard(thing, entry.shared, entry.upgradable)
        leave = self.rng.random() < 0.5
        self._do(agent, f"release {self._text(thing, entry.shared, entry.upgradable)}", *((guard.__exit__, None, None, None) if leave else (guard.release,)))
        entry.times -= 1
        if entry.times == 0:
            self._drop(agent, entry)
            thing.released = True

    def _drop(self, agent: Agent, entry: Entry) -> None:
        agent.stack.remove(entry)
        entry.thing.holders.remove(agent)

    # ---- rarer steps

    def _rare(self, agent: Agent) -> None:
        steps = (self._wait, self._nested) if self.many else (
            self._start_thread, self._join, self._wait, self._foreign_release, self._nested
        )  # fmt: skip
        self.rng.choice(steps)(agent)

    def _start_thread(self, parent: Agent | None) -> None:
        if len(self.agents) == THREADS:
            return
        name = f"t{len(self.agents)}"
        before = self.main_clock if parent is None else parent.clock
        clock, after = self.naive.clock(before), self.naive.clock(before)
        if parent is None:
            self.log.append(f"main: start {name}")
            worker, self.main_clock = Worker(name), after
        else:
            worker, parent.clock = self._do(parent, f"start {name}", Worker, name), after
        self.agents.append(Agent(name, worker, clock))

    def _join(self, agent: Agent) -> None:
        others = [other for other in self.agents if other.alive and other is not agent and not other.stack]
        if not others:
            return
        other = self.rng.choice(others)
        other.alive = False
        if self.rng.random() < 0.3:
            self.log.append(f"main: join {other.name}")
            other.worker.stop()
            self.main_clock = self.naive.clock(self.main_clock, other.clock)
            return
        self._do(agent, f"join {other.name}", lambda: other.worker.stop())
        agent.clock = self.naive.clock(agent.clock, other.clock)

    def _wait(self, agent: Agent) -> None:
        """A wait that is over at once: it gives the condition's lock back and takes it again, with all else held."""
        entries = [entry for entry in agent.stack if entry.thing.condition is not None]
        if not entries:
            return
        entry = self.rng.choice(entries)
        agent.stack.remove(entry)
        entry.thing.released = True
        circles, new = self._learn(agent, entry.thing, False, False)
        agent.stack.append(entry)
        self._do(agent, f"wait {entry.thing.number}", entry.thing.condition.wait, 0)
        self._compare(circles, new)

    def _foreign_release(self, agent: Agent) -> None:
        held = [e for other in self.agents if other is not agent for e in other.stack if e.thing.kind == "Lock"]
        if not held or self.rng.random() < 0.5:
            return
        entry = self.rng.choice(held)
        (owner,) = entry.thing.holders
        self._do(agent, f"foreign release {entry.thing.number}", entry.thing.lock.release)
        self._drop(owner, entry)
        entry.thing.signal = True
        self.naive.signal(entry.thing.number)

    def _nested(self, agent: Agent) -> None:
        under = [entry.thing for entry in agent.stack if not entry.shared and not entry.thing.is_rw]
        free = [thing for thing in self.things if not thing.is_rw and not thing.holders]
        if not under or not free or len(agent.stack) >= DEEPEST:
            return
        outer, thing = self.rng.choice(under), self.rng.choice(free)
        circles, new = self._learn(agent, thing, False, False, nested=True)
        self._do(agent, f"nested {thing.number} under {outer.number}", fastlock.nested(thing.lock, under=outer.lock).__enter__)
        agent.stack.append(Entry(thing, False))
        thing.holders.append(agent)
        thing.by_with = False
        self._compare(circles, new)

    def _text(self, thing: Thing, shared: bool, upgradable: bool) -> str:
        return f"{thing.kind}{' upgradable' if upgradable else ' read' if shared else ' write' if thing.is_rw else ''} {thing.number} ({thing.node})"

    # ---- comparing

    def _compare(self, circles: list[Circle], new: bool) -> None:
        """The step's report is one of those that the rules allow, and there is one if they demand it."""
        reports = self._reports()
        best: dict[frozenset[Any], str] = {}
        for circle in sorted(circles, key=lambda circle: RANK[circle.tier]):
            best[self._classes(circle.edges)] = circle.tier
        for edges, tier in reports:
            self.log.append(f"    reported {tier} {sorted(edges)}")
            assert edges in best, "a false alarm"
            assert RANK[tier] <= RANK[best[edges]] and (tier == best[edges] or self.many), f"the tier should be {best[edges]}"
            assert RANK[self.reported.get(edges, "none")] < RANK[tier] or self.many, "told twice"
            self.reported[edges] = max(self.reported.get(edges, "none"), tier, key=RANK.__getitem__)
            self.circles += 1
        if new and not reports:
            missed = self._due(circles)
            assert not missed or self.many, f"missed one of {missed}"
            self.owed += missed

    def _due(self, circles: list[Circle]) -> list[tuple[str, list[frozenset[Any]]]]:
        """Return the best circles through each edge, high before possible and then the shortest, where one of them is news."""
        due = []
        for edge in {circle.edges[0] for circle in circles}:
            own = [circle for circle in circles if circle.edges[0] == edge]
            tier, length = min((-RANK[circle.tier], len(circle.edges)) for circle in own)
            best = [circle for circle in own if (-RANK[circle.tier], len(circle.edges)) == (tier, length)]
            equals = [self._classes(circle.edges) for circle in best]
            if any(RANK[best[0].tier] > RANK[self.reported.get(edges, "none")] for edges in equals):
                due.append((best[0].tier, equals))
        return due

    def _classes(self, edges: Any) -> frozenset[Any]:
        return frozenset(tuple(self._class(node) for node in edge) for edge in edges)

    def _class(self, node: Any) -> str:
        return node if isinstance(node, str) else self.things[node].node

    def _reports(self) -> list[tuple[frozenset[Any], str]]:
        """Return what has been reported since the last time: the classes of each circle's edges, and its tier."""
        assert watchdog.flush(90)
        found = []
        for finding in fastlock.suppressed():
            if seen.get(finding.fingerprint) != (finding.count, finding.tier):
                seen[finding.fingerprint] = (finding.count, finding.tier)
                classes = {lock.id: lock.lock_class for lock in finding.locks}
                found.append((frozenset((classes[e.holds], classes[e.waits]) for e in finding.edges), finding.tier))
        return found


seen: dict[str, tuple[int, str]] = {}


def main(seed: int, programs: int, many: bool = False, upgradable: bool = False, first: int = 0) -> None:
    """Run programs with numbers from `first` on; the assertion that fails has the program's steps."""
    fastlock.configure(level="order", suppress=["p*"])
    circles = 0
    for number in range(first, first + programs):
        program = Program(seed, number, many, upgradable)
        try:
            program.run()
        except BaseException:
            print(f"seed {seed}, program {number}:", *program.log, sep="\n  ", flush=True)
            raise
        circles += program.circles
    assert circles > programs / 20, f"only {circles} circles in {programs} programs"
    print(circles, "circles, ok")
