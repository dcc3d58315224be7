"""A report in parts, for a screen that has its own width and order."""

from __future__ import annotations

from typing import NamedTuple

from fastlock.findings import Finding
from fastlock.reporting import inversion, printable
from fastlock.reporting.text import PICTURE_NAMES, Report

_UNBROKEN = 1 << 20  # columns of a line that is broken by who draws it


class Parts(NamedTuple):
    """A report for a screen; what is long is one line, for the screen to break.

    ``heads`` and ``drawings`` are forms of the same, the widest first; the last drawing of a circle is a sentence. ``rows`` are who holds and wants what
    at which lines, of an inversion its orders.
    """

    heads: list[list[str]]
    drawings: list[list[str]]
    rows: list[str]
    fix: list[str]
    foot: list[str]
    stacks: list[str]


def parts(finding: Finding, happened: Finding | None = None) -> Parts:
    """Return the report in parts: both lines of code and what to change can stand before the stacks; `happened` is the deadlock that an inversion led to."""
    page = Report(finding, _UNBROKEN)
    page.happened = happened
    heads = [page.head(), page.narrow_head()]
    fix, foot = page.fix(), page.foot(with_fix=False)
    if finding.code == "FL010":
        drawings = inversion.scenarios(finding, page.names) if happened is None else []
        return _printable(Parts(heads, drawings, inversion.orders(finding, page.names), fix, foot, page.completed()))
    return _printable(Parts(heads, _drawings(page), page.sections(with_stacks=False), fix, foot, _stacks(page)))


def _drawings(page: Report) -> list[list[str]]:
    drawings: list[list[str]] = []
    if page.is_drawn:
        for page.names_in_picture in PICTURE_NAMES:
            drawings += [page.picture()]
        for page.names_in_picture in PICTURE_NAMES[1:]:
            drawings += [page.chain()] if len(page.told.edges) == 2 else []
    return [*drawings, page.sentence()]


def _stacks(page: Report) -> list[str]:
    shown = [(page.names.agent(agent), page.stack(agent)) for agent in page.shown()]
    return [each for name, lines in shown if lines for each in (f"  {name}", *lines)]


def _printable(made: Parts) -> Parts:
    def clean(block: list[str]) -> list[str]:
        return [printable(line).rstrip() for line in block]

    return Parts([*map(clean, made.heads)], [*map(clean, made.drawings)], *map(clean, made[2:]))
