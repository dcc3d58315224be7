"""join_under_lock.py without the deadlock: the lock is free while the thread is waited for.

    fastlock run --on-deadlock exit examples/join_under_lock_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import threading

state_lock = threading.RLock()
state = "new"
stopping = threading.Event()


def work() -> None:
    """Work until it is told to stop, and say so."""
    global state
    stopping.wait()
    with state_lock:
        state = "stopped"


def stop(worker: threading.Thread) -> None:
    """Stop the worker."""
    with state_lock:
        stopping.set()
    worker.join()  # not under the lock: what it still does may want it


def main() -> None:
    """Start a worker, and stop it."""
    worker = threading.Thread(target=work, name="worker")
    worker.start()
    stop(worker)
    print(f"the worker is {state}")


if __name__ == "__main__":
    main()
