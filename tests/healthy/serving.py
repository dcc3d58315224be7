"""Workers and clients that know each other by queues: who serves, who comes late, who is replaced."""

from __future__ import annotations

import queue
from typing import Any

from .programs import Pace, joined, program, started, together


@program()
def priorities(pace: Pace) -> None:
    """A scheduler takes what is most urgent; the end's mark is the least urgent of all."""
    jobs: Any = queue.PriorityQueue()
    order: list[int] = []
    for number in pace.shuffled(range(10)):
        jobs.put((number, f"job {number}"))

    def run() -> None:
        while True:
            urgency, _ = jobs.get()
            pace.moment()
            if urgency == 99:
                return
            order.append(urgency)

    (runner,) = started(run)
    pace.long()
    jobs.put((99, "end"))
    runner.join()
    assert order == list(range(10))


@program()
def last_in_first_out(pace: Pace) -> None:
    """A stack of directories is walked by workers that push what they find, and is joined."""
    stack: Any = queue.LifoQueue()
    visited: list[tuple[int, ...]] = []

    def walk() -> None:
        while (path := stack.get()) is not None:
            pace.maybe_long(0.05)
            visited.append(path)
            if len(path) < 3:
                for name in range(3):
                    stack.put((*path, name))
            stack.task_done()

    walkers = started(*[walk] * 2)
    stack.put(())
    stack.join()
    for _ in walkers:
        stack.put(None)
    joined(walkers)
    assert len(visited) == len(set(visited)) == 1 + 3 + 9 + 27


@program()
def idle_workers(pace: Pace) -> None:
    """Workers sit in get() while there is nothing to do, and the main thread is busy with something else."""
    jobs: Any = queue.Queue()
    done: Any = queue.Queue()

    def serve() -> None:
        while (job := jobs.get()) is not None:
            done.put(-job)

    workers = started(*[serve] * 4, daemon=True)
    for burst in range(3):
        pace.long()
        for job in range(5):
            jobs.put(job)
        assert sorted(done.get() for _ in range(5)) == [-4, -3, -2, -1, 0]
    pace.long()
    for _ in workers:
        jobs.put(None)
    joined(workers)


@program()
def short_lived_producers(pace: Pace) -> None:
    """Each number comes from a thread that ends with it; the main thread waits in get() for the next one's."""
    numbers: Any = queue.Queue()

    def dispatch() -> None:
        for number in range(4):
            (producer,) = started(lambda number=number: (pace.long(), numbers.put(number)))
            producer.join()
            pace.long()

    (dispatcher,) = started(dispatch)
    assert [numbers.get() for _ in range(4)] == list(range(4))
    dispatcher.join()


@program()
def replies(pace: Pace) -> None:
    """Each client sends a queue with its request and waits there for the answer, which one server sends."""
    requests: Any = queue.Queue()

    def serve() -> None:
        while (request := requests.get()) is not None:
            number, answer = request
            pace.maybe_long()
            answer.put(number + 1)

    def ask() -> None:
        for number in range(3):
            answer: Any = queue.Queue(1)
            requests.put((number, answer))
            assert answer.get() == number + 1

    (server,) = started(serve)
    together(*[ask] * 4)
    requests.put(None)
    server.join()


@program()
def ping_pong(pace: Pace) -> None:
    """Two threads send a ball to and fro; one of them always waits for the other."""
    there: Any = queue.Queue(1)
    back: Any = queue.Queue(1)

    def pong() -> None:
        while (ball := there.get()) is not None:
            pace.maybe_long()
            back.put(ball + 1)

    (player,) = started(pong)
    ball = 0
    for _ in range(8):
        there.put(ball)
        ball = back.get()
        pace.maybe_long(0.05)
    there.put(None)
    player.join()
    assert ball == 8


@program()
def handed_back(pace: Pace) -> None:
    """A worker puts what fails back into its own queue, which has room; the third attempt succeeds."""
    jobs: Any = queue.Queue()
    attempts: list[int] = []

    def work() -> None:
        while (job := jobs.get()) is not None:
            number, left = job
            pace.moment()
            attempts.append(number)
            if left > 1:
                jobs.put((number, left - 1))
            jobs.task_done()

    workers = started(*[work] * 2)
    for number in range(6):
        jobs.put((number, 3))
    jobs.join()
    for _ in workers:
        jobs.put(None)
    joined(workers)
    assert sorted(attempts) == sorted(list(range(6)) * 3)


@program()
def handed_back_with_a_limit(pace: Pace) -> None:
    """A worker's own queue may be full: then it waits there for a limited time, and does the work at once."""
    jobs: Any = queue.Queue(2)
    done: list[int] = []

    def work() -> None:
        while (job := jobs.get()) is not None:
            while job:
                pace.moment()
                done.append(job)
                try:
                    jobs.put(job - 1, timeout=0.02)
                    break
                except queue.Full:
                    job -= 1
            jobs.task_done()

    workers = started(*[work] * 2)
    for _ in range(3):
        jobs.put(3)
    jobs.join()
    for _ in workers:
        jobs.put(None)
    joined(workers)
    assert sorted(job for job in done if job) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@program()
def late_consumer(pace: Pace) -> None:
    """The queue is full long before anybody has ever taken from it: its consumer has to be made ready first."""
    numbers: Any = queue.Queue(1)
    seen: list[int] = []

    def consume() -> None:
        pace.long()
        pace.long()
        seen.extend(iter(numbers.get, None))

    (consumer,) = started(consume)
    for number in (0, 1, 2, None):
        numbers.put(number)
    consumer.join()
    assert seen == [0, 1, 2]


@program()
def recycled_consumers(pace: Pace) -> None:
    """A consumer takes three numbers and ends; a supervisor sees it and starts the next one, after a while, as servers do with workers."""
    numbers: Any = queue.Queue(1)
    seen: list[int] = []

    def consume() -> None:
        for _ in range(3):
            seen.append(numbers.get())

    def supervise() -> None:
        while len(seen) < 9:
            joined(started(consume))
            pace.long()

    (supervisor,) = started(supervise)
    for number in range(9):
        numbers.put(number)
    supervisor.join()
    assert seen == list(range(9))


@program()
def a_queue_in_a_queue(pace: Pace) -> None:
    """A manager lends channels out of a pool of queues, which come back by a queue."""
    channels: Any = queue.Queue()
    for _ in range(2):
        channels.put(queue.Queue())

    def use() -> None:
        for number in range(3):
            channel = channels.get()
            channel.put(number)
            pace.maybe_long()
            assert channel.get() == number
            channels.put(channel)

    together(*[use] * 4)
    assert channels.qsize() == 2
