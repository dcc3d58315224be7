"""Deadly embrace of two tasks: one holds the cache and awaits the database, the other holds the database and awaits the cache.

The loop runs on and serves everybody else, so nothing looks wrong; these two requests just never end:

    python examples/aio/deadly_embrace.py                                   hangs, which is the point; Ctrl-C
    fastlock run --on-deadlock exit examples/aio/deadly_embrace.py          reports who blocks whom, ends with status 3
    fastlock run --on-deadlock raise examples/aio/deadly_embrace.py         one of them gets a RuntimeError, recovers, ends with 0
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

cache = {"tea": 3}
database = {"tea": 4}

Meet = Callable[[], Awaitable[object]]


class Shop:
    """Two stores, a lock each."""

    def __init__(self) -> None:
        self._cache_lock = asyncio.Lock()
        self._db_lock = asyncio.Lock()

    async def refresh_cache(self, meet: Meet) -> None:
        """Copy the prices of the database into the cache."""
        async with self._cache_lock:
            await meet()
            async with self._db_lock:
                cache.update(database)

    async def raise_price(self, meet: Meet) -> None:
        """Change a price in the database, and drop it from the cache."""
        async with self._db_lock:
            await meet()
            database["tea"] += 1
            async with self._cache_lock:
                cache.pop("tea", None)


class Meeting:
    """Both have taken their first lock when they come out; without it the program would deadlock on some days only."""

    def __init__(self) -> None:
        self._missing = 2
        self._complete = asyncio.Event()

    async def __call__(self) -> None:
        """Wait for the other one."""
        self._missing -= 1
        if self._missing == 0:
            self._complete.set()
        await self._complete.wait()


async def alone() -> None:
    """Meet nobody."""


async def run(job: Callable[[Meet], Awaitable[None]], meet: Meet, one_is_done: asyncio.Event) -> None:
    """Do a job; where it would deadlock, let the other one finish and do it again."""
    name = getattr(job, "__name__", "job")
    try:
        await job(meet)
    except RuntimeError as error:
        print(f"{name}: backs off, because of a {type(error).__name__}")
        await one_is_done.wait()
        await job(alone)
    print(f"{name}: done")
    one_is_done.set()


async def main() -> None:
    """Run both jobs at once."""
    shop, meeting, one_is_done = Shop(), Meeting(), asyncio.Event()
    await asyncio.gather(*(run(job, meeting, one_is_done) for job in (shop.refresh_cache, shop.raise_price)))
    print(f"tea costs {database['tea']}")


if __name__ == "__main__":
    asyncio.run(main())
