"""Waits: who waits for what, who has that, for how long and where; the oldest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fastlock.console.names import Names
from fastlock.console.pages.alarms import Alarm
from fastlock.console.pages.base import Page, Section, Sight, age, age_s, aged, head, notes, numbered, sited
from fastlock.console.seen import Seen, Target, Wait
from fastlock.console.tables import Cell, Column, Grid, Query, Row, Table

COLUMNS = (
    Column("who", "Who", 12, grow=3),
    Column("lock", "Waits for", 12, grow=3),
    Column("owner", "Held by", 11, least=60, grow=2),
    Column("age", "Age", 7, right=True),
    Column("site", "At", 13, least=70, grow=1),
    Column("behind", "Behind", 6, right=True, least=76),
    Column("call", "Call", 14, least=110, grow=1),
    Column("left", "Gives up", 9, right=True, least=124),
)
EMPTY = (
    "Nobody waits for anything. A lock that is taken without waiting leaves no trace here, so this is what a healthy program looks like most of the time."
)


class Item(NamedTuple):
    """A wait, and whose."""

    seen: Seen
    wait: Wait

    @property
    def rests(self) -> bool:
        """Whether it may last."""
        return self.seen.rests(self.wait)


def page(sight: Sight) -> Page:
    """Return all waits: those for locks first, then those for events and results, which may last."""
    items = [Item(seen, wait) for seen in sight.seen for wait in seen.whole_waits]
    items.sort(key=lambda item: (item.rests, item.wait.since_ns - item.seen.now_ns))
    grid = table(sight, stuck(sight)).grid(items, sight.query)
    title = _title(items)
    return Page("Waits", head(sight), (Section(title, grid),), notes(sight), sight.worst)


def _title(items: Sequence[Item]) -> str:
    resting = sum(1 for item in items if item.rests)
    others = any(not item.rests and not item.wait.is_for_a_lock for item in items)
    what = "for locks, or kept by a deadlock" if others else "for locks"
    return f"Waits: {len(items) - resting:,} {what}, {resting:,} for events, results and the like, which may last"


Stuck = Mapping[tuple[int, int], Alarm]


def stuck(sight: Sight) -> Stuck:
    """Return by process and agent the deadlock that it cannot leave."""
    return {(seen.pid, agent): alarm for seen in sight.seen for alarm in sight.alarms(seen) for agent in alarm.agents}


def table(sight: Sight, alarms: Stuck, leads_to: str = "deadlock", empty: str = "") -> Table[Item]:
    """Return how waits are shown, and where a row leads to: its "lock", or its "agent" and, for "deadlock", that where it is in one."""

    def target(seen: Seen, wait: Wait, alarm: Alarm | None) -> Target:
        if leads_to == "lock":
            return Target("lock", seen.pid, wait.lock)
        if alarm is None or leads_to == "agent":
            return Target("agent", seen.pid, wait.agent)
        return alarm.target

    def row(item: Item) -> Row:
        seen, wait = item
        alarm = alarms.get((seen.pid, wait.agent))
        cells = sight.cells(seen, *_cells(seen, wait, sight.names(seen), alarm))
        return Row(cells, target(seen, wait, alarm), ("wait", seen.pid, wait.agent, wait.lock))

    return Table(
        columns=sight.columns(*COLUMNS),
        row=row,
        empty=empty or sight.empty(EMPTY),
        keys={
            "pid": lambda item: item.seen.pid,
            "who": lambda item: sight.names(item.seen).agent(item.wait.agent).casefold(),
            "lock": lambda item: sight.names(item.seen).wanted(item.wait).casefold(),
            "owner": lambda item: held_by(item, sight).casefold(),
            "age": lambda item: age_s(item.seen, item.wait),
            "site": lambda item: sight.names(item.seen).site(item.seen.site(item.wait)),
            "behind": lambda item: behind(item.seen, item.wait.agent, alarms.get((item.seen.pid, item.wait.agent))),
            "call": lambda item: item.wait.what,
            "left": lambda item: None if item.wait.deadline_ns is None else item.wait.deadline_ns - item.seen.now_ns,
        },
        words=lambda item: words(item, sight.names(item.seen)),
        kinds=lambda item: kinds(item.seen, item.wait),
        age_s=lambda item: age_s(item.seen, item.wait),
    )


def behind(seen: Seen, agent: int, alarm: Alarm | None) -> int:
    """Return how many wait for an agent in the end; of one in a deadlock, those who are not in it and wait for anybody in it."""
    return seen.behind(agent) if alarm is None else alarm.behind(seen)


def held_by(item: Item, sight: Sight) -> str:
    """Return who has what is waited for, or brings it."""
    return sight.names(item.seen).kept(item.seen.locks.get(item.wait.lock))


def words(item: Item, names: Names) -> tuple[str, ...]:
    """Return the texts of a wait that a filter looks through."""
    seen, wait = item
    lock = seen.locks.get(wait.lock)
    held = ("", "") if lock is None else (lock.lock_class, names.kept(lock))
    return (names.agent(wait.agent), names.wanted(wait), names.lock(wait.lock), *held, names.site(seen.site(wait)), wait.what, seen.process)


def kinds(seen: Seen, wait: Wait) -> tuple[str, ...]:
    """Return what a filter may call a wait: the kind of its lock, of its agent, and "locks" where it is for a lock or permit, else "rest"."""
    lock, agent = seen.locks.get(wait.lock), seen.agents.get(wait.agent)
    return ("" if lock is None else lock.kind, "" if agent is None else agent.kind, "locks" if wait.is_for_a_lock else "rest")


def _cells(seen: Seen, wait: Wait, names: Names, alarm: Alarm | None) -> tuple[Cell, ...]:
    held = names.kept(seen.locks.get(wait.lock))
    style = "" if alarm is None else "bad"
    rest = "dim" if seen.rests(wait) else ""
    left_s = None if wait.deadline_ns is None else max(0, wait.deadline_ns - seen.now_ns) / 1e9
    return (
        Cell(names.agent(wait.agent), style or rest or "name"),
        Cell(names.wanted(wait), style or rest),
        Cell(held, "owner" if held != "-" else "dim"),
        aged(age_s(seen, wait), style or rest or "age"),
        sited(seen.site(wait)),
        numbered(behind(seen, wait.agent, alarm)),
        Cell(wait.what, "dim"),
        Cell("never" if left_s is None else age(left_s), "dim", left_s),
    )


def waits_of(sight: Sight, seen: Seen, waits: Sequence[Wait], leads_to: str, empty: str) -> Grid:
    """Return these waits of one process as a table, in their order and without a filter."""
    return table(sight, stuck(sight), leads_to, empty).grid([Item(seen, wait) for wait in waits], Query())
