"""``fastlock ps``: the live processes of this user that use fastlock (root sees everybody's), a line each."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

from fastlock.cli import complain, say
from fastlock.outside import Unseen, open_table, processes
from fastlock.reporting import duration, pad, printable, width

COLUMNS = ("PID", "PROGRAM", "PYTHON", "LEVEL", "AGENTS", "WAITING", "OLDEST", "HEALTH")


def main(argv: Sequence[str]) -> int:
    """Print the processes; one that cannot be seen has the reason in its line. 2 with one line where none can."""
    parser = argparse.ArgumentParser(prog="fastlock ps", description=__doc__.replace("`", ""), allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="a list of facts on standard output")
    arguments = parser.parse_args(argv)
    try:
        seen = [facts for pid in processes() if pid != os.getpid() and (facts := _facts(pid)) is not None]
    except Unseen as error:
        return complain(f"fastlock ps: {error}")
    if arguments.json:
        print(json.dumps(seen))
    elif seen:
        say("\n".join(_table([COLUMNS, *map(_row, seen)])))
    else:
        say("No live process of this user uses fastlock.")
    return 0


def _facts(pid: int) -> dict[str, Any] | None:
    """The facts of a process, the reason where it cannot be seen, None where it has ended meanwhile."""
    try:
        with open_table(pid) as table:
            return table.facts()
    except Unseen as error:
        return {"pid": pid, "unseen_because": str(error)} if os.path.exists(f"/proc/{pid}") else None


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    if "unseen_because" in facts:
        reason = facts["unseen_because"].removeprefix(f"process {facts['pid']}: ")
        return (str(facts["pid"]), *["-"] * 6, printable(f"unseen: {reason}"))
    oldest = "-" if facts["oldest_wait_s"] is None else duration(facts["oldest_wait_s"])
    named = (facts["process"], facts["python"], facts["level"])
    return (str(facts["pid"]), *map(printable, named), str(facts["agents"]), str(facts["waiting"]), oldest, facts["health"])


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of one width each."""
    widths = [max(map(width, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    return ["  ".join([*(pad(cell, columns) for cell, columns in zip(row, widths, strict=False)), row[-1]]) for row in rows]
