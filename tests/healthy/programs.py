"""What a healthy program is made of: its place in the list, its timings, its threads."""

from __future__ import annotations

import importlib
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Thing = TypeVar("Thing")

THEMES = (
    "queues",
    "serving",
    "pipelines",
    "pools",
    "futures",
    "primitives",
    "locks",
    "monitors",
    "signals",
    "wakers",
    "lives",
    "streams",
    "processes",
    "services",
    "tasks",
    "loops",
    "libraries",
    "storms",
)
SLOW_WAIT_S = 0.005  # what the programs' processes are configured to
LONG_S = (0.06, 0.12)  # a long moment makes somebody late, and so late that guesses are made of why


class Pace:
    """The timings of one program, made of a seed: how long what it does takes; any thread. Long moments are `stretch` times as long."""

    def __init__(self, seed: str, stretch: float = 1.0) -> None:
        self._random = random.Random(seed)
        self._stretch = stretch

    def moment(self) -> None:
        """Work for no time at all, mostly, or for some milliseconds."""
        time.sleep(self._random.choice((0, 0, 0.0005, 0.002, 0.006)))

    def long(self) -> None:
        """Work for so long that who waits for it becomes late."""
        time.sleep(self.long_s())

    def long_s(self) -> float:
        """Return how many seconds a long piece of work takes."""
        return self._random.uniform(*LONG_S) * self._stretch

    def maybe_long(self, chance: float = 0.15) -> None:
        """Work for long now and then, else for a moment."""
        if self._random.random() < chance:
            self.long()
        else:
            self.moment()

    def late(self, call: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
        """Return what works for long, and then does the call."""

        def work() -> None:
            self.long()
            call(*arguments)

        return work

    def number(self, least: int, most: int) -> int:
        """Return a number from least to most."""
        return self._random.randint(least, most)

    def one_of(self, things: Sequence[Thing]) -> Thing:
        """Return any one of them."""
        return self._random.choice(things)

    def shuffled(self, things: Iterable[Thing]) -> list[Thing]:
        """Return them in any order."""
        mixed = list(things)
        self._random.shuffle(mixed)
        return mixed


@dataclass(frozen=True)
class Program:
    """A healthy program.

    `alone`: it needs the main thread, or something that a process has only one of. `guesses`: codes that may be said of it, though never as `proven`,
    because what it does is a mistake until somebody has done the unusual part of it, or until a limit is over.
    """

    theme: str
    name: str
    run: Callable[[Pace], None]
    alone: bool
    guesses: frozenset[str]


_programs: dict[str, Program] = {}


def program(
    *, alone: bool = False, guesses: Iterable[str] = (), since: tuple[int, int] = (3, 10)
) -> Callable[[Callable[[Pace], None]], Callable[[Pace], None]]:
    """Put a function into the list of programs, where this Python has what it needs."""

    def enter(run: Callable[[Pace], None]) -> Callable[[Pace], None]:
        theme, name = run.__module__.rpartition(".")[2], run.__name__
        assert name not in _programs, f"two programs are called {name}"
        if sys.version_info >= since:
            _programs[name] = Program(theme, name, run, alone, frozenset(guesses))
        return run

    return enter


def all_programs() -> dict[str, Program]:
    """Return the programs of all themes by name; imports them."""
    for theme in THEMES:
        importlib.import_module(f"{__package__}.{theme}")
    return dict(_programs)


# ---- threads of programs --------------------------------------------------------------------------


class Dies(Exception):
    """Ends a thread in the way that a mistake in its code would; the program means it."""


def started(*calls: Callable[[], Any], daemon: bool = False) -> list[threading.Thread]:
    """Start a thread for each call."""
    threads = [threading.Thread(target=call, name=call.__name__, daemon=daemon) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def joined(threads: Iterable[threading.Thread]) -> None:
    """Wait until all of them have ended."""
    for thread in threads:
        thread.join()


def together(*calls: Callable[[], Any]) -> None:
    """Run each call in a thread of its own, until all have returned."""
    joined(started(*calls))
