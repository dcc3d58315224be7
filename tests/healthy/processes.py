"""Other processes: children with pipes, and multiprocessing's queues, pools and events."""

from __future__ import annotations

import multiprocessing

# Each of these two makes a lock, of the line that imports it: imported late, that would be the line of whichever program comes first, and
# one class with what else is made there.
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from .programs import Pace, joined, program, started, together

# No process is made by a fork of one that has threads.
cleanly = multiprocessing.get_context("forkserver")


def child(script: str) -> subprocess.Popen[str]:
    """Start a shell with pipes to and from it."""
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@program()
def waiting_for_a_child(pace: Pace) -> None:
    """A thread waits for a child process, and the main thread for that thread."""
    status: list[int] = []
    with child(f"sleep {pace.long_s():.3f}; exit 3") as process:
        (waiter,) = started(lambda: status.append(process.wait()))
        waiter.join()
    assert status == [3]


@program()
def communicating(pace: Pace) -> None:
    """communicate() with a child that answers late, in several threads."""

    def ask(word: str) -> None:
        with child(f"read word; sleep {pace.long_s():.3f}; echo $word $word") as process:
            out, _ = process.communicate(f"{word}\n")
            assert out == f"{word} {word}\n"

    together(*(lambda w=w: ask(w) for w in ("a", "b", "c")))


@program()
def reading_what_a_child_says(pace: Pace) -> None:
    """A thread reads a child's lines into a queue, the main thread takes them."""
    lines: Any = queue.Queue()
    with child(f"for n in 1 2 3; do sleep {pace.long_s():.3f}; echo $n; done") as process:
        assert process.stdout is not None

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(int(line))
            lines.put(None)

        (reader,) = started(read)
        assert list(iter(lines.get, None)) == [1, 2, 3]
        reader.join()


@program()
def filter_process(pace: Pace) -> None:
    """One thread feeds a child, another one reads what it makes of that; each waits for the child."""
    with subprocess.Popen(["sort"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def feed() -> None:
            assert process.stdin is not None
            with process.stdin:
                for number in pace.shuffled(range(10, 20)):
                    pace.maybe_long(0.2)
                    process.stdin.write(f"{number}\n")

        (feeder,) = started(feed)
        assert process.stdout is not None
        assert [int(line) for line in process.stdout] == list(range(10, 20))
        feeder.join()


@program()
def one_child_at_a_time(pace: Pace) -> None:
    """A lock is held while a child runs, and others wait for the lock."""
    lock = threading.Lock()
    ran: list[int] = []

    def run() -> None:
        with lock:
            ran.append(subprocess.call(["/bin/sh", "-c", f"sleep {pace.long_s() / 2:.3f}"]))

    together(*[run] * 3)
    assert ran == [0, 0, 0]


def squares(jobs: Any, results: Any, nap_s: float) -> None:
    """What a process of multiprocessing does: take numbers until the end's mark, put their squares."""
    for number in iter(jobs.get, None):
        time.sleep(nap_s)
        results.put(number * number)


def square(number: int) -> int:
    """Work for a pool of processes."""
    time.sleep(0.01)
    return number * number


def set_late(event: Any, nap_s: float) -> None:
    """Set an event of multiprocessing after a while."""
    time.sleep(nap_s)
    event.set()


@program()
def queues_between_processes(pace: Pace) -> None:
    """multiprocessing.Queue both ways: its feeder thread waits for things to send, and the main thread for those that come."""
    jobs, results = cleanly.Queue(), cleanly.Queue()
    process = cleanly.Process(target=squares, args=(jobs, results, pace.long_s() / 4))
    process.start()
    for number in range(5):
        jobs.put(number)
    jobs.put(None)
    assert [results.get() for _ in range(5)] == [0, 1, 4, 9, 16]
    process.join()
    for each in (jobs, results):
        each.close()
        each.join_thread()
    assert process.exitcode == 0


@program()
def pool_of_processes(pace: Pace) -> None:
    """multiprocessing.Pool: three threads of its own work while the main thread waits for the results."""
    with cleanly.Pool(2) as pool:
        assert pool.map(square, range(6)) == [n * n for n in range(6)]
        assert sorted(pool.imap_unordered(square, range(4))) == [0, 1, 4, 9]
        pool.close()
        pool.join()


@program()
def executor_of_processes(pace: Pace) -> None:
    """ProcessPoolExecutor, used by several threads at once."""
    with ProcessPoolExecutor(2, mp_context=cleanly) as pool:
        together(*[lambda: list(pool.map(square, range(3)))] * 3)
        assert pool.submit(square, 5).result() == 25


@program()
def event_of_another_process(pace: Pace) -> None:
    """An event that a process sets."""
    event = cleanly.Event()
    process = cleanly.Process(target=set_late, args=(event, pace.long_s()))
    process.start()
    assert event.wait()
    (joiner,) = started(process.join)
    joiner.join()


@program()
def connection_between_processes(pace: Pace) -> None:
    """A thread receives from a process's end of a pipe, the main thread waits for that thread by an event."""
    ours, theirs = cleanly.Pipe()
    process = cleanly.Process(target=send_late, args=(theirs, pace.long_s()))
    process.start()
    got, event = [], threading.Event()
    (receiver,) = started(lambda: (got.append(ours.recv()), event.set()))
    assert event.wait()
    joined([receiver])
    process.join()
    ours.close()
    theirs.close()
    assert got == ["sent"]


def send_late(connection: Any, nap_s: float) -> None:
    """Send a word after a while."""
    time.sleep(nap_s)
    connection.send("sent")


@program(alone=True)
def python_child(pace: Pace) -> None:
    """A child that is a Python under fastlock too ends although a daemon of it sleeps for ever and its pool was never shut down."""
    source = """
import concurrent.futures, threading, time
threading.Thread(target=threading.Event().wait, daemon=True).start()
pool = concurrent.futures.ThreadPoolExecutor(2)
print(sum(pool.map(abs, (-1, -2, -3))))
late = threading.Event()
threading.Thread(target=late.wait).start()
threading.Timer(0.1, late.set).start()
"""
    done = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    assert done.stdout == "6\n"


@program(alone=True)
def forked(pace: Pace) -> None:
    """A child that is a fork of ours, while others of our threads wait, does something with threads of its own."""
    event = threading.Event()
    (waiter,) = started(event.wait)
    pid = os.fork()
    if pid == 0:
        things: Any = queue.Queue()
        (consumer,) = started(lambda: things.get())
        time.sleep(0.05)
        things.put(1)
        consumer.join()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    event.set()
    waiter.join()
