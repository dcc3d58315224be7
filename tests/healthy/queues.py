"""Producers and consumers around one queue, or two."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any

from .programs import Pace, program, started, joined, together

Numbers = "queue.Queue[int | None]"


@program()
def sentinel(pace: Pace) -> None:
    """A consumer takes until it meets the end's mark, which the slow producer sends last."""
    numbers: Any = queue.Queue()
    seen: list[int] = []

    def consume() -> None:
        while (number := numbers.get()) is not None:
            pace.moment()
            seen.append(number)

    (consumer,) = started(consume)
    for number in range(8):
        pace.maybe_long()
        numbers.put(number)
    pace.long()
    numbers.put(None)
    consumer.join()
    assert seen == list(range(8))


@program()
def done_and_join(pace: Pace) -> None:
    """The main thread joins the queue while daemon workers, which never end, tick off what they have taken."""
    numbers: Any = queue.Queue()
    total = []

    def serve() -> None:
        while True:
            number = numbers.get()
            pace.maybe_long()
            total.append(number)
            numbers.task_done()
            if number < 0:
                return

    workers = started(*[serve] * 3, daemon=True)
    for number in range(20):
        numbers.put(number)
    numbers.join()
    assert sorted(total) == list(range(20))
    for _ in workers:
        numbers.put(-1)
    numbers.join()
    joined(workers)


@program()
def bounded(pace: Pace) -> None:
    """A quick producer waits in put() for a slow consumer most of the time."""
    numbers: Any = queue.Queue(2)

    def produce() -> None:
        for number in range(12):
            numbers.put(number)
        numbers.put(None)

    (producer,) = started(produce)
    total = 0
    while (number := numbers.get()) is not None:
        pace.maybe_long(0.3)
        total += number
    producer.join()
    assert total == 66


@program()
def many_of_either(pace: Pace) -> None:
    """Several producers and consumers share a small queue; the last producer sends one end's mark for each consumer."""
    numbers: Any = queue.Queue(3)
    taken: list[int] = []

    def produce() -> None:
        for number in range(10):
            pace.maybe_long(0.1)
            numbers.put(number)

    def consume() -> None:
        while (number := numbers.get()) is not None:
            pace.moment()
            taken.append(number)

    consumers, producers = started(*[consume] * 3), started(*[produce] * 4)
    joined(producers)
    for _ in consumers:
        numbers.put(None)
    joined(consumers)
    assert sorted(taken) == sorted(list(range(10)) * 4)


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
def simple_queue(pace: Pace) -> None:
    """The same as with a sentinel, through the queue that is written in C."""
    numbers: Any = queue.SimpleQueue()
    answers: Any = queue.SimpleQueue()

    def serve() -> None:
        while (number := numbers.get()) is not None:
            pace.maybe_long()
            answers.put(number * number)
        answers.put(None)

    (server,) = started(serve)
    for number in range(8):
        numbers.put(number)
    numbers.put(None)
    assert list(iter(answers.get, None)) == [n * n for n in range(8)]
    server.join()


@program()
def polling(pace: Pace) -> None:
    """A consumer looks every few milliseconds whether it is to stop, and nobody tells it by the queue."""
    numbers: Any = queue.Queue()
    stop = threading.Event()
    seen: list[int] = []

    def poll() -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Empty):
                seen.append(numbers.get(timeout=0.01))

    (poller,) = started(poll)
    for number in range(5):
        pace.maybe_long()
        numbers.put(number)
    while not numbers.empty():
        pace.moment()
    pace.long()
    stop.set()
    poller.join()
    assert seen == list(range(5))


@program()
def trying(pace: Pace) -> None:
    """Nobody waits: who finds the queue full or empty does something else meanwhile."""
    numbers: Any = queue.Queue(1)
    seen: list[int] = []

    def consume() -> None:
        while len(seen) < 10:
            try:
                seen.append(numbers.get_nowait())
            except queue.Empty:
                pace.moment()

    (consumer,) = started(consume)
    for number in range(10):
        while True:
            try:
                numbers.put_nowait(number)
                break
            except queue.Full:
                pace.moment()
    consumer.join()
    assert seen == list(range(10))


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
def many_join_one_queue(pace: Pace) -> None:
    """Several threads and the main one join the same queue."""
    jobs: Any = queue.Queue()
    for number in range(6):
        jobs.put(number)

    def work() -> None:
        for _ in range(3):
            jobs.get()
            pace.maybe_long(0.3)
            jobs.task_done()

    waiting = started(*[jobs.join] * 3)
    workers = started(*[work] * 2)
    jobs.join()
    joined([*waiting, *workers])
    assert jobs.empty() and jobs.unfinished_tasks == 0


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
def one_slow_consumer(pace: Pace) -> None:
    """Of two consumers one is stuck in long work with its item, and the other takes all the rest."""
    numbers: Any = queue.Queue(1)
    done: list[int] = []

    def consume() -> None:
        while (number := numbers.get()) is not None:
            if number == 0:
                pace.long()
                pace.long()
            done.append(number)

    consumers = started(*[consume] * 2)
    for number in range(8):
        pace.moment()
        numbers.put(number)
    for _ in consumers:
        numbers.put(None)
    joined(consumers)
    assert sorted(done) == list(range(8))


@program(since=(3, 13))
def shut_down(pace: Pace) -> None:
    """Consumers and producers that wait are let go by Queue.shutdown()."""
    empty: Any = queue.Queue()
    full: Any = queue.Queue(1)
    full.put(0)
    ended: list[str] = []

    def consume() -> None:
        try:
            empty.get()
        except queue.ShutDown:  # type: ignore[attr-defined]
            ended.append("consumer")

    def produce() -> None:
        try:
            full.put(1)
        except queue.ShutDown:  # type: ignore[attr-defined]
            ended.append("producer")

    threads = started(*[consume] * 2, produce)
    pace.long()
    empty.shutdown()
    full.shutdown(immediate=True)
    joined(threads)
    assert sorted(ended) == ["consumer", "consumer", "producer"]


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
