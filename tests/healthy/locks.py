"""Locks and read-write locks: held while others wait, handed over, given up, upgraded."""

from __future__ import annotations

import threading

import fastlock

from .programs import Pace, joined, program, started, together


@program()
def readers_and_a_writer(pace: Pace) -> None:
    """A cache behind a read-write lock: many read for long, one writes now and then."""
    lock = fastlock.RWLock()
    cache = {"version": 0}
    seen: list[int] = []

    def read() -> None:
        for _ in range(4):
            with lock.read():
                seen.append(cache["version"])
                pace.maybe_long(0.2)

    def write() -> None:
        for _ in range(4):
            with lock.write():
                pace.maybe_long(0.1)
                cache["version"] += 1

    together(*[read] * 4, write)
    assert cache["version"] == 4 and max(seen) <= 4


@program()
def readers_first(pace: Pace) -> None:
    """A lock that prefers readers, which read within a read while a writer waits."""
    lock = fastlock.RWLock(prefer="reader")
    written: list[int] = []

    def read() -> None:
        with lock.read():
            pace.long()
            with lock.read():
                pace.moment()

    threads = started(read, read, lambda: (pace.moment(), lock.acquire_write(), written.append(1), lock.release_write()))
    joined(threads)
    assert written == [1]


@program()
def upgraded(pace: Pace) -> None:
    """A cache that is looked at and, where nothing is there yet, written to, by who has the one share that may become the writer's, beside readers."""
    lock = fastlock.RWLock()
    cache: dict[int, int] = {}
    made: list[int] = []

    def get(number: int) -> int:
        with lock.read():
            if number in cache:
                return cache[number]
        with lock.upgradable():
            if number not in cache:
                pace.maybe_long(0.3)
                made.append(number)
                with lock.write():
                    cache[number] = number * number
            return cache[number]

    together(*[lambda: [get(number) for number in pace.shuffled(range(6))]] * 4)
    assert sorted(made) == list(range(6))


@program()
def philosophers(pace: Pace) -> None:
    """They dine: each takes the fork with the lower number first."""
    forks = [threading.Lock() for _ in range(4)]
    eaten = [0] * 4

    def dine(number: int) -> None:
        low, high = sorted((number, (number + 1) % 4))
        for _ in range(3):
            with forks[low]:
                pace.moment()
                with forks[high]:
                    pace.maybe_long(0.1)
                    eaten[number] += 1

    together(*(lambda n=n: dine(n) for n in range(4)))
    assert eaten == [3] * 4


@program()
def all_at_once(pace: Pace) -> None:
    """Transfers between accounts take both locks by acquire_all, in either order."""
    accounts = [[fastlock.Lock(), 100] for _ in range(3)]

    def transfer(source: int, target: int) -> None:
        for _ in range(4):
            with fastlock.acquire_all(accounts[source][0], accounts[target][0]):
                pace.maybe_long(0.1)
                accounts[source][1] -= 1
                accounts[target][1] += 1

    together(*(lambda a=a, b=b: transfer(a, b) for a, b in ((0, 1), (1, 2), (2, 0), (1, 0))))
    assert sum(balance for _, balance in accounts) == 300


@program(guesses=["FL002"])
def lock_as_a_signal(pace: Pace) -> None:
    """A lock that is taken at first and released by another thread announces something."""
    done = threading.Lock()
    done.acquire()
    threads = started(pace.late(done.release))
    done.acquire()
    done.release()
    joined(threads)


@program(guesses=["FL002"])
def passed_from_hand_to_hand(pace: Pace) -> None:
    """A lock is taken by one thread and released by the next, in a chain, as some libraries do for a hand-over."""
    baton = threading.Lock()
    log: list[int] = []

    def run(number: int, before: threading.Event, after: threading.Event) -> None:
        before.wait()
        log.append(number)
        pace.maybe_long()
        baton.release()
        baton.acquire()
        after.set()

    baton.acquire()
    events = [threading.Event() for _ in range(5)]
    threads = started(*(lambda n=n: run(n, events[n], events[n + 1]) for n in range(4)))
    pace.long()
    events[0].set()
    events[-1].wait()
    baton.release()
    joined(threads)
    assert log == [0, 1, 2, 3]


@program()
def recursion(pace: Pace) -> None:
    """A re-entrant lock is taken again and again by its owner while others wait for it."""
    lock = threading.RLock()
    depth: list[int] = []

    def down(left: int) -> None:
        with lock:
            pace.maybe_long(0.05)
            if left:
                down(left - 1)
            else:
                depth.append(1)

    together(*[lambda: down(6)] * 3)
    assert len(depth) == 3


@program()
def impatient(pace: Pace) -> None:
    """Who cannot have both locks in time gives back the first, and tries again in the same order."""
    first, second = threading.Lock(), threading.Lock()
    done: list[int] = []

    def work() -> None:
        while True:
            with first:
                if second.acquire(timeout=0.01):
                    break
            pace.moment()
        pace.maybe_long(0.5)
        done.append(1)
        second.release()

    together(*[work] * 4)
    assert len(done) == 4
