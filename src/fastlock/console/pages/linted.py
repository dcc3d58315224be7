"""Lints: what looks wrong though nothing is stuck for good, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from fastlock.console import lints as rules
from fastlock.console.lints import KINDS, Lint
from fastlock.console.pages.base import Page, Section, Sight, aged, head, line, notes
from fastlock.console.seen import LIVE, Seen
from fastlock.console.sleeping import sleep_of
from fastlock.console.tables import SENTENCE, Cell, Column, Line, Row, Table
from fastlock.reporting import duration, wrapped

COLUMNS = (
    Column("lint", "Lint", 18),
    Column("about", "About", 12, least=56, grow=1),
    Column("age", "For", 7, right=True),
    Column("what", "What is seen", 9, grow=5),
)
EMPTY = (
    "Nothing looks wrong: no lock is kept for long, none is always contended, no writer starves, no loop is blocked."
)
STUCK = "Nothing else looks wrong: the deadlock above is what there is to look at."
_MOST_TOLD = 12
_WIDE = 100


class Item(NamedTuple):
    """A lint, and whose."""

    seen: Seen
    lint: Lint


def page(sight: Sight) -> Page:
    """Return the lints of all processes, then each in full with what to do."""
    items = [
        Item(seen, lint) for seen in sight.seen for lint in rules.lints(seen, sight.history.of(seen.pid), sight.names(seen), sleep_of)
    ]
    items.sort(key=lambda item: list(KINDS).index(item.lint.kind))
    grid = Table(
        columns=sight.columns(*COLUMNS),
        row=lambda item: _row(item, sight),
        empty=sight.empty(STUCK if sight.worst else EMPTY),
        keys={
            "pid": lambda item: item.seen.pid,
            "lint": lambda item: KINDS[item.lint.kind].title,
            "about": lambda item: item.lint.about.casefold(),
            "age": lambda item: item.lint.age_s,
            "what": lambda item: item.lint.what,
        },
        words=lambda item: (KINDS[item.lint.kind].title, item.lint.about, item.lint.what, item.lint.fix),
        kinds=lambda item: (item.lint.kind,),
        age_s=lambda item: item.lint.age_s,
    ).grid(items, sight.query)
    told = tuple(each for item in items[:_MOST_TOLD] for each in _told(item, sight))
    sections = (Section("What looks wrong", grid), *([Section("What to do", told)] if told else []))
    return Page("Lints", head(sight), sections, notes(sight, *_young(sight)))


def _young(sight: Sight) -> list[str]:
    """Say where it is too early to tell what needs several readings."""
    spans = [sight.history.of(seen.pid) for seen in sight.seen if seen.state == LIVE]
    least = min(((run[-1].now_ns - run[0].now_ns) / 1e9 if run else 0.0 for run in spans), default=rules.CONTENDED_S)
    if least >= rules.CONTENDED_S:
        return []
    return [f"some lints need {duration(rules.CONTENDED_S)} of readings to tell: convoys, what is always contended, starving writers"]


def _row(item: Item, sight: Sight) -> Row:
    lint = item.lint
    cells = sight.cells(
        item.seen,
        Cell(KINDS[lint.kind].title, "warn"),
        Cell(lint.about, "name"),
        aged(lint.age_s or None),
        Cell(lint.what, SENTENCE),
    )
    return Row(cells, lint.target, ("lint", lint.kind, lint.target))


def _told(item: Item, sight: Sight) -> list[Line]:
    lint = item.lint
    kind = KINDS[lint.kind]
    where = f" in pid {item.seen.pid}" if sight.many else ""
    lines = [line(Cell(f"{kind.title}: {lint.about}{where}", "warn"))]
    lines += [line(each) for each in wrapped(f"{lint.what}.", _WIDE, "  ", "  ")]
    lines += [line(Cell(each, "dim")) for each in wrapped(kind.meaning, _WIDE, "  ", "  ")]
    lines += [line(each) for each in wrapped(f"Do: {lint.fix}.", _WIDE, "  ", "      ")]
    return lines
