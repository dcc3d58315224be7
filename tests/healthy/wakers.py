"""Waits that end by something which is no thread of the program's: signals, timers, C code, the garbage collector."""

from __future__ import annotations

import _thread
import ctypes
import gc
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue, SimpleQueue
from typing import Any

from .programs import Pace, joined, program, started

libc = ctypes.CDLL(None)
NATIVE_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
EXPIRED = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
SIGEV_THREAD = 2


@program()
def timers(pace: Pace) -> None:
    """threading.Timer sets the event; another timer is cancelled while it waits."""
    event = threading.Event()
    never = threading.Timer(3600, event.set)
    never.start()
    timer = threading.Timer(pace.long_s(), event.set)
    timer.start()
    assert event.wait()
    never.cancel()
    joined([timer, never])


@program()
def timer_for_a_condition(pace: Pace) -> None:
    """A timer notifies a condition on which two threads wait; the timer's thread is new each time."""
    ticked = threading.Condition()
    ticks = [0]

    def tick() -> None:
        with ticked:
            ticks[0] += 1
            ticked.notify_all()

    def count() -> None:
        with ticked:
            ticked.wait_for(lambda: ticks[0] == 3)

    threads = started(count, count)
    for _ in range(3):
        timer = threading.Timer(pace.long_s(), tick)
        timer.start()
        timer.join()
    joined(threads)


@program()
def bare_thread(pace: Pace) -> None:
    """A thread that threading knows nothing of, from _thread, wakes the one that does."""
    event = threading.Event()
    _thread.start_new_thread(pace.late(event.set), ())
    assert event.wait()


@program()
def native_thread(pace: Pace) -> None:
    """A thread that C has made calls into Python and sets the event."""
    event, identity = threading.Event(), ctypes.c_ulong()

    def run(_: Any) -> int:
        pace.long()
        event.set()
        return 0

    function = NATIVE_FUNCTION(run)
    assert libc.pthread_create(ctypes.byref(identity), None, function, None) == 0
    assert event.wait()
    assert libc.pthread_join(identity, None) == 0


@program()
def native_queue(pace: Pace) -> None:
    """A native thread works for the program: it takes jobs out of a queue and puts results into another."""
    jobs: Queue[int | None] = Queue()
    results: Queue[int] = Queue()
    identity = ctypes.c_ulong()

    def run(_: Any) -> int:
        while (job := jobs.get()) is not None:
            pace.maybe_long()
            results.put(job * 3)
        return 0

    function = NATIVE_FUNCTION(run)
    assert libc.pthread_create(ctypes.byref(identity), None, function, None) == 0
    for number in range(4):
        jobs.put(number)
        assert results.get() == number * 3
        pace.maybe_long()
    jobs.put(None)
    assert libc.pthread_join(identity, None) == 0


class Notification(ctypes.Structure):
    """The system's sigevent, where a thread is to be told."""

    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("way", ctypes.c_int),
        ("function", EXPIRED),
        ("attributes", ctypes.c_void_p),
        ("rest", ctypes.c_char * 32),
    ]


@contextmanager
def c_timer(after_s: float, call: Callable[[Any], None]) -> Iterator[None]:
    """Have the C library call `call` from a thread of its own, made for that, when the time has come; until then no Python knows of it."""
    function = EXPIRED(call)
    about = Notification(way=SIGEV_THREAD, function=function)
    timer = ctypes.c_void_p()
    assert libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(about), ctypes.byref(timer)) == 0
    whole = int(after_s)
    when = (ctypes.c_long * 4)(0, 0, whole, int((after_s - whole) * 1e9))
    assert libc.timer_settime(timer, 0, when, None) == 0
    try:
        yield
    finally:
        libc.timer_delete(timer)
    _callbacks.append(function)  # its thread may still be in it


_callbacks: list[Any] = []


@program()
def timer_in_c(pace: Pace) -> None:
    """Nobody runs but C code, which will call Python and set the event after a while."""
    event = threading.Event()
    with c_timer(pace.long_s(), lambda _: event.set()):
        assert event.wait()


@program()
def timer_in_c_for_a_queue(pace: Pace) -> None:
    """The same, into the queue of a worker that the main thread joins."""
    things: Queue[int] = Queue()
    got: list[int] = []
    (worker,) = started(lambda: got.append(things.get()))
    with c_timer(pace.long_s(), lambda _: things.put(4)):
        worker.join()
    assert got == [4]


@program()
def finaliser(pace: Pace) -> None:
    """A weak reference's callback sets the event when another thread drops the last reference."""

    class Thing:
        pass

    event, things = threading.Event(), [Thing()]
    weakref.finalize(things[0], event.set)
    threads = started(pace.late(things.clear))
    assert event.wait()
    joined(threads)


@program()
def collected(pace: Pace) -> None:
    """A cycle's finaliser, run by the collector in some thread, puts into a SimpleQueue."""
    dead: SimpleQueue[str] = SimpleQueue()

    class Node:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            dead.put("dead")

    def work() -> None:
        Node()
        pace.long()
        gc.collect()

    threads = started(work)
    assert dead.get() == "dead"
    joined(threads)


@program(alone=True)
def at_the_collector(pace: Pace) -> None:
    """gc.callbacks wakes who waits for the next collection."""
    collected_once = threading.Event()

    def note(phase: str, _: dict[str, int]) -> None:
        if phase == "stop":
            collected_once.set()

    gc.callbacks.append(note)
    threads = started(pace.late(gc.collect))
    try:
        assert collected_once.wait()
    finally:
        joined(threads)
        gc.callbacks.remove(note)


@program()
def woken_by_a_pipe(pace: Pace) -> None:
    """A thread sleeps in poll() and forwards what comes there; what comes is written by a child process."""
    event = threading.Event()
    with subprocess.Popen(
        ["/bin/sh", "-c", f"sleep {pace.long_s():.3f}; echo"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        descriptor = child.stdout.fileno()

        def watch() -> None:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
            event.set()

        threads = started(watch)
        assert event.wait()
        joined(threads)


@program(alone=True)
def traced(pace: Pace) -> None:
    """A trace function that wakes somebody: user code runs where one would not think of it."""
    event = threading.Event()

    def trace(frame: Any, kind: str, _: Any) -> None:
        if frame.f_code.co_name == "marked":
            event.set()

    def marked() -> None:
        pass

    def work() -> None:
        pace.long()
        sys.settrace(trace)
        marked()
        sys.settrace(None)

    threads = started(work)
    assert event.wait()
    joined(threads)


@program(guesses=["FL031"])
def somebody_new(pace: Pace) -> None:
    """Whoever has woken them so far is waiting as well, in a circle, until a thread speaks up that never has before."""
    jobs: Queue[int | None] = Queue()
    done = threading.Event()

    def work() -> None:
        while jobs.get() is not None:
            done.set()

    (worker,) = started(work)
    jobs.put(1)
    done.wait()
    done.clear()
    threads = started(lambda: (pace.long(), pace.long(), jobs.put(2)))
    done.wait()
    jobs.put(None)
    joined([worker, *threads])


@program(guesses=["FL031"])
def approved_by_another(pace: Pace) -> None:
    """A service asks for approval in the middle of its work; so far its client gave that, now an operator does, for the client waits for the service."""
    requests: Queue[int | None] = Queue()
    approvals: Queue[bool] = Queue()
    replies: Queue[int] = Queue()

    def serve() -> None:
        while (request := requests.get()) is not None:
            assert approvals.get()
            replies.put(-request)

    (service,) = started(serve)
    requests.put(1)
    approvals.put(True)
    assert replies.get() == -1
    threads = started(lambda: (pace.long(), pace.long(), approvals.put(True)))
    requests.put(2)
    assert replies.get() == -2
    requests.put(None)
    joined([service, *threads])
