"""Contended figures: throughput of ours over threading's, and the longest wait of each.

    python benchmarks/contended.py [--threads 2,8,64] [--section short,…] [--pairs 9] [--seconds 0.25] [--json]

Threads take one lock as fast as they can. "short" holds it for a few bytecodes, "medium" for some 20 microseconds of
computing, "sleeping" for 0.2 ms without the GIL; outside it each computes for about as long as a short section. A pair is
one run of each side after the other, in changing order, in one process; the figure is the median of the pairs' ratios, and
of the longest waits the median of the runs'. A wait includes what the interpreter adds: who is given the lock still needs
the GIL, and threads that compute keep it for 5 ms at a time.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

import fastlock

# DESIGN section 4: throughput at least this much of threading's, and no longer a wait.
LEAST_THROUGHPUT = 0.95


def short() -> None:
    sum(range(4))


def medium() -> None:
    sum(range(1500))


def sleeping() -> None:
    time.sleep(0.0002)


SECTIONS: dict[str, Callable[[], None]] = {"short": short, "medium": medium, "sleeping": sleeping}


def take_turns(lock: Any, section: Callable[[], None], stop: threading.Event, counts: list[int], waits: list[float]) -> None:
    """One thread's life: acquisitions and the longest wait go to the lists when it is over."""
    stopped = stop.is_set
    count = 0
    longest = 0.0
    while not stopped():
        short()
        wanted = perf_counter()
        with lock:
            waited = perf_counter() - wanted
            section()
        count += 1
        if waited > longest:
            longest = waited
    counts.append(count)
    waits.append(longest)


def run(lock: Any, section: Callable[[], None], threads: int, seconds: float) -> tuple[float, float]:
    """Return acquisitions per second and the longest wait in seconds, those that end after the time is over included."""
    stop = threading.Event()
    counts: list[int] = []
    waits: list[float] = []
    crew = [threading.Thread(target=take_turns, args=(lock, section, stop, counts, waits)) for _ in range(threads)]
    start = perf_counter()
    for thread in crew:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in crew:
        thread.join()
    return sum(counts) / (perf_counter() - start), max(waits)


def measure(section: str, threads: int, pairs: int, seconds: float) -> dict[str, Any]:
    """Run the pairs of one row."""
    sides: dict[str, Callable[[], Any]] = {"theirs": threading.Lock, "ours": fastlock.Lock}
    figures: dict[str, list[tuple[float, float]]] = {"theirs": [], "ours": []}
    for i in range(pairs):
        for side in ("theirs", "ours") if i % 2 else ("ours", "theirs"):
            figures[side].append(run(sides[side](), SECTIONS[section], threads, seconds))
    per_second = {side: [rate for rate, _ in runs] for side, runs in figures.items()}
    longest = {side: statistics.median(wait for _, wait in runs) for side, runs in figures.items()}
    ratio = statistics.median(o / t for o, t in zip(per_second["ours"], per_second["theirs"]))
    return {
        "section": section,
        "threads": threads,
        "theirs_per_s": statistics.median(per_second["theirs"]),
        "ours_per_s": statistics.median(per_second["ours"]),
        "throughput": ratio,
        "theirs_longest_ms": longest["theirs"] * 1e3,
        "ours_longest_ms": longest["ours"] * 1e3,
    }


def verdict(row: dict[str, Any]) -> str:
    missed = []
    if row["throughput"] < LEAST_THROUGHPUT:
        missed.append("throughput")
    if row["ours_longest_ms"] > row["theirs_longest_ms"]:
        missed.append("longest wait")
    return "MISSED " + " and ".join(missed) if missed else ""


def row_text(row: dict[str, Any]) -> str:
    rates = f"{row['theirs_per_s']:12.0f} {row['ours_per_s']:12.0f} {row['throughput']:7.3f}"
    waits = f"{row['theirs_longest_ms']:11.2f} {row['ours_longest_ms']:11.2f}"
    return f"{row['section']:10} {row['threads']:7} {rates} {waits}  {verdict(row)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", default="2,4,8,16,32,64")
    parser.add_argument("--section", default=",".join(SECTIONS))
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="length of one run (default 0.25)")
    parser.add_argument("--level", choices=("off", "detect", "order"), default="order")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    fastlock.set_level(arguments.level)
    if not arguments.json:
        print(f"Python {platform.python_version()} ({sys.executable}), level {arguments.level}")
        print(f"{'section':10} {'threads':>7} {'theirs/s':>12} {'ours/s':>12} {'ratio':>7} {'theirs ms':>11} {'ours ms':>11}  longest")
    rows = []
    for section in arguments.section.split(","):
        for threads in map(int, arguments.threads.split(",")):
            rows.append(measure(section, threads, arguments.pairs, arguments.seconds))
            if not arguments.json:
                print(row_text(rows[-1]), flush=True)
    if arguments.json:
        facts = {"python": platform.python_version(), "executable": sys.executable, "level": arguments.level, "rows": rows}
        json.dump(facts, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
