"""The process that programs run in: python -m healthy.child --seed SEED [--together] [--always] NAME…

One after the other in the main thread, or all at once in a thread each. Its last line of output is JSON: which programs have ended well, and what
`find_deadlocks()` has found meanwhile with --always, called without end from a thread. Without it no thread is there that is not the
programs', so that a look which comes to the result that nobody at all can run is possible.
"""

from __future__ import annotations

import _thread
import argparse
import faulthandler
import json
import random
import signal
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import fastlock

from .programs import Dies, Pace, Program, all_programs

PAUSE_S = 0.002  # between two looks: they are to meet everything, not to slow it down

_failures: list[str] = []


class Looker:
    """A thread that calls find_deadlocks() all the time, and keeps what it has found, by fingerprint."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.looks = 0
        self._stop = _thread.allocate_lock()  # raw: the looker's own waits are not to be looked at
        self._stop.acquire()
        self._thread = threading.Thread(target=self._look, name="looker")
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.acquire(timeout=PAUSE_S):
            self.found.update((finding.fingerprint, finding.to_dict()) for finding in fastlock.find_deadlocks())
            self.looks += 1

    def stop(self) -> None:
        """End the thread."""
        self._stop.release()
        self._thread.join()


def failed(who: str, error: BaseException) -> None:
    """Keep what went wrong in a program."""
    _failures.append(f"{who}\n{''.join(traceback.format_exception(type(error), error, error.__traceback__))}")


def thread_failed(arguments: Any) -> None:
    """Keep what ended a thread of a program, unless that was meant."""
    if not issubclass(arguments.exc_type, Dies):
        failed(arguments.thread.name if arguments.thread else "a thread", arguments.exc_value)


def run(program: Program, seed: str) -> None:
    """Run one program."""
    try:
        program.run(Pace(f"{seed} {program.name}"))
    except BaseException as error:
        failed(program.name, error)


def run_all(programs: Sequence[Program], seed: str, together: bool) -> None:
    """Run programs, one after the other or at the same time."""
    if not together:
        for program in programs:
            run(program, seed)
        return
    threads = [threading.Thread(target=run, args=(program, seed), name=program.name) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--always", action="store_true")
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    faulthandler.enable()
    threading.excepthook = thread_failed
    # Imported as a part of the package, for what is pickled by its name must be found there by other processes.
    everything = all_programs()
    programs = [everything[name] for name in options.names]
    random.Random(options.seed).shuffle(programs)
    assert threading.Lock is fastlock.Lock, "fastlock is not installed in this process"
    looker = Looker() if options.always else None
    run_all(programs, options.seed, options.together)
    if looker is not None:
        looker.stop()
    found = list(looker.found.values()) if looker else []
    print(json.dumps({"failures": _failures, "looks": looker.looks if looker else 0, "found": found}), flush=True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "a program has left its signal handler behind"


if __name__ == "__main__":
    main()
