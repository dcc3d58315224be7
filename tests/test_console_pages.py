"""The console's pages: what each view says of processes that are made by hand, in every state of these, and where its rows lead."""

from __future__ import annotations

from typing import Any

import pytest

from console_support import NOW_NS, Fleet, HandMade, Process, busy, deadlocked, fleet, grids, inversion, lines, rows, shown, site, starved, text, told_deadlock
from fastlock.console.pages import DETAILS, VIEWS, columns_of
from fastlock.console.pages.base import NO_PROCESS, OVER
from fastlock.console.seen import ENDED, STOPPED, UNSEEN, Asked, ClassFacts, Target
from fastlock.findings import Site


# ---- waits


def test_waits_for_locks_come_first_the_oldest_on_top() -> None:
    """What rests at an event for a quarter of an hour does not stand above who waits for a lock."""
    page = shown("waits", fleet(busy()))
    assert [row["who"] for row in rows(page)] == ["reader", "writer", "taker", "store (task)", "MainThread"]
    assert page.sections[0].title == "Waits: 4 for locks, 1 for events, results and the like, which may last"
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


def test_who_waits_behind_a_circle_is_counted_in_one_way() -> None:
    """The clerk stands behind both of them, the other one of the circle behind neither: in Waits, in Roots and on their own pages, and where it clears, too."""
    of = fleet(deadlocked())
    assert [row["behind"] for row in rows(shown("waits", of))] == ["1", "1", ""]
    assert [row["behind"] for row in rows(shown("roots", of))] == ["1"]
    assert "behind it  1 agent in the end, besides those in the deadlock" in lines(shown("waits", of, Target("agent", 41, 1)))
    made = Process()
    one, two, three = (made.agent(name) for name in ("one", "two", "three"))
    first, second = made.lock("first", one), made.lock("second", two)
    made.wait(one, second, 3, left_s=9)
    made.wait(two, first, 3)
    made.wait(three, first, 1)
    assert [row["behind"] for row in rows(shown("waits", fleet(made)))] == ["1", "1", ""]
    assert [row["behind"] for row in rows(shown("roots", fleet(made)))] == ["1"]


def test_a_wait_for_a_result_is_one() -> None:
    """The table has the condition of the future in it as well; nobody but who writes locks wants to know. Not so a condition in a signal handler."""
    made = Process()
    worker, main = made.agent("worker"), made.agent("MainThread")
    result, inner = made.lock("result of work()", worker, kind="Result"), made.lock("Condition@pool.py:31", kind="Condition")
    made.wait(main, inner, 3, "_base.py:451", "Condition.wait")
    made.wait(main, result, 3, "pool.py:31", "Future.result")
    other = made.agent("other")
    made.wait(other, made.lock("unnamed Lock"), 2, "_base.py:451", "Lock.wait")  # the table had no room for that condition
    made.wait(other, made.lock("result of more()", worker, kind="Result"), 2, "pool.py:32", "Future.result")
    of = fleet(made)
    assert [(row["lock"], row["owner"]) for row in rows(shown("waits", of))] == [("result of work()", "from worker"), ("result of more()", "from worker")]
    assert lines(shown("waits", of))[0].endswith("3 agents, 0 wait  ok")
    assert [row["lock"] for row in rows(grids(shown("locks", of))[1])] == ["result of work()", "result of more()"]
    assert "MainThread waits for result of work() at pool.py:31, for 3.0s" in text(shown("roots", of, Target("root", 41, worker)))
    handler = Process()
    main = handler.agent("MainThread")
    handler.wait(main, handler.lock("outer", kind="Event"), 5, what="Event.wait")
    handler.wait(main, handler.lock("inner", kind="Condition"), 3, what="Condition.wait")
    assert [row["lock"] for row in rows(shown("waits", fleet(handler)))] == ["outer", "inner"]


def test_a_wait_inside_of_a_queue_has_the_name_that_reports_give_it() -> None:
    """`Queue.put on jobs`: the condition is the queue's affair. A condition of the program's own in a file of that name is not one."""
    made = Process()
    jobs = made.lock("jobs", kind="Condition")
    for number, (function, file) in enumerate((("Queue.put", "/usr/lib/python3.11/queue.py"), ("join", "/usr/lib/python3.11/queue.py"), ("Queue.put", "/srv/shop/queue.py"))):
        made.wait(made.agent(f"t{number}"), jobs, 9 - number, what="Condition.wait")
        made.waits[-1] = made.waits[-1]._replace(wanted_at=Site(file, 140, function))
    assert [row["lock"] for row in rows(shown("waits", fleet(made)))] == ["Queue.put on jobs", "Queue.join on jobs", "jobs"]


def test_who_is_kept_by_a_deadlock_waits_whatever_for() -> None:
    """The workers of a starved pool wait for results alone, and who waits behind them too: none of that rests, in the head, in Waits and in Processes."""
    of = fleet(starved())
    assert lines(shown("waits", of))[0].endswith("3 agents, 3 wait  deadlocked")
    assert grids(shown("waits", of))[0].total == 3
    assert shown("waits", of).sections[0].title == "Waits: 3 for locks, or kept by a deadlock, 0 for events, results and the like, which may last"
    assert rows(shown("processes", of))[0]["waiting"] == "3"


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


# ---- every view, every state


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
    assert lines(shown("waits", fleet(busy(), dead)))[0] == "1 process: 1 ok  7 agents, 4 wait  1 ended"
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
    assert lines(page)[0] == "3 processes: 2 deadlocked 1 ok  13 agents, 10 wait"
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


# ---- names


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


def test_places_say_their_directory_where_the_name_says_too_little() -> None:
    """Of a package's file the name alone could be any package's."""
    from fastlock.console.names import place, place_in

    assert place(site("billing/__init__.py:7")) == "billing/__init__.py:7"
    assert (place(None), place_in(None), place_in(site("a.py:1"))) == ("", "", "a.py:1 in run")
