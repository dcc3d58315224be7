"""How long a dump of another process takes, and what it costs the process: 100,000 locks, idle, all once contended, and in full traffic.

    python benchmarks/dump.py [--locks 100000] [--rounds 30] [--json]

The contract is 50 ms for 100,000 locks, and at most 1 % off a program that is dumped a hundred times a second. A dump is open_table() and
snapshot(): the interpreter's start, which the command pays besides, is not in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastlock.outside import open_table

MOST_MS = 50
PROGRAM = """
import os, sys, threading, fastlock
fastlock.set_level("order")
count, kind = int(sys.argv[1]), sys.argv[2]
locks = [fastlock.Lock() for _ in range(count)]
outer = fastlock.Lock()
for lock in locks:
    with outer, lock: pass
if kind == "contended":
    # Each is waited for once, which gives it its record: by a waiter that comes too late for all of them.
    def late():
        for lock in locks:
            lock.acquire(timeout=1e-9)
    for lock in locks: lock.acquire()
    other = threading.Thread(target=late); other.start(); other.join()
    for lock in locks: lock.release()
outer.acquire()
for _ in range(8):
    threading.Thread(target=outer.acquire, daemon=True).start()
done = [0] * 4
def work(number):
    while True:
        with locks[number % 2]: done[number] += 1
if kind == "traffic":
    for number in range(4): threading.Thread(target=work, args=(number,), daemon=True).start()
print(os.getpid(), flush=True)
for line in sys.stdin: print(sum(done), flush=True)
os._exit(0)
"""


@contextmanager
def program(locks: int, kind: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(locks), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def dump_ms(pid: int, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        with open_table(pid) as table:
            assert len(table.snapshot()["waits"]) >= 8
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def rate(process: subprocess.Popen[str], seconds: float, dumps_per_s: int) -> float:
    """Acquires a second of the program, while it is dumped so often."""

    def done() -> int:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    before, began = done(), time.perf_counter()
    with open_table(process.pid) as table:
        while time.perf_counter() - began < seconds:
            if dumps_per_s:
                table.snapshot()
            time.sleep(1 / (dumps_per_s or 100))
    return (done() - before) / (time.perf_counter() - began)


def slowdown(locks: int, pairs: int) -> float:
    """Acquires with dumps over acquires without, median of pairs."""
    with program(locks, "traffic") as process:
        return statistics.median(rate(process, 0.3, 100) / rate(process, 0.3, 0) for _ in range(pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--locks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {}
    for kind in ("idle", "contended", "traffic"):
        with program(arguments.locks, kind) as process:
            figures[kind] = dump_ms(process.pid, arguments.rounds)
    ratio = slowdown(1000, arguments.rounds)
    if arguments.json:
        json.dump({"python": platform.python_version(), "locks": arguments.locks, "ms": figures, "throughput": ratio}, sys.stdout, indent=1)
        return
    print(f"Python {platform.python_version()} ({sys.executable}), {arguments.locks:,} locks")
    for kind, ms in figures.items():
        print(f"{kind:10} {ms:7.2f} ms  <= {MOST_MS}{'' if ms <= MOST_MS else '  MISSED'}")
    print(f"throughput while dumped 100 times a second, over that without: {ratio:.3f}")


if __name__ == "__main__":
    main()
