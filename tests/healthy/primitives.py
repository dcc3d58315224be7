"""Events, semaphores, barriers and read-write locks, each used as it is meant."""

from __future__ import annotations

import threading
from threading import BrokenBarrierError

import fastlock

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


@program()
def readers_and_a_writer(pace: Pace) -> None:
    """A cache behind a read-write lock: many read for long, one writes now and then."""
    lock = fastlock.RWLock()
    cache = {"version": 0}
    seen: list[int] = []

    def read() -> None:
        for _ in range(4):
            with lock.read():
                seen.append(cache["version"])
                pace.maybe_long(0.2)

    def write() -> None:
        for _ in range(4):
            with lock.write():
                pace.maybe_long(0.1)
                cache["version"] += 1

    together(*[read] * 4, write)
    assert cache["version"] == 4 and max(seen) <= 4


@program()
def readers_first(pace: Pace) -> None:
    """A lock that prefers readers, which read within a read while a writer waits."""
    lock = fastlock.RWLock(prefer="reader")
    written: list[int] = []

    def read() -> None:
        with lock.read():
            pace.long()
            with lock.read():
                pace.moment()

    threads = started(read, read, lambda: (pace.moment(), lock.acquire_write(), written.append(1), lock.release_write()))
    joined(threads)
    assert written == [1]


@program()
def upgraded(pace: Pace) -> None:
    """A cache that is looked at and, where nothing is there yet, written to, by who has the one share that may become the writer's, beside readers."""
    lock = fastlock.RWLock()
    cache: dict[int, int] = {}
    made: list[int] = []

    def get(number: int) -> int:
        with lock.read():
            if number in cache:
                return cache[number]
        with lock.upgradable():
            if number not in cache:
                pace.maybe_long(0.3)
                made.append(number)
                with lock.write():
                    cache[number] = number * number
            return cache[number]

    together(*[lambda: [get(number) for number in pace.shuffled(range(6))]] * 4)
    assert sorted(made) == list(range(6))


@program()
def philosophers(pace: Pace) -> None:
    """They dine: each takes the fork with the lower number first."""
    forks = [threading.Lock() for _ in range(4)]
    eaten = [0] * 4

    def dine(number: int) -> None:
        low, high = sorted((number, (number + 1) % 4))
        for _ in range(3):
            with forks[low]:
                pace.moment()
                with forks[high]:
                    pace.maybe_long(0.1)
                    eaten[number] += 1

    together(*(lambda n=n: dine(n) for n in range(4)))
    assert eaten == [3] * 4


@program()
def all_at_once(pace: Pace) -> None:
    """Transfers between accounts take both locks by acquire_all, in either order."""
    accounts = [[fastlock.Lock(), 100] for _ in range(3)]

    def transfer(source: int, target: int) -> None:
        for _ in range(4):
            with fastlock.acquire_all(accounts[source][0], accounts[target][0]):
                pace.maybe_long(0.1)
                accounts[source][1] -= 1
                accounts[target][1] += 1

    together(*(lambda a=a, b=b: transfer(a, b) for a, b in ((0, 1), (1, 2), (2, 0), (1, 0))))
    assert sum(balance for _, balance in accounts) == 300


@program(guesses=["FL002"])
def lock_as_a_signal(pace: Pace) -> None:
    """A lock that is taken at first and released by another thread announces something."""
    done = threading.Lock()
    done.acquire()
    threads = started(pace.late(done.release))
    done.acquire()
    done.release()
    joined(threads)


@program(guesses=["FL002"])
def passed_from_hand_to_hand(pace: Pace) -> None:
    """A lock is taken by one thread and released by the next, in a chain, as some libraries do for a hand-over."""
    baton = threading.Lock()
    log: list[int] = []

    def run(number: int, before: threading.Event, after: threading.Event) -> None:
        before.wait()
        log.append(number)
        pace.maybe_long()
        baton.release()
        baton.acquire()
        after.set()

    baton.acquire()
    events = [threading.Event() for _ in range(5)]
    threads = started(*(lambda n=n: run(n, events[n], events[n + 1]) for n in range(4)))
    pace.long()
    events[0].set()
    events[-1].wait()
    baton.release()
    joined(threads)
    assert log == [0, 1, 2, 3]


@program()
def recursion(pace: Pace) -> None:
    """A re-entrant lock is taken again and again by its owner while others wait for it."""
    lock = threading.RLock()
    depth: list[int] = []

    def down(left: int) -> None:
        with lock:
            pace.maybe_long(0.05)
            if left:
                down(left - 1)
            else:
                depth.append(1)

    together(*[lambda: down(6)] * 3)
    assert len(depth) == 3


@program()
def impatient(pace: Pace) -> None:
    """Who cannot have both locks in time gives back the first, and tries again in the same order."""
    first, second = threading.Lock(), threading.Lock()
    done: list[int] = []

    def work() -> None:
        while True:
            with first:
                if second.acquire(timeout=0.01):
                    break
            pace.moment()
        pace.maybe_long(0.5)
        done.append(1)
        second.release()

    together(*[work] * 4)
    assert len(done) == 4
