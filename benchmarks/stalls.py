"""What a look for stalls costs: how long it takes, and for how long it keeps a running Python thread from running.

    python benchmarks/stalls.py [--threads 5000] [--tasks 100000] [--rounds 7]

Threads wait for a semaphore, a condition and queues, tasks for aio locks that other tasks hold; one more thread does nothing but read the clock, and the longest
gap between two of its readings is the longest time that anybody was held up. The same gap is measured beside a thread that only computes: that is
what the interpreter's own switching costs. The contract: a look takes at most 100 ms where nobody else wants the GIL, and holds a running thread up for at most
5 ms longer than another computing thread does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable

import fastlock
from fastlock import stalls

LIMIT_MS, HELD_UP_MS = 100, 5


def waiting_threads(count: int) -> None:
    """Start threads that wait for permits, for a notification, and in queues' get()."""
    permits = fastlock.Semaphore(1)
    permits.acquire()
    ready = fastlock.Condition()
    jobs = queue.Queue()  # type: queue.Queue[None]

    def notified() -> None:
        with ready:
            ready.wait()

    kinds: tuple[Callable[[], object], ...] = (permits.acquire, notified, jobs.get)
    for _, target in zip(range(count), itertools.cycle(kinds)):
        threading.Thread(target=target, daemon=True).start()
    while len(fastlock.snapshot().waits) < count:
        time.sleep(0.2)


def waiting_tasks(count: int) -> None:
    """Start a loop whose tasks wait for a few locks; returns when all do."""
    all_wait = threading.Event()

    async def run() -> None:
        locks = [fastlock.aio.Lock() for _ in range(16)]
        for lock in locks:
            await lock.acquire()
        tasks = [asyncio.ensure_future(locks[number % 16].acquire()) for number in range(count)]
        await asyncio.sleep(0)
        all_wait.set()
        await asyncio.sleep(3600)
        del tasks

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
    all_wait.wait()


def longest_gap(meanwhile: Callable[[], None]) -> float:
    """Return the longest time, in milliseconds, for which a computing thread did not run while another call did."""
    over = threading.Event()
    longest = 0

    def watch() -> None:
        nonlocal longest
        before = time.perf_counter_ns()
        while not over.is_set():
            now = time.perf_counter_ns()
            longest = max(longest, now - before)
            before = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.05)
    meanwhile()
    over.set()
    watcher.join()
    return longest / 1e6


def compute() -> None:
    """Keep the interpreter busy for a tenth of a second."""
    end = time.perf_counter() + 0.1
    while time.perf_counter() < end:
        pass


def look() -> None:
    """Look for stalls once, as fastlock's own thread does."""
    stalls.find(time.monotonic_ns())


def timed(call: Callable[[], None]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


def main() -> int:
    """Print the figures; status 1 where one is beyond its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=5000)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    threading.stack_size(256 * 1024)
    fastlock.install()
    fastlock.configure(slow_wait=3600)
    waiting_threads(options.threads)
    waiting_tasks(options.tasks)
    alone = [timed(look) for _ in range(options.rounds)]
    base = [longest_gap(compute) for _ in range(options.rounds)]
    busy: list[float] = []
    held = [longest_gap(lambda: busy.append(timed(look))) for _ in range(options.rounds)]
    print(f"Python {sys.version.split()[0]}, {options.threads:,} threads and {options.tasks:,} tasks that wait, milliseconds\n")
    print("                                                median    worst")
    for title, figures in (
        ("a look", alone),
        ("a look beside a thread that computes", busy),
        ("longest gap of that thread", held),
        ("the same beside a thread that only computes", base),
    ):
        print(f"{title:46} {statistics.median(figures):8.2f} {max(figures):8.2f}")
    late = statistics.median(alone) > LIMIT_MS or statistics.median(held) > statistics.median(base) + HELD_UP_MS
    print(f"\nwithin {LIMIT_MS} ms, nobody held up for more than {HELD_UP_MS} ms: {'no' if late else 'yes'}")
    sys.stdout.flush()
    return late


if __name__ == "__main__":
    import os

    os._exit(main())  # thousands of threads wait for ever
