"""For test_console_robust: what is damaged or hostile goes through the console's reader and through all of its pages."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastlock.console import once
from fastlock.console.history import History
from fastlock.console.pages import VIEWS, page
from fastlock.console.seen import Asked, Seen, Target
from fastlock.console.tables import Grid, Query
from fastlock.outside.layout import Image, image_of
from fastlock.outside.records import Records
from fastlock.outside.view import View

NOW_NS, WALL_S = 10**13, 1.7e9
MOST_TARGETS = 4  # of a page's rows that are followed
# What an answer may have anywhere: nothing, wrong types, extremes, what a terminal would obey.
JUNK: tuple[Any, ...] = (
    None, True, -1, 10**30, 1.5, math.inf, math.nan, "", "x", "\x1b[31m\n\u202e\ud800", 5000 * "9", [], [1], [[]], [None], {}, {"a": 1}, "2026-99-99",
)  # fmt: skip


class Frozen:
    """A fleet that does not move: processes at one moment, and what they have answered."""

    why = ""

    def __init__(self, seen: Sequence[Seen], answers: Mapping[str, Asked] = {}) -> None:
        self.seen = seen
        self._answers = answers

    def asked(self, pid: int, part: str = "classes", agent: int = 0) -> Asked:
        """Return what has been answered to such a request."""
        return self._answers.get(part, Asked(why="it is being asked"))


def moment(first: bytes, second: bytes, before: View | None = None) -> View:
    """Return a moment out of two copies of a table, after another one."""
    return View(Records(image(first), image(second), None if before is None else before.records), NOW_NS, WALL_S, before)


def image(table: bytes) -> Image:
    """Return a table's image; Unseen where it is none."""
    return image_of(table)


def said(view: View) -> dict[str, Any]:
    """Return all that is said of a moment."""
    roots = [(root, str(root)) for root in view.moment.roots()]
    circles = [(circle, view.clears(circle), view.is_proven(circle)) for circle in view.circles]
    return {"snapshot": view.snapshot(), "facts": view.facts(), "circles": circles, "roots": roots, "behind": dict(view.moment.behind)}


def show_all(fleet: Frozen, targets: Sequence[Target] = ()) -> int:
    """Make each view and what its first rows name, as text and JSON; return how many pages that were. AssertionError for what a terminal would obey."""
    history = History()
    history.note(fleet.seen)
    number = 0
    for view in VIEWS:
        for target in (None, *targets, *rows_of(fleet, view, history)):
            shown = page(view, fleet, Query(), target, history)
            for columns in (40, 80):
                text = once.render(shown, columns)
                assert all(char.isprintable() for char in text.replace("\n", "")), (view, target)
            json.dumps(once.facts(shown, view))
            number += 1
    return number


def rows_of(fleet: Frozen, view: str, history: History) -> list[Target]:
    """Return what the first rows of a view name."""
    grids = [section.body for section in page(view, fleet, Query(), None, history).sections if isinstance(section.body, Grid)]
    return [row.target for grid in grids for row in list(grid.rows)[:MOST_TARGETS] if row.target is not None]


def spoilt(answer: Any) -> Iterator[Any]:
    """Yield the answer with each of its places replaced by each sort of junk, or left out."""
    for *path, last in places_in(answer):
        for junk in JUNK:
            changed = copy.deepcopy(answer)
            inner = changed
            for key in path:
                inner = inner[key]
            inner[last] = junk
            yield changed
        if isinstance(last, str):
            changed = copy.deepcopy(answer)
            inner = changed
            for key in path:
                inner = inner[key]
            del inner[last]
            yield changed


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place inside a JSON value, by the keys that lead there."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places_in(inner, (*path, key))
