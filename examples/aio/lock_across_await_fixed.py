"""lock_across_await.py without the deadlock: what is awaited is awaited before the lock is taken.

    fastlock run --on-deadlock exit examples/aio/lock_across_await_fixed.py    ends with status 0 and no report

Where the lock has to be held meanwhile it must be asyncio's, which suspends the task that waits and not the loop.
"""

from __future__ import annotations

import asyncio
import threading

rates_lock = threading.Lock()
rates: dict[str, float] = {}


async def ask_the_bank(currency: str) -> float:
    """Pretend to go over the network."""
    await asyncio.sleep(0.05)
    return 1.25 + len(currency)


async def fetch(currency: str) -> None:
    """Keep a rate up to date."""
    rate = await ask_the_bank(currency)
    with rates_lock:
        rates[currency] = rate


async def read(currency: str) -> float:
    """Read a rate."""
    with rates_lock:
        return rates.get(currency, 1.0)


async def main() -> None:
    """Refresh a rate while others read."""
    for _ in range(3):
        refresher = asyncio.create_task(fetch("EUR"), name="refresher")
        await asyncio.sleep(0.01)
        print(await asyncio.create_task(read("EUR"), name="reader"))
        await refresher
    print(f"rates are {rates}")


if __name__ == "__main__":
    asyncio.run(main())
