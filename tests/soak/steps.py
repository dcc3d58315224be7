"""Steps that threads take: each starts threads, gives them something to do, and waits for all of them in one of the usual ways."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from concurrent.futures import TimeoutError as Late
from typing import Any

from .maker import Maker, Run, Step, together

END = object()


def use(maker: Maker) -> Step:
    """Something shared, and inside of it what uses later ones only."""
    if maker.floor >= len(maker.shared):
        return threads(maker)
    place = maker.rng.randrange(maker.floor, len(maker.shared))
    shared, parts = maker.shared[place], maker.parts(1, place + 1)
    if not shared.sure:
        maker.whole.doubts.add(str(shared))
    return Step(f"use {place} ({shared})", lambda: shared.use(parts[0]), parts)


def threads(maker: Maker) -> Step:
    """Threads that are joined, and one more part beside them."""
    parts = maker.parts(maker.number(2, 4))

    def run() -> None:
        others = [threading.Thread(target=part) for part in parts[1:]]
        for other in others:
            other.start()
        parts[0]()
        for other in others:
            other.join()

    return Step("threads", run, parts)


def pipeline(maker: Maker) -> Step:
    """A producer, a queue with little room, consumers that end with a word each."""
    parts, consumers, room = maker.parts(maker.number(2, 4)), maker.number(1, 2), maker.number(0, 2)
    kind = maker.rng.choice([lambda: queue.Queue(room), lambda: queue.PriorityQueue(room), queue.SimpleQueue])
    paces = [maker.pace() for _ in range(consumers)]

    def run() -> None:
        items: Any = kind()

        def consume(pace: Any) -> None:
            while (number := items.get()) < len(parts):
                pace.moment()
                parts[number]()

        def produce() -> None:
            for number in range(len(parts)):
                items.put(number)
                paces[0].moment()

        eaters = [threading.Thread(target=consume, args=(pace,), name="consumer") for pace in paces]
        for eater in eaters:
            eater.start()
        together([produce], "producer")
        for _ in eaters:
            items.put(len(parts))
        for eater in eaters:
            eater.join()

    return Step(f"pipeline to {consumers}, room {room}", run, parts)


def workers(maker: Maker) -> Step:
    """Workers that say of each piece that it is done, and who waits for the queue's end."""
    parts, count = maker.parts(maker.number(2, 4)), maker.number(1, 3)
    pace = maker.pace()

    def run() -> None:
        jobs: queue.Queue[Any] = queue.Queue()

        def work() -> None:
            while (job := jobs.get()) is not END:
                job()
                jobs.task_done()

        crew = [threading.Thread(target=work, name="worker") for _ in range(count)]
        for member in crew:
            member.start()
        for part in parts:
            jobs.put(part)
            pace.moment()
        jobs.join()
        for _ in crew:
            jobs.put(END)
        for member in crew:
            member.join()

    return Step(f"{count} workers", run, parts)


def pool(maker: Maker) -> Step:
    """An executor of its own, whose results are waited for one by one, all together, or as they come."""
    parts, size = maker.parts(maker.number(1, 4)), maker.number(1, 3)
    way = maker.rng.choice(["one by one", "wait", "first", "as completed", "map", "shutdown"])

    def run() -> None:
        with ThreadPoolExecutor(size) as executor:
            if way == "map":
                list(executor.map(lambda part: part(), parts))
                return
            futures = [executor.submit(part) for part in parts]
            if way == "first":
                wait(futures, return_when=FIRST_COMPLETED)
            elif way == "wait":
                wait(futures)
            for future in as_completed(futures) if way == "as completed" else reversed(futures) if way != "shutdown" else ():
                future.result()

    return Step(f"pool of {size}, {way}", run, parts)


def future(maker: Maker) -> Step:
    """A future that a thread of the program's resolves by itself, and several wait for."""
    parts, waiters = maker.parts(1), maker.number(1, 3)

    def run() -> None:
        promise: Future[int] = Future()

        def resolve() -> None:
            parts[0]()
            promise.set_result(1)

        together([resolve, *[promise.result] * waiters])

    return Step(f"future for {waiters}", run, parts)


def event(maker: Maker) -> Step:
    """An event that one sets and several wait for."""
    parts, waiters = maker.parts(1), maker.number(1, 3)

    def run() -> None:
        ready = threading.Event()

        def prepare() -> None:
            parts[0]()
            ready.set()

        together([prepare, *[ready.wait] * waiters])

    return Step(f"event for {waiters}", run, parts)


def turns(maker: Maker) -> Step:
    """Threads that take turns by a condition, with the work inside or outside of its lock."""
    parts, inside = maker.parts(maker.number(2, 3)), maker.rng.random() < 0.3

    def run() -> None:
        condition, turn = threading.Condition(), [0]

        def member(number: int) -> None:
            with condition:
                condition.wait_for(lambda: turn[0] == number)
                if inside:
                    parts[number]()
            if not inside:
                parts[number]()
            with condition:
                turn[0] += 1
                condition.notify_all()

        together([lambda number=number: member(number) for number in range(len(parts))], "turn")

    return Step("turns, inside" if inside else "turns", run, parts)


def barrier(maker: Maker) -> Step:
    """Threads that meet, some rounds long."""
    parts, rounds = maker.parts(maker.number(2, 3)), maker.number(1, 2)

    def run() -> None:
        meeting = threading.Barrier(len(parts))

        def member(part: Run) -> None:
            for number in range(rounds):
                if number == 0:
                    part()
                meeting.wait()

        together([lambda part=part: member(part) for part in parts], "party")

    return Step("barrier", run, parts)


def permits(maker: Maker) -> Step:
    """More threads than permits of a semaphore."""
    parts, count = maker.parts(maker.number(2, 4)), maker.number(1, 2)
    maker.whole.doubts.add("semaphore")

    def run() -> None:
        semaphore = threading.BoundedSemaphore(count)

        def member(part: Run) -> None:
            with semaphore:
                part()

        together([lambda part=part: member(part) for part in parts], "permit")

    return Step(f"{count} permits", run, parts)


def talk(maker: Maker) -> Step:
    """Two who ask and answer by two queues."""
    parts, rounds = maker.parts(2), maker.number(1, 4)

    def run() -> None:
        there: queue.Queue[int] = queue.Queue(1)
        back: queue.Queue[int] = queue.Queue(1)

        def ask() -> None:
            for number in range(rounds):
                there.put(number)
                assert back.get() == number
            parts[0]()

        def say() -> None:
            for number in range(rounds):
                back.put(there.get())
                if number == 0:
                    parts[1]()

        together([ask, say], "talk")

    return Step("talk", run, parts)


def limits(maker: Maker) -> Step:
    """Waits that are over before what they wait for comes, and then go on without a limit."""
    parts, pace = maker.parts(1), maker.pace()

    def run() -> None:
        lock, promise, items, ready = threading.Lock(), Future[int](), queue.Queue[int](1), threading.Event()
        condition = threading.Condition()

        def work() -> None:
            with lock:
                parts[0]()
            ready.set()
            items.put(1)
            promise.set_result(1)

        thread = threading.Thread(target=work)
        thread.start()
        if lock.acquire(timeout=pace.long_s() / 50):
            lock.release()
        with condition:
            condition.wait(pace.long_s() / 50)
        ready.wait(pace.long_s() / 50)
        thread.join(pace.long_s() / 50)
        try:
            promise.result(pace.long_s() / 50)
        except (Late, TimeoutError):
            promise.result()
        items.get()
        thread.join()

    return Step("limits", run, parts)


def process(maker: Maker) -> Step:
    """A process that is waited for."""
    parts = maker.parts(1)

    def run() -> None:
        subprocess.run([sys.executable, "-S", "-E", "-c", "pass"], check=True)
        parts[0]()

    return Step("process", run, parts)


KINDS = (
    (9, use), (2, threads), (3, pipeline), (2, workers), (3, pool), (2, future), (2, event), (2, turns), (2, barrier), (1, permits), (2, talk), (2, limits),
    (1, process),
)  # fmt: skip
