"""Who waits, in the end, for whom, with names and ages: of a snapshot, of the core's table, of a table that is read from outside.

A root is an agent that others wait for, directly or not, and that itself waits for nothing that somebody holds: it runs, waits for an event or
the like, or has ended. A circle of agents is one root. Behind it stands everybody who waits for it, each once.
"""

from __future__ import annotations

from _collections_abc import Mapping
from _heapq import heappop, heappush

from fastlock.findings import Site, Snapshot
from fastlock.forest import Forest, Need, grow
from fastlock.lean import NamedTuple, cached_property, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any

    Record = Mapping[str, Any]

ANY_ONE = frozenset({"Semaphore", "ThreadPoolExecutor"})  # whoever of its holders lets go first
_SHOWN = 24  # rows of a cut tree
_BESIDE = 10  # of them behind the same agent
_DEEP = 10  # levels; of a deeper tree the first ones, and its deep end
_END = 3
ITS_LOOP = "its loop"
WHAT_IT_AWAITS = "what it awaits"
UNKNOWN = 0  # no agent's id: somebody who is not in the table


@dataclass(frozen=True)
class Link:
    """One agent of a chain of waits, and what it waits for: a lock's name and id, or what else it is; "" where it waits for nothing known.

    ``how`` says more where several keep it ("one of 4 permit holders"); ages in seconds; ``depth`` is how many it is away from the root, ``behind``
    how many wait for it in the end.
    """

    agent: int
    kind: str
    name: str
    state: str = "alive"
    lock: int | None = None
    what: str = ""
    lock_kind: str = ""
    how: str = ""
    since_s: float | None = None
    deadline_s: float | None = None
    wanted_at: Site | None = None
    depth: int = 0
    behind: int = 0


class More(NamedTuple):
    """So many whom a cut tree leaves out at a depth, the oldest waiting for so long; ``between``: the next row is behind the last of them."""

    depth: int
    number: int
    oldest_s: float
    between: bool = False


@dataclass(frozen=True)
class Root:
    """Who is waited for in the end: one agent, or all of a circle; ``total`` wait behind it, the oldest for ``oldest_s`` seconds.

    ``kind`` is "running", "waiting" (for an event or the like), "ended", "lost-in-fork" or "circle"; ``number`` its agents, of which a long circle names
    the first; ``at`` where it stands, if that is known. ``str()`` is the tree as text, with the oldest of many waiters.
    """

    kind: str
    agents: tuple[Link, ...]
    number: int
    total: int
    oldest_s: float
    at: Site | None = None
    waiters: tuple[Link, ...] = field(default=(), repr=False)
    rows: tuple[Link | More, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        from fastlock.reporting.trees import render  # what the text looks like is the reporters' business

        return render(self)


class _Key(NamedTuple):
    """A need: what kind it is, of which lock, thread or task, and which part of that."""

    room: str
    of: int
    part: int = 0


class Moment:
    """Agents, locks (or both by their ids) and waits of one moment, in the keys of a snapshot's JSON form, and the forest of who waits for whom.

    What that form has not may be left out: an agent's `state`, and whether it `runs` inside of its wait; of a semaphore or pool whether it is `open`, for there
    are permits or workers left; of a result by which agents (`wakers`) and out of whose queues (`pools`, ids of locks) it comes, and whether `any` of that is enough.
    ``age_s`` and ``left_s`` read a wait's age and the time until it gives up, ``site`` its place. ``awaits`` adds whom agents need besides, ``never`` who
    stands still for a reason that is not in the table.
    """

    def __init__(
        self,
        agents: Mapping[int, Record] | Iterable[Record],
        locks: Mapping[int, Record] | Iterable[Record],
        waits: Iterable[Record],
        *,
        age_s: Callable[[Record], float] = lambda wait: float(wait["since_s"]),
        left_s: Callable[[Record], float | None] = lambda wait: wait["deadline_s"],
        site: Callable[[Any], Site | None] = lambda place: place,
        awaits: Mapping[int, tuple[int, ...]] | None = None,
        never: Collection[int] = frozenset(),
    ) -> None:
        self.agents = agents if isinstance(agents, Mapping) else {agent["id"]: agent for agent in agents}
        self.locks = locks if isinstance(locks, Mapping) else {lock["id"]: lock for lock in locks}
        self._age_s, self._left_s, self.site = age_s, left_s, site
        self._awaits, self._never = awaits or {}, never
        # Of an agent whose signal handler waits inside of a wait, the one that its record names.
        self.waits: dict[int, Record] = {}
        for wait in waits:
            agent = self.agents.get(wait["agent"])
            if agent is None or (agent["waits"] == wait["lock"] and not agent.get("runs")):
                self.waits.setdefault(wait["agent"], wait)

    def at(self, age_s: Callable[[Record], float], left_s: Callable[[Record], float | None]) -> Moment:
        """Return the same at another time, when nothing but the ages of waits is different."""
        later = type(self).__new__(type(self))
        vars(later).update(vars(self), _age_s=age_s, _left_s=left_s)
        return later

    # ---- who needs whom

    @cached_property
    def forest(self) -> Forest:
        """The forest, of siblings the oldest first; linear but for the sorting of ages."""
        self._needs: dict[_Key, Need] = {}
        wants: dict[int, list[_Key]] = {}
        ages = {agent: -self._age_s(wait) for agent, wait in self.waits.items()}
        self._plain: dict[int, list[_Key]] = {}
        for agent in sorted(ages, key=ages.__getitem__):
            keys = self._plain.get(self.waits[agent]["lock"]) or self._keys(agent, self.waits[agent])
            if keys:
                wants[agent] = keys
        for agent, thread in self._in_stopped_loops():
            self._needs[_Key("loop", thread)] = Need((thread,))
            wants[agent] = [*wants.get(agent, ()), _Key("loop", thread)]
        for agent, others in self._awaits.items():
            self._needs[_Key("await", agent)] = Need(others)
            wants[agent] = [*wants.get(agent, ()), _Key("await", agent)]
        dead = {agent for agent, each in self.agents.items() if each.get("state", "alive") != "alive"}
        return grow(wants, self._needs, dead.union(self._never))

    def _keys(self, agent: int, wait: Record) -> list[_Key]:
        """Return the needs of a wait, which all who wait for the same have in common; [] where nobody is known to be needed."""
        lock = self.locks.get(wait["lock"])
        if lock is None:
            return []
        if lock.get("wakers") or lock.get("pools"):
            return self._brought_by(lock)
        if lock["kind"] == "RWLock" and lock["owner"] is None and (wait["mode"] == "shared" or lock.get("upgrader") == agent):
            return self._share_keys(agent, wait, lock)
        key = _Key("held", lock["id"])
        if key not in self._needs:
            holders = self._holders(lock)
            self._needs[key] = Need((*holders, UNKNOWN) if holders and lock.get("open") else holders, lock["kind"] in ANY_ONE)
            if holders and lock["kind"] != "RWLock":
                self._plain[lock["id"]] = [key]  # the need of each of its waiters
        return [key] if self._needs[key].holders else []

    def _brought_by(self, lock: Record) -> list[_Key]:
        """Return what a result needs: of each pool in whose queue it stands a worker, unless that has idle ones, and each agent that brings a part of it."""
        parts = {_Key("brought", lock["id"], waker): Need((waker,)) for waker in lock.get("wakers", ())}
        pools = [self.locks.get(pool) for pool in lock.get("pools", ())]
        full = [pool for pool in pools if pool is not None and pool["readers"] and not pool.get("open")]
        parts |= {_Key("queued", lock["id"], pool["id"]): Need(tuple(dict.fromkeys(pool["readers"])), any_one=True) for pool in full}
        if lock.get("any"):
            everybody = tuple(dict.fromkeys(holder for need in parts.values() for holder in need.holders))
            parts = {_Key("any", lock["id"]): Need(everybody, any_one=True)} if len(full) == len(pools) else {}
        self._needs.update(parts)
        return list(parts)

    def _share_keys(self, agent: int, wait: Record, lock: Record) -> list[_Key]:
        """Return the need of who wants a share of a read-write lock, or to write with its upgradable one."""
        upgrader = lock.get("upgrader")
        if wait["mode"] == "exclusive":
            others = [each for each in lock["readers"] if each != agent]
        else:
            others = self._writer_before(agent, lock)
            if not wait["what"].endswith("acquire_upgradable"):
                return [_Key("writer", lock["id"])] if others else []
            # Besides whom the one share belongs to, and itself as long as it reads.
            others += [each for each in (upgrader, agent) if each is not None and each in lock["readers"]]
        key = _Key("share", lock["id"], agent)
        self._needs[key] = Need(tuple(dict.fromkeys(others)))
        return [key] if others else []

    def _holders(self, lock: Record) -> tuple[int, ...]:
        if lock["owner"] is None:
            return tuple(dict.fromkeys(lock["readers"]))
        owner = self.agents.get(lock["owner"])
        ended = owner is not None and owner.get("state", "alive") != "alive"
        return () if ended and lock["kind"] == "Result" else (lock["owner"],)

    def _writer_before(self, agent: int, lock: Record) -> list[int]:
        """Return the writer that this reader queues behind, [] for none; one that upgrades is before everybody."""
        key = _Key("writer", lock["id"])
        upgrader = lock.get("upgrader")
        if key not in self._needs:
            waits = [(each, self.waits.get(each)) for each in lock["waiters"]]
            writers = [each for each, wait in waits if wait and (wait["lock"], wait["mode"]) == (lock["id"], "exclusive")]
            oldest = max(writers, key=lambda each: (each == upgrader, self._age_s(self.waits[each])), default=None)
            self._needs[key] = Need(() if oldest is None else (oldest,))
        for writer in self._needs[key].holders:
            if writer == upgrader != agent:
                return [writer]
            if not lock.get("lets_readers_in") and self._age_s(self.waits[writer]) > self._age_s(self.waits[agent]):
                return [writer]
        return []

    def _in_stopped_loops(self) -> list[tuple[int, int]]:
        """Return each task with its loop's thread, where that is blocked: nothing of the loop runs then."""
        threads = {
            agent["native_id"]: number
            for number, agent in self.agents.items()
            if agent["kind"] == "thread" and agent["native_id"] and number in self.waits
        }
        tasks = self.agents.items() if threads else ()
        return [(number, threads[task["native_id"]]) for number, task in tasks if task["kind"] == "task" and task["native_id"] in threads]

    # ---- what is told of it

    def roots(self, *, cut: bool = False) -> tuple[Root, ...]:
        """Return every root, circles first, then those with the most behind them; linear but for the sorting of ages. `cut` as in root()."""
        found = [self.root(members, cut=cut) for members in self.forest.roots()]
        return tuple(sorted(found, key=lambda root: (root.kind != "circle", -root.total, -root.oldest_s)))

    def clears(self, members: Iterable[int]) -> bool:
        """Tell whether one of these agents waits with a timeout."""
        return any(self._left_s(self.waits[agent]) is not None for agent in members if agent in self.waits)

    def root(self, members: Sequence[int], at: Site | None = None, *, cut: bool = False, together: bool = False) -> Root:
        """Return the root that these agents are, with everybody behind it or, `cut`, with the rows of its text alone.

        `together`: they are one root, whether the forest has them as a circle or not.
        """
        entries = self.forest.behind(members)
        behind = self._counted(members, entries)
        agents = tuple(self._link(agent, 0, behind.get(agent, 0)) for agent in members[: _SHOWN if cut else None])
        return Root(
            kind=self._kind(members, together),
            agents=agents,
            number=len(members),
            total=len(entries),
            oldest_s=max((self._age(agent) for agent, _ in entries), default=0.0),
            at=at or agents[0].wanted_at,
            waiters=() if cut else tuple(self._link(agent, depth, behind.get(agent, 0)) for agent, depth in entries),
            rows=self._cut(members, entries, behind),
        )

    @cached_property
    def behind(self) -> Mapping[int, int]:
        """How many are behind each agent that somebody is behind, of each in a circle all who are behind that; linear."""
        return {agent: number for members in self.forest.roots() for agent, number in self._counted(members, self.forest.behind(members)).items()}

    def _kind(self, members: Sequence[int], together: bool) -> str:
        if together or len(members) > 1 or members[0] in self.forest.parent:
            return "circle"
        state = str(self.agents.get(members[0], {}).get("state", "alive"))
        return state if state != "alive" else "waiting" if members[0] in self.waits else "running"

    def _counted(self, members: Collection[int], entries: Sequence[tuple[int, int]]) -> dict[int, int]:
        """Return by agent how many are behind it; behind each of a root's members are all of them."""
        behind: dict[int, int] = {}
        for agent, _ in reversed(entries):
            parent = self.forest.parent[agent]
            behind[parent] = behind.get(parent, 0) + behind.get(agent, 0) + 1
        return behind | dict.fromkeys(members if entries else (), len(entries))

    def _age(self, agent: int) -> float:
        return self._age_s(self.waits[agent]) if agent in self.waits else 0.0

    def _link(self, agent: int, depth: int, behind: int) -> Link:
        record = self.agents.get(agent, {"kind": "agent", "name": "somebody unknown"})
        wait = self.waits.get(agent)
        lock = None if wait is None else self.locks.get(wait["lock"])
        through = self.forest.through.get(agent)
        what, how = self._what(through, lock)
        return Link(
            agent=agent,
            kind=record["kind"],
            name=record["name"],
            state=record.get("state", "alive"),
            lock=None if lock is None or what != lock["name"] else lock["id"],
            what=what,
            lock_kind="" if lock is None else lock["kind"],
            how=how,
            since_s=None if wait is None else self._age_s(wait),
            deadline_s=None if wait is None else self._left_s(wait),
            wanted_at=None if wait is None else self.site(wait["wanted_at"]),
            depth=depth,
            behind=behind,
        )

    def _what(self, through: _Key | None, lock: Record | None) -> tuple[str, str]:
        """Return what is waited for, and how, where that is not plain."""
        room = "" if through is None else through.room
        if room == "loop":
            return ITS_LOOP, ""
        if room == "await":
            return WHAT_IT_AWAITS, ""
        if lock is None:
            return "", ""
        if room == "writer":
            return lock["name"], "behind a writer"
        number = 0 if through is None else len(self._needs[through].holders)
        if through is None or number < 2:
            return lock["name"], ""
        if room == "queued":
            return lock["name"], f"queued in {self.locks[through.part]['name']}, one of {number:,} workers"
        who = {"RWLock": "readers", "Semaphore": "permit holders", "ThreadPoolExecutor": "workers"}.get(lock["kind"], "")
        return lock["name"], f"one of {number:,} {who}" if who else f"one of {number:,}"

    # ---- the cut

    def _cut(
        self, members: Collection[int], entries: Sequence[tuple[int, int]], behind: Mapping[int, int]
    ) -> tuple[Link | More, ...]:
        """Return the rows that tell most of a tree: who has the most behind it, the oldest of those who are alike, and the deep end."""
        kept = {agent for agent, _ in entries}
        if len(entries) > _SHOWN or max((depth for _, depth in entries), default=0) > _DEEP:
            kept = self._weighty(members, behind) | self._deep_end(entries)
        return tuple(self._rows(entries, kept, behind))

    def _weighty(self, members: Collection[int], behind: Mapping[int, int]) -> set[int]:
        kept: set[int] = set()
        heap: list[tuple[int, float, int, int]] = []

        def offer(agents: Iterable[int], depth: int) -> None:
            ranked = ((-behind.get(each, 0), -self._age(each), depth, each) for each in agents)
            for entry in sorted(ranked)[:_BESIDE]:
                heappush(heap, entry)

        inside = set(members)
        offer([child for agent in members for child in self.forest.children.get(agent, ()) if child not in inside], 1)
        while heap and len(kept) < _SHOWN:
            _, _, depth, agent = heappop(heap)
            kept.add(agent)
            if depth < _DEEP - _END:
                offer(self.forest.children.get(agent, ()), depth + 1)
        return kept

    def _deep_end(self, entries: Sequence[tuple[int, int]]) -> set[int]:
        agent, depth = max(entries, key=lambda entry: entry[1])
        if depth <= _DEEP:
            return set()
        end = [agent]
        while len(end) < _END:
            end.append(self.forest.parent[end[-1]])
        return set(end)

    def _rows(
        self, entries: Sequence[tuple[int, int]], kept: Collection[int], behind: Mapping[int, int]
    ) -> Iterator[Link | More]:
        """Yield those who are kept, and behind each how many of those behind it are not."""
        above = [_Shown(0, 0)]  # those whom the next row may be behind, the root first
        for agent, depth in entries:
            while above[-1].depth >= depth:
                yield from above.pop().more()
            last = above[-1]
            if agent not in kept:
                last.hidden += 1
                last.oldest_s = max(last.oldest_s, self._age(agent))
                continue
            if depth > last.depth + 1:
                yield from last.more(between=True)
            above.append(_Shown(depth, last.row + 1))
            yield self._link(agent, last.row + 1, behind.get(agent, 0))
        while above:
            yield from above.pop().more()


class _Shown:
    """A row of a cut tree while those behind it are looked at: its depth in the tree and as shown, and whom it has left out."""

    def __init__(self, depth: int, row: int) -> None:
        self.depth, self.row, self.hidden, self.oldest_s = depth, row, 0, 0.0

    def more(self, between: bool = False) -> Iterator[More]:
        """Yield what it has left out since this was asked last, if anything."""
        if self.hidden:
            yield More(self.row + 1, self.hidden, self.oldest_s, between)
        self.hidden, self.oldest_s = 0, 0.0


def of_snapshot(snapshot: Snapshot) -> tuple[Root, ...]:
    """Return the roots of a snapshot."""
    return Moment(map(vars, snapshot.agents), map(vars, snapshot.locks), map(vars, snapshot.waits)).roots()
