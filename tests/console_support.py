"""For tests of the console: processes made by hand, as a table would show them, without a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastlock.console import once
from fastlock.console.pages import page
from fastlock.console.pages.base import Page, Section
from fastlock.console.seen import LIVE, Agent, Asked, Circle, Lock, Seen, Target, Wait
from fastlock.console.tables import Grid, Query, text_of
from fastlock.findings import Site
from fastlock.roots import Moment

NOW_NS = 1_000_000_000_000


class HandMade(Seen):
    """A process whose circles and roots follow from its waits, as everywhere."""

    @cached_property
    def moment(self) -> Moment:
        agents = [{**each._asdict(), "state": "alive"} for each in self.agents.values()]
        return Moment(
            agents,
            [each._asdict() for each in self.locks.values()],
            [each._asdict() for each in self.waits],
            age_s=lambda wait: (self.now_ns - wait["since_ns"]) / 1e9,
            left_s=lambda wait: None if wait["deadline_ns"] is None else (wait["deadline_ns"] - self.now_ns) / 1e9,
        )

    @cached_property
    def circles(self) -> Sequence[Circle]:
        return [Circle(each, self.moment.clears(each), True) for each in self.moment.forest.circles]


def site(place: str, function: str = "run") -> Site:
    """Return the place that is written as ``export.py:120``."""
    file, _, line = place.partition(":")
    return Site(f"/srv/shop/{file}", int(line), function)


@dataclass
class Process:
    """A process that is put together agent by agent; ids are given in order."""

    pid: int = 41
    facts: dict[str, Any] = field(default_factory=dict)
    agents: dict[int, Agent] = field(default_factory=dict)
    locks: dict[int, Lock] = field(default_factory=dict)
    waits: list[Wait] = field(default_factory=list)
    findings: list[Mapping[str, Any]] = field(default_factory=list)
    now_ns: int = NOW_NS

    def agent(self, name: str, kind: str = "thread", loop: str | None = None, tid: int | None = None) -> int:
        number = len(self.agents) + 1
        self.agents[number] = Agent(number, kind, name, tid if tid is not None else 4700 + number, loop, (), None)
        return number

    def lock(self, name: str, owner: int | None = None, at: str | None = None, kind: str = "Lock", readers: tuple[int, ...] = (), lock_class: str = "") -> int:
        number = 100 + len(self.locks)
        self.locks[number] = Lock(number, name, lock_class or name, kind, ("/srv/shop/pool.py", 31), owner, readers, (), site(at) if at else None)
        for holder in (*readers, *([] if owner is None else [owner])):
            agent = self.agents[holder]
            self.agents[holder] = agent._replace(holds=(*agent.holds, number))
        return number

    def wait(self, agent: int, lock: int, age_s: float, at: str = "ledger.py:41", what: str = "Lock.acquire", mode: str = "exclusive", left_s: float | None = None) -> None:
        known = self.locks[lock]
        self.locks[lock] = known._replace(waiters=(*known.waiters, agent))
        self.agents[agent] = self.agents[agent]._replace(waits=lock)
        deadline = None if left_s is None else self.now_ns + int(left_s * 1e9)
        self.waits.append(Wait(agent, lock, what, mode, known.owner, self.now_ns - int(age_s * 1e9), deadline, site(at)))

    def seen(self, **facts: Any) -> HandMade:
        """Return it as it is now."""
        known: dict[str, Any] = {
            "pid": self.pid, "process": "billing.py", "python": "3.11.9", "level": "detect", "state": LIVE, "why": "", "health": "ok",
            "now_ns": self.now_ns, "captured_at": "2026-11-30T23:47:12.000+00:00", "agents": dict(self.agents), "locks": dict(self.locks),
            "waits": list(self.waits), "findings": list(self.findings), "findings_dropped": 0, "raw_locks": 0, "unseen": 0,
        }  # fmt: skip
        return HandMade(**{**known, **self.facts, **facts})


def deadlocked(pid: int = 41) -> Process:
    """Return a process in which exporter and refresher wait for each other, and clerk waits behind them."""
    made = Process(pid, {"health": "deadlocked"})
    exporter, refresher, clerk = made.agent("exporter"), made.agent("refresher"), made.agent("clerk")
    ledger, rates = made.lock("ledger_lock", exporter, "export.py:120"), made.lock("rates_lock", refresher, "rates.py:88")
    made.wait(exporter, rates, 272, "export.py:131")
    made.wait(refresher, ledger, 272.5, "ledger.py:41")
    made.wait(clerk, ledger, 12, "clerk.py:7", left_s=18)
    return made


def busy() -> Process:
    """A process with a wait of each sort, none of them stuck."""
    made = Process()
    holder, writer, reader, permit = (made.agent(name) for name in ("holder", "writer", "reader", "taker"))
    loop = made.agent("MainThread", tid=41)
    task, other = made.agent("fetch", "task", "MainThread", 41), made.agent("store", "task", "MainThread", 41)
    ledger = made.lock("ledger", holder, "pay.py:10")
    rates = made.lock("rates", kind="RWLock", readers=(holder,))
    pool = made.lock("pool", kind="Semaphore", readers=(holder, writer))
    ready = made.lock("ready", kind="Event")
    rows_lock = made.lock("rows", task, "rows.py:5")
    made.wait(writer, rates, 8, "rates.py:20", "RWLock.acquire_write")
    made.wait(reader, ledger, 20, "pay.py:33", left_s=5)
    made.wait(permit, pool, 3, "pool.py:9", "Semaphore.acquire")
    made.wait(loop, ready, 900, "main.py:1", "Event.wait", "shared")
    made.wait(other, rows_lock, 1, "rows.py:9")
    return made


def inversion(more: Mapping[str, Any] = {}) -> dict[str, Any]:  # noqa: B006
    """A finding of two orders, as tables have it."""
    agents = [{"id": number, "kind": "thread", "name": name, "native_id": 4700 + number, "loop": None, "stack": []} for number, name in ((1, "one"), (2, "two"))]
    locks = [{"id": number, "name": name, "class": name, "kind": "Lock", "created": None} for number, name in ((7, "audit"), (8, "stock"))]

    def place(line: int) -> dict[str, Any]:
        return {"file": "/srv/shop/shop.py", "line": line, "function": "visit", "text": "with stock:"}

    edges = [
        {"agent": 1, "holds": 7, "waits": 8, "mode": "exclusive", "held_at": place(52), "wanted_at": place(61), "since_s": 0.0},
        {"agent": 2, "holds": 8, "waits": 7, "mode": "exclusive", "held_at": place(38), "wanted_at": place(52), "since_s": 0.0},
    ]
    return {
        "code": "FL010", "title": "lock-order inversion", "tier": "high", "fingerprint": "ab" * 32, "count": 3, "detected_at": "2026-11-30T23:31:40.000+00:00",
        "pid": 41, "process": "billing.py", "agents": agents, "locks": locks, "edges": edges, "clears": None, "behind": 0, "reasons": [],
        "explanation": "Two orders exist.", "fix": "take stock before audit", **more,
    }  # fmt: skip


def told_deadlock() -> dict[str, Any]:
    """The finding of deadlocked(), with stacks."""
    stack = [{"file": "/srv/shop/export.py", "line": 131, "function": "export", "text": "with rates_lock:"}]
    finding = inversion({"code": "FL001", "title": "deadlock", "tier": "proven", "fingerprint": "cd" * 32, "clears": False})
    agents = [{**agent, "name": name, "stack": stack} for agent, name in zip(finding["agents"], ("exporter", "refresher"))]
    locks = [{**lock, "id": 100 + at, "name": name, "class": name} for at, (lock, name) in enumerate(zip(finding["locks"], ("ledger_lock", "rates_lock")))]
    edges = [{**edge, "holds": 100 + at, "waits": 101 - at} for at, edge in enumerate(finding["edges"])]
    return {**finding, "agents": agents, "locks": locks, "edges": edges}


def starved() -> Process:
    """A pool of two workers, each in wait for work in its queue, and the process's finding about it."""
    made = Process(facts={"health": "deadlocked"})
    main, one, two = made.agent("MainThread"), made.agent("worker-0"), made.agent("worker-1")
    made.lock("pool", kind="ThreadPoolExecutor", readers=(one, two))
    whole = made.lock("result of page()", one, kind="Result")
    parts = [made.lock("result of part()", worker, kind="Result") for worker in (one, two)]  # a circle of one each, as an open pool would show it
    made.wait(main, whole, 4, "nested.py:41", "Future.result")
    for worker, part in zip((one, two), parts):
        made.wait(worker, part, 4, "nested.py:33", "Future.result")
    agents = [{"id": each, "kind": "thread", "name": made.agents[each].name, "native_id": made.agents[each].native_id, "loop": None, "stack": []} for each in (one, two)]
    locks = [{"id": each, "name": made.locks[each].name, "class": "c", "kind": made.locks[each].kind, "created": None} for each in (100, *parts)]
    edge = {"mode": "exclusive", "held_at": None, "wanted_at": site("nested.py:33").to_dict(), "since_s": 0.1}
    edges = [{**edge, "agent": worker, "holds": 100, "waits": part} for worker, part in zip((one, two), parts)]
    told = {"explanation": "All 2 workers are busy with jobs that wait for one of them.", "fix": "give that work a pool of its own"}
    made.findings.append({**told_deadlock(), **told, "code": "FL030", "title": "pool starvation", "agents": agents, "locks": locks, "edges": edges})
    return made


@dataclass
class Fleet:
    """Processes, and what they have answered."""

    seen: Sequence[Seen] = ()
    answers: dict[tuple[int, str, int], Asked] = field(default_factory=dict)
    why: str = ""

    def asked(self, pid: int, part: str = "classes", agent: int = 0) -> Asked:
        return self.answers.get((pid, part, agent), Asked(why="it is being asked"))


def fleet(*processes: Process | Seen) -> Fleet:
    """Return a fleet of these."""
    return Fleet([each.seen() if isinstance(each, Process) else each for each in processes])


def shown(view: str, of: Fleet, target: Target | None = None, **query: Any) -> Page:
    """Return a page."""
    return page(view, of, Query(**query), target)


def grids(of: Page) -> list[Grid]:
    """Return the tables of a page."""
    return [section.body for section in of.sections if isinstance(section.body, Grid)]


def rows(of: Page | Grid) -> list[dict[str, str]]:
    """Return the first table of a page, or a table: by column what its rows say."""
    grid = grids(of)[0] if isinstance(of, Page) else of
    keys = [column.key for column in grid.columns]
    return [dict(zip(keys, (cell.text for cell in row.cells), strict=True)) for row in grid.rows]


def lines(of: Page | Section) -> list[str]:
    """Return the lines of text of a page, its head first, or of a section."""
    if isinstance(of, Section):
        return [] if isinstance(of.body, Grid) else [text_of(line) for line in of.body]
    return [*(text_of(line) for line in of.head), *(text for section in of.sections for text in lines(section))]


def sections(of: Page) -> dict[str, list[str]]:
    """By title what the sections of a page say."""
    told: dict[str, list[str]] = {}
    for section in of.sections:
        grid = section.body
        said = [" | ".join(cell.text for cell in row.cells) for row in grid.rows] or [grid.empty] if isinstance(grid, Grid) else lines(section)
        told.setdefault(section.title, []).extend(said)
    return told


def text(of: Page, columns: int = 80) -> str:
    """A page as text."""
    return once.render(of, columns)
