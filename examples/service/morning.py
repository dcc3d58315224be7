"""The next morning's test: one order and one delivery, one after the other. Nobody waits, and yet the two orders of the locks show.

    fastlock run --level order --on-inversion raise morning.py        # fails until the order is mended
"""

from __future__ import annotations

import concurrent.futures

from app import app


def request(path: str) -> int:
    """Send a request to the application, and return the status."""
    return app.test_client().post(path).status_code


def main() -> None:
    """Do one of each, on a pool's thread as in a server; what a handler raises ends the run with status 1."""
    app.testing = True
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for path in ("/orders/tea", "/deliveries/tea"):
            print(path, pool.submit(request, path).result())


if __name__ == "__main__":
    main()
