"""Locks: who has each and who waits for it; what else is waited for, and who brings it; and the classes, as the processes themselves know them."""

from __future__ import annotations

from typing import NamedTuple

from fastlock.console.names import LOCKS, NOBODY, place
from fastlock.console.pages.base import Page, Section, Sight, age_s, aged, head, not_told, notes, numbered, of_processes, sited
from fastlock.console.seen import ClassFacts, Lock, Seen, Target, Wait
from fastlock.console.tables import Cell, Column, Field, Table
from fastlock.reporting import printable

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

    return sight.table(
        (
            Field(Column("lock", "Lock", 14, grow=3), lambda item: Cell(name(item), "name")),
            Field(Column("class", "Class", 12, least=96, grow=2), lambda item: Cell(printable(item.lock.lock_class))),
            Field(Column("kind", "Kind", 9, least=124), _kind),
            Field(Column("live", "Live", 7, right=True, least=112), lambda item: numbered(None if item.facts is None else item.facts.instances)),
            Field(Column("contended", "Contended", 9, right=True, least=80), lambda item: numbered(None if item.facts is None else item.facts.contentions)),
            *_WAITED,
            Field(Column("owner", "Held by", 11, least=46, grow=2), lambda item: _by(holders(item))),
            Field(Column("site", "Taken at", 13, least=70, grow=1), lambda item: sited(item.lock.held_at)),
        ),
        _target,
        EMPTY,
        words=lambda item: (name(item), item.lock.lock_class, item.lock.kind, holders(item), place(item.lock.held_at), item.seen.process),
        kinds=lambda item: (item.lock.kind, "locks"),
        age_s=lambda item: item.oldest_s,
    )


def _table_of_others(sight: Sight) -> Table[Item]:
    def name(item: Item) -> str:
        return sight.names(item.seen).wanted(item.oldest)

    def comes(item: Item) -> str:
        return sight.names(item.seen).kept(item.lock).removeprefix("from ")

    return sight.table(
        (
            Field(Column("lock", "What", 20, grow=3), lambda item: Cell(name(item), "dim" if item.seen.rests(item.oldest) else "name")),
            Field(Column("kind", "Kind", 9, least=60, grow=1), _kind),
            *_WAITED,
            Field(Column("owner", "Comes from", 11, least=46, grow=2), lambda item: _by(comes(item))),
        ),
        _target,
        NO_OTHER,
        words=lambda item: (name(item), item.lock.lock_class, item.lock.kind, comes(item), item.seen.process),
        kinds=lambda item: (item.lock.kind, "rest"),
        age_s=lambda item: item.oldest_s,
    )


_WAITED = (
    Field[Item](Column("waiters", "Waiters", 7, right=True), lambda item: numbered(len(item.lock.waiters))),
    Field[Item](Column("oldest", "Oldest", 7, right=True), lambda item: aged(item.oldest_s)),
)


def _kind(item: Item) -> Cell:
    return Cell(printable(item.lock.kind), "dim")


def _by(who: str) -> Cell:
    return Cell(who, "dim" if who == NOBODY else "owner")


def _target(item: Item) -> Target:
    return Target("lock", item.seen.pid, item.lock.id)


def _table_of_classes(sight: Sight) -> Table[ClassItem]:
    return sight.table(
        (
            Field(Column("class", "Class", 20, grow=1), lambda item: Cell(printable(item.facts.name), "name")),
            Field(Column("kind", "Kind", 9, least=60), lambda item: Cell(printable(item.facts.kind), "dim")),
            Field(Column("live", "Live", 7, right=True), lambda item: numbered(item.facts.instances)),
            Field(Column("contended", "Contended", 9, right=True, least=40), lambda item: numbered(item.facts.contentions)),
            Field(Column("waits", "Waits over", 10, right=True, least=76), lambda item: numbered(item.facts.waits)),
            Field(Column("average", "Average", 8, right=True, least=68), lambda item: aged(item.average_s)),
        ),
        lambda item: Target("class", item.seen.pid, item.facts.name),
        NO_CLASS,
        words=lambda item: (item.facts.name, item.facts.kind, item.seen.process),
        kinds=lambda item: (item.facts.kind, "locks"),
    )
