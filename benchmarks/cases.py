"""What is measured: pairs of a body on the stdlib's primitive (or a rival's) and the same on ours, with the limit of each.

A body is source text, compiled once for each side, because the interpreter specialises a code object for the types it
sees: one loop for both would slow down whichever came second. "loop" runs the body in a loop of one frame, which is the
cheapest surrounding there is; "frame" calls a function with that body, as real code does.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from types import ModuleType, SimpleNamespace
from typing import Any

import fastlock

Run = Callable[[int], object]
Names = dict[str, Any]

# Names cost nothing per acquire, and should not: the figures count them in.
NAMED = SimpleNamespace(Lock=lambda: fastlock.Lock(name="bench"), RLock=lambda: fastlock.RLock(name="bench"))

#                  3.10  3.11  3.12  3.13  3.14  3.15
LIMITS = {
    "with":       (0.65, 0.60, 0.60, 0.60, 0.75, 1.00),
    "acquire":    (0.72, 0.52, 0.52, 0.45, 0.85, 0.95),
    "nested":     (0.62, 0.60, 0.60, 0.60, 0.75, 1.00),
    "create":     (1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
    "primitive":  (0.60, 0.60, 0.60, 0.60, 0.60, 0.60),
    "rw_own":     (1.50, 1.50, 1.50, 1.50, 1.50, 1.50),
    "rw_rival":   (0.125, 0.125, 0.125, 0.125, 0.125, 0.125),
}  # fmt: skip


def limit_of(kind: str | None) -> float | None:
    """Return the contract's limit for the running version; None where there is none (a version after the table: its last)."""
    if kind is None:
        return None
    return LIMITS[kind][min(max(sys.version_info[1] - 10, 0), 5)]


@dataclass(frozen=True)
class Side:
    """One half of a pair: a label, the body, and what makes the objects that the body names."""

    label: str
    body: str
    make: Callable[[], Names]

    def runner(self, form: str) -> Run:
        """Compile the body into a function of the number of repetitions, with objects of its own."""
        names = self.make()
        if "runner" in names:
            return names["runner"]  # type: ignore[no-any-return]
        return compile_loop(self.body, names, form)


@dataclass(frozen=True)
class Case:
    """One row: what is compared, in which form, and the kind of limit that it has."""

    section: str
    title: str
    theirs: Side
    ours: Side
    limit: str | None = None
    form: str = "loop"
    repetitions: int = field(default=0)  # 0: as many as fill a round

    @property
    def name(self) -> str:
        """The title with its form, unique among all rows."""
        return self.title if self.form == "loop" else f"{self.title}, new frame"


def compile_loop(body: str, names: Names, form: str) -> Run:
    """Return run(n), which runs the body n times with ``names`` as fast locals."""
    arguments = ", ".join(names)
    if form == "frame":
        step = f"def step({arguments}):\n" + indented(body, 1)
        body = f"step({arguments})"
    else:
        step = ""
    source = f"{step}\ndef run(n, {arguments}):\n    for _ in repeat(None, n):\n{indented(body, 2)}"
    scope: Names = {"repeat": repeat}
    exec(compile(source, f"<{body.splitlines()[0]}>", "exec"), scope)
    run = scope["run"]
    values = tuple(names.values())
    return lambda n: run(n, *values)


def indented(body: str, depth: int) -> str:
    return "".join(f"{'    ' * depth}{line}\n" for line in body.splitlines())


EMPTY = {form: Side("empty", "pass", lambda: {"lock": None}) for form in ("loop", "frame")}


# ---- rows against the stdlib --------------------------------------------------------------------


def both(
    section: str,
    title: str,
    body: str,
    make: Callable[[Any], Names],
    limit: str | None = None,
    forms: tuple[str, ...] = ("loop",),
    ours: Any = fastlock,
) -> list[Case]:
    """Return a row for each form, the same body on ``threading`` and on ours."""
    theirs = Side("threading", body, lambda: make(threading))
    mine = Side("fastlock", body, lambda: make(ours))
    return [Case(section, title, theirs, mine, limit, form) for form in forms]


def a_lock(module: Any) -> Names:
    return {"lock": module.Lock()}


def an_rlock(module: Any) -> Names:
    return {"lock": module.RLock()}


def a_held_rlock(module: Any) -> Names:
    lock = module.RLock()
    lock.acquire()
    return {"lock": lock}


def two_locks(module: Any) -> Names:
    return {"a": module.Lock(), "b": module.Lock()}


def uncontended() -> list[Case]:
    forms = ("loop", "frame")
    calls = "lock.acquire()\nlock.release()"
    nested = "with a:\n    with b:\n        pass"
    return [
        *both("uncontended", "with Lock", "with lock:\n    pass", a_lock, "with", forms, NAMED),
        *both("uncontended", "Lock acquire(); release()", calls, a_lock, "acquire", forms, NAMED),
        *both("uncontended", "two nested with Lock", nested, two_locks, "nested", forms, NAMED),
        *both("uncontended", "with RLock", "with lock:\n    pass", an_rlock, None, forms, NAMED),
        *both("uncontended", "RLock acquire(); release()", calls, an_rlock, None, forms, NAMED),
        *both("uncontended", "with RLock, re-entered", "with lock:\n    pass", a_held_rlock, None, ("loop",), NAMED),
    ]


def primitives() -> list[Case]:
    rows: list[Case] = []
    for kind in ("Semaphore", "BoundedSemaphore"):

        def make(module: Any, kind: str = kind) -> Names:
            return {"sem": getattr(module, kind)(2)}

        rows += both("primitives", f"with {kind}", "with sem:\n    pass", make, "primitive")
        rows += both("primitives", f"{kind} acquire(); release()", "sem.acquire()\nsem.release()", make, "primitive")
    return [
        *rows,
        *both("primitives", "Event set(); clear()", "event.set()\nevent.clear()", an_event, "primitive"),
        *both("primitives", "Event wait(), set", "event.wait()", a_set_event, "primitive"),
        *both("primitives", "Condition notify(), nobody waits", "with cond:\n    cond.notify()", a_condition, "primitive"),
        *both("primitives", "Condition ping-pong", "", ping_pong, "primitive"),
        Case(
            "primitives",
            "queue.Queue put(); get()",
            Side("threading", "put(None)\nget()", lambda: a_queue(False)),
            Side("fastlock", "put(None)\nget()", lambda: a_queue(True)),
            "primitive",
        ),
    ]


def an_event(module: Any) -> Names:
    return {"event": module.Event()}


def a_set_event(module: Any) -> Names:
    event = module.Event()
    event.set()
    return {"event": event}


def a_condition(module: Any) -> Names:
    return {"cond": module.Condition()}


def ping_pong(module: Any) -> Names:
    """Two threads that wake each other in turn on one condition; one repetition is there and back."""
    cond = module.Condition()
    turn = 0

    def partner() -> None:
        nonlocal turn
        with cond:
            while True:
                while turn != 1:
                    cond.wait()
                turn = 0
                cond.notify()

    def run(n: int) -> None:
        nonlocal turn
        with cond:
            for _ in repeat(None, n):
                turn = 1
                cond.notify()
                while turn != 0:
                    cond.wait()

    threading.Thread(target=partner, daemon=True).start()
    run(1)
    return {"runner": run}


def a_queue(ours: bool) -> Names:
    """A queue of a module copy of its own, so that neither side specialises the other's code."""
    spec = importlib.util.find_spec("queue")
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if ours:
        fastlock.install()
    try:
        queue = module.Queue()
    finally:
        fastlock.uninstall()
    return {"put": queue.put, "get": queue.get}


def creation() -> list[Case]:
    rows = both("creation", "Lock()", "Lock()", lambda m: {"Lock": m.Lock}, "create", ("loop", "frame"))
    for kind in ("RLock", "Semaphore", "Event", "Condition"):

        def make(module: Any, kind: str = kind) -> Names:
            return {kind: getattr(module, kind)}

        rows += both("creation", f"{kind}()", f"{kind}()", make)
    return rows


# ---- rows against others ------------------------------------------------------------------------


def rwlocks() -> list[Case]:
    """Our RWLock against our Lock, and against the rivals that are installed (the extra ``bench`` has them)."""
    reading = Side("fastlock.RWLock", "with rw.read():\n    pass", lambda: {"rw": fastlock.RWLock()})
    writing = Side("fastlock.RWLock", "with rw.write():\n    pass", lambda: {"rw": fastlock.RWLock()})
    calls = Side("fastlock.RWLock", "take()\ngive()", a_reader)
    lock = Side("fastlock.Lock", "with lock:\n    pass", lambda: {"lock": fastlock.Lock()})
    lock_calls = Side("fastlock.Lock", "take()\ngive()", a_taker)
    rows = [
        Case("rwlock", "RWLock with read() / our with Lock", lock, reading, "rw_own"),
        Case("rwlock", "RWLock acquire_read() / our acquire()", lock_calls, calls, "rw_own"),
        Case("rwlock", "RWLock with write() / our with Lock", lock, writing),
    ]
    for rival, limit, theirs, ours in rivals():
        if importlib.util.find_spec(rival.partition(",")[0]):
            rows.append(Case("rwlock", f"RWLock {ours.label} / {rival}", theirs, ours, limit))
    return rows


def rivals() -> list[tuple[str, str | None, Side, Side]]:
    """(rival, limit, its side, ours): the spelling of their manuals, and guards that were made before on both sides."""

    def make() -> Names:
        return {"rw": fastlock.RWLock()}

    read = Side("read", "with rw.read():\n    pass", make)
    write = Side("write", "with rw.write():\n    pass", make)
    kept = Side("read", "with guard:\n    pass", lambda: {"guard": fastlock.RWLock().read()})

    def theirs(body: str, make: Callable[[], Names]) -> Side:
        return Side("theirs", f"with {body}:\n    pass", make)

    return [
        ("readerwriterlock", "rw_rival", theirs("rw.gen_rlock()", readerwriterlock), read),
        ("readerwriterlock, guards kept", "rw_rival", theirs("rw", lambda: {"rw": readerwriterlock()["rw"].gen_rlock()}), kept),
        ("readerwriterlock", None, theirs("rw.gen_wlock()", readerwriterlock), write),
        ("fasteners", "rw_rival", theirs("rw.read_lock()", fasteners), read),
        ("fasteners", None, theirs("rw.write_lock()", fasteners), write),
    ]


def a_reader() -> Names:
    rw = fastlock.RWLock()
    return {"take": rw.acquire_read, "give": rw.release_read}


def a_taker() -> Names:
    lock = fastlock.Lock()
    return {"take": lock.acquire, "give": lock.release}


def readerwriterlock() -> Names:
    # Of its locks the one that prefers writers, as ours does.
    from readerwriterlock.rwlock import RWLockWrite

    return {"rw": RWLockWrite()}


def fasteners() -> Names:
    from fasteners import ReaderWriterLock

    return {"rw": ReaderWriterLock()}


SECTIONS: dict[str, Callable[[], list[Case]]] = {
    "uncontended": uncontended,
    "creation": creation,
    "primitives": primitives,
    "rwlock": rwlocks,
}
