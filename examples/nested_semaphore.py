"""Nested semaphore: whoever has a permit asks for another one of the same semaphore.

With more permits than users it works. As soon as each permit belongs to somebody who wants a second one, nobody goes on.

    FASTLOCK_SLOW_WAIT=1 fastlock run examples/nested_semaphore.py    names both lines; Ctrl-C
    fastlock run examples/nested_semaphore.py --fixed                 takes one permit for all of it, ends with 0
"""

from __future__ import annotations

import sys
import threading

connections = threading.Semaphore(2)
both_have_one = threading.Barrier(2)
stored: list[str] = []


def audit(entry: str) -> None:
    """Write an entry, with a connection of its own."""
    with connections:
        stored.append(entry)


def store(order: str) -> None:
    """Write an order, and while the connection is there an entry about it."""
    with connections:
        both_have_one.wait()  # stands for two requests at once
        if "--fixed" in sys.argv:
            stored.append(order)
        else:
            audit(order)


def main() -> None:
    """Store two orders at once."""
    requests = [threading.Thread(target=store, args=(order,), name=order) for order in ("tea", "coffee")]
    for request in requests:
        request.start()
    for request in requests:
        request.join()
    print(f"{len(stored)} orders stored")


if __name__ == "__main__":
    main()
