"""nested_pool.py without the starvation: what is waited for has a pool of its own.

    fastlock run --on-deadlock exit examples/nested_pool_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

WORKERS = 2

page_pool = ThreadPoolExecutor(WORKERS)
part_pool = ThreadPoolExecutor(WORKERS)  # its jobs wait for nothing, so each of them ends

all_have_begun = threading.Barrier(WORKERS)


def part(number: int) -> str:
    """Make one part of a page."""
    return f"part {number}"


def page(name: str) -> str:
    """Make a page of its parts."""
    all_have_begun.wait()
    parts = [part_pool.submit(part, number) for number in range(3)]
    return f"{name}: {', '.join(each.result() for each in parts)}"


def main() -> None:
    """Make two pages at once."""
    pages = [page_pool.submit(page, name) for name in ("sales", "stock")]
    for each in pages:
        print(each.result())
    page_pool.shutdown()
    part_pool.shutdown()


if __name__ == "__main__":
    main()
