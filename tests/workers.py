"""For the tests of the primitives: threads that obey, states of a wait, and programs that must end well."""

from __future__ import annotations

import _thread
import gc
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import fastlock
from support import run_program, wait_until

RESULT_LIMIT_S = 40.0
PROGRAM_LIMIT_S = 90.0
# Longer than fastlock's HAND_OVER_NS: who has waited so long is handed the lock, who has not is woken to take it.
AGED_S = 0.002


class Worker:
    """A thread that runs the calls it is given, one at a time; a raw lock each way tells it to go and us that it is done."""

    def __init__(self, name: str | None = None) -> None:
        self._go = _thread.allocate_lock()
        self._done = _thread.allocate_lock()
        self._go.acquire()
        self._done.acquire()
        self._call: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self.busy = False
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            if self._call is None:
                return
            call, args = self._call
            try:
                self._value, self._error = call(*args), None
            except BaseException as error:
                self._value, self._error = None, error
            self._call = call = args = None  # type: ignore[assignment]
            self._done.release()

    def start(self, call: Callable[..., Any], *args: Any) -> None:
        """Begin a call and return at once."""
        assert not self.busy
        self.busy = True
        self._call = call, args
        self._go.release()

    def result(self, timeout_s: float = RESULT_LIMIT_S) -> Any:
        """Return what the call returned, or raise what it raised; AssertionError where it has not ended in time."""
        assert self._done.acquire(timeout=timeout_s), f"still in its call after {timeout_s:g} s"
        self.busy = False
        value, error, self._value, self._error = self._value, self._error, None, None
        if error is not None:
            raise error
        return value

    def do(self, call: Callable[..., Any], *args: Any) -> Any:
        """Run a call in the thread and return its result."""
        self.start(call, *args)
        return self.result()

    def block(self, call: Callable[..., Any], *args: Any, aged: bool = False) -> None:
        """Begin a call and return when the thread waits for a lock of fastlock's; `aged`: long enough to be handed it."""
        self.start(call, *args)
        wait_until(lambda: self.waits() > (AGED_S if aged else -1))

    def waits(self) -> float:
        """Return for how many seconds the thread has been in its innermost wait, -1 where it runs."""
        return wait_age_s(self.thread.native_id)

    def stop(self) -> None:
        """End the thread."""
        assert not self.busy, "the thread never came back from its call"
        self._go.release()
        self.thread.join(RESULT_LIMIT_S)
        assert not self.thread.is_alive()


class Crew:
    """Workers by number, made when first asked for; a context manager that ends them."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}

    def __getitem__(self, number: int) -> Worker:
        if number not in self._workers:
            self._workers[number] = Worker(f"worker-{number}")
        return self._workers[number]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if exc_info[0] is None:  # after a failure they may be stuck for ever: they are daemons
            for worker in self._workers.values():
                worker.stop()


def wait_age_s(native_id: int | None) -> float:
    """Return for how many seconds a thread has been in its innermost wait, -1 where it runs."""
    table = fastlock.snapshot()
    agents = {agent.id for agent in table.agents if agent.native_id == native_id}
    return min((wait.since_s for wait in table.waits if wait.agent in agents), default=-1.0)


def main_waits() -> bool:
    """Tell whether the main thread is in a wait."""
    return wait_age_s(threading.main_thread().native_id) >= 0


def is_quiet() -> bool:
    """Tell whether nobody in this process waits for a lock of fastlock's, and nobody holds one.

    A lock that an earlier test left locked in a reference cycle (a caught error, its traceback, a frame) is not held
    any more, but is in the table until the collector comes by.
    """
    if _left():
        gc.collect()
    return not _left()


def _left() -> list[object]:
    """Return the waits in the table, and the agents that hold something."""
    table = fastlock.snapshot()
    return [*table.waits, *(agent for agent in table.agents if agent.holds)]


def quiet_text() -> str:
    """Return what the table has of waits, holds and locks, a line for each."""
    return "".join(f"{thing}\n" for thing in (*_left(), *fastlock.snapshot().locks))


def check_program(source: str, *arguments: object, timeout_s: float = PROGRAM_LIMIT_S, **options: Any) -> str:
    """Run a program that must end with status 0 and "ok" as its last word; return its standard error.

    One that hangs writes its threads' stacks and fails. Its import of this module gives it the helpers above.
    """
    head = f"import faulthandler; faulthandler.dump_traceback_later({timeout_s - 2}, exit=True)\n"
    options = {"through": ("-X", "faulthandler"), "timeout_s": timeout_s, **options}
    done = run_program(head + textwrap.dedent(source), *arguments, **options)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["ok"]), f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stderr
