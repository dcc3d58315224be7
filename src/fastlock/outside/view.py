"""What a table says, in the form that the process's own snapshot has."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from fastlock.findings import CODES, Site
from fastlock.outside import circles, facts
from fastlock.outside.circles import CONDITION, EXCLUSIVE, FLAG, NOTIFY, OPAQUE, PERMIT, RESULT, SHARED, UPGRADABLE
from fastlock.outside.layout import ALIVE, Agent, Lock, Records, Share, Wait
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
_CALLS_OF_ONE = ("Future.result", "Thread.join", "concurrent.futures.wait", "concurrent.futures.as_completed", "waiting_for", "Popen.wait", "SimpleQueue.get")
STALLED_S = 10.0
_STANDING = ("FL001", "FL002", "FL003", "FL004", "FL012", "FL030")


class View:
    """One moment of a process, from two copies of its table; ages are taken at ``now_ns`` (CLOCK_MONOTONIC)."""

    def __init__(self, records: Records, now_ns: int, wall_s: float) -> None:
        self.records = records
        self.header = records.header
        self.now_ns = now_ns
        self._wall_s = wall_s
        self.held = self._held_stacks()
        self.holders = {lock.serial: circles.holders_of(lock, records) for lock in records.locks.values()}

    def _held_stacks(self) -> dict[int, list[tuple[Lock, Share]]]:
        """By agent what it held when it began to wait, as far as a level tells it."""
        held: dict[int, list[tuple[Lock, Share]]] = {}
        for agent in self.records.agents.values():
            if not agent.waits or not agent.held_count:
                continue
            for share in self.records.chain(agent.held, agent.held_count):
                lock = self.records.lock_at(share.times - 1) if share.times else None
                if lock is not None and lock.serial == share.who:
                    held.setdefault(agent.number, []).append((lock, share))
        return held

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

    @cached_property
    def agents(self) -> dict[int, facts.Agent]:
        """Every agent by its id, in the order of their numbers."""
        return {agent.id: self._agent(agent) for agent in self._agents}

    @cached_property
    def locks(self) -> dict[int, facts.Lock]:
        """Every lock by its id, in the order of these."""
        return {serial: self._lock(lock) for serial, lock in sorted(self._locks.items())}

    @cached_property
    def waits(self) -> list[facts.Wait]:
        """Every wait, in the order of the agents' numbers."""
        return [self._wait(agent, wait) for agent in self.records.agents.values() for wait in agent.waits]

    @cached_property
    def _locks(self) -> dict[int, Lock]:
        locks = dict(self.records.locks)
        for entries in self.held.values():
            locks.update((lock.serial, lock) for lock, _ in entries if lock.serial not in locks)
        for agent in self.records.agents.values():
            for wait in agent.waits:
                if wait.serial not in locks:  # its record found no room, or is being written
                    locks[wait.serial] = Lock(0, wait.serial, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, circles.SIGNAL, True)
        return locks

    @cached_property
    def owners(self) -> dict[int, Agent]:
        """The exclusive owner of each lock that has one, by the lock's serial."""
        owners = {}
        for lock in self.records.locks.values():
            owner = circles.owner_of(lock, self.records.agents)
            if owner is not None:
                owners[lock.serial] = owner
        for index, entries in self.held.items():
            for lock, _ in entries:
                if lock.serial not in self.records.locks and lock.kind in (circles.LOCK, circles.RLOCK, circles.RWLOCK):
                    owners.setdefault(lock.serial, self.records.agents[index])
        return owners

    @cached_property
    def _holds(self) -> dict[int, tuple[int, ...]]:
        holds: dict[int, dict[int, None]] = {}
        for serial, owner in self.owners.items():
            holds.setdefault(owner.number, {})[serial] = None
        for serial, holders in self.holders.items():
            for agent, _ in holders:
                holds.setdefault(agent.number, {})[serial] = None
        for index, entries in self.held.items():
            holds.setdefault(index, {}).update((lock.serial, None) for lock, _ in entries)
        return {index: tuple(serials) for index, serials in holds.items()}

    @cached_property
    def _agents(self) -> list[Agent]:
        """Threads, tasks that hold or wait for something here, and the dead that hold something here."""
        return [
            agent
            for agent in self.records.agents.values()
            if agent.number in self._holds or (agent.state == ALIVE and (agent.waits or not agent.loop))
        ]

    def _agent(self, agent: Agent) -> facts.Agent:
        wait = circles.wait_of(agent, self.records.locks)
        thread = self.records.agents.get(agent.loop) if agent.loop else agent
        return facts.Agent(
            id=agent.id,
            kind="task" if agent.loop else "thread",
            name=self._agent_name(agent),
            native_id=thread.native_id or None if thread is not None else None,
            loop=self._agent_name(thread) if agent.loop and thread is not None else None,
            holds=self._holds.get(agent.number, ()),
            waits=None if wait is None else wait.serial,
        )

    def _agent_name(self, agent: Agent) -> str:
        """Return the agent's name, else what its kind is called."""
        if agent.name or agent.loop:
            return agent.name or "Task"
        return "MainThread" if agent.native_id == self.header.pid else f"Thread {agent.native_id}"

    @cached_property
    def _waiters(self) -> dict[int, list[int]]:
        queue = sorted((wait.since_ns, wait.serial, agent.id) for agent in self.records.agents.values() for wait in agent.waits)
        waiters: dict[int, list[int]] = {}
        for _, serial, agent_id in queue:
            waiters.setdefault(serial, []).append(agent_id)
        return waiters

    def _lock(self, lock: Lock) -> facts.Lock:
        kind = KINDS.get(lock.kind, "Lock")
        name = self.records.text(lock.name)
        owner = self.owners.get(lock.serial)
        created = self.records.site(lock.created)
        readers = [agent.id for agent, _ in self.holders.get(lock.serial, ())]
        if lock.serial not in self.records.locks and owner is None:
            readers += [self.records.agents[i].id for i, held in self.held.items() if any(each.serial == lock.serial for each, _ in held)]
        return facts.Lock(
            id=lock.serial,
            name=f"unnamed {kind}" if name is None else name,
            lock_class=self.records.text(lock.lock_class) or kind,
            kind=kind,
            created=None if created is None else (created.file, created.line),
            owner=None if owner is None else owner.id,
            readers=tuple(readers),
            waiters=tuple(self._waiters.get(lock.serial, ())),
            held_at=self._held_site(lock),
        )

    def _held_site(self, lock: Lock) -> Site | None:
        if lock.serial not in self.records.locks:
            owner = self.owners.get(lock.serial)
            entries = self.held.get(owner.number, ()) if owner is not None else ()
            return next((self.records.site(share.site) for held, share in entries if held.serial == lock.serial), None)
        return self.records.site(lock.site) if lock.owner and not lock.marks & circles.SIGNAL else None

    def _wait(self, agent: Agent, wait: Wait) -> facts.Wait:
        lock = self._locks[wait.serial]
        owner = self.owners.get(wait.serial)
        call = f"{KINDS.get(lock.kind, 'Lock')}.{_CALLS.get(wait.mode, 'acquire')}"
        if lock.kind in (RESULT, OPAQUE) or (lock.kind == CONDITION and lock.limit):  # its record is there for this wait alone
            call = _CALLS_OF_ONE[lock.limit] if lock.limit < len(_CALLS_OF_ONE) else call
        return facts.Wait(
            agent=agent.id,
            lock=wait.serial,
            what=call,
            mode=MODES.get(wait.mode, "exclusive"),
            owner=None if owner is None else owner.id,
            since_ns=wait.since_ns,
            deadline_ns=None if wait.deadline_ns < 0 else wait.deadline_ns,
            wanted_at=self.records.site(wait.site),
        )

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        """What the process has found, as it told it."""
        found = []
        for count, raw in self.records.findings():
            finding = _finding(raw)
            if finding is not None:
                found.append({**finding, "count": count})
        return found

    # ---- what follows from it

    @cached_property
    def moment(self) -> Moment:
        """Who waits for whom, with what snapshots do not tell."""
        agents = [
            {**self.agents[agent.id].to_dict(), "state": STATES.get(agent.state, "ended"), "runs": agent.runs} for agent in self._agents
        ]
        locks = [{**lock.to_dict(), **self._beside(self._locks[lock.id])} for lock in self.locks.values()]
        return Moment(agents, locks, [wait.to_dict(self.now_ns) for wait in self.waits], site=site_of)

    def _beside(self, lock: Lock) -> dict[str, Any]:
        """What else decides who may have a lock."""
        upgrader = self.records.agents.get(lock.limit) if lock.kind == circles.RWLOCK else None
        return {
            "open": circles.is_open(lock, self.holders.get(lock.serial, ())),
            "pools": (lock.permits,) if lock.kind == RESULT and lock.permits else (),
            "upgrader": None if upgrader is None else upgrader.id,
            "lets_readers_in": bool(lock.marks & circles.READERS),
        }

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
        return all(circles.has_evidence(self._locks[wait["lock"]]) for wait in waits)

    @cached_property
    def standing(self) -> list[dict[str, Any]]:
        """The deadlocks that the process has found and that still stand: each of their agents still waits for its lock."""
        waiting = {(agent.id, wait.serial) for agent in self.records.agents.values() for wait in agent.waits}
        found = []
        for finding in self.findings:
            if finding["code"] in _STANDING and finding["tier"] == "proven":
                edges = [(edge.get("agent"), edge.get("waits")) for edge in finding["edges"] if edge.get("waits") is not None]
                if edges and all(_hashable(edge) and edge in waiting for edge in edges):
                    found.append(finding)
        return found

    def facts(self) -> dict[str, Any]:
        """Return what one line about the process says; waits for events and conditions may last, and are counted apart."""
        agents = self.records.agents
        since = [
            wait.since_ns
            for agent in agents.values()
            for wait in agent.waits[:1]
            if wait.mode in (EXCLUSIVE, SHARED, UPGRADABLE, PERMIT) and self._locks[wait.serial].kind not in (RESULT, OPAQUE)
        ]
        oldest_s = max(0, self.now_ns - min(since)) / 1e9 if since else None
        deadlocked = bool(self.standing) or any(
            not self.clears(circle) and self.is_proven(circle) for circle in self.circles
        )
        version = self.header.python
        return {
            "pid": self.header.pid,
            "process": self.header.program,
            "interpreter": self.header.interpreter,
            "python": f"{version >> 24}.{version >> 16 & 255}.{version >> 8 & 255}",
            "level": self.level,
            "started_at": iso(self.header.started_ns / 1e9),
            "agents": len(self._agents),
            "waiting": len(since),
            "resting": sum(1 for agent in agents.values() if agent.waits) - len(since),
            "oldest_wait_s": oldest_s,
            "deadlocked": deadlocked,
            "findings": len(self.findings) + self.header.findings_dropped,
            "health": "deadlocked" if deadlocked else "stalled" if oldest_s is not None and oldest_s >= STALLED_S else "ok",
            "unseen": sum(area.hidden for area in self.header.areas[2:5]),
        }


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


def _hashable(edge: tuple[Any, Any]) -> bool:
    return all(isinstance(part, int) for part in edge)


def iso(wall_s: float) -> str:
    """Return wall-clock seconds as ISO 8601 in UTC, with milliseconds; 1970 for what is no time."""
    try:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall_s))
    except (OverflowError, ValueError, OSError):
        stamp, wall_s = "1970-01-01T00:00:00", 0
    return f"{stamp}.{int(wall_s % 1 * 1000):03}+00:00"
