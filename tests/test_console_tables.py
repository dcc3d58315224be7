"""The console's tables on screens of any width: which columns there are, what of a text is left, and that nothing is too wide."""

from __future__ import annotations

import pytest

from console_support import Process, busy, deadlocked, fleet, grids, shown, text
from fastlock.console.pages import VIEWS
from fastlock.console.tables import GAP, Cell, Column, cut, cut_cell, fit
from fastlock.reporting import width


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


@pytest.mark.parametrize(("columns", "told"), [(40, "exporter waits for rates_lock           "), (12, "exporter wa…"), (1, "…"), (0, "")])
def test_a_sentence_keeps_its_beginning(columns: int, told: str) -> None:
    """What happened begins with who; names differ at either end, and lose their middle."""
    assert cut_cell(Cell("exporter waits for rates_lock", "sentence"), columns) == told


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
