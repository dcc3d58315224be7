"""RWLock upgrade: a reader that wants to write waits until all readers are gone, and it is one of them.

The cache misses rarely, so the upgrade is rare too; two readers are not even needed.

    fastlock run --on-deadlock exit examples/rwlock_upgrade.py          names both lines, ends with status 3
    fastlock run --on-deadlock raise examples/rwlock_upgrade.py         the request fails, the next one is served, ends with 0
"""

from __future__ import annotations

import fastlock

prices_lock = fastlock.RWLock()
prices = {"tea": 3}


def price(item: str) -> int:
    """Return the price of an item, after working it out where it is not known."""
    with prices_lock.read():
        if item not in prices:
            with prices_lock.write():
                prices[item] = len(item)
        return prices[item]


def main() -> None:
    """Ask for a price that is known, for one that is not, and for the first one again."""
    for item in ("tea", "coffee", "tea"):
        try:
            print(f"{item} costs {price(item)}")
        except fastlock.DeadlockError as error:
            print(f"{item}: {error}")


if __name__ == "__main__":
    main()
