"""Conditions, and what people build of them."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from .programs import Pace, joined, program, started, together


class Buffer:
    """A bounded buffer with one lock and two conditions."""

    def __init__(self, room: int) -> None:
        self._room, self._things = room, deque[Any]()
        self._lock = threading.Lock()
        self._not_full, self._not_empty = threading.Condition(self._lock), threading.Condition(self._lock)

    def put(self, thing: Any) -> None:
        """Add a thing, when there is room."""
        with self._not_full:
            while len(self._things) == self._room:
                self._not_full.wait()
            self._things.append(thing)
            self._not_empty.notify()

    def take(self) -> Any:
        """Take a thing, when there is one."""
        with self._not_empty:
            while not self._things:
                self._not_empty.wait()
            self._not_full.notify()
            return self._things.popleft()


@program()
def bounded_buffer(pace: Pace) -> None:
    """A quick producer and slow consumers, or the reverse, with a buffer of one's own."""
    buffer = Buffer(2)
    slow = pace.number(0, 1)
    taken: list[int] = []

    def produce() -> None:
        for number in range(8):
            pace.maybe_long(0.3 * slow)
            buffer.put(number)

    def consume() -> None:
        for _ in range(8):
            taken.append(buffer.take())
            pace.maybe_long(0.3 * (1 - slow))

    together(*[produce] * 2, *[consume] * 2)
    assert sorted(taken) == sorted([*range(8)] * 2)


@program()
def told_to_all(pace: Pace) -> None:
    """A new configuration is announced by notify_all(), and everybody waits for the next one."""
    changed = threading.Condition()
    version = [0]
    seen: list[int] = []

    def follow() -> None:
        mine = 0
        with changed:
            while mine < 4:
                changed.wait_for(lambda: version[0] > mine)
                mine = version[0]
                seen.append(mine)

    threads = started(*[follow] * 3)
    for number in range(1, 5):
        pace.long()
        with changed:
            version[0] = number
            changed.notify_all()
    joined(threads)
    assert seen.count(4) == 3


@program()
def new_notifier_each_time(pace: Pace) -> None:
    """The main thread waits for a count; each step is notified by another thread, which ends with it."""
    stepped = threading.Condition()
    count = [0]

    def step() -> None:
        pace.long()
        with stepped:
            count[0] += 1
            stepped.notify()

    def run() -> None:
        for _ in range(4):
            joined(started(step))

    (runner,) = started(run)
    with stepped:
        stepped.wait_for(lambda: count[0] == 4)
    runner.join()


@program()
def with_a_limit(pace: Pace) -> None:
    """wait_for() with a limit, in a loop, as heartbeats do."""
    beat = threading.Condition()
    beats = [0]

    def watch() -> None:
        last = 0
        with beat:
            while last < 4:
                if beat.wait_for(lambda: beats[0] > last, timeout=0.02):
                    last = beats[0]

    (watcher,) = started(watch)
    for _ in range(4):
        pace.long()
        with beat:
            beats[0] += 1
            beat.notify()
    watcher.join()
    assert beats == [4]


@program()
def nobody_notifies_but_time(pace: Pace) -> None:
    """A poller sleeps in wait(timeout) and is never woken by anybody."""
    sleeping = threading.Condition()
    looks = [0]

    def poll() -> None:
        for _ in range(5):
            with sleeping:
                sleeping.wait(timeout=0.02)
            looks[0] += 1

    joined(started(poll))
    assert looks == [5]


@program()
def resources(pace: Pace) -> None:
    """A pool that hands out several resources at a time, first come first served."""
    free = threading.Condition()
    left = [4]
    queue: deque[object] = deque()

    def use(wanted: int) -> None:
        me = object()
        for _ in range(3):
            with free:
                queue.append(me)
                free.wait_for(lambda: queue[0] is me and left[0] >= wanted)
                queue.popleft()
                left[0] -= wanted
                free.notify_all()
            pace.maybe_long(0.2)
            with free:
                left[0] += wanted
                free.notify_all()

    together(*(lambda n=n: use(n) for n in (1, 2, 3, 4, 2)))
    assert left == [4]


@program()
def read_write_lock_of_ones_own(pace: Pace) -> None:
    """A read-write lock made of a condition and a counter."""
    changed = threading.Condition()
    readers, value = [0], [0]

    def read() -> None:
        for _ in range(4):
            with changed:
                readers[0] += 1
            pace.maybe_long(0.2)
            with changed:
                readers[0] -= 1
                if not readers[0]:
                    changed.notify_all()

    def write() -> None:
        for _ in range(4):
            with changed:
                changed.wait_for(lambda: not readers[0])
                value[0] += 1
            pace.moment()

    together(*[read] * 2, write)
    assert value == [4]


@program()
def countdown(pace: Pace) -> None:
    """A latch: the main thread goes on when all workers have counted down, whoever is the last."""
    zero = threading.Condition()
    left = [5]

    def work() -> None:
        pace.maybe_long(0.5)
        with zero:
            left[0] -= 1
            if not left[0]:
                zero.notify_all()

    threads = started(*[work] * 5)
    with zero:
        zero.wait_for(lambda: not left[0])
    joined(threads)


@program()
def turns(pace: Pace) -> None:
    """Threads take turns by number on one condition; at each moment all but one of them wait."""
    turn = threading.Condition()
    log: list[int] = []

    def play(number: int) -> None:
        for step in range(3):
            with turn:
                turn.wait_for(lambda: len(log) == 4 * step + number)
            pace.maybe_long(0.1)
            with turn:
                log.append(number)
                turn.notify_all()

    together(*(lambda n=n: play(n) for n in range(4)))
    assert log == [*range(4)] * 3


@program()
def shared_lock(pace: Pace) -> None:
    """Three conditions share one re-entrant lock that is taken twice where they are waited for."""
    lock = threading.RLock()
    conditions = [threading.Condition(lock) for _ in range(3)]
    state = [0]

    def advance(number: int) -> None:
        for step in range(3):
            with lock, conditions[number]:
                conditions[number].wait_for(lambda: state[0] == 3 * step + number)
                pace.maybe_long(0.05)
                state[0] += 1
                conditions[(number + 1) % 3].notify_all()

    together(*(lambda n=n: advance(n) for n in range(3)))
    assert state == [9]


@program()
def lazily_made(pace: Pace) -> None:
    """Who comes first makes the thing outside the lock, the others wait until it is there."""
    made = threading.Condition()
    thing: list[str] = []
    state = ["none"]

    def get() -> str:
        with made:
            if state[0] == "none":
                state[0] = "making"
            else:
                made.wait_for(lambda: state[0] == "made")
                return thing[0]
        pace.long()
        with made:
            thing.append("thing")
            state[0] = "made"
            made.notify_all()
        return thing[0]

    seen: list[str] = []
    together(*[lambda: seen.append(get())] * 4)
    assert seen == ["thing"] * 4 and len(thing) == 1


@program()
def dispatcher_and_waiters(pace: Pace) -> None:
    """Each waiter has a condition of its own, which it throws away; one dispatcher notifies the right one."""
    waiting: dict[int, threading.Condition] = {}
    answers: dict[int, int] = {}
    lock = threading.Lock()
    asked = threading.Semaphore(0)

    def dispatch() -> None:
        for _ in range(8):
            asked.acquire()
            pace.maybe_long(0.2)
            with lock:
                number = pace.one_of(sorted(waiting))
                answers[number] = number * 2
                waiting.pop(number).notify()

    def ask(number: int) -> None:
        for step in (0, 10):
            with lock:
                mine = waiting[number + step] = threading.Condition(lock)
                asked.release()
                mine.wait_for(lambda: number + step in answers)
            assert answers[number + step] == 2 * (number + step)

    threads = started(dispatch)
    together(*(lambda n=n: ask(n) for n in range(4)))
    joined(threads)
