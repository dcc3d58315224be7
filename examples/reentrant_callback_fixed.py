"""reentrant_callback.py without the deadlock: the lock guards the list of listeners, and is free while they are called.

    fastlock run --on-deadlock exit examples/reentrant_callback_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import threading
from collections.abc import Callable

Listener = Callable[[str, int], None]


class Bus:
    """Tells listeners about changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self.published = 0

    def subscribe(self, listener: Listener) -> None:
        """Have the listener called for each change."""
        with self._lock:
            self._listeners.append(listener)

    def publish(self, item: str, stock: int) -> None:
        """Tell all listeners."""
        with self._lock:
            self.published += 1
            listeners = list(self._listeners)
        for listener in listeners:  # code of others: never under a lock of ours
            listener(item, stock)


def main() -> None:
    """Sell the last tea."""
    bus = Bus()

    def reorder(item: str, stock: int) -> None:
        """Buy what is sold out, and tell everybody."""
        if stock == 0:
            bus.publish(item, 100)

    bus.subscribe(reorder)
    bus.publish("tea", 1)
    bus.publish("tea", 0)
    print(f"{bus.published} changes published")


if __name__ == "__main__":
    main()
