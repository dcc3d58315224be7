"""The console's pages of circles: what is told of them, with whose words, and that both lines of code can be seen on any screen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console_support import Process, deadlocked, fleet, lines, rows, shown, site, starved, text, told_deadlock
from fastlock.console import sources
from fastlock.console.flow import Flow
from fastlock.console.seen import Target
from fastlock.console.tables import text_of
from fastlock.reporting import is_stdlib, width


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
