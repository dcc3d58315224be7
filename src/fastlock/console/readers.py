"""One process, read again and again: its table stays open, and whatever becomes of the process is a state and a line, never an error."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from fastlock.console.seen import ENDED, LIVE, STOPPED, UNSEEN, Seen
from fastlock.outside import Table, Unseen, open_table
from fastlock.outside.find import Stat, facts_of, stat_of, uid_of
from fastlock.outside.view import View

_PAUSE_S = 0.4  # before a table that could not be opened is looked for again
_SHARE = 50  # of the time that this takes: the pause is so many times as long


class Reading:
    """A process, read as often as refresh() is called; for one thread at a time. close() lets its table go."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.seen = _nothing(pid, "it has not been looked at yet")
        self._table: Table | None = None
        self._uid: int | None = None
        self._started = ""
        self._why = ""
        self._again_at = 0.0

    def close(self) -> None:
        """Let the table go; what was seen last stays."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def refresh(self) -> Seen:
        """Read the process, and return what is seen of it; milliseconds where thousands wait."""
        stat = stat_of(self.pid)
        if self._has_ended(stat):
            self.close()
            self.seen = self._without(ENDED, "it has ended" if stat is None or not stat.has_ended else "it has ended, and its parent has not taken notice yet")
        else:
            try:
                self.seen = self._look(stat)
            except Unseen as error:
                self.seen = self._unseen(str(error).removeprefix(f"process {self.pid}: "))
        return self.seen

    @property
    def is_over(self) -> bool:
        """Whether the process that was read has ended, so that nothing comes of reading on."""
        return self.seen.state == ENDED and self._table is None and self._has_ended(stat_of(self.pid))

    def _has_ended(self, stat: Stat | None) -> bool:
        if stat is None or stat.has_ended:
            return bool(self._started) or stat is not None
        if not self._started:
            self._started = stat.started
        return stat.started != self._started

    def _look(self, stat: Stat | None) -> Seen:
        if self._table is not None and not self._table.is_current():
            self.close()
        if self._table is None:
            self._table = self._opened()
            self._uid = uid_of(self.pid)
        return seen_of(self._table.follow(), self.pid, self._uid, stat is not None and stat.is_stopped)

    def _opened(self) -> Table:
        began = time.monotonic()
        if began < self._again_at:
            raise Unseen(self._why)
        try:
            return open_table(self.pid, patience_s=0)
        except Unseen as error:
            now = time.monotonic()
            self._why, self._again_at = str(error), now + max(_PAUSE_S, _SHARE * (now - began))
            raise

    def _unseen(self, why: str) -> Seen:
        """Return what is known where the table cannot be read: of a program that is not there any more, that it has ended."""
        if self._table is None and self.seen.view is not None:
            return self._without(ENDED, f"it executes another program now: {why}")
        return self._without(UNSEEN, why)

    def _without(self, state: str, why: str) -> Seen:
        last = self.seen
        if last.view is None:
            return _nothing(self.pid, why, state)
        told = f"{why}; this is how it was at {last.captured_at[11:19]}Z"
        return last if (last.state, last.why) == (state, told) else replace(last, state=state, why=told)


def seen_of(view: View, pid: int, uid: int | None, is_stopped: bool) -> Seen:
    """Return what is seen of a live process at a moment."""
    facts = facts_of(view, pid, uid, is_stopped)
    return Seen(
        pid=pid,
        process=view.header.program,
        python=facts["python"],
        level=view.level,
        state=STOPPED if is_stopped else LIVE,
        why="it is stopped: nothing in it runs until it gets SIGCONT" if is_stopped else "",
        health=facts["health"],
        now_ns=view.now_ns,
        captured_at=view.captured_at,
        agents=view.agents,
        locks=view.locks,
        waits=view.waits,
        findings=view.findings,
        findings_dropped=view.header.findings_dropped,
        raw_locks=view.raw_locks,
        unseen=facts["unseen"],
        facts=facts,
        view=view,
    )


def _nothing(pid: int, why: str, state: str = UNSEEN) -> Seen:
    return Seen(
        pid=pid, process="", python="", level="", state=state, why=why, health="", now_ns=time.monotonic_ns(), captured_at="",
        agents={}, locks={}, waits=(), findings=(), findings_dropped=0, raw_locks=None, unseen=0,
    )  # fmt: skip
