"""Stalled ring: a lock, a future and a queue, each in the hands of somebody who waits for the next one.

The refresher holds the cache's lock and waits for a future. The worker that is to bring it waits for room in the log's queue. The writer, who
alone takes from that, wants the lock. No two locks are in it, and each part by itself is right.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/stalled_ring.py    tells all three, ends with status 3
    fastlock run examples/stalled_ring.py --fixed                                    waits for the future without the lock, ends with 0
"""

from __future__ import annotations

import concurrent.futures
import queue
import sys
import threading

LOG_SIZE = 3

cache_lock = threading.Lock()
cache: dict[str, int] = {}
log: queue.Queue[str] = queue.Queue(LOG_SIZE)
refreshing = threading.Event()
pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="worker")


def write_log() -> None:
    """Take entries for ever, and count each in the cache."""
    while True:
        entry = log.get()
        refreshing.wait()
        with cache_lock:
            cache[entry] = cache.get(entry, 0) + 1


def fetch(name: str) -> int:
    """Return a rate; with many entries in the log."""
    for _ in range(2 * LOG_SIZE):
        log.put(name)
    return len(name)


def refresh(name: str) -> None:
    """Write a new rate into the cache."""
    if "--fixed" in sys.argv:
        rate = pool.submit(fetch, name).result()
        with cache_lock:
            cache[name] = rate
        return
    with cache_lock:
        refreshing.set()
        cache[name] = pool.submit(fetch, name).result()


def main() -> None:
    """Refresh one rate."""
    threading.Thread(target=write_log, name="log-writer", daemon=True).start()
    for _ in range(LOG_SIZE):
        log.put("start")  # the writer has taken some by now, as it has for hours
    if "--fixed" in sys.argv:
        refreshing.set()
    refresh("EUR")
    print("refreshed")


if __name__ == "__main__":
    main()
