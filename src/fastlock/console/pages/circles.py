"""Circles: who waits for each other; and one circle, drawn as in the report, with the lines of code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastlock.console.facts import circle_finding, waits_in
from fastlock.console.names import NOBODY, Names, place
from fastlock.console.pages.alarms import among, named
from fastlock.console.pages.base import Page, Section, Sight, age_s, aged, gone, head, line, notes, numbered
from fastlock.console.pages.waits import waits_of
from fastlock.console.seen import Circle, Lock, Seen, Target
from fastlock.console.sources import sourced
from fastlock.console.tables import Cell, Column, Line, Row, Table
from fastlock.findings import Finding
from fastlock.reporting import parts, trees

COLUMNS = (
    Column("what", "What", 17, grow=1),
    Column("who", "Who", 20, grow=5),
    Column("agents", "Agents", 6, right=True, least=60),
    Column("age", "Closed", 7, right=True, least=52),
)
EMPTY = (
    "No circle: nobody waits, by whatever detour, for something that it keeps itself. Whether an event, a condition or a result still comes is not known from outside."
)
NO_CIRCLE = "No circle: what stands, as the lines on top say, is no wait for each other. Findings tells it."
OPEN = "This circle is open again: somebody in it has given up, or has been let through."


class Item(NamedTuple):
    """A circle, and whose."""

    seen: Seen
    circle: Circle

    @property
    def target(self) -> Target:
        """What leads to it."""
        return Target("circle", self.seen.pid, self.circle.agents[0])


def page(sight: Sight) -> Page:
    """Return every circle, those first that nothing ends."""
    items = [Item(seen, circle) for seen in sight.seen for circle in seen.circles]
    items.sort(key=lambda item: (item.circle.clears, not item.circle.proven))
    shown = Table(
        columns=sight.columns(*COLUMNS),
        row=lambda item: _row(item, sight),
        empty=sight.empty(EMPTY if sight.worst is None else NO_CIRCLE),
        keys={
            "pid": lambda item: item.seen.pid,
            "what": lambda item: (item.circle.clears, not item.circle.proven),
            "who": lambda item: _who(item, sight),
            "agents": _number,
            "age": closed_s,
        },
        words=lambda item: [_who(item, sight), *_words(item, sight)],
        age_s=closed_s,
    ).grid(items, sight.query)
    return Page("Circles", head(sight), (Section("Agents that wait for each other", shown),), notes(sight), sight.worst)


def verdict(circle: Circle) -> Cell:
    """Return what a circle is."""
    if circle.clears:
        return Cell("will clear", "warn")
    return Cell("DEADLOCK" if circle.proven else "POSSIBLE DEADLOCK", "bad")


def closed_s(item: Item) -> float:
    """Return since when it is closed: since its youngest wait."""
    return min((age_s(item.seen, wait) for wait in waits_in(item.circle, item.seen).values()), default=0.0)


def _row(item: Item, sight: Sight) -> Row:
    cells = sight.cells(
        item.seen,
        verdict(item.circle),
        Cell(_who(item, sight), "name"),
        numbered(_number(item)),
        aged(closed_s(item)),
    )
    return Row(cells, item.target, item.target)


def _number(item: Item) -> int:
    """Return how many cannot go on: those of the finding, where it knows of more than the table's owners show."""
    told = item.seen.told_of(item.circle)
    return len(item.circle.agents if told is None else told.agents)


def _who(item: Item, sight: Sight) -> str:
    return among(item.circle, item.seen, sight.names(item.seen))


def _words(item: Item, sight: Sight) -> list[str]:
    names = sight.names(item.seen)
    waits = waits_in(item.circle, item.seen)
    return [*map(names.agent, item.circle.agents), *(names.lock(wait.lock) for wait in waits.values())]


# ---- one circle -------------------------------------------------------------------------------------------------


def one(sight: Sight) -> Page:
    """Return the circle that the target's agent is in: drawn, with what each one holds and wants where, and what to do."""
    target = sight.target
    seen = sight.targeted
    circle = None if seen is None or target is None else next((each for each in seen.circles if target.key in each.agents), None)
    if seen is None or circle is None:
        return gone(sight, "Circle", OPEN)
    finding = circle_finding(circle, seen)
    told = seen.told_of(circle)
    inside = set(circle.agents) if told is None else {*circle.agents, *told.everybody}
    own = waits_in(circle, seen)
    waits = [*own.values(), *(wait for wait in seen.whole_waits if wait.agent in inside and wait.agent not in own)]
    grid = waits_of(sight, seen, waits, "agent", "Nobody in it waits for anything that fastlock sees.")
    doubt = [] if circle.proven or circle.clears else ["It is only possible: some of these locks may be released by somebody else than who holds them."]
    title = f"Circle: {verdict(circle).text}{'' if told is None or told.is_just(circle.agents) else f', {named(told)}'}"
    first, last = (_proven(circle, seen, sight), []) if finding is None else of_report(finding)
    return Page(title, head(sight), (*first, Section("In it", grid), *last), notes(sight, *doubt))


def of_report(finding: Finding) -> tuple[list[Section], list[Section]]:
    """Return both lines of code and what to change, which come first; then what else a report says, the stacks last."""
    told = parts.parts(sourced(finding))
    first = [in_forms("", told.drawings), Section("", drawn(told.rows)), Section("What to do", drawn(told.fix))]
    last = [Section("What else is known", drawn(told.foot)), Section("Where they are", drawn(told.stacks))]
    return [each for each in first if each.body], [each for each in last if each.body]


def in_forms(title: str, forms: Sequence[list[str]]) -> Section:
    """Return a section that has several forms, the widest first."""
    widest, *narrower = map(drawn, forms)
    return Section(title, widest, tuple(narrower))


def _proven(circle: Circle, seen: Seen, sight: Sight) -> list[Section]:
    """Return what the table proves of a circle of which the process has told nothing: who waits for what, where, and who has it."""
    names = sight.names(seen)
    root = next((root for root in seen.roots if root.kind == "circle" and root.agents[0].agent in circle.agents), None)
    lines = [] if root is None else [line(f"{trees.told(link, names)}{_kept(seen.locks.get(link.lock or 0), names)}") for link in root.agents]
    untold = "The process has told no finding about this. What keeps them may be a task, a loop or a pool: its own report says it, and what to change."
    return [Section("What the table shows", tuple(lines)), Section("", (line(untold),))]


def _kept(lock: Lock | None, names: Names) -> str:
    """Return who has a lock, and since which line, or brings a result, with a semicolon before it."""
    kept = names.kept(lock)
    if lock is None or kept == NOBODY:
        return ""
    if lock.kind == "Result":
        return f"; it {'comes ' if kept.startswith('from ') else 'is '}{kept}"
    return f"; held by {kept}{f' since {place(lock.held_at)}' if lock.held_at is not None else ''}"


def drawn(block: list[str]) -> tuple[Line, ...]:
    """Return lines of a report as a page has them."""
    return tuple(line(each) for each in block)
