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
from fastlock.findings import Site, basename
from fastlock.outside import Unseen, open_table, told
from fastlock.outside.facts import is_part
from fastlock.outside.find import Table, open_file
from fastlock.outside.view import View, site_of
from fastlock.reporting import distinct, duration, printable, trees, wrapped
from fastlock.roots import Moment, Root

MOST_LINES = 60  # of waits; --json has all
MOST_ROOTS = 20
COLUMNS = 112
MOST_HELD = 4  # locks of a root's that others want


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
    """Return what the text tells of a moment: its snapshot, who waits for whom in it, and its circles."""
    circles = [{"agents": circle, "clears": view.clears(circle), "proven": view.is_proven(circle)} for circle in view.circles]
    return {"snapshot": view.snapshot(), "moment": view.moment, "circles": circles, "stands": view.stands, "unseen": view.facts()["unseen"]}


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
    moment = Moment(snapshot["agents"], snapshot["locks"], snapshot["waits"], site=site_of)
    stands = _stands_in(snapshot)
    return {"snapshot": snapshot, "moment": moment, "circles": _circles_in(snapshot, moment, stands), "stands": stands, "unseen": 0}


# What the text reads of each part, and of which types that has to be.
_NOBODY = type(None)
_SHAPES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "agents": {
        "id": (int,),
        "name": (str,),
        "kind": (str,),
        "loop": (str, _NOBODY),
        "native_id": (int, _NOBODY),
        "waits": (int, _NOBODY),
    },
    "locks": {
        "id": (int,),
        "name": (str,),
        "kind": (str,),
        "owner": (int, _NOBODY),
        "readers": (list,),
        "waiters": (list,),
        "held_at": (dict, _NOBODY),
    },
    "waits": {
        "agent": (int,),
        "lock": (int, _NOBODY),
        "mode": (str,),
        "what": (str,),
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
        for agents in (lock["readers"], lock["waiters"]):
            _expect(dict(enumerate(agents)), {number: (int,) for number in range(len(agents))})
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


def _circles_in(snapshot: dict[str, Any], moment: Moment, stands: Sequence[told.Told]) -> list[dict[str, Any]]:
    """The circles of a saved snapshot; proven where a finding of it says so."""
    circles = []
    for circle in moment.forest.circles:
        clears = moment.clears(circle)
        about = told.about(stands, _pairs(circle, moment), clears)
        circles.append({"agents": circle, "clears": clears, "proven": about is not None and about.is_proven})
    return circles


def _stands_in(snapshot: Mapping[str, Any]) -> list[told.Told]:
    """The findings of a snapshot whose agents still wait in the same waits."""
    threads = {agent["native_id"]: agent["id"] for agent in snapshot["agents"] if agent["kind"] == "thread" and agent["native_id"] is not None}
    return told.standing(snapshot["findings"], ((wait["agent"], wait["lock"]) for wait in snapshot["waits"]), threads)


def _pairs(circle: Sequence[int], moment: Moment) -> set[tuple[int, int]]:
    return {(agent, wait["lock"]) for agent in circle if (wait := moment.waits.get(agent)) is not None}


# ---- text ---------------------------------------------------------------------------------------------------------


def text(shown: dict[str, Any]) -> str:
    """Return the dump for people: circles first, then who else is waited for in the end, other waits, the oldest first, and findings."""
    snapshot, moment = shown["snapshot"], shown["moment"]
    names, waits = _Names(moment), _whole_waits(snapshot, moment)
    lines = [
        f"{printable(snapshot['process'])}, pid {snapshot['pid']}, level {printable(snapshot['level'])}, "
        f"{_count(len(snapshot['agents']), 'agent')}, {_count(len(waits), 'wait')}, at {printable(snapshot['captured_at'])}"
    ]
    if shown.get("stopped"):
        lines.append("The process is stopped: nothing in it runs until it gets SIGCONT.")
    circles = {frozenset(circle["agents"]): circle for circle in shown["circles"]}
    by_circle = [told.about(shown["stands"], _pairs(circle["agents"], moment), circle["clears"]) for circle in shown["circles"]]
    others_stand = [each for each in shown["stands"] if each.is_proven and each not in by_circle]
    lines += [line for each in others_stand for line in ("", *_standing(each))]
    roots = moment.roots(cut=True)
    for root in roots[:MOST_ROOTS]:
        members = [link.agent for link in root.agents] if root.kind != "circle" else moment.forest.circle_of(root.agents[0].agent)
        if root.kind == "circle":
            circle = circles[frozenset(members)]
            lines += ["", *_circle(circle, told.about(shown["stands"], _pairs(members, moment), circle["clears"]), root, names)]
        else:
            lines += ["", *_root(root, names)]
    if len(roots) > MOST_ROOTS:
        lines += ["", f"And {len(roots) - MOST_ROOTS:,} more who are waited for, see --json"]
    behind = {*moment.forest.parent, *(each for root in moment.forest.roots() for each in root)}
    others = sorted((wait for wait in waits if wait["agent"] not in behind), key=lambda wait: -wait["since_s"])
    if others:
        lines += ["", "Other waits" if roots else "Waits", *_waits(others, names)]
    if not snapshot["waits"]:
        lines += ["", "Nobody waits for a lock."]
    elif not shown["circles"] and not others_stand:
        lines += ["", "No circle over locks. Whether an event, a condition or a result still comes is not known."]
    if snapshot["findings"]:
        lines += ["", "Findings", *(line for finding in snapshot["findings"] for line in _finding(finding))]
    if shown["unseen"]:
        lines += ["", f"The table is full: {shown['unseen']:,} records of agents and locks cannot be seen from outside."]
    return "\n".join(printable(line) for line in lines)


def _whole_waits(snapshot: Mapping[str, Any], moment: Moment) -> list[dict[str, Any]]:
    """Return the waits as people mean them: one for a result is one."""
    waits = []
    for wait in snapshot["waits"]:
        whole = moment.waits.get(wait["agent"])
        lock = None if whole is None else moment.locks.get(whole["lock"])
        if lock is None or not is_part(wait["what"], wait["lock"], lock["id"], lock["kind"]):
            waits.append(wait)
    return waits


class _Names:
    """What the text calls agents, locks and sites; equal names are numbered."""

    def __init__(self, moment: Moment) -> None:
        self.locks = moment.locks
        self._moment = moment
        self._agents = distinct({number: self._agent(agent) for number, agent in moment.agents.items()})
        self._locks = distinct({number: f"{lock['name']} ({lock['kind']})" for number, lock in moment.locks.items()})

    def _agent(self, agent: Mapping[str, Any]) -> str:
        name = agent["name"] or f"a {agent['kind']}"
        return name if agent["loop"] is None else f"{name} (loop of {agent['loop']})"

    def agent(self, agent_id: Any) -> str:
        return self._agents.get(agent_id, "an unknown agent")

    def lock(self, lock_id: Any, otherwise: str = "something") -> str:
        return self._locks.get(lock_id, otherwise)

    def site(self, site: Site | None) -> str:
        """file:line function of a site, "" where it is not known."""
        return "" if site is None else f"{basename(site.file)}:{site.line} {site.function}"

    def taken(self, lock: Mapping[str, Any]) -> str:
        """Where the owner took a lock, with a comma before it."""
        at = self.site(self._moment.site(lock["held_at"]))
        return f", taken at {at}" if at else ""

    def held(self, lock_id: Any) -> str:
        """By whom a lock is held, and where it was taken; "" where nobody is known."""
        lock = self.locks.get(lock_id)
        if lock is None:
            return ""
        if lock["owner"] is not None:
            return f"held by {self.agent(lock['owner'])}{self.taken(lock)}"
        readers = [self.agent(reader) for reader in lock["readers"][:4]]
        more = len(lock["readers"]) - len(readers)
        return f"held by {', '.join(readers)}{f' and {more} more' if more else ''}" if readers else ""

    def held_by(self, agent_id: Any) -> list[str]:
        """What of others' wants an agent holds, and where it took that."""
        locks = [lock for child in self._moment.forest.children.get(agent_id, ()) if (lock := self._wanted(child)) is not None]
        held = {lock["id"]: lock for lock in locks if agent_id == lock["owner"] or agent_id in lock["readers"]}
        return [f"holds {self.lock(number)}{self.taken(lock) if lock['owner'] == agent_id else ''}" for number, lock in held.items()]

    def _wanted(self, agent_id: Any) -> Mapping[str, Any] | None:
        wait = self._moment.waits.get(agent_id)
        return None if wait is None else self.locks.get(wait["lock"])


def _circle(circle: dict[str, Any], about: told.Told | None, root: Root, names: _Names) -> list[str]:
    what = "CIRCLE that a timeout will end" if circle["clears"] else "DEADLOCK" if circle["proven"] else "POSSIBLE DEADLOCK"
    doubt = "" if circle["proven"] else ", if those who hold the locks are those who release them"
    if about is None or about.is_just(circle["agents"]):
        lines = [f"{what}: {_count(root.number, 'agent')} in a circle{doubt}"]
    else:  # the table's owners show a part of it, or a thread in the place of its tasks
        lines = _standing(about, what)
    for link in root.agents:
        lines.append(f"  {trees.told(link, names)}")
        held = names.held(link.lock)
        lines += [f"      {held}"] if held else []
    more = root.number - len(root.agents)
    lines += [f"  and {more:,} more, see --json"] if more else []
    return lines + ([f"  Behind it: {trees.number_behind(root)}", *_rows(root, names)] if root.total else [])


def _root(root: Root, names: _Names) -> list[str]:
    head = "ABANDONED" if root.kind in ("ended", "lost-in-fork") else "ROOT"
    lines = [f"{head}: {trees.who_of(root, names)}; {trees.behind_of(root)}"]
    held = names.held_by(root.agents[0].agent)
    lines += [f"  {each}" for each in held[:MOST_HELD]]
    lines += [f"  and {len(held) - MOST_HELD:,} more"] if len(held) > MOST_HELD else []
    return [*lines, *_rows(root, names)]


def _rows(root: Root, names: _Names) -> list[str]:
    return [f"  {line}" for line in trees.rows_of(root, names)]


def _waits(waits: Sequence[dict[str, Any]], names: _Names) -> list[str]:
    lines = [line for wait in waits[:MOST_LINES] for line in _wait(wait, names)]
    more = len(waits) - MOST_LINES
    return [*lines, f"  and {more:,} more, see --json"] if more > 0 else lines


def _wait(wait: dict[str, Any], names: _Names) -> list[str]:
    at = names.site(site_of(wait["wanted_at"]))
    left = "" if wait["deadline_s"] is None else f", gives up in {duration(wait['deadline_s'])}"
    lines = [
        f"  {names.agent(wait['agent'])} waits for {names.lock(wait['lock'])}{' at ' + at if at else ''}, "
        f"for {duration(wait['since_s'])}{left}"
    ]
    held = names.held(wait["lock"])
    return [*lines, f"      {held}"] if held else lines


def _finding(finding: dict[str, Any]) -> list[str]:
    often = "" if finding["count"] == 1 else f", {finding['count']:,} times"
    often += f", report {finding['fingerprint'][:6]}" if isinstance(finding.get("fingerprint"), str) else ""
    told = f"{finding['code']} {finding['title']} ({finding['tier']}{often}): {finding['explanation']}"
    lines = wrapped(told, COLUMNS, "  ", " " * 6)
    lines += wrapped(f"Fix: {finding['fix']}", COLUMNS, " " * 6, " " * 11) if finding.get("fix") else []
    return [*lines, f"      Explain: fastlock explain {finding['code']}"]


def _standing(about: told.Told, what: str = "") -> list[str]:
    """What the process's own finding says of a deadlock or stall that is still there."""
    finding = about.finding
    fix = wrapped(f"Fix: {finding['fix']}", COLUMNS, "  ", " " * 7) if finding.get("fix") else []
    head = f"{what or ('STALL' if finding['code'] == 'FL031' else 'DEADLOCK')}: {finding['code']} {finding['title']}, {_count(len(about.agents), 'agent')}"
    return [head, *wrapped(finding["explanation"], COLUMNS, "  ", "  "), *fix, f"  Explain: fastlock explain {finding['code']}"]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
