"""A timeout that says who: a lock with a limit of its own names its owner, and the line where the owner took it.

`threading` tells that an acquire has failed; who was in the way is left to guessing. It ends with status 0:

    python examples/timeout_names_owner.py
"""

from __future__ import annotations

import threading

import fastlock

ledger_lock = fastlock.Lock(timeout=0.2)

exporting = threading.Event()
answered = threading.Event()


def export() -> None:
    """Hold the ledger for longer than anybody wants to wait."""
    with ledger_lock:
        exporting.set()
        answered.wait()


def main() -> None:
    """Want the ledger during the export."""
    exporter = threading.Thread(target=export, name="exporter")
    exporter.start()
    exporting.wait()
    try:
        with ledger_lock:
            print("posted")
    except fastlock.LockTimeout as error:
        print(f"not posted: {error}")
    answered.set()
    exporter.join()


if __name__ == "__main__":
    main()
