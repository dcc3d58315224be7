"""A threading.Lock held across an await: the loop stops, and nothing on any stack says who has the lock.

fetch() takes a thread's lock and then awaits the network. While it waits, its coroutine is on no stack; another task of the same
loop wants the lock, and blocks the only thread that could ever resume the first one:

    python examples/aio/lock_across_await.py                                hangs, Ctrl-C too; the heartbeat has stopped
    fastlock run --on-deadlock exit examples/aio/lock_across_await.py       names the suspended task and its line, ends with status 3
    fastlock run examples/aio/lock_across_await.py --quiet                  nobody else wants the lock: FL005 tells it all the same, ends with 0
"""

from __future__ import annotations

import argparse
import asyncio
import threading

rates_lock = threading.Lock()
rates: dict[str, float] = {}


async def ask_the_bank(currency: str) -> float:
    """Pretend to go over the network."""
    await asyncio.sleep(0.05)
    return 1.25 + len(currency)


async def fetch(currency: str) -> None:
    """Keep a rate up to date: the bug is here, for the lock is a thread's and the await lets everybody else run."""
    with rates_lock:
        rates[currency] = await ask_the_bank(currency)


async def read(currency: str) -> float:
    """Read a rate."""
    with rates_lock:
        return rates.get(currency, 1.0)


async def heartbeat() -> None:
    """Something else that the loop does, and stops doing."""
    while True:
        await asyncio.sleep(0.1)


async def serve(quiet: bool) -> None:
    """Refresh a rate while others read."""
    hearts = [asyncio.create_task(heartbeat(), name=f"heartbeat-{number}") for number in range(3)]
    for _ in range(3):
        refresher = asyncio.create_task(fetch("EUR"), name="refresher")
        await asyncio.sleep(0.01)
        if not quiet:
            print(await asyncio.create_task(read("EUR"), name="reader"))
        await refresher
    for heart in hearts:
        heart.cancel()
    print(f"rates are {rates}")


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description="A thread's lock that is held across an await.")
    parser.add_argument("--quiet", action="store_true", help="let nobody read while a rate is fetched")
    asyncio.run(serve(parser.parse_args().quiet))


if __name__ == "__main__":
    main()
