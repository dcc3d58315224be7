"""Threads that are started, joined, restarted, and some that sleep for ever."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from .programs import Dies, Pace, joined, program, started, together


@program()
def joined_in_a_chain(pace: Pace) -> None:
    """Each thread joins the one before it; the first one takes long."""
    order: list[int] = []

    def live(number: int, before: threading.Thread | None) -> None:
        if before is None:
            pace.long()
        else:
            before.join()
        order.append(number)

    threads: list[threading.Thread] = []
    for number in range(6):
        threads += started(lambda n=number, b=threads[-1] if threads else None: live(n, b))
    threads[-1].join()
    assert order == list(range(6))


@program()
def joined_by_many(pace: Pace) -> None:
    """Several threads and the main one join the same thread."""
    (worker,) = started(pace.long)
    together(*[worker.join] * 4)
    worker.join()


@program()
def joined_with_a_limit(pace: Pace) -> None:
    """join() with a limit, in a loop that reports progress."""
    (worker,) = started(pace.late(pace.long))
    while worker.is_alive():
        worker.join(timeout=0.02)


@program()
def joined_while_it_waits(pace: Pace) -> None:
    """The main thread joins one that waits for an event which a third one sets."""
    event = threading.Event()
    (waiter,) = started(event.wait)
    (setter,) = started(pace.late(event.set))
    joined([waiter, setter])


@program()
def a_lock_that_the_joined_wants(pace: Pace) -> None:
    """The lock is let go before the join of a thread that wants it; while it is held the join has a limit."""
    lock = threading.Lock()
    done: list[int] = []

    def work() -> None:
        with lock:
            done.append(1)

    with lock:
        (worker,) = started(work)
        pace.long()
    worker.join()
    assert done == [1]


@program()
def a_family(pace: Pace) -> None:
    """Threads start threads, and join them."""
    born: list[int] = []

    def live(depth: int) -> None:
        born.append(depth)
        pace.maybe_long(0.1)
        if depth:
            together(*[lambda: live(depth - 1)] * 2)

    live(3)
    assert len(born) == 15


@program()
def asleep_for_ever(pace: Pace) -> None:
    """Daemon threads wait for what never comes, and nobody minds: a feature that is not used in this run."""
    never, jobs = threading.Event(), queue.Queue[int]()
    condition = threading.Condition()

    def wait() -> None:
        with condition:
            condition.wait()

    started(never.wait, jobs.get, wait, threading.Semaphore(0).acquire, queue.SimpleQueue[int]().get, daemon=True)
    (worker,) = started(pace.long)
    worker.join()
    pace.long()


@program()
def supervised(pace: Pace) -> None:
    """Workers die of mistakes in the middle of their work; a supervisor puts the work back and starts new ones."""
    jobs: Any = queue.Queue()
    done: list[int] = []
    attempts: dict[int, int] = {}
    for number in range(6):
        jobs.put(number)

    def work() -> None:
        while (number := jobs.get()) is not None:
            pace.maybe_long(0.1)
            attempts[number] = attempts.get(number, 0) + 1
            if attempts[number] == 1 and number % 2:
                jobs.put(number)
                jobs.task_done()
                raise Dies
            done.append(number)
            jobs.task_done()

    stop = threading.Event()

    def supervise() -> None:
        workers = started(work, work)
        while not stop.wait(0.02):
            for place, worker in enumerate(workers):
                if not worker.is_alive():
                    workers[place : place + 1] = started(work)
        for _ in workers:
            jobs.put(None)
        joined(workers)

    (supervisor,) = started(supervise)
    jobs.join()
    stop.set()
    supervisor.join()
    assert sorted(done) == list(range(6))


@program()
def restarted_when_needed(pace: Pace) -> None:
    """A lazy worker ends when it has been idle for a while, and the next job starts another one."""
    jobs: Any = queue.Queue()
    lock = threading.Lock()
    running, done = [False], []

    def work() -> None:
        while True:
            try:
                job = jobs.get(timeout=0.02)
            except queue.Empty:
                with lock:
                    if jobs.empty():
                        running[0] = False
                        return
                continue
            done.append(job)
            jobs.task_done()

    def submit(job: int) -> None:
        with lock:
            jobs.put(job)
            if not running[0]:
                running[0] = True
                started(work)

    for job in range(5):
        submit(job)
        pace.maybe_long(0.5)
    jobs.join()
    while running[0]:
        pace.moment()
    assert done == list(range(5))


class Service(threading.Thread):
    """A thread with an inbox, as a subclass with its own start and stop."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(name="service")
        self._pace, self._inbox = pace, queue.Queue[Callable[[], None] | None]()
        self.calls = 0

    def run(self) -> None:
        for call in iter(self._inbox.get, None):
            self._pace.maybe_long()
            call()
            self.calls += 1

    def call(self, function: Callable[[], Any]) -> Any:
        """Have the thread call a function, and return what that returns."""
        answer: list[Any] = []
        done = threading.Event()
        self._inbox.put(lambda: (answer.append(function()), done.set())[1])
        done.wait()
        return answer[0]

    def stop(self) -> None:
        """End it, and wait for that."""
        self._inbox.put(None)
        self.join()


@program()
def active_object(pace: Pace) -> None:
    """Callers wait for an event of their own until the service has called their function."""
    service = Service(pace)
    service.start()
    together(*[lambda: [service.call(lambda n=n: n * n) for n in range(3)]] * 3)
    assert service.call(lambda: 7) == 7
    service.stop()
    assert service.calls == 10


@program()
def two_services(pace: Pace) -> None:
    """A service that asks another one while it serves; that one never asks back."""
    front, back = Service(pace), Service(pace)
    front.start()
    back.start()
    together(*[lambda: [front.call(lambda n=n: back.call(lambda: n + 1)) for n in range(2)]] * 3)
    front.stop()
    back.stop()
    assert (front.calls, back.calls) == (6, 6)


@program()
def one_after_the_other(pace: Pace) -> None:
    """Threads by the dozen, none of which lives long, take over a lock and a count from each other."""
    lock = threading.Lock()
    count = [0]

    def step() -> None:
        with lock:
            pace.moment()
            count[0] += 1

    for _ in range(12):
        together(step, step)
    assert count == [24]


@program()
def leader(pace: Pace) -> None:
    """One thread leads and the others wait to take over, which they do when the leader ends."""
    leading = threading.Lock()
    led: list[int] = []

    def stand(number: int) -> None:
        with leading:
            led.append(number)
            pace.long()

    together(*(lambda n=n: stand(n) for n in range(4)))
    assert sorted(led) == [0, 1, 2, 3]


@program()
def background_refresh(pace: Pace) -> None:
    """A daemon refreshes a value at each interval until it is told to stop, by an event that it waits for with a limit."""
    stop, refreshed = threading.Event(), threading.Semaphore(0)

    def refresh() -> None:
        while not stop.wait(0.02):
            refreshed.release()

    (refresher,) = started(refresh, daemon=True)
    for _ in range(3):
        refreshed.acquire()
    pace.long()
    stop.set()
    refresher.join()
