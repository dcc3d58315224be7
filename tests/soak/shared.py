"""What the steps of a program share. Each has its place in one order, which is the order in which they may be used within one another."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import fastlock

from .maker import Run

SERVED_BY = ("future", "event", "queue", "simple queue", "condition")


class Shared(ABC):
    """Something that one step at a time, or some, can be inside of; who waits to get in waits for those that are in it."""

    sure = True  # who has it is known to give it back

    @abstractmethod
    def use(self, run: Run) -> None:
        """Run something inside it; any thread."""

    def close(self) -> None:
        """End what it has of threads."""

    def __str__(self) -> str:
        return type(self).__name__.lower()


class Locked(Shared):
    """A lock, as a context manager that is made anew for each use."""

    def __init__(self, kind: str, enter: Run, sure: bool = True) -> None:
        self._kind, self._enter, self.sure = kind, enter, sure

    def use(self, run: Run) -> None:
        with self._enter():
            run()

    def __str__(self) -> str:
        return self._kind


class Deep(Shared):
    """An RLock that is taken twice."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def use(self, run: Run) -> None:
        with self._lock, self._lock:
            run()


class Upgrading(Shared):
    """An RWLock that is read, written, and read upgradably with a write inside."""

    def __init__(self, rng: random.Random) -> None:
        self._lock = fastlock.RWLock(prefer=rng.choice(["reader", "writer"]))
        self._rng = random.Random(rng.random())

    def use(self, run: Run) -> None:
        way = self._rng.choice(["read", "write", "upgradable", "upgraded"])
        if way != "upgraded":
            with getattr(self._lock, way)():
                run()
            return
        with self._lock.upgradable(), self._lock.write():
            run()


class Pool(Shared):
    """An executor of few workers."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers)

    def use(self, run: Run) -> None:
        self._pool.submit(run).result()

    def close(self) -> None:
        self._pool.shutdown()

    def __str__(self) -> str:
        return f"pool of {self._workers}"


class Server(Shared):
    """A thread that is given requests by a queue, and answers in one of the usual ways."""

    def __init__(self, way: str, room: int) -> None:
        self._way = way
        self._requests: queue.Queue[Any] = queue.Queue(room)
        self._thread = threading.Thread(target=self._serve, name=f"server by {way}")
        self._thread.start()

    def use(self, run: Run) -> None:
        answer, wait = _answer(self._way)
        self._requests.put((run, answer))
        wait()

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            run, answer = request
            run()
            answer()
            self._requests.task_done()

    def close(self) -> None:
        self._requests.put(None)
        self._thread.join()

    def __str__(self) -> str:
        return f"server by {self._way}"


class Loop(Shared):
    """An event loop in a thread of its own: what is to be run is run by its executor, under a lock of asyncio's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = asyncio.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop")
        self._thread.start()

    def use(self, run: Run) -> None:
        asyncio.run_coroutine_threadsafe(self._serve(run), self._loop).result()

    async def _serve(self, run: Run) -> None:
        async with self._lock:
            await self._loop.run_in_executor(None, run)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _answer(way: str) -> tuple[Run, Run]:
    """Return what answers a request, and what waits for that."""
    if way == "future":
        future: Future[None] = Future()
        return lambda: future.set_result(None), future.result
    if way == "event":
        event = threading.Event()
        return event.set, event.wait
    if way == "condition":
        return _by_condition()
    answers: Any = queue.SimpleQueue() if way == "simple queue" else queue.Queue()
    return lambda: answers.put(1), answers.get


def _by_condition() -> tuple[Run, Run]:
    condition, answered = threading.Condition(), []

    def answer() -> None:
        with condition:
            answered.append(1)
            condition.notify_all()

    def wait() -> None:
        with condition:
            condition.wait_for(lambda: answered)

    return answer, wait


def make(rng: random.Random, loops: bool) -> list[Shared]:
    """Return what a program shares, in its order; `loops`: with event loops."""
    lock, permits = threading.Lock(), threading.Semaphore(rng.randint(1, 2))
    condition = threading.Condition()
    kinds: list[Any] = [
        lambda: Locked("lock", lambda: lock),
        Deep,
        lambda: Locked("condition", lambda: condition),
        lambda: Locked("semaphore", lambda: permits, sure=False),
        lambda: Upgrading(rng),
        lambda: Pool(rng.randint(1, 3)),
        lambda: Server(rng.choice(SERVED_BY), rng.randint(0, 2)),
        *([Loop] if loops else []),
    ]
    rng.shuffle(kinds)
    return [kind() for kind in kinds[: rng.randint(3, len(kinds))]]
