"""What a page is, and what pages have in common: whom they are about, the line on top, the notes on what cannot be known."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, TypeVar

from fastlock.console.history import History
from fastlock.console.names import NOBODY, Names, place
from fastlock.console.pages.alarms import Alarm, alarms_of
from fastlock.console.seen import LIVE, STOPPED, UNSEEN, Asked, Seen, Target, Wait
from fastlock.console.tables import Cell, Column, Field, Grid, Line, Query, Row, Table
from fastlock.findings import Site
from fastlock.reporting import duration, printable

PID = Column("pid", "PID", 7, right=True, least=50)


class Owned(Protocol):
    """Something that a process has."""

    @property
    def seen(self) -> Seen:
        """The process."""


_Owned = TypeVar("_Owned", bound=Owned)


class Fleet(Protocol):
    """The processes that are looked at, of which `fleet` keeps the newest moment."""

    @property
    def seen(self) -> Sequence[Seen]:
        """Each process as it was read last, by its number."""

    @property
    def why(self) -> str:
        """Why no process can be found at all, "" where they can."""

    def asked(self, pid: int, part: str = "classes", agent: int = 0) -> Asked:
        """What it has answered over its socket: of its "classes", "order", "level", or of an "agent". Asks as long as this is called, and does not wait."""


class Section(NamedTuple):
    """A part of a page: a table, or lines; ``narrower`` are other forms of a drawing, for a screen on which it has no room, the last one in words."""

    title: str
    body: Grid | tuple[Line, ...]
    narrower: tuple[tuple[Line, ...], ...] = ()


class Page(NamedTuple):
    """All that a view shows at one moment; ``focus`` is what the cursor stands on first, ``notes`` what cannot be known, and why."""

    title: str
    head: tuple[Line, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    focus: Target | None = None


@dataclass(frozen=True)
class Sight:
    """What a page is made of."""

    fleet: Fleet
    query: Query
    target: Target | None
    history: History

    @cached_property
    def seen(self) -> Sequence[Seen]:
        """The processes that are there; one that has ended has its row among them, and its own page."""
        return [each for each in self.fleet.seen if not each.has_ended]

    @property
    def ended(self) -> Seen | None:
        """The process that the page is about, where it has ended: the target's, or the only one."""
        about = self.of(self.target.pid) if self.target is not None else self.fleet.seen[0] if len(self.fleet.seen) == 1 else None
        return about if about is not None and about.has_ended else None

    @property
    def many(self) -> bool:
        """Whether rows have to say whose they are."""
        return len(self.fleet.seen) > 1

    @cached_property
    def _names(self) -> dict[int, Names]:
        return {}

    def names(self, seen: Seen) -> Names:
        """Return what the parts of a process are called."""
        if seen.pid not in self._names:
            self._names[seen.pid] = Names(seen)
        return self._names[seen.pid]

    def alarms(self, seen: Seen) -> Sequence[Alarm]:
        """Return the deadlocks of a process."""
        if seen.pid not in self._alarms:
            self._alarms[seen.pid] = alarms_of(seen, self.names(seen))
        return self._alarms[seen.pid]

    @cached_property
    def _alarms(self) -> dict[int, Sequence[Alarm]]:
        return {}

    @property
    def worst(self) -> Target | None:
        """The first deadlock, None where there is none."""
        return next((alarm.target for seen in self.seen for alarm in self.alarms(seen)), None)

    def of(self, pid: int) -> Seen | None:
        """Return the process with this number, also one that has ended; None where nothing is left of it."""
        return next((each for each in self.fleet.seen if each.pid == pid), None)

    @property
    def targeted(self) -> Seen | None:
        """The process of what the target names; None where there is no target, or nothing left of the process."""
        return None if self.target is None else self.of(self.target.pid)

    def empty(self, sentence: str) -> str:
        """Return the sentence for a table without rows, where that can be known at all."""
        return sentence if any(seen.captured_at for seen in self.seen) else self.nobody

    @property
    def nobody(self) -> str:
        """Why there is nothing at all to show."""
        return printable(self.fleet.why) or (BLIND if self.seen else OVER if self.fleet.seen else NO_PROCESS)

    def columns(self, *columns: Column) -> tuple[Column, ...]:
        """Return a table's columns, with the process where there are several."""
        return (PID, *columns) if self.many else columns

    def cells(self, seen: Seen, *cells: Cell) -> tuple[Cell, ...]:
        """Return a row's cells, with the process where there are several."""
        return (Cell(str(seen.pid), "dim", seen.pid), *cells) if self.many else cells

    def table(
        self,
        fields: Sequence[Field[_Owned]],
        target: Callable[[_Owned], Target],
        empty: str,
        words: Callable[[_Owned], Sequence[str]],
        kinds: Callable[[_Owned], Sequence[str]],
        *,
        key: Callable[[_Owned], Hashable] | None = None,
        age_s: Callable[[_Owned], float | None] | None = None,
    ) -> Table[_Owned]:
        """Return a table of things that processes have, with the process where there are several; a row is told from others by its target, or by `key`."""
        pid: Field[_Owned] = Field(PID, lambda item: Cell(str(item.seen.pid), "dim", item.seen.pid))
        shown = (pid, *fields) if self.many else (*fields,)

        def row(item: _Owned) -> Row:
            leads_to = target(item)
            return Row(tuple(field.cell(item) for field in shown), leads_to, leads_to if key is None else key(item))

        keys = {field.column.key: field.key for field in shown}
        return Table(tuple(field.column for field in shown), row, self.empty(empty), keys, words, kinds, age_s)


# ---- words -------------------------------------------------------------------------------------------------------


def age(seconds: float) -> str:
    """Return an age as reports have it, in 7 characters."""
    return "< 1 ms" if seconds < 0.001 else duration(seconds)


def aged(seconds: float | None, style: str = "age") -> Cell:
    """Return the cell of an age."""
    return Cell("" if seconds is None else age(seconds), style, seconds)


def numbered(number: int | None, none: str = "") -> Cell:
    """Return the cell of a number: `none` for 0, "-" for one that is not known."""
    return Cell(NOBODY if number is None else f"{number:,}" if number else none, "", number)


def sited(site: Site | None) -> Cell:
    """Return the cell of a place."""
    return Cell(place(site) or NOBODY, "site", None if site is None else site.to_dict())


def age_s(seen: Seen, wait: Wait) -> float:
    """Return the age of a wait in seconds."""
    return max(0, seen.now_ns - wait.since_ns) / 1e9


def count(number: int, what: str, many: str = "") -> str:
    """Return ``1 agent``, ``3 agents``."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def line(*parts: str | Cell) -> Line:
    """Return a line of texts and cells."""
    return tuple(part if isinstance(part, Cell) else Cell(part) for part in parts)


# ---- the line on top, and the notes -----------------------------------------------------------------------------

_STYLES = {"ok": "good", "stalled": "warn", "deadlocked": "bad", STOPPED: "warn", UNSEEN: "dim"}


def health(seen: Seen) -> Cell:
    """Return the health of a process, or its state where that says more."""
    word = seen.health if seen.state == LIVE or seen.is_deadlocked else seen.state
    return Cell(word or "not known yet", _STYLES.get(word, "dim"))


def head(sight: Sight) -> tuple[Line, ...]:
    """Return what every page begins with: which processes, how they are, and the deadlocks that stand."""
    fleet = sight.fleet.seen
    lines = [_about_one(fleet[0]) if len(fleet) == 1 else _about_many(fleet)] if fleet else []
    if sight.ended is not None:
        lines.append(line(Cell("ENDED", "warn"), f": pid {sight.ended.pid}: {printable(sight.ended.why)}"))
    return (*lines, *(alarm for seen in sight.seen for alarm in _alarms(seen, sight)))


def _about_one(seen: Seen) -> Line:
    parts = [Cell(printable(seen.process) or f"process {seen.pid}", "title"), Cell(f"  pid {seen.pid}")]
    if seen.state == UNSEEN:
        return (*parts, Cell("  "), health(seen))
    told = f"  Python {printable(seen.python)}  level {printable(seen.level)}  "
    counts = "" if seen.has_ended else f"{count(len(seen.agents), 'agent')}, {_wait(len(seen.pressing))}  "
    return (*parts, Cell(told + counts), health(seen))


def _wait(number: int) -> str:
    return f"{number:,} {'waits' if number == 1 else 'wait'}"


def _about_many(fleet: Sequence[Seen]) -> Line:
    there = [seen for seen in fleet if not seen.has_ended]
    words = [health(seen) for seen in there]
    parts = [Cell(count(len(there), "process", "processes"), "title"), Cell(":" if there else "")]
    for word in dict.fromkeys(sorted(words, key=lambda cell: _ALARM.get(cell.style, 9))):
        parts += [Cell(f" {words.count(word)} "), word]
    waiting = sum(len(seen.pressing) for seen in there)
    parts.append(Cell(f"  {count(sum(len(seen.agents) for seen in there), 'agent')}, {_wait(waiting)}"))
    return (*parts, Cell(f"  {len(fleet) - len(there):,} ended", "dim")) if len(there) < len(fleet) else tuple(parts)


_ALARM = {"bad": 0, "warn": 1, "dim": 2, "good": 3}
_MOST_ALARMS = 3


def _alarms(seen: Seen, sight: Sight) -> list[Line]:
    alarms = sight.alarms(seen)
    where = f" in pid {seen.pid}" if sight.many else ""
    lines = [line(Cell(alarm.what, "bad"), f"{where}: {alarm.told}") for alarm in alarms[:_MOST_ALARMS]]
    more = len(alarms) - _MOST_ALARMS
    return [*lines, line(Cell(f"and {more:,} more{where}", "bad"))] if more > 0 else lines


NO_PROCESS = (
    "No live process of this user uses fastlock. Start one with `fastlock run program.py`, or with FASTLOCK_INSTALL=1 in its environment; it comes up here by itself."
)

OVER = "No process is left: all of these have ended. Enter on one of them, under Processes, shows how it was."

BLIND = "Nothing can be seen of these processes: the notes below say why."


def notes(sight: Sight, *more: str) -> tuple[str, ...]:
    """Return what of the processes that are shown cannot be seen, and why."""
    return (*of_processes((seen.pid, text) for seen in sight.seen for text in _missing(seen)), *more)


def _missing(seen: Seen) -> Iterator[str]:
    if seen.state != LIVE:
        yield printable(seen.why) or seen.state
    if seen.unseen:
        yield f"its table is full: {count(seen.unseen, 'record')} of agents and locks cannot be seen from outside"
    if seen.findings_dropped:
        yield f"{count(seen.findings_dropped, 'older finding')} had no room in its table; its own report has them"
    if seen.state == LIVE and seen.level == "off":
        yield "its level is off, so nothing is watched: `fastlock level PID detect` turns it on"


_NAMED = 3  # processes of which the same is to be said


def of_processes(told: Iterable[tuple[int, str]]) -> list[str]:
    """Return what is told of processes, what is the same of several once."""
    same: dict[str, list[int]] = {}
    for pid, text in told:
        same.setdefault(text, []).append(pid)
    return [_of_these(pids, text) for text, pids in same.items()]


def _of_these(pids: Sequence[int], text: str) -> str:
    if len(pids) == 1:
        return f"pid {pids[0]}: {text.replace(' PID ', f' {pids[0]} ')}"  # a command can be copied
    named, more = pids[:_NAMED], len(pids) - _NAMED
    return f"pids {', '.join(map(str, named))}{f' and {more:,} more' if more > 0 else ''}: {text}"


def not_told(sight: Sight, part: str, what: str) -> list[str]:
    """Return why processes say nothing of something that only they themselves can tell."""
    asked = [(seen.pid, sight.fleet.asked(seen.pid, part)) for seen in sight.seen if seen.captured_at]
    return of_processes((pid, f"{what}: {printable(each.why)}") for pid, each in asked if each.why)


def gone(sight: Sight, title: str, sentence: str) -> Page:
    """Return the page of something that is not there any more."""
    return Page(title, head(sight), (Section("", (line(sentence),)),), notes(sight))
