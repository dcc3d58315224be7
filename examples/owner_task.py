"""A lock that many threads want while they hold others, and the same without it: an owner thread with a queue.

Before, every clerk takes books_lock around slow work, and receipts_lock inside it. Each further clerk only makes the others
wait, and each function that is called under books_lock has to know what is held. fastlock sees who wants the lock, how often
somebody waited, and what was taken inside, and names it as a candidate:

    python examples/owner_task.py                                       before
    fastlock run --level order examples/owner_task.py                   before, and a summary with the advice "owner"
    fastlock run --level order examples/owner_task.py --owner           after: no lock of the program's own, no advice

After, one thread owns the books, and nobody else touches them. The clerks send it what is to be booked; who needs to know
the outcome waits for an answer in a queue of its own, and who does not goes on at once.
"""

from __future__ import annotations

import argparse
import queue
import threading
import time
from typing import NamedTuple

WRITING_S = 0.001


class SharedBooks:
    """Before: whoever books something takes the lock and does the work."""

    def __init__(self) -> None:
        self._books_lock = threading.Lock()
        self._receipts_lock = threading.Lock()
        self._balance = 0
        self._receipts = 0

    def book(self, amount: int) -> int:
        """Book an amount and return the new balance."""
        with self._books_lock:
            time.sleep(WRITING_S)  # the books are on a disk
            self._balance += amount
            with self._receipts_lock:
                self._receipts += 1
            return self._balance

    def receipts(self) -> int:
        """Return how many receipts there are."""
        with self._receipts_lock:
            return self._receipts

    def close(self) -> int:
        """Return the final balance."""
        with self._books_lock:
            return self._balance


class Request(NamedTuple):
    """What a clerk wants from the owner, and where the answer goes."""

    amount: int
    answer: queue.SimpleQueue[int]


class OwnedBooks:
    """After: one thread owns the books, so there is nothing to lock; the queue says in which order things happen."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._balance = 0
        self._receipts = 0
        self._owner = threading.Thread(target=self._serve, name="owner of the books")
        self._owner.start()

    def _serve(self) -> None:
        for request in iter(self._requests.get, None):
            time.sleep(WRITING_S)  # the books are on a disk
            self._balance += request.amount
            self._receipts += 1
            request.answer.put(self._balance)

    def book(self, amount: int) -> int:
        """Have an amount booked, and return the new balance."""
        answer: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._requests.put(Request(amount, answer))
        return answer.get()

    def receipts(self) -> int:
        """Return how many receipts there are: one word, which the owner alone writes."""
        return self._receipts

    def close(self) -> int:
        """Return the final balance, when all that was sent is booked and the owner has gone home."""
        self._requests.put(None)
        self._owner.join()
        return self._balance


def clerk(books: SharedBooks | OwnedBooks, bookings: int) -> None:
    """Book so many times, and look at the receipts in between."""
    for amount in range(bookings):
        books.book(amount)
        books.receipts()


def main() -> None:
    """Let the clerks work."""
    parser = argparse.ArgumentParser(description="Books that many clerks write in.")
    parser.add_argument("--owner", action="store_true", help="let one thread own the books")
    parser.add_argument("--clerks", type=int, default=4, help="threads that book (default 4)")
    parser.add_argument("--bookings", type=int, default=20, help="bookings that each of them makes (default 20)")
    options = parser.parse_args()
    books = OwnedBooks() if options.owner else SharedBooks()
    clerks = [
        threading.Thread(target=clerk, args=(books, options.bookings), name=f"clerk-{number}")
        for number in range(1, options.clerks + 1)
    ]
    for each in clerks:
        each.start()
    for each in clerks:
        each.join()
    print(f"{books.receipts()} receipts, balance {books.close()}")


if __name__ == "__main__":
    main()
