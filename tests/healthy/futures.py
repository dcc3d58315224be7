"""Futures that somebody completes by hand, and what hangs on them."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError, as_completed, wait
from typing import Any

from .programs import Dies, Pace, joined, program, started, together


@program()
def completed_by_hand(pace: Pace) -> None:
    """Another thread sets the result of a future that no executor knows."""
    future: Future[int] = Future()
    threads = started(pace.late(future.set_result, 5))
    assert future.result() == 5
    joined(threads)


@program()
def many_wait_for_one(pace: Pace) -> None:
    """Several threads wait for the same future."""
    future: Future[int] = Future()
    seen: list[int] = []
    threads = started(*[lambda: seen.append(future.result())] * 4)
    pace.long()
    future.set_result(7)
    joined(threads)
    assert seen == [7] * 4


@program()
def failing(pace: Pace) -> None:
    """The result is an exception, from a pool and by hand."""
    future: Future[int] = Future()
    with ThreadPoolExecutor(1) as pool:

        def fail() -> None:
            pace.long()
            raise Dies

        threads = started(pace.late(future.set_exception, Dies()))
        assert isinstance(pool.submit(fail).exception(), Dies)
        assert isinstance(future.exception(), Dies)
        joined(threads)


@program()
def correlated(pace: Pace) -> None:
    """A client keeps a future for each request, and the one thread that reads answers completes them, in any order."""
    pending: dict[int, Future[int]] = {}
    lock = threading.Lock()
    sent = threading.Semaphore(0)

    def read_answers() -> None:
        for _ in range(9):
            sent.acquire()
            pace.maybe_long(0.2)
            with lock:
                number = pace.one_of(list(pending))
                future = pending.pop(number)
            future.set_result(number + 100)

    def ask(number: int) -> None:
        for step in range(3):
            future: Future[int] = Future()
            with lock:
                pending[10 * number + step] = future
            sent.release()
            assert future.result() == 10 * number + step + 100

    (reader,) = started(read_answers)
    together(*(lambda n=n: ask(n) for n in range(3)))
    reader.join()


@program()
def callbacks(pace: Pace) -> None:
    """Done-callbacks take locks and submit more work, outside of any lock."""
    lock = threading.Lock()
    total = [0]
    finished = threading.Event()

    def add(future: Future[int]) -> None:
        with lock:
            total[0] += future.result()
            if total[0] == 30:
                finished.set()
                return
        if total[0] < 15:
            pool.submit(work, 5).add_done_callback(add)

    def work(number: int) -> int:
        pace.maybe_long()
        return number

    with ThreadPoolExecutor(2) as pool:
        pool.submit(work, 5).add_done_callback(add)
        pace.long()
        while total[0] < 15:
            pace.moment()
        pool.submit(work, 15).add_done_callback(add)
        finished.wait()
    assert total == [30]


@program()
def asked_again_and_again(pace: Pace) -> None:
    """result() with a limit, in a loop."""
    future: Future[int] = Future()
    threads = started(lambda: (pace.long(), pace.long(), future.set_result(3)))
    while True:
        try:
            assert future.result(timeout=0.02) == 3
            break
        except TimeoutError:
            pace.moment()
    joined(threads)


@program()
def a_chain_of_threads(pace: Pace) -> None:
    """Each thread waits for the future of the one before it; the main thread completes the first."""
    futures: list[Future[int]] = [Future() for _ in range(6)]
    threads = started(*(lambda a=a, b=b: b.set_result(a.result() + 1) for a, b in zip(futures, futures[1:])))
    pace.long()
    futures[0].set_result(0)
    assert futures[-1].result() == 5
    joined(threads)


@program()
def mixed_waits(pace: Pace) -> None:
    """wait() and as_completed() over futures of a pool and such as are completed by hand."""
    with ThreadPoolExecutor(1) as pool:
        by_hand: list[Future[int]] = [Future() for _ in range(3)]
        futures = [*by_hand, *(pool.submit(lambda n=n: (pace.maybe_long(), n)[1]) for n in range(3))]
        threads = started(lambda: [(pace.maybe_long(0.5), future.set_result(9)) for future in by_hand])
        assert sum(future.result() for future in as_completed(futures)) == 30
        done, rest = wait(futures)
        assert len(done) == 6 and not rest
        joined(threads)


@program()
def once_for_all(pace: Pace) -> None:
    """A cache where the first who asks for a key computes it, and the others wait for that one's future."""
    known: dict[str, Future[int]] = {}
    lock = threading.Lock()
    computed: list[str] = []

    def get(key: str) -> int:
        with lock:
            future = known.get(key)
            mine = future is None
            if future is None:
                future = known[key] = Future()
        if mine:
            pace.long()
            computed.append(key)
            future.set_result(len(key))
        return future.result()

    def use() -> None:
        for key in pace.shuffled(["a", "bb", "ccc"]):
            assert get(key) == len(key)

    together(*[use] * 4)
    assert sorted(computed) == ["a", "bb", "ccc"]


@program()
def lazily_started(pace: Pace) -> None:
    """The thread that will complete the future is only started when somebody has been waiting for long."""
    future: Future[Any] = Future()
    timer = threading.Timer(pace.long_s(), lambda: joined(started(pace.late(future.set_result, "late"))))
    timer.start()
    assert future.result() == "late"
    timer.join()


@program()
def cancelled_by_another(pace: Pace) -> None:
    """Who waits for a future that nobody will complete is let go by one who cancels it."""
    future: Future[Any] = Future()
    cancelled: list[bool] = []

    def expect() -> None:
        done, _ = wait([future])
        cancelled.append(future in done and future.cancelled())

    (waiter,) = started(expect)
    pace.long()
    assert future.cancel()
    future.set_running_or_notify_cancel()
    waiter.join()
    assert cancelled == [True]
