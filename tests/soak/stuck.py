"""Steps that never end, and leave no thread that runs: the mistakes that a program makes once in a thousand."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import Any

import fastlock

from . import rings
from .maker import Maker, Step, together


def no_more_to_get(rng: random.Random) -> None:
    """The producer has ended and left no word."""
    items: Any = rng.choice([queue.Queue, queue.LifoQueue, queue.SimpleQueue])()
    count = rng.randint(0, 4)
    together([lambda: [items.put(number) for number in range(count)]], "producer")
    for _ in range(count + 1):
        items.get()


def nobody_takes(rng: random.Random) -> None:
    """The consumer has ended before all is put."""
    items: queue.Queue[int] = queue.Queue(1)
    count = rng.randint(0, 4)

    def consume() -> None:
        for _ in range(count):
            items.get()

    consumer = threading.Thread(target=consume, name="consumer")
    consumer.start()
    for number in range(count + 2):
        items.put(number)


def not_all_done(rng: random.Random) -> None:
    """A worker has forgotten to say that a piece is done, and waits for more."""
    items: queue.Queue[int] = queue.Queue()
    goes_on = rng.random() < 0.5

    def work() -> None:
        for number in range(3):
            items.get()
            if number:
                items.task_done()
        if goes_on:
            items.get()

    threading.Thread(target=work, name="worker").start()
    for number in range(3):
        items.put(number)
    items.join()


def nobody_sets(rng: random.Random) -> None:
    """An event that whoever was to set it has cleared."""
    ready = threading.Event()

    def prepare() -> None:
        for _ in range(rng.randint(0, 3)):
            ready.set()
            ready.clear()

    together([prepare], "prepare")
    ready.wait()


def nobody_notifies(rng: random.Random) -> None:
    """The notification came before the wait."""
    condition = threading.Condition()

    def notify() -> None:
        with condition:
            condition.notify()

    together([notify] * rng.randint(0, 3), "notify")
    with condition:
        condition.wait()


def one_party_short(rng: random.Random) -> None:
    """One of those who were to meet has ended."""
    meeting = threading.Barrier(3)
    together([meeting.wait, meeting.wait], "party")


def permit_within_permit(rng: random.Random) -> None:
    """The last permit is wanted by who has it."""
    permits = threading.Semaphore(1)
    with permits, permits:
        pass


def lock_within_lock(rng: random.Random) -> None:
    """A lock that is wanted by who has it."""
    lock = threading.Lock()
    with lock, lock:
        pass


def write_within_read(rng: random.Random) -> None:
    """A read lock that is to become a write lock."""
    lock = fastlock.RWLock()
    with lock.read(), lock.write():
        pass


def abandoned(rng: random.Random) -> None:
    """The owner has ended."""
    lock = threading.RLock()
    together([lock.acquire], "owner")
    lock.acquire()


def starved(rng: random.Random) -> None:
    """Every worker of a pool waits for what is queued behind it."""
    size, way = rng.randint(1, 3), rng.choice(["result", "wait", "as completed"])
    pool, all_run = ThreadPoolExecutor(size), threading.Barrier(size)

    def job() -> None:
        all_run.wait()
        inner = pool.submit(int)
        if way == "result":
            inner.result()
        elif way == "wait":
            wait([inner], return_when=FIRST_COMPLETED)
        else:
            next(as_completed([inner]))

    for future in [pool.submit(job) for _ in range(size)]:
        future.result()


def never_resolved(rng: random.Random) -> None:
    """A future of the program's, whose thread has ended."""
    promise: Future[int] = Future()
    together([promise.running], "resolver")
    promise.result()


WAYS: tuple[Callable[[random.Random], None], ...] = (
    no_more_to_get, nobody_takes, not_all_done, nobody_sets, nobody_notifies, one_party_short, permit_within_permit, lock_within_lock, write_within_read,
    abandoned, starved, never_resolved,
)  # fmt: skip


def mistake(maker: Maker) -> Step:
    """One of these."""
    way, rng = maker.rng.choice(WAYS), random.Random(maker.rng.random())
    if way is permit_within_permit:
        maker.whole.doubts.add("semaphore")
    return Step(f"STUCK: {way.__name__}", lambda: way(rng))


def ring(maker: Maker) -> Step:
    """Locks, threads, jobs, servers, each of which waits for the next one."""
    kinds = rings.choose(maker.rng)
    return Step(f"STUCK: ring of {', '.join(kind.__name__ for kind in kinds)}", lambda: rings.close(kinds))


LEAVES = (mistake, ring)
