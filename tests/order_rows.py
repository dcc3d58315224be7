"""For the tests of prediction: threads that all live at once and take locks one after the other, as a line of text says.

    A       take the lock A as `with` does             R1 W1 U1 read, write the RWLock 1, read it upgradably
    A? R1?  try to                                     A~ R1~   with a timeout
    /A /R1  release it; what is left at the end of the line is released from the top down
    A<B     nested(A, under=B)
    *A      wait for a moment on the condition of A    !A       release A whoever holds it

Nothing ever blocks, and nothing sleeps: the main thread hands each step to the thread whose turn it is.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Callable
from typing import Any

import fastlock
from fastlock import watchdog
from support import ask
from workers import Crew

_numbers = itertools.count(1)
_STEP = re.compile(r"(?P<before>[/*!]?)(?P<mode>[RWU](?=\d))?(?P<lock>\w+)(?:<(?P<under>\w+)|(?P<after>[?~]))?")
TIMEOUT_S = 20.0  # never used up


class Stage:
    """Locks and threads of one row; a context manager that ends the threads.

    A lock is made when it is first named: letters are Locks, digits RWLocks, each of a class of its own, unless `make` has
    a function for its name. `kind` is what letters are instead: a factory, or "read" or "write" for RWLocks taken in that way.
    """

    def __init__(self, kind: Any = None, prefer: str = "writer", **make: Callable[[str], Any]) -> None:
        self.name = f"row{next(_numbers)}"
        self._kind, self._prefer, self._make = kind or fastlock.Lock, prefer, make
        self._locks: dict[str, Any] = {}
        self._stacks: dict[int, list[tuple[str, Callable[[], Any]]]] = {}
        self.crew = Crew()
        watchdog.flush(90)
        self._filtered = dict(fastlock.order_graph().filtered)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.crew.__exit__(*exc_info)

    def lock(self, name: str) -> Any:
        """Return a lock by its name in the lines."""
        if name not in self._locks:
            lock_class = f"{self.name}.{name}"
            if name in self._make:
                self._locks[name] = self._make[name](lock_class)
            elif name.isdigit() or self._kind in ("read", "write"):
                self._locks[name] = fastlock.RWLock(prefer=self._prefer, lock_class=lock_class)
            else:
                self._locks[name] = self._kind(lock_class=lock_class)
            if type(self._locks[name]) is type(fastlock.Lock()):
                with self._locks[name]:  # from here on it is known that its owner releases it
                    pass
        return self._locks[name]

    def play(self, row: str) -> Stage:
        """Have thread 0 go through what stands before the first "|", then thread 1 through the next part, and so on."""
        parts = row.split("|")
        for number in range(len(parts)):
            self.crew[number]  # all of them live before the first one starts
        for number, line in enumerate(parts):
            self.do(number, line)
        return self

    def do(self, who: int, line: str) -> None:
        """Have one thread go through a line, and release everything."""
        self.begin(who, line)
        self.end(who)

    def begin(self, who: int, line: str) -> None:
        """Have one thread go through a line, and keep what it holds."""
        for step in line.split():
            self._step(who, step)

    def end(self, who: int) -> None:
        """Have one thread release what it holds."""
        stack = self._stacks.get(who, [])
        while stack:
            self.crew[who].do(stack.pop()[1])

    def _step(self, who: int, step: str) -> None:
        match = _STEP.fullmatch(step)
        assert match is not None, step
        before, mode, name, under, after = match.group("before", "mode", "lock", "under", "after")
        stack = self._stacks.setdefault(who, [])
        guard = self._guard(name, mode)
        call = {None: guard.__enter__, "?": lambda: guard.acquire(False), "~": lambda: guard.acquire(True, TIMEOUT_S)}[after]
        if before == "/":
            held = next(entry for entry in reversed(stack) if entry[0] == (mode or "") + name)
            stack.remove(held)
            self.crew[who].do(held[1])
        elif before == "!":
            self.crew[who].do(guard.release)
            for entries in self._stacks.values():
                entries[:] = [entry for entry in entries if entry[0] != name]
        elif before == "*":
            self.crew[who].do(fastlock.Condition(guard).wait, 0)
        elif under is not None:
            self.crew[who].do(fastlock.nested(guard, under=self.lock(under)).__enter__)
            stack.append((name, guard.release))
        elif self.crew[who].do(call) is not False:
            stack.append(((mode or "") + name, guard.release))

    def _guard(self, name: str, mode: str | None) -> Any:
        lock = self.lock(name)
        if isinstance(lock, fastlock.RWLock):
            reads = mode == "R" or (mode is None and self._kind == "read")
            return lock.upgradable() if mode == "U" else lock.read() if reads else lock.write()
        return lock

    # ---- what came of it

    def findings(self) -> list[Any]:
        """Return the findings about the row's locks."""
        assert watchdog.flush(90)
        return [f for f in fastlock.findings() if any(lock.lock_class.startswith(f"{self.name}.") for lock in f.locks)]

    def found(self) -> list[str]:
        """Return each finding as its code and tier."""
        return [f"{finding.code} {finding.tier}" for finding in self.findings()]

    def filtered(self) -> list[str]:
        """Return the filters that have counted more circles since the row began."""
        now = fastlock.order_graph().filtered
        return [name for name in now if now[name] > self._filtered.get(name, 0)]

    def edges(self) -> list[str]:
        """Return the orders of the row's locks, as "AB" for B under A."""
        names = [(edge.first, edge.then) for edge in fastlock.order_graph().edges()]
        own = f"{self.name}."
        return sorted(a.removeprefix(own) + b.removeprefix(own) for a, b in names if a.startswith(own) and b.startswith(own))


# ---- for the tests

ROWS = """
from order_rows import Stage
from workers import Worker
fastlock.set_level("order")
def born(number=1):
    stage.crew._workers[number] = Worker(f"worker-{number}")
def end(number, by=None):
    worker = stage.crew._workers.pop(number)
    stage.crew[by].do(worker.stop) if by is not None else worker.stop()
"""


def rows(source: str, **options: Any) -> Any:
    """Run a program at level order that has Stage; return what it told."""
    return ask(ROWS + textwrap.dedent(source), **options)
