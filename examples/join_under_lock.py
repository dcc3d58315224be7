"""A lock held around a join: the thread that is joined wants it, and so never ends.

stop() looks right, for nobody is to touch the state while it stops. But the worker writes its last state under the same lock:

    python examples/join_under_lock.py                                   hangs
    fastlock run --on-deadlock exit examples/join_under_lock.py          names the lock and both lines, ends with status 3
    fastlock run --on-deadlock raise examples/join_under_lock.py         stop() or the worker fails with a RuntimeError; both end, with 0
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
    """Stop the worker: the bug is here, for the lock is kept while it is waited for."""
    with state_lock:
        stopping.set()
        worker.join()


def main() -> None:
    """Start a worker, and stop it."""
    worker = threading.Thread(target=work, name="worker")
    worker.start()
    try:
        stop(worker)
    except RuntimeError as error:
        print(f"stop() failed with {type(error).__name__}")
        worker.join()
    print(f"the worker is {state}")


if __name__ == "__main__":
    main()
