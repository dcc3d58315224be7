"""The pages as text and as JSON: what `fastlock top --once` prints, and what the console saves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from fastlock.console.history import History
from fastlock.console.pages import Fleet, Page, Section, page
from fastlock.console.tables import GAP, Cell, Grid, Line, Place, Query, Row, cut_cell, fitted, text_of
from fastlock.console.wrapping import fitting, wrap
from fastlock.reporting import printable, wrapped

COLUMNS = 120  # at most, where nobody says how wide the screen is
MOST_ROWS = 200  # of a table, as text; JSON has all
MOST_CIRCLES = 5  # that are drawn
_COLOURS: Mapping[str, str] = {"bad": "1;31", "warn": "33", "good": "32", "dim": "2", "title": "1", "name": "1", "owner": "36", "age": "33"}


def pages_of(fleet: Fleet, views: Sequence[str], query: Query, history: History) -> list[tuple[str, Page]]:
    """Return the page of each view with its name; after the circles each of the first ones by itself, with both lines of code."""
    made = []
    for view in views:
        made.append((view, page(view, fleet, query, None, history)))
        if view == "circles":
            targets = [row.target for section in made[-1][1].sections if isinstance(section.body, Grid) for row in section.body.rows[:MOST_CIRCLES]]
            made += [("circle", page("circles", fleet, Query(), target, history)) for target in targets]
    return made


def render(shown: Page, columns: int = COLUMNS, colour: bool = False) -> str:
    """Return a page as text, several lines without a final newline; tables are as wide as the screen at most, lines are not cut."""
    return "\n".join([*_lines(shown.head, colour), "", *body(shown, columns, colour), *notes([shown], columns)])


def render_all(pages: Sequence[Page], columns: int = COLUMNS, colour: bool = False) -> str:
    """Return several pages as text: what is on top of all of them once, and each note once."""
    lines = _lines(pages[0].head, colour) if pages else []
    nothing = _same_nothing(pages)
    if nothing:
        lines += [*([""] if lines else []), *wrapped(printable(nothing), columns, "", "")]
    for shown in () if nothing else pages:
        lines += ["", *body(shown, columns, colour)]
    return "\n".join([*lines, *notes(pages, columns)])


def _same_nothing(pages: Sequence[Page]) -> str:
    """Return the sentence of all tables where it is the same, as without any process; "" where there is more to say."""
    said = [section.body.empty if isinstance(section.body, Grid) and not section.body.rows else "" for shown in pages for section in shown.sections]
    return said[0] if len(said) > 1 and len(set(said)) == 1 else ""


def body(shown: Page, columns: int, colour: bool) -> list[str]:
    """Return a page's title and sections."""
    lines = [_styled(f"== {printable(shown.title)} ==", "title", colour)]
    for at, section in enumerate(shown.sections):
        lines += [*([""] if at else []), *_section(section, columns, colour)]
    return lines


def notes(pages: Iterable[Page], columns: int) -> list[str]:
    """Return what cannot be known, and why; each once."""
    told = dict.fromkeys(note for shown in pages for note in shown.notes)
    lines = [each for note in told for each in wrapped(f"Note: {printable(note)}", columns, "", "  ")]
    return ["", *lines] if lines else []


def _section(section: Section, columns: int, colour: bool) -> list[str]:
    head = [printable(section.title)] if section.title else []
    if not isinstance(section.body, Grid):
        return [*head, *_lines([part for line in fitting(section, columns) for part in wrap(line, columns)], colour)]
    return [*head, *_grid(section.body, columns, colour)]


def _lines(lines: Sequence[Line], colour: bool) -> list[str]:
    return ["".join(_styled(printable(cell.text), cell.style, colour) for cell in line).rstrip() for line in lines]


def _styled(text: str, style: str, colour: bool) -> str:
    code = _COLOURS.get(style) if colour else None
    return f"\x1b[{code}m{text}\x1b[0m" if code and text.strip() else text


# ---- a table ----------------------------------------------------------------------------------------------------


def _grid(grid: Grid, columns: int, colour: bool) -> list[str]:
    if not grid.rows:
        return wrapped(printable(grid.empty), columns, "  ", "  ")
    rows = list(islice(grid.rows, MOST_ROWS))
    places = fitted(grid, rows, columns)
    titles = [Cell(grid.columns[place.column].title, "dim") for place in places]
    lines = [_row(titles, grid, places, colour)]
    lines += [_row([row.cells[place.column] for place in places], grid, places, colour) for row in rows]
    more = len(grid.rows) - len(rows)
    return [*lines, f"and {more:,} more, see --json"] if more else lines


def _row(cells: Sequence[Cell], grid: Grid, places: Sequence[Place], colour: bool) -> str:
    parts = []
    for at, (cell, place) in enumerate(zip(cells, places), 1):
        text = cut_cell(cell, place.width, grid.columns[place.column].right)
        text = text.rstrip() if at == len(places) else text
        parts.append(_styled(text, cell.style, colour))
    return (" " * GAP).join(parts).rstrip()


# ---- JSON -------------------------------------------------------------------------------------------------------


def document(pages: Sequence[tuple[str, Page]], read_at_s: float) -> dict[str, Any]:
    """Return pages with the names of their views as plain builtins, and when they were read."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(read_at_s))
    return {"at": at, "views": [facts(shown, view) for view, shown in pages]}


def facts(shown: Page, view: str) -> dict[str, Any]:
    """Return a page as plain builtins: its lines, and for each row of its tables a record by the columns' keys; all rows."""
    return {
        "view": view,
        "title": shown.title,
        "head": [text_of(line) for line in shown.head],
        "sections": [_facts_of(section) for section in shown.sections],
        "notes": list(shown.notes),
    }


def _facts_of(section: Section) -> dict[str, Any]:
    if not isinstance(section.body, Grid):
        return {"title": section.title, "lines": [text_of(line) for line in section.body]}
    grid = section.body
    keys = [column.key for column in grid.columns]
    return {"title": section.title, "total": grid.total, "rows": [_record(keys, row) for row in grid.rows], "empty": "" if grid.rows else grid.empty}


def _record(keys: Sequence[str], row: Row) -> dict[str, Any]:
    record = {key: cell.text if cell.value is ... else cell.value for key, cell in zip(keys, row.cells)}
    return {**record, "target": None if row.target is None else row.target._asdict(), "key": row.key}
