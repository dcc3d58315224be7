"""Stages of threads with queues between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from .programs import Pace, joined, program, started

END = object()


def stage(source: Any, target: Any, work: Callable[[Any], Any]) -> None:
    """Take until the end's mark, work, and pass on; the mark as well."""
    while (thing := source.get()) is not END:
        target.put(work(thing))
    target.put(END)


def results(target: Any) -> list[Any]:
    """Take until the end's mark."""
    return list(iter(target.get, END))


@program()
def three_stages(pace: Pace) -> None:
    """Read, square, write, with room for two between them: the slow one makes the others wait, before it and after it."""
    read: Any = queue.Queue(2)
    squared: Any = queue.Queue(2)
    written: Any = queue.Queue(2)
    slow = pace.number(0, 2)

    def paced(number: int, thing: int) -> int:
        pace.maybe_long(0.3 if number == slow else 0.02)
        return thing

    def source() -> None:
        for number in range(12):
            read.put(paced(0, number))
        read.put(END)

    threads = started(source, lambda: stage(read, squared, lambda n: paced(1, n * n)), lambda: stage(squared, written, lambda n: paced(2, n + 1)))
    assert results(written) == [n * n + 1 for n in range(12)]
    joined(threads)


@program()
def fan_out_and_in(pace: Pace) -> None:
    """One stage has four workers; the last of them to end passes the end's mark on."""
    jobs: Any = queue.Queue(4)
    done: Any = queue.Queue(4)
    left, counting = [4], threading.Lock()

    def work() -> None:
        while (number := jobs.get()) is not END:
            pace.maybe_long(0.1)
            done.put(2 * number)
        jobs.put(END)
        with counting:
            left[0] -= 1
            if left[0] == 0:
                done.put(END)

    def feed() -> None:
        for number in range(24):
            jobs.put(number)
        jobs.put(END)

    threads = started(*[work] * 4, feed)
    assert sorted(results(done)) == list(range(0, 48, 2))
    joined(threads)


@program()
def in_order(pace: Pace) -> None:
    """Workers finish in any order, and a condition lets each result out in its turn."""
    jobs: Any = queue.Queue()
    turn = threading.Condition()
    out: list[int] = []

    def work() -> None:
        while (number := jobs.get()) is not END:
            pace.maybe_long()
            with turn:
                turn.wait_for(lambda: len(out) == number)
                out.append(number)
                turn.notify_all()

    workers = started(*[work] * 3)
    for number in range(12):
        jobs.put(number)
    for _ in workers:
        jobs.put(END)
    joined(workers)
    assert out == list(range(12))


@program()
def one_slot_each(pace: Pace) -> None:
    """Six stages with room for a single thing between them, so nearly everybody waits all the time."""
    slots: list[Any] = [queue.Queue(1) for _ in range(7)]

    def step(number: int) -> int:
        pace.maybe_long(0.03)
        return number + 1

    threads = started(*(lambda a=a, b=b: stage(a, b, step) for a, b in zip(slots, slots[1:])))
    threads += started(lambda: ([slots[0].put(n) for n in range(6)], slots[0].put(END)))
    assert results(slots[-1]) == list(range(6, 12))
    joined(threads)


@program()
def merged_sources(pace: Pace) -> None:
    """Three sources end at different times, and one target counts the marks."""
    merged: Any = queue.Queue(2)

    def source(number: int) -> None:
        for step in range(number):
            pace.maybe_long()
            merged.put(step)
        merged.put(END)

    threads = started(*(lambda n=n: source(n) for n in (1, 3, 6)))
    seen, ends = [], 0
    while ends < 3:
        thing = merged.get()
        if thing is END:
            ends += 1
        else:
            seen.append(thing)
    joined(threads)
    assert sorted(seen) == [0, 0, 0, 1, 1, 2, 2, 3, 4, 5]


@program()
def broadcast(pace: Pace) -> None:
    """Each subscriber has its own queue; the publisher waits for the slowest one."""
    inboxes: list[Any] = [queue.Queue(1) for _ in range(3)]
    seen: dict[int, list[int]] = {}

    def subscribe(number: int) -> None:
        news = []
        for word in iter(inboxes[number].get, END):
            if number == 0:
                pace.maybe_long()
            news.append(word)
        seen[number] = news

    threads = started(*(lambda n=n: subscribe(n) for n in range(3)))
    for word in [*range(8), END]:
        for inbox in inboxes:
            inbox.put(word)
    joined(threads)
    assert seen == {n: list(range(8)) for n in range(3)}


@program()
def ring_with_room(pace: Pace) -> None:
    """Stages form a ring, which a few tokens go round: there is always room for them."""
    slots: list[Any] = [queue.Queue(2) for _ in range(4)]
    ended: Any = queue.Queue()

    def step(number: int) -> None:
        source, target = slots[number], slots[(number + 1) % 4]
        while (token := source.get()) is not END:
            pace.maybe_long(0.03)
            if token == 0:
                ended.put(END)
            else:
                target.put(token - 1)

    threads = started(*(lambda n=n: step(n) for n in range(4)))
    for token in (9, 14, 11):
        slots[0].put(token)
    for _ in range(3):
        ended.get()
    for slot in slots:
        slot.put(END)
    joined(threads)
    assert all(slot.empty() for slot in slots)


@program()
def generators(pace: Pace) -> None:
    """A generator that is fed by a thread behind it is consumed by a thread that feeds the next one."""

    def prefetched(things: Any) -> Any:
        ahead: Any = queue.Queue(1)

        def fetch() -> None:
            for thing in things:
                pace.maybe_long(0.1)
                ahead.put(thing)
            ahead.put(END)

        threads = started(fetch)
        yield from iter(ahead.get, END)
        joined(threads)

    assert list(prefetched(n + 1 for n in prefetched(2 * n for n in prefetched(range(6))))) == [1, 3, 5, 7, 9, 11]


@program()
def stopped_in_the_middle(pace: Pace) -> None:
    """The target has had enough: it sets an event, and empties the queue so that who waits in put() can see it."""
    things: Any = queue.Queue(1)
    enough = threading.Event()

    def produce() -> None:
        number = 0
        while not enough.is_set():
            things.put(number)
            number += 1
        things.put(END)

    (producer,) = started(produce)
    first = [things.get() for _ in range(5)]
    pace.long()
    enough.set()
    rest = results(things)
    producer.join()
    assert first == list(range(5)) and rest == list(range(5, 5 + len(rest)))
