"""The console's screen: keys and mouse, the cursor, filters, saving, levels, and how it looks where there is little room."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("textual", reason="textual is not installed (the extra `test` has it)")

import fastlock  # noqa: E402
from fastlock.console import save  # noqa: E402
from fastlock.console.fleet import LevelSet  # noqa: E402
from fastlock.console.pages import VIEWS  # noqa: E402
from fastlock.console.prompt import Prompt  # noqa: E402
from fastlock.console.seen import Asked, Seen, Wait  # noqa: E402
from fastlock.console.tables import Cell, Query, text_of  # noqa: E402
from fastlock.console.wording import filter_text, parse_filter  # noqa: E402
from fastlock.console.wrapping import wrap  # noqa: E402
from console_screen import LIMIT_S, click, confirm, cursor_row, play, press, running, screen, staged, until, write  # noqa: E402
from textual.widgets import Input  # noqa: E402
from console_support import NOW_NS, Process, deadlocked  # noqa: E402
from support import wait_until  # noqa: E402
from test_console_pages import told_deadlock  # noqa: E402


def queue(waiters: int, pid: int = 41, name: str = "pool_lock") -> Process:
    """A process in which so many wait for one lock, the first for 100 s and each for a second less."""
    made = Process(pid)
    holder = made.agent("holder")
    lock = made.lock(name, holder, "pool.py:12")
    for number in range(waiters):
        made.wait(made.agent(f"waiter-{number}"), lock, 100 - number / 100, f"pool.py:{20 + number % 7}")
    return made


def told(app: object) -> str:
    """Return the whole screen as one text."""
    return "\n".join(screen(app))  # type: ignore[arg-type]


# ---- from the first screen to the code


def test_one_key_leads_from_the_first_screen_to_both_lines_of_code() -> None:
    """Older waits stand above, and still the cursor is on the deadlock; Enter shows who holds what since which line, and wants what in which."""

    async def act() -> None:
        made = deadlocked()
        slow, other = made.agent("slow"), made.agent("other")
        made.wait(slow, made.lock("import_lock", other, "load.py:3"), 3600, "load.py:9")
        async with running(staged(made)) as (app, pilot):
            assert "DEADLOCK" in told(app)
            assert cursor_row(app).startswith("> refresher")
            await press(app, "enter")
            for place in ("export.py:120", "export.py:131", "rates.py:88", "ledger.py:41"):
                assert place in told(app)
            await press(app, "escape")
            assert cursor_row(app).startswith("> refresher")

    play(act)


def test_every_view_and_whatever_its_first_row_names_can_be_looked_at() -> None:
    """By number and by letter; Enter and Escape lead there and back; no page fails to be made."""

    async def act() -> None:
        async with running(staged(deadlocked(), queue(3, pid=42))) as (app, pilot):
            for number, view in enumerate(VIEWS.values(), 1):
                await press(app, str(number))
                assert screen(app)[0].startswith(view.title)
                await press(app, "enter", "enter")
                assert app.told is not None and app.told.trouble == ""
                await press(app, "escape", "backspace", view.key)
                assert screen(app)[0].startswith(view.title) and "›" not in screen(app)[0]

    play(act)


def test_help_lists_the_keys_and_goes_away_again() -> None:
    """The same key that shows it takes it away."""

    async def act() -> None:
        async with running(staged(deadlocked())) as (app, pilot):
            await press(app, "question_mark")
            assert "Help" in screen(app)[0] and "Backspace" in told(app)
            await press(app, "question_mark")
            assert screen(app)[0].startswith("Waits ") and cursor_row(app)

    play(act)


# ---- the cursor


def test_the_cursor_stays_on_its_row_while_rows_come_and_go() -> None:
    """Rows above it appear, and it stands in the same line of the screen; when its own row goes, it is on the neighbour."""

    async def act() -> None:
        fleet = staged(queue(5))
        async with running(fleet) as (app, pilot):
            await press(app, "down", "down")
            assert cursor_row(app).startswith("> waiter-2")
            line = screen(app).index(cursor_row(app))
            more = queue(5)
            lock = next(iter(more.locks))
            for number in range(40):
                more.wait(more.agent(f"older-{number}"), lock, 500)
                more.wait(more.agent(f"younger-{number}"), lock, 5)
            fleet.seen = [more.seen()]
            await press(app, "1")
            assert cursor_row(app).startswith("> waiter-2")
            assert screen(app).index(cursor_row(app)) == line
            more.waits = [wait for wait in more.waits if more.agents[wait.agent].name != "waiter-2"]
            fleet.seen = [more.seen()]
            await press(app, "1")
            assert cursor_row(app).startswith(("> waiter-3", "> waiter-1"))

    play(act)


def test_all_rows_can_be_reached_and_the_titles_stay() -> None:
    """End, Home, pages and single steps; the columns' titles are in sight wherever one is."""

    async def act() -> None:
        async with running(staged(queue(500))) as (app, pilot):
            await press(app, "end")
            assert "waiter-499" in cursor_row(app) and screen(app)[2].lstrip().startswith("Who")
            await press(app, "pageup", "up", "k")
            at = int(cursor_row(app).split()[1].partition("-")[2])
            assert 470 < at < 490
            await press(app, "j", "down")
            assert f"waiter-{at + 2} " in cursor_row(app)
            await press(app, "home")
            assert "waiter-0 " in cursor_row(app) and "billing.py" in screen(app)[2]
            await press(app, "pagedown")
            assert int(cursor_row(app).split()[1].partition("-")[2]) > 10

    play(act)


def test_only_the_rows_that_are_seen_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5,000 waits a new reading makes no more rows than the screen has lines, and a few for the cursor."""
    from fastlock.console.pages import waits

    made: list[object] = []
    real = waits._cells

    def counted(*arguments: object) -> object:
        made.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(waits, "_cells", counted)

    async def act() -> None:
        async with running(staged(queue(5000))) as (app, pilot):
            await press(app, "end")
            made.clear()
            await press(app, "1")
            assert 0 < len(made) < 80

    play(act)


# ---- what of it


def test_a_filter_works_while_it_is_typed_and_can_be_taken_back() -> None:
    """Words, a kind and an age; a wrong one is said in a line; Escape brings back what was before."""

    async def act() -> None:
        async with running(staged(deadlocked(), queue(3, pid=42))) as (app, pilot):
            await press(app, "slash", *"waiter-1")
            assert "waiter-1" in told(app) and "waiter-0" not in told(app)
            await press(app, "enter")
            assert "Filter: waiter-1" in told(app)
            await press(app, "slash", *" age:soon")
            assert "age:soon: must be a time" in told(app)
            await press(app, "escape")
            assert "Filter: waiter-1" in told(app) and not app.query_one(Prompt).asks
            await press(app, "escape")
            assert "exporter" in told(app) and "Filter" not in told(app)
            await press(app, "slash", *"age:2m", "enter")
            assert "exporter" in told(app) and "waiter-0" not in told(app)
            await press(app, "slash", *(["backspace"] * 6), *"no such thing", "enter")
            assert "is what the filter asks for" in told(app)

    play(act)


def test_a_table_is_sorted_by_keys_and_by_its_titles() -> None:
    """s goes through the columns, S turns the order; a click on a title sorts by it, another one turns it."""

    async def act() -> None:
        async with running(staged(queue(3))) as (app, pilot):
            await press(app, "s")
            first = app.trail.here.query.sort
            assert first and "▴" in told(app) + told(app).replace("▾", "▴")
            await press(app, "S")
            assert app.trail.here.query.reverse
            line = next(y for y, text in enumerate(screen(app)) if text.lstrip().startswith("Who"))
            at = screen(app)[line].index("Age")
            for reverse in (False, True):
                await click(app, pilot, "#page", at, line)
                assert (app.trail.here.query.sort, app.trail.here.query.reverse) == ("age", reverse)

    play(act)


def test_the_mouse_chooses_follows_and_knows_the_keys() -> None:
    """A click puts the cursor on a row and a second one follows it; the views and the keys at the bottom can be clicked."""

    async def act() -> None:
        async with running(staged(queue(5))) as (app, pilot):
            line = next(y for y, text in enumerate(screen(app)) if "waiter-3" in text)
            await click(app, pilot, "#page", 5, line)
            assert cursor_row(app).startswith("> waiter-3")
            await click(app, pilot, "#page", 5, line)
            await until(app, lambda: app.is_settled and "›" in screen(app)[0])
            await click(app, pilot, "#keys", screen(app)[-1].index("back"), 23)
            await until(app, lambda: app.is_settled and "›" not in screen(app)[0])
            await click(app, pilot, "#views", screen(app)[1].index("Locks"), 1)
            assert screen(app)[0].startswith("Locks")

    play(act)


def test_pausing_stops_the_readings_but_not_the_keys() -> None:
    """While it pauses other views are made of the same moment; then reading goes on."""

    async def act() -> None:
        fleet = staged(deadlocked())
        async with running(fleet, period_s=0.01) as (app, pilot):
            await until(app, lambda: fleet.readings > 3)
            await press(app, "space", "2")
            assert "PAUSED" in screen(app)[0]
            before = fleet.readings
            await press(app, "3", "1")
            assert fleet.readings <= before + 1  # the one that had begun
            await press(app, "space")
            await until(app, lambda: fleet.readings > before + 3)
            assert "PAUSED" not in screen(app)[0]

    play(act)


# ---- saving


def test_what_is_seen_is_saved_as_text_json_or_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ending says which; a name is proposed; what is there already is written over after a question alone."""
    monkeypatch.chdir(tmp_path)

    async def act() -> None:
        async with running(staged(queue(30))) as (app, pilot):
            await press(app, "e")
            await write(app)
            await until(app, lambda: "Saved: " in told(app))
            [text] = tmp_path.glob("fastlock-waits-20261130T*.txt")
            assert "waiter-29" in text.read_text()
            for name, part in (("x.json", "waiter-29"), ("x.svg", "<svg")):
                await press(app, "e")
                await write(app, name)
                await until(app, lambda: (tmp_path / name).exists())
                assert part in (tmp_path / name).read_text()
            assert len(json.loads((tmp_path / "x.json").read_text())["views"][0]["sections"][0]["rows"]) == 30
            (tmp_path / "x.json").write_text("mine")
            for key, kept in (("n", True), ("y", False)):
                await press(app, "e")
                await write(app, "x.json")
                await until(app, lambda: "Write over it?" in told(app))
                await confirm(app, key)
                assert ((tmp_path / "x.json").read_text() == "mine") is kept
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted([text.name, "x.json", "x.svg"])

    play(act)


def test_a_page_is_saved_by_its_own_name_in_the_form_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A circle that Waits have led to is a circle, and JSON is as `--once --json` has it."""
    monkeypatch.chdir(tmp_path)

    async def act() -> None:
        async with running(staged(deadlocked())) as (app, pilot):
            await press(app, "enter", "e")
            await until(app, lambda: app.query_one(Prompt).asks)
            assert app.query_one("#answer", Input).value == "fastlock-circle-20261130T234712Z.txt"
            await write(app, "circle.json")
            await until(app, lambda: "Saved: " in told(app))
        saved = json.loads((tmp_path / "circle.json").read_text())
        assert saved.keys() == {"at", "views"} and saved["at"] == "2026-11-30T23:47:12Z"
        assert [each["view"] for each in saved["views"]] == ["circle"] and saved["views"][0].keys() == {"view", "title", "head", "sections", "notes"}

    play(act)


def test_what_cannot_be_saved_is_said_in_a_line(tmp_path: Path) -> None:
    """A directory that is not there, one in the place of the file, an ending that says nothing, no name at all."""

    async def act() -> None:
        async with running(staged(queue(3))) as (app, pilot):
            (tmp_path / "d.txt").mkdir()
            for name, why in ((f"{tmp_path}/no/x.txt", "No such file"), (f"{tmp_path}/d.txt", "Is a directory"), ("x.doc", "has to end in"), ("a\0.txt", "null")):
                await press(app, "e")
                await write(app, name)
                await until(app, lambda why=why: why in told(app))  # type: ignore[misc]
            await press(app, "e")
            await until(app, lambda: app.query_one(Prompt).asks)
            await press(app, "escape")
            await until(app, lambda: not app.query_one(Prompt).asks)

    play(act)


# ---- levels


def test_a_level_is_set_after_it_was_confirmed() -> None:
    """Of the row's process, with its time; anything but y leaves it as it is; the process's answer is said."""

    async def act() -> None:
        fleet = staged(deadlocked(), queue(3, pid=42))
        async with running(fleet) as (app, pilot):
            await press(app, "L")
            await write(app)
            await until(app, lambda: "Set level order for 10m 00s in pid 41 (billing.py)?" in told(app))
            await confirm(app, "n")
            assert fleet.levels == []
            await press(app, "L")
            await write(app, "detect 90s")
            await confirm(app, "y")
            await until(app, lambda: "before: detect" in told(app))
            assert fleet.levels == [(41, "detect", 90.0)]

    play(act)


@pytest.mark.parametrize("answer, why", [("loud", "say one of"), ("order soon", "must be a time"), ("order 10m now", "say one of")])
def test_a_level_that_there_is_not_is_refused(answer: str, why: str) -> None:
    """In one line, and nothing is asked of the process."""

    async def act() -> None:
        fleet = staged(deadlocked())
        async with running(fleet) as (app, pilot):
            await press(app, "L")
            await write(app, answer)
            await until(app, lambda: why in told(app))
            assert fleet.levels == []

    play(act)


def test_a_process_that_does_not_answer_is_no_reason_to_end() -> None:
    """The reason is said; and where it is not plain which process is meant, that is said."""

    async def act() -> None:
        fleet = staged(Process(41), Process(42), level_set=LevelSet(False, "it is stopped, and answers when it goes on"))
        async with running(fleet) as (app, pilot):
            await press(app, "L")
            assert "Of which process?" in told(app)
            await press(app, "p", "L")
            await write(app)
            await confirm(app, "y")
            await until(app, lambda: "it is stopped" in told(app))
            assert fleet.levels == [(41, "order", 600.0)]

    play(act)


def test_a_message_is_read_to_its_end_and_goes_with_escape() -> None:
    """One that is longer than the screen takes more lines; Esc takes it away."""

    async def act() -> None:
        async with running(staged(deadlocked()), size=(40, 14)) as (app, pilot):
            app.say("pid 41 (billing.py): nothing was changed: it is stopped, and takes a level when it goes on", "warn")
            await until(app, lambda: "when it goes on" in told(app))
            assert "nothing was changed" in " ".join(told(app).split())
            await press(app, "escape")
            assert "nothing was changed" not in " ".join(told(app).split())

    play(act)


def test_a_wrong_filter_filters_nothing_and_its_error_goes() -> None:
    """What was seen before is back, the reason is said; how many of all pass a right one is said beside it."""

    async def act() -> None:
        async with running(staged(deadlocked())) as (app, pilot):
            await press(app, "slash")
            await write(app, "age:10x")
            await until(app, lambda: "must be a time" in told(app))
            assert "clerk" in told(app) and app.trail.here.query == Query()
            await press(app, "escape")
            assert "must be a time" not in told(app)
            await press(app, "slash")
            await write(app, "clerk")
            await until(app, lambda: "Filter: clerk  1 of 3  Esc shows all" in told(app))

    play(act)


# ---- trouble


def test_a_reading_that_fails_is_said_and_the_last_one_stays() -> None:
    """The screen goes on, and says what could not be read; when it can be read again, nothing of that is left."""

    async def act() -> None:
        fleet = staged(deadlocked())
        async with running(fleet, period_s=0.01) as (app, pilot):
            fleet.broken = "the disk is on fire"
            await until(app, lambda: "could not be read: OSError: the disk is on fire" in told(app))
            assert "refresher" in told(app)
            fleet.broken = ""
            await until(app, lambda: "disk" not in told(app))

    play(act)


def test_a_page_that_fails_is_said_and_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in one page is a line with its place, and the other views work."""

    async def act() -> None:
        async with running(staged(deadlocked())) as (app, pilot):

            def broken(*_: object) -> None:
                raise ZeroDivisionError("of a page")

            with monkeypatch.context() as patch:
                patch.setitem(VIEWS, "roots", VIEWS["roots"]._replace(make=broken))  # type: ignore[arg-type]
                await press(app, "r")
                assert "This page could not be made: ZeroDivisionError: of a page (test_console_app.py:" in " ".join(told(app).split())
            await press(app, "1")
            assert "refresher" in told(app) and "ZeroDivision" not in told(app)

    play(act)


def test_a_row_that_fails_is_said_in_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only shows when a row is drawn, or looked at for the cursor, ends neither the page nor the console."""
    from fastlock.console.pages import waits

    real = waits._cells

    def broken(*_: object) -> object:
        raise ZeroDivisionError("of a row")

    def partly(seen: Seen, wait: Wait, *more: object) -> object:
        return broken() if seen.agents[wait.agent].name == "waiter-1" else real(seen, wait, *more)  # type: ignore[arg-type]

    async def act() -> None:
        async with running(staged(queue(4))) as (app, pilot):
            monkeypatch.setattr(waits, "_cells", partly)
            await press(app, "1")
            assert "This row could not be made: ZeroDivisionError: of a row" in told(app) and "waiter-2" in told(app)
            monkeypatch.setattr(waits, "_cells", broken)
            await press(app, "1")
            assert "could not be shown: ZeroDivisionError" in " ".join(told(app).split())
            monkeypatch.setattr(waits, "_cells", real)
            await press(app, "1")
            assert "could not" not in told(app) and cursor_row(app)

    play(act)


def test_little_room_has_fewer_columns_and_very_little_a_word() -> None:
    """At 40 x 10 who waits and for how long is there; at 20 x 5 what is needed; then all is back."""

    async def act() -> None:
        async with running(staged(queue(8)), size=(40, 10)) as (app, pilot):
            assert all(len(line) <= 40 for line in screen(app)) and len(screen(app)) == 10
            assert "waiter-0" in told(app) and "100s" in told(app).replace("1m 40s", "100s") and "Behind" not in told(app)
            await pilot.resize_terminal(20, 5)
            await until(app, lambda: "Too small" in told(app))
            await pilot.resize_terminal(120, 30)
            await until(app, lambda: "Too small" not in told(app) and "Behind" in told(app))
            assert cursor_row(app).startswith("> waiter-0")

    play(act)


@pytest.mark.parametrize("view", VIEWS)
def test_in_little_room_every_view_has_its_rows(view: str) -> None:
    """At 40 x 10 what stands above is a line: the deadlock where there is one, and a row can be seen wherever there are any."""

    async def act() -> None:
        made = deadlocked()
        made.findings.append(told_deadlock())
        place = {"file": "/srv/shop/shop.py", "line": 52, "function": "reserve", "text": "with stock:"}
        edge = {"first": "audit", "then": "stock", "count": 7, "held_at": place, "wanted_at": place, "first_seen": "2026-11-30T23:00:00.000+00:00", "agent": "a"}
        order = {"level": "order", "cycles": [], "edges": [edge], "full": False, "cut": {"edges": 0, "cycles": 0}}
        fleet = staged(made, answers={(41, "order", 0): Asked(NOW_NS, order=order)})
        async with running(fleet, size=(40, 10), view=view) as (app, pilot):
            assert screen(app)[2].startswith("DEADLOCK: refresher")
            assert cursor_row(app) or view == "lints", told(app)

    play(act)


def test_in_little_room_the_levels_can_be_read() -> None:
    """The line that asks for a level leaves room for those that there are."""

    async def act() -> None:
        async with running(staged(Process(4194304)), size=(40, 10)) as (app, pilot):
            await press(app, "L")
            await until(app, lambda: "[off] [detect] [order]" in told(app))

    play(act)


@pytest.mark.parametrize("key", ["L", "slash", "e"])
def test_escape_closes_a_question_wherever_the_focus_is(key: str) -> None:
    """Also after Tab, when the page has the keys; the page stays where it is."""

    async def act() -> None:
        async with running(staged(deadlocked())) as (app, pilot):
            await press(app, "enter", key)
            await until(app, lambda: app.query_one(Prompt).asks)
            await press(app, "shift+tab")
            assert app.focused is app.query_one("#page")
            await press(app, "escape")
            await until(app, lambda: not app.query_one(Prompt).asks)
            assert len(app.trail.places) == 2

    play(act)


def test_nothing_is_said_by_colour_alone() -> None:
    """The text of the screen tells the deadlock, the cursor, the order of a table and the pause; both sets of colours have every meaning."""
    from fastlock.console import meanings

    assert meanings.STYLES["ansi-dark"].keys() == meanings.STYLES["ansi-light"].keys()

    async def act() -> None:
        async with running(staged(deadlocked())) as (app, pilot):
            await press(app, "s", "space", "t")
            assert app.theme == "ansi-light"
            for sign in ("DEADLOCK", "> ", "PAUSED"):
                assert sign in told(app)
            assert "▾" in told(app) or "▴" in told(app)

    play(act)


# ---- what it is made of


def test_textual_is_imported_by_the_screen_alone() -> None:
    """The command, its pages and `--once` work where it is not installed; and no other module of fastlock names it."""
    code = "import sys, fastlock.cli.top, fastlock.console.save, fastlock.console.trail; sys.exit(any(name in sys.modules for name in ('textual', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=LIMIT_S, check=False).returncode == 0
    package = Path(fastlock.__file__).parent
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if re.search(r"^\s*(from|import) (textual|rich)\b", path.read_text(), re.M)}
    assert found == {f"console/{name}.py" for name in ("app", "bars", "listing", "meanings", "picture", "prompt", "terminal")}


@pytest.mark.parametrize(
    "text, columns, lines",
    [
        ("one line", 20, ["one line"]),
        ("words that are too long for it", 14, ["words that are", "  too long for", "  it"]),
        ("    further in, and on", 14, ["    further", "    in, and on"]),
        ("/a/name/without/any/space.py:12", 12, ["/a/name/with", "  out/any/sp", "  ace.py:12"]),
        ("表表表表", 5, ["表表", " 表表"]),
        ("a\tb\x1b[2Jc", 20, ["a b�[2Jc"]),
        ("", 10, [""]),
    ],
)
def test_lines_are_broken_at_spaces(text: str, columns: int, lines: list[str]) -> None:
    """No line is wider than there is room, nothing of it gets lost, and no control character reaches the terminal."""
    wrapped = [text_of(line) for line in wrap((Cell(text, "name"),), columns)]
    assert wrapped == lines


def test_meanings_stay_with_their_words() -> None:
    """A broken line keeps the meaning of each of its cells."""
    line = (Cell("Fix", "title"), Cell("  take rates_lock first, or release "), Cell("ledger_lock", "name"))
    cells = [cell for part in wrap(line, 20) for cell in part]
    assert [cell.text for cell in cells if cell.style == "title"] == ["Fix"]
    assert "".join(cell.text for cell in cells if cell.style == "name").strip() == "ledger_lock"


@pytest.mark.parametrize("text", ["", "db lock", "db kind:RLock age:90s", "kind:task", "age:10s"])
def test_a_filter_is_the_same_as_text(text: str) -> None:
    """What the line shows when it is opened again says what was asked for."""
    query = parse_filter(text, Query(sort="age"))
    assert filter_text(query) == text and query.sort == "age"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full leaves neither half a file nor a name beside it, and what was there before stays."""
    path = tmp_path / "x.txt"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.StringIO):
        flush = full

    real = open

    def opened(file: str, mode: str, **options: object) -> object:
        real(file, mode, **options).close()  # type: ignore[call-overload]
        return Full()

    monkeypatch.setattr(save, "open", opened, raising=False)
    for name, over in (("x.txt", True), ("y.txt", False)):
        with pytest.raises(OSError, match="No space"):
            save.write(str(tmp_path / name), "after", over=over)
    assert [each.name for each in tmp_path.iterdir()] == ["x.txt"] and path.read_text() == "before"


# ---- on a terminal


SCREEN = """
import os, sys, threading
from fastlock.cli import main
status = main(["top", *sys.argv[1:]])
assert type(threading.Lock()).__module__ == "_thread", "the console's own locks are fastlock's"
sys.exit(status)
"""


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        command = [sys.executable, "-c", SCREEN, *arguments]
        env = {**os.environ, "TERM": "xterm-256color", **environment}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
        self.theirs: int | None = theirs
        self.drawn = b""

    def until(self, what: bytes) -> None:
        """Take what is drawn until this is among it."""
        end = time.monotonic() + LIMIT_S
        while what not in self.drawn:
            assert time.monotonic() < end, self.drawn[-2000:]
            self.take(0.1)

    def take(self, wait_s: float) -> bool:
        """Take what has been drawn; whether there was any."""
        if not select.select([self.ours], [], [], wait_s)[0]:
            return False
        self.drawn += os.read(self.ours, 65536)
        return True

    def end(self) -> int:
        """The exit status, when it has ended; the terminal is as it was, and has shown no traceback."""
        limit = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < limit, "it does not end"
            self.take(0.1)
        while self.take(0):
            pass
        assert self.theirs is not None and termios.tcgetattr(self.theirs) == self.before
        assert b"Traceback" not in self.drawn
        assert self.drawn.rindex(b"\x1b[?1049l") > self.drawn.rindex(b"\x1b[?1049h") and self.drawn.rindex(b"\x1b[?25h") > self.drawn.rindex(b"\x1b[?25l")
        return self.process.returncode

    def close(self) -> None:
        """End it and let the terminal go."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self.ours, self.theirs):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def test_however_it_ends_the_terminal_is_left_whole() -> None:
    """q, Ctrl-C, SIGINT, SIGTERM, SIGHUP: the status is what a shell expects, all is put back. Of a terminal that is gone it takes notice by itself."""
    ways: list[tuple[bytes | int, int]] = [(b"q", 0), (b"\x03", 0), (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
    terminals = [Terminal(str(os.getpid())) for _ in range(len(ways) + 1)]
    try:
        for terminal, (way, status) in zip(terminals, ways):
            terminal.until(b"Waits")
            if isinstance(way, bytes):
                os.write(terminal.ours, way)
            else:
                terminal.process.send_signal(way)
            assert terminal.end() == status
        gone = terminals[-1]
        gone.until(b"Waits")
        assert gone.theirs is not None
        os.close(gone.theirs)
        os.close(gone.ours)
        assert gone.process.wait(LIMIT_S) in (129, 1)
    finally:
        for terminal in terminals:
            terminal.close()


def test_after_ctrl_z_and_fg_all_is_drawn() -> None:
    """It stops, the terminal is the shell's, and when it goes on the page is there again; then it ends as ever."""
    terminal = Terminal(str(os.getpid()))
    try:
        terminal.until(b"Waits")
        terminal.until(b"Roots")
        for _ in range(2):
            os.write(terminal.ours, b"\x1a")
            stat = Path(f"/proc/{terminal.process.pid}/stat")
            wait_until(lambda: not terminal.take(0.05) and stat.read_text().rpartition(")")[2].split()[0] == "T")
            while terminal.take(0.1):
                pass
            assert terminal.drawn.rindex(b"\x1b[?1049l") > terminal.drawn.rindex(b"\x1b[?1049h")
            terminal.drawn = b""
            terminal.process.send_signal(signal.SIGCONT)
            for word in (b"Waits", b"Roots", b"quit"):
                terminal.until(word)
        os.write(terminal.ours, b"q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_bytes_that_are_no_text_are_not_the_end() -> None:
    """Line noise, a Latin-1 key, half a character, half a command of a terminal: the keys after them still work."""
    terminal = Terminal(str(os.getpid()))
    try:
        terminal.until(b"Waits")
        for noise in (b"\xff", b"caf\xe9", b"\xe2\x82", b"\x00\x1b[?99;99z", b"\x1b]0;\x07"):
            os.write(terminal.ours, noise)
            terminal.take(0.2)
        end = time.monotonic() + LIMIT_S
        while b"Backspace" not in terminal.drawn:
            assert terminal.process.poll() is None and time.monotonic() < end, terminal.drawn[-2000:]
            os.write(terminal.ours, b"?")
            terminal.take(0.5)
        os.write(terminal.ours, b"q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_the_console_does_not_watch_itself() -> None:
    """With FASTLOCK_INSTALL in its environment it is not among the children of the process that it looks at, and its own locks are plain ones."""
    with running_program("import fastlock; fastlock.install()") as pid:
        terminal = Terminal(str(os.getpid()), "--view", "processes", FASTLOCK_INSTALL="1")
        try:
            terminal.until(str(pid).encode())
            os.write(terminal.ours, b"?")
            terminal.until(b"Backspace")
            os.write(terminal.ours, b"q")
            assert terminal.end() == 0
            assert not re.search(rb"\b%d\b" % terminal.process.pid, terminal.drawn)
        finally:
            terminal.close()


@contextlib.contextmanager
def running_program(code: str) -> Iterator[int]:
    """A process that has run this and waits; its number."""
    command = [sys.executable, "-c", f"{code}\nprint(1, flush=True)\nimport sys\nsys.stdin.read()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()
