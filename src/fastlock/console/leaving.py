"""How the console ends when it is told to from outside: by a signal, or because its terminal is gone. The terminal is left whole where it is there."""

from __future__ import annotations

import _thread
import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

from fastlock.errors import FastlockError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LIMIT_S = 5.0  # for leaving; a terminal that takes nothing any more would hold us for ever


class NoTerminal(FastlockError):
    """The console has nowhere to draw; the message is one line."""


class Leaving:
    """Calls `leave` with an exit status when the console is to end."""

    def __init__(self, leave: Callable[[int], None]) -> None:
        self._leave = leave

    def follow_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave at SIGINT, SIGTERM and SIGHUP; on the main thread."""
        for number in _SIGNALS:
            loop.add_signal_handler(number, partial(self._signalled, number))

    def look(self) -> None:
        """Leave where the terminal is gone."""
        if hung_up():
            self._signalled(signal.SIGHUP)

    def _signalled(self, number: int) -> None:
        status = 128 + number  # as a shell counts it
        _thread.start_new_thread(_end_later, (status,))
        self._leave(status)


def hung_up() -> bool:
    """Tell whether standard input is a terminal no more."""
    poll = select.poll()
    poll.register(0, 0)
    return any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def is_terminal() -> bool:
    """Tell whether there is a terminal to read keys from and to draw on: textual draws on standard error."""
    return all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__))


def _end_later(status: int) -> None:
    time.sleep(_LIMIT_S)
    os._exit(status)
