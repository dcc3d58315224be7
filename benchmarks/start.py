"""What FASTLOCK_INSTALL=1 adds to the start of a process: processor time, objects that the collector walks, modules.

    python benchmarks/start.py [--pairs 30] [--json]

Each run is a process of its own, from before its first instruction to its end; a pair is one with and one without fastlock, in changing order,
as close together as can be. The figures are medians, of the difference within each pair. Four programs: one that does nothing, one that
imports what most programs do, the child of a spawn, and one that is disabled by FASTLOCK_DISABLE=1 again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from typing import Any

MOST_MS = 20.0
COUNTS = "import gc, sys; print(len(gc.get_objects()), len(sys.modules))"
# What multiprocessing gives a child that it spawns: it comes to its target by these imports.
SPAWNED = "from multiprocessing.spawn import spawn_main; import multiprocessing.queues, multiprocessing.synchronize"
PROGRAMS: dict[str, tuple[str, dict[str, str]]] = {
    "pass": ("pass", {}),
    "usual": ("import argparse, json, logging, queue, re, subprocess, threading", {}),
    "spawned": (SPAWNED, {}),
    "disabled": ("pass", {"FASTLOCK_DISABLE": "1"}),
}


def environment(installed: bool, more: dict[str, str]) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("FASTLOCK_")}
    return {**kept, "FASTLOCK_INSTALL": "1", **more} if installed else kept


def used_ms(program: str, installed: bool) -> float:
    """Return the user and system time of a process that runs a program."""
    source, more = PROGRAMS[program]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", source], env=environment(installed, more), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def counts(program: str, installed: bool) -> tuple[int, int]:
    """Return how many objects the collector knows in a process that has run a program, and how many modules there are."""
    source, more = PROGRAMS[program]
    command = [sys.executable, "-c", f"{source}\n{COUNTS}"]
    done = subprocess.run(command, env=environment(installed, more), stdout=subprocess.PIPE, text=True, check=True)
    objects, modules = done.stdout.split()
    return int(objects), int(modules)


def measure(program: str, pairs: int) -> dict[str, Any]:
    """Run pairs of a program."""
    plain, more = [], []
    for number in range(pairs):
        times = {installed: used_ms(program, installed) for installed in ((True, False) if number % 2 else (False, True))}
        plain.append(times[False])
        more.append(times[True] - times[False])
    (objects, modules), (with_objects, with_modules) = counts(program, False), counts(program, True)
    return {
        "program": program,
        "plain_ms": statistics.median(plain),
        "more_ms": statistics.median(more),
        "more_objects": with_objects - objects,
        "more_modules": with_modules - modules,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if counts("pass", True)[1] == counts("pass", False)[1]:
        raise SystemExit("fastlock is not installed for this interpreter")
    rows = [measure(program, options.pairs) for program in PROGRAMS]
    if options.json:
        print(json.dumps({"python": platform.python_version(), "pairs": options.pairs, "rows": rows}))
        return
    print(f"CPython {platform.python_version()}, {options.pairs} pairs")
    print(f"{'program':<10} {'plain, ms':>9} {'more, ms':>9} {'objects':>9} {'modules':>9}")
    for row in rows:
        mark = "" if row["more_ms"] <= MOST_MS else "  over"
        print(f"{row['program']:<10} {row['plain_ms']:>9.1f} {row['more_ms']:>9.1f} {row['more_objects']:>9,} {row['more_modules']:>9}{mark}")


if __name__ == "__main__":
    main()
