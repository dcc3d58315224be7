"""inverted_order.py without the inversion: the audit is emptied under its own lock, and written out after its release.

    fastlock run --on-deadlock exit examples/inverted_order_fixed.py    ends with status 0 and no report
    fastlock run --level order examples/inverted_order_fixed.py         the same, and a summary without a circle
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
        full = list(audit) if len(audit) >= AUDIT_SIZE else []
        if full:
            audit.clear()
    if full:
        write_audit(full)  # audit_lock is free by now, so the stock is not wanted after it


def write_audit(entries: list[str]) -> None:
    """Write entries out, with the stock at that moment."""
    with stock_lock:
        written.append(f"{len(entries)} entries, {stock['tea']} left")


def serve(customers: queue.SimpleQueue[int | None], answers: queue.SimpleQueue[str]) -> None:
    """One replica: serves customers, of whom every other one buys."""
    for customer in iter(customers.get, None):
        if customer % 2:
            visit(customer)
        else:
            sell("tea", customer)
        answers.put("200")


def main() -> None:
    """Start the replicas."""
    parser = argparse.ArgumentParser(description="A shop whose lock order never inverts.")
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
    print(f"{len(told)} requests served, 0 failed, audit written {len(written)} times")


if __name__ == "__main__":
    main()
