"""What a table says, in the form that the process's own snapshot has."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar

from fastlock.findings import CODES, Site
from fastlock.outside import circles, facts, told
from fastlock.outside.circles import CONDITION, EXCLUSIVE, FLAG, NOTIFY, NUMBER, OPAQUE, PERMIT, RESULT, SHARED, UPGRADABLE
from fastlock.outside.holding import Holding
from fastlock.outside.layout import ALIVE, Agent, Lock, Wait
from fastlock.outside.records import Records
from fastlock.roots import Moment

LEVELS = ("off", "detect", "order", "trace")
KINDS = {1: "Lock", 2: "RLock", 3: "RWLock", 4: "Semaphore", 5: "Condition", 6: "Event", 7: "Barrier", 8: "Result",
         9: "ThreadPoolExecutor", 10: "Wait"}  # fmt: skip
MODES = {EXCLUSIVE: "exclusive", SHARED: "shared", PERMIT: "exclusive", NOTIFY: "exclusive", FLAG: "shared", UPGRADABLE: "shared"}
STATES = {ALIVE: "alive", 2: "ended", 3: "lost-in-fork"}
_CALLS = {
    EXCLUSIVE: "acquire",
    SHARED: "acquire_read",
    PERMIT: "acquire",
    NOTIFY: "wait",
    FLAG: "wait",
    UPGRADABLE: "acquire_upgradable",
}
_CALLS_OF_ONE = ("Future.result", "Thread.join", "concurrent.futures.wait", "concurrent.futures.as_completed", "waiting_for", "Popen.wait", "SimpleQueue.get", "await")
STALLED_S = 10.0
_Fact = TypeVar("_Fact")


class _Last(NamedTuple):
    """Who waited for whom a moment before, and in whose facts; whether they are the `same` now."""

    moment: Moment
    agents: Mapping[int, facts.Agent]
    locks: Mapping[int, facts.Lock]
    same: bool


class View:
    """One moment of a process, from two copies of its table; ages are taken at ``now_ns`` (CLOCK_MONOTONIC).

    `before` is an earlier moment, whose facts are these as far as they still hold.
    """

    def __init__(self, records: Records, now_ns: int, wall_s: float, before: View | None = None) -> None:
        self.records = records
        self.header = records.header
        self.now_ns = now_ns
        self._wall_s = wall_s
        self._holding: Holding = Holding(records, None if before is None else before._holding)
        last = before if records.is_later else None
        self._told = records.findings()
        self.findings: list[dict[str, Any]] = last.findings if last is not None and self._told == last._told else self._findings()
        self.agents: Mapping[int, facts.Agent] = self._all_agents({} if last is None else last.agents)
        self.locks: Mapping[int, facts.Lock] = self._all_locks({} if last is None else last.locks)
        self._waits: Mapping[int, tuple[facts.Wait, ...]] = self._all_waits({} if last is None else last._waits)
        same = last is not None and self.agents is last.agents and self.locks is last.locks and self._waits is last._waits
        self.waits: Sequence[facts.Wait] = last.waits if last is not None and same else [wait for waits in self._waits.values() for wait in waits]
        self._last: _Last | None = None
        if last is not None and "moment" in last.__dict__:
            self._last = _Last(last.moment, last.agents, last.locks, same)

    # ---- the snapshot

    def snapshot(self) -> dict[str, Any]:
        """Return what Snapshot.to_dict() returns; linear in what is waited for."""
        return {
            "pid": self.header.pid,
            "process": self.header.program,
            "level": self.level,
            "captured_at": self.captured_at,
            "raw_locks": self.raw_locks,
            "agents": [agent.to_dict() for agent in self.agents.values()],
            "locks": [lock.to_dict() for lock in self.locks.values()],
            "waits": [wait.to_dict(self.now_ns) for wait in self.waits],
            "findings": self.findings,
        }

    @property
    def level(self) -> str:
        """The level that the process runs at."""
        level = self.header.level
        return LEVELS[level] if level < len(LEVELS) else str(level)

    @property
    def captured_at(self) -> str:
        """When the moment was, as snapshots say it."""
        return iso(self._wall_s)

    @property
    def raw_locks(self) -> int | None:
        """How many locks of the interpreter's own there are, None where that is not known."""
        return None if self.header.raw_locks < 0 else self.header.raw_locks

    # ---- agents

    def _all_agents(self, last: Mapping[int, facts.Agent]) -> Mapping[int, facts.Agent]:
        """Return every agent by its id, in the order of their numbers."""
        new = self._holding.new_agents | self._in_renamed_loops()
        made: dict[int, facts.Agent | None] = {}
        for number in new:
            was = self.records.changed.agents.get(number)
            agent = self.records.agents.get(number)
            if was is not None and (agent is None or agent.id != was.id):
                made[was.id] = None
            if agent is not None:
                made[agent.id] = self._agent(agent) if self._is_shown(agent) else None
        return _taken_over(last, made, lambda agent: agent & NUMBER)

    def _in_renamed_loops(self) -> set[int]:
        """Numbers of the tasks whose loop's thread is called otherwise now."""
        renamed = set()
        for number, was in self.records.changed.agents.items():
            agent = self.records.agents.get(number)
            if agent is None or was is None or (agent.name, agent.native_id) != (was.name, was.native_id):
                renamed.add(number)
        return {number for number, agent in self.records.agents.items() if agent.loop in renamed} if renamed else set()

    def _is_shown(self, agent: Agent) -> bool:
        """Tell whether this is a thread, or a task that holds or waits for something here, or one that is dead and holds something here."""
        return agent.number in self._holding.holds or (agent.state == ALIVE and bool(agent.waits or not agent.loop))

    def _agent(self, agent: Agent) -> facts.Agent:
        wait = circles.wait_of(agent, self.records.locks)
        thread = self.records.agents.get(agent.loop) if agent.loop else agent
        return facts.Agent(
            id=agent.id,
            kind="task" if agent.loop else "thread",
            name=self._agent_name(agent),
            native_id=thread.native_id or None if thread is not None else None,
            loop=self._agent_name(thread) if agent.loop and thread is not None else None,
            holds=self._holding.holds.get(agent.number, ()),
            waits=None if wait is None else wait.serial,
            state=STATES.get(agent.state, "ended"),
            runs=agent.runs,
        )

    def _agent_name(self, agent: Agent) -> str:
        """Return the agent's name, else what its kind is called."""
        if agent.name or agent.loop:
            return agent.name or "Task"
        return "MainThread" if agent.native_id == self.header.pid else f"Thread {agent.native_id}"

    # ---- locks

    def _all_locks(self, last: Mapping[int, facts.Lock]) -> Mapping[int, facts.Lock]:
        """Return every lock by its id, in the order of these."""
        locks = ((serial, self._holding.locks.get(serial)) for serial in self._holding.new_locks)
        return _taken_over(last, {serial: None if lock is None else self._lock(lock) for serial, lock in locks})

    def _lock(self, lock: Lock) -> facts.Lock:
        kind = KINDS.get(lock.kind, "Lock")
        name = self.records.text(lock.name)
        owner = self._holding.owners.get(lock.serial)
        created = self.records.site(lock.created)
        upgrader = self.records.agents.get(lock.limit) if lock.kind == circles.RWLOCK else None
        readers = [holder for holder, _ in self._holding.holders.get(lock.serial, ())]
        if lock.serial not in self.records.locks and owner is None:
            readers = [self.records.agents[number].id for number in self._holding.held_by.get(lock.serial, ())]
        return facts.Lock(
            id=lock.serial,
            name=f"unnamed {kind}" if name is None else name,
            lock_class=self.records.text(lock.lock_class) or kind,
            kind=kind,
            created=None if created is None else (created.file, created.line),
            owner=owner,
            readers=tuple(readers),
            waiters=tuple(waiter for _, waiter in self._holding.waiters.get(lock.serial, ())),
            held_at=self._held_site(lock, owner),
            open=circles.is_open(lock, self._holding.holders.get(lock.serial, ())),
            pool=lock.permits if lock.kind == RESULT and lock.permits else None,
            upgrader=None if upgrader is None else upgrader.id,
            lets_readers_in=bool(lock.marks & circles.READERS),
            evidence=circles.has_evidence(lock),
        )

    def _held_site(self, lock: Lock, owner: int | None) -> Site | None:
        if lock.serial not in self.records.locks:
            entries = () if owner is None else self._holding.held.get(owner & NUMBER, ())
            return next((self.records.site(share.site) for held, share in entries if held.serial == lock.serial), None)
        return self.records.site(lock.site) if lock.owner and not lock.marks & circles.SIGNAL else None

    # ---- waits

    def _all_waits(self, last: Mapping[int, tuple[facts.Wait, ...]]) -> Mapping[int, tuple[facts.Wait, ...]]:
        """Return the waits of each agent that waits, in the order of their numbers."""
        holding = self._holding
        of_others = {waiter & NUMBER for serial in holding.new_owners for _, waiter in holding.waiters.get(serial, ())}
        new = of_others.union(number for number in self.records.changed.agents if number in holding.waiting or number in last)
        agents = ((number, holding.waiting.get(number)) for number in new)
        return _taken_over(
            last, {number: None if agent is None else tuple([self._wait(agent, wait) for wait in agent.waits]) for number, agent in agents}
        )

    def _wait(self, agent: Agent, wait: Wait) -> facts.Wait:
        lock = self._holding.locks[wait.serial]
        call = _call(lock.kind, wait.mode)
        if lock.kind in (RESULT, OPAQUE) or (lock.kind == CONDITION and lock.limit):  # its record is there for this wait alone
            call = _CALLS_OF_ONE[lock.limit] if lock.limit < len(_CALLS_OF_ONE) else call
        mode, owner = MODES.get(wait.mode, "exclusive"), self._holding.owners.get(wait.serial)
        deadline_ns = None if wait.deadline_ns < 0 else wait.deadline_ns
        return facts.Wait(agent.id, wait.serial, call, mode, owner, wait.since_ns, deadline_ns, self.records.site(wait.site))

    def _findings(self) -> list[dict[str, Any]]:
        """What the process has found, as it told it."""
        found = []
        for count, raw in self._told:
            finding = _finding(raw)
            if finding is not None:
                found.append({**finding, "count": count})
        return found

    # ---- what follows from it

    @cached_property
    def moment(self) -> Moment:
        """Who waits for whom, with what snapshots do not tell."""
        now_ns = self.now_ns
        age_s, left_s = lambda wait: max(0, now_ns - wait["fact"].since_ns) / 1e9, lambda wait: wait["fact"].left_s(now_ns)
        last, self._last = self._last, None
        if last is not None and last.same:
            return last.moment.at(age_s, left_s)
        last = last or _Last(Moment({}, {}, ()), {}, {}, False)
        agents, locks, waits = last.moment.agents, last.moment.locks, last.moment.waits
        return Moment(
            {key: agents[key] if last.agents.get(key) is agent else agent._asdict() for key, agent in self.agents.items()},
            {key: locks[key] if last.locks.get(key) is lock else _row_of(lock) for key, lock in self.locks.items()},
            [row if (row := waits.get(wait.agent)) and row["fact"] is wait else _row_of_wait(wait) for wait in self.waits],
            age_s=age_s,
            left_s=left_s,
        )

    @property
    def circles(self) -> Sequence[tuple[int, ...]]:
        """The circles, as ids of agents of which each waits for the next."""
        return self.moment.forest.circles

    def clears(self, circle: Iterable[int]) -> bool:
        """Tell whether somebody in the circle has a timeout."""
        return self.moment.clears(circle)

    def is_proven(self, circle: Iterable[int]) -> bool:
        """Tell whether each lock in the circle is known to be released by its holder alone."""
        waits = [self.moment.waits[agent] for agent in circle if agent in self.moment.waits]
        return all(self.locks[wait["lock"]].evidence for wait in waits)

    def runs_tasks(self, agent: int) -> bool:
        """Tell whether an agent is a thread that runs a task of the table's; linear in agents."""
        number = agent & NUMBER
        return any(each.loop == number for each in self.records.agents.values())

    @cached_property
    def stands(self) -> list[told.Told]:
        """What the process has found about agents that still wait in the same waits, of every tier; oldest first."""
        if not self.findings:
            return []
        threads = {agent.native_id: agent.id for agent in self.agents.values() if agent.kind == "thread" and agent.native_id is not None}
        return told.standing(self.findings, ((wait.agent, wait.lock) for wait in self.waits), threads)

    @property
    def standing(self) -> list[dict[str, Any]]:
        """The deadlocks and stalls among these that are proven."""
        return [dict(each.finding) for each in self.stands if each.is_proven]

    @cached_property
    def whole_waits(self) -> Sequence[facts.Wait]:
        """The waits as people mean them: one for a result is one."""
        return facts.whole_waits(self.waits, self.agents, self.locks)

    @cached_property
    def pressing(self) -> Sequence[facts.Wait]:
        """Of each agent the wait that does not last by right: for a lock or permit, or kept by a deadlock that stands."""
        return told.pressing(self.whole_waits, told.stuck(self.stands, lambda: self.moment.forest))

    def facts(self) -> dict[str, Any]:
        """Return what one line about the process says; waits for events and conditions may last, and are counted apart."""
        oldest_s = max((wait.age_s(self.now_ns) for wait in self.pressing), default=None)
        deadlocked = any(each.is_proven for each in self.stands) or any(not self.clears(circle) and self.is_proven(circle) for circle in self.circles)
        version = self.header.python
        return {
            "pid": self.header.pid,
            "process": self.header.program,
            "interpreter": self.header.interpreter,
            "python": f"{version >> 24}.{version >> 16 & 255}.{version >> 8 & 255}",
            "level": self.level,
            "started_at": iso(self.header.started_ns / 1e9),
            "agents": len(self.agents),
            "waiting": len(self.pressing),
            "resting": len(self._waits) - len(self.pressing),
            "oldest_wait_s": oldest_s,
            "deadlocked": deadlocked,
            "findings": len(self.findings) + self.header.findings_dropped,
            "health": "deadlocked" if deadlocked else "stalled" if oldest_s is not None and oldest_s >= STALLED_S else "ok",
            "unseen": sum(area.hidden for area in self.header.areas[2:5]),
        }


def _row_of(lock: facts.Lock) -> dict[str, Any]:
    return {**lock._asdict(), "pools": () if lock.pool is None else (lock.pool,)}


def _row_of_wait(wait: facts.Wait) -> dict[str, Any]:
    return {"agent": wait.agent, "lock": wait.lock, "what": wait.what, "mode": wait.mode, "wanted_at": wait.wanted_at, "fact": wait}


def _taken_over(last: Mapping[int, _Fact], made: Mapping[int, _Fact | None], order: Callable[[int], int] = int) -> Mapping[int, _Fact]:
    """Return the last facts with what was made anew (None: there is none any more) in their place, in order; of what is equal the old."""
    new = {key: fact for key, fact in made.items() if last.get(key) != fact}
    if not new:
        return last
    facts = {key: fact for key, fact in {**last, **new}.items() if fact is not None}
    return facts if facts.keys() == last.keys() else {key: facts[key] for key in sorted(facts, key=order)}


@cache
def _call(kind: int, mode: int) -> str:
    return f"{KINDS.get(kind, 'Lock')}.{_CALLS.get(mode, 'acquire')}"


def site_of(site: Mapping[str, Any] | None) -> Site | None:
    """Return a place of a snapshot's JSON form as a Site."""
    return None if site is None else Site(site["file"], site["line"], site["function"])


_SHAPE: Mapping[str, type | tuple[type, ...]] = {
    "code": str,
    "title": str,
    "tier": str,
    "fingerprint": str,
    "detected_at": str,
    "pid": int,
    "process": str,
    "agents": list,
    "locks": list,
    "edges": list,
    "reasons": list,
    "explanation": str,
    "fix": str,
}


def _finding(raw: bytes) -> dict[str, Any] | None:
    """Return a finding's facts, None where the bytes are none."""
    try:
        finding = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(finding, dict) or not all(isinstance(finding.get(key), kind) for key, kind in _SHAPE.items()):
        return None
    parts = (finding["agents"], finding["locks"], finding["edges"])
    if finding["code"] not in CODES or not all(isinstance(each, dict) for part in parts for each in part):
        return None
    return finding


def iso(wall_s: float) -> str:
    """Return wall-clock seconds as ISO 8601 in UTC, with milliseconds; 1970 for what is no time."""
    try:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall_s))
    except (OverflowError, ValueError, OSError):
        stamp, wall_s = "1970-01-01T00:00:00", 0
    return f"{stamp}.{int(wall_s % 1 * 1000):03}+00:00"
