"""What is asked of a process over its socket, and what it answers: one line of JSON for one line of JSON.

    {"fastlock": 1, "do": "level"}                                        the level and who decided it
    {"fastlock": 1, "do": "level", "level": "order", "for_s": 600}        the switch: another level; without for_s it stays
    {"fastlock": 1, "do": "level", "reset": true}                         takes the switch back
    {"fastlock": 1, "do": "status"}                                       what `fastlock doctor` shows
    {"fastlock": 1, "do": "deadlocks"}                                    the circles there are now, as findings
    {"fastlock": 1, "do": "classes"}                                      the lock classes: how many locks live, how they were waited for
    {"fastlock": 1, "do": "order"}                                        the order graph: circles first, then the most frequent orders
    {"fastlock": 1, "do": "agent", "agent": 23}                           where an agent is: its stack or chain of awaits, what its loop does
    {"fastlock": 1, "do": "agent", "agents": [23, 47]}                    the same of at most 16

A request may have "by_ns", the time of CLOCK_MONOTONIC after which nobody waits for the answer: what a stopped process hears later than that
is not done. An answer has "ok": true and its facts, or "ok": false and an "error" for people. The number is the protocol's version; a request with
another one is refused, so an older process tells a newer client, and the other way round. Every byte of a request is hostile here.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

from fastlock import _core, asked, config, look, patching, watchdog, whereabouts
from fastlock.asked import Interrupted, Refused, require_only, shown
from fastlock.errors import ConfigError
from fastlock.levels import SOURCES, SWITCH, Decision

PROTOCOL = 1
MOST_S = 366 * 24 * 3600.0  # that a level may be asked for; for longer there is the one that stays


def answer(line: bytes) -> bytes:
    """Return the answer to a request of somebody who may ask; nothing where it is to be asked again, by a process that forks."""
    try:
        request = _request(line)
        return _encoded({"ok": True, **_VERBS[request["do"]](request)})
    except Refused as exc:
        return refusal(str(exc))
    except Interrupted:
        return b""


def refusal(reason: str) -> bytes:
    """Return the answer that says no."""
    return _encoded({"ok": False, "error": reason})


def _encoded(facts: dict[str, Any]) -> bytes:
    return json.dumps({"fastlock": PROTOCOL, "pid": os.getpid(), **facts}).encode() + b"\n"


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused("the request is no line of JSON of at most 4096 bytes") from None
    if not isinstance(request, dict) or type(request.get("fastlock")) is not int:
        raise Refused("the request is none of fastlock's")
    if request["fastlock"] != PROTOCOL:
        raise Refused(f"this process speaks version {PROTOCOL} of the protocol, not {shown(request['fastlock'])}")
    if not isinstance(request.get("do"), str) or request["do"] not in _VERBS:
        raise Refused(f"there is no request {shown(request.get('do'))}, only {', '.join(_VERBS)}")
    by_ns = request.get("by_ns")
    if isinstance(by_ns, int) and by_ns < time.monotonic_ns():
        raise Refused("the request was heard too late")
    return request


def _level(request: dict[str, Any]) -> dict[str, Any]:
    require_only(request, "level", "for_s", "reset")
    reset, name, limit_s = (request.get(key) for key in ("reset", "level", "for_s"))
    if not (reset is None or isinstance(reset, bool)) or (reset and (name is not None or limit_s is not None)):
        raise Refused("reset is true, and goes with nothing else")
    if name is None and not reset:
        if limit_s is not None:
            raise Refused("for_s goes with a level")
        return {"now": _decided(config.current().said.decision()), "said": _said()}
    try:
        before, now = config.say(SWITCH, name, _end_ns(limit_s))
    except ConfigError as exc:
        raise Refused(str(exc)) from None
    return {"before": _decided(before), "now": _decided(now)}


def _end_ns(limit_s: object) -> int | None:
    if limit_s is None:
        return None
    if isinstance(limit_s, bool) or not isinstance(limit_s, (int, float)) or not 0 < limit_s <= MOST_S:  # NaN fails here
        raise Refused(f"for_s is {shown(limit_s)}: must be a number of seconds, more than 0 and at most {MOST_S:.0f}")
    return time.monotonic_ns() + int(limit_s * 1e9)


def _decided(decision: Decision) -> dict[str, Any]:
    level = "off" if config.disabled() else decision.level
    return {"level": level, "source": decision.source, "left_s": _left_s(decision.until_ns)}


def _said() -> dict[str, Any]:
    said = config.current().said
    return {
        source: {"level": word.level, "left_s": _left_s(word.until_ns)}
        for source, word in zip(SOURCES, said)
        if word is not None
    }


def _left_s(until_ns: int | None) -> float | None:
    return None if until_ns is None else max(0, until_ns - time.monotonic_ns()) / 1e9


def _status(request: dict[str, Any]) -> dict[str, Any]:
    import fastlock

    table = _core.table()
    return {
        "version": fastlock.__version__,
        "python": platform.python_version(),
        "uid": os.geteuid(),
        "now": _decided(config.current().said.decision()),
        "said": _said(),
        "disabled": config.disabled(),
        "installed": patching.reached(),
        "raw_locks": patching.raw_locks(),
        "agents": len(table["agents"]),
        "locks": len(table["locks"]),
        "waits": len(table["waits"]),
        "findings": [finding.summary() for finding in watchdog.findings()[-5:]],
    }


def _deadlocks(request: dict[str, Any]) -> dict[str, Any]:
    return {"findings": [finding.to_dict() for finding in look.find_deadlocks()]}


_VERBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "level": _level,
    "status": _status,
    "deadlocks": _deadlocks,
    "classes": asked.classes,
    "order": asked.orders,
    "agent": whereabouts.agents,
}
