"""Unfinished queue: a worker ends between get() and task_done(), and join() waits for the rest for ever.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/unfinished_queue.py    names the queue and the worker, ends with status 3
    fastlock run examples/unfinished_queue.py --fixed                                    every item is done, ends with 0
"""

from __future__ import annotations

import queue
import sys
import threading

NAMES = ["ada", "grace", "edsger", "", "barbara", "donald"]

mails: queue.Queue[str] = queue.Queue()
sent: list[str] = []


def send(name: str) -> None:
    """Send a mail; there is none for nobody."""
    if not name:
        raise ValueError("no name")
    sent.append(name)


def work() -> None:
    """Send mails; what send() raises ends the thread."""
    while True:
        name = mails.get()
        send(name)
        mails.task_done()


def work_fixed() -> None:
    """Send mails, and say of each that it is done, however that went."""
    while True:
        name = mails.get()
        try:
            send(name)
        except ValueError as error:
            print(f"not sent: {error}")
        finally:
            mails.task_done()


def main() -> None:
    """Queue all mails and wait until they are sent."""
    for name in NAMES:
        mails.put(name)
    threading.Thread(target=work_fixed if "--fixed" in sys.argv else work, name="sender", daemon=True).start()
    mails.join()
    print(f"{len(sent)} mails sent")


if __name__ == "__main__":
    main()
