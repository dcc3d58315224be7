"""The incident, on demand: four workers under load, of which two requests stop one for good, and the others serve on.

    python incident.py [--bind 127.0.0.1:8000] [--for SECONDS]         # ctrl-c ends it all
    fastlock top                                                       # in another terminal

An order and a delivery have to meet in one worker. So connections are opened until one worker has two of them, and each of the two is sent on one.
"""

from __future__ import annotations

import argparse
import http.client
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time

import load
from fastlock.outside import open_table

HERE = pathlib.Path(__file__).parent
START_S = 60.0
ANSWER_S = 2.0  # a hundred times what a request takes where nobody is stuck
MOST_CONNECTIONS = 40
ATTEMPTS = 50


def start(bind: str) -> subprocess.Popen[bytes]:
    """Start gunicorn with the shop and fastlock in it, in a session of its own, and return it when it answers."""
    command = [sys.executable, "-m", "gunicorn", "--bind", bind, "app:app"]
    server = subprocess.Popen(command, cwd=HERE, env={**os.environ, "FASTLOCK_INSTALL": "1"}, start_new_session=True)
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            worker_of(http.client.HTTPConnection(bind, timeout=ANSWER_S))
            return server
        except OSError:
            time.sleep(0.05)
    stop(server)
    raise SystemExit(f"gunicorn does not listen at {bind}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End gunicorn; a worker that is stuck does not end by itself."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(2)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def worker_of(connection: http.client.HTTPConnection) -> int:
    """Ask for something harmless, and return which worker has answered: a connection that is kept stays with it."""
    connection.request("GET", "/stock/tea")
    answer = connection.getresponse()
    answer.read()
    return int(answer.headers["X-Worker"])


def two_of_one_worker(bind: str) -> tuple[int, list[http.client.HTTPConnection]]:
    """Return a worker and two connections that it has."""
    by_worker: dict[int, list[http.client.HTTPConnection]] = {}
    for _ in range(MOST_CONNECTIONS):
        connection = http.client.HTTPConnection(bind, timeout=ANSWER_S)
        worker = worker_of(connection)
        by_worker.setdefault(worker, []).append(connection)
        if len(by_worker[worker]) == 2:
            return worker, by_worker[worker]
    raise SystemExit(f"no worker of {bind} keeps its connections")


def jam(bind: str) -> int:
    """Send an order and a delivery to one worker at once, until they wait for each other there; return which worker that is."""
    for _ in range(ATTEMPTS):
        worker, connections = two_of_one_worker(bind)
        for connection, path in zip(connections, ("/orders/tea", "/deliveries/tea")):
            connection.request("POST", path)
        unanswered = [connection.sock for connection in connections]
        while unanswered:
            if is_deadlocked(worker):
                return worker
            for sock in select.select(unanswered, [], [], 0.05)[0]:
                unanswered.remove(sock)
    raise SystemExit(f"the two requests have missed each other {ATTEMPTS} times")


def is_deadlocked(pid: int) -> bool:
    """Look at a process from outside."""
    with open_table(pid) as table:
        return bool(table.facts()["deadlocked"])


def keep_ordering(bind: str, over: threading.Event) -> load.Load:
    """Order tea from four connections until it is over: of who gets to the stuck worker, nobody is answered."""
    customers = load.Load(f"http://{bind}", ANSWER_S)

    def buy() -> None:
        while not over.is_set():
            customers.post("/orders/tea")
            over.wait(0.05)

    for number in range(4):
        threading.Thread(target=buy, name=f"customer-{number}", daemon=True).start()
    return customers


def main() -> int:
    """Start the service, stop one of its workers, keep the load on, and say how it went."""
    parser = argparse.ArgumentParser(description="The incident, on demand.")
    parser.add_argument("--bind", default="127.0.0.1:8000")
    parser.add_argument("--for", dest="for_s", type=float, default=float("inf"), metavar="SECONDS")
    options = parser.parse_args()
    server, over = start(options.bind), threading.Event()
    try:
        customers = keep_ordering(options.bind, over)
        print(f"worker {jam(options.bind)} is stuck, and the others go on; in another terminal: fastlock top", flush=True)
        over.wait(min(options.for_s, threading.TIMEOUT_MAX))
        print(", ".join(f"{result} {times}" for result, times in sorted(customers.results.items())))
    except KeyboardInterrupt:
        print()
    finally:
        over.set()
        stop(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
