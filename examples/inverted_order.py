"""Inverted order under pressure: every function takes the stock before the audit, until the audit is full.

sell() takes stock_lock, then audit_lock, and visit() takes audit_lock alone: the order is consistent wherever one reads.
But a full audit is written out with the stock of that moment, so whoever adds the entry that fills it wants the stock
while holding the audit. In sell(), which has the stock already, that is harmless; in visit() it is the inversion. It takes
an audit that fills up and a second replica that sells meanwhile, so it never happens in development:

    python examples/inverted_order.py --replicas 1                      development: ends with 0, always
    python examples/inverted_order.py                                   production: hangs; Ctrl-C
    fastlock run --on-deadlock exit examples/inverted_order.py          names the lines of the inversion, ends with status 3

The last way to run it is the one that matters: the replicas serve one request at a time, so nothing ever waits for a lock,
and the inversion is told all the same, because each order was taken once:

    fastlock run --level order examples/inverted_order.py --one-at-a-time    reports FL010, ends with 0
"""

from __future__ import annotations

import argparse
import queue
import threading
import time

AUDIT_SIZE = 20
PAYMENT_S = 0.002
PAGE_S = 0.001

stock_lock = threading.RLock()
audit_lock = threading.RLock()
stock = {"tea": 1_000_000}
audit: list[str] = []
written: list[str] = []


def sell(item: str, customer: int) -> None:
    """Take an item from the stock, and have it paid."""
    with stock_lock:
        stock[item] -= 1
        time.sleep(PAYMENT_S)  # the payment service answers
        add_to_audit(f"customer {customer} bought {item}")


def visit(customer: int) -> None:
    """Show somebody the shop, and note that."""
    time.sleep(PAGE_S)  # the page is rendered
    add_to_audit(f"customer {customer} looked around")


def add_to_audit(entry: str) -> None:
    """Add an entry, and write all of them out where there are too many."""
    with audit_lock:
        audit.append(entry)
        if len(audit) >= AUDIT_SIZE:
            write_audit()


def write_audit() -> None:
    """Write the entries out, with the stock at that moment."""
    with audit_lock:
        with stock_lock:
            written.append(f"{len(audit)} entries, {stock['tea']} left")
        audit.clear()


def serve(customers: queue.SimpleQueue[int | None], answers: queue.SimpleQueue[str]) -> None:
    """One replica: serves customers, of whom every other one buys; a request that fails is answered with 500."""
    for customer in iter(customers.get, None):
        try:
            if customer % 2:
                visit(customer)
            else:
                sell("tea", customer)
            answers.put("200")
        except RuntimeError:
            answers.put("500")


def main() -> None:
    """Start the replicas."""
    parser = argparse.ArgumentParser(description="A shop whose lock order inverts under load.")
    parser.add_argument("--replicas", type=int, default=4, help="threads that serve (default 4)")
    parser.add_argument("--requests", type=int, default=100, help="requests that each of them gets (default 100)")
    parser.add_argument("--one-at-a-time", action="store_true", help="send a request when the one before is answered")
    options = parser.parse_args()
    inboxes: list[queue.SimpleQueue[int | None]] = [queue.SimpleQueue() for _ in range(options.replicas)]
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    for number, inbox in enumerate(inboxes, 1):
        threading.Thread(target=serve, args=(inbox, answers), name=f"replica-{number}").start()
    told = []
    for customer in range(options.requests):
        for inbox in inboxes:
            inbox.put(customer)
            if options.one_at_a_time:
                told.append(answers.get())
    for inbox in inboxes:
        inbox.put(None)
    while len(told) < options.requests * options.replicas:
        told.append(answers.get())
    failed = told.count("500")
    print(f"{len(told) - failed} requests served, {failed} failed, audit written {len(written)} times")


if __name__ == "__main__":
    main()
