"""Inverted order under pressure: every handler takes the stock before the audit, until the audit is full.

sell() takes the stock, then the audit, and visit() takes the audit alone: the order is consistent wherever one reads. But a full
audit is written out with the stock of that moment, so whoever adds the entry that fills it wants the stock while holding the
audit. It takes a second handler that sells meanwhile, so it never happens in development:

    python examples/aio/inverted_order.py --handlers 1                      development: ends with 0, always
    python examples/aio/inverted_order.py                                   production: hangs; Ctrl-C
    fastlock run --on-deadlock exit examples/aio/inverted_order.py          names the lines of the inversion, ends with status 3

Where one request is served at a time nothing ever waits for a lock, and the inversion is told all the same:

    fastlock run --level order examples/aio/inverted_order.py --one-at-a-time    reports FL010, ends with 0
"""

from __future__ import annotations

import argparse
import asyncio

AUDIT_SIZE = 20
PAYMENT_S = 0.002


class Shop:
    """A stock and an audit, a lock each."""

    def __init__(self) -> None:
        self._stock_lock = asyncio.Lock()
        self._audit_lock = asyncio.Lock()
        self._stock = 1_000_000
        self._audit: list[str] = []
        self.written: list[str] = []

    async def sell(self, customer: int) -> None:
        """Sell something, and have it paid."""
        async with self._stock_lock:
            self._stock -= 1
            await asyncio.sleep(PAYMENT_S)  # the payment service answers
            async with self._audit_lock:
                self._audit.append(f"customer {customer} bought tea")

    async def visit(self, customer: int) -> None:
        """Show somebody the shop, and note that."""
        async with self._audit_lock:
            self._audit.append(f"customer {customer} looked around")
            if len(self._audit) >= AUDIT_SIZE:
                await self._write_audit()

    async def _write_audit(self) -> None:
        async with self._stock_lock:
            self.written.append(f"{len(self._audit)} entries, {self._stock} left")
        self._audit.clear()


async def handle(shop: Shop, customer: int) -> None:
    """One request, in a task of its own, as a server has it."""
    if customer % 2:
        await shop.visit(customer)
    else:
        await shop.sell(customer)


async def serve(handlers: int, requests: int, one_at_a_time: bool) -> Shop:
    """Serve all requests, so many at a time."""
    shop = Shop()
    if one_at_a_time:
        for customer in range(requests):
            await asyncio.create_task(handle(shop, customer))
    else:
        for first in range(0, requests, handlers):
            await asyncio.gather(*(handle(shop, customer) for customer in range(first, min(first + handlers, requests))))
    return shop


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description="A shop whose lock order inverts under load.")
    parser.add_argument("--handlers", type=int, default=8, help="requests in flight (default 8)")
    parser.add_argument("--requests", type=int, default=200, help="requests in all (default 200)")
    parser.add_argument("--one-at-a-time", action="store_true", help="send a request when the one before is answered")
    options = parser.parse_args()
    shop = asyncio.run(serve(options.handlers, options.requests, options.one_at_a_time))
    print(f"{options.requests} requests served, audit written {len(shop.written)} times")


if __name__ == "__main__":
    main()
