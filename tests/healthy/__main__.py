"""Healthy programs by hand: as many rounds as fit into some minutes, each with other timings; status 1 where anything was wrong.

    python -m tests.healthy --minutes 5 [--theme NAME]… [--program NAME]… [--seed SEED] [--processes 2]
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from .programs import THEMES, Program, all_programs
from .runs import Way, run

WAYS = tuple(Way(level, together, always) for level in ("detect", "order") for together in (False, True) for always in (False, True))
MOST_IN_A_PROCESS = 12


def batches(programs: list[Program], seed: str) -> Iterator[tuple[list[str], str, Way]]:
    """Yield what to run, without end: some programs, a seed that repeats their timings, and in which way."""
    rng = random.Random(seed)
    number = 0
    while True:
        number += 1
        way = rng.choice(WAYS)
        fit = [each.name for each in programs if not (way.together and each.alone)]
        if fit:
            yield rng.sample(fit, min(len(fit), rng.randint(1, MOST_IN_A_PROCESS))), f"{seed}.{number}", way


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--theme", action="append", choices=THEMES)
    parser.add_argument("--program", action="append", help="only these")
    parser.add_argument("--seed", default=str(time.time_ns() % 1_000_000))
    parser.add_argument("--processes", type=int, default=2, help="at a time")
    parser.add_argument("--list", action="store_true", help="print the programs and end")
    options = parser.parse_args()
    programs = [each for each in all_programs().values() if each.theme in (options.theme or THEMES)]
    programs = [each for each in programs if not options.program or each.name in options.program]
    if options.list or not programs:
        for each in programs:
            print(f"{each.theme:<11} {each.name:<32} {(each.run.__doc__ or '').splitlines()[0]}")
        return 0 if programs else 2
    end = time.monotonic() + 60 * options.minutes
    rounds, choosing = batches(programs, options.seed), threading.Lock()
    runs, wrong = 0, 0

    def work() -> None:
        nonlocal runs, wrong
        while time.monotonic() < end:
            with choosing:
                names, seed, way = next(rounds)
            outcome = run(names, seed, way)
            runs += 1
            for word in outcome.wrong:
                wrong += 1
                print(f"seed {seed}, {way}: {' '.join(names)}\n{word}\n", flush=True)

    with ThreadPoolExecutor(options.processes) as pool:
        for future in [pool.submit(work) for _ in range(options.processes)]:
            future.result()
    print(f"{len(programs)} programs, {runs} processes, seed {options.seed}: {wrong} things wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
