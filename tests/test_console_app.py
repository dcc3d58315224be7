"""The console's screen: keys and mouse, the cursor, filters and sorting, and how it looks where there is little room or no colour."""

from __future__ import annotations

import pytest

pytest.importorskip("textual", reason="textual is not installed (the extra `test` has it)")

from fastlock.console.pages import VIEWS  # noqa: E402
from fastlock.console.prompt import Prompt  # noqa: E402
from fastlock.console.seen import Asked  # noqa: E402
from console_screen import click, cursor_row, play, press, queue, running, screen, staged, told, until  # noqa: E402
from console_support import NOW_NS, deadlocked, told_deadlock  # noqa: E402


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


# ---- little room, no colour


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
