"""Uncontended figures: each row's time against the stdlib's (or a rival's), with the contract's limit beside it.

    python benchmarks/ratios.py [--level off|detect|order] [--section NAME]… [--processes 3] [--json]

Both sides of a row run in one process, in many short rounds that take turns, and the ratio is the median of the rounds'
own ratios: a neighbour that steals the processor spoils a few rounds and not the median. Several processes are used
because an address-space layout can favour either side by some percent; the row shown is the median process.
"net" is the same ratio after the time of an empty loop (or call) is taken off both. Limits apply to the plain ratio in a
loop, which flatters nobody below 1, and to the net one in a new frame, where most of the time is the call's.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import subprocess
import sys
from time import perf_counter_ns
from typing import Any

import fastlock
from cases import EMPTY, SECTIONS, Case, Run, limit_of

ROUND_NS = 250_000


def repetitions(run: Run, at_least: int = 1) -> int:
    """Return how often a body fits into a round, after it has warmed up."""
    n = at_least
    while True:
        start = perf_counter_ns()
        run(n)
        taken = perf_counter_ns() - start
        if taken >= ROUND_NS // 4:
            return max(n * ROUND_NS // taken, 1)
        n *= 2


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Time a pair in turns; nanoseconds per repetition are medians too."""
    theirs, ours, empty = case.theirs.runner(case.form), case.ours.runner(case.form), EMPTY[case.form].runner(case.form)
    n = repetitions(theirs)
    repetitions(ours)
    times: dict[Run, list[int]] = {theirs: [], ours: [], empty: []}
    for i in range(rounds):
        for run in (theirs, ours, empty) if i % 2 else (empty, ours, theirs):
            start = perf_counter_ns()
            run(n)
            times[run].append(perf_counter_ns() - start)
    base = 0.0 if case.ours.body == "" else statistics.median(times[empty])
    return {
        "section": case.section,
        "row": case.name,
        "judged": "net" if case.form == "frame" else "ratio",
        "theirs": case.theirs.label,
        "theirs_ns": statistics.median(times[theirs]) / n,
        "ours_ns": statistics.median(times[ours]) / n,
        "ratio": statistics.median(o / t for o, t in zip(times[ours], times[theirs])),
        "net": statistics.median((o - base) / (t - base) for o, t in zip(times[ours], times[theirs])),
        "limit": limit_of(case.limit),
    }


def measure_all(sections: list[str], rounds: int) -> list[dict[str, Any]]:
    gc.collect()
    gc.disable()
    return [measure(case, rounds) for name in sections for case in SECTIONS[name]()]


def in_processes(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run this script several times and keep, of each row, the process with the median ratio."""
    command = [sys.executable, __file__, "--processes", "1", "--json", "--rounds", str(arguments.rounds)]
    command += ["--level", arguments.level, *(part for name in arguments.section for part in ("--section", name))]
    runs = [json.loads(subprocess.check_output(command))["rows"] for _ in range(arguments.processes)]
    return [sorted(rows, key=lambda row: row["ratio"])[len(rows) // 2] for rows in zip(*runs)]


def verdict(row: dict[str, Any]) -> str:
    if row["limit"] is None:
        return ""
    return f"<= {row['limit']:.3g}" + ("" if row[row["judged"]] <= row["limit"] else "  MISSED")


def print_table(level: str, rows: list[dict[str, Any]]) -> None:
    print(f"Python {platform.python_version()} ({sys.executable}), fastlock {fastlock.__version__}, level {level}")
    print(f"{'':46} {'theirs ns':>10} {'ours ns':>10} {'ratio':>7} {'net':>7}  limit")
    section = ""
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            print(f"-- {section}")
        figures = f"{row['theirs_ns']:10.1f} {row['ours_ns']:10.1f} {row['ratio']:7.3f} {row['net']:7.3f}"
        print(f"{row['row']:46} {figures}  {verdict(row)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--level", choices=("off", "detect", "order"), default="order")
    parser.add_argument("--section", action="append", choices=tuple(SECTIONS), default=[])
    parser.add_argument("--rounds", type=int, default=400, help="rounds of a row in each process (default 400)")
    parser.add_argument("--processes", type=int, default=3, help="processes whose median is shown (default 3)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.processes > 1:
        rows = in_processes(arguments)
    else:
        fastlock.set_level(arguments.level)
        rows = measure_all(arguments.section or list(SECTIONS), arguments.rounds)
    if arguments.json:
        facts = {"python": platform.python_version(), "executable": sys.executable, "level": arguments.level, "rows": rows}
        json.dump(facts, sys.stdout, indent=1)
    else:
        print_table(arguments.level, rows)


if __name__ == "__main__":
    main()
