"""A starved pool: every worker waits for work that stands in the queue of the same pool.

Each page of a report asks for its parts, in the pool that it runs in itself. One page at a time is fine; as soon as there are as many pages as
workers, nobody is left to do a part:

    python examples/nested_pool.py                                   hangs
    fastlock run --on-deadlock exit examples/nested_pool.py          names the pool, its workers and where they wait, ends with status 3
    fastlock run --on-deadlock raise examples/nested_pool.py         one page fails with a RuntimeError, the others are made, ends with 0
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

WORKERS = 2

pool = ThreadPoolExecutor(WORKERS)

# As many pages as workers have begun; without it the program would hang on some days only.
all_have_begun = threading.Barrier(WORKERS)


def part(number: int) -> str:
    """Make one part of a page."""
    return f"part {number}"


def page(name: str) -> str:
    """Make a page of its parts: the bug is here, for the worker keeps its place in the pool while it waits."""
    all_have_begun.wait()
    parts = [pool.submit(part, number) for number in range(3)]
    return f"{name}: {', '.join(each.result() for each in parts)}"


def main() -> None:
    """Make two pages at once."""
    pages = [pool.submit(page, name) for name in ("sales", "stock")]
    for each in pages:
        try:
            print(each.result())
        except RuntimeError as error:
            print(f"a page failed with {type(error).__name__}")
    pool.shutdown()


if __name__ == "__main__":
    main()
