"""deadly_embrace.py without the deadlock: whoever needs both locks takes the cache first.

    fastlock run --on-deadlock exit examples/aio/deadly_embrace_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import asyncio

cache = {"tea": 3}
database = {"tea": 4}


async def refresh_cache(cache_lock: asyncio.Lock, db_lock: asyncio.Lock) -> None:
    """Copy the prices of the database into the cache."""
    async with cache_lock:
        await asyncio.sleep(0)
        async with db_lock:
            cache.update(database)


async def raise_price(cache_lock: asyncio.Lock, db_lock: asyncio.Lock) -> None:
    """Change a price in the database, and drop it from the cache."""
    async with cache_lock:  # before db_lock, as everywhere
        await asyncio.sleep(0)
        async with db_lock:
            database["tea"] += 1
            cache.pop("tea", None)


async def main() -> None:
    """Run both jobs at once."""
    cache_lock, db_lock = asyncio.Lock(), asyncio.Lock()
    await asyncio.gather(refresh_cache(cache_lock, db_lock), raise_price(cache_lock, db_lock))
    print(f"tea costs {database['tea']}")


if __name__ == "__main__":
    asyncio.run(main())
