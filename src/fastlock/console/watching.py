"""The thread that reads the processes and makes the page that is asked for, so that the screen never waits for either.

It takes a share of one core at most: where a reading and its page cost more than that allows twice a second, they come less often, and the
screen says how often. Its own locks are raw ones, which nobody replaces.
"""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable
from typing import NamedTuple

from fastlock.console.pages.base import Page
from fastlock.console.seen import Target
from fastlock.console.tables import Query
from fastlock.reporting import printable

PERIOD_S = 0.5
SHARE = 0.08  # of a core; the screen itself takes up to 0.02
SLOWEST_S = 10.0


class Order(NamedTuple):
    """What page is asked for; ``number`` tells the answer to this from one to an earlier order."""

    number: int
    view: str
    query: Query
    target: Target | None


class Told(NamedTuple):
    """A page, or in one line why there is none (``trouble``), and of which moment; ``slow_s`` seconds are between readings that come less often, else 0."""

    number: int
    page: Page | None
    trouble: str
    read_at_s: float
    slow_s: float


class Watcher:
    """Calls `tell` on a thread of its own with a page every `period_s`, or `SLOWEST_S` at the latest, and at once after an order.

    `refresh` reads the processes, `compose` makes a page; both are called on that thread alone. The other methods are for one thread, the screen's.
    """

    def __init__(
        self,
        refresh: Callable[[], None],
        compose: Callable[[Order], Page],
        tell: Callable[[Told], None],
        *,
        period_s: float = PERIOD_S,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._refresh, self._compose, self._tell = refresh, compose, tell
        self._period_s = period_s
        self._wall_s = wall_s
        self._order: Order | None = None  # written by the screen, read by the thread: a reference each
        self._paused = False
        self._closed = False
        self._rung = _thread.allocate_lock()  # taken by the thread, given back by the screen: something has changed
        self._rung.acquire()
        self._ended = _thread.allocate_lock()  # taken while the thread runs
        # From here on the thread's own.
        self._read_at_s = 0.0
        self._trouble = ""
        self._spent_s = 0.0  # by the last reading
        self._slow_s = 0.0

    def start(self) -> None:
        """Begin to read."""
        self._ended.acquire()
        _thread.start_new_thread(self._run, ())

    def show(self, order: Order) -> None:
        """Ask for a page; it is told as soon as it is made, from the last reading."""
        self._order = order
        self._ring()

    def pause(self, paused: bool) -> None:
        """Stop reading, or go on; pages that are asked for meanwhile are made of the last reading."""
        self._paused = paused
        self._ring()

    def close(self, limit_s: float) -> bool:
        """End the thread; whether it has ended in that time. It may be in the middle of a system call, and ends after that."""
        self._closed = True
        self._ring()
        return self._ended.acquire(timeout=limit_s)

    def _ring(self) -> None:
        if self._rung.locked():  # nobody else gives it back
            self._rung.release()

    # ---- the thread

    def _run(self) -> None:
        try:
            due_s = 0.0
            while not self._closed:
                began_s, spent_s = time.monotonic(), time.thread_time()
                reads = not self._paused and began_s >= due_s
                if reads:
                    self._read()
                order = self._order
                told = None if order is None else self._made(order)
                if reads:
                    due_s = began_s + self._pace_s(time.thread_time() - spent_s)
                if told is not None and not self._closed:
                    self._tell(told._replace(slow_s=self._slow_s))
                self._rung.acquire(timeout=-1 if self._paused else max(0.0, due_s - time.monotonic()))
        finally:
            self._ended.release()

    def _pace_s(self, spent_s: float) -> float:
        """Return after how many seconds the next reading begins; one that cost more than those around it, as the first one does, slows nothing down."""
        needed_s = min(min(spent_s, self._spent_s) / SHARE, SLOWEST_S)
        self._spent_s = spent_s
        self._slow_s = needed_s if needed_s > self._period_s else 0.0
        return max(self._period_s, needed_s)

    def _read(self) -> None:
        try:
            self._refresh()
            self._trouble = ""
            self._read_at_s = self._wall_s()
        except Exception as exc:  # whatever it is, the screen stays and says so
            self._trouble = one_line("The processes could not be read", exc)

    def _made(self, order: Order) -> Told:
        page, trouble = None, self._trouble
        try:
            page = self._compose(order)
        except Exception as exc:
            trouble = one_line("This page could not be made", exc)
        return Told(order.number, page, trouble, self._read_at_s, 0.0)


def one_line(what: str, exc: Exception) -> str:
    """Say what went wrong, and where in our own code, for whoever reports it."""
    trace, at = exc.__traceback__, ""
    while trace is not None:
        at = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return printable(f"{what}: {type(exc).__name__}: {exc} ({at})")
