"""Random programs: the graph's answers are those of a naive twin that tries every circle and every combination of witnesses."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from graph_twin import Lock, Twin

from fastlock import _graph_py as g

PROGRAMS = 100  # a block


@dataclass
class Agent:
    number: int
    job: int = 0
    clock: int = 0  # the Graph's
    moment: int = 0  # the twin's number of the same segment
    held: list[Lock] = field(default_factory=list)


class Program:
    """Agents that take locks of some classes at random, and what else may happen to a graph."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        pick = self.random.randint
        self.graph = g.Graph(witnesses=250, budget=100_000_000)
        self.twin = Twin()
        self.nodes = [self.graph.node() for _ in range(pick(1, 6))]
        self.serial = 0
        self.locks: list[tuple[int, int]] = []
        for _ in range(pick(2, 12)):
            self.new_lock()
        self.agents = [Agent(i + 1) for i in range(pick(1, 4))]
        self.moments = 0
        self.clocks = self.random.random() < 0.6
        self.shares = self.random.choice([0, 0, 0.3, 0.7])
        self.oddities = self.random.choice([0, 0.05, 0.3])  # of timed and try acquires, nesting, missing evidence
        self.depth = pick(1, 4)
        self.ring = self.random.random() < 0.3  # each lock wants the next one: few circles, and long ones
        self.shown: list[tuple[Agent, Lock, list[Lock], int, int, int]] = []

    def new_lock(self) -> None:
        self.serial += 1
        self.locks.append((self.serial, self.random.choice(self.nodes)))

    def odd(self) -> bool:
        return self.random.random() < self.oddities

    def acquire(self, agent: Agent) -> None:
        serial, node = self.random.choice(self.locks)
        if self.ring and agent.held:
            place = [lock[0] for lock in self.locks].index(agent.held[-1].serial)
            serial, node = self.locks[(place + 1) % len(self.locks)]
        shared = self.random.random() < self.shares
        want = Lock(serial, node, (g.SHARED if shared else 0) | (g.TIMED if self.odd() else 0) | (g.NESTED if self.odd() else 0))
        if shared and self.odd():
            want.flags |= g.RECURSIVE
        taken_by_try = self.odd()
        if agent.held and not taken_by_try:
            self.shown.append((agent, want, list(agent.held), agent.job, agent.clock, agent.moment))
            self.learn(*self.shown[-1])
        if all(h.serial != serial for h in agent.held):
            flags = (g.SHARED if shared else 0) | (g.TRY if taken_by_try else 0) | (0 if self.odd() else g.EVIDENCE)
            agent.held.append(Lock(serial, node, flags))

    def learn(self, agent: Agent, want: Lock, held: list[Lock], job: int, clock: int, moment: int) -> None:
        answer = self.graph.learn(
            agent.number,
            (want.serial, want.node, want.flags),
            [(h.serial, h.node, h.flags) for h in held],
            job=job,
            clock=clock,
        )
        token = self.graph.token
        self.twin.learn(agent.number, want, held, job, moment, self.graph, answer)
        if answer[0] == g.FOUND and self.random.random() < 0.3:
            self.graph.retract(token)
            self.twin.retract()
            self.twin.compare(self.graph)

    def again(self) -> None:
        """Shows something once more, as far as its locks and the agent's segment still exist."""
        agent, want, held, job, clock, moment = self.random.choice(self.shown)
        if {(lock.serial, lock.node) for lock in (want, *held)} <= set(self.locks) and moment == agent.moment:
            self.learn(agent, want, held, job, clock, moment)

    def move(self, agent: Agent, other: Agent | None = None) -> None:
        """The agent's next segment, after what another one has done until now."""
        clock = self.graph.clock(agent.clock, other.clock if other else 0)
        self.moments += 1
        self.twin.preds[self.moments] = tuple({m for m in (agent.moment, other.moment if other else 0) if m})
        self.graph.unclock(agent.clock)
        agent.clock, agent.moment = clock, self.moments

    def synchronise(self, agent: Agent) -> None:
        """Starts or joins somebody: what that one does from here on, or has done, is ordered."""
        other = self.random.choice(self.agents)
        if other is agent:
            self.move(agent)
        elif self.random.random() < 0.5:
            self.move(other, agent)
            self.move(agent)
        else:
            self.move(agent, other)
            self.move(other)

    def upset(self) -> None:
        """A foreign release, the end of a lock, or of a class."""
        kind = self.random.choice(["signal", "died", "died", "node"])
        serial, node = self.random.choice(self.locks)
        if kind == "signal":
            self.graph.signal(serial)
            self.twin.signal(serial)
        elif kind == "died":
            self.locks.remove((serial, node))
            for agent in self.agents:
                agent.held = [h for h in agent.held if h.serial != serial]
            self.graph.lock_died(serial)
            self.twin.died(serial)
            self.new_lock()
        elif len(self.nodes) > 2:
            for serial, cls in [lock for lock in self.locks if lock[1] == node]:
                self.locks.remove((serial, cls))
                self.graph.lock_died(serial)
                self.twin.died(serial)
            for agent in self.agents:
                agent.held = [h for h in agent.held if h.node != node]
            self.nodes.remove(node)
            self.graph.drop_node(node)
            self.twin.drop_node(node)
            self.nodes.append(self.graph.node())
            self.new_lock()
        self.twin.compare(self.graph)

    def run(self, events: int) -> None:
        for _ in range(events):
            agent = self.random.choice(self.agents)
            dice = self.random.random()
            if dice < 0.6 and len(agent.held) <= self.depth:
                self.acquire(agent)
            elif dice < 0.8 and agent.held:
                agent.held.pop(self.random.randrange(len(agent.held)))
            elif dice < 0.85 and self.clocks:
                self.synchronise(agent)
            elif dice < 0.87:
                agent.job = self.random.randint(0, 2)
            elif dice < 0.885:
                self.upset()
            elif self.shown:
                self.again()


@pytest.mark.parametrize("block", range(20))
def test_random_programs(block: int) -> None:
    """No miss and no false alarm: the same code, tier, doubts and filter at every step; a failure names its seed."""
    for seed in range(block * PROGRAMS, (block + 1) * PROGRAMS):
        program = Program(seed)
        try:
            program.run(30 + seed % 30)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
