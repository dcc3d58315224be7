"""deadly_embrace.py without the deadlock: whoever needs both locks takes the cache first.

    fastlock run --on-deadlock exit examples/deadly_embrace_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import threading

cache_lock = threading.Lock()
db_lock = threading.Lock()
cache = {"tea": 3}
database = {"tea": 4}

both_are_here = threading.Barrier(2)


def refresh_cache() -> None:
    """Copy the prices of the database into the cache."""
    both_are_here.wait()
    with cache_lock:
        with db_lock:
            cache.update(database)


def raise_price() -> None:
    """Change a price in the database, and drop it from the cache."""
    both_are_here.wait()
    with cache_lock:  # before db_lock, as everywhere
        with db_lock:
            database["tea"] += 1
            cache.pop("tea", None)


def main() -> None:
    """Run both jobs at once."""
    threads = [threading.Thread(target=job, name=job.__name__) for job in (refresh_cache, raise_price)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"tea costs {database['tea']}")


if __name__ == "__main__":
    main()
