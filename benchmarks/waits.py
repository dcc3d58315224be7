"""What submit(), result(), join() and SimpleQueue cost with fastlock installed, beside the standard library's own.

    python benchmarks/waits.py

One process, plain and installed in turn; the least processor time of some rounds, in ns, and its ratio. "blocks" are waits that block each
time, so two switches of threads are in them; the others are what is paid by those who do not wait.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import fastlock

ROUNDS = 9


def submit_and_result_that_blocks(times: int) -> None:
    """Submit a job and wait for it, one after another."""
    with ThreadPoolExecutor(1) as pool:
        for _ in range(times):
            pool.submit(int).result()


def submit_many(times: int) -> None:
    """Submit all, then collect."""
    with ThreadPoolExecutor(1) as pool:
        for future in [pool.submit(int) for _ in range(times)]:
            future.result()


def result_that_is_there(times: int) -> None:
    """Read a result again and again."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(int)
        future.result()
        result = future.result
        for _ in range(times):
            result()


def simple_queue_that_has_something(times: int) -> None:
    """Put and get."""
    simple = queue.SimpleQueue()
    put, get = simple.put, simple.get
    for _ in range(times):
        put(1)
        get()


def start_and_join_that_blocks(times: int) -> None:
    """Start a thread and join it."""
    for _ in range(times):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()


def join_of_one_that_has_ended(times: int) -> None:
    """Join again and again."""
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    join = thread.join
    for _ in range(times):
        join()


CASES: dict[Callable[[int], None], int] = {
    submit_many: 3_000,
    submit_and_result_that_blocks: 2_000,
    result_that_is_there: 100_000,
    simple_queue_that_has_something: 200_000,
    start_and_join_that_blocks: 1_000,
    join_of_one_that_has_ended: 50_000,
}


def ns_of(case: Callable[[int], None], times: int) -> float:
    """Return the processor time of one pass, in ns."""
    before = time.process_time_ns()
    case(times)
    return (time.process_time_ns() - before) / times


def main() -> None:
    """Print a line for each case."""
    plain: dict[str, float] = {}
    ours: dict[str, float] = {}
    for _ in range(ROUNDS):
        for least, install in ((plain, False), (ours, True)):
            if install:
                fastlock.install()
            for case, times in CASES.items():
                least[case.__name__] = min(ns_of(case, times), least.get(case.__name__, 1e18))
            if install:
                fastlock.uninstall()
    for name, ns in plain.items():
        print(f"{name.replace('_', ' '):34} plain {ns:8.0f} ns   installed {ours[name]:8.0f} ns   ratio {ours[name] / ns:.2f}")


if __name__ == "__main__":
    main()
