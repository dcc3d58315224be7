"""One lock: who has it and where that one stands, who waits in which order, how long waits for its class take; and one class."""

from __future__ import annotations

from collections.abc import Sequence

from fastlock.console.names import noun, place_in
from fastlock.console.pages.agent import one_line_about, stack_of
from fastlock.console.pages.base import Page, Section, Sight, age, age_s, aged, count, gone, head, line, not_told, notes, numbered
from fastlock.console.pages.locks import oldest_waits
from fastlock.console.pages.waits import waits_of
from fastlock.console.seen import ClassFacts, Lock, Seen, Target
from fastlock.console.tables import Cell, Column, Grid, Line, Query, Row, Table, plain
from fastlock.findings import basename
from fastlock.reporting import duration, printable, times

GONE = "Nobody waits for this lock any more, so the table has nothing of it."
_BAR = 32  # columns of the longest bar of a histogram
_WHO = {"ThreadPoolExecutor": "Its workers", "Result": "Comes from"}  # else it is held
_WHERE = {"ThreadPoolExecutor": "Where the worker is", "Result": "Where that one is"}
_SITE = {"ThreadPoolExecutor": "", "Result": "Asked for at"}
_LOCKS = (Column("lock", "Lock", 14, grow=2), Column("waiters", "Waiters", 7, right=True), Column("oldest", "Oldest", 7, right=True), Column("owner", "Held by", 12, grow=1))
_LABEL = 11


def one(sight: Sight) -> Page:
    """Return the lock that the target names."""
    target = sight.target
    seen = sight.targeted
    lock = None if seen is None or target is None else seen.locks.get(int(target.key))
    if seen is None or lock is None:
        return gone(sight, "Lock", GONE)
    holders = [*([] if lock.owner is None else [lock.owner]), *(each for each in lock.readers if each != lock.owner)]
    order = {agent: at for at, agent in enumerate(lock.waiters)}
    waits = sorted((wait for wait in seen.whole_waits if wait.lock == lock.id), key=lambda wait: order.get(wait.agent, len(order)))
    sections = [
        Section("", _facts(lock, seen, sight)),
        Section(_WHO.get(lock.kind, "Held by"), _holders(holders, lock, seen, sight)),
        *([] if len(holders) != 1 else stack_of(holders[0], seen, sight, _WHERE.get(lock.kind, "Where the holder is"))),
        Section(f"Waiting, in order: {len(waits):,}", waits_of(sight, seen, waits, "deadlock", _nobody_waits(lock))),
        *_of_class(lock.lock_class, seen, sight),
    ]
    missing = [] if lock.kind != "Semaphore" else ["who holds a permit is known of those who took it in this process; anybody may release one"]
    return Page(f"{noun(lock).capitalize()} {sight.names(seen).lock(lock.id)}", head(sight), tuple(sections), notes(sight, *missing))


def _nobody_waits(lock: Lock) -> str:
    if lock.kind == "ThreadPoolExecutor":
        return "Nobody waits for a pool itself: the results of its jobs are waited for."
    return "Nobody waits for it at this moment."


def fact(label: str, text: str, style: str = "") -> Line:
    """Return a line with a label."""
    return line(Cell(f"{label:<{_LABEL}}", "dim"), Cell(text, style))


def _facts(lock: Lock, seen: Seen, sight: Sight) -> tuple[Line, ...]:
    made = "not known" if lock.created is None else f"{printable(basename(lock.created[0]))}:{lock.created[1]}"
    oldest = oldest_waits(seen).get(lock.id)
    facts = [
        fact("name", sight.names(seen).lock(lock.id), "name"),
        fact("kind", printable(lock.kind)),
        fact("class", printable(lock.lock_class)),
        fact("made at", made, "site"),
        fact("oldest", "nobody waits" if oldest is None else f"somebody has waited {duration(age_s(seen, oldest))}", "age"),
    ]
    return tuple(facts)


def _holders(holders: Sequence[int], lock: Lock, seen: Seen, sight: Sight) -> Grid:
    names = sight.names(seen)
    sited = _SITE.get(lock.kind, "Taken at")
    columns = (
        Column("who", _WHO.get(lock.kind, "Held by"), 14, grow=2),
        *((Column("site", sited, 13, least=50, grow=1),) if sited else ()),
        Column("does", "What that one does", 20, grow=3),
    )
    rows = []
    for agent in holders:
        at = place_in(lock.held_at) if agent == lock.owner else ""
        place = (Cell(at or "-", "site"),) if sited else ()
        target = Target("agent", seen.pid, agent)
        rows.append(Row((Cell(names.agent(agent), "owner"), *place, Cell(one_line_about(agent, seen, sight))), target, target))
    return plain(columns, rows, _NO_HOLDER.get(lock.kind, _FREE) if lock.pool is None else f"It is {names.kept(lock)}: no worker has begun it.")


_NO_HOLDER = {
    "Event": "An event has no holder: somebody sets it.",
    "Condition": "A condition has no holder: somebody notifies it.",
    "Barrier": "A barrier has no holder: its last party opens it.",
    "Result": "Who is to bring it is not known.",
    "Wait": "It is something outside, which the program has declared: who brings it is not known.",
    "ThreadPoolExecutor": "None of its workers has a job.",
}
_FREE = "Nobody known holds it: it is free, handed on just now, or anybody may release it."


# ---- its class ----------------------------------------------------------------------------------------------------


def _of_class(name: str, seen: Seen, sight: Sight) -> list[Section]:
    asked = sight.fleet.asked(seen.pid)
    facts = asked.classes.get(name)
    title = f"Waits of class {printable(name)}"
    if facts is None:
        why = printable(asked.why)
        return [Section(title, (line(f"Not known: {why}" if why else "No wait for a lock of this class is over yet."),))]
    return [Section(title, (*_told(facts), *histogram(facts.buckets)))]


def _told(facts: ClassFacts) -> list[Line]:
    lines = [fact("live", _known(facts.instances)), fact("contended", "not known" if facts.contentions is None else times(facts.contentions))]
    if facts.waits:
        lines.append(fact("waited", f"{count(facts.waits, 'wait')} over, {duration((facts.waited_s or 0.0) / facts.waits)} on average"))
    return lines


def _known(number: int | None) -> str:
    return "not known" if number is None else f"{number:,}"


def histogram(buckets: Sequence[tuple[float, int]]) -> list[Line]:
    """Return a bar for each bucket from the first to the last that has something in it; buckets count all up to their bound."""
    numbers = [number - before for (_, number), before in zip(buckets, [0, *(number for _, number in buckets)])]
    filled = [at for at, each in enumerate(numbers) if each > 0]
    if not filled:
        return [line("No wait is over yet.")]
    most = max(numbers)
    lines = []
    for at in range(filled[0], filled[-1] + 1):
        bound = buckets[at][0]
        label = f"up to {age(bound)}" if bound < 1e9 else f"over {age(buckets[at - 1][0])}" if at else "any"
        bar = "█" * max(1, round(numbers[at] / most * _BAR)) if numbers[at] > 0 else ""
        lines.append(line(Cell(f"{label:<14}", "dim"), Cell(f"{max(0, numbers[at]):>9,}  "), Cell(bar, "good" if bound < 0.1 else "warn")))
    return lines


def one_class(sight: Sight) -> Page:
    """Return the class of locks that the target names: how its waits are, and its locks that are waited for now."""
    target = sight.target
    seen = sight.targeted
    if seen is None or target is None:
        return gone(sight, "Class", "Its process has ended, or cannot be seen any more.")
    name = str(target.key)
    oldest = oldest_waits(seen)
    locks = [lock for lock in seen.locks.values() if lock.lock_class == name and lock.id in oldest]
    names = sight.names(seen)

    def row(lock: Lock) -> Row:
        cells = (Cell(names.lock(lock.id), "name"), numbered(len(lock.waiters)), aged(age_s(seen, oldest[lock.id])), Cell(names.kept(lock), "owner"))
        target = Target("lock", seen.pid, lock.id)
        return Row(cells, target, target)

    grid = Table(columns=_LOCKS, row=row, empty="Nobody waits for a lock of this class now.").grid(locks, Query())
    sections = (*_of_class(name, seen, sight), Section("Its locks that are waited for", grid))
    return Page(f"Class {printable(name)}", head(sight), sections, notes(sight, *not_told(sight, "classes", "how waits of a class are is not known")))
