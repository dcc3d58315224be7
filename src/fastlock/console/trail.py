"""Where the user is, and how he came there: pages, each with its filter and its cursor."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from fastlock.console.flow import Flow, Spot
from fastlock.console.seen import Target
from fastlock.console.tables import Query


@dataclass
class Cursor:
    """Which row is meant: it stays on it while rows come, go and move. Until somebody moves it, it stands on what the page is about.

    ``offset`` is in which line of the screen the row was seen last.
    """

    section: int = 0
    index: int = 0
    key: Hashable = None
    moved: bool = False
    offset: int = 0

    def settle(self, flow: Flow) -> Spot | None:
        """Return the row that is meant in a new reading, None where there are no rows; the row's neighbour where it is gone."""
        tables = dict(flow.tables())
        if not tables:
            return None
        spot = self._found(flow, tables)
        if spot is None:
            section = self.section if self.section in tables else next(iter(tables))
            index = self.index if self.moved and section == self.section else 0
            spot = Spot(section, min(index, tables[section] - 1))
        self.put(spot, flow)
        return spot

    def put(self, spot: Spot, flow: Flow, moved: bool = False) -> None:
        """Mean this row from now on."""
        self.section, self.index = spot
        self.key = flow.row(spot).key
        self.moved = self.moved or moved

    def _found(self, flow: Flow, tables: dict[int, int]) -> Spot | None:
        focus = flow.page.focus
        if not self.moved and focus is None:
            return None
        for section in sorted(tables, key=lambda each: each != self.section):
            start = min(self.index, tables[section] - 1) if section == self.section else 0
            for index in _outward(start, tables[section]):
                spot = Spot(section, index)
                row = flow.row(spot)
                if row.key == self.key if self.moved else row.target == focus:
                    return spot
        return None


def _outward(start: int, number: int) -> Iterator[int]:
    """Yield every index, those next to the first one first: a row seldom moves far."""
    yield start
    for step in range(1, max(start, number - 1 - start) + 1):
        if start - step >= 0:
            yield start - step
        if start + step < number:
            yield start + step


@dataclass
class Place:
    """A page that the user looks at."""

    view: str
    target: Target | None = None
    query: Query = Query()
    cursor: Cursor = field(default_factory=Cursor)
    title: str = ""


class Trail:
    """The pages from a view to where the user is. A view that is left keeps its filter and its cursor."""

    def __init__(self, view: str, query: Query) -> None:
        self._tops = {view: Place(view, query=query)}
        self.places = [self._tops[view]]

    @property
    def here(self) -> Place:
        """The page that is shown."""
        return self.places[-1]

    @property
    def view(self) -> str:
        """The view that it began with."""
        return self.places[0].view

    def go(self, view: str) -> None:
        """Show a view."""
        self.places = [self._tops.setdefault(view, Place(view))]

    def enter(self, view: str, target: Target | None = None) -> None:
        """Show what a row names, or help; nothing happens where that is shown already."""
        if (self.here.view, self.here.target) != (view, target):
            self.places.append(Place(view, target))

    def back(self) -> bool:
        """Show the page before; whether there was one."""
        if len(self.places) == 1:
            return False
        self.places.pop()
        return True
