"""Processes: how each one is, a row each; and one process by itself."""

from __future__ import annotations

from fastlock.console.pages.base import Page, Section, Sight, age_s, aged, count, head, health, line, notes, numbered
from fastlock.console.pages.waits import Item, stuck
from fastlock.console.pages.waits import table as table_of_waits
from fastlock.console.seen import LIVE, Seen, Target
from fastlock.console.tables import Cell, Column, Line, Row, Table
from fastlock.reporting import duration, printable

COLUMNS = (
    Column("pid", "PID", 7, right=True),
    Column("program", "Program", 12, grow=1),
    Column("python", "Python", 7, least=96),
    Column("level", "Level", 6, least=60),
    Column("health", "Health", 10),
    Column("agents", "Agents", 6, right=True, least=66),
    Column("waiting", "Waiting", 7, right=True, least=56),
    Column("oldest", "Oldest", 7, right=True, least=46),
    Column("findings", "Findings", 8, right=True, least=76),
)
_RANK = {"deadlocked": 0, "stalled": 1, "": 3, "ok": 4}
_LAST = 5  # of one that has ended


def page(sight: Sight) -> Page:
    """Return every process that is looked at, also one that cannot be seen."""
    fleet = sight.fleet.seen
    grid = _table(sight).grid(sorted(fleet, key=lambda seen: (_rank(seen), seen.pid)), sight.query)
    worst = next((seen for seen in fleet if seen.is_deadlocked), None)
    focus = None if worst is None else Target("process", worst.pid, worst.pid)
    return Page("Processes", head(sight), (Section(_title(sight), grid),), notes(sight), focus)


def _title(sight: Sight) -> str:
    ended = len(sight.fleet.seen) - len(sight.seen)
    return f"{count(len(sight.seen), 'process', 'processes')}{f', {ended:,} ended' if ended else ''}"


def _rank(seen: Seen) -> int:
    return _LAST if seen.has_ended else _RANK.get(seen.health, 2)


def _unseen_locks(seen: Seen) -> list[str]:
    """Say how many locks are not fastlock's."""
    early = "made before fastlock was installed cannot be seen: `fastlock run`, or FASTLOCK_INSTALL=1, installs it first"
    return [f"pid {seen.pid}: {count(seen.raw_locks, 'lock')} {early}"] if seen.raw_locks else []


def _table(sight: Sight) -> Table[Seen]:
    return Table(
        columns=COLUMNS,
        row=_row,
        empty=sight.nobody,
        keys={
            "pid": lambda seen: seen.pid,
            "program": lambda seen: seen.process.casefold(),
            "python": lambda seen: seen.python,
            "level": lambda seen: seen.level,
            "health": _rank,
            "agents": lambda seen: len(seen.agents),
            "waiting": lambda seen: len(seen.pressing),
            "oldest": oldest_s,
            "findings": lambda seen: len(seen.findings) + seen.findings_dropped,
        },
        words=lambda seen: (str(seen.pid), seen.process, seen.python, seen.level, health(seen).text, seen.state, seen.why),
        kinds=lambda seen: (health(seen).text, seen.state, seen.level),
        age_s=oldest_s,
    )


def _row(seen: Seen) -> Row:
    target = Target("process", seen.pid, seen.pid)
    if not seen.captured_at:
        unknown = Cell("-", "dim", None)
        cells = (Cell(str(seen.pid), "", seen.pid), unknown, unknown, unknown, health(seen), *[unknown] * 4)
        return Row(cells, target, target)
    oldest = oldest_s(seen)
    cells = (
        Cell(str(seen.pid), "", seen.pid),
        Cell(printable(seen.process), "name"),
        Cell(printable(seen.python)),
        Cell(printable(seen.level)),
        health(seen),
        Cell(f"{len(seen.agents):,}", "", len(seen.agents)),
        numbered(len(seen.pressing), "0"),
        aged(oldest),
        numbered(len(seen.findings) + seen.findings_dropped, "0"),
    )
    return Row(cells, target, target)


def oldest_s(seen: Seen) -> float | None:
    """Return the age of the oldest wait that does not last by right, None where there is none."""
    return max((age_s(seen, wait) for wait in seen.pressing), default=None)


# ---- one process ------------------------------------------------------------------------------------------------


def one(sight: Sight) -> Page:
    """Return what is known of the process that the target names, and its waits."""
    target = sight.target
    seen = next((each for each in sight.fleet.seen if target is not None and each.pid == target.pid), None)
    if seen is None:
        gone = "This process has ended, or is not looked at any more."
        return Page("Process", head(sight), (Section("", (line(gone),)),), notes(sight))
    title = f"Process {seen.pid}"
    if not seen.captured_at:
        return Page(title, head(sight), (Section("", (line(f"It cannot be seen: {printable(seen.why) or seen.state}"),)),), ())
    items = [Item(seen, wait) for wait in sorted(seen.whole_waits, key=lambda wait: (seen.rests(wait), wait.since_ns))]
    grid = table_of_waits(sight, stuck(sight)).grid(items, sight.query)
    focus = next((alarm.target for alarm in sight.alarms(seen)), None)
    return Page(title, head(sight), (Section("About it", _facts(seen, sight)), Section("Waits", grid)), notes(sight, *_unseen_locks(seen)), focus)


def _facts(seen: Seen, sight: Sight) -> tuple[Line, ...]:
    oldest = oldest_s(seen)
    facts = [
        ("program", Cell(printable(seen.process), "name")),
        ("Python", Cell(printable(seen.python))),
        ("level", Cell(_level(seen, sight))),
        ("health", health(seen)),
        ("agents", Cell(_agents(seen))),
        ("waiting", Cell(_waiting(seen, oldest))),
        ("findings", Cell(f"{len(seen.findings) + seen.findings_dropped:,}")),
        ("seen at", Cell(f"{printable(seen.captured_at)}{'' if seen.state == LIVE else ': ' + printable(seen.why)}")),
    ]
    lines = [line(Cell(f"{label:<10}", "dim"), cell) for label, cell in facts]
    return (*lines, *(line(Cell(f"{'deadlock':<10}", "dim"), Cell(alarm.told, "bad")) for alarm in sight.alarms(seen)))


def _waiting(seen: Seen, oldest: float | None) -> str:
    return "nobody waits for a lock" if oldest is None else f"{len(seen.pressing):,}, the oldest for {duration(oldest)}"


def _agents(seen: Seen) -> str:
    tasks = sum(1 for agent in seen.agents.values() if agent.kind == "task")
    return f"{count(len(seen.agents) - tasks, 'thread')}, {count(tasks, 'task')} that hold or wait for something"


def _level(seen: Seen, sight: Sight) -> str:
    asked = sight.fleet.asked(seen.pid, "level")
    left_s = None if asked.level is None else asked.level.get("left_s")
    if not isinstance(left_s, (int, float)):
        return printable(seen.level)
    return f"{printable(seen.level)}, goes back by itself in {duration(max(0.0, left_s - (seen.now_ns - asked.at_ns) / 1e9))}"
