"""Tables as data: columns, rows that are made when they are drawn, and what sorts and filters them.

Who draws a table decides how wide it is, not what is in it. Everything here is immutable, and may be used by any thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from fastlock.console.seen import Target
from fastlock.findings import Facts
from fastlock.reporting import pad, printable, width

_T = TypeVar("_T")
SITE = "site"  # the style of a place in the source
SENTENCE = "sentence"  # and of what is read from its beginning on
_SITE = re.compile(r"(?P<file>[^:]*)(?P<line>:\d+(?: → \d+)?)(?P<rest>.*)")
_LEAST_REST = 6  # columns: of less nobody can guess the rest
_MEASURED = 200  # rows by which the width of a column is measured
GAP = 2  # columns of a terminal between two columns of a table


class Column(NamedTuple):
    """A column: ``width`` is what it takes at least, ``least`` the width of the screen from which on it is shown, ``grow`` its share of what is left over.

    What stands to the ``right`` is a number or an age, and is sorted from the largest on.
    """

    key: str
    title: str
    width: int
    right: bool = False
    least: int = 0
    grow: int = 0


class Cell(NamedTuple):
    """A text on one line, and what it means: "bad", "warn", "good", "dim", "name", "owner", "age", "site", "sentence" or "title"; never a colour.

    ``value`` is the same for a program: seconds, a number, a place, None for what is not known; left out, it is the text.
    """

    text: str
    style: str = ""
    value: object = ...


Line = tuple[Cell, ...]  # cells one after another, as one line of text


class Row(NamedTuple):
    """A row: ``target`` is where Enter goes, None for nowhere; ``key`` tells it from other rows, also in the next reading."""

    cells: tuple[Cell, ...]
    target: Target | None
    key: Hashable


class Query(NamedTuple):
    """What is to be shown of a table, and in which order: words of the text (any case), a kind, an age in seconds, a column's key."""

    text: str = ""
    kind: str = ""
    min_age_s: float = 0.0
    sort: str = ""
    reverse: bool = False


class Grid(NamedTuple):
    """A table: ``rows`` are made as they are looked at; ``empty`` is the sentence where there are none.

    ``total`` counts the rows before the filter; ``sort`` is the key of the column that it is sorted by, "" for an order of its own; ``sorts`` are the keys
    of those that it can be sorted by.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Row]
    empty: str
    total: int
    sort: str = ""
    descending: bool = False
    sorts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table(Generic[_T]):
    """How a grid is made of items: what a row shows, and what of an item is sorted and filtered by.

    ``keys`` has for each column that sorts what it sorts by; None comes last in either direction. ``words`` are the texts that a filter looks through,
    ``kinds`` what --kind may name. A filter of which a table knows nothing lets everything through.
    """

    columns: tuple[Column, ...]
    row: Callable[[_T], Row]
    empty: str
    keys: Mapping[str, Callable[[_T], Any]] = field(default_factory=dict)
    words: Callable[[_T], Sequence[str]] | None = None
    kinds: Callable[[_T], Sequence[str]] | None = None
    age_s: Callable[[_T], float | None] | None = None

    def grid(self, items: Sequence[_T], query: Query) -> Grid:
        """Return the grid of these items, which are in the table's own order; linear but for sorting. No row is made."""
        shown = self._filtered(items, query)
        descending = False
        column = next((each for each in self.columns if each.key == query.sort and each.key in self.keys), None)
        if column is not None:
            descending = column.right != query.reverse
            shown = _sorted(shown, self.keys[column.key], descending)
        elif query.reverse:
            shown = shown[::-1]
        empty = f"None of these {len(items):,} is what the filter asks for." if items else self.empty
        return Grid(self.columns, Facts(shown, self.row), empty, len(items), "" if column is None else column.key, descending, self._sorts)

    @property
    def _sorts(self) -> tuple[str, ...]:
        return tuple(column.key for column in self.columns if column.key in self.keys)

    def _filtered(self, items: Sequence[_T], query: Query) -> Sequence[_T]:
        if query.kind and self.kinds is not None:
            kind, kinds = query.kind.casefold(), self.kinds
            items = [item for item in items if any(kind == each.casefold() for each in kinds(item))]
        if query.min_age_s > 0 and self.age_s is not None:
            age_s = self.age_s
            items = [item for item in items if (age_s(item) or 0.0) >= query.min_age_s]
        wanted = query.text.casefold().split()
        if wanted and self.words is not None:
            words = self.words
            items = [item for item in items if _has(" ".join(words(item)).casefold(), wanted)]
        return items


@dataclass(frozen=True)
class Field(Generic[_T]):
    """A column of a table with what a row says in it; sorted by the cell's value, or by its text where that has none of its own."""

    column: Column
    cell: Callable[[_T], Cell]

    def key(self, item: _T) -> Any:
        """Return what an item is sorted by in this column, None for what is not known."""
        cell = self.cell(item)
        return cell.text.casefold() if cell.value is ... or isinstance(cell.value, Mapping) else cell.value


def plain(columns: tuple[Column, ...], rows: Sequence[Row], empty: str) -> Grid:
    """Return a grid of few rows in the order that they have."""
    return Grid(columns, rows, empty, len(rows))


def _has(text: str, wanted: Sequence[str]) -> bool:
    return all(word in text for word in wanted)


def _sorted(items: Sequence[_T], key: Callable[[_T], Any], descending: bool) -> Sequence[_T]:
    keyed = [(key(item), item) for item in items]
    known = sorted((each for each in keyed if each[0] is not None), key=lambda each: each[0], reverse=descending)
    return [item for _, item in known] + [item for value, item in keyed if value is None]


# ---- how much of it a screen has room for -----------------------------------------------------------------------


class Place(NamedTuple):
    """A column that is shown: its number, and how many columns of the terminal it takes."""

    column: int
    width: int


def fit(columns: Sequence[Column], room: int) -> list[Place]:
    """Return which columns a screen of this width shows, and how wide; what is left over goes to those that grow. At least one is shown."""
    shown = [number for number, column in enumerate(columns) if column.least <= room]
    while len(shown) > 1 and _taken(columns, shown) > room:
        shown.remove(max(shown, key=lambda number: (columns[number].least, number)))
    if not shown:
        return []
    left = room - _taken(columns, shown)
    if left < 0:
        return [Place(shown[0], max(1, room))]
    shares = sum(columns[number].grow for number in shown)
    places = []
    for number in shown:
        more = left * columns[number].grow // shares if shares else 0
        shares, left = shares - columns[number].grow, left - more
        places.append(Place(number, columns[number].width + more))
    return places


def _taken(columns: Sequence[Column], shown: Sequence[int]) -> int:
    return sum(columns[number].width for number in shown) + GAP * (len(shown) - 1)


def fitted(grid: Grid, rows: Sequence[Row], room: int) -> list[Place]:
    """Return the columns that there is room for, none wider than what stands in these rows.

    What is left over goes to names until they can be told apart, then to places in the source, then to those of which most is cut.
    """
    places = fit(grid.columns, room)
    needed = [max(width(grid.columns[place.column].title) + (grid.columns[place.column].key == grid.sort), *_widths(rows, place.column)) for place in places]
    if len(rows) < len(grid.rows):  # the others may need what the column has by itself
        needed = [max(need, grid.columns[place.column].width) for place, need in zip(places, needed)]
    widths = [max(1, min(grid.columns[place.column].width, place.width, need)) for place, need in zip(places, needed)]
    sites = [at for at, place in enumerate(places) if any(row.cells[place.column].style == SITE for row in rows[:_MEASURED])]
    left = room - sum(widths) - GAP * (len(widths) - 1)
    for at, place in enumerate(places):
        texts = {printable(row.cells[place.column].text) for row in rows[:_MEASURED]} if needed[at] > widths[at] and at not in sites else set()
        while left > 0 and widths[at] < needed[at] and len({_ends(text, widths[at]) for text in texts}) < len(texts):
            widths[at] += 1
            left -= 1
    for wanted in (sites, range(len(widths))):
        while left > 0 and wanted:
            most = max(wanted, key=lambda at: needed[at] - widths[at])
            if needed[most] <= widths[most]:
                break
            widths[most] += 1
            left -= 1
    return [Place(place.column, each) for place, each in zip(places, widths)]


def _ends(text: str, columns: int) -> str:
    """Return about what is left of a text in so many columns."""
    tail = (columns - 1) // 2
    return text if len(text) <= columns else f"{text[: columns - 1 - tail]}…{text[len(text) - tail :]}"


def _widths(rows: Sequence[Row], column: int) -> Iterator[int]:
    yield 0
    yield from (width(printable(row.cells[column].text)) for row in rows[:_MEASURED])


def cut_cell(cell: Cell, columns: int, right: bool = False) -> str:
    """Return a cell's text in so many columns; of a place in the source the line stays, of a sentence its beginning, of anything else both ends."""
    text = printable(cell.text)
    if cell.style == SITE and width(text) > columns:
        text = _cut_site(text, columns)
    elif cell.style == SENTENCE and width(text) > columns > 0:
        text = f"{_start(text, columns - 1)}…"
    return cut(text, columns, right)


def _cut_site(text: str, columns: int) -> str:
    """Leave out of a place first what follows it, the function or how often, then the middle of the file's name."""
    site = _SITE.fullmatch(text)
    if site is None:
        return text
    file, line, rest = site["file"], site["line"], site["rest"]
    room = columns - width(file) - len(line)
    if room >= 0:
        return f"{file}{line}{_start(rest, room - 1)}…" if room >= _LEAST_REST else f"{file}{line}"
    return f"{_shortened(file, columns - len(line))}{line}"


def cut(text: str, columns: int, right: bool = False) -> str:
    """Return text that takes exactly so many columns of a terminal, without control characters; the middle of what is too long is left out."""
    text = printable(text)
    taken = width(text)
    if taken > columns:
        text = _shortened(text, columns)
        taken = width(text)
    return " " * (columns - taken) + text if right else pad(text, columns)


def _shortened(text: str, columns: int) -> str:
    """Leave the middle out, for names differ at either end; wide characters take two columns."""
    if columns < 1:
        return ""
    tail = (columns - 1) // 2
    return f"{_start(text, columns - 1 - tail)}…{_start(text[::-1], tail)[::-1]}"


def _start(text: str, columns: int) -> str:
    taken = 0
    for at, char in enumerate(text):
        taken += width(char)
        if taken > columns:
            return text[:at]
    return text


def text_of(line: Line) -> str:
    """Return a line's text."""
    return "".join(cell.text for cell in line)
