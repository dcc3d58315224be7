"""result_under_lock.py without the deadlock: the lock is free while the result is waited for.

    fastlock run --on-deadlock exit examples/result_under_lock_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

pool = ThreadPoolExecutor(1)
stats_lock = threading.RLock()
loaded: list[int] = []


def load(number: int) -> int:
    """Load something."""
    return number


def note(future: Future[int]) -> None:
    """Note what was loaded; called in the worker."""
    with stats_lock:
        loaded.append(future.result())


def count() -> int:
    """Count what was loaded."""
    with stats_lock:
        return len(loaded)


def report() -> int:
    """Load one more and count them all."""
    pool.submit(load, 1).add_done_callback(note)
    return pool.submit(count).result()


def main() -> None:
    """Report."""
    print(f"{report()} loaded")
    pool.shutdown()
    print(f"{len(loaded)} loaded in the end")


if __name__ == "__main__":
    main()
