"""Roots of snapshots: who is waited for in the end, and the tree of those behind, from tables that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fastlock import roots
from fastlock.findings import AgentState, LockState, Site, Snapshot, WaitState
from fastlock.roots import Moment, More, Root

AT = Site("/srv/app/db.py", 88, "Db.recv")


def agent(number: int, name: str = "", kind: str = "thread", state: str = "alive", native_id: int | None = None) -> AgentState:
    native = native_id if native_id is not None else number
    return AgentState(number, kind, name or f"Thread-{number}", native, "MainThread" if kind == "task" else None, (), None, state)


def lock(number: int, owner: int | None = None, kind: str = "Lock", readers: tuple[int, ...] = (), **more: Any) -> LockState:
    return LockState(number, f"lock{number}", f"lock{number}", kind, None, owner, readers, **more)


def wait(who: int, what: int, age_s: float = 5.0, mode: str = "exclusive", left_s: float | None = None) -> WaitState:
    return WaitState(who, what, "Lock.acquire", mode, None, age_s, left_s, AT)


def snapshot(agents: list[AgentState], locks: list[LockState], waits: list[WaitState]) -> Snapshot:
    """A snapshot of these, each agent with its first wait and each lock with its waiters, the oldest first."""
    first: dict[int, int | None] = {}
    for each in waits:
        first.setdefault(each.agent, each.lock)
    oldest = sorted(waits, key=lambda each: -each.since_s)
    agents = [AgentState(**{**vars(each), "waits": first.get(each.id)}) for each in agents]
    locks = [LockState(**{**vars(each), "waiters": tuple(w.agent for w in oldest if w.lock == each.id)}) for each in locks]
    return Snapshot(41, "app", "detect", "2026-11-30T23:47:12.000+00:00", None, tuple(agents), tuple(locks), tuple(waits), ())


def tree(root: Root) -> list[tuple[int, int]]:
    return [(link.agent, link.depth) for link in root.waiters]


def test_a_chain_ends_at_who_runs() -> None:
    """1 runs and holds; 2 waits for it and holds what 3 and 4 want."""
    (root,) = snapshot(
        [agent(n) for n in (1, 2, 3, 4)], [lock(1, 1), lock(2, 2)], [wait(2, 1, 9.0), wait(3, 2, 4.0), wait(4, 2, 5.0)]
    ).roots
    assert (root.kind, root.agents[0].agent, root.number, root.total, root.oldest_s) == ("running", 1, 1, 3, 9.0)
    assert tree(root) == [(2, 1), (4, 2), (3, 2)]
    assert [link.behind for link in root.waiters] == [2, 0, 0]
    assert (root.waiters[0].lock, root.waiters[0].what, root.waiters[0].wanted_at) == (1, "lock1", AT)
    assert str(root).splitlines() == [
        "Thread-1, which waits for no lock; 3 agents wait for it in the end, the oldest for 9.0s",
        "  └ Thread-2 waits for lock1 at db.py:88, for 9.0s",
        "    ├ Thread-4 waits for lock2 at db.py:88, for 5.0s",
        "    └ Thread-3 waits for lock2 at db.py:88, for 4.0s",
    ]


def test_a_circle_is_one_root() -> None:
    """With those behind any of it; nobody of it is behind it."""
    (root,) = snapshot(
        [agent(n) for n in (1, 2, 3)], [lock(1, 1), lock(2, 2)], [wait(1, 2), wait(2, 1, left_s=3.0), wait(3, 2, 1.0)]
    ).roots
    assert (root.kind, {link.agent for link in root.agents}, tree(root)) == ("circle", {1, 2}, [(3, 1)])
    text = str(root)
    assert text.startswith("A circle of Thread-") and "gives up in 3.0s" in text and text.count("↻") == 2


def test_who_waits_for_itself_is_a_circle() -> None:
    (root,) = snapshot([agent(1)], [lock(1, 1)], [wait(1, 1)]).roots
    assert (root.kind, root.number, root.total) == ("circle", 1, 0)
    assert str(root).startswith("Thread-1, which waits for itself; nobody waits behind it")


@pytest.mark.parametrize(
    "state, told", [("ended", "which has ended"), ("lost-in-fork", "which is not in this process: lost in fork")]
)
def test_the_dead_are_roots(state: str, told: str) -> None:
    (root,) = snapshot([agent(1, state=state), agent(2)], [lock(1, 1)], [wait(2, 1)]).roots
    assert (root.kind, tree(root)) == (state, [(2, 1)])
    assert told in str(root)


def test_a_root_may_wait_for_an_event() -> None:
    """Whoever is to set it is not known, so the chain ends there."""
    (root,) = snapshot([agent(1), agent(2)], [lock(1, 1), lock(2, kind="Event")], [wait(2, 1), wait(1, 2, mode="shared")]).roots
    assert (root.kind, root.at, tree(root)) == ("waiting", AT, [(2, 1)])
    assert "which waits for lock2 (Event) at db.py:88; 1 agent waits for it" in str(root)


def test_who_waits_for_an_event_with_nobody_behind_is_no_root() -> None:
    assert snapshot([agent(1)], [lock(1, kind="Event")], [wait(1, 1)]).roots == ()


def test_a_permit_is_one_of_many() -> None:
    """Everybody waits for any one of the holders; the one that runs."""
    moment = [agent(n) for n in range(1, 6)], [lock(1, kind="Semaphore", readers=(1, 2, 3, 4)), lock(2, 1)], [wait(5, 1), wait(1, 2)]
    (circle, root) = snapshot(*moment).roots
    assert (circle.kind, root.kind, root.agents[0].agent) == ("circle", "running", 2)
    assert root.waiters[0].how == "one of 4 permit holders"
    assert "waits for lock1 (one of 4 permit holders) at db.py:88" in str(root)


def test_an_open_semaphore_has_somebody_unknown() -> None:
    """Its known holders are stuck, but a permit is out whose holder is not known: that one is the root."""
    locks = [lock(1, kind="Semaphore", readers=(1,), open=True)]
    (root,) = snapshot([agent(1)], locks, [wait(1, 1)]).roots
    assert root.agents[0].agent == roots.UNKNOWN and str(root).startswith("Somebody unknown")


def test_readers_and_writers() -> None:
    """A writer waits for all readers, a reader that came after it for the writer; one that came before it for nobody."""
    waits = [wait(3, 1, 5.0), wait(4, 1, 4.0, "shared"), wait(5, 1, 6.0, "shared")]
    (root,) = snapshot([agent(n) for n in range(1, 6)], [lock(1, kind="RWLock", readers=(1, 2))], waits).roots
    assert tree(root) == [(3, 1), (4, 2)]
    assert [link.how for link in root.waiters] == ["one of 2 readers", "behind a writer"]


def test_who_upgrades_waits_for_the_other_readers_and_those_who_come_for_it() -> None:
    """Of 1, 2 and 3, which read, 1 upgrades: it waits for the others and not for itself; a reader waits behind it, whoever is preferred, and the next upgrader for the share."""
    waits = [wait(1, 1), wait(4, 1, 9, "shared"), replace(wait(5, 1, 2, "shared"), what="RWLock.acquire_upgradable")]
    shared = lock(1, kind="RWLock", readers=(1, 2, 3), upgrader=1, lets_readers_in=True)
    (root,) = snapshot([agent(n) for n in range(1, 6)], [shared], waits).roots
    assert root.agents[0].agent in (2, 3)
    assert sorted(tree(root)) == [(1, 1), (4, 2), (5, 2)]


def test_who_reads_and_wants_the_upgradable_share_waits_for_itself() -> None:
    """Nobody may have the upgradable share who reads already: that is a circle of one."""
    waits = [replace(wait(1, 1, 2, "shared"), what="RWLock.acquire_upgradable")]
    (root,) = snapshot([agent(1)], [lock(1, kind="RWLock", readers=(1,))], waits).roots
    assert (root.kind, [link.agent for link in root.agents]) == ("circle", [1])


def result(number: int, **more: Any) -> dict[str, Any]:
    """A record of something that is brought by others."""
    return {"id": number, "name": f"result{number}", "kind": "Result", "owner": None, "readers": [], "waiters": [], **more}


def brought(wakers: tuple[int, ...] = (), pools: tuple[int, ...] = (), *, enough: bool = False, idle: bool = False) -> Moment:
    """5 waits for a result; 1 waits for itself, 2 and 3 run, and 1 and 2 work for the pool that is lock 9."""
    agents = [{"id": n, "kind": "thread", "name": f"Thread-{n}", "native_id": n, "waits": {1: 8, 5: 7}.get(n)} for n in range(1, 6)]
    pool = {**result(9, open=idle), "name": "pool", "kind": "ThreadPoolExecutor", "readers": [1, 2]}
    locks = [result(7, wakers=wakers, pools=pools, any=enough), {**result(8), "kind": "Lock", "owner": 1}, pool]
    waits = [{"agent": n, "lock": what, "mode": "exclusive", "since_s": 1.0, "deadline_s": None, "wanted_at": None} for n, what in ((1, 8), (5, 7))]
    return Moment(agents, locks, waits)


@pytest.mark.parametrize(
    "moment, whom, how",
    [
        (brought((2, 3)), 3, ""),  # all of them: the last one
        (brought((2, 1)), 1, ""),  # and one that never comes
        (brought((1, 3), enough=True), 3, "one of 2"),
        (brought((), (9,)), 2, "queued in pool, one of 2 workers"),
        (brought((1,), (9,), enough=True), 2, "one of 2"),
        (brought((), (9,), idle=True), None, ""),  # a worker is idle, so it can run
        (brought((1,), (9,), enough=True, idle=True), None, ""),
        (brought((1,), (9,), idle=True), 1, ""),
    ],
)
def test_results_come_from_agents_and_queues(moment: Moment, whom: int | None, how: str) -> None:
    """All or any of several, each an agent or work in the queue of a pool, which any of its workers takes unless one is idle."""
    assert moment.forest.parent.get(5) == whom
    links = [link for root in moment.roots() for link in root.waiters if link.agent == 5]
    assert [link.how for link in links] == ([how] if whom is not None else [])


def test_tasks_stand_still_with_their_loop() -> None:
    """A task needs its loop's thread: where that is blocked, whoever waits for the task waits for what the thread waits for."""
    agents = [agent(1, "MainThread"), agent(2, "Task-2", "task", native_id=1), agent(3), agent(4)]
    (root,) = snapshot(agents, [lock(1, 3), lock(2, 2)], [wait(1, 1, 7.0), wait(4, 2)]).roots
    assert (root.agents[0].agent, tree(root)) == (3, [(1, 1), (2, 2), (4, 3)])
    assert "Task-2 stands still: its loop is stopped" in str(root)


def test_an_inner_wait_is_the_one_that_counts() -> None:
    """A signal handler that waits inside of a wait: the agent's record names which of the two it is."""
    (root,) = snapshot([agent(n) for n in (1, 2, 3)], [lock(1, 1), lock(2, 2)], [wait(3, 2, 1.0), wait(3, 1, 9.0)]).roots
    assert (root.agents[0].agent, tree(root)) == (2, [(3, 1)])


def test_a_crowd_is_counted() -> None:
    """Of 5,000 the oldest ten are told, and one who has others behind it however young it is."""
    agents = [agent(n) for n in range(1, 5004)]
    waits = [wait(n, 1, 10_000.0 - n) for n in range(2, 5002)] + [wait(5002, 1, 1.0), wait(5003, 2, 0.5)]
    (root,) = snapshot(agents, [lock(1, 1), lock(2, 5002)], waits).roots
    assert (root.total, len(root.waiters)) == (5002, 5002)
    lines = str(root).splitlines()
    assert len(lines) == 13
    assert lines[1].startswith("  ├ Thread-2 waits for lock1") and lines[9].startswith("  ├ Thread-10 waits")
    assert "Thread-5002 waits" in lines[10] and lines[11].startswith("  │ └ Thread-5003")
    assert lines[12] == "  └ and 4,991 more, the oldest for 2h 46m"


def test_a_deep_chain_is_cut_in_the_middle() -> None:
    """Of 5,000 levels the first ones, and the last ones, where the chain ends."""
    number = 5000
    agents, locks = [agent(n) for n in range(1, number + 2)], [lock(n, n) for n in range(1, number + 1)]
    (root,) = snapshot(agents, locks, [wait(n + 1, n, float(n)) for n in range(1, number + 1)]).roots
    assert root.total == number and max(link.depth for link in root.waiters) == number
    gaps = [row for row in root.rows if isinstance(row, More)]
    assert [(gap.number, gap.between) for gap in gaps] == [(number - len(root.rows) + 1, True)]
    lines = str(root).splitlines()
    assert len(lines) < 16 and lines[-1].strip().startswith(f"└ Thread-{number + 1} waits")
    assert repr(root) and hash(root) == hash(root)


def test_every_row_or_rest_is_counted_once() -> None:
    """Shown and left out together are all, for a bushy tree too."""
    agents = [agent(n) for n in range(1, 400)]
    waits = [wait(n, n // 3, float(n % 7)) for n in range(3, 400)]
    (root, *_) = snapshot(agents, [lock(n, n) for n in range(1, 400)], waits).roots
    assert sum(row.number if isinstance(row, More) else 1 for row in root.rows) == root.total
    assert len(root.rows) < 60


def test_equal_names_are_numbered() -> None:
    agents = [agent(1, "main"), agent(2, "worker"), agent(3, "worker")]
    (root,) = snapshot(agents, [lock(1, 1)], [wait(2, 1, 2.0), wait(3, 1, 1.0)]).roots
    assert [line.split(" waits")[0] for line in str(root).splitlines()[1:]] == ['  ├ thread "worker" #1', '  └ thread "worker" #2']


def test_the_one_with_the_most_behind_it_comes_first() -> None:
    waits = [wait(3, 1, 50.0), wait(4, 2, 1.0), wait(5, 2, 1.0), wait(6, 3, 1.0), wait(7, 4)]
    locks = [lock(1, 1), lock(2, 2), lock(3, 8), lock(4, 7)]
    found = snapshot([agent(n) for n in range(1, 9)], locks, waits).roots
    assert [root.agents[0].agent for root in found] == [7, 2, 1, 8]


def test_names_cannot_break_lines() -> None:
    (root,) = snapshot([agent(1, "a\nb\x1b[31m"), agent(2)], [lock(1, 1)], [wait(2, 1)]).roots
    assert len(str(root).splitlines()) == 2 and "\x1b" not in str(root)


def test_what_agents_await_and_who_never_runs() -> None:
    """What is known beyond the table: a task that awaits another one, and an agent that is stuck for another reason."""
    agents = [{"id": n, "kind": "task", "name": f"Task-{n}", "native_id": None, "loop": None, "waits": None} for n in (1, 2, 3)]
    agents[2]["waits"] = 1
    locks = [{"id": 1, "name": "lock", "kind": "Lock", "owner": 1, "readers": [], "waiters": [3]}]
    waits = [{"agent": 3, "lock": 1, "mode": "exclusive", "since_s": 1.0, "deadline_s": None, "wanted_at": None}]
    (root,) = Moment(agents, locks, waits, awaits={1: (2,)}).roots()
    assert (root.agents[0].agent, tree(root)) == (2, [(1, 1), (3, 2)])
    assert "Task-1 awaits it" in str(root)
    forest = Moment(agents, locks, waits, never={1}).forest
    assert (forest.stuck, forest.path(3)) == ({1, 3}, [3, 1])


def test_the_json_of_a_snapshot_is_as_it_was() -> None:
    """Roots, and what only they need, are not in it."""
    facts = snapshot([agent(1)], [lock(1, 1)], []).to_dict()
    assert set(facts) == {"pid", "process", "level", "captured_at", "raw_locks", "agents", "locks", "waits", "findings"}
    assert set(facts["agents"][0]) == {"id", "kind", "name", "native_id", "loop", "holds", "waits"}
    assert set(facts["locks"][0]) == {"id", "name", "class", "kind", "owner", "readers", "waiters", "created", "held_at"}
