"""fork_orphan.py without the orphan: who forks takes the journal's lock first, so that no other thread can have it.

    fastlock run --on-deadlock exit examples/fork_orphan_fixed.py       ends with status 0 and no report
"""

from __future__ import annotations

import os
import sys
import threading

journal_lock = threading.Lock()
journal: list[str] = []

writing = threading.Event()
about_to_fork = threading.Event()

# The fork waits for whoever writes; afterwards parent and child each release a lock of their own.
os.register_at_fork(
    before=journal_lock.acquire, after_in_parent=journal_lock.release, after_in_child=journal_lock.release
)


def write(entry: str) -> None:
    """Add an entry to the journal."""
    with journal_lock:
        journal.append(entry)


def write_report() -> None:
    """Add a long entry to the journal, which takes its time."""
    with journal_lock:
        writing.set()
        about_to_fork.wait()
        journal.append("report")


def main() -> int:
    """Fork a worker while the thread writes, and return the worker's exit status."""
    reporter = threading.Thread(target=write_report, name="reporter")
    reporter.start()
    writing.wait()
    about_to_fork.set()
    worker = os.fork()
    if worker == 0:
        write("worker: ready")
        os._exit(0)
    reporter.join()
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    print(f"the worker has ended with status {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
