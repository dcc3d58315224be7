"""What the console's screen does for who asks it: saving, levels, questions; and what it says where that, or a page, goes wrong."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import pytest

pytest.importorskip("textual", reason="textual is not installed (the extra `test` has it)")

from fastlock.console import save  # noqa: E402
from fastlock.console.fleet import LevelSet  # noqa: E402
from fastlock.console.pages import VIEWS  # noqa: E402
from fastlock.console.prompt import Prompt  # noqa: E402
from fastlock.console.seen import Seen, Wait  # noqa: E402
from fastlock.console.tables import Query  # noqa: E402
from fastlock.console.wording import filter_text, parse_filter  # noqa: E402
from console_screen import confirm, cursor_row, play, press, queue, running, staged, told, until, write  # noqa: E402
from textual.widgets import Input  # noqa: E402
from console_support import Process, deadlocked  # noqa: E402


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


def test_in_little_room_the_levels_can_be_read() -> None:
    """The line that asks for a level leaves room for those that there are."""

    async def act() -> None:
        async with running(staged(Process(4194304)), size=(40, 10)) as (app, pilot):
            await press(app, "L")
            await until(app, lambda: "[off] [detect] [order]" in told(app))

    play(act)


# ---- questions and their answers


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


@pytest.mark.parametrize("text", ["", "db lock", "db kind:RLock age:90s", "kind:task", "age:10s"])
def test_a_filter_is_the_same_as_text(text: str) -> None:
    """What the line shows when it is opened again says what was asked for."""
    query = parse_filter(text, Query(sort="age"))
    assert filter_text(query) == text and query.sort == "age"


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
                assert "This page could not be made: ZeroDivisionError: of a page (test_console_asking.py:" in " ".join(told(app).split())
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
