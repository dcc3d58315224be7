"""A page as lines of a screen of some width: what stands in which line, and which row is where. A row's line is made when it is drawn."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastlock.console.pages.base import Page
from fastlock.console.tables import GAP, Cell, Column, Grid, Line, Row, cut_cell, fitted
from fastlock.console.wrapping import fitting, wrap

_MEASURED = 12  # rows at either end, by which the width of a column is measured
MARK = 2  # columns before a row, for the cursor
TIGHT = 12  # lines of a screen below which what is no row takes as little as it can
TEXT, TITLES, ROW = "text", "titles", "row"  # what a line is


class Spot(NamedTuple):
    """A row of a page: the number of its section, and its own in that."""

    section: int
    number: int


class _Block(NamedTuple):
    """Lines of one kind that follow each other."""

    start: int
    kind: str
    section: int
    lines: Sequence[Line] = ()  # of text


class Flow:
    """A page at a width; ``height`` is its lines. Making it costs what its text has, however many rows its tables have. Not changed later.

    On a screen of few lines (``room``) the head is one: the first deadlock, where there is one.
    """

    def __init__(self, page: Page, width: int, room: int = TIGHT) -> None:
        self.page = page
        self.width = width
        self._is_tight = room < TIGHT
        self.height = 0
        self._blocks: list[_Block] = []
        self._places: dict[int, list[tuple[int, int, int]]] = {}  # by section: number, start and width of the columns that are shown
        self._add_text([_shortened(page.head[1 if len(page.head) > 1 else 0], width)] if self._is_tight and page.head else page.head, -1)
        for number, section in enumerate(page.sections):
            self._add_section(number, section.title, section.body if isinstance(section.body, Grid) else fitting(section, width))
        if page.notes:
            self._add_section(len(page.sections), "What cannot be seen", tuple((Cell(note),) for note in page.notes))
        self._starts = [block.start for block in self._blocks]

    # ---- what is where

    def _add(self, kind: str, section: int, height: int, lines: Sequence[Line] = ()) -> None:
        if height:
            self._blocks.append(_Block(self.height, kind, section, lines))
            self.height += height

    def _add_text(self, lines: Sequence[Line], section: int) -> None:
        wrapped = [part for line in lines for part in wrap(line, self.width)]
        self._add(TEXT, section, len(wrapped), wrapped)

    def _add_section(self, number: int, title: str, body: Grid | tuple[Line, ...]) -> None:
        if self.height and not self._is_tight:
            self._add(TEXT, number, 1, [()])
        if title:
            heading = (Cell(title, "title"),)
            self._add_text([_shortened(heading, self.width) if self._is_tight else heading], number)
        if not isinstance(body, Grid):
            self._add_text(body, number)
        elif body.rows:
            self._places[number] = _places(body, self.width - MARK)
            self._add(TITLES, number, 1)
            self._add(ROW, number, len(body.rows))
        else:
            empty, is_last = (Cell(body.empty, "dim"),), number == len(self.page.sections) - 1
            self._add_text([_shortened(empty, self.width) if self._is_tight and not is_last else empty], number)

    def _block(self, line: int) -> _Block | None:
        return self._blocks[bisect.bisect_right(self._starts, line) - 1] if 0 <= line < self.height else None

    def _grid(self, section: int) -> Grid:
        body = self.page.sections[section].body
        assert isinstance(body, Grid)
        return body

    def spot(self, line: int) -> Spot | None:
        """Return the row in a line, None where there is none."""
        block = self._block(line)
        return Spot(block.section, line - block.start) if block is not None and block.kind == ROW else None

    def line(self, spot: Spot) -> int:
        """Return the line of a row."""
        return next(block.start for block in self._blocks if block.kind == ROW and block.section == spot.section) + spot.number

    def row(self, spot: Spot) -> Row:
        """Return a row."""
        return self._grid(spot.section).rows[spot.number]

    def tables(self) -> Iterator[tuple[int, int]]:
        """Yield (section, number of rows) of each table that has rows, from above."""
        return ((block.section, len(self._grid(block.section).rows)) for block in self._blocks if block.kind == ROW)

    def titles_at(self, line: int) -> int | None:
        """Return the section whose columns' titles stand in a line, None where there are none."""
        block = self._block(line)
        return block.section if block is not None and block.kind == TITLES else None

    def column(self, section: int, x: int) -> Column | None:
        """Return the column of a table that stands at a place of its lines; None where there is none."""
        columns = self._grid(section).columns
        return next((columns[number] for number, start, width in self._places[section] if start <= x < start + width + GAP), None)

    # ---- what stands there

    def cells(self, line: int) -> Line:
        """Return what stands in a line, at most as wide as the flow."""
        block = self._block(line)
        if block is None:
            return ()
        if block.kind == ROW:
            return self._row(block.section, self._grid(block.section).rows[line - block.start].cells)
        return self.titles(block.section) if block.kind == TITLES else block.lines[line - block.start]

    def titles(self, section: int) -> Line:
        """Return the titles of a table's columns, with a mark at the one that it is sorted by."""
        grid = self._grid(section)
        named = (f"{column.title}{_mark(grid, column)}" for column in grid.columns)
        return self._row(section, tuple(Cell(title, "head") for title in named))

    def _row(self, section: int, cells: tuple[Cell, ...]) -> Line:
        columns = self._grid(section).columns
        gap = Cell(" " * GAP)
        shown: list[Cell] = [Cell(" " * MARK)]
        for number, _, width in self._places[section]:
            cell = cells[number]
            shown += [Cell(cut_cell(cell, width, columns[number].right), cell.style), gap]
        return tuple(shown[:-1])


def _shortened(line: Line, width: int) -> Line:
    """Return as much of a line as fits, by whole words."""
    first, *more = wrap(line, width)
    return (*wrap(line, width - 2)[0], Cell(" …", "dim")) if more else first


def _places(grid: Grid, room: int) -> list[tuple[int, int, int]]:
    start, places = MARK, []
    for number, width in fitted(grid, _sample(grid), room):
        places.append((number, start, width))
        start += width + GAP
    return places


def _sample(grid: Grid) -> list[Row]:
    """Return the rows that columns are measured by."""
    number = len(grid.rows)
    rows = []
    for at in dict.fromkeys([*range(min(number, _MEASURED)), *range(max(0, number - _MEASURED), number)]):
        try:
            rows.append(grid.rows[at])
        except Exception:  # one that fails is told where it is drawn
            continue
    return rows


def _mark(grid: Grid, column: Column) -> str:
    if not grid.sort or column.key != grid.sort:
        return ""
    return "▾" if grid.descending else "▴"
