"""Waits that end by signals: their handlers set events, put into queues and raise."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from .programs import Pace, joined, program, started


@contextmanager
def handled(number: int, handler: Callable[..., Any]) -> Iterator[None]:
    """Have a signal handled for the block."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(number, before)


@program(alone=True)
def set_by_a_handler(pace: Pace) -> None:
    """The only thread waits for an event that the handler of an alarm sets."""
    event = threading.Event()
    with handled(signal.SIGALRM, lambda *_: event.set()):
        signal.setitimer(signal.ITIMER_REAL, pace.long_s())
        assert event.wait()


@program(alone=True)
def handler_puts(pace: Pace) -> None:
    """A handler puts into a SimpleQueue, which is made for that, and the only thread takes from it."""
    ticks: SimpleQueue[int] = SimpleQueue()
    with handled(signal.SIGALRM, lambda *_: ticks.put(1)):
        signal.setitimer(signal.ITIMER_REAL, pace.long_s(), pace.long_s())
        assert [ticks.get() for _ in range(3)] == [1, 1, 1]


@program(alone=True)
def handler_feeds_a_worker(pace: Pace) -> None:
    """A handler sets what a worker waits for, while the main thread waits for that worker."""
    stop = threading.Event()
    (worker,) = started(stop.wait)
    with handled(signal.SIGALRM, lambda *_: stop.set()):
        signal.setitimer(signal.ITIMER_REAL, pace.long_s())
        worker.join()


@program(alone=True)
def handler_raises(pace: Pace) -> None:
    """A handler ends a wait for something that never comes by an exception, as limits on tests are made."""

    class Late(Exception):
        pass

    def give_up(*_: Any) -> None:
        raise Late

    never = threading.Event()
    with handled(signal.SIGALRM, give_up):
        signal.setitimer(signal.ITIMER_REAL, pace.long_s())
        try:
            never.wait()
        except Late:
            return
    raise AssertionError("the handler's exception was lost")


@program(alone=True)
def signalled_by_a_child(pace: Pace) -> None:
    """Another process sends the signal."""
    event = threading.Event()
    with handled(signal.SIGUSR1, lambda *_: event.set()):
        with subprocess.Popen(["/bin/sh", "-c", f"sleep {pace.long_s():.3f}; kill -USR1 {os.getpid()}"]):
            assert event.wait()


@program(alone=True)
def child_ends(pace: Pace) -> None:
    """SIGCHLD says that a child has ended."""
    ended = threading.Event()
    with handled(signal.SIGCHLD, lambda *_: ended.set()):
        with subprocess.Popen(["/bin/sh", "-c", f"sleep {pace.long_s():.3f}; exit 3"]) as child:
            assert ended.wait()
        assert child.returncode == 3


@program(alone=True)
def signalled_by_a_thread(pace: Pace) -> None:
    """A thread sends the process a signal, whose handler wakes the main thread."""
    event = threading.Event()
    with handled(signal.SIGUSR1, lambda *_: event.set()):
        threads = started(pace.late(os.kill, os.getpid(), signal.SIGUSR1))
        assert event.wait()
        joined(threads)


@program(alone=True)
def wakeup_descriptor(pace: Pace) -> None:
    """signal.set_wakeup_fd: a thread reads signals from a socket and tells the main thread."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno())
    event = threading.Event()
    threads = started(lambda: (ours.recv(1), event.set()))
    try:
        with handled(signal.SIGALRM, lambda *_: None):
            signal.setitimer(signal.ITIMER_REAL, pace.long_s())
            assert event.wait()
            joined(threads)
    finally:
        signal.set_wakeup_fd(before)
        ours.close()
        theirs.close()


@program(alone=True)
def thread_for_signals(pace: Pace) -> None:
    """All signals of a kind are blocked, and one thread takes them by sigwait()."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        event = threading.Event()
        threads = started(lambda: (signal.sigwait([signal.SIGUSR2]), event.set()))
        threads += started(pace.late(signal.pthread_kill, threads[0].ident, signal.SIGUSR2))
        assert event.wait()
        joined(threads)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])


@program(alone=True)
def sigint_by_hand(pace: Pace) -> None:
    """Ctrl-C ends a wait of the main thread that nobody else would; a thread sends its signal."""
    never = threading.Event()
    threads = started(pace.late(os.kill, os.getpid(), signal.SIGINT))
    try:
        never.wait()
    except KeyboardInterrupt:
        joined(threads)
        return
    raise AssertionError("the interrupt was lost")
