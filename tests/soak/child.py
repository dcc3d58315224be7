"""The process that a program runs in: python -m soak.child --seed SEED [--stretch FACTOR] [--stuck] [--always] [--show]

Its last line of output is JSON, as that of `healthy.child`. A program that is stuck writes nothing: what is told of it is in its file of findings.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import threading

import fastlock
from healthy import child as healthy

from . import shared, steps, stuck, tasks
from .maker import Maker, Step, Whole


class Made:
    """A program, made of a seed."""

    def __init__(self, seed: str, stretch: float, is_stuck: bool) -> None:
        rng = random.Random(f"{seed} {'stuck' if is_stuck else 'healthy'}")
        # A loop that waits for a thread may be woken by anybody, as far as is known; so where something is stuck there is none.
        self.shared = shared.make(rng, loops=not is_stuck)
        self.whole = Whole(stretch, steps.KINDS if is_stuck else (*steps.KINDS, *tasks.KINDS), stuck.LEAVES)
        self.step: Step = self.whole.step(Maker(rng, self.shared, self.whole, stuck=is_stuck))

    def run(self) -> None:
        """Run it to its end."""
        self.step()
        self.close()

    def close(self) -> None:
        """End what is shared."""
        for each in self.shared:
            each.close()

    def text(self) -> str:
        """Return what it is made of."""
        return f"shared: {', '.join(map(str, self.shared))}\n{self.step.text()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--stretch", type=float, default=1.0)
    parser.add_argument("--stuck", action="store_true")
    parser.add_argument("--always", action="store_true")
    parser.add_argument("--show", action="store_true", help="print what the program is made of, and end")
    options = parser.parse_args()
    faulthandler.enable()
    threading.excepthook = healthy.thread_failed
    made = Made(options.seed, options.stretch, options.stuck)
    print(made.text(), flush=True)
    print(json.dumps({"doubts": sorted(made.whole.doubts)}), flush=True)
    if options.show:
        made.close()
        return
    assert threading.Lock is fastlock.Lock, "fastlock is not installed in this process"
    looker = healthy.Looker() if options.always else None
    try:
        made.run()
    except BaseException as error:
        healthy.failed("the program", error)
    if looker is not None:
        looker.stop()
    found = list(looker.found.values()) if looker else []
    print(json.dumps({"failures": healthy._failures, "looks": looker.looks if looker else 0, "found": found}), flush=True)


if __name__ == "__main__":
    main()
