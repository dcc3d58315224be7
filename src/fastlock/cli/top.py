"""``fastlock top [PID…]``: watches processes, who waits for what and who has it; with --once it prints that and ends."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence

from fastlock import config, uninstall
from fastlock.cli import complain, say
from fastlock.cli.level import process_id, seconds
from fastlock.console import lints, once
from fastlock.console.fleet import Fleet
from fastlock.console.history import History
from fastlock.console.leaving import NoTerminal, is_terminal
from fastlock.console.pages import VIEWS, columns_of
from fastlock.console.tables import Query
from fastlock.reporting import printable

DEFAULT = ("processes", "circles", "waits", "locks", "roots", "findings", "lints")  # views of --once, where none are named
_PERIOD_S = 0.5
_SLACK_S = 0.6  # besides what lints need: one reading more
_LIMIT_S = 3.0
NEEDS = "fastlock top needs textual: pip install 'fastlock[console]'; `fastlock top --once` prints the same without"


def main(argv: Sequence[str]) -> int:
    """Show the processes until the user ends it, or print them once: 0; 2 with one line of why where that cannot be."""
    uninstall()  # with FASTLOCK_INSTALL in the environment: what watches is not watched, nor slowed down
    arguments = _parser().parse_args(argv)
    try:
        query = _query(arguments)
    except ValueError as exc:
        return complain(printable(f"fastlock top: {exc}"))
    with Fleet(arguments.pids) as fleet:
        if arguments.once or arguments.json:
            return _print(fleet, arguments, query)
        return _watch(fleet, arguments, query)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastlock top",
        description="Watch processes that use fastlock, twice a second: who waits for what, who has it and where, what stands still. "
        "Nothing is asked of a process to see that: it may be stopped or hung.",
        epilog="views:\n" + "\n".join(f"  {view.name:10}  {view.about}" for view in VIEWS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pids", metavar="PID", nargs="*", type=process_id, help="processes, with their children; without one, all of this user's (root: everybody's)")
    parser.add_argument("--once", action="store_true", help="print the views as text and end; lints, where they are named, are watched for some seconds before")
    parser.add_argument("--json", action="store_true", help="the same as JSON, on one line; docs/console.md has its form")
    parser.add_argument("--view", metavar="NAME", action="append", choices=tuple(VIEWS), help="the view to begin with, or each one to print; see below")
    parser.add_argument("--filter", metavar="TEXT", default="", help="only rows that have all of these words, in any case of letters")
    parser.add_argument("--kind", metavar="KIND", default="", help="only this kind: RLock, task, locks (no events), FL001 …")
    parser.add_argument("--older", metavar="TIME", help="only what has lasted so long: 90s, 10m, 2h")
    parser.add_argument("--sort", metavar="COLUMN", default="", help="by this column: age, owner, behind …; numbers from the largest on")
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    return parser


def _query(arguments: argparse.Namespace) -> Query:
    """Return what is asked for; ValueError in one line where that makes no sense."""
    older_s = 0.0 if arguments.older is None else seconds(arguments.older, "--older")
    if arguments.sort:
        views = arguments.view or DEFAULT if arguments.once or arguments.json else arguments.view or ("waits",)
        known = dict.fromkeys(key for view in views for key in columns_of(view))
        if arguments.sort not in known:
            raise ValueError(f"--sort={arguments.sort!r}: there is no such column, only {', '.join(known)}")
    return Query(arguments.filter, arguments.kind, older_s, arguments.sort, arguments.reverse)


# ---- on a screen ------------------------------------------------------------------------------------------------


def _watch(fleet: Fleet, arguments: argparse.Namespace, query: Query) -> int:
    if not is_terminal():
        return complain("fastlock top: there is no terminal to draw on; `fastlock top --once` prints the same as text")
    try:
        from fastlock.console import app
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in ("textual", "rich"):
            raise
        return complain(NEEDS)
    try:
        return app.run(fleet, view=(arguments.view or ["waits"])[0], query=query)
    except NoTerminal as exc:
        return complain(f"fastlock top: {exc}")


# ---- once -------------------------------------------------------------------------------------------------------


def _print(fleet: Fleet, arguments: argparse.Namespace, query: Query) -> int:
    views = list(dict.fromkeys(arguments.view or DEFAULT))
    history = History()
    _read(fleet, history)
    if arguments.pids and not any(seen.captured_at for seen in fleet.seen):
        return complain(printable(f"fastlock top: {'; '.join(f'process {seen.pid}: {seen.why}' for seen in fleet.seen)}"))
    _ask(fleet, views, query, history)
    if "lints" in (arguments.view or ()):
        _follow(fleet, history)
    _read(fleet, history)
    _ask(fleet, views, query, history)  # of processes that have come meanwhile
    made = once.pages_of(fleet, views, query, history)
    if arguments.json:
        print(json.dumps(once.document(made, time.time())))
    else:
        say(once.render_all([page for _, page in made], _columns(), _in_colour()))
    return 0


def _ask(fleet: Fleet, views: Sequence[str], query: Query, history: History) -> None:
    """Have what the pages want to know asked of the processes, and wait for the answers."""
    once.pages_of(fleet, views, query, history)
    fleet.settle(_LIMIT_S)


def _read(fleet: Fleet, history: History) -> None:
    fleet.refresh()
    history.note(fleet.seen)


def _follow(fleet: Fleet, history: History) -> None:
    """Read the processes for as long as a lint needs."""
    end = time.monotonic() + lints.CONTENDED_S + _SLACK_S
    while time.monotonic() < end:
        time.sleep(_PERIOD_S)
        _read(fleet, history)


def _columns() -> int:
    """Return how wide tables may be: what COLUMNS says, else the terminal; 120 where there is none."""
    return shutil.get_terminal_size((once.COLUMNS, 0)).columns


def _in_colour() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and config.wants_colour()
