"""The inventory: what is on the shelf."""

from __future__ import annotations

import threading
import time

import orders

stock_lock = threading.Lock()
_stock: dict[str, int] = {"tea": 40, "cups": 10}


def reserve(item: str, count: int) -> bool:
    """Take so many pieces from the shelf; False where there are not as many."""
    with stock_lock:
        if _stock.get(item, 0) < count:
            return False
        _stock[item] -= count
        return True


def restock(item: str, count: int) -> int:
    """Put a delivery on the shelf, less what is promised already; return what is there now."""
    with stock_lock:
        _count_the_boxes()
        _stock[item] = _stock.get(item, 0) + count - orders.promised(item)
        return _stock[item]


def on_shelf(item: str) -> int:
    """Return how many pieces there are; a glance, which nobody has to wait for."""
    return _stock.get(item, 0)


def _count_the_boxes() -> None:
    time.sleep(0.002)  # the scanner's answer
