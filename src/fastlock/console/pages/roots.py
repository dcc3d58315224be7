"""Roots: who is waited for in the end, and the tree of those behind each."""

from __future__ import annotations

from typing import NamedTuple

from fastlock.console.pages.alarms import Alarm, among
from fastlock.console.pages.agent import one_line_about, stack_of
from fastlock.console.pages.base import Page, Section, Sight, aged, gone, head, line, notes, numbered
from fastlock.console.seen import Seen, Target
from fastlock.console.tables import Cell, Column, Grid, Query, Row, Table, plain
from fastlock.reporting import trees
from fastlock.roots import Link, Root

COLUMNS = (
    Column("who", "Waited for in the end", 21, grow=2),
    Column("does", "What that one does", 20, least=76, grow=3),
    Column("behind", "Behind", 7, right=True),
    Column("oldest", "Oldest", 7, right=True),
)
EMPTY = "Nobody is waited for: no wait here is for something that a thread or task has. Events and conditions have no owner, so their waiters stand behind nobody."
GONE = "Nobody waits behind this one any more."
_TREE = (Column("tree", "Who stands deeper waits for the one above", 38, grow=1),)
_KINDS = {"circle": ("circle", "bad"), "ended": ("has ended", "bad"), "lost-in-fork": ("lost in fork", "bad"), "waiting": ("", "warn"), "running": ("", "")}


class Item(NamedTuple):
    """A root, and whose; with the deadlock that it is, where the process tells more of that than a circle."""

    seen: Seen
    root: Root
    alarm: Alarm | None = None

    @property
    def target(self) -> Target:
        """What leads to it."""
        return Target("root", self.seen.pid, self.root.agents[0].agent)

    @property
    def oldest_s(self) -> float | None:
        """The age of the oldest wait behind it, None where nobody is."""
        return self.root.oldest_s if self.root.total else None


def items_of(seen: Seen, sight: Sight) -> list[Item]:
    """Return the roots of a process; a deadlock of which it tells more than the circles in the table is one root, as in its report."""
    told = [alarm for alarm in sight.alarms(seen) if alarm.names]
    inside = {agent for alarm in told for agent in alarm.agents}
    items = [Item(seen, root) for root in seen.roots if root.agents[0].agent not in inside]
    moment = seen.moment
    for alarm in told:
        there = [agent for agent in alarm.agents if agent in seen.agents]
        if moment is not None and there:
            items.append(Item(seen, moment.root(there, together=True), alarm))
    return items


def page(sight: Sight) -> Page:
    """Return every root: circles first, then those with the most behind them."""
    items = [item for seen in sight.seen for item in items_of(seen, sight)]
    items.sort(key=lambda item: (item.root.kind != "circle", -item.root.total))
    grid = Table(
        columns=sight.columns(*COLUMNS),
        row=lambda item: _row(item, sight),
        empty=sight.empty(EMPTY),
        keys={
            "pid": lambda item: item.seen.pid,
            "who": lambda item: who(item, sight).casefold(),
            "behind": lambda item: item.root.total,
            "oldest": lambda item: item.oldest_s,
        },
        words=lambda item: (who(item, sight), _does(item, sight)),
        kinds=lambda item: (item.root.kind, item.root.agents[0].kind),
        age_s=lambda item: item.oldest_s,
    ).grid(items, sight.query)
    return Page("Roots", head(sight), (Section("Whom everybody waits for in the end", grid),), notes(sight), sight.worst)


def who(item: Item, sight: Sight) -> str:
    """Return who a root is."""
    names = sight.names(item.seen)
    if item.alarm is not None:
        return item.alarm.what
    if item.root.kind in ("circle", "ended", "lost-in-fork"):
        return trees.who_of(item.root, names)
    return names.agent(item.root.agents[0].agent)


def _does(item: Item, sight: Sight) -> str:
    root = item.root
    if item.alarm is not None:
        return item.alarm.names
    if root.kind == "circle":
        circle = next((each for each in item.seen.circles if root.agents[0].agent in each.agents), None)
        return "they wait for each other" if circle is None else among(circle, item.seen, sight.names(item.seen))
    if root.kind in ("ended", "lost-in-fork"):
        return _KINDS[root.kind][0]
    return one_line_about(root.agents[0].agent, item.seen, sight)


def _row(item: Item, sight: Sight) -> Row:
    root = item.root
    style = _KINDS.get(root.kind, ("", ""))[1]
    cells = sight.cells(
        item.seen,
        Cell(who(item, sight), style or "name"),
        Cell(_does(item, sight), style),
        numbered(root.total),
        aged(item.oldest_s),
    )
    return Row(cells, item.target, item.target)


def one(sight: Sight) -> Page:
    """Return the root that the target's agent is: who it is, where it stands, and the tree behind it."""
    target = sight.target
    seen = sight.targeted
    item = None if seen is None or target is None else next((each for each in items_of(seen, sight) if target.key in [link.agent for link in each.root.agents]), None)
    if seen is None or item is None:
        return gone(sight, "Root", GONE)
    root = item.root
    named = trees.who_of(root, sight.names(seen)) if item.alarm is None else f"{who(item, sight)}: {_does(item, sight)}"
    lines = [line(Cell(named, "title")), line(trees.behind_of(root))]
    where = [] if root.kind in ("circle", "ended", "lost-in-fork") else stack_of(root.agents[0].agent, seen, sight, "Where it is")
    sections = (Section("", tuple(lines)), *where, Section("", members_of(item, sight)), Section("Behind it", tree_of(root, seen, sight)))
    return Page("Root", head(sight), sections, notes(sight))


def members_of(item: Item, sight: Sight) -> Grid:
    """Return the root's own agents, each a row that leads to it or, of a circle, to that."""
    seen, root, alarm = item
    names = sight.names(seen)
    rows = []
    for link in root.agents:
        target = alarm.target if alarm is not None else Target("circle" if root.kind == "circle" else "agent", seen.pid, link.agent)
        mark = "↻ " if root.kind == "circle" and (alarm is None or alarm.circle is not None) else ""
        rows.append(Row((Cell(f"{mark}{names.agent(link.agent)}: {one_line_about(link.agent, seen, sight)}", "name"),), target, ("root", link.agent)))
    return plain((Column("tree", "The root", 38, grow=1),), rows, "")


def tree_of(root: Root, seen: Seen, sight: Sight) -> Grid:
    """Return the rows of a root's tree; each leads to its agent."""
    shown = list(zip(root.rows, trees.rows_of(root, sight.names(seen))))

    def row(item: tuple[object, str]) -> Row:
        link, text = item
        target = Target("agent", seen.pid, link.agent) if isinstance(link, Link) else None
        return Row((Cell(text, "" if target else "dim"),), target, ("tree", seen.pid, text if target is None else target.key))

    return Table(columns=_TREE, row=row, empty="Nobody waits behind it.").grid(shown, Query())
