"""What the console sees of processes at one moment: made by `readers`, shown by `pages`. Plain facts, nothing of it changes.

Ids are those of `fastlock dump --json`. Times are nanoseconds of CLOCK_MONOTONIC, as the tables have them: an age is `Seen.now_ns` minus a wait's `since_ns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastlock.findings import Site
from fastlock.roots import Root

LIVE, STOPPED, ENDED, UNSEEN = "live", "stopped", "ended", "unseen"  # states of a process


class Target(NamedTuple):
    """What a row names, and where Enter goes.

    ``kind`` is "process", "agent", "lock", "class", "circle", "root", "finding" or "inversion"; ``key`` an id, a class's name, a fingerprint, the id of
    a circle's or root's first agent.
    """

    kind: str
    pid: int
    key: int | str


class Agent(NamedTuple):
    """A thread or a task."""

    id: int
    kind: str
    name: str
    native_id: int | None
    loop: str | None
    holds: tuple[int, ...]
    waits: int | None


class Lock(NamedTuple):
    """A lock that somebody waits for or has waited for, or that a waiting agent holds."""

    id: int
    name: str
    lock_class: str
    kind: str
    created: tuple[str, int] | None
    owner: int | None
    readers: tuple[int, ...]
    waiters: tuple[int, ...]
    held_at: Site | None


class Wait(NamedTuple):
    """A wait of an agent; ``deadline_ns`` is None where it has no timeout."""

    agent: int
    lock: int
    what: str
    mode: str
    owner: int | None
    since_ns: int
    deadline_ns: int | None
    wanted_at: Site | None


class Circle(NamedTuple):
    """Agents of which each waits for the next one; ``clears`` by a timeout of one of them, ``proven`` as DESIGN's tiers have it."""

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
    """One process at one moment. What is costly is a method of `readers.Reading`, computed when a page asks for it."""

    pid: int
    process: str
    python: str
    level: str
    state: str
    why: str  # one line for people where it is not live
    health: str  # "ok", "stalled", "deadlocked", as `fastlock ps` says; "" where nothing is known
    now_ns: int
    captured_at: str
    agents: Mapping[int, Agent]
    locks: Mapping[int, Lock]
    waits: Sequence[Wait]
    findings: Sequence[Mapping[str, Any]]
    findings_dropped: int
    raw_locks: int | None
    unseen: int  # records that the table had no room for

    @property
    def circles(self) -> Sequence[Circle]:
        """The circles; computed once a moment."""
        raise NotImplementedError

    @property
    def roots(self) -> Sequence[Root]:
        """Who is waited for in the end, with the trees behind them; computed once a moment."""
        raise NotImplementedError

    def behind(self, agent: int) -> int:
        """How many wait for an agent in the end."""
        raise NotImplementedError
