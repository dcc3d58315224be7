"""Executors whose workers are busy, slow, many or idle, but never all of them waiting for what is queued behind them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Executor, Future, ThreadPoolExecutor, as_completed, wait
from concurrent.futures import TimeoutError as Late
from multiprocessing.pool import ThreadPool
from typing import Any

from .programs import Pace, joined, program, started, together


def squared(pace: Pace, number: int, chance: float = 0.15) -> int:
    """Work on a number."""
    pace.maybe_long(chance)
    return number * number


@program()
def slow_pool(pace: Pace) -> None:
    """Far more work than workers, each piece long: the main thread waits for the last one, which is queued for a long time."""
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(squared, pace, number, 0.6) for number in range(8)]
        assert futures[-1].result() == 49
        assert [future.result() for future in futures] == [n * n for n in range(8)]


@program()
def single_worker(pace: Pace) -> None:
    """A pool of one thread, as one uses it to have things done in their order."""
    order: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(lambda n=n: (pace.maybe_long(0.2), order.append(n))) for n in range(8)]
        for future in pace.shuffled(futures):
            future.result()
    assert order == list(range(8))


@program()
def mapped(pace: Pace) -> None:
    """map() over more than there are workers, by several threads at a time."""
    with ThreadPoolExecutor(3) as pool:
        together(*[lambda: list(pool.map(lambda n: squared(pace, n), range(6)))] * 3)
        assert list(pool.map(lambda n: squared(pace, n), range(10))) == [n * n for n in range(10)]


@program()
def completed_in_any_order(pace: Pace) -> None:
    """as_completed() gives what is ready, in whichever order."""
    with ThreadPoolExecutor(3) as pool:
        futures = {pool.submit(squared, pace, number, 0.3): number for number in range(9)}
        assert {futures[future]: future.result() for future in as_completed(futures)} == {n: n * n for n in range(9)}


@program()
def waited_for(pace: Pace) -> None:
    """wait() for the first, for the first that fails, for all, and with a limit."""

    def fail() -> None:
        pace.long()
        raise ValueError("meant")

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(squared, pace, number, 0.3) for number in range(5)]
        done, _ = wait(futures, return_when=FIRST_COMPLETED)
        assert done
        wait(futures, timeout=0.01)
        failing = pool.submit(fail)
        done, _ = wait([*futures, failing], return_when=FIRST_EXCEPTION)
        assert failing in done or len(done) == 6
        done, rest = wait([*futures, failing], return_when=ALL_COMPLETED)
        assert len(done) == 6 and not rest and isinstance(failing.exception(), ValueError)


@program()
def nested_with_room(pace: Pace) -> None:
    """Work submits work to its own pool and waits for it, and the pool is large enough for both."""
    with ThreadPoolExecutor(6) as pool:

        def outer(number: int) -> int:
            return pool.submit(squared, pace, number, 0.5).result() + 1

        assert list(pool.map(outer, range(3))) == [1, 2, 5]
        with ThreadPoolExecutor(3) as callers:
            assert list(callers.map(outer, range(12))) == [n * n + 1 for n in range(12)]


@program()
def nested_in_another(pace: Pace) -> None:
    """All workers of one pool wait for work that is queued in another one, whose workers wait for nobody."""
    with ThreadPoolExecutor(1) as inner, ThreadPoolExecutor(3) as outer:
        futures = [outer.submit(lambda n=n: inner.submit(squared, pace, n, 0.5).result()) for n in range(6)]
        assert [future.result() for future in futures] == [n * n for n in range(6)]


@program()
def one_is_free(pace: Pace) -> None:
    """All workers but one wait for queued work; that one does it all."""
    with ThreadPoolExecutor(3) as pool:
        inner = [pool.submit(squared, pace, 1, 0.9)]

        def outer() -> int:
            mine = pool.submit(squared, pace, 3, 0.6)
            inner.append(mine)
            return mine.result()

        outers = [pool.submit(outer) for _ in range(2)]
        assert [future.result() for future in outers] == [9, 9]
        assert sum(future.result() for future in inner) == 19


@program()
def chained(pace: Pace) -> None:
    """Each piece of work submits the next one and ends, in a pool that is full."""
    done = threading.Event()
    steps: list[int] = []
    with ThreadPoolExecutor(1) as pool:

        def step(left: int) -> None:
            pace.maybe_long()
            steps.append(left)
            if left:
                pool.submit(step, left - 1)
            else:
                done.set()

        pool.submit(step, 8)
        done.wait()
    assert steps == list(range(8, -1, -1))


@program()
def short_lived_submitters(pace: Pace) -> None:
    """Threads come, submit to the one pool, wait for their result and go; others leave it to somebody else."""
    left = []
    with ThreadPoolExecutor(2) as pool:

        def ask() -> None:
            assert pool.submit(squared, pace, 5, 0.3).result() == 25

        def leave() -> None:
            left.append(pool.submit(squared, pace, 6, 0.3))

        for _ in range(3):
            together(ask, leave, ask)
        assert [future.result() for future in left] == [36] * 3


@program()
def own_work_first(pace: Pace) -> None:
    """Who would wait for queued work takes it back and does it itself, so a pool of one is enough for a recursion."""
    with ThreadPoolExecutor(1) as pool:

        def total(low: int, high: int) -> int:
            if high - low == 1:
                pace.maybe_long(0.05)
                return low
            middle = (low + high) // 2
            right = pool.submit(total, middle, high)
            left = total(low, middle)
            return left + (total(middle, high) if right.cancel() else right.result())

        assert total(0, 16) == 120


@program()
def idle_pool(pace: Pace) -> None:
    """The workers have nothing to do for long, and then have."""
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            assert list(pool.map(abs, (-1, -2, -3))) == [1, 2, 3]
            pace.long()


@program()
def cancelled_at_the_end(pace: Pace) -> None:
    """shutdown(cancel_futures=True) lets those go who wait for what will not be begun any more."""
    pool, release = ThreadPoolExecutor(1), threading.Event()
    first = pool.submit(release.wait)
    later = [pool.submit(squared, pace, number) for number in range(4)]
    ended: list[str] = []

    def expect(future: object) -> None:
        try:
            future.result()  # type: ignore[attr-defined]
        except CancelledError:
            ended.append("cancelled")

    threads = started(*(lambda f=f: expect(f) for f in later))
    pace.long()
    pool.shutdown(wait=False, cancel_futures=True)
    joined(threads)
    release.set()
    assert first.result() and ended == ["cancelled"] * 4


@program()
def shut_down_by_another(pace: Pace) -> None:
    """One thread shuts the pool down and waits for its workers, while others still wait for results."""
    pool = ThreadPoolExecutor(2)
    futures = [pool.submit(squared, pace, number, 0.5) for number in range(6)]
    threads = started(lambda: pool.shutdown(wait=True), lambda: [future.result() for future in futures])
    assert sum(future.result() for future in futures) == 55
    joined(threads)


@program()
def with_an_initializer(pace: Pace) -> None:
    """Workers take long to get ready, and keep what they need by thread."""
    mine = threading.local()

    def prepare() -> None:
        pace.long()
        mine.base = 100

    with ThreadPoolExecutor(2, initializer=prepare) as pool:
        assert sorted(pool.map(lambda n: mine.base + n, range(4))) == [100, 101, 102, 103]


@program()
def lock_inside_the_work(pace: Pace) -> None:
    """All workers want one lock, which the submitter holds for a while; it waits for nobody then."""
    lock = threading.Lock()
    total = [0]

    def add() -> None:
        with lock:
            pace.moment()
            total[0] += 1

    with ThreadPoolExecutor(3) as pool:
        with lock:
            futures = [pool.submit(add) for _ in range(6)]
            pace.long()
        for future in futures:
            future.result()
    assert total == [6]


@program()
def workers_wait_for_each_other(pace: Pace) -> None:
    """A worker waits for an event that work sets which has begun already, or will in a free worker."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            ready = threading.Event()
            waits = pool.submit(ready.wait)
            sets = pool.submit(lambda ready=ready: (pace.long(), ready.set()))
            assert waits.result() is True
            sets.result()


@program()
def the_other_thread_pool(pace: Pace) -> None:
    """multiprocessing's pool of threads: map, imap, apply_async with callbacks, join."""
    called: list[int] = []
    pool = ThreadPool(3)
    assert pool.map(lambda n: squared(pace, n), range(6)) == [n * n for n in range(6)]
    assert sorted(pool.imap_unordered(lambda n: squared(pace, n, 0.3), range(5))) == [0, 1, 4, 9, 16]
    result = pool.apply_async(squared, (pace, 7, 0.9), callback=called.append)
    assert result.get() == 49
    pool.close()
    pool.join()
    assert called == [49]


@program(guesses=["FL030"])
def nested_with_a_limit(pace: Pace) -> None:
    """Each worker waits for work behind it, but not for long: then it takes that back and does it itself."""
    with ThreadPoolExecutor(2) as pool:

        def outer(number: int) -> int:
            inner = pool.submit(squared, pace, number)
            while True:
                try:
                    return inner.result(timeout=0.05)
                except Late:
                    if inner.cancel():
                        return number * number

        assert list(pool.map(outer, range(5))) == [n * n for n in range(5)]


@program()
def stack_of_work(pace: Pace) -> None:
    """A pool whose queue somebody has exchanged for a stack, so that the newest work is done first."""
    pool = ThreadPoolExecutor(2)
    pool._work_queue = queue.LifoQueue()  # type: ignore[assignment]
    with pool:
        futures = [pool.submit(squared, pace, number, 0.3) for number in range(8)]
        assert [future.result() for future in futures] == [n * n for n in range(8)]


class OwnExecutor(Executor):
    """An executor that starts a thread for each piece of work."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function in a new thread."""
        future: Future[Any] = Future()
        started(lambda: future.set_result(function(*args, **kwargs)))
        return future


@program()
def executor_of_ones_own(pace: Pace) -> None:
    """Work nested as deep as one likes, in an executor that is not of the standard library's."""
    pool = OwnExecutor()

    def down(depth: int) -> int:
        pace.maybe_long()
        return pool.submit(down, depth - 1).result() + 1 if depth else 0

    assert pool.submit(down, 6).result() == 6
    assert list(pool.map(down, range(3))) == [0, 1, 2]


@program()
def let_go_without_waiting(pace: Pace) -> None:
    """shutdown(wait=False) while others still wait for results; then the pool itself is dropped."""
    pool = ThreadPoolExecutor(1)
    futures = [pool.submit(squared, pace, number, 0.5) for number in range(4)]
    pool.shutdown(wait=False)
    del pool
    assert [future.result() for future in futures] == [0, 1, 4, 9]


@program()
def reached_through_others(pace: Pace) -> None:
    """Workers of two pools ask each other's pools, two levels deep, and there is always one that has nothing to wait for."""
    with ThreadPoolExecutor(3) as front, ThreadPoolExecutor(3) as back:

        def leaf(number: int) -> int:
            return squared(pace, number, 0.3)

        def middle(number: int) -> int:
            return back.submit(leaf, number).result()

        def top(number: int) -> int:
            return front.submit(leaf, number).result() + back.submit(middle, number).result()

        assert [front.submit(top, n).result() for n in range(3)] == [0, 2, 8]
        assert [each.result() for each in [front.submit(top, n) for n in (1, 2)]] == [2, 8]


@program()
def result_inside_a_callback(pace: Pace) -> None:
    """A done-callback, which runs in the worker, asks for another result that is there already."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(squared, pace, 3, 0.5)
        seen: list[int] = []
        second = pool.submit(squared, pace, 4, 0.5)
        second.add_done_callback(lambda done: seen.append(done.result() + first.result()))
    assert seen == [25]
