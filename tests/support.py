"""For tests and for the programs that they run: a program in a process of its own with a limit, and waiting without sleeps.

A program may deadlock, crash or write to standard error, so it gets a process. It imports this module too: `start` makes
its threads, `blocked` and `wait_until` tell when they have got where the test wants them.
"""

from __future__ import annotations

import _thread
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
LIMIT_S = 90.0  # of a hang; a machine may be much slower than ours
_nap = _thread.allocate_lock()  # raw: it must not show in what is tested
_nap.acquire()


def processor_s() -> float:
    """Return the processor time of all children that have ended: how long something takes, whatever else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_program(
    source: str,
    *arguments: object,
    through: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout_s: float = LIMIT_S,
    name: str = "program.py",
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run source text as a script of this interpreter; `through` is what stands before it, such as fastlock run's words."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FASTLOCK_")}
    clean["PYTHONPATH"] = str(TESTS)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, name)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return subprocess.run(
            [sys.executable, *through, str(path), *map(str, arguments)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options},
            text=True,
            env={**clean, **(env or {})},
            timeout=timeout_s,
        )


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a program printed as JSON on its last line; what went wrong is in the assertion."""
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def wait_until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Return the condition's first true value; AssertionError where there is none in time."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "what was waited for did not happen"
        _nap.acquire(timeout=0.001)


PRELUDE = "import threading\nimport fastlock\nfrom support import *\n"


def ask(source: str, *arguments: object, **options: Any) -> Any:
    """Run a program that starts with PRELUDE and ends with tell(); return what it told."""
    return answer(run_program(PRELUDE + textwrap.dedent(source), *arguments, **options))


# ---- for the programs -----------------------------------------------------------------------------


def start(function: Callable[..., Any], *arguments: Any, name: str | None = None) -> threading.Thread:
    """Start a daemon thread with the function's name; what it raises is kept in its attribute `error`."""

    def run() -> None:
        try:
            function(*arguments)
        except BaseException as error:
            thread.error = error  # type: ignore[attr-defined]

    thread = threading.Thread(target=run, name=name or function.__name__, daemon=True)
    thread.error = None  # type: ignore[attr-defined]
    thread.start()
    return thread


def blocked(*names: str) -> None:
    """Wait until the threads of these names are in fastlock's table as waiting."""
    import fastlock

    def waiting() -> bool:
        table = fastlock.snapshot()
        busy = {wait.agent for wait in table.waits}
        return set(names) <= {agent.name for agent in table.agents if agent.id in busy}

    wait_until(waiting)


def ring(locks: Sequence[Any], hold: str = "__enter__", want: str = "__enter__") -> list[threading.Thread]:
    """Have threads t0, t1 ... each hold a lock (by the method `hold`) and want the next one's; the last one closes the circle."""
    names = [f"t{number}" for number in range(len(locks))]
    all_hold = threading.Barrier(len(locks))

    def member(number: int) -> None:
        getattr(locks[number], hold)()
        all_hold.wait()
        if number == len(locks) - 1:
            blocked(*names[:-1])
        getattr(locks[(number + 1) % len(locks)], want)()

    return [start(member, number, name=name) for number, name in enumerate(names)]


def found(*codes: str) -> list[Any]:
    """Wait until findings with all these codes (any one, where none is named) are there and told everywhere; return all findings."""
    import fastlock
    from fastlock import watchdog

    def there() -> list[Any]:
        findings = list(fastlock.findings())
        return findings if set(codes) <= {finding.code for finding in findings} else []

    findings = wait_until(there)
    watchdog.flush(LIMIT_S)  # the JSON file, logging, hooks, health: they come after the list
    return findings


def tell(value: Any) -> None:
    """Print a value for `answer`, and end the process whatever its threads do."""
    print(json.dumps(value), flush=True)
    os._exit(0)
