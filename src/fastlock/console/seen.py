"""What the console sees of processes at one moment: made by `readers`, shown by `pages`. Plain facts, nothing of it changes.

Ids, names and owners are those of `fastlock dump --json`. Times are nanoseconds of CLOCK_MONOTONIC, as the tables have them: an age is `Seen.now_ns` minus a
wait's `since_ns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from fastlock.findings import Site
from fastlock.outside import facts as plain
from fastlock.outside import told
from fastlock.outside.facts import Agent, Lock, Wait
from fastlock.outside.view import View
from fastlock.reporting import is_stdlib
from fastlock.roots import Moment, Root

__all__ = ["ENDED", "LIVE", "STOPPED", "UNSEEN", "Agent", "Asked", "Circle", "ClassFacts", "Lock", "Seen", "Target", "Wait"]
LIVE, STOPPED, ENDED, UNSEEN = "live", "stopped", "ended", "unseen"  # states of a process


class Target(NamedTuple):
    """What a row names, and where Enter goes.

    ``kind`` is "process", "agent", "lock", "class", "circle", "root", "finding" or "inversion"; ``key`` an id, a class's name, a fingerprint, the id of
    a circle's or root's first agent.
    """

    kind: str
    pid: int
    key: int | str


class Circle(NamedTuple):
    """Agents of which each waits for the next one; ``clears`` by a timeout of one of them, ``proven`` where each lock in it is released by its holder alone."""

    agents: tuple[int, ...]
    clears: bool
    proven: bool


class ClassFacts(NamedTuple):
    """What a process itself says of a lock class: how many locks of it live, and its contended waits (buckets: upper bound in seconds, how many up to it).

    ``name`` is that of `Lock.lock_class`; None is what it does not know. The class "other" without instances is all those together that it has no room for.
    """

    name: str
    kind: str
    instances: int | None
    contentions: int | None
    waits: int | None
    waited_s: float | None
    buckets: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Asked:
    """What a process answered to one request over its socket, and when; ``why`` says in one line why there is no (newer) answer, "" where there is.

    Of an answer that is older than a newer refusal or silence both are here. Each request fills one part: "classes" `classes`, "order" `order`, "agent"
    `agent`, "level" `level`.
    """

    at_ns: int = 0  # 0: it has never answered
    why: str = ""
    classes: Mapping[str, ClassFacts] = field(default_factory=dict)
    cut: int = 0  # classes that it has left out
    order: Mapping[str, Any] | None = None  # level, cycles, edges, classes, filtered, full, size_bytes, cut: as `answers` has it
    agent: Mapping[str, Any] | None = None  # state, doing, stack, awaits, loop_does, why: the same
    level: Mapping[str, Any] | None = None  # level, source, left_s


@dataclass(frozen=True)
class Seen:
    """One process at one moment: of one that has ended, or cannot be seen any more, the last one. What is costly is worked out when it is asked for, once."""

    pid: int
    process: str
    python: str
    level: str
    state: str
    why: str  # one line for people where it is not live
    health: str  # "ok", "stalled", "deadlocked", "stopped", as `fastlock ps` says; "" where nothing is known
    now_ns: int
    captured_at: str
    agents: Mapping[int, Agent]
    locks: Mapping[int, Lock]
    waits: Sequence[Wait]
    findings: Sequence[Mapping[str, Any]]
    findings_dropped: int
    raw_locks: int | None
    unseen: int  # records that the table had no room for
    facts: Mapping[str, Any] = field(default_factory=dict)  # what `fastlock ps --json` says of it, {} where nothing is known
    view: View | None = field(default=None, repr=False, compare=False)  # the moment, as it was read

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended: all that is here is how it was."""
        return self.state == ENDED

    @property
    def is_deadlocked(self) -> bool:
        """Whether something in it is stuck for good; nothing is in a process that has ended."""
        return self.health == "deadlocked" and not self.has_ended

    @cached_property
    def circles(self) -> Sequence[Circle]:
        """The circles; once a moment, linear in its waits."""
        view = self.view
        return () if view is None else [Circle(circle, view.clears(circle), view.is_proven(circle)) for circle in view.circles]

    @property
    def moment(self) -> Moment | None:
        """Who waits for whom; None where nothing is known."""
        return None if self.view is None else self.view.moment

    @cached_property
    def whole_waits(self) -> Sequence[Wait]:
        """The waits as people mean them: one for a result is one, though the table has the condition in it as well; once a moment, linear."""
        return plain.whole_waits(self.waits, self.agents, self.locks) if self.view is None else self.view.whole_waits

    @cached_property
    def pressing(self) -> Sequence[Wait]:
        """Of each agent the wait that does not last by right, as `fastlock ps` counts them: for a lock or permit, or kept by a deadlock that stands."""
        if self.view is not None:
            return self.view.pressing
        moment = self.moment
        return told.pressing(self.whole_waits, () if moment is None else told.stuck(self.stands, lambda: moment.forest))

    @cached_property
    def _pressing(self) -> frozenset[told.Pair]:
        return frozenset((wait.agent, wait.lock) for wait in self.pressing)

    def rests(self, wait: Wait) -> bool:
        """Tell whether a wait may last: for an event, a condition or a result, unless a deadlock keeps it."""
        return not wait.is_for_a_lock and (wait.agent, wait.lock) not in self._pressing

    @cached_property
    def stands(self) -> Sequence[told.Told]:
        """What the process has found about agents that still wait in the same waits, oldest first; once a moment, linear in its waits."""
        if self.view is not None:
            return self.view.stands
        if not self.findings:
            return []
        threads = {agent.native_id: agent.id for agent in self.agents.values() if agent.kind == "thread" and agent.native_id is not None}
        return told.standing(self.findings, ((wait.agent, wait.lock) for wait in self.waits), threads)

    def runs_tasks(self, agent: int) -> bool:
        """Tell whether an agent is a thread of whose tasks the table knows one: what it holds, and waits for, may be a task's."""
        if self.view is not None:
            return self.view.runs_tasks(agent)
        thread = self.agents.get(agent)
        return thread is not None and any(each.kind == "task" and each.native_id == thread.native_id for each in self.agents.values())

    @cached_property
    def _told_sites(self) -> Mapping[tuple[Any, Any], Any]:
        return {(edge.get("agent"), edge.get("waits")): edge.get("wanted_at") for each in self.stands for edge in each.finding["edges"] if isinstance(edge, Mapping)}

    def site(self, wait: Wait) -> Site | None:
        """Return where a wait is in the program: of one in the standard library what a finding tells of it, if there is one."""
        site = wait.wanted_at
        if site is None or not is_stdlib(site.file):
            return site
        told = self._told_sites.get((wait.agent, wait.lock))
        if isinstance(told, Mapping) and isinstance(told.get("file"), str) and isinstance(told.get("line"), int):
            return Site(told["file"], told["line"], str(told.get("function")))
        return site

    def told_of(self, circle: Circle) -> told.Told | None:
        """Return the finding that the process has told about a circle, None where it has told none; linear in waits."""
        inside = set(circle.agents)
        return told.about(self.stands, {(wait.agent, wait.lock) for wait in self.waits if wait.agent in inside}, circle.clears)

    @cached_property
    def roots(self) -> Sequence[Root]:
        """Who is waited for in the end, with the trees behind them; once a moment, linear in its waits."""
        return () if self.moment is None else self.moment.roots()

    def behind(self, agent: int) -> int:
        """Return how many wait for an agent, or for the circle that it is in, in the end; the first call of a moment is linear in its waits."""
        return 0 if self.moment is None else self.moment.behind.get(agent, 0)
