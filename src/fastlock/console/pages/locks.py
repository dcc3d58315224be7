"""Locks: who has each and who waits for it; then the classes that only the process itself knows of."""

from __future__ import annotations

from typing import NamedTuple

from fastlock.console.names import NOBODY
from fastlock.console.pages.base import Page, Section, Sight, aged, head, not_told, notes, numbered, of_processes, sited
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
EMPTY = (
    "Nobody waits for a lock, and nobody holds one that others want. A lock comes up here with its first wait: one that is never waited for costs nothing and tells nothing."
)
_LOCKS = frozenset({"Lock", "RLock", "RWLock", "Semaphore"})


class Item(NamedTuple):
    """A lock, or a class of which no lock is waited for now; and what its process says of the class."""

    seen: Seen
    lock: Lock | None
    facts: ClassFacts | None
    oldest: Wait | None

    @property
    def oldest_s(self) -> float | None:
        """The age of the oldest wait for it."""
        return None if self.oldest is None else max(0, self.seen.now_ns - self.oldest.since_ns) / 1e9

    @property
    def waiters(self) -> int:
        """How many wait for it."""
        return 0 if self.lock is None else len(self.lock.waiters)

    @property
    def is_lock(self) -> bool:
        """Whether it is a lock or permit, and not what somebody announces or brings."""
        kind = self.lock.kind if self.lock is not None else self.facts.kind if self.facts is not None else ""
        return kind in _LOCKS


def page(sight: Sight) -> Page:
    """Return the locks with the oldest waits first, then the classes with the most contention."""
    items = [item for seen in sight.seen for item in items_of(seen, sight)]
    items.sort(key=lambda item: (item.lock is None, not item.is_lock, -(item.oldest_s or 0.0), -item.waiters, -_contended(item)))
    grid = _table(sight).grid(items, sight.query)
    missing = not_told(sight, "classes", "how many locks of a class live and how often they were contended is not known")
    cut = [(seen.pid, sight.fleet.asked(seen.pid).cut) for seen in sight.seen]
    missing += of_processes((pid, f"{number:,} more classes, less contended, are left out") for pid, number in cut if number)
    return Page("Locks", head(sight), (Section("Locks that are waited for, then classes", grid),), notes(sight, *missing))


def items_of(seen: Seen, sight: Sight) -> list[Item]:
    """Return the locks of a process, and its classes besides."""
    classes = sight.fleet.asked(seen.pid).classes
    oldest = oldest_waits(seen)
    items = [Item(seen, lock, classes.get(lock.lock_class), oldest.get(lock.id)) for lock in seen.locks.values()]
    there = {lock.lock_class for lock in seen.locks.values()}
    return items + [Item(seen, None, facts, None) for name, facts in classes.items() if name not in there]


def oldest_waits(seen: Seen) -> dict[int, Wait]:
    """Return by lock the oldest wait for it."""
    oldest: dict[int, Wait] = {}
    for wait in seen.waits:
        if wait.lock not in oldest or wait.since_ns < oldest[wait.lock].since_ns:
            oldest[wait.lock] = wait
    return oldest


def _contended(item: Item) -> int:
    return 0 if item.facts is None else item.facts.contentions or 0


def _table(sight: Sight) -> Table[Item]:
    def holders(item: Item) -> str:
        return sight.names(item.seen).holders(item.lock)

    def name(item: Item) -> str:
        return "" if item.lock is None else sight.names(item.seen).lock(item.lock.id)

    def place(item: Item) -> str:
        return "" if item.lock is None else sight.names(item.seen).site(item.lock.held_at)

    return Table(
        columns=sight.columns(*COLUMNS),
        row=lambda item: _row(item, sight),
        empty=sight.empty(EMPTY),
        keys={
            "pid": lambda item: item.seen.pid,
            "lock": lambda item: name(item).casefold() or None,
            "class": class_of,
            "kind": _kind,
            "live": lambda item: None if item.facts is None else item.facts.instances,
            "contended": lambda item: None if item.facts is None else item.facts.contentions,
            "waiters": lambda item: item.waiters,
            "oldest": lambda item: item.oldest_s,
            "owner": lambda item: holders(item).casefold(),
            "site": lambda item: place(item) or None,
        },
        words=lambda item: (name(item), class_of(item), _kind(item), holders(item), place(item), item.seen.process),
        kinds=lambda item: (_kind(item),),
        age_s=lambda item: item.oldest_s,
    )


def class_of(item: Item) -> str:
    """Return the class of a lock, or the class itself."""
    return item.lock.lock_class if item.lock is not None else item.facts.name if item.facts is not None else ""


def _kind(item: Item) -> str:
    return item.lock.kind if item.lock is not None else item.facts.kind if item.facts is not None else ""


def _row(item: Item, sight: Sight) -> Row:
    seen, lock, facts, _ = item
    names = sight.names(seen)
    held = names.holders(lock)
    name = Cell("-", "dim") if lock is None else Cell(names.lock(lock.id), "name" if item.is_lock else "dim")
    lock_class = printable(class_of(item))
    if lock is None:
        name = Cell(f"class {lock_class}", "dim")
    cells = sight.cells(
        seen,
        name,
        Cell(lock_class, "" if item.is_lock else "dim"),
        Cell(printable(_kind(item)), "dim"),
        numbered(None if facts is None else facts.instances),
        numbered(None if facts is None else facts.contentions),
        numbered(item.waiters),
        aged(item.oldest_s),
        Cell(held, "dim" if held == NOBODY else "owner"),
        sited(None if lock is None else lock.held_at),
    )
    if lock is None:
        target = Target("class", seen.pid, class_of(item))
        return Row(cells, target, target)
    target = Target("lock", seen.pid, lock.id)
    return Row(cells, target, target)
