"""Asks processes over their sockets, on a thread of its own: a process that does not answer never holds up the screen.

What is asked is what somebody has wanted in the last seconds, again and again with a pause; what has been answered stays, with its age. The thread starts
with the first wish, ends when there has been none for a while, and takes no lock but the one here, under which nothing waits.
"""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fastlock.calling import call
from fastlock.console.seen import Asked, ClassFacts
from fastlock.outside.find import stat_of
from fastlock.processes import Unreachable

_WANTED_S = 5.0  # for so long a wish lasts
_LIMIT_S = 1.0  # for an answer
_PAUSE_S = {"classes": 2.0, "order": 5.0, "agent": 1.0, "level": 5.0}
_SHARE = 20  # of the time that an answer takes: the pause is at least so many times as long
_MOST_PAUSE_S = 30.0
_IDLE_S = 20.0  # after which the thread ends
_MOST = 2**63  # of a count or time in an answer: what is more is none
OLDER = "not told by this process (older fastlock)"
_STOPPED = "it is stopped, and answers when it goes on"
_YET = "it is being asked"


class Wish(NamedTuple):
    """What is asked of whom: "classes", "order", "level", or "agent" with its id."""

    pid: int
    part: str
    agent: int = 0


@dataclass
class _Request:
    """A wish and what came of it; guarded by the asker's lock, but for `asked`, which is replaced as a whole."""

    wanted_at: float
    due_at: float
    failures: int = 0
    tried: bool = False
    asked: Asked = Asked(why=_YET)


class Asker:
    """Wishes and answers; may be used by any thread."""

    def __init__(self) -> None:
        self._mutex = _thread.allocate_lock()  # guards the three below
        self._requests: dict[Wish, _Request] = {}
        self._runs = False
        self._closed = False
        self._wake = _thread.allocate_lock()  # held but for a moment: who releases it wakes the thread
        self._wake.acquire()

    def asked(self, wish: Wish) -> Asked:
        """Return what has been answered so far, and see to it that it is asked; does not wait."""
        now = time.monotonic()
        with self._mutex:
            request = self._requests.get(wish)
            if request is None:
                request = self._requests[wish] = _Request(now, now)
            request.wanted_at = now
            begins = not self._runs and not self._closed
            self._runs = self._runs or begins
        if begins:
            _thread.start_new_thread(self._run, ())
        elif not request.tried:
            self._rouse()
        return request.asked

    def settle(self, limit_s: float) -> None:
        """Wait until everything that is wanted has been asked once."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            with self._mutex:
                if all(request.tried for request in self._requests.values()):
                    return
            time.sleep(0.01)

    def close(self) -> None:
        """End the thread, at the latest when the process that it asks has answered or the limit is over."""
        with self._mutex:
            self._closed = True
        self._rouse()

    def _rouse(self) -> None:
        with self._mutex:
            if self._wake.locked():
                self._wake.release()

    # ---- the thread

    def _run(self) -> None:
        while True:
            now = time.monotonic()
            with self._mutex:
                self._forget(now)
                if self._closed or not self._requests:
                    self._runs = False
                    return
                due = [(each.failures, each.due_at, wish) for wish, each in self._requests.items() if now < each.wanted_at + _WANTED_S]
                ready = [each for each in due if each[1] <= now]
                wish = min(ready)[2] if ready else None
                pause_s = min([max(0.01, at - now) for _, at, _ in due], default=_WANTED_S)
            if wish is None:
                self._wake.acquire(True, min(pause_s, _WANTED_S))
            else:
                self._ask(wish)

    def _forget(self, now: float) -> None:
        for wish in [wish for wish, each in self._requests.items() if now > each.wanted_at + _IDLE_S]:
            del self._requests[wish]

    def _ask(self, wish: Wish) -> None:
        began = time.monotonic()
        why = ""
        try:
            asked = _answer(wish)
        except Unreachable as error:
            why = reason(wish.pid, error)
        except Exception as error:  # whatever a process says: the thread goes on, and the line tells it
            why = f"its answer makes no sense here ({type(error).__name__}: {error})"
        now = time.monotonic()
        with self._mutex:
            request = self._requests.get(wish)
            if request is None:
                return
            request.failures = request.failures + 1 if why else 0
            request.asked = replace(request.asked, why=why) if why else asked
            request.tried = True
            pause_s = max(_PAUSE_S[wish.part], _SHARE * (now - began)) * 2 ** min(request.failures, 4)
            request.due_at = now + min(pause_s, _MOST_PAUSE_S)


def reason(pid: int, error: Unreachable) -> str:
    """Return why there is no answer, in one line without the process's number."""
    text = str(error)
    return OLDER if "there is no request" in text else text.removeprefix(f"process {pid}").removeprefix(":").strip()


def _answer(wish: Wish) -> Asked:
    stat = stat_of(wish.pid)
    if stat is not None and stat.is_stopped:
        raise Unreachable(_STOPPED)
    request: dict[str, Any] = {"do": wish.part}
    if wish.part == "agent":
        request["agent"] = wish.agent
    answer = call(wish.pid, request, _LIMIT_S)
    return _PARTS[wish.part](answer)


def _classes(answer: Mapping[str, Any]) -> Asked:
    classes = {each.name: each for each in map(_class, answer["classes"])}
    return Asked(time.monotonic_ns(), classes=classes, cut=_number(answer["cut"]) or 0)


def _class(facts: Mapping[str, Any]) -> ClassFacts:
    return ClassFacts(
        name=str(facts["name"]),
        kind=str(facts["kind"]),
        instances=_number(facts["instances"]),
        contentions=_number(facts["contentions"]),
        waits=_number(facts["waits"]),
        waited_s=None if facts["waited_s"] is None else _seconds(facts["waited_s"]),
        buckets=tuple((_seconds(bound), _number(number) or 0) for bound, number in facts["buckets"]),
    )


def _number(value: Any) -> int | None:
    if value is not None and not 0 <= int(value) < _MOST:
        raise ValueError("no count")
    return None if value is None else int(value)


def _seconds(value: Any) -> float:
    """Return a time that can be told: JSON lets more through."""
    seconds = float(value)
    if not 0 <= seconds < _MOST:
        raise ValueError("no time")
    return seconds


def level_of(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return who decides the level, and for how long; ValueError and its like for what says nothing of it."""
    left_s = None if decision["left_s"] is None else _seconds(decision["left_s"])
    return {"level": str(decision["level"]), "source": str(decision["source"]), "left_s": left_s}


def _agent(answer: Mapping[str, Any]) -> Asked:
    found = answer["agents"]
    return Asked(time.monotonic_ns(), why="" if found else "it has no such agent any more", agent=dict(found[0]) if found else None)


_PARTS: Mapping[str, Callable[[Mapping[str, Any]], Asked]] = {
    "classes": _classes,
    "order": lambda answer: Asked(time.monotonic_ns(), order=answer),
    "agent": _agent,
    "level": lambda answer: Asked(time.monotonic_ns(), level=level_of(answer["now"])),
}
