"""Gone consumer: the only thread that takes from a bounded queue ends with the first item that it cannot handle.

Nobody takes from the queue any more. The producers fill it and wait for room for ever; the traceback of the consumer is long scrolled away.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/gone_consumer.py    names the queue and who is gone, ends with status 3
    fastlock run examples/gone_consumer.py --fixed                                    one bad item costs one item, ends with 0
"""

from __future__ import annotations

import queue
import sys
import threading

ORDERS = ["3 tea", "2 coffee", "1 milk", "two cocoa", *["1 tea"] * 20]

orders: queue.Queue[str] = queue.Queue(4)
sold: list[int] = []


def book(order: str) -> None:
    """Add an order to what is sold."""
    sold.append(int(order.split()[0]))


def sell() -> None:
    """Book each order; the first one without a number ends the thread."""
    for _ in ORDERS:
        book(orders.get())


def sell_fixed() -> None:
    """Book each order, and go on after one that cannot be booked."""
    for _ in ORDERS:
        order = orders.get()
        try:
            book(order)
        except ValueError:
            print(f"not booked: {order}")


def main() -> None:
    """Order from one thread, sell in another one."""
    seller = threading.Thread(target=sell_fixed if "--fixed" in sys.argv else sell, name="seller")
    seller.start()
    for order in ORDERS:
        orders.put(order)
    seller.join()
    print(f"{len(sold)} orders booked")


if __name__ == "__main__":
    main()
