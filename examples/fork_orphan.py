"""Fork orphan: the process forks while a thread holds a lock; the child inherits the locked lock and not the thread.

In the child nobody is left who could release journal_lock, so its first entry waits for ever. In a service it is a
prefork worker, one in some thousands, that is born hanging:

    python examples/fork_orphan.py                                      hangs, which is the point; Ctrl-C
    fastlock run --on-deadlock exit examples/fork_orphan.py             the child says who was holding it, ends with status 3
"""

from __future__ import annotations

import os
import sys
import threading

journal_lock = threading.Lock()
journal: list[str] = []

writing = threading.Event()
forked = threading.Event()


def write(entry: str) -> None:
    """Add an entry to the journal."""
    with journal_lock:
        journal.append(entry)


def write_report() -> None:
    """Add a long entry to the journal, which takes its time."""
    with journal_lock:
        writing.set()
        forked.wait()  # the fork falls into the middle of it
        journal.append("report")


def main() -> int:
    """Fork a worker while the thread writes, and return the worker's exit status."""
    reporter = threading.Thread(target=write_report, name="reporter")
    reporter.start()
    writing.wait()
    worker = os.fork()
    if worker == 0:
        write("worker: ready")
        os._exit(0)
    forked.set()
    reporter.join()
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    print(f"the worker has ended with status {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
