"""Producers and consumers around one queue, or two."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any

from .programs import Pace, joined, program, started


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
