"""Stalls at the end: the main thread is over, and waits for threads that never end; told on every interpreter, also where Python starts no thread any more."""

from __future__ import annotations

import pytest

from support import run_program

HEAD = """
import queue, sys, threading
import fastlock
from support import *
fastlock.install()
fastlock.configure(slow_wait=0.05, on_deadlock="exit")
"""

# What the thread does that keeps the process, what the main thread does before it ends, and what is told.
STUCK = {
    "get": ("things.get()", "things = queue.Queue()", "waits in Queue.get on things, empty"),
    "a barrier that the main thread has come to": (
        "barrier.wait(); barrier.wait()",
        "barrier = threading.Barrier(2); after = barrier.wait",
        "MainThread, which has come to its end and waits for all other threads to",
    ),
    "an event that the main thread has set": (
        "event.wait(); event.clear(); event.wait()",
        "event = threading.Event(); before = event.set",
        "MainThread, which has come to its end and waits for all other threads to",
    ),
    "a lock that the main thread has": (
        "lock.acquire()",
        "lock = threading.RLock(); before = lock.acquire",
        "waits for lock at program.py:10, held by MainThread, which has come to its end and waits for all other threads to",
    ),
    "a future of nobody's": (
        "promise.result()",
        "from concurrent.futures import Future; promise = Future()",
        "waits for result of a future at program.py:10, and who would bring it is not known",
    ),
}


@pytest.mark.parametrize("waits, first, says", STUCK.values(), ids=STUCK)
def test_a_thread_that_keeps_the_process_from_ending(waits: str, first: str, says: str) -> None:
    """The thread becomes late when the main one has ended already, so that whoever tells it begins only then."""
    done = run_program(
        f"""{HEAD}
before = after = int
{first}
def stuck(): {waits}
before()
threading.Thread(target=stuck, name="stuck").start()
after()
"""
    )
    assert done.returncode == 3, done.stderr
    assert "FL031 stall" in done.stderr
    assert says in " ".join(done.stderr.split()), done.stderr
    assert "nothing in the process can run" in done.stderr


def test_who_is_waited_for_at_the_end_and_goes_on() -> None:
    """Somebody is late while the main thread waits for all, and is woken by another one: nothing is said, and the process ends by itself."""
    done = run_program(
        f"""{HEAD}
from fastlock import _overdue
event = threading.Event()
def waits():
    event.wait()
    print("woken", flush=True)
def sets():
    wait_until(lambda: _overdue.due_ns() > 0 or fastlock.find_deadlocks())
    threading.main_thread().join()
    event.set()
threading.Thread(target=waits).start()
threading.Thread(target=sets).start()
"""
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["woken"], "")
