"""mixed_ring.py without the ring: what is waited for is waited for before the lock is taken.

    fastlock run --on-deadlock exit examples/mixed_ring_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(2)
config_lock = threading.RLock()
config = {"limit": 1}


def reload_config() -> None:
    """Read the settings again, in a thread of its own."""
    with config_lock:
        config["limit"] += 1


def check() -> int:
    """Wait until the settings have been read, and check them."""
    reader = threading.Thread(target=reload_config, name="reader")
    reader.start()
    reader.join()
    return config["limit"]


def apply() -> int:
    """Apply checked settings."""
    limit = pool.submit(check).result()
    with config_lock:
        config["applied"] = limit
    return limit


def main() -> None:
    """Apply."""
    print(f"the limit is {apply()}")
    pool.shutdown()


if __name__ == "__main__":
    main()
