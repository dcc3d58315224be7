"""A report in parts, for a screen that has its own width and order."""

from __future__ import annotations

from typing import NamedTuple

from fastlock.findings import Finding
from fastlock.reporting import printable
from fastlock.reporting.text import PICTURE_NAMES, Report

_UNBROKEN = 1 << 20  # columns of a line that is broken by who draws it


class Parts(NamedTuple):
    """A report for a screen: ``drawings`` of the circle, the widest first, the last one a sentence; what is long is one line, for the screen to break."""

    head: list[str]
    drawings: list[list[str]]
    rows: list[str]
    fix: list[str]
    foot: list[str]
    stacks: list[str]


def parts(finding: Finding) -> Parts:
    """Return the report in parts: both lines of code and what to change can stand before the stacks."""
    page = Report(finding, _UNBROKEN)
    drawings: list[list[str]] = []
    if page.is_drawn:
        for page.names_in_picture in PICTURE_NAMES:
            drawings += [page.picture()]
        for page.names_in_picture in PICTURE_NAMES[1:]:
            drawings += [page.chain()] if len(page.told.edges) == 2 else []
    drawings.append(page.sentence())
    shown = [(agent, page.names.agent(agent), page.stack(agent)) for agent in page.shown()]
    stacked = [each for agent, name, lines in shown if lines for each in (f"  {name}", *lines)]
    made = (page.head(), *drawings, page.sections(with_stacks=False), page.fix(), page.foot(with_fix=False), stacked)
    head, *forms, rows, fix, foot, below = ([printable(line).rstrip() for line in block] for block in made)
    return Parts(head, forms, rows, fix, foot, below)
