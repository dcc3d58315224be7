"""Orders: what was bought, and what is promised for when the shelf is full again."""

from __future__ import annotations

import itertools
import threading
import time

import inventory

orders_lock = threading.Lock()
_numbers = itertools.count(1)
_orders: dict[int, tuple[str, int]] = {}
_backorders: dict[str, int] = {}


def place(item: str, count: int) -> int:
    """Enter an order, and reserve what it takes; return its number."""
    with orders_lock:
        number = next(_numbers)
        _orders[number] = item, count
        _journal()
        if not inventory.reserve(item, count):
            _backorders[item] = _backorders.get(item, 0) + count
    return number


def promised(item: str) -> int:
    """Return how many pieces are promised, and promise no more of them: they are being put aside."""
    with orders_lock:
        return _backorders.pop(item, 0)


def _journal() -> None:
    time.sleep(0.002)  # a round trip to the database
