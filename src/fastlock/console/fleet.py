"""Many processes: those of this user that come and go, or those that are named with their children; what each says of itself when it is asked."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastlock.calling import call
from fastlock.console.asking import Asker, Wish, level_of, reason
from fastlock.console.readers import Reading
from fastlock.console.seen import ENDED, UNSEEN, Asked, Seen
from fastlock.outside import Unseen
from fastlock.outside.find import has_table, is_ours, numbers, stat_of
from fastlock.processes import Unreachable
from fastlock.reporting import duration

LINGER_S = 30.0  # for so long a process that has ended stays
MOST_ENDED = 5
_HIDDEN_S = 2.0  # a process that is just forking, or about to execute a program, need not be told about
_FIRST_PAUSE_S = 0.5  # before a process without a table is looked at again; twice as long each time
_MOST_PAUSE_S = 30.0
_SHARE = 200  # of the time that a look takes: the pause is at least so many times as long
_LOOKING_S = 0.005  # in one refresh, but for the first: the newest processes are looked at first


class LevelSet(NamedTuple):
    """What came of setting a level, in one line; ``done`` tells whether it has been set."""

    done: bool
    text: str


@dataclass
class _Stranger:
    """A process without a table, as far as is known."""

    started: str
    look_at: float
    pause_s: float = _FIRST_PAUSE_S


class _Member:
    """A process that is read."""

    def __init__(self, pid: int, given: bool) -> None:
        self.reading = Reading(pid)
        self.given = given
        self.since = time.monotonic()
        self.ended_at: float | None = None

    @property
    def is_shown(self) -> bool:
        seen = self.reading.seen
        return self.given or seen.view is not None or (seen.state == UNSEEN and time.monotonic() > self.since + _HIDDEN_S)


class Fleet:
    """The processes to look at; refresh() reads them. Of one thread, but for asked() and set_level(), which any may call. close() or `with`.

    Without PIDs these are all of this user's (root: everybody's) that have a table; with PIDs those, whatever they are, and their children with a table.
    """

    def __init__(self, pids: Sequence[int] = ()) -> None:
        self.why = ""  # one line where processes cannot be found at all
        self._given = frozenset(pids)
        self._family = set(pids)
        self._members = {pid: _Member(pid, True) for pid in dict.fromkeys(pids)}
        self._strangers: dict[int, _Stranger] = {}
        self._asker = Asker()
        self._seen: tuple[Seen, ...] = ()
        self._seen_at = 0.0

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let all tables go and ask nobody any more; what was seen last stays."""
        self._asker.close()
        for member in self._members.values():
            member.reading.close()

    @property
    def seen(self) -> Sequence[Seen]:
        """Each process as it was read last, by its number; the last few that have ended stay for half a minute, those that were named for good."""
        return self._seen

    def of(self, pid: int) -> Seen | None:
        """Return a process as it was read last, None where it is none of these."""
        return next((seen for seen in self._seen if seen.pid == pid), None)

    def refresh(self) -> Sequence[Seen]:
        """Find processes that are new, read all, and return them. Milliseconds where thousands wait; raises nothing."""
        self._discover()
        for member in self._members.values():
            member.reading.refresh()
        self._let_go()
        self._seen_at = time.monotonic()
        self._seen = tuple(self._members[pid].reading.seen for pid in sorted(self._members) if self._members[pid].is_shown)
        return self._seen

    # ---- asking

    def asked(self, pid: int, part: str = "classes", agent: int = 0) -> Asked:
        """Return what a process has said over its socket, of its "classes", "order", "level" or of an "agent", and have it asked as long as this is called.

        Does not wait: the first time there is no answer yet.
        """
        return self._asker.asked(Wish(pid, part, agent))

    def settle(self, limit_s: float = 3.0) -> None:
        """Wait until what is wanted has been asked once, for who looks once only."""
        self._asker.settle(limit_s)

    def set_level(self, pid: int, level: str, for_s: float | None) -> LevelSet:
        """Set the level of a process, for so many seconds or until it is set again; waits up to 3 s where the process does not answer."""
        stat = stat_of(pid)
        if stat is not None and stat.is_stopped:
            return LevelSet(False, "nothing was changed: it is stopped, and takes a level when it goes on")
        limit = {} if for_s is None else {"for_s": for_s}
        try:
            answer = call(pid, {"do": "level", "level": level, **limit})
            now, before = level_of(answer["now"]), level_of(answer["before"])
            left = "until it is set again" if now["left_s"] is None else f"for {duration(now['left_s'])}"
            return LevelSet(True, f"level {now['level']} {left}; before: {before['level']}")
        except Unreachable as error:
            return LevelSet(False, f"nothing was changed: {reason(pid, error)}")
        except (KeyError, TypeError, ValueError):
            return LevelSet(False, "it answers what is no answer of fastlock's")

    # ---- who comes and goes

    def _discover(self) -> None:
        try:
            present = numbers()
        except Unseen as error:
            self.why = str(error)
            return
        now = time.monotonic()
        there = set(present)
        self._strangers = {pid: each for pid, each in self._strangers.items() if pid in there}
        for pid in present:
            if pid not in self._strangers and pid != os.getpid() and self._is_unknown(pid):
                self._meet(pid, now)
        limit_s = _LOOKING_S if self._seen_at else float("inf")
        for pid in sorted((pid for pid, each in self._strangers.items() if each.look_at <= now), reverse=True):
            self._look_at(pid)
            if time.monotonic() > now + limit_s:
                break

    def _is_unknown(self, pid: int) -> bool:
        member = self._members.get(pid)
        return member is None or (member.ended_at is not None and not member.given and member.reading.is_over)

    def _meet(self, pid: int, now: float) -> None:
        stat = stat_of(pid)
        if stat is None:
            return
        if self._given:
            if stat.parent not in self._family:
                return
            self._family.add(pid)
        self._strangers[pid] = _Stranger(stat.started, now)

    def _look_at(self, pid: int) -> None:
        began = time.monotonic()
        if is_ours(pid) and has_table(pid):
            del self._strangers[pid]
            if pid in self._members:
                self._members[pid].reading.close()
            self._members[pid] = _Member(pid, False)
            return
        stranger = self._strangers[pid]
        now = time.monotonic()
        stranger.look_at = now + max(stranger.pause_s, _SHARE * (now - began))
        stranger.pause_s = min(2 * stranger.pause_s, _MOST_PAUSE_S)

    def _let_go(self) -> None:
        now = time.monotonic()
        for pid, member in list(self._members.items()):
            seen = member.reading.seen
            if seen.state != ENDED:
                member.ended_at = None
                if not member.given and seen.view is None and now > member.since + _HIDDEN_S and not has_table(pid):
                    del self._members[pid]  # it had its parent's, and executes another program by now
            elif member.ended_at is None:
                member.ended_at = now
        ended = sorted((member.ended_at, pid) for pid, member in self._members.items() if member.ended_at is not None and not member.given)
        for at, pid in ended:
            if self._members[pid].reading.seen.view is None or now > at + LINGER_S or len(ended) > MOST_ENDED:
                self._members.pop(pid).reading.close()
                ended = ended[1:]
