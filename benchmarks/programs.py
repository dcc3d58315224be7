"""Whole programs: processor time with fastlock installed at level order, over that without, in pairs.

    python benchmarks/programs.py [--program NAME]… [--pairs 40] [--level order] [--pin] [--json]

Each run is a process of its own that does a fixed amount of work; a pair is one of either side, in changing order, as close
together as can be. What is compared is user and system time of the child, from its own start of the work to its end, so that waiting for
a neighbour costs nobody anything; what fastlock adds to a start is a row of its own, in milliseconds. The figure is the median
of the pairs' ratios, beside it the upper end of its one-sided 95 % interval by order statistics, which assumes
nothing about how the noise is distributed. --pin keeps each child on one processor: less noise, and no waking across processors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
from typing import Any

from workloads import WORKLOADS, missing, prepare

MOST = 1.02  # DESIGN section 4: upper bound of the ratio


# ---- measuring ------------------------------------------------------------------------------------


def used_s() -> float:
    """Return the user and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def child(name: str) -> None:
    """Do the work of a program, and print what the start took and what the work did."""
    prepare(name)
    start = used_s()
    WORKLOADS[name]()
    installed = "fastlock" in sys.modules and threading.Lock is sys.modules["fastlock"].Lock
    print(json.dumps([start, used_s() - start, installed]))


def run(name: str, level: str | None, pin: bool) -> tuple[float, float]:
    """Return the seconds that a child's start and work took."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("FASTLOCK_")}
    if level is not None:
        env.update(FASTLOCK_INSTALL="1", FASTLOCK_LEVEL=level)
    cpus = os.sched_getaffinity(0)
    done = subprocess.run(
        [sys.executable, __file__, "--child", name],
        env=env,
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, {max(cpus)})) if pin else None,
    )
    start, work, installed = json.loads(done.stdout)
    assert installed is (level is not None), "fastlock is not installed for this interpreter, or always"
    return start, work


def upper_bound(values: list[float]) -> float:
    """Return the upper end of the one-sided 95 % interval of the median, by order statistics."""
    n = len(values)
    below = 0.0
    for k in range(n):
        below += math.comb(n, k) / 2**n
        if below >= 0.95:
            return sorted(values)[k]
    return max(values)


def measure(name: str, pairs: int, level: str, pin: bool) -> dict[str, Any]:
    """Run pairs of a program."""
    ratios, plain, starts = [], [], []
    for number in range(pairs):
        sides: tuple[str | None, ...] = (level, None) if number % 2 else (None, level)
        times = {side: run(name, side, pin) for side in sides}
        ratios.append(times[level][1] / max(times[None][1], 1e-9))
        plain.append(times[None][1])
        starts.append(times[level][0] - times[None][0])
    return {
        "program": name,
        "pairs": pairs,
        "plain_s": statistics.median(plain),
        "ratio": statistics.median(ratios),
        "upper": upper_bound(ratios),
        "start_ms": 1000 * statistics.median(starts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", action="append", choices=WORKLOADS)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--level", default="order")
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=WORKLOADS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    names = options.program or list(WORKLOADS)
    for name in filter(missing, names):
        print(f"{name} is left out: {missing(name)} is not installed", file=sys.stderr)
    rows = [measure(name, options.pairs, options.level, options.pin) for name in names if not missing(name)]
    if options.json:
        print(json.dumps({"python": platform.python_version(), "level": options.level, "rows": rows}))
        return
    print(f"CPython {platform.python_version()}, level {options.level}, {options.pairs} pairs")
    print(f"{'program':<10} {'plain, s':>8} {'ratio':>7} {'up to':>7}  {'start, ms':>9}")
    for row in rows:
        mark = "" if row["upper"] <= MOST else "  over"
        print(f"{row['program']:<10} {row['plain_s']:>8.2f} {row['ratio']:>7.3f} {row['upper']:>7.3f}  {row['start_ms']:>9.1f}{mark}")


if __name__ == "__main__":
    main()
