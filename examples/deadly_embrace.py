"""Deadly embrace: one thread holds the cache and wants the database, another holds the database and wants the cache.

Each function is fine when it is read alone. Together they stop for ever, without a message and without any load:

    python examples/deadly_embrace.py                                   hangs, which is the point; Ctrl-C
    fastlock run --on-deadlock exit examples/deadly_embrace.py          reports who blocks whom, ends with status 3
    fastlock run --on-deadlock raise examples/deadly_embrace.py         one of them gets a RuntimeError, recovers, ends with 0
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

cache_lock = threading.Lock()
db_lock = threading.Lock()
cache = {"tea": 3}
database = {"tea": 4}

# Both have taken their first lock; without it the program would deadlock on some days only.
both_have_one = threading.Barrier(2)
one_is_done = threading.Event()


def refresh_cache(meet: Callable[[], object]) -> None:
    """Copy the prices of the database into the cache."""
    with cache_lock:
        meet()
        with db_lock:
            cache.update(database)


def raise_price(meet: Callable[[], object]) -> None:
    """Change a price in the database, and drop it from the cache."""
    with db_lock:
        meet()
        database["tea"] += 1
        with cache_lock:
            cache.pop("tea", None)


def say(line: str) -> None:
    """Print a line in one piece, whoever else prints: print() writes its newline by itself."""
    sys.stdout.write(f"{line}\n")


def run(job: Callable[[Callable[[], object]], None]) -> None:
    """Do a job; where it would deadlock, let the other one finish and do it again."""
    name = job.__name__
    try:
        job(both_have_one.wait)
    except RuntimeError as error:
        say(f"{name}: backs off, because of a {type(error).__name__}")
        one_is_done.wait()
        job(lambda: None)
    say(f"{name}: done")
    one_is_done.set()


def main() -> None:
    """Run both jobs at once."""
    threads = [threading.Thread(target=run, args=(job,), name=job.__name__) for job in (refresh_cache, raise_price)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"tea costs {database['tea']}")


if __name__ == "__main__":
    main()
