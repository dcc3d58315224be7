"""A bounded load for the service: customers order from several connections at once, and the supplier delivers now and then.

    python load.py [--url http://127.0.0.1:8000] [--orders 400] [--customers 8] [--deliveries 20] [--timeout 2]

The supplier sends one delivery after the other, and stops with the first that is not answered in time. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import sys
import threading
import urllib.parse
from collections import Counter


class Load:
    """Requests to one service, and what has become of them."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._timeout_s = timeout_s
        self.results: Counter[str] = Counter()
        self._lock = threading.Lock()

    def post(self, path: str) -> bool:
        """Send a request on a connection of its own; whether it was answered in time."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request("POST", path)
            answer = connection.getresponse()
            answer.read()
            result = str(answer.status)
        except TimeoutError:
            result = "no answer"
        except OSError as error:
            result = type(error).__name__
        finally:
            connection.close()
        with self._lock:
            self.results[f"{path.split('/')[1]}: {result}"] += 1
        return result == "200"

    def customers(self, orders: int, customers: int) -> list[threading.Thread]:
        """Start so many customers, who order so often in all."""
        tickets = itertools.count()

        def buy() -> None:
            while next(tickets) < orders:
                self.post("/orders/tea")

        threads = [threading.Thread(target=buy, name=f"customer-{number}") for number in range(customers)]
        for thread in threads:
            thread.start()
        return threads

    def deliver(self, deliveries: int) -> bool:
        """Deliver so often, until one is not answered; whether all were."""
        return all(self.post("/deliveries/tea") for _ in range(deliveries))


def main() -> int:
    """Send the load, say what came of it, and return 1 where something was not answered."""
    parser = argparse.ArgumentParser(description="A bounded load for the service.")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--orders", type=int, default=400)
    parser.add_argument("--customers", type=int, default=8)
    parser.add_argument("--deliveries", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=2)
    options = parser.parse_args()
    load = Load(options.url, options.timeout)
    customers = load.customers(options.orders, options.customers)
    load.deliver(options.deliveries)
    for customer in customers:
        customer.join()
    for result, times in sorted(load.results.items()):
        print(f"{result:<28} {times:>6}")
    return 0 if set(load.results) <= {"orders: 200", "deliveries: 200"} else 1


if __name__ == "__main__":
    sys.exit(main())
