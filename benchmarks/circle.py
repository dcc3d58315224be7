"""How long from the acquire that closes a circle to the raw report on standard error, and to the full one.

    python benchmarks/circle.py [--rounds N] [--sizes 2,3,100,5000] [--bystanders N]

Each round is a process of its own whose standard error is a pipe. Its closing thread reads the monotonic clock right
before its acquire; this process reads the same clock when the report has come through the pipe, so its own wake-up
is in the figures. Busy threads are Python loops that want the GIL all the time; bystanders wait for one lock of a thread
that runs. The contract: raw report within 10 ms, busy threads or not, at 10,000 blocked ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

LIMIT_MS = 10
LAST_LINE = b"fastlock explain FL001\n"
CHILD = """
import _thread, os, sys, threading, time
import fastlock

size, busy, bystanders = map(int, sys.argv[1:])
threading.stack_size(256 * 1024)
fastlock.configure(slow_wait=3600)
locks = [fastlock.RLock() for _ in range(size)]
closed = []
holds, go = _thread.allocate_lock(), threading.Event()
holds.acquire()

def member(number):
    locks[number].acquire()
    holds.release()
    locks[number + 1].acquire()

def closer():
    locks[-1].acquire()
    holds.release()
    go.wait()
    closed.append(time.monotonic_ns())
    locks[0].acquire()

def spin():
    while True:
        pass

crowd = fastlock.RLock()
crowd.acquire()
for _ in range(bystanders):
    threading.Thread(target=crowd.acquire, daemon=True).start()
for target, number in [(closer, None), *[(member, number) for number in range(size - 2, -1, -1)]]:
    threading.Thread(target=target, args=() if number is None else (number,), daemon=True).start()
    holds.acquire()
while sum(wait.what == "RLock.acquire" for wait in fastlock.snapshot().waits) < size - 1 + bystanders:
    time.sleep(0.01)
for _ in range(busy):
    threading.Thread(target=spin, daemon=True).start()
go.set()
while not fastlock.findings():
    time.sleep(0.01)
assert len(fastlock.findings()[0].agents) == size
os.write(1, str(closed[0]).encode())
os.read(0, 1)       # until the full report has been read
os._exit(0)
"""


def one_round(size: int, busy: int, bystanders: int) -> tuple[float, float]:
    """Return the milliseconds until the raw report and until the end of the full one."""
    command = [sys.executable, "-c", CHILD, str(size), str(busy), str(bystanders)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    text, raw_ns, full_ns = b"", 0, 0
    while chunk := os.read(child.stderr.fileno(), 1 << 16):
        now = time.monotonic_ns()
        text += chunk
        raw_ns = raw_ns or now
        if LAST_LINE in text:
            full_ns = full_ns or now
            child.stdin.close()
    closed_ns = int(child.stdout.read() or 0)
    if child.wait() != 0 or not full_ns:
        sys.exit(f"a round failed:\n{text.decode()}")
    assert text.startswith(b"fastlock: FL001 deadlock")
    return (raw_ns - closed_ns) / 1e6, (full_ns - closed_ns) / 1e6


def main() -> int:
    """Print the table; status 1 where a raw report came later than the contract allows."""
    parser = argparse.ArgumentParser(description="Closing acquire to report, for circles of several sizes.")
    parser.add_argument("--rounds", type=int, default=7, help="processes for each line (default 7)")
    parser.add_argument("--sizes", default="2,3,100,5000", help="threads in the circle (default 2,3,100,5000)")
    parser.add_argument("--bystanders", type=int, default=0, help="more threads that wait, outside the circle (default 0)")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {options.rounds} rounds, {options.bystanders} bystanders, milliseconds\n")
    print("  threads   busy   raw median    worst   full median    worst")
    late = False
    for size in map(int, options.sizes.split(",")):
        for busy in (0, 4):
            raw, full = zip(*(one_round(size, busy, options.bystanders) for _ in range(options.rounds)))
            late |= max(raw) > LIMIT_MS
            figures = (statistics.median(raw), max(raw), statistics.median(full), max(full))
            print("{:>9,} {:>6} {:>12.2f} {:>8.2f} {:>13.2f} {:>8.2f}".format(size, busy, *figures), flush=True)
    print(f"\nraw report within {LIMIT_MS} ms: {'no' if late else 'yes, always'}")
    return late


if __name__ == "__main__":
    sys.exit(main())
