"""``fastlock dump PID|FILE``: who waits for what in a process, held by whom, where and since when; read from outside.

It needs nothing of the process: it may be stopped, hung in C, or deadlocked. FILE is what --save, or --json, has written.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastlock.cli import complain, say
from fastlock.findings import basename
from fastlock.outside import Unseen, open_table
from fastlock.outside.find import Table, open_file
from fastlock.outside.view import View
from fastlock.reporting import duration, printable

MOST_LINES = 60  # of waits; --json has all


def main(argv: Sequence[str]) -> int:
    """Print the dump; 2 with one line of why where there is none to be had."""
    parser = argparse.ArgumentParser(prog="fastlock dump", description=__doc__.partition("\n\n")[2], allow_abbrev=False)
    parser.add_argument("source", metavar="PID|FILE", help="a process's number, or a file that this command has written")
    parser.add_argument("--json", action="store_true", help="everything, as JSON on standard output")
    parser.add_argument("--save", metavar="FILE", help="write the table itself to FILE, to be dumped later")
    arguments = parser.parse_args(argv)
    try:
        if not arguments.source.isdecimal() and _is_json(arguments.source):
            shown = from_json(arguments.source)
        else:
            with _opened(arguments.source) as table:
                if arguments.save:
                    return _save(table, arguments.save)
                shown = {**shown_of(table.view()), "stopped": table.is_stopped()}
    except Unseen as error:
        return complain(f"fastlock dump: {printable(str(error))}")
    if arguments.save:
        return complain("fastlock dump: --save takes a process or a saved table, not JSON")
    if arguments.json:
        print(json.dumps(shown["snapshot"], ensure_ascii=True))
    else:
        say(text(shown))
    return 0


def _opened(source: str) -> Table:
    return open_table(int(source[:20])) if source.isdecimal() else open_file(source)


def _save(table: Table, path: str) -> int:
    data = table.saved()
    try:
        with open(path, "wb") as file:
            file.write(data)
    except (OSError, ValueError) as error:
        return complain(f"fastlock dump: cannot write {path}: {getattr(error, 'strerror', None) or error}")
    return 0


def shown_of(view: View) -> dict[str, Any]:
    """Return what the text tells of a moment: its snapshot, circles, and who of its agents has ended."""
    agents = view.records.agents
    circles = [
        {
            "agents": [agents[index].id for index in circle.agents],
            "dead": circle.dead,
            "clears": view.clears(circle),
            "proven": view.is_proven(circle),
        }
        for circle in view.stuck[1]
    ]
    dead = [agent.id for agent in agents.values() if agent.state != 1]
    return {"snapshot": view.snapshot(), "circles": circles, "dead": dead, "unseen": view.facts()["unseen"]}


# ---- JSON that was saved ------------------------------------------------------------------------------------------


def _is_json(path: str) -> bool:
    if not os.path.isfile(path):  # reading a pipe may not end
        return False
    try:
        with open(path, "rb") as file:
            return file.read(1) == b"{"
    except (OSError, ValueError):
        return False


def from_json(path: str) -> dict[str, Any]:
    """Return what the text tells of a dump that was saved as JSON; Unseen where it is none."""
    try:
        with open(path, "rb") as file:
            snapshot = json.loads(file.read(256 << 20))
        _check(snapshot)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Unseen(f"{path}: this is no dump of fastlock") from None
    return {"snapshot": snapshot, "circles": _owner_circles(snapshot), "dead": [], "unseen": 0}


# What the text reads of each part, and of which types that has to be.
_NOBODY = type(None)
_SHAPES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "agents": {"id": (int,), "name": (str,), "kind": (str,), "loop": (str, _NOBODY)},
    "locks": {"id": (int,), "name": (str,), "kind": (str,), "owner": (int, _NOBODY), "readers": (list,), "held_at": (dict, _NOBODY)},
    "waits": {
        "agent": (int,),
        "lock": (int, _NOBODY),
        "since_s": (int, float),
        "deadline_s": (int, float, _NOBODY),
        "wanted_at": (dict, _NOBODY),
    },
    "findings": {"code": (str,), "title": (str,), "tier": (str,), "explanation": (str,), "count": (int,), "edges": (list,)},
}
_SITE: Mapping[str, tuple[type, ...]] = {"file": (str,), "line": (int,), "function": (str,)}


def _check(snapshot: Any) -> None:
    """See to it that everything that the text reads is there and of its type; TypeError and its like where it is not."""
    _expect(snapshot, {"process": (str,), "level": (str,), "captured_at": (str,), "pid": (int,), **dict.fromkeys(_SHAPES, (list,))})
    for part, shape in _SHAPES.items():
        for each in snapshot[part]:
            _expect(each, shape)
    for lock in snapshot["locks"]:
        _expect(dict(enumerate(lock["readers"])), {number: (int,) for number in range(len(lock["readers"]))})
    for wait in snapshot["waits"]:
        int(float(wait["since_s"])), int(float(wait["deadline_s"] or 0))  # NaN and infinity are no ages
    for site in [lock["held_at"] for lock in snapshot["locks"]] + [wait["wanted_at"] for wait in snapshot["waits"]]:
        if site is not None:
            _expect(site, _SITE)
    for finding in snapshot["findings"]:
        for edge in finding["edges"]:
            _expect(edge, {"agent": (int,)})


def _expect(value: Any, shape: Mapping[Any, tuple[type, ...]]) -> None:
    if not isinstance(value, dict) or not all(isinstance(value[key], types) for key, types in shape.items()):
        raise TypeError


def _owner_circles(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    """The circles over exclusive owners, which is what a saved snapshot tells; proven where a finding of it says so."""
    proven = {
        edge.get("agent")
        for finding in snapshot["findings"]
        if finding["code"] in ("FL001", "FL002", "FL012") and finding["tier"] == "proven"
        for edge in finding["edges"]
    }
    waits = {wait["agent"]: wait for wait in snapshot["waits"]}
    owner = {lock["id"]: lock["owner"] for lock in snapshot["locks"]}
    circles: list[dict[str, Any]] = []
    seen: set[Any] = set()
    for start in waits:
        path: list[Any] = []
        at = start
        while at in waits and at not in seen:
            seen.add(at)
            path.append(at)
            at = owner.get(waits[at]["lock"])
        if at in path:
            agents = path[path.index(at) :]
            clears = any(waits[agent]["deadline_s"] is not None for agent in agents)
            circles.append({"agents": agents, "dead": False, "clears": clears, "proven": proven.issuperset(agents)})
    return circles


# ---- text ---------------------------------------------------------------------------------------------------------


def text(shown: dict[str, Any]) -> str:
    """Return the dump for people: circles first, then other waits, the oldest first, then findings."""
    snapshot = shown["snapshot"]
    names = _Names(snapshot, shown["dead"])
    lines = [
        f"{printable(snapshot['process'])}, pid {snapshot['pid']}, level {printable(snapshot['level'])}, "
        f"{_count(len(snapshot['agents']), 'agent')}, {_count(len(snapshot['waits']), 'wait')}, at {printable(snapshot['captured_at'])}"
    ]
    if shown.get("stopped"):
        lines.append("The process is stopped: nothing in it runs until it gets SIGCONT.")
    told: set[Any] = set()
    waits = {wait["agent"]: wait for wait in reversed(snapshot["waits"])}
    for circle in shown["circles"]:
        lines += ["", *_circle(circle, waits, names)]
        told.update(circle["agents"])
    others = sorted((wait for wait in snapshot["waits"] if wait["agent"] not in told), key=lambda wait: -wait["since_s"])
    if others:
        lines += ["", "Other waits" if told else "Waits", *_waits(others, names)]
    if not snapshot["waits"]:
        lines += ["", "Nobody waits for a lock."]
    elif not shown["circles"]:
        lines += ["", "No circle over locks. Whether an event, a condition or a result still comes is not known."]
    if snapshot["findings"]:
        lines += ["", "Findings", *map(_finding, snapshot["findings"])]
    if shown["unseen"]:
        lines += ["", f"The table is full: {shown['unseen']:,} records of agents and locks cannot be seen from outside."]
    return "\n".join(lines)


class _Names:
    """What the text calls agents and locks."""

    def __init__(self, snapshot: dict[str, Any], dead: Sequence[Any]) -> None:
        self.agents = {agent["id"]: agent for agent in snapshot["agents"]}
        self.locks = {lock["id"]: lock for lock in snapshot["locks"]}
        self._dead = set(dead)

    def agent(self, agent_id: Any) -> str:
        agent = self.agents.get(agent_id)
        if agent is None:
            return "an unknown agent"
        name = printable(agent["name"]) or f"a {agent['kind']}"
        ended = " (ended)" if agent_id in self._dead else ""
        return f"{name}{ended}" if agent["loop"] is None else f"{name} (loop of {printable(str(agent['loop']))}){ended}"

    def lock(self, lock_id: Any) -> str:
        lock = self.locks.get(lock_id)
        return "something" if lock is None else f"{printable(lock['name'])} ({printable(lock['kind'])})"

    def held(self, lock_id: Any) -> str:
        """By whom a lock is held, and where it was taken; "" where nobody is known."""
        lock = self.locks.get(lock_id)
        if lock is None:
            return ""
        if lock["owner"] is not None:
            at = _place(lock["held_at"])
            return f"held by {self.agent(lock['owner'])}{', taken at ' + at if at else ''}"
        readers = [self.agent(reader) for reader in lock["readers"][:4]]
        more = len(lock["readers"]) - len(readers)
        return f"held by {', '.join(readers)}{f' and {more} more' if more else ''}" if readers else ""


def _circle(circle: dict[str, Any], waits: dict[Any, dict[str, Any]], names: _Names) -> list[str]:
    agents = [agent for agent in circle["agents"] if agent in waits]
    if circle["dead"]:
        head = "ABANDONED: who holds the lock has ended"
    else:
        what = "CIRCLE that a timeout will end" if circle["clears"] else "DEADLOCK" if circle["proven"] else "POSSIBLE DEADLOCK"
        doubt = "" if circle["proven"] else ", if those who hold the locks are those who release them"
        head = f"{what}: {_count(len(agents), 'agent')} in a circle{doubt}"
    return [head, *(line for agent in agents[:MOST_LINES] for line in _wait(waits[agent], names))]


def _waits(waits: Sequence[dict[str, Any]], names: _Names) -> list[str]:
    lines = [line for wait in waits[:MOST_LINES] for line in _wait(wait, names)]
    more = len(waits) - MOST_LINES
    return [*lines, f"  and {more:,} more, see --json"] if more > 0 else lines


def _wait(wait: dict[str, Any], names: _Names) -> list[str]:
    at = _place(wait["wanted_at"])
    left = "" if wait["deadline_s"] is None else f", gives up in {duration(wait['deadline_s'])}"
    lines = [
        f"  {names.agent(wait['agent'])} waits for {names.lock(wait['lock'])}{' at ' + at if at else ''}, "
        f"for {duration(wait['since_s'])}{left}"
    ]
    held = names.held(wait["lock"])
    return [*lines, f"      {held}"] if held else lines


def _place(site: Any) -> str:
    """file:line function of a site, "" where it is not known."""
    if site is None:
        return ""
    return printable(f"{basename(site['file'])}:{site['line']} {site['function']}")


def _finding(finding: dict[str, Any]) -> str:
    often = "" if finding["count"] == 1 else f", {finding['count']:,} times"
    often += f", report {finding['fingerprint'][:6]}" if isinstance(finding.get("fingerprint"), str) else ""
    summary = f"{finding['code']} {finding['title']} ({finding['tier']}{often}): {finding['explanation']}"
    return f"  {printable(summary)}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
