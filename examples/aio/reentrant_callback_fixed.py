"""reentrant_callback.py without the deadlock: publish() lets the lock go before it calls anybody.

    fastlock run --on-deadlock exit examples/aio/reentrant_callback_fixed.py    ends with status 0 and no report

An RLock of fastlock.aio would do as well, where the subscribers may see the bus in the middle of an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Subscriber = Callable[[str], Awaitable[None]]


class Bus:
    """Tells subscribers what happened."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._subscribers: list[Subscriber] = []
        self.log: list[str] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have a function called with each event from here on."""
        self._subscribers.append(subscriber)

    async def publish(self, event: str) -> None:
        """Tell everybody."""
        async with self._lock:
            self.log.append(event)
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            await subscriber(event)


async def main() -> None:
    """Sell the last of the tea."""
    bus = Bus()

    async def restock(event: str) -> None:
        if event == "sold out":
            await bus.publish("ordered")

    bus.subscribe(restock)
    await bus.publish("sold out")
    print(", ".join(bus.log))


if __name__ == "__main__":
    asyncio.run(main())
