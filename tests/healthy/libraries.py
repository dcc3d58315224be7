"""What the standard library does with threads of its own or of its caller's."""

from __future__ import annotations

import functools
import io
import logging
import logging.handlers
import multiprocessing.dummy
import queue
import sched
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .programs import Pace, joined, program, started, together


@contextmanager
def logger_of_ones_own(name: str, *handlers: logging.Handler) -> Iterator[logging.Logger]:
    """A logger that nobody else's handlers see."""
    logger = logging.getLogger(f"healthy.{name}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    yield logger
    for handler in handlers:
        logger.removeHandler(handler)
        handler.close()


@program()
def queue_listener(pace: Pace) -> None:
    """logging's QueueHandler and QueueListener, with a slow handler behind them."""
    records: Any = queue.Queue()
    out: list[str] = []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            pace.maybe_long()
            out.append(record.getMessage())

    with logger_of_ones_own("queue", logging.handlers.QueueHandler(records)) as logger:
        listener = logging.handlers.QueueListener(records, Slow())
        listener.start()
        together(*(lambda n=n: [logger.info("%d", n) for _ in range(4)] for n in range(3)))
        listener.stop()
    assert sorted(out) == sorted(["0", "1", "2"] * 4)


@program()
def logging_threads(pace: Pace) -> None:
    """Threads log to a handler that is slow while it has its lock, and to a buffer in front of another one."""
    out = io.StringIO()

    class Slow(logging.StreamHandler):
        def emit(self, record: logging.LogRecord) -> None:
            pace.maybe_long(0.1)
            super().emit(record)

    buffered = logging.handlers.MemoryHandler(5, logging.ERROR, Slow(out))
    with logger_of_ones_own("threads", Slow(out), buffered) as logger:
        together(*(lambda n=n: [logger.info("%d", n) for _ in range(4)] for n in range(3)))
        buffered.flush()
    assert out.getvalue().count("\n") == 24


@program()
def scheduler(pace: Pace) -> None:
    """sched in a thread, which others give things to do while it sleeps."""
    things = sched.scheduler(time.monotonic, time.sleep)
    done: list[str] = []
    things.enter(pace.long_s(), 1, done.append, ("late",))
    things.enter(0.001, 1, done.append, ("soon",))
    (runner,) = started(things.run)
    things.enter(0.002, 1, done.append, ("added",))
    runner.join()
    things.run()
    assert sorted(done) == ["added", "late", "soon"]


@program()
def connection_pool(pace: Pace) -> None:
    """Few connections to a database, in a queue that is used as a stack; each transaction takes one, and the file's own lock."""
    with tempfile.NamedTemporaryFile() as file:
        pool: Any = queue.LifoQueue()
        for _ in range(2):
            pool.put(sqlite3.connect(file.name, timeout=60, check_same_thread=False, isolation_level=None))
        connection = pool.get()
        connection.execute("create table counts (n integer)")
        connection.execute("insert into counts values (0)")
        pool.put(connection)

        def add() -> None:
            for _ in range(2):
                connection = pool.get()
                connection.execute("begin immediate")
                connection.execute("update counts set n = n + 1")
                pace.maybe_long(0.2)
                connection.execute("commit")
                pool.put(connection)

        together(*[add] * 4)
        connections = [pool.get() for _ in range(2)]
        assert connections[0].execute("select n from counts").fetchall() == [(8,)]
        for connection in connections:
            connection.close()


@program()
def threads_as_processes(pace: Pace) -> None:
    """multiprocessing.dummy, whose processes are threads, with its queue and its pool."""
    things: Any = multiprocessing.dummy.JoinableQueue()

    def work() -> None:
        while (thing := things.get()) is not None:
            pace.maybe_long()
            things.task_done()

    processes = [multiprocessing.dummy.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    for thing in range(6):
        things.put(thing)
    things.join()
    for _ in processes:
        things.put(None)
    for process in processes:
        process.join()


@program()
def cached_property(pace: Pace) -> None:
    """A property that is computed late, up to 3.11 under a lock of its class's, while others want it."""

    class Thing:
        @functools.cached_property
        def value(self) -> int:
            pace.long()
            return 7

    thing, other = Thing(), Thing()
    seen: list[int] = []
    together(*[lambda: seen.append(thing.value)] * 3, lambda: seen.append(other.value))
    assert seen == [7] * 4


@program()
def weak_values(pace: Pace) -> None:
    """A cache that forgets what nobody has any more; a finaliser counts under a re-entrant lock while threads use it."""
    cache: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    lock = threading.RLock()
    made, gone = [0], [0]

    class Thing:
        pass

    def forget() -> None:
        with lock:
            gone[0] += 1

    def use() -> None:
        for number in range(6):
            with lock:
                thing = cache.get(number)
                if thing is None:
                    thing = cache[number] = Thing()
                    weakref.finalize(thing, forget)
                    made[0] += 1
            pace.maybe_long(0.1)
            del thing

    together(*[use] * 3)
    assert made == gone


@program()
def timers_that_repeat(pace: Pace) -> None:
    """A timer that starts the next one, until an event says that it is enough."""
    enough, ticks = threading.Event(), threading.Semaphore(0)
    timers: list[threading.Timer] = []

    def tick() -> None:
        ticks.release()
        if not enough.is_set():
            timers.append(threading.Timer(pace.long_s() / 3, tick))
            timers[-1].start()

    tick()
    for _ in range(4):
        ticks.acquire()
    enough.set()
    joined(timers)


@program()
def imported_by_many(pace: Pace) -> None:
    """Threads import the same modules at the same time, as workers do when they serve their first request."""

    def load() -> None:
        pace.moment()
        for name in pace.shuffled(["xml.dom.minidom", "json.tool", "wave", "plistlib"]):
            __import__(name)

    together(*[load] * 4)


@program()
def temporary_files(pace: Pace) -> None:
    """Threads make temporary files, whose names come from one generator under a lock, and spool through them."""

    def use() -> None:
        for _ in range(3):
            with tempfile.SpooledTemporaryFile(10) as file:
                file.write(b"x" * 20)
                pace.moment()
                file.seek(0)
                assert len(file.read()) == 20

    together(*[use] * 4)
