"""How long a dump of another process takes, and what it costs the process: 100,000 locks, idle, all once contended, and in full traffic.

    python benchmarks/dump.py [--locks 100000] [--rounds 30] [--json]

The contract is 50 ms for 100,000 locks, and at most 1 % off a program that is dumped a hundred times a second: in processor time for each
acquire, for the reader needs a processor too. A dump is open_table() and snapshot(): the interpreter's start, which the command pays besides, is not in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time

from fastlock.outside import open_table
from subjects import acquired, program

MOST_MS = 50
PROGRAM = """
import os, sys, threading, time, fastlock
fastlock.set_level("order")
count, kind = int(sys.argv[1]), sys.argv[2]
locks = [fastlock.Lock() for _ in range(count)]
outer = fastlock.Lock()
for lock in locks:
    with outer, lock: pass
if kind == "contended":
    # Each is waited for once, which gives it its record: by a waiter that comes too late for all of them. Without a held stack: of 100,000 locks.
    fastlock.set_level("detect")
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
for line in sys.stdin: print(sum(done), time.process_time(), flush=True)
os._exit(0)
"""


def dump_ms(pid: int, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        with open_table(pid) as table:
            assert len(table.snapshot()["waits"]) >= 8
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def rate(process: subprocess.Popen[str], seconds: float, dumps_per_s: int) -> float:
    """Acquires in a second of the program's processor time, while it is dumped so often."""
    (before, cpu_before), began = acquired(process), time.perf_counter()
    with open_table(process.pid) as table:
        while time.perf_counter() - began < seconds:
            if dumps_per_s:
                table.snapshot()
            time.sleep(1 / (dumps_per_s or 100))
    after, cpu_after = acquired(process)
    return (after - before) / (cpu_after - cpu_before)


def slowdown(locks: int, pairs: int) -> float:
    """Acquires with dumps over acquires without, median of pairs."""
    with program(PROGRAM, locks, "traffic") as process:
        return statistics.median(rate(process, 0.3, 100) / rate(process, 0.3, 0) for _ in range(pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--locks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {}
    for kind in ("idle", "contended", "traffic"):
        with program(PROGRAM, arguments.locks, kind) as process:
            figures[kind] = dump_ms(process.pid, arguments.rounds)
    ratio = slowdown(1000, arguments.rounds)
    if arguments.json:
        json.dump({"python": platform.python_version(), "locks": arguments.locks, "ms": figures, "throughput": ratio}, sys.stdout, indent=1)
        return
    print(f"Python {platform.python_version()} ({sys.executable}), {arguments.locks:,} locks")
    for kind, ms in figures.items():
        print(f"{kind:10} {ms:7.2f} ms  <= {MOST_MS}{'' if ms <= MOST_MS else '  MISSED'}")
    print(f"acquires for its processor time while dumped 100 times a second, over those without: {ratio:.3f}")


if __name__ == "__main__":
    main()
