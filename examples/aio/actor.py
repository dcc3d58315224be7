"""Books behind a lock, and the same without one: a task that owns them, with a queue.

With the lock each clerk waits in line and then does the work itself; what is awaited under the lock is awaited by everybody in line.
With an owner, a clerk puts its request into the queue: one task alone touches the books, so there is nothing to lock, nothing to be
taken in a wrong order, and who does not need the answer goes on at once.

    python examples/aio/actor.py                                        both, with the time that each takes
    fastlock run --level order examples/aio/actor.py                    the same, and a summary of what was locked
"""

from __future__ import annotations

import argparse
import asyncio
import time


class LockedBooks:
    """Whoever books something takes the lock and does the work."""

    def __init__(self) -> None:
        self._books_lock = asyncio.Lock()
        self._balance = 0

    async def book(self, amount: int) -> int:
        """Book an amount and return the new balance."""
        async with self._books_lock:
            self._balance += await written(amount)
            return self._balance

    async def close(self) -> None:
        """Nothing to end."""


class OwnedBooks:
    """One task owns the books; the queue says in which order things happen."""

    def __init__(self) -> None:
        self._requests: asyncio.Queue[tuple[int, asyncio.Future[int]] | None] = asyncio.Queue()
        self._balance = 0
        self._owner = asyncio.create_task(self._serve(), name="owner of the books")

    async def _serve(self) -> None:
        while (request := await self._requests.get()) is not None:
            amount, answer = request
            self._balance += await written(amount)
            if not answer.cancelled():
                answer.set_result(self._balance)

    async def book(self, amount: int) -> int:
        """Have an amount booked, and return the new balance."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await self._requests.put((amount, answer))
        return await answer

    async def close(self) -> None:
        """Let the owner finish what is in the queue, and go home."""
        await self._requests.put(None)
        await self._owner


async def written(amount: int) -> int:
    """Write an amount down, which takes a turn of the loop."""
    await asyncio.sleep(0)
    return amount


async def clerk(books: LockedBooks | OwnedBooks, bookings: int) -> None:
    """Book so many times."""
    for amount in range(bookings):
        await books.book(amount)


async def measure(kind: type[LockedBooks] | type[OwnedBooks], clerks: int, bookings: int) -> tuple[float, int]:
    """Return microseconds a booking, and the final balance."""
    books = kind()
    start = time.perf_counter()
    await asyncio.gather(*(clerk(books, bookings) for _ in range(clerks)))
    taken = time.perf_counter() - start
    balance = await books.book(0)
    await books.close()
    return taken / (clerks * bookings) * 1e6, balance


def main() -> None:
    """Measure both, in turns, and say the better of three rounds of each."""
    parser = argparse.ArgumentParser(description="Books that many clerks write in.")
    parser.add_argument("--clerks", type=int, default=20, help="tasks that book (default 20)")
    parser.add_argument("--bookings", type=int, default=100, help="bookings that each of them makes (default 100)")
    options = parser.parse_args()
    best: dict[str, float] = {}
    balances = set()
    for _ in range(3):
        for kind in (LockedBooks, OwnedBooks):
            taken, balance = asyncio.run(measure(kind, options.clerks, options.bookings))
            best[kind.__name__] = min(taken, best.get(kind.__name__, taken))
            balances.add(balance)
    print(f"balance {balances.pop()}" if len(balances) == 1 else f"balances differ: {sorted(balances)}")
    for name, taken in best.items():
        print(f"{name:12} {taken:6.1f} us a booking")


if __name__ == "__main__":
    main()
