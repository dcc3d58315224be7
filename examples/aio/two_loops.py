"""A ring over two loops in two threads: each loop's task holds a thread's lock across an await, and wants the other's.

Every thread's stack shows a loop that acquires a lock; which task has it, and that it is suspended, no stack shows:

    python examples/aio/two_loops.py                                    hangs; Ctrl-C
    fastlock run --on-deadlock exit examples/aio/two_loops.py           names both threads, both tasks and both locks, ends with status 3
"""

from __future__ import annotations

import asyncio
import threading

orders_lock = threading.Lock()
ledger_lock = threading.Lock()
both_have_one = threading.Barrier(2)


async def transfer(first: threading.Lock, second: threading.Lock) -> None:
    """Take both locks, with an await in between."""
    with first:
        await asyncio.to_thread(both_have_one.wait)
        with second:
            print("transferred")


def run_loop(first: threading.Lock, second: threading.Lock) -> None:
    """One service: a loop in a thread of its own."""
    asyncio.run(transfer(first, second))


def main() -> None:
    """Run both services."""
    threads = [
        threading.Thread(target=run_loop, args=(orders_lock, ledger_lock), name="orders"),
        threading.Thread(target=run_loop, args=(ledger_lock, orders_lock), name="ledger"),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
