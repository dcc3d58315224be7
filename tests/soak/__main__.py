"""Programs made of a seed, as many as fit into some minutes; status 1 where anything wrong was told of one, or nothing of one that is stuck.

    python -m tests.soak --minutes 10 [--only healthy|stuck] [--seed SEED] [--processes 2]

A program that failed is repeated by the command that is printed, from the directory tests, with fastlock installed in it
(FASTLOCK_INSTALL=1 FASTLOCK_SLOW_WAIT=0.005).
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from soak.judge import Trial, run


def trials(seed: str, only: str | None) -> Iterator[Trial]:
    """Yield programs and how to run them, without end."""
    rng = random.Random(seed)
    number = 0
    while True:
        number += 1
        stuck = only == "stuck" or (only is None and rng.random() < 0.5)
        always = not stuck and rng.random() < 0.5  # a thread that asks can run
        yield Trial(f"{seed}.{number}", stuck, rng.choice(["detect", "order"]), always, rng.choice([1, 1, 5]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--only", choices=["healthy", "stuck"])
    parser.add_argument("--seed", default=str(time.time_ns() % 1_000_000))
    parser.add_argument("--processes", type=int, default=2, help="at a time")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    following, guard = trials(options.seed, options.only), threading.Lock()
    kinds, told, wrong = Counter[str](), Counter[str](), 0

    def work() -> None:
        nonlocal wrong
        while time.monotonic() < end:
            with guard:
                trial = next(following)
            outcome = run(trial)
            with guard:
                kind = "stuck" if trial.stuck else "healthy"
                kinds[kind] += 1
                told.update(f"{kind}: {word}" for word in outcome.told.elements())
                wrong += bool(outcome.wrong)
                print(*outcome.wrong, sep="\n", end="\n\n" if outcome.wrong else "", flush=True)

    with ThreadPoolExecutor(options.processes) as pool:
        for future in [pool.submit(work) for _ in range(options.processes)]:
            future.result()
    print(f"seed {options.seed}: {dict(kinds)}, of which {wrong} went wrong; told of them: {dict(sorted(told.items()))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
