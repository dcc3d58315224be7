"""What a screen, or a page of text, says: one page for each view. Every claim is made here, and drawn by whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fastlock.console.history import History
from fastlock.console.pages import agent, circles, found, linted, lock, locks, order, processes, roots, waits
from fastlock.console.pages.base import PID, Fleet, Page, Section, Sight
from fastlock.console.seen import Asked, Target
from fastlock.console.tables import Grid, Query

__all__ = ["VIEWS", "Fleet", "Page", "Section", "View", "columns_of", "page"]


class View(NamedTuple):
    """A view: its name on the command line, its title, the letter that chooses it, one line of what it is for, what makes its page."""

    name: str
    title: str
    key: str
    about: str
    make: Callable[[Sight], Page]


# In the order of the keys 1 to 8.
VIEWS: Mapping[str, View] = {
    view.name: view
    for view in (
        View("waits", "Waits", "w", "who waits for what, who has it, since when and where", waits.page),
        View("locks", "Locks", "l", "each lock that is waited for, who has it, how contended its class is", locks.page),
        View("circles", "Circles", "c", "who waits for each other, and can never go on", circles.page),
        View("order", "Order", "o", "which lock is taken under which; inversions first", order.page),
        View("findings", "Findings", "f", "what the processes have found", found.page),
        View("roots", "Roots", "r", "whom everybody waits for in the end", roots.page),
        View("lints", "Lints", "i", "what looks wrong though nothing is stuck, and what to do", linted.page),
        View("processes", "Processes", "p", "how each process is", processes.page),
    )
}

# What a row's target shows, by its kind.
DETAILS: Mapping[str, Callable[[Sight], Page]] = {
    "process": processes.one,
    "agent": agent.one,
    "lock": lock.one,
    "class": lock.one_class,
    "circle": circles.one,
    "root": roots.one,
    "finding": found.one,
    "inversion": order.one,
}


class _Nobody:
    """A fleet without processes."""

    seen = ()
    why = ""

    def asked(self, pid: int, part: str = "classes", agent: int = 0) -> Asked:
        return Asked()


def columns_of(view: str) -> dict[str, str]:
    """Return by its key the title of each column that a view can be sorted by."""
    grids = [section.body for section in page(view, _Nobody()).sections if isinstance(section.body, Grid)]
    return {column.key: column.title for grid in grids for column in (PID, *grid.columns) if column.key in (*grid.sorts, PID.key)}


def page(view: str, fleet: Fleet, query: Query = Query(), target: Target | None = None, history: History | None = None) -> Page:
    """Return the page of a view or, where there is a `target`, of what that names; KeyError for a view that there is not.

    `history` is what the same fleet's last readings were noted in; without it nothing is said that needs more than one moment.
    """
    make = VIEWS[view].make if target is None else DETAILS[target.kind]
    return make(Sight(fleet, query, target, history or History()))
