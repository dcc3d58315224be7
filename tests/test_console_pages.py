"""The console's pages: what each view says of processes that are made by hand, and where its rows lead."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from console_support import NOW_NS, Fleet, HandMade, Process, deadlocked, fleet, grids, lines, rows, shown, site
from fastlock.console import once, sources
from fastlock.console.flow import Flow
from fastlock.console.pages import DETAILS, VIEWS, columns_of
from fastlock.console.pages.base import NO_PROCESS, OVER, Page
from fastlock.console.seen import ENDED, STOPPED, UNSEEN, Asked, ClassFacts, Target
from fastlock.console.tables import GAP, Cell, Column, Grid, cut, cut_cell, fit, text_of
from fastlock.reporting import is_stdlib, width


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


# ---- waits ------------------------------------------------------------------------------------------------------


def test_waits_for_locks_come_first_the_oldest_on_top() -> None:
    """What rests at an event for a quarter of an hour does not stand above who waits for a lock."""
    page = shown("waits", fleet(busy()))
    assert [row["who"] for row in rows(page)] == ["reader", "writer", "taker", "store (task)", "MainThread"]
    assert page.sections[0].title == "Waits: 4 for locks, 1 for events, results and the like"
    assert rows(page)[0] == {"who": "reader", "lock": "ledger", "owner": "holder", "age": "20s", "site": "pay.py:33", "behind": "", "call": "Lock.acquire", "left": "5.0s"}
    assert [row["owner"] for row in rows(page)[1:3]] == ["holder", "2 holders"]
    assert page.focus is None


def test_a_deadlock_is_where_the_cursor_stands_and_leads_to_both_lines() -> None:
    """The head says who, the cursor stands on it, and Enter shows the two lines of code and what to do."""
    of = fleet(deadlocked())
    page = shown("waits", of)
    assert "DEADLOCK: refresher and exporter wait for each other" in lines(page)
    assert page.focus == Target("circle", 41, 2) == grids(page)[0].rows[0].target
    circle = text(shown("waits", of, page.focus))
    assert '"refresher" ── waits ──▶ ledger_lock ── held by ──▶ thread "exporter"' in circle
    assert "holds  ledger_lock   export.py:120" in circle and "waits  rates_lock    export.py:131      4m 32s" in circle
    assert "in export.py:120 take rates_lock first" in circle


def test_who_waits_behind_a_circle_counts_for_each_in_it() -> None:
    """Two wait for each of them in the end: the other one, and the clerk."""
    assert [row["behind"] for row in rows(shown("waits", fleet(deadlocked())))] == ["2", "2", ""]


def test_a_deadlock_that_only_a_finding_knows_is_an_alarm_too() -> None:
    """A circle over an await is not in the table's owners, but its process has found it, and its waits still stand."""
    made = busy()
    told = {**told_deadlock(), "title": "deadlock", "explanation": "store waits for fetch, which awaits it."}
    told["edges"] = [{**told["edges"][0], "agent": 7, "waits": 104}]
    made.findings.append(told)
    of = fleet(made.seen(health="deadlocked", ))
    page = shown("waits", of)
    assert "FL001 deadlock: store waits for fetch, which awaits it." in lines(page)
    assert page.focus == Target("finding", 41, "cd" * 32)
    assert [row.target for row in grids(page)[0].rows if row.key == ("wait", 41, 7, 104)] == [page.focus]
    assert "FL001 deadlock" in text(shown("waits", of, page.focus))
    assert shown("waits", of, Target("agent", 41, 7)).focus == page.focus


@pytest.mark.parametrize(
    ("query", "who"),
    [
        ({"text": "LEDGER pay"}, ["reader"]),
        ({"text": "holder rates"}, ["writer"]),
        ({"kind": "rwlock"}, ["writer"]),
        ({"kind": "task"}, ["store (task)"]),
        ({"kind": "locks", "min_age_s": 5}, ["reader", "writer"]),
        ({"kind": "rest"}, ["MainThread"]),
        ({"min_age_s": 100}, ["MainThread"]),
        ({"sort": "age"}, ["MainThread", "reader", "writer", "taker", "store (task)"]),
        ({"sort": "age", "reverse": True}, ["store (task)", "taker", "writer", "reader", "MainThread"]),
        ({"sort": "who"}, ["MainThread", "reader", "store (task)", "taker", "writer"]),
        ({"sort": "left"}, ["reader", "writer", "taker", "store (task)", "MainThread"]),
        ({"sort": "nothing"}, ["reader", "writer", "taker", "store (task)", "MainThread"]),
    ],
)
def test_filters_and_sorting(query: dict[str, Any], who: list[str]) -> None:
    """Words, kinds and ages filter; a column sorts, numbers from the largest on, and what has no value comes last."""
    assert [row["who"] for row in rows(shown("waits", fleet(busy()), **query))] == who


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_sorts_both_ways(view: str) -> None:
    """No column of any view has rows that cannot be compared."""
    of = fleet(busy(), deadlocked(42), Process(43))
    for key in columns_of(view):
        forth, back = (rows(shown(view, of, sort=key, reverse=reverse)) for reverse in (False, True))
        assert len(forth) == len(back) == len(rows(shown(view, of)))


def test_a_filter_that_nothing_passes_says_so() -> None:
    """An empty table is not a healthy process where a filter has emptied it."""
    page = shown("waits", fleet(busy()), text="nobody")
    assert rows(page) == []
    assert grids(page)[0].empty == "None of these 5 is what the filter asks for."


def test_rows_are_made_as_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two thousand waits only those in sight cost something."""
    made = Process()
    lock = made.lock("ledger", made.agent("holder"), "pay.py:10")
    for number in range(200):
        made.wait(made.agent(f"w{number}"), lock, number)
    asked: list[int] = []
    monkeypatch.setattr(HandMade, "behind", lambda self, agent: asked.append(agent) or 0)
    grid = grids(shown("waits", fleet(made)))[0]
    assert (len(grid.rows), asked) == (200, [])
    assert grid.rows[3].cells[0].text == "w196"
    assert len(asked) == 1


# ---- every view, every state --------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_without_processes_a_sentence_says_what_to_do(view: str) -> None:
    """Nobody is left with an empty screen."""
    page = shown(view, Fleet())
    assert grids(page)[0].empty == NO_PROCESS
    assert shown(view, Fleet(why="processes are seen in /proc, which is not mounted here")).sections[0].body.empty.startswith("processes are seen")  # type: ignore[union-attr]


@pytest.mark.parametrize("view", [view for view in VIEWS if view != "processes"])
def test_an_idle_process_gets_a_calm_sentence(view: str) -> None:
    """What is not there is not an error, and nothing alarms."""
    page = shown(view, fleet(Process()))
    assert rows(page) == [] and page.focus is None
    assert len(grids(page)[0].empty) > 40
    assert not any(cell.style in ("bad", "warn") for line in page.head for cell in line)


@pytest.mark.parametrize("view", VIEWS)
def test_a_process_that_cannot_be_seen_says_why(view: str) -> None:
    """The reason is a note, and no table claims that there is nothing."""
    unseen = Process(77).seen(state=UNSEEN, why="it belongs to uid 0 (root)", process="", python="", level="", health="", captured_at="", raw_locks=None)
    page = shown(view, fleet(unseen))
    assert "pid 77: it belongs to uid 0 (root)" in page.notes
    if view != "processes":
        assert "notes below" in grids(page)[0].empty


def test_states_and_what_is_missing_are_notes() -> None:
    """Stopped, ended, a full table, findings without room, level off: each is said with its process, the same of many once."""
    stopped = [Process(pid).seen(state=STOPPED, why="it is stopped: nothing in it runs until it gets SIGCONT", health="stopped") for pid in range(10, 15)]
    ended = Process(2).seen(state=ENDED, why="it has ended; this is how it was at 23:47:12Z")
    full = Process(3).seen(unseen=1200, findings_dropped=1, raw_locks=7, level="off")
    page = shown("processes", fleet(ended, full, *stopped))
    assert [row["health"] for row in sorted(rows(page), key=lambda row: int(row["pid"]))] == ["ended", "ok", *["stopped"] * 5]
    told = "\n".join(page.notes)
    for part in ("pids 10, 11, 12 and 2 more: it is stopped", "pid 3: its table is full: 1,200 records", "1 older finding", "its level is off"):
        assert part in told
    assert "pid 2" not in told  # its row says it
    assert "it has ended; this is how it was" in text(shown("processes", fleet(ended, full), Target("process", 2, 2)))
    assert "7 locks made before" in "\n".join(shown("processes", fleet(full), Target("process", 3, 3)).notes)


def test_what_has_ended_has_its_own_page_alone() -> None:
    """The waits of a dead worker are no waits and its deadlock is no alarm, nor is it counted as more than ended; its own pages say how it was, and when."""
    dead = deadlocked(50).seen(state=ENDED, health="deadlocked", why="it has ended; this is how it was at 23:47:12Z")
    for of in (fleet(busy(), dead), fleet(dead)):
        pages = {view: shown(view, of) for view in VIEWS}
        assert [row["pid"] for row in rows(pages["waits"]) if row.get("pid") == "50"] == []
        assert all(page.focus is None and "DEADLOCK" not in text(page) for page in pages.values())
        assert [row["health"] for row in rows(pages["processes"]) if row["pid"] == "50"] == ["ended"]
    assert lines(shown("waits", fleet(busy(), dead)))[0] == "1 process: 1 ok  7 agents, 5 waits  1 ended"
    assert shown("processes", fleet(busy(), dead)).sections[0].title == "1 process, 1 ended"
    assert grids(shown("waits", fleet(dead)))[0].empty == OVER
    assert rows(shown("processes", fleet(busy(), dead)))[-1]["pid"] == "50"
    for target in (Target("process", 50, 50), Target("circle", 50, 2), Target("agent", 50, 2)):
        own = shown("waits", fleet(busy(), dead), target)
        assert "ENDED: pid 50: it has ended; this is how it was at 23:47:12Z" in lines(own)
        assert "exporter" in text(own)


def test_several_processes_side_by_side() -> None:
    """Rows say whose they are, the head counts, and equal names in different processes stay as they are."""
    of = fleet(deadlocked(41), busy(), deadlocked(43))
    page = shown("waits", of)
    assert {row["pid"] for row in rows(page)} == {"41", "43"}
    assert lines(page)[0] == "3 processes: 2 deadlocked 1 ok  13 agents, 11 waits"
    assert "DEADLOCK in pid 43: refresher and exporter wait for each other" in lines(page)
    assert [row["pid"] for row in rows(shown("circles", of))] == ["41", "43"]


def test_every_row_leads_to_a_page_of_its_own() -> None:
    """No target of any view is a dead end."""
    of = fleet(busy(), deadlocked(42))
    of.answers[42, "classes", 0] = Asked(NOW_NS, classes={"idle": ClassFacts("idle", "Lock", 5, 0, 0, 0.0, ())})
    seen = set()
    waiting = [row.target for view in VIEWS for grid in grids(shown(view, of)) for row in grid.rows]
    while waiting:
        target = waiting.pop()
        if target is None or target in seen:
            continue
        seen.add(target)
        page = shown("waits", of, target)
        assert page.title and page.sections and "any more" not in text(page).splitlines()[4], target
        waiting += [row.target for grid in grids(page) for row in grid.rows]
    assert {target.kind for target in seen} == {"process", "agent", "lock", "class", "circle", "root"}


@pytest.mark.parametrize(("kind", "pid"), [*((kind, 999) for kind in DETAILS), *((kind, 41) for kind in DETAILS if kind != "process")])
def test_what_is_gone_is_said_to_be_gone(kind: str, pid: int) -> None:
    """Between two readings anything may end: its page says so in a sentence."""
    page = shown("waits", fleet(busy(), Process(44)), Target(kind, pid, 9999))
    told = text(page)
    assert any(word in told for word in ("any more", "has ended", "open again", "Nobody waits", "No wait for", "Not known", "Its process")), told


# ---- names --------------------------------------------------------------------------------------------------------


def test_hostile_names_stay_on_their_line() -> None:
    """Escape sequences, control characters and marks that turn the writing round are shown as what cannot be shown."""
    made = Process(facts={"process": "evil\x1b[2J.py", "health": "deadlocked"})
    bad = "x\x1b]0;owned\x07\u202egnorw\r\nnext"
    one, two = made.agent(bad), made.agent(bad + "2")
    first, second = made.lock(bad, one, "a.py:1"), made.lock("", two, "b.py:2")
    made.wait(one, second, 5, "a\x1b.py:3")
    made.wait(two, first, 5)
    made.findings.append(inversion({"title": bad, "explanation": bad, "fix": bad}))
    of = fleet(made)
    pages = [shown(view, of) for view in VIEWS] + [shown("waits", of, Target(kind, 41, key)) for kind, key in (("circle", one), ("lock", first), ("agent", one), ("root", one), ("finding", "ab" * 32))]
    for page in pages:
        for char in "\x1b\x07\u202e\r":
            assert char not in text(page)
        assert "next" not in [line.strip() for line in text(page).splitlines()]


def test_equal_names_are_numbered_and_addresses_left_out() -> None:
    """Two workers of one name are told apart, also where only an address tells them apart."""
    made = Process()
    agents = [made.agent("worker"), made.agent("worker"), made.agent("<job at 0x7f3a11223344>"), made.agent("<job at 0x7f3a11229999>"), made.agent("")]
    holder = made.agent("holder")
    locks = [made.lock("pool", holder, "p.py:1"), made.lock("pool", holder, "p.py:1"), made.lock("", holder, "p.py:1")]
    for at, agent in enumerate(agents):
        made.wait(agent, locks[at % 3], 10 - at)
    told = rows(shown("waits", fleet(made)))
    assert [row["who"] for row in told] == ["worker #1", "worker #2", "<job> #1", "<job> #2", "thread without a name"]
    assert [row["lock"] for row in told[:3]] == ["pool #1", "pool #2", "Lock@pool.py:31"]


# ---- details ------------------------------------------------------------------------------------------------------


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


def test_a_circle_is_told_with_the_stacks_that_its_process_has_told() -> None:
    """The finding's stacks and lines of source, with the ages of now."""
    made = deadlocked()
    made.findings.append(told_deadlock())
    circle = text(shown("circles", fleet(made), Target("circle", 41, 1)))
    assert "/srv/shop/export.py:131 in export   with rates_lock:" in circle
    assert "4m 32s" in circle


def test_circles_that_clear_or_may_not_be_deadlocks_are_told_as_that() -> None:
    """A timeout in a circle ends it, and a circle of one waits for itself."""
    made = Process()
    one, two = made.agent("one"), made.agent("two")
    first, second = made.lock("first", one, "a.py:1"), made.lock("second", two, "b.py:1")
    made.wait(one, second, 3)
    made.wait(two, first, 3, left_s=9)
    alone = made.agent("alone")
    made.wait(alone, made.lock("mine", alone, "c.py:1"), 2)
    page = shown("circles", fleet(made.seen(health="deadlocked")))
    assert [(row["what"], row["who"]) for row in rows(page)] == [("DEADLOCK", "alone waits for itself"), ("will clear", "one and two wait for each other")]
    told = text(shown("circles", fleet(made), Target("circle", 41, one)))
    assert "gives up in 9.0s" in told and "== Circle: will clear ==" in told
    told = " ".join(text(shown("circles", fleet(made), Target("circle", 41, alone))).split())
    assert "alone waits for mine at ledger.py:41, for 2.0s; held by alone since c.py:1" in told
    assert "its own report says it, and what to change" in told and "Fix" not in told and "FL002" not in told


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


def test_a_circle_is_what_its_process_has_found_and_not_what_the_table_alone_would_say() -> None:
    """A starved pool is told as that: on top, in the list and on its page, all its workers, with the fix of the finding."""
    of = fleet(starved())
    page = shown("circles", of)
    assert lines(page)[1:2] == ["FL030 pool starvation: All 2 workers are busy with jobs that wait for one of them."]
    assert {(row["who"], row["agents"]) for row in rows(page)} == {("FL030 pool starvation: worker-0 and worker-1", "2")}
    circle = text(shown("circles", of, Target("circle", 41, 2)))
    assert "== Circle: DEADLOCK, FL030 pool starvation ==" in circle and "give that work a pool of its own" in circle
    assert "explain FL030" in circle and "FL002" not in circle and "loop" not in circle
    assert "waits for itself" not in text(shown("roots", of))


def test_without_a_finding_a_circle_over_results_or_tasks_has_no_fix() -> None:
    """Whom a pool's result comes from, and which task of a thread holds a lock, the table does not tell: nothing is to be changed on its word."""
    made = starved()
    made.findings.clear()
    told = text(shown("circles", fleet(made), Target("circle", 41, 2)))
    assert "worker-0 waits for result of part() #1" in told and "Fix" not in told and "FL0" not in told
    loop = Process(facts={"health": "deadlocked"})
    main, task = loop.agent("MainThread", tid=41), loop.agent("reader", "task", "MainThread", 41)
    loop.wait(main, loop.lock("rates_lock", main, "rates.py:29"), 3)
    assert task in loop.agents
    page = shown("circles", fleet(loop))
    assert [row["who"] for row in rows(page)] == ["MainThread waits for rates_lock, which can come from nobody who runs"]
    told = text(shown("circles", fleet(loop), Target("circle", 41, main)))
    assert "RLock" not in told and "FL002" not in told


def test_a_task_that_stops_its_loop_is_told_by_its_finding() -> None:
    """In the table the thread waits for what the thread holds; the finding knows which task has it, and which one wants it."""
    made = Process(facts={"health": "deadlocked"})
    main = made.agent("MainThread", tid=41)
    lock = made.lock("rates_lock", main, "rates.py:29")
    made.wait(main, lock, 3, "rates.py:35")
    agents = [{"id": number, "kind": "task", "name": name, "native_id": 41, "loop": "MainThread", "stack": []} for number, name in ((7, "reader"), (8, "refresher"))]
    edge = {"mode": "exclusive", "held_at": None, "wanted_at": None, "since_s": 0.1, "holds": None, "waits": None}
    edges = [{**edge, "agent": 7, "waits": lock, "wanted_at": site("rates.py:35").to_dict()}, {**edge, "agent": 8, "holds": lock}]
    locks = [{"id": lock, "name": "rates_lock", "class": "rates_lock", "kind": "Lock", "created": None}]
    told = {"explanation": "Task reader has stopped the loop of refresher.", "fix": "release it before the await", "reasons": ["FL005: across await"]}
    made.findings.append({**told_deadlock(), **told, "agents": agents, "locks": locks, "edges": edges})
    of = fleet(made)
    page = shown("circles", of)
    assert lines(page)[1] == "FL001 deadlock: Task reader has stopped the loop of refresher."
    assert [(row["who"], row["agents"]) for row in rows(page)] == [("FL001 deadlock: reader (task) and refresher (task)", "2")]
    circle = text(shown("circles", of, Target("circle", 41, main)))
    assert "release it before the await" in circle and "stopped by ──── its loop" in circle and "RLock" not in circle
    assert "3.0s" in circle  # as long as its thread has waited


def test_both_lines_of_code_and_the_fix_stand_before_the_stacks() -> None:
    """What is to be seen at three in the morning is on the first screen; and the line of source stands with its place."""
    made = deadlocked()
    told = told_deadlock()
    told["edges"][0]["wanted_at"] = {"file": "/srv/shop/export.py", "line": 131, "function": "export"}
    made.findings.append(told)
    page = shown("circles", fleet(made), Target("circle", 41, 1))
    titles = [section.title for section in page.sections]
    assert titles == ["", "", "What to do", "In it", "What else is known", "Where they are"]
    flow = Flow(page, 80)
    drawn = [text_of(flow.cells(number)) for number in range(flow.height)]
    first = next(number for number, each in enumerate(drawn) if "Explain" in each)
    assert first < 22 and [each[4:9] for each in drawn[:first] if each[4:9] in ("holds", "waits")] == ["holds", "waits"] * 2
    assert any("export.py:131" in each and "with rates_lock:" in each for each in drawn[:first])


@pytest.mark.parametrize("columns", [200, 100, 80, 60, 40])
def test_a_drawing_is_never_cut(columns: int) -> None:
    """Where it has no room its names are shorter, or it is a list, or a sentence; no line is broken in it, and nothing is lost of a name that has room."""
    made = deadlocked()
    made.findings.append(told_deadlock())
    flow = Flow(shown("circles", fleet(made), Target("circle", 41, 1)), columns)
    told = [text_of(flow.cells(number)) for number in range(flow.height)]
    assert all(width(each) <= columns for each in told)
    drawn = [each for each in told if "──" in each]
    whole = "\n".join(told)
    assert ("held by ──▶" in whole and drawn[0].rstrip().endswith('"refresher"')) or "┌─▶" in whole or "wait" in whole
    assert whole.count("▲") in (0, 1) and whole.count("└") == whole.count("▲") + whole.count("┌─▶")


def test_text_is_broken_once_below_what_its_label_says() -> None:
    """Sentences come whole to the screen, which breaks them where it ends and goes on below the text."""
    made = deadlocked()
    made.findings.append({**told_deadlock(), "fix": " ".join(["word"] * 60)})
    flow = Flow(shown("circles", fleet(made), Target("circle", 41, 1)), 80)
    told = [text_of(flow.cells(number)) for number in range(flow.height)]
    at = next(number for number, each in enumerate(told) if "Fix" in each)
    rest = told[at : at + 5]
    assert rest[0].startswith("  Fix           word") and all(each.startswith(" " * 16 + "word") for each in rest[1:4])
    assert all(len(each.rstrip()) > 74 for each in rest[:4])


def test_an_old_line_of_a_file_is_read_and_a_changed_file_is_not(tmp_path: Path) -> None:
    """What is held is told without its source: the file has it, unless it has been written since."""
    path = tmp_path / "pay.py"
    path.write_text("import fastlock\n    with ledger:\n")
    for made_s, text_there in ((1_000_000_000, "with ledger:"), (None, "")):
        if made_s is not None:
            os.utime(path, (made_s, made_s))
        else:
            os.utime(path, (4_000_000_000, 4_000_000_000))
        sources._line.cache_clear()
        assert sources._line(os.getpid(), str(path), 2, "2026-11-30T20:27:34.580+00:00") == text_there
    assert sources._line(os.getpid(), str(tmp_path / "none.py"), 2, "2026-11-30T20:27:34.580+00:00") == ""


@pytest.mark.parametrize(
    ("file", "theirs"),
    [
        ("/usr/lib/python3.13/threading.py", True),
        ("/opt/py/lib/python3.14t/asyncio/runners.py", True),
        ("/venv/lib/python3.11/site-packages/flask/app.py", False),
        ("/srv/shop/export.py", False),
    ],
)
def test_the_standard_library_is_told_by_the_paths_of_the_process(file: str, theirs: bool) -> None:
    """Who looks may run on another Python than who is looked at."""
    assert is_stdlib(file) is theirs


@pytest.mark.parametrize(
    ("text", "columns", "told"),
    [
        ("deadly_embrace.py:39", 20, "deadly_embrace.py:39"),
        ("deadly_embrace.py:39 in refresh_cache", 32, "deadly_embrace.py:39 in refresh…"),
        ("deadly_embrace.py:39 in refresh_cache", 22, "deadly_embrace.py:39"),
        ("deadly_embrace.py:39 in refresh_cache", 13, "deadl…e.py:39"),
        ("inverted_order.py:40 → 61, 200 times", 24, "inverted…rder.py:40 → 61"),
        ("inverted_order.py:40 → 61, 200 times", 27, "inverted_order.py:40 → 61"),
    ],
)
def test_the_line_of_a_place_is_never_cut_away(text: str, columns: int, told: str) -> None:
    """First goes the function, or how often, then the middle of the file's name."""
    shown = cut_cell(Cell(text, "site"), columns)
    assert width(shown) == columns and shown.rstrip() == told


def test_places_get_their_room_first_and_what_is_short_gives_it() -> None:
    """Tasks can be told apart, and the line stands there; a column is no wider than what stands in it."""
    made = Process()
    holder = made.agent("holder")
    lock = made.lock("lock", holder, "a_module_with_a_long_name.py:17")
    for number in range(3):
        made.wait(made.agent(f"waiter-{number:02}", "task", "MainThread", 41), lock, 3, "a_module_with_a_long_name.py:120")
    told = text(shown("waits", fleet(made)))
    assert told.count(".py:120") == 3, told
    assert len({line.split()[0] for line in told.splitlines() if line.startswith("waiter")}) == 3, told
    assert all(width(each) <= 80 for each in told.splitlines())


def test_a_lock_tells_its_holder_its_queue_and_its_histogram() -> None:
    """Who has it and where that one stands, who waits in which order, and how long waits for its class take."""
    of = fleet(busy())
    of.answers[41, "agent", 1] = Asked(NOW_NS, agent={"stack": [{"file": "/srv/shop/pay.py", "line": 12, "function": "pay", "text": "bank.send(bill)"}], "doing": "runs"})
    of.answers[41, "classes", 0] = Asked(NOW_NS, classes={"ledger": ClassFacts("ledger", "Lock", 3, 40, 30, 6.0, ((0.001, 10), (0.1, 10), (1.0, 30)))})
    told = sections(shown("locks", of, Target("lock", 41, 100)))
    assert told["Held by"] == ["holder | pay.py:10 in run | waits for nothing that fastlock sees"]
    assert told["Where the holder is"] == ["pay.py:12 in pay  bank.send(bill)"]
    assert told["Waiting, in order: 1"][0].startswith("reader | ledger | holder | 20s")
    histogram = told["Waits of class ledger"]
    assert "live       3" in histogram and "waited     30 waits over, 200 ms on average" in histogram
    assert [line.split()[:4] for line in histogram[3:]] == [["up", "to", "1", "ms"], ["up", "to", "100", "ms"], ["up", "to", "1.0s", "20"]]


def test_histograms_have_a_bar_for_each_bucket_in_between() -> None:
    """Buckets count all up to their bound; a bar shows what is in it alone, the last one what is above all bounds."""
    from fastlock.console.pages.lock import histogram

    bars = ["".join(cell.text for cell in line) for line in histogram(((0.001, 10), (0.1, 10), (1.0, 30), (float("inf"), 31)))]
    assert [line.split() for line in bars] == [
        ["up", "to", "1", "ms", "10", "█" * 16],
        ["up", "to", "100", "ms", "0"],
        ["up", "to", "1.0s", "20", "█" * 32],
        ["over", "1.0s", "1", "█" * 2],
    ]


@pytest.mark.parametrize("why", ["not told by this process (older fastlock)", "it is stopped, and answers when it goes on"])
def test_what_a_process_does_not_tell_is_said_with_the_reason(why: str) -> None:
    """No number is made up where only the process knows it."""
    of = fleet(busy())
    of.answers = {(41, part, agent): Asked(why=why) for part, agent in (("classes", 0), ("order", 0), ("agent", 1), ("level", 0))}
    page = shown("locks", of)
    assert rows(page)[0]["contended"] == rows(page)[0]["live"] == "-"
    assert any(why in note for note in page.notes)
    lock = sections(shown("locks", of, Target("lock", 41, 100)))
    assert lock["Where the holder is"] == [f"Its stack is not known: {why}"]
    assert lock["Waits of class ledger"] == [f"Not known: {why}"]
    assert any(why in note for note in shown("order", of).notes)


def test_an_agent_tells_what_it_waits_for_holds_and_awaits() -> None:
    """A suspended task: its chain of awaits, what its loop does, who waits for it."""
    of = fleet(busy())
    of.answers[41, "agent", 6] = Asked(
        NOW_NS,
        agent={
            "doing": "suspended",
            "stack": [{"file": "/srv/shop/rows.py", "line": 6, "function": "fetch", "text": "await db.get()"}],
            "awaits": [{"who": {"id": 6, "name": "fetch"}, "whom": {"id": 7, "kind": "task", "name": "store"}, "how": "gather()"}, "garbage"],
            "loop_does": {"running": None, "ready": 3, "timers": 1, "stack": []},
        },
    )
    page = shown("waits", of, Target("agent", 41, 6))
    told = sections(page)
    assert page.title == "Task fetch (task)"
    assert "now        suspended" in told[""]
    assert told["Awaits"] == ["fetch | task store | gather()"]
    assert Target("agent", 41, 7) in [row.target for grid in grids(page) for row in grid.rows]
    assert told["Its loop"] == ["runs no task now, 3 ready to run, 1 timers"]
    assert told["Holds"] == ["rows | rows.py:5 in run | 1 | 1.0s"]
    assert told["Waits for it"][0].startswith("store (task) | rows")


@pytest.mark.parametrize("agent", [{"stack": "no list"}, {"stack": [{"file": 3}, None]}, {"stack": [], "awaits": {"a": 1}, "loop_does": []}, {"doing": 5, "why": ["x"]}])
def test_answers_that_make_no_sense_are_no_stack(agent: dict[str, Any]) -> None:
    """A process may answer anything."""
    of = fleet(busy())
    of.answers[41, "agent", 1] = Asked(NOW_NS, agent=agent)
    assert sections(shown("waits", of, Target("agent", 41, 1)))["Where it is"] == ["Its stack is not known: the process has none to tell"]


def test_findings_are_told_with_their_report_and_meaning() -> None:
    """The newest first; one finding by itself is its report, who of it is still there, and what its code means."""
    made = deadlocked()
    made.findings += [told_deadlock(), inversion({"detected_at": "2026-11-30T23:59:00.000+00:00"})]
    page = shown("findings", fleet(made))
    assert [(row["code"], row["tier"], row["count"], row["at"]) for row in rows(page)] == [("FL010", "high", "3", "23:59:00Z"), ("FL001", "proven", "3", "23:31:40Z")]
    assert [row["code"] for row in rows(shown("findings", fleet(made), kind="fl001"))] == ["FL001"]
    told = text(shown("findings", fleet(made), grids(page)[0].rows[1].target))
    for part in ("FL001 deadlock: 2 agents, 2 locks", "What FL001 means", "Why it happens", "exporter", "ledger_lock"):
        assert part in told


@pytest.mark.parametrize(
    "garbage",
    [{"edges": [{"agent": "x"}]}, {"agents": [{}]}, {"locks": [{"id": None}]}, {"tier": "sure"}, {"reasons": [3]}, {"count": "many"}, {"detected_at": None}, {"edges": []}],
)
def test_findings_that_make_no_sense_are_told_as_far_as_they_do(garbage: dict[str, Any]) -> None:
    """A table may be torn or forged: there is a page all the same."""
    made = deadlocked()
    made.findings.append({**told_deadlock(), **garbage})
    of = fleet(made)
    told = [text(shown(view, of)) for view in VIEWS] + [text(shown("findings", of, Target("finding", 41, "cd" * 32))), text(shown("circles", of, Target("circle", 41, 1)))]
    assert all(told)


def test_order_has_inversions_first_with_both_places() -> None:
    """Out of the process's order graph; what only a finding tells of is there too, once."""
    made = Process(facts={"level": "order"})
    made.findings.append(inversion())

    def edge(first: str, then: str, times: int, held: int, wanted: int) -> dict[str, Any]:
        places = ({"file": "/srv/shop/shop.py", "line": line, "function": "visit", "text": ""} for line in (held, wanted))
        return {"first": first, "then": then, "count": times, **dict(zip(("held_at", "wanted_at"), places)), "first_seen": "", "agent": "replica-1"}

    edges = [edge("cache", "index", 1, 5, 6), edge("index", "cache", 20, 8, 9)]
    cycle = {"classes": ["cache", "index"], "tier": "possible", "reasons": ["one agent alone did both"], "edges": edges}
    of = fleet(made)
    of.answers[41, "order", 0] = Asked(NOW_NS, order={"level": "order", "cycles": [cycle, "garbage"], "edges": [*edges, {"first": 3}], "full": True, "cut": {"edges": 12, "cycles": 0}})
    page = shown("order", of)
    assert rows(page) == [
        {"classes": "cache ⇄ index", "tier": "possible", "one": "shop.py:5 → 6, once", "other": "shop.py:8 → 9, 20 times"},
        {"classes": "audit ⇄ stock", "tier": "high", "one": "shop.py:52 → 61", "other": "shop.py:38 → 52"},
    ]
    assert [row["count"] for row in rows(grids(page)[1])] == ["1", "20"]
    assert "12 orders" in "\n".join(page.notes) and "is full" in "\n".join(page.notes)
    one = text(shown("order", of, grids(page)[0].rows[0].target))
    assert "one agent alone did both" in one and "index → cache    20 times, first by replica-1" in one
    two = text(shown("order", of, grids(page)[0].rows[1].target))
    assert "audit → stock" in two and "take" in two


def test_order_says_how_to_learn_it() -> None:
    """At level detect there is nothing to see, and the note says what turns it on."""
    assert any("pid 41: orders are learned at level order: `fastlock level 41 order --for 10m`" in note for note in shown("order", fleet(Process())).notes)


def test_roots_have_their_tree() -> None:
    """Whom everybody waits for in the end, and who stands behind whom; each row leads to its agent."""
    made = Process()
    holder, middle, last = made.agent("holder"), made.agent("middle"), made.agent("last")
    first = made.lock("first", holder, "a.py:1")
    second = made.lock("second", middle, "b.py:1")
    made.wait(middle, first, 9, "b.py:2")
    made.wait(last, second, 4, "c.py:2")
    of = fleet(made)
    page = shown("roots", of)
    assert rows(page) == [{"who": "holder", "does": "waits for nothing that fastlock sees", "behind": "2", "oldest": "9.0s"}]
    root = shown("roots", of, grids(page)[0].rows[0].target)
    tree = grids(root)[-1]
    assert [row.cells[0].text for row in tree.rows] == [
        "└ middle waits for first at b.py:2, for 9.0s",
        "  └ last waits for second at c.py:2, for 4.0s",
    ]
    assert [row.target for row in tree.rows] == [Target("agent", 41, middle), Target("agent", 41, last)]


def test_classes_are_listed_as_their_process_knows_them() -> None:
    """The most contended first, with how long waits took; what is not known is no number."""
    of = fleet(busy())
    of.answers[41, "classes", 0] = Asked(
        NOW_NS,
        classes={
            "ledger": ClassFacts("ledger", "Lock", None, None, None, None, ()),
            "cache": ClassFacts("cache", "RLock", 1200, 77, 60, 1.5, ((0.1, 60),)),
        },
    )
    page = shown("locks", of)
    assert rows(grids(page)[1]) == [
        {"class": "cache", "kind": "RLock", "live": "1,200", "contended": "77", "waits": "60", "average": "25 ms"},
        {"class": "ledger", "kind": "Lock", "live": "-", "contended": "-", "waits": "-", "average": ""},
    ]
    assert [row["lock"] for row in rows(page)] == ["ledger", "rates", "pool", "rows", "ready"]
    assert "up to 100 ms" in text(shown("locks", of, grids(page)[1].rows[0].target))
    of.answers[41, "classes", 0] = Asked(NOW_NS, classes={}, cut=1200)
    assert any("1,200 more classes" in note for note in shown("locks", of).notes)


# ---- tables on screens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("room", [1, 20, 40, 80, 132, 250])
def test_tables_fit_the_screen(view: str, room: int) -> None:
    """No table is wider than the screen, and one that is wide enough is used."""
    for grid in grids(shown(view, fleet(busy(), deadlocked(42)))):
        places = fit(grid.columns, room)
        taken = sum(place.width for place in places) + GAP * (len(places) - 1)
        assert places and taken <= max(room, 1)
        assert taken == room or room < 40


def test_on_a_narrow_screen_the_most_important_stays() -> None:
    """Who, for what and how long at 40 columns; all but the call at 80."""
    grid = grids(shown("waits", fleet(busy())))[0]
    shown_at = {room: [grid.columns[place.column].key for place in fit(grid.columns, room)] for room in (40, 80)}
    assert shown_at == {40: ["who", "lock", "age"], 80: ["who", "lock", "owner", "age", "site", "behind"]}


@pytest.mark.parametrize("columns", range(0, 12))
@pytest.mark.parametrize("name", ["exporter-of-rates", "日本語の名前です", "a日b本c語", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", ""])
def test_cut_text_takes_exactly_its_columns(name: str, columns: int) -> None:
    """Also where characters take two columns, or none."""
    assert width(cut(name, columns)) == columns
    assert width(cut(name, columns, right=True)) == columns
    assert cut("abcdefghij", 5) == "ab…ij"


def test_fit_gives_one_column_at_least() -> None:
    """A table of a column that is wider than the screen is cut, not left out."""
    assert [place.width for place in fit((Column("a", "A", 30), Column("b", "B", 30)), 10)] == [10]


def test_places_say_their_directory_where_the_name_says_too_little() -> None:
    """Of a package's file the name alone could be any package's."""
    from fastlock.console.names import place, place_in

    assert place(site("billing/__init__.py:7")) == "billing/__init__.py:7"
    assert (place(None), place_in(None), place_in(site("a.py:1"))) == ("", "", "a.py:1 in run")
