"""The re-entrant lock: publish() holds the lock while it calls the subscribers, and one of them publishes.

asyncio has no re-entrant lock, so the task waits for itself:

    python examples/aio/reentrant_callback.py                               hangs; Ctrl-C
    fastlock run --on-deadlock exit examples/aio/reentrant_callback.py      names both lines of the one task, ends with status 3
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Subscriber = Callable[[str], Awaitable[None]]


class Bus:
    """Tells subscribers what happened, one event at a time."""

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
            for subscriber in self._subscribers:
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
