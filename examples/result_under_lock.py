"""A result waited for under the lock that a done-callback wants: the pool's only worker stands in the callback, and never begins the job.

The callback runs in the worker, after the job that it belongs to and before the next one:

    python examples/result_under_lock.py                                   hangs
    fastlock run --on-deadlock exit examples/result_under_lock.py          names lock, callback and pool, ends with status 3
    fastlock run --on-deadlock raise examples/result_under_lock.py         one report fails with a RuntimeError, ends with 0
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

pool = ThreadPoolExecutor(1)
stats_lock = threading.RLock()
loaded: list[int] = []
noted = threading.Event()

# Somebody is to be told of what is loaded; without it the program would hang on some days only.
asked = threading.Event()


def load(number: int) -> int:
    """Load something."""
    asked.wait()
    return number


def note(future: Future[int]) -> None:
    """Note what was loaded; called in the worker."""
    with stats_lock:
        loaded.append(future.result())
    noted.set()


def count() -> int:
    """Count what was loaded."""
    return len(loaded)


def report() -> int:
    """Load one more and count them all: the bug is here, for the worker wants the lock before it can begin to count."""
    with stats_lock:
        pool.submit(load, 1).add_done_callback(note)
        asked.set()
        return pool.submit(count).result()


def main() -> None:
    """Report."""
    try:
        print(f"{report()} loaded")
    except RuntimeError as error:
        print(f"no report: {type(error).__name__}")
        noted.wait()
    pool.shutdown()
    print(f"{len(loaded)} loaded in the end")


if __name__ == "__main__":
    main()
