"""`fastlock top --once`: the pages as text and JSON, of processes that live, are stopped or gone; and what the command refuses."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console_support import Fleet, Process, deadlocked, fleet, shown
from fastlock.cli import VERBS, top
from fastlock.console import lints, once
from fastlock.console.history import History
from fastlock.console.pages import VIEWS, columns_of
from fastlock.console.readers import seen_of
from fastlock.console.tables import Query
from fastlock.outside.find import open_file
from fastlock.reporting import width
from outside_support import complaint, fastlock, running
from support import LIMIT_S, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")

STUCK = """
    ledger_lock, rates_lock = fastlock.Lock(name="ledger_lock"), fastlock.RLock(name="rates_lock")
    shared, permits, event = fastlock.RWLock(name="shared"), fastlock.Semaphore(1, name="permits"), fastlock.Event()
    with ledger_lock: pass
    def exporter():
        with ledger_lock, shared.read(), permits:
            gate.wait()
            rates_lock.acquire()
    def refresher():
        with rates_lock:
            gate.wait()
            ledger_lock.acquire()
    def clerk(): ledger_lock.acquire(timeout=500)
    def writer(): shared.acquire_write()
    def taker(): permits.acquire()
    gate = threading.Barrier(2)
    start(exporter), start(refresher)
    found("FL001")
    start(clerk), start(writer), start(taker), start(event.wait, name="rests")
    blocked("clerk", "writer", "taker", "rests")
    ready()
"""


def printed(*arguments: object, **options: Any) -> str:
    """What `fastlock top --once` prints."""
    done = fastlock("top", "--once", *arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def facts(*arguments: object) -> dict[str, Any]:
    """What it says as JSON, by view."""
    return {each["view"]: each for each in json.loads(printed("--json", *arguments))["views"]}


# ---- text of pages ----------------------------------------------------------------------------------------------


def test_text_has_the_head_and_each_note_once() -> None:
    """Several views in one text: who it is about stands on top, what cannot be known at the end."""
    of = fleet(deadlocked())
    told = once.render_all([made for _, made in once.pages_of(of, ["processes", "waits", "circles"], Query(), History())])
    assert told.startswith("billing.py  pid 41  Python 3.11.9  level detect  3 agents, 3 wait  deadlocked\nDEADLOCK: refresher and exporter wait for each other\n\n== Processes ==\n")
    assert told.count("DEADLOCK: refresher") == 1
    assert re.findall("^== (.+) ==$", told, re.M) == ["Processes", "Waits", "Circles", "Circle: DEADLOCK"]
    assert "holds  ledger_lock   export.py:120" in told  # each circle is drawn


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_tables_keep_to_the_screen(columns: int) -> None:
    """No row of a table is wider, however long names are."""
    made = Process()
    holder = made.agent("a-holder-with-quite-a-long-name-" * 3)
    made.wait(made.agent("日本語の名前をもつスレッド" * 4), made.lock("inventory_of_everything_lock" * 3, holder, "some_module_of_ours.py:12345"), 5)
    for view in ("waits", "locks", "processes", "roots"):
        told = once.render(shown(view, fleet(made)), columns).splitlines()
        table = told[next(at for at, line in enumerate(told) if line.startswith("==")) + 2 :]
        assert max(width(line) for line in table) <= columns
    assert "…" in once.render(shown("waits", fleet(made)), columns)


def test_a_column_takes_no_more_than_it_needs() -> None:
    """What a short column saves a long one gets, before it is cut."""
    made = Process()
    made.wait(made.agent("w"), made.lock("the_lock_of_all_the_rates_there_are", made.agent("o"), "a.py:1"), 5)
    assert "the_lock_of_all_the_rates_there_are" in once.render(shown("waits", fleet(made)), 80)


def test_colour_is_for_terminals_that_want_it() -> None:
    """Without it there is no escape sequence; with it nothing else changes."""
    page = shown("waits", fleet(deadlocked()))
    plain, coloured = once.render(page), once.render(page, colour=True)
    assert "\x1b" not in plain and "\x1b[1;31m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_of_many_rows_the_rest_is_counted() -> None:
    """Text for people ends somewhere; JSON has every row."""
    made = Process()
    lock = made.lock("ledger", made.agent("holder"), "a.py:1")
    for number in range(once.MOST_ROWS + 5):
        made.wait(made.agent(f"w{number}"), lock, number)
    page = shown("waits", fleet(made))
    assert "\nand 5 more, see --json" in once.render(page)
    assert len(once.facts(page, "waits")["sections"][0]["rows"]) == once.MOST_ROWS + 5


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_json(view: str) -> None:
    """With or without rows; ages and numbers are numbers."""
    for of in (Fleet(), fleet(Process()), fleet(deadlocked())):
        told = json.loads(json.dumps(once.facts(shown(view, of), view)))
        assert set(told) == {"view", "title", "head", "sections", "notes"}
    told = once.facts(shown("waits", fleet(deadlocked())), "waits")["sections"][0]["rows"][1]
    assert told["age"] == 272.0 and told["behind"] == 1 and told["left"] is None
    assert told["site"] == {"file": "/srv/shop/export.py", "line": 131, "function": "run"}
    assert told["target"] == {"kind": "circle", "pid": 41, "key": 2}


# ---- it agrees with `fastlock dump` -----------------------------------------------------------------------------------


def test_every_claim_agrees_with_the_dump_of_the_same_table(tmp_path: Path) -> None:
    """Owner, age, count, place: row by row what `fastlock dump --json` says of the same bytes."""
    path = tmp_path / "table"
    with running(STUCK) as it:
        assert fastlock("dump", it.pid, "--save", path).returncode == 0
    dumped = json.loads(fastlock("dump", path, "--json").stdout)
    with open_file(str(path)) as table:
        seen = seen_of(table.view(), it.pid, None, False)
    of = Fleet([seen])
    agents = {agent["id"]: agent for agent in dumped["agents"]}
    locks = {lock["id"]: lock for lock in dumped["locks"]}
    rows = once.facts(shown("waits", of), "waits")["sections"][0]["rows"]
    waits = {(wait["agent"], wait["lock"]): wait for wait in dumped["waits"]}
    assert {tuple(row["key"][2:]) for row in rows} == set(waits) and len(rows) == len(waits) == 6
    for row in rows:
        wait = waits[tuple(row["key"][2:])]
        owner = None if wait["owner"] is None else agents[wait["owner"]]["name"]
        readers = [agents[each]["name"] for each in locks[wait["lock"]]["readers"]]
        assert row["owner"] == (owner or (readers[0] if readers else "-"))
        assert (row["who"], row["age"], row["call"], row["site"]) == (agents[wait["agent"]]["name"], pytest.approx(wait["since_s"]), wait["what"], wait["wanted_at"])
        assert row["left"] == (None if wait["deadline_s"] is None else pytest.approx(wait["deadline_s"]))
    for row in once.facts(shown("locks", of), "locks")["sections"][0]["rows"]:
        lock = locks[row["target"]["key"]]
        assert (row["class"], row["kind"], row["waiters"], row["site"]) == (lock["class"], lock["kind"], len(lock["waiters"]), lock["held_at"])
    assert [row["code"] for row in once.facts(shown("findings", of), "findings")["sections"][0]["rows"]] == [each["code"] for each in reversed(dumped["findings"])]
    process = once.facts(shown("processes", of), "processes")["sections"][0]["rows"][0]
    assert (process["agents"], process["waiting"], process["level"]) == (len(agents), 5, dumped["level"])


# ---- the command ----------------------------------------------------------------------------------------------------


def test_a_deadlocked_process_is_printed_with_both_lines(tmp_path: Path) -> None:
    """While it is stopped, too; and as JSON."""
    with running(STUCK) as it:
        told = printed(it.pid)
        for part in ("DEADLOCK: ", "wait for each other", "ledger_lock", "held by", "== Processes ==", "== Lints ==", "clerk", "Fix"):
            assert part in told
        assert "\x1b" not in told
        os.kill(it.pid, signal.SIGSTOP)
        wait_until(lambda: "it is stopped" in printed(it.pid, "--view", "processes"))
        by_view = facts(it.pid, "--view", "waits", "--view", "circles", "--kind", "locks", "--sort", "age")
        os.kill(it.pid, signal.SIGCONT)
    assert set(by_view) == {"waits", "circles", "circle"}
    ages = [row["age"] for row in by_view["waits"]["sections"][0]["rows"]]
    assert len(ages) == 5 and ages == sorted(ages, reverse=True)
    assert by_view["circles"]["sections"][0]["rows"][0]["what"] == "DEADLOCK"
    assert any("it is stopped" in note for note in by_view["waits"]["notes"])


def test_lints_are_watched_for_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A holder that sleeps is told at once, what needs time gets it."""
    program = """
    lock = fastlock.Lock(name="slow_lock")
    taken = threading.Event()
    def sleeper():
        with lock:
            taken.set()
            time.sleep(1000)
    def wants(): lock.acquire()
    start(sleeper); taken.wait()
    start(wants); blocked("wants")
    ready()
    """
    monkeypatch.setattr(lints, "CONTENDED_S", 0.5)
    monkeypatch.setattr(top, "_SLACK_S", 0.2)
    with running(program) as it:
        wait_until(lambda: float(facts(it.pid, "--view", "waits")["waits"]["sections"][0]["rows"][0]["age"]) > lints.SLEEPING_S)
        assert top.main([str(it.pid), "--once", "--view", "lints"]) == 0
    told = capsys.readouterr().out
    assert "slow_lock" in told and re.search(r"owner sleeps|long hold", told)
    assert "some lints need" not in told


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--once", "--sort", "size"], "there is no such column, only pid, "),
        (["--once", "--older", "soon"], "must be a time such as 90s"),
        (["--once", 2**22 + 5], "there is no process"),
        ([], "there is no terminal"),
    ],
)
def test_bad_use_is_one_line(arguments: list[Any], word: str) -> None:
    """And exit status 2."""
    assert word in complaint("top", *arguments)


@pytest.mark.parametrize("arguments", [["--view", "nothing"], ["x"], ["--fast"], [0]])
def test_wrong_words_are_explained(arguments: list[Any]) -> None:
    """As argparse explains them."""
    done = fastlock("top", *arguments)
    assert done.returncode == 2 and "usage: fastlock top" in done.stderr and "Traceback" not in done.stderr


def test_help_names_every_view_and_the_command_is_listed() -> None:
    """Nobody has to read the manual first."""
    told = fastlock("top", "--help")
    assert told.returncode == 0
    assert all(f"  {view.name}" in told.stdout and view.about in told.stdout for view in VIEWS.values())
    assert "top" in VERBS


def test_without_textual_a_line_says_how_to_get_it() -> None:
    """On a terminal; --once works without."""
    program = "import sys; sys.modules.update(textual=None, rich=None); from fastlock.cli import main; sys.exit(main(['top', *sys.argv[1:]]))"
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run([sys.executable, "-c", program], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, timeout=LIMIT_S, check=False)
        told = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert told.splitlines() == ["fastlock top needs textual: pip install 'fastlock[console]'; `fastlock top --once` prints the same without"]
    with running("ready()") as it:
        once_done = subprocess.run([sys.executable, "-c", program, "--once", str(it.pid)], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert once_done.returncode == 0 and "== Waits ==" in once_done.stdout


def test_columns_that_sort_are_known_without_a_process() -> None:
    """--sort is checked before anything is looked at."""
    assert list(columns_of("waits")) == ["pid", "who", "lock", "owner", "age", "site", "behind", "call", "left"]


def test_of_nobody_one_sentence_is_said() -> None:
    """It is true of every view, and said once."""
    told = once.render_all([made for _, made in once.pages_of(Fleet([]), list(VIEWS), Query(), History())])
    assert told.count("No live process of this user uses fastlock.") == 1 and "==" not in told


@pytest.mark.parametrize("columns, width_is", [("", once.COLUMNS), ("64", 64), ("200", 200), ("many", once.COLUMNS)])
def test_who_pipes_it_says_how_wide_it_is(monkeypatch: pytest.MonkeyPatch, columns: str, width_is: int) -> None:
    """COLUMNS counts before the terminal, as everywhere; without either, what fits into a limit stays whole."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "__stdout__", None)
    assert top._columns() == width_is
