"""Events, semaphores and barriers, each used as it is meant."""

from __future__ import annotations

import threading
from threading import BrokenBarrierError

from .programs import Pace, joined, program, started, together


@program()
def start_gate(pace: Pace) -> None:
    """Everybody waits at an event until the main thread opens it."""
    gate = threading.Event()
    passed: list[int] = []
    threads = started(*[lambda: (gate.wait(), passed.append(1))] * 5)
    pace.long()
    gate.set()
    joined(threads)
    assert len(passed) == 5


@program()
def ready_and_go(pace: Pace) -> None:
    """A worker says that it is ready and waits to be told to go; a pair of events for each."""
    pairs = [(threading.Event(), threading.Event()) for _ in range(3)]
    gone: list[int] = []

    def work(number: int) -> None:
        ready, go = pairs[number]
        pace.maybe_long(0.5)
        ready.set()
        go.wait()
        gone.append(number)

    threads = started(*(lambda n=n: work(n) for n in range(3)))
    for ready, go in pairs:
        ready.wait()
        pace.long()
        go.set()
    joined(threads)
    assert sorted(gone) == [0, 1, 2]


@program()
def an_event_again_and_again(pace: Pace) -> None:
    """Two events are set and cleared in turns."""
    ask, answer = threading.Event(), threading.Event()
    rounds = [0]

    def serve() -> None:
        for _ in range(6):
            ask.wait()
            ask.clear()
            pace.maybe_long()
            rounds[0] += 1
            answer.set()

    (server,) = started(serve)
    for number in range(6):
        ask.set()
        answer.wait()
        answer.clear()
        assert rounds == [number + 1]
    server.join()


@program()
def set_by_whoever_is_first(pace: Pace) -> None:
    """Several threads race to set an event, some of which have ended long before the next round."""
    for _ in range(3):
        found = threading.Event()
        threads = started(*[lambda found=found: (pace.maybe_long(0.5), found.set())] * 3)
        assert found.wait()
        joined(threads)


@program()
def one_event_many_setters(pace: Pace) -> None:
    """One event, cleared after each round, is set each time by a new thread that has never done so before."""
    event = threading.Event()
    for _ in range(4):
        threads = started(pace.late(event.set))
        event.wait()
        event.clear()
        joined(threads)


@program(guesses=["FL002"])
def rate_limit(pace: Pace) -> None:
    """Requests take permits of a semaphore; a refilling thread, which never takes any, gives them."""
    permits = threading.Semaphore(2)
    stop = threading.Event()
    served: list[int] = []

    def refill() -> None:
        while not stop.wait(0.02):
            permits.release()

    def ask() -> None:
        for number in range(4):
            permits.acquire()
            served.append(number)

    (refiller,) = started(refill)
    together(*[ask] * 3)
    stop.set()
    refiller.join()
    assert len(served) == 12


@program()
def connections(pace: Pace) -> None:
    """More threads than connections; each takes one at a time and gives it back."""
    free = threading.BoundedSemaphore(2)
    inside, most = [0], [0]
    lock = threading.Lock()

    def use() -> None:
        for _ in range(3):
            with free:
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                pace.maybe_long(0.3)
                with lock:
                    inside[0] -= 1

    together(*[use] * 5)
    assert most[0] <= 2 and inside == [0]


@program(guesses=["FL002"])
def room_and_things(pace: Pace) -> None:
    """The bounded buffer of the textbooks: one semaphore counts the things, one the room, and each is released by the other side."""
    things, room, lock = threading.Semaphore(0), threading.Semaphore(2), threading.Lock()
    buffer: list[int] = []
    taken: list[int] = []

    def produce() -> None:
        for number in range(8):
            pace.maybe_long()
            room.acquire()
            with lock:
                buffer.append(number)
            things.release()

    def consume() -> None:
        for _ in range(8):
            things.acquire()
            with lock:
                taken.append(buffer.pop(0))
            room.release()
            pace.maybe_long()

    together(*[produce] * 2, *[consume] * 2)
    assert sorted(taken) == sorted([*range(8)] * 2)


@program()
def token_round(pace: Pace) -> None:
    """A ring of semaphores: each thread waits for the one before it and wakes the one after it."""
    seats = [threading.Semaphore(0) for _ in range(5)]
    log: list[int] = []

    def sit(number: int) -> None:
        for _ in range(3):
            seats[number].acquire()
            pace.maybe_long(0.1)
            log.append(number)
            seats[(number + 1) % 5].release()

    threads = started(*(lambda n=n: sit(n) for n in range(5)))
    pace.long()
    seats[0].release()
    joined(threads)
    assert log == [*range(5)] * 3


@program()
def barrier_many_times(pace: Pace) -> None:
    """Phases of a computation, with a barrier and its action between them; some threads are always late."""
    phases: list[int] = []
    work = [0] * 4

    def end_phase() -> None:
        phases.append(sum(work))

    barrier = threading.Barrier(4, action=end_phase)

    def compute(number: int) -> None:
        for _ in range(5):
            pace.maybe_long(0.2)
            work[number] += 1
            barrier.wait()

    together(*(lambda n=n: compute(n) for n in range(4)))
    assert phases == [4, 8, 12, 16, 20]


@program()
def late_for_the_barrier(pace: Pace) -> None:
    """The party that makes the barrier full is only started after the others have waited for long."""
    barrier = threading.Barrier(3)
    orders: list[int] = []
    threads = started(*[lambda: orders.append(barrier.wait())] * 2)
    pace.long()
    pace.long()
    threads += started(lambda: orders.append(barrier.wait()))
    joined(threads)
    assert sorted(orders) == [0, 1, 2]


@program()
def aborted_barrier(pace: Pace) -> None:
    """A barrier that is never full is aborted by a thread that is no party, and used again after a reset."""
    barrier = threading.Barrier(3)
    broken: list[int] = []

    def wait() -> None:
        try:
            barrier.wait()
        except BrokenBarrierError:
            broken.append(1)

    threads = started(wait, wait)
    pace.long()
    barrier.abort()
    joined(threads)
    barrier.reset()
    together(*[barrier.wait] * 3)
    assert broken == [1, 1]
