"""inverted_order.py without the inversion: the audit is emptied under its own lock, and written out after its release.

    fastlock run --on-deadlock exit examples/inverted_order_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import argparse
import hashlib
import threading

AUDIT_SIZE = 50

stock_lock = threading.RLock()
audit_lock = threading.RLock()
stock = {"tea": 1_000_000}
audit: list[str] = []
written: list[str] = []


def sign(text: str) -> str:
    """Sign a text; this takes its time, and other threads run meanwhile."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), bytes(16), 200).hex()


def sell(item: str, customer: int) -> None:
    """Take an item from the stock, and sign a receipt for it."""
    with stock_lock:
        stock[item] -= 1
        receipt = sign(item)
        add_to_audit(f"customer {customer} bought {item}: {receipt}")


def visit(customer: int) -> None:
    """Show somebody the shop, and note that."""
    page = sign("welcome")
    add_to_audit(f"customer {customer} looked around: {page}")


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


def serve(requests: int, answers: list[str]) -> None:
    """One replica: serves customers, of whom every other one buys."""
    for customer in range(requests):
        if customer % 2:
            visit(customer)
        else:
            sell("tea", customer)
        answers.append("200")


def main() -> None:
    """Start the replicas."""
    parser = argparse.ArgumentParser(description="A shop whose lock order never inverts.")
    parser.add_argument("--replicas", type=int, default=4, help="threads that serve (default 4)")
    parser.add_argument("--requests", type=int, default=500, help="requests that each of them gets (default 500)")
    options = parser.parse_args()
    answers: list[str] = []
    replicas = [
        threading.Thread(target=serve, args=(options.requests, answers), name=f"replica-{number}")
        for number in range(1, options.replicas + 1)
    ]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()
    print(f"{len(answers)} requests served, 0 failed, audit written {len(written)} times")


if __name__ == "__main__":
    main()
