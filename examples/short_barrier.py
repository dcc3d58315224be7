"""Short barrier: one of the parties leaves in the middle, and the others wait for it at the next round.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/short_barrier.py    names who has come before and is gone, ends with status 3
    fastlock run examples/short_barrier.py --fixed                                    who fails breaks the barrier for all, ends with 0
"""

from __future__ import annotations

import sys
import threading

ROUNDS = 5
CELLS = {"left": [1, 1, 1, 1, 1], "middle": [2, 2, 0, 2, 2], "right": [3, 3, 3, 3, 3]}

step_done = threading.Barrier(len(CELLS))
results: list[float] = []


def simulate(name: str) -> None:
    """Work out one part of the grid, step by step with the others."""
    for step in range(ROUNDS):
        try:
            results.append(1 / CELLS[name][step])
        except ZeroDivisionError:
            print(f"{name} has failed in step {step}")
            if "--fixed" in sys.argv:
                step_done.abort()
            return
        try:
            step_done.wait()
        except threading.BrokenBarrierError:
            return


def main() -> None:
    """Simulate all parts at once."""
    parts = [threading.Thread(target=simulate, args=(name,), name=name) for name in CELLS]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
    print(f"{len(results)} results")


if __name__ == "__main__":
    main()
