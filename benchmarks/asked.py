"""What it costs a process to be asked by the console over its socket: classes, order, agent.

    python benchmarks/asked.py [--locks 1000000] [--edges 100000] [--busy 0] [--rounds 5] [--json]

Counted is the processor time of the thread that answers, how long an answer takes, how long it is, and the longest pause of another thread meanwhile: one that
sleeps for 0.1 ms again and again and has nothing else to do. "nothing" is the same pause while nobody asks: what the machine and the busy threads make of it.
"""

from __future__ import annotations

import argparse
import json
import platform
import threading
import time
from typing import Any

import fastlock
from fastlock import answers

SETTLE_S = 0.2


class Watch:
    """A thread that measures how long it is kept from running."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._over:
            time.sleep(0.0001)
            now = time.perf_counter()
            self.longest_s = max(self.longest_s, now - last)
            last = now

    def end(self) -> None:
        """End the thread."""
        self._over = True
        self._thread.join()


def learn(edges: int) -> list[Any]:
    """Take locks of so many pairs of classes one under the other, and return them."""
    number = int((2 * edges) ** 0.5) + 2 if edges else 0
    locks = [fastlock.Lock(lock_class=f"class {each}") for each in range(number)]
    for at, first in enumerate(locks):
        for then in locks[at + 1 :]:
            with first, then:
                edges -= 1
            if edges <= 0:
                return locks
    return locks


def measure(request: dict[str, Any] | None, rounds: int, watch: Watch) -> dict[str, Any]:
    """Ask so often, and return the medians, and the longest pause of all; a request of None is a pause of the same length."""
    line = json.dumps({"fastlock": 1, **(request or {})}).encode()
    took, used, size = [], [], 0
    time.sleep(SETTLE_S)
    watch.longest_s = 0.0
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.thread_time()
        if request is None:
            time.sleep(SETTLE_S)
        else:
            answer = answers.answer(line)
            assert json.loads(answer)["ok"]
            size = len(answer)
        took.append(time.perf_counter() - began)
        used.append(time.thread_time() - cpu)
    middle = rounds // 2
    return {
        "request": "nothing" if request is None else request["do"],
        "ms": round(sorted(took)[middle] * 1e3, 2),
        "processor_ms": round(sorted(used)[middle] * 1e3, 2),
        "bytes": size,
        "longest_pause_ms": round(watch.longest_s * 1e3, 2),
    }


def main() -> None:
    """Make the locks and the orders, ask, and print a line for each request."""
    parser = argparse.ArgumentParser(description="What it costs a process to be asked.")
    parser.add_argument("--locks", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=100_000)
    parser.add_argument("--busy", type=int, default=0, help="threads that do nothing but compute")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    fastlock.set_level("order")
    kept = [[fastlock.Lock() for _ in range(options.locks)], learn(options.edges)]
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(100))

    for _ in range(options.busy):
        threading.Thread(target=compute, daemon=True).start()
    watch = Watch()
    agent = fastlock.snapshot().agents[0].id
    requests: list[dict[str, Any] | None] = [None, {"do": "classes"}, {"do": "order"}, {"do": "agent", "agent": agent}]
    rows = [measure(request, options.rounds, watch) for request in requests]
    over.set()
    watch.end()
    if options.json:
        print(json.dumps({"python": platform.python_version(), **vars(options), "rows": rows}))
    else:
        print(f"Python {platform.python_version()}, {len(kept[0]):,} locks, {options.edges:,} orders, {options.busy} busy threads")
        for row in rows:
            print("  {request:8} {ms:8.2f} ms, {processor_ms:7.2f} ms of processor, {bytes:7,} bytes; longest pause of another thread {longest_pause_ms:.2f} ms".format(**row))


if __name__ == "__main__":
    main()
