"""Looking at the process: snapshot() and find_deadlocks(), and the names by which others outside know it."""

from __future__ import annotations

import os
import sys
import time

from fastlock import _core, _shown, assemble, config, patching, rooted, stalls, standing, suspended, watchdog
from fastlock.findings import Finding, Snapshot


def snapshot() -> Snapshot:
    """Return every agent that holds or waits, every lock held or waited for, and the findings so far.

    One moment's truth under the GIL; any thread; takes no lock of the application; about a nanosecond for each lock
    that exists and some microseconds for each in it.
    """
    return assemble.snapshot_from_table(
        _core.table(),
        site=_core.site,
        level=config.level(),
        raw_locks=patching.raw_locks(),
        findings=watchdog.findings(),
    )


def find_deadlocks() -> list[Finding]:
    """Return the circles, self-deadlocks, abandoned locks and stalls there are now, whatever the level; any thread."""
    events = [*_core.find_circles(), *stalls.find(time.monotonic_ns(), asked=True)]
    if not events:
        return []
    rooting = rooted.Rooting(_core.table())
    found = []
    for event in events:
        suspended.note_tasks(event)
        finding = assemble.finding_from_event(event, site=_core.site, stacks=standing.stacks_of(event))
        found.append(rooting.rooted(finding, event))
    return found


def show_process() -> None:
    """Write into the table what this process is called: whoever looks at it from outside can ask nobody."""
    _shown.set_program(assemble.process_name(), os.path.basename(sys.executable or "python"), patching.raw_locks())


def start() -> None:
    """Keep the table's names true: now, and before a wait, for at the start a program has no name yet; once, at import."""
    show_process()
    _shown.set_refresher(show_process)
