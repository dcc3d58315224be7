"""Rings: each member keeps something from others until it has got what the next one keeps."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import fastlock

Run = Callable[[], Any]
# keep(go): begins a thread or a job that calls go() while it keeps its thing from others. want(): waits for that thing.
Member = tuple[Callable[[Run], None], Run]


def locked(enter: Callable[[], Any], want: Callable[[], Any] | None = None) -> Member:
    """Inside of a lock; who wants it waits for the lock."""

    def keep(go: Run) -> None:
        def holder() -> None:
            with enter():
                go()

        threading.Thread(target=holder, name="holder").start()

    def wanted() -> None:
        with (want or enter)():
            pass

    return keep, wanted


def lock() -> Member:
    """A lock."""
    lock = threading.Lock()
    return locked(lambda: lock)


def rlock() -> Member:
    """A re-entrant lock."""
    lock = threading.RLock()
    return locked(lambda: lock)


def read_and_write() -> Member:
    """A reader, and who wants to write."""
    lock = fastlock.RWLock()
    return locked(lock.read, lock.write)


def upgradable() -> Member:
    """An upgradable reader, and another one."""
    lock = fastlock.RWLock()
    return locked(lock.upgradable, lock.upgradable)


def upgraded() -> Member:
    """An upgradable reader that wants to write while another reads."""
    lock, reading = fastlock.RWLock(), threading.Event()

    def keep(go: Run) -> None:
        def reader() -> None:
            with lock.read():
                reading.set()
                go()

        threading.Thread(target=reader, name="reader").start()

    def want() -> None:
        reading.wait()
        with lock.upgradable(), lock.write():
            pass

    return keep, want


def thread() -> Member:
    """A thread, and who joins it."""
    begun: list[threading.Thread] = []

    def keep(go: Run) -> None:
        begun.append(threading.Thread(target=go, name="joined"))
        begun[0].start()

    return keep, lambda: begun[0].join()


def job() -> Member:
    """A job, and who waits for its result."""
    pool, futures = ThreadPoolExecutor(1), list[Future[Any]]()
    return lambda go: futures.append(pool.submit(go)), lambda: futures[0].result()


def worker() -> Member:
    """A pool's only worker, and who waits for a job behind its own."""
    pool = ThreadPoolExecutor(1)
    return lambda go: pool.submit(go) and None, lambda: pool.submit(int).result()


def loop() -> Member:
    """An event loop whose thread is held up by a coroutine, and who waits for that."""
    own, futures = asyncio.new_event_loop(), list[Any]()

    def keep(go: Run) -> None:
        async def held_up() -> None:
            go()

        threading.Thread(target=own.run_forever, name="loop").start()
        futures.append(asyncio.run_coroutine_threadsafe(held_up(), own))

    return keep, lambda: futures[0].result()


def server(answers: Callable[[], tuple[Run, Run]]) -> Callable[[], Member]:
    """A thread that answers a question when it can, and who asks."""

    def made() -> Member:
        questions: queue.Queue[Run] = queue.Queue()
        answer, wait = answers()

        def keep(go: Run) -> None:
            def serve() -> None:
                question = questions.get()
                go()
                question()

            threading.Thread(target=serve, name="server").start()
            questions.put(answer)

        return keep, wait

    made.__name__ = f"server {answers.__name__}"
    return made


def by_event() -> tuple[Run, Run]:
    """Answer by an event."""
    event = threading.Event()
    return event.set, event.wait


def by_queue() -> tuple[Run, Run]:
    """Answer by a queue."""
    answers: queue.Queue[int] = queue.Queue()
    return lambda: answers.put(1), answers.get


def by_barrier() -> tuple[Run, Run]:
    """Answer by coming: the one who wants what it is the answer to, and the one who begins the ring."""
    barrier = threading.Barrier(3)
    return barrier.wait, barrier.wait


def consumer() -> Member:
    """A thread that takes from a queue, and who puts into it."""
    items: queue.Queue[int] = queue.Queue(1)
    items.put(0)

    def keep(go: Run) -> None:
        def consume() -> None:
            items.get()
            items.put(0)
            go()
            items.get()

        threading.Thread(target=consume, name="consumer").start()

    return keep, lambda: items.put(1)


KINDS: tuple[Callable[[], Member], ...] = (
    lock, rlock, read_and_write, upgradable, upgraded, thread, job, worker, loop, server(by_event), server(by_queue), server(by_barrier), consumer,
)  # fmt: skip


def choose(rng: random.Random) -> Sequence[Callable[[], Member]]:
    """Return kinds for a ring."""
    return [rng.choice(KINDS) for _ in range(rng.randint(2, 5))]


def close(kinds: Sequence[Callable[[], Member]]) -> None:
    """Make a ring of these members, each of which wants the next one's as soon as all keep theirs; and want the first one's."""
    members = [kind() for kind in kinds]
    all_keep = threading.Barrier(len(members) + 1)

    def go(number: int) -> None:
        all_keep.wait()
        members[(number + 1) % len(members)][1]()

    for number, (keep, _) in enumerate(members):
        keep(lambda number=number: go(number))  # type: ignore[misc]
    all_keep.wait()
    members[0][1]()
