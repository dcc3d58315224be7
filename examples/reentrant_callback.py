"""The re-entrant lock: publish() holds its lock while it calls the listeners, and one of them publishes too.

The bus and the listener are in different modules of a real program, written by different people. Nobody else is
needed: a single thread waits for itself.

    python examples/reentrant_callback.py                               hangs, which is the point; Ctrl-C
    fastlock run --on-deadlock exit examples/reentrant_callback.py      says how the thread got there, ends with status 3
    fastlock run --on-deadlock raise examples/reentrant_callback.py     the listener fails, the rest goes on, ends with 0
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
        """Tell all listeners; one that fails does not keep the others from hearing it."""
        with self._lock:
            self.published += 1
            for listener in self._listeners:
                try:
                    listener(item, stock)
                except RuntimeError as error:
                    print(f"a listener failed with {type(error).__name__}")


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
