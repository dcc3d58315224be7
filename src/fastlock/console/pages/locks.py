"""Locks: who has each and who waits for it; what else is waited for, and who brings it; and the classes, as the processes themselves know them."""

from __future__ import annotations

from typing import NamedTuple

from fastlock.console.names import LOCKS, NOBODY
from fastlock.console.pages.base import Page, Section, Sight, age_s, aged, head, not_told, notes, numbered, of_processes, sited
from fastlock.console.seen import ClassFacts, Lock, Seen, Target, Wait
from fastlock.console.tables import Cell, Column, Row, Table
from fastlock.reporting import printable

COLUMNS = (
    Column("lock", "Lock", 14, grow=3),
    Column("class", "Class", 12, least=96, grow=2),
    Column("kind", "Kind", 9, least=124),
    Column("live", "Live", 7, right=True, least=112),
    Column("contended", "Contended", 9, right=True, least=80),
    Column("waiters", "Waiters", 7, right=True),
    Column("oldest", "Oldest", 7, right=True),
    Column("owner", "Held by", 11, least=46, grow=2),
    Column("site", "Taken at", 13, least=70, grow=1),
)
_OTHERS = (
    Column("lock", "What", 20, grow=3),
    Column("kind", "Kind", 9, least=60, grow=1),
    Column("waiters", "Waiters", 7, right=True),
    Column("oldest", "Oldest", 7, right=True),
    Column("owner", "Comes from", 11, least=46, grow=2),
)
_CLASSES = (
    Column("class", "Class", 20, grow=1),
    Column("kind", "Kind", 9, least=60),
    Column("live", "Live", 7, right=True),
    Column("contended", "Contended", 9, right=True, least=40),
    Column("waits", "Waits over", 10, right=True, least=76),
    Column("average", "Average", 8, right=True, least=68),
)
EMPTY = (
    "Nobody waits for a lock. One comes up here while it is waited for: a lock that is taken without waiting costs nothing and tells nothing."
)
NO_OTHER = "Nobody waits for an event, a condition or a result."
NO_CLASS = "No class is known: the processes have not said yet, or cannot; the notes below say why."


class Item(NamedTuple):
    """A lock with what its process says of its class, and the oldest wait for it."""

    seen: Seen
    lock: Lock
    facts: ClassFacts | None
    oldest: Wait

    @property
    def oldest_s(self) -> float:
        """The age of the oldest wait for it."""
        return age_s(self.seen, self.oldest)

    @property
    def is_lock(self) -> bool:
        """Whether it is a lock or permit, and not what somebody announces or brings."""
        return self.lock.kind in LOCKS


class ClassItem(NamedTuple):
    """A class of locks, and whose."""

    seen: Seen
    facts: ClassFacts

    @property
    def average_s(self) -> float | None:
        """How long a wait for one of its locks took."""
        return None if not self.facts.waits or self.facts.waited_s is None else self.facts.waited_s / self.facts.waits


def page(sight: Sight) -> Page:
    """Return the locks with the oldest waits first, then the classes with the most contention."""
    items = [item for seen in sight.seen for item in items_of(seen, sight)]
    items.sort(key=lambda item: (-(item.oldest_s or 0.0), -len(item.lock.waiters)))
    answers = [(seen, sight.fleet.asked(seen.pid)) for seen in sight.seen]
    classes = [ClassItem(seen, facts) for seen, asked in answers for facts in asked.classes.values()]
    classes.sort(key=lambda item: (-(item.facts.contentions or 0), item.facts.name))
    cut = of_processes((seen.pid, f"{asked.cut:,} more classes, less contended, are left out") for seen, asked in answers if asked.cut)
    sections = (
        Section("Locks that are waited for", _table(sight).grid([item for item in items if item.is_lock], sight.query)),
        Section("What else is waited for", _table_of_others(sight).grid([item for item in items if not item.is_lock], sight.query)),
        Section("Classes, the most contended first", _table_of_classes(sight).grid(classes, sight.query)),
    )
    missing = not_told(sight, "classes", "how many locks of a class live and how often they were contended is not known")
    return Page("Locks", head(sight), sections, notes(sight, *missing, *cut))


def items_of(seen: Seen, sight: Sight) -> list[Item]:
    """Return what of a process is waited for."""
    classes = sight.fleet.asked(seen.pid).classes
    oldest = oldest_waits(seen)
    return [Item(seen, lock, classes.get(lock.lock_class), oldest[lock.id]) for lock in seen.locks.values() if lock.id in oldest]


def oldest_waits(seen: Seen) -> dict[int, Wait]:
    """Return by lock the oldest wait for it."""
    oldest: dict[int, Wait] = {}
    for wait in seen.whole_waits:
        if wait.lock not in oldest or wait.since_ns < oldest[wait.lock].since_ns:
            oldest[wait.lock] = wait
    return oldest


def _table(sight: Sight) -> Table[Item]:
    def holders(item: Item) -> str:
        return sight.names(item.seen).holders(item.lock)

    def name(item: Item) -> str:
        return sight.names(item.seen).lock(item.lock.id)

    def place(item: Item) -> str:
        return sight.names(item.seen).site(item.lock.held_at)

    return Table(
        columns=sight.columns(*COLUMNS),
        row=lambda item: _row(item, sight),
        empty=sight.empty(EMPTY),
        keys={
            "pid": lambda item: item.seen.pid,
            "lock": lambda item: name(item).casefold(),
            "class": lambda item: item.lock.lock_class.casefold(),
            "kind": lambda item: item.lock.kind,
            "live": lambda item: None if item.facts is None else item.facts.instances,
            "contended": lambda item: None if item.facts is None else item.facts.contentions,
            "waiters": lambda item: len(item.lock.waiters),
            "oldest": lambda item: item.oldest_s,
            "owner": lambda item: holders(item).casefold(),
            "site": lambda item: place(item) or None,
        },
        words=lambda item: (name(item), item.lock.lock_class, item.lock.kind, holders(item), place(item), item.seen.process),
        kinds=lambda item: (item.lock.kind, "locks"),
        age_s=lambda item: item.oldest_s,
    )


def _row(item: Item, sight: Sight) -> Row:
    seen, lock, facts, _ = item
    names = sight.names(seen)
    held = names.holders(lock)
    cells = sight.cells(
        seen,
        Cell(names.lock(lock.id), "name"),
        Cell(printable(lock.lock_class)),
        Cell(printable(lock.kind), "dim"),
        numbered(None if facts is None else facts.instances),
        numbered(None if facts is None else facts.contentions),
        numbered(len(lock.waiters)),
        aged(item.oldest_s),
        Cell(held, "dim" if held == NOBODY else "owner"),
        sited(lock.held_at),
    )
    target = Target("lock", seen.pid, lock.id)
    return Row(cells, target, target)


# ---- what is no lock -----------------------------------------------------------------------------------------------


def _table_of_others(sight: Sight) -> Table[Item]:
    def name(item: Item) -> str:
        return sight.names(item.seen).wanted(item.oldest)

    def kept(item: Item) -> str:
        return sight.names(item.seen).kept(item.lock).removeprefix("from ")

    def row(item: Item) -> Row:
        comes = kept(item)
        cells = sight.cells(
            item.seen,
            Cell(name(item), "dim" if item.seen.rests(item.oldest) else "name"),
            Cell(printable(item.lock.kind), "dim"),
            numbered(len(item.lock.waiters)),
            aged(item.oldest_s),
            Cell(comes, "dim" if comes == NOBODY else "owner"),
        )
        target = Target("lock", item.seen.pid, item.lock.id)
        return Row(cells, target, target)

    return Table(
        columns=sight.columns(*_OTHERS),
        row=row,
        empty=sight.empty(NO_OTHER),
        keys={
            "pid": lambda item: item.seen.pid,
            "lock": lambda item: name(item).casefold(),
            "kind": lambda item: item.lock.kind,
            "waiters": lambda item: len(item.lock.waiters),
            "oldest": lambda item: item.oldest_s,
            "owner": lambda item: kept(item).casefold(),
        },
        words=lambda item: (name(item), item.lock.lock_class, item.lock.kind, kept(item), item.seen.process),
        kinds=lambda item: (item.lock.kind, "rest"),
        age_s=lambda item: item.oldest_s,
    )


# ---- classes ------------------------------------------------------------------------------------------------------


def _table_of_classes(sight: Sight) -> Table[ClassItem]:
    return Table(
        columns=sight.columns(*_CLASSES),
        row=lambda item: _class_row(item, sight),
        empty=sight.empty(NO_CLASS),
        keys={
            "pid": lambda item: item.seen.pid,
            "class": lambda item: item.facts.name.casefold(),
            "kind": lambda item: item.facts.kind,
            "live": lambda item: item.facts.instances,
            "contended": lambda item: item.facts.contentions,
            "waits": lambda item: item.facts.waits,
            "average": lambda item: item.average_s,
        },
        words=lambda item: (item.facts.name, item.facts.kind, item.seen.process),
        kinds=lambda item: (item.facts.kind, "locks"),
    )


def _class_row(item: ClassItem, sight: Sight) -> Row:
    facts = item.facts
    cells = sight.cells(
        item.seen,
        Cell(printable(facts.name), "name"),
        Cell(printable(facts.kind), "dim"),
        numbered(facts.instances),
        numbered(facts.contentions),
        numbered(facts.waits),
        aged(item.average_s),
    )
    target = Target("class", item.seen.pid, facts.name)
    return Row(cells, target, target)
