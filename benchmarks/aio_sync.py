"""A synchronous lock inside an event loop: each row's time against threading's own lock, in the same task.

    python benchmarks/aio_sync.py [--level off|detect|order] [--rounds 200] [--processes 3] [--json]

Measured as benchmarks/aio.py measures. "helper" takes the lock in a plain function that a coroutine calls, "one a step" lets the loop go round
between two acquires, as programs do, so that what a lock costs there stands beside what a step of the loop costs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import fastlock
from aio import Names, compiled, print_table, repetitions, timed


def helper(lock: Any) -> Callable[[], None]:
    def take() -> None:
        with lock:
            pass

    return take


ROWS: tuple[tuple[str, str, Callable[[Any], Names]], ...] = (
    ("with Lock", "with lock:\n    pass", lambda m: {"lock": m.Lock()}),
    ("acquire(); release()", "lock.acquire()\nlock.release()", lambda m: {"lock": m.Lock()}),
    ("two nested with Lock", "with a:\n    with b:\n        pass", lambda m: {"a": m.Lock(), "b": m.Lock()}),
    ("with RLock", "with lock:\n    pass", lambda m: {"lock": m.RLock()}),
    ("with Lock, in a helper", "take()", lambda m: {"take": helper(m.Lock())}),
    ("with Lock, one a step", "with lock:\n    pass\nawait sleep(0)", lambda m: {"lock": m.Lock(), "sleep": asyncio.sleep}),
)


async def measure(title: str, body: str, make: Callable[[Any], Names], rounds: int) -> dict[str, Any]:
    """Time a pair in turns."""
    theirs, ours = compiled(body, make(threading)), compiled(body, make(fastlock))
    n = await repetitions(theirs, 1)
    await repetitions(ours, 1)
    times: tuple[list[int], list[int]] = ([], [])
    for i in range(rounds):
        for which in (0, 1) if i % 2 else (1, 0):
            times[which].append(await timed((theirs, ours)[which], n))
    return {
        "row": title,
        "theirs_ns": statistics.median(times[0]) / n,
        "ours_ns": statistics.median(times[1]) / n,
        "ratio": statistics.median(o / t for t, o in zip(*times)),
        "limit": None,
    }


async def measure_all(rounds: int) -> list[dict[str, Any]]:
    gc.collect()
    gc.disable()
    return [await measure(*row, rounds) for row in ROWS]


def in_processes(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run this script several times and keep, of each row, the process with the median ratio."""
    command = [sys.executable, __file__, "--processes", "1", "--json", "--rounds", str(arguments.rounds), "--level", arguments.level]
    runs = [json.loads(subprocess.check_output(command))["rows"] for _ in range(arguments.processes)]
    return [sorted(each, key=lambda row: row["ratio"])[len(each) // 2] for each in zip(*runs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--level", choices=("off", "detect", "order"), default="order")
    parser.add_argument("--rounds", type=int, default=200, help="rounds of a row in each process (default 200)")
    parser.add_argument("--processes", type=int, default=3, help="processes whose median is shown (default 3)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.processes > 1:
        measured = in_processes(arguments)
    else:
        fastlock.set_level(arguments.level)
        measured = asyncio.run(measure_all(arguments.rounds))
    if arguments.json:
        json.dump({"python": platform.python_version(), "level": arguments.level, "rows": measured}, sys.stdout, indent=1)
    else:
        print_table(arguments.level, measured)


if __name__ == "__main__":
    main()
