"""A ring of a lock, a future, a join and a lock: three people's code, each of it fine.

apply() holds the lock and waits for a job; the job waits for the end of a thread; the thread wants the lock:

    python examples/mixed_ring.py                                   hangs
    fastlock run --on-deadlock exit examples/mixed_ring.py          tells the whole ring, ends with status 3
    fastlock run --on-deadlock raise examples/mixed_ring.py         who closes it gets a RuntimeError, ends with 0
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(2)
config_lock = threading.RLock()
config = {"limit": 1}
has_the_lock = threading.Event()


def reload_config() -> None:
    """Read the settings again, in a thread of its own."""
    has_the_lock.wait()
    with config_lock:
        config["limit"] += 1


def check() -> int:
    """Wait until the settings have been read, and check them."""
    reader = threading.Thread(target=reload_config, name="reader")
    reader.start()
    try:
        reader.join()
    finally:
        reader_threads.append(reader)
    return config["limit"]


reader_threads: list[threading.Thread] = []


def apply() -> int:
    """Apply checked settings: the bug is here, for what is waited for wants the lock, two steps further on."""
    with config_lock:
        has_the_lock.set()
        return pool.submit(check).result()


def main() -> None:
    """Apply."""
    try:
        print(f"the limit is {apply()}")
    except RuntimeError as error:
        print(f"not applied: {type(error).__name__}")
    pool.shutdown()
    for reader in reader_threads:
        reader.join()
    print(f"the limit is {config['limit']} in the end")


if __name__ == "__main__":
    main()
