"""rwlock_upgrade.py without the deadlock: who may have to write reads upgradably, one at a time, and writes when the other readers have left.

    fastlock run --on-deadlock exit examples/rwlock_upgrade_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import fastlock

prices_lock = fastlock.RWLock()
prices = {"tea": 3}


def price(item: str) -> int:
    """Return the price of an item, after working it out where it is not known."""
    with prices_lock.read():
        if item in prices:
            return prices[item]
    with prices_lock.upgradable():
        if item not in prices:  # somebody may have been here in between
            cost = len(item)  # slow work, beside those who read
            with prices_lock.write():
                prices[item] = cost
        return prices[item]


def main() -> None:
    """Ask for a price that is known, for one that is not, and for the first one again."""
    for item in ("tea", "coffee", "tea"):
        print(f"{item} costs {price(item)}")


if __name__ == "__main__":
    main()
