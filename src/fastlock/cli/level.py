"""``fastlock level PID [LEVEL] [--for 10m]``: the switch for an incident; goes back by itself when the time is over."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from fastlock import values
from fastlock.calling import call
from fastlock.cli import complain, say
from fastlock.levels import WORDING
from fastlock.processes import Unreachable
from fastlock.reporting import duration, printable


def main(argv: Sequence[str]) -> int:
    """Show the level of a process, or set it; exit status 0, or 2 with one line that says why not."""
    arguments = _parser().parse_args(argv)
    try:
        request = _request(arguments)
        answer = call(arguments.pid, {"do": "level", **request})
    except (ValueError, Unreachable) as exc:
        return complain(printable(f"fastlock level: {exc}"))
    say(printable(f"pid {arguments.pid}: {_told(answer, request)}"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastlock level",
        description="Show the level of a running process, or set it. What is set here comes before feature flags, code and environment.",
        allow_abbrev=False,
    )
    parser.add_argument("pid", metavar="PID", type=process_id, help="the process")
    parser.add_argument("level", metavar="LEVEL", nargs="?", help="off, detect or order; without it the level is shown")
    parser.add_argument("--for", dest="limit", metavar="TIME", help="go back after 90s, 10m, 2h; without it the level stays")
    parser.add_argument("--reset", action="store_true", help="take back what was set here")
    return parser


def process_id(text: str) -> int:
    """Return a process id; an error of argparse's for anything else."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is no process id")
    return int(text)


def seconds(text: str, option: str = "--for") -> float:
    """Return the seconds in 90, 90s, 10m, 2h or 1d; ValueError in one line, which names the option, for anything else."""
    try:
        return values.seconds(text)
    except ValueError as exc:
        raise ValueError(f"{option}={text!r}: {exc}") from None


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.reset:
        if arguments.level is not None or arguments.limit is not None:
            raise ValueError("--reset goes with neither a level nor --for")
        return {"reset": True}
    if arguments.level is None:
        if arguments.limit is not None:
            raise ValueError("--for needs a level")
        return {}
    limit = {} if arguments.limit is None else {"for_s": seconds(arguments.limit)}
    return {"level": arguments.level, **limit}


def _told(answer: dict[str, Any], request: dict[str, Any]) -> str:
    now = answer["now"]
    if not request:
        return described(now)
    before = f"before: {described(answer['before'])}"
    if "level" not in request:
        return f"{described(now)} again; {before}"
    until = "until it is set again" if now["left_s"] is None else f"for {duration(now['left_s'])}, until {_clock(now['left_s'])}"
    return f"level {now['level']} {until}; {before}"


def described(decision: dict[str, Any]) -> str:
    """Say a level, who decided it and for how long it still does."""
    left_s = decision["left_s"]
    left = "" if left_s is None else f", {duration(left_s)} left, until {_clock(left_s)}"
    return f"level {decision['level']} ({WORDING.get(decision['source'], decision['source'])}{left})"


def _clock(left_s: float) -> str:
    return time.strftime("%H:%M:%SZ" if left_s < 12 * 3600 else "%Y-%m-%d %H:%M:%SZ", time.gmtime(time.time() + left_s))
