"""``fastlock doctor [PID]``: what this installation has and lacks; or who decides the level of a process, and why it cannot be seen or asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import fastlock
from fastlock import config, patching, sockets
from fastlock._sites import sites_are_fast, words_are_swapped
from fastlock.calling import call
from fastlock.cli import complain, say
from fastlock.cli.level import described, process_id
from fastlock.cli.run import PTH, start_file
from fastlock.levels import WORDING
from fastlock.outside import Unseen, open_table
from fastlock.processes import Unreachable, process, user
from fastlock.reporting import fact, printable

_INNER_EXTRAS = ("test", "bench", "dev")  # for who works on fastlock itself
_LIMIT_S = 3.0
Facts = dict[str, Any]


def main(argv: Sequence[str]) -> int:
    """Print what is known; exit status 2 with one line where a process is not there or not ours to look at."""
    parser = argparse.ArgumentParser(prog="fastlock doctor", description=__doc__.partition(": ")[2], allow_abbrev=False)
    parser.add_argument("pid", metavar="PID", nargs="?", type=process_id, help="a process; without it, this installation")
    parser.add_argument("--json", action="store_true", help="the facts as JSON on standard output")
    arguments = parser.parse_args(argv)
    try:
        facts = installation() if arguments.pid is None else examined(arguments.pid)
    except Unreachable as exc:
        return complain(printable(f"fastlock doctor: {exc}"))
    if arguments.json:
        print(json.dumps(facts))
    else:
        lines = _about_installation(facts) if arguments.pid is None else _about_process(facts)
        say("\n".join(map(printable, lines)))
    return 0


# ---- this installation --------------------------------------------------------------------------------------


def installation() -> Facts:
    """Return what this installation has and lacks."""
    return {
        "version": fastlock.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "package": os.path.dirname(os.path.abspath(fastlock.__file__)),
        "sites": "direct" if sites_are_fast() else "public interface",
        "words": "compare-and-swap" if words_are_swapped else "plain store",
        "start_file": None if sys.flags.no_site else start_file(),
        "environment": {name: {"value": text, "means": config.meaning(name, text)} for name, text in config.variables().items()},
        "extras": _extras(),
        "disabled": config.disabled(),
        "level": config.level(),
        "refuses": {name: _version(name) for name in patching.green_packages()},
        "sockets": _place_of_sockets(),
        "table": _table_of_this_process(),
    }


def _extras() -> dict[str, dict[str, str | None]]:
    """Return the packages of each optional extra with the version that is installed, None where it is not."""
    extras: dict[str, dict[str, str | None]] = {}
    try:
        lines = requires("fastlock") or []
    except PackageNotFoundError:
        return {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip(" '\"")
        if extra and extra not in _INNER_EXTRAS:
            name = requirement.split("[")[0].split("(")[0].strip()
            name = next((name[:at] for at, letter in enumerate(name) if letter in "<>=!~ "), name)
            extras.setdefault(extra, {})[name] = _version(name)
    return extras


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _place_of_sockets() -> str:
    if not sockets.credentials_are_known():
        return "none: this system does not say who connects, so `fastlock level` reaches no process"
    return sockets.place() or "abstract names, for no directory can be written"


def _table_of_this_process() -> str | None:
    """Say why this process's own table cannot be read, None where it can."""
    try:
        open_table(os.getpid()).close()
    except Unseen as exc:
        return str(exc)
    return None


def _about_installation(facts: Facts) -> list[str]:
    refusing = [f"{name} {found}" for name, found in facts["refuses"].items() if found]
    told = [
        ("Package", facts["package"]),
        ("Sites", "read from the interpreter's frame" if facts["sites"] == "direct" else _SLOW_SITES),
        ("Lock words", f"taken by {facts['words']}"),
        ("Start", facts["start_file"] or f"{PTH} is in no site directory: FASTLOCK_INSTALL and `fastlock run` have no effect"),
        *_numbered("Environment", [f"{name}={each['value']}: {each['means']}" for name, each in facts["environment"].items()]),
        *_numbered("Extras", [_extra(name, found) for name, found in facts["extras"].items()]),
        ("Level", "off: disabled by FASTLOCK_DISABLE" if facts["disabled"] else facts["level"]),
        ("install()", "reaches threading, and asyncio as soon as it is imported"),
        ("", f"refuses in a process where {' or '.join(refusing)} has patched threading" if refusing else ""),
        ("Sockets", facts["sockets"]),
        ("Table", facts["table"] or "can be read from outside"),
    ]
    head = f"fastlock {facts['version']}, {facts['implementation']} {facts['python']}, {facts['platform']}"
    return [head, *(line for label, text in told if text for line in fact(label, text))]


_SLOW_SITES = "read by the public interface: this interpreter's frames are laid out in another way than fastlock knows; 20 ns slower"


def _extra(name: str, packages: Mapping[str, str | None]) -> str:
    found = ", ".join(f"{package} {version or 'is not installed'}" for package, version in packages.items())
    return f"{name}: {found}"


def _numbered(label: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """One fact with several lines, the label beside the first."""
    return [(label if at == 0 else "", text) for at, text in enumerate(texts)]


# ---- a process ----------------------------------------------------------------------------------------------


def examined(pid: int) -> Facts:
    """Return what can be seen of a process and what it answers; Unreachable where neither is possible."""
    found = process(pid)
    facts: Facts = {**found._asdict(), "user": user(found.uid), "table": None, "unseen": None, "status": None, "unasked": None}
    try:
        with open_table(pid) as table:
            facts["table"] = table.facts()
    except Unseen as exc:
        facts["unseen"] = str(exc)
    try:
        facts["status"] = call(pid, {"do": "status"}, _LIMIT_S)
    except Unreachable as exc:
        facts["unasked"] = str(exc)
    if facts["table"] is None and facts["status"] is None:
        raise Unreachable(facts["unseen"])
    return facts


def _about_process(facts: Facts) -> list[str]:
    table, status = facts["table"], facts["status"]
    name = table["process"] if table else "fastlock"
    told = [
        ("Process", f"{facts['user']}, {_STATES.get(facts['state'], 'running')}, {_count(facts['threads'], 'thread')}"),
        ("Seen", facts["unseen"] or "its table can be read: fastlock dump"),
        ("Asked", facts["unasked"] or "it answers: fastlock level"),
        *(_told_by_status(status) if status else [("Level", f"{table['level']}; who decided it only the process itself can say")]),
    ]
    if table:
        oldest = "" if table["oldest_wait_s"] is None else f", the oldest for {table['oldest_wait_s']:.1f} s"
        told.append(("Waits", f"{table['waiting']} of {_count(table['agents'], 'agent')}{oldest}; health: {table['health']}"))
    return [f"{name}, pid {facts['pid']}", *(line for label, text in told if text for line in fact(label, text))]


_STATES = {"T": "stopped", "t": "stopped by a debugger", "D": "in a system call that cannot be interrupted", "S": "asleep"}


def _told_by_status(status: Facts) -> list[tuple[str, str]]:
    decided = status["now"]["source"]
    others = [
        f"{WORDING.get(source, source)} says {word['level']}" for source, word in status["said"].items() if source != decided
    ]
    installed = [name for name, there in status["installed"].items() if there]
    told = [
        ("Level", "off: disabled by FASTLOCK_DISABLE" if status["disabled"] else described(status["now"]).removeprefix("level ")),
        ("", f"which outranks: {', '.join(others)}" if others else ""),
        ("Version", f"fastlock {status['version']}, Python {status['python']}"),
        ("Installed", f"in {' and '.join(installed)}" if installed else "no: install() has not been called, or has been taken back"),
        ("Raw locks", f"{status['raw_locks']} existed before and cannot be seen" if installed else ""),
    ]
    return told + _numbered("Findings", status["findings"])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
