"""What fastlock observed, as frozen facts: findings and snapshots; imports nothing of ours but how records are made."""

from __future__ import annotations

from _collections_abc import Sequence

from fastlock.lean import NamedTuple, dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar, overload

    from fastlock.roots import Root

    _F = TypeVar("_F")

# The function that json takes from there: that loads three more modules at each start of a process.
try:
    from _json import encode_basestring_ascii as _quoted  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from json.encoder import py_encode_basestring_ascii as _quoted  # type: ignore[attr-defined,unused-ignore]
quoted: Callable[[str], str] = _quoted

# A code never changes its meaning; a title may be reworded.
CODES: Mapping[str, str] = {
    "FL001": "deadlock",
    "FL002": "self-deadlock",
    "FL003": "abandoned lock",
    "FL004": "fork orphan",
    "FL005": "synchronous lock held across await",
    "FL006": "event loop blocked on a lock",
    "FL010": "lock-order inversion",
    "FL011": "rank or key order violated",
    "FL012": "read-write lock deadlock",
    "FL020": "long wait",
    "FL030": "pool starvation",
    "FL031": "stall",
}

TIERS = ("proven", "high", "possible", "will-clear", "measured")


@dataclass(frozen=True)
class Site:
    """A place in the source: full file name, line, qualified function name and the stripped text ("" if unread)."""

    file: str
    line: int
    function: str
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return file, line and function."""
        return {"file": self.file, "line": self.line, "function": self.function}

    def frame_dict(self) -> dict[str, Any]:
        """Return file, line, function and text, the form of a stack entry."""
        return {**self.to_dict(), "text": self.text}


@dataclass(frozen=True)
class AgentFact:
    """A thread or task of a finding; ``state`` is "alive", "ended" or "lost-in-fork"; the innermost frame is last.

    ``stands`` is of a task that has stopped its loop: how many other tasks stand still with it.
    """

    id: int
    kind: str
    name: str
    native_id: int | None = None
    loop: str | None = None
    stack: tuple[Site, ...] = ()
    state: str = "alive"
    stands: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/finding.schema.json."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "native_id": self.native_id,
            "loop": self.loop,
            "stack": [site.frame_dict() for site in self.stack],
        }


@dataclass(frozen=True)
class LockFact:
    """A lock of a finding; ``readers`` are all shared holders, a semaphore's too; ``held_at`` is the owner's site."""

    id: int
    name: str
    lock_class: str
    kind: str
    created: Site | None = None
    owner: int | None = None
    readers: tuple[int, ...] = ()
    waiters: tuple[int, ...] = ()
    held_at: Site | None = None

    @property
    def holders(self) -> tuple[int, ...]:
        """The ids of all agents that hold the lock, the exclusive owner first."""
        rest = tuple(reader for reader in self.readers if reader != self.owner)
        return rest if self.owner is None else (self.owner, *rest)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/finding.schema.json."""
        created = None if self.created is None else {"file": self.created.file, "line": self.created.line}
        return {"id": self.id, "name": self.name, "class": self.lock_class, "kind": self.kind, "created": created}


@dataclass(frozen=True)
class EdgeFact:
    """An agent with the lock it holds and the lock it waits for; ``since_s`` and ``deadline_s`` (left) in seconds."""

    agent: int
    holds: int | None
    waits: int | None
    mode: str = "exclusive"
    held_at: Site | None = None
    wanted_at: Site | None = None
    since_s: float = 0.0
    deadline_s: float | None = None
    what: str = ""

    @property
    def is_wait(self) -> bool:
        """Whether the agent waits; the edge of a dead owner only holds."""
        return self.waits is not None or self.wanted_at is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/finding.schema.json."""
        return {
            "agent": self.agent,
            "holds": self.holds,
            "waits": self.waits,
            "mode": self.mode,
            "held_at": _site_dict(self.held_at),
            "wanted_at": _site_dict(self.wanted_at),
            "since_s": self.since_s,
        }


class Facts(Sequence["_F"]):
    """The facts that ``make`` gives for raw ones, each when it is looked at: a circle of thousands is told by a dozen."""

    def __init__(self, raw: Sequence[Any], make: Callable[[Any], _F]) -> None:
        self._raw = raw
        self._make = make

    def __len__(self) -> int:
        return len(self._raw)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, at: int) -> _F: ...
        @overload
        def __getitem__(self, at: slice) -> tuple[_F, ...]: ...

    def __getitem__(self, at: int | slice) -> _F | tuple[_F, ...]:
        if isinstance(at, slice):
            return tuple(self[each] for each in range(*at.indices(len(self))))
        return self._make(self._raw[at])


class Excerpt(NamedTuple):
    """The part of a finding that tells all there is to tell: of a long circle the ends, and an edge of each kind."""

    agents: Sequence[AgentFact]
    locks: Sequence[LockFact]
    edges: Sequence[EdgeFact]

    def made(self) -> Excerpt:
        """Return it with every fact made."""
        return Excerpt(tuple(self.agents), tuple(self.locks), tuple(self.edges))


@dataclass(frozen=True)
class OrderFact:
    """One order of an inversion: ``then`` was taken ``count`` times under ``first`` (lock ids), first by ``agent``."""

    first: int
    then: int
    held_at: Site | None = None
    wanted_at: Site | None = None
    count: int = 1
    first_seen: str = ""
    agent: int | None = None


@dataclass(frozen=True)
class Finding:
    """One observation of fastlock; immutable, safe to share between threads; ``str()`` is the report for people."""

    code: str
    title: str
    tier: str
    fingerprint: str
    count: int
    detected_at: str
    pid: int
    process: str
    agents: Sequence[AgentFact] = field(repr=False)
    locks: Sequence[LockFact] = field(repr=False)
    edges: Sequence[EdgeFact] = field(repr=False)
    clears: bool | None
    behind: int
    reasons: tuple[str, ...]
    explanation: str = field(default="", repr=False)
    fix: str = field(default="", repr=False)
    # Of an inversion, for the text alone: the JSON is a closed contract, which says the same in edges and explanation.
    orders: tuple[OrderFact, ...] = field(default=(), repr=False)
    filters: tuple[str, ...] = field(default=(), repr=False)
    excerpt: Excerpt | None = field(default=None, repr=False)
    # Of a circle, the classes (class_of) of the order that the fix turns round; of an acquire that a policy refused, the exception.
    turns: tuple[tuple[str, str], tuple[str, str]] | None = field(default=None, repr=False)
    refused: str = field(default="", repr=False)
    root: Root | None = field(default=None, repr=False)  # whom everybody in it waits for in the end, with those behind, cut

    @property
    def told(self) -> Excerpt:
        """What the text is made of: the excerpt, or all where there is none."""
        return self.excerpt or Excerpt(self.agents, self.locks, self.edges)

    def whole(self) -> Finding:
        """Return the finding with every fact made, so that nothing of it depends on what happens next."""
        return replace(self, **Excerpt(self.agents, self.locks, self.edges).made()._asdict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins, exactly as docs/finding.schema.json describes them; linear in agents and stacks."""
        return {
            "code": self.code,
            "title": self.title,
            "tier": self.tier,
            "fingerprint": self.fingerprint,
            "count": self.count,
            "detected_at": self.detected_at,
            "pid": self.pid,
            "process": self.process,
            "agents": [agent.to_dict() for agent in self.agents],
            "locks": [lock.to_dict() for lock in self.locks],
            "edges": [edge.to_dict() for edge in self.edges],
            "clears": self.clears,
            "behind": self.behind,
            "reasons": list(self.reasons),
            "explanation": self.explanation,
            "fix": self.fix,
        }

    def summary(self) -> str:
        """Return code, title, explanation and fix as one line, for log messages and exceptions."""
        fix = f" Fix: {self.fix}." if self.fix else ""
        return f"{self.code} {self.title} ({self.tier}): {self.explanation}{fix}"

    def __str__(self) -> str:
        from fastlock.reporting.text import render  # findings must not depend on a reporter to be imported

        return render(self)


@dataclass(frozen=True)
class AgentState:
    """A thread or task of a snapshot with what it holds and waits for (lock ids); ``state`` as an AgentFact's."""

    id: int
    kind: str
    name: str
    native_id: int | None
    loop: str | None
    holds: tuple[int, ...]
    waits: int | None
    state: str = "alive"

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins."""
        facts = {**vars(self), "holds": list(self.holds)}
        del facts["state"]  # for roots alone: the JSON is a closed contract
        return facts


@dataclass(frozen=True)
class LockState(LockFact):
    """A lock of a snapshot: held, or waited for.

    For roots alone, as the JSON is a closed contract: ``open`` is a semaphore that somebody else than its known holders may let go, or a pool with idle
    workers; a result is brought by all of ``wakers`` and by work that is queued in ``pools``, or by ``any`` of them; ``upgrader`` has the upgradable share
    of an RWLock, and ``lets_readers_in`` says that a waiting writer holds no reader back.
    """

    open: bool = False
    wakers: tuple[int, ...] = ()
    pools: tuple[int, ...] = ()
    any: bool = False
    upgrader: int | None = None
    lets_readers_in: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins."""
        state = {"owner": self.owner, "readers": list(self.readers), "waiters": list(self.waiters)}
        return {**super().to_dict(), **state, "held_at": _site_dict(self.held_at)}


@dataclass(frozen=True)
class WaitState:
    """A wait of a snapshot; ``since_s`` and ``deadline_s`` (left, or None) in seconds."""

    agent: int
    lock: int | None
    what: str
    mode: str
    owner: int | None
    since_s: float
    deadline_s: float | None
    wanted_at: Site | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins."""
        return {**vars(self), "wanted_at": _site_dict(self.wanted_at)}


@dataclass(frozen=True)
class Snapshot:
    """All agents, locks and waits of one moment; ``raw_locks`` (None: unknown) were made before install(), unseen."""

    pid: int
    process: str
    level: str
    captured_at: str
    raw_locks: int | None
    agents: tuple[AgentState, ...]
    locks: tuple[LockState, ...]
    waits: tuple[WaitState, ...]
    findings: tuple[Finding, ...]

    @property
    def roots(self) -> tuple[Root, ...]:
        """Who is waited for in the end, circles first, then those with the most waiters behind them; linear in agents and waits.

        Any thread; made anew each time. ``str(root)`` is its tree as text.
        """
        from fastlock.roots import of_snapshot  # findings must not depend on what is made of them

        return of_snapshot(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins; linear in what is held and waited for."""
        parts = ("agents", "locks", "waits", "findings")
        return {**vars(self), **{part: [each.to_dict() for each in getattr(self, part)] for part in parts}}


def basename(file: str) -> str:
    """Return the file's name without its directories."""
    return file.rpartition("/")[2]


def _site_dict(site: Site | None) -> dict[str, Any] | None:
    return None if site is None else site.to_dict()
