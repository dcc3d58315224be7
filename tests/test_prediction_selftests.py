"""Prediction: the families of the Linux kernel's locking selftest (lib/locking-selftest.c), as tables of our own.

A row says which locks each thread takes, in the words of order_rows.py, and what comes of it: a finding with its tier, or the
filter that counts the circle, or nothing. The threads live at the same time and never block each other.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from support import ask

HIGH, POSSIBLE = "FL010 high", "FL010 possible"
AGENTS, SHARED = "agents", "shared"
SILENT = ""

# ---- exclusive locks: the circles

CIRCLES = {
    "ABBA": "A B | B A",
    "ABBCCA": "A B | B C | C A",
    "ABCABC": "A B | C A | B C",
    "ABBCCDDA": "A B | B C | C D | D A",
    "ABCDBDDA": "A B | C D | B D | D A",
    "ABCDBCDA": "A B | C D | B C | D A",
}
KINDS = {
    "Lock": ("fastlock.Lock", "writer", HIGH),
    "RLock": ("fastlock.RLock", "writer", HIGH),
    "RWLock written": ("'write'", "writer", HIGH),
    # Readers block each other behind a writer only: nobody has seen one, so the circle is possible.
    "RWLock read, prefers writers": ("'read'", "writer", POSSIBLE),
    "RWLock read, prefers readers": ("'read'", "reader", SHARED),
}

# ---- reads and writes

PERMUTATIONS = {
    # row: (prefers readers: reads are recursive, prefers writers: they are not)
    "W1 W2 | W2 W1": (HIGH, HIGH),
    "W1 W2 | W2 R1": (HIGH, HIGH),
    "W1 R2 | W2 W1": (HIGH, HIGH),
    "W1 R2 | W2 R1": (HIGH, HIGH),
    "W1 W2 | R2 W1": (HIGH, HIGH),
    "W1 W2 | R2 R1": (HIGH, HIGH),
    "R1 W2 | W2 W1": (HIGH, HIGH),
    "R1 R2 | W2 W1": (HIGH, HIGH),
    "R1 W2 | R2 W1": (HIGH, HIGH),
    # The readers of one lock meet: recursive ones pass, the others block each other where a writer waits in between.
    "W1 R2 | R2 W1": (SHARED, POSSIBLE),
    "W1 R2 | R2 R1": (SHARED, POSSIBLE),
    "R1 R2 | R2 W1": (SHARED, POSSIBLE),
    "R1 W2 | W2 R1": (SHARED, POSSIBLE),
    "R1 W2 | R2 R1": (SHARED, POSSIBLE),
    "R1 R2 | W2 R1": (SHARED, POSSIBLE),
    "R1 R2 | R2 R1": (SHARED, POSSIBLE),
    # An upgradable share keeps out its like and writers, and is beside readers as a reader's is.
    "U1 U2 | U2 U1": (HIGH, HIGH),
    "U1 W2 | W2 R1": (SHARED, POSSIBLE),
    "R1 W2 | W2 U1": (SHARED, POSSIBLE),
    "U1 W2 | W2 W1": (HIGH, HIGH),
    # What is held besides, while one waits for the other readers to leave.
    "U1 W2 W1 | R1 W2": (HIGH, HIGH),
    "W2 U1 W1 | R1 W2": (HIGH, HIGH),
    "U1 W1 W2 | U1 W2 W1": ("gate", "gate"),
    # Three locks; the failing half, then the passing one.
    "W1 R2 | W2 R3 | W3 R1": (HIGH, HIGH),
    "W1 W2 | R2 R3 | W3 R1": (HIGH, HIGH),
    "W1 W2 | R2 R3 | W3 W1": (HIGH, HIGH),
    "R1 R2 | W2 R3 | W3 W1": (HIGH, HIGH),
    "W1 W2 | R2 W3 | R3 R1": (HIGH, HIGH),
    "W1 R2 | R2 R3 | W3 R1": (SHARED, POSSIBLE),
    "W1 R2 | R2 R3 | W3 W1": (SHARED, POSSIBLE),
    "W1 R2 | R2 R3 | R3 R1": (SHARED, POSSIBLE),
    "R1 R2 | R2 R3 | R3 W1": (SHARED, POSSIBLE),
    "W1 W2 | R2 R3 | R3 R1": (SHARED, POSSIBLE),
    # A reader that meets a mutex.
    "R1 A | A W1": (HIGH, HIGH),
    "R1 A | A R1": (SHARED, POSSIBLE),
    "W1 A | A R1": (HIGH, HIGH),
    "R1 A | A R1 | A W1": (HIGH, HIGH),
    # As soon as somebody has written, the readers of a lock that prefers writers can meet one.
    "W1 /W1 W2 | R1 R2 | R2 R1": (SHARED, HIGH),
    "R1 A R1 | A R1 | A W1": (HIGH, HIGH),
    "R1 R1 A | A R1": (SHARED, POSSIBLE),
}

# ---- try-locks and timeouts

TRIES = {
    "A B? | B A": (SILENT, "BA"),
    "A B? | B A?": (SILENT, ""),
    "A? B | B A": (HIGH, "AB BA"),
    "A? B | B? A": (HIGH, "AB BA"),
    "A? B? | B A": (SILENT, "BA"),
    "A B? C | C B": (HIGH, "AC BC CB"),
    "A B? C | C A": (HIGH, "AC BC CA"),
    "W1 R2? | W2 R1": (SILENT, "21"),
    "R1? W2 | R2 W1": (HIGH, "12 21"),
}
TIMED = {
    "A B~ | B A": POSSIBLE,
    "A B | B A~": POSSIBLE,
    "A B~ | B A~": POSSIBLE,
    "A~ B | B~ A": HIGH,
    "A B~ | A B | B A": HIGH,
    "A B~ | B A | A B": HIGH,
    "W1 R2~ | W2 R1": POSSIBLE,
    "A B | B C~ | C A": POSSIBLE,
}

# ---- nesting: K is a class with locks a, b; P is another lock

NESTING = {
    "a b | a b": (SILENT, []),
    "a b | b a": (HIGH, []),
    "a b b2 | b2 a": (HIGH, []),
    "P a b<P | P b a<P": (SILENT, []),
    "a b<a | b a<b": (SILENT, []),
    "a b<a | b a": (SILENT, []),
    "P a b | P b a": (SILENT, ["gate"]),
    "P a b | b a": (HIGH, []),
    # Sanctioned is the nesting within the class, not the order with another one.
    "P a<P | a P": (HIGH, []),
}




# ---- playing them

PLAY = """
from order_rows import Stage

def play(row, alone=False, **options):
    with Stage(**options) as stage:
        if alone:
            for part in row.split("|"):
                stage.do(0, part)
        else:
            stage.play(row)
        return stage.found(), stage.filtered(), " ".join(stage.edges())

fastlock.set_level("order")
"""
NEST = "{name: lambda row: fastlock.Lock(lock_class=row[: row.index('.')] + '.K') for name in ('a', 'b', 'b2')}"


@cache
def played(rows: tuple[str, ...], options: str) -> dict[str, Any]:
    """Play rows one after the other in a process of their own: what was found, what was filtered, which orders were seen."""
    told: dict[str, Any] = ask(f"{PLAY}\ntell({{row: play(row, {options}) for row in {rows!r}}})")
    return told


def check(told: Any, expected: str) -> None:
    """A finding of the expected code and tier; or none, and the circle counted under the expected filter."""
    found, filtered, _ = told
    if expected.startswith("FL"):
        assert (found[-1], filtered) == (expected, [])  # a tier that rises is told again
    else:
        assert (found, filtered) == ([], [expected] if expected else [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CIRCLES)
def test_circles_of_two_to_four_locks(name: str, kind: str) -> None:
    """Each pair is taken in a thread of its own: the last one closes a circle, whatever came in between."""
    made, prefer, expected = KINDS[kind]
    told = played(tuple(CIRCLES.values()), f"kind={made}, prefer={prefer!r}")[CIRCLES[name]]
    check(told, expected)
    assert len(told[2].split()) == CIRCLES[name].count("|") + 1


@pytest.mark.parametrize("name", CIRCLES)
def test_the_same_circles_in_one_thread(name: str) -> None:
    """One thread that takes all these pairs one after the other cannot deadlock with itself."""
    check(played(tuple(CIRCLES.values()), "alone=True")[CIRCLES[name]], AGENTS)


@pytest.mark.parametrize("prefer", ["reader", "writer"])
@pytest.mark.parametrize("row", PERMUTATIONS)
def test_reads_and_writes(row: str, prefer: str) -> None:
    """Every combination of two locks' modes, and the kernel's of three: each link must be one that can block."""
    expected = PERMUTATIONS[row][prefer == "writer"]
    check(played(tuple(PERMUTATIONS), f"prefer={prefer!r}")[row], expected)


@pytest.mark.parametrize("row", TRIES)
def test_try_locks(row: str) -> None:
    """Who tries does not wait, so that is no order; what was taken by trying is held like anything else."""
    expected, edges = TRIES[row]
    told = played(tuple(TRIES), "")[row]
    check(told, expected)
    assert told[2] == edges


@pytest.mark.parametrize("row", TIMED)
def test_timed_acquires(row: str) -> None:
    """A wait with an end makes a circle no more than possible, until it is seen without."""
    check(played(tuple(TIMED), "")[row], TIMED[row])


@pytest.mark.parametrize("row", NESTING)
def test_nesting_within_a_class(row: str) -> None:
    """Locks of one class are told apart as soon as two are nested; nested() says that it is meant to be so."""
    expected, filtered = NESTING[row]
    found, counted, _ = played(tuple(NESTING), f"**{NEST}")[row]
    assert (found, counted) == ([expected] if expected else [], filtered)


# ---- one lock, twice

TWICE = {
    # how it is made, how it is taken twice: what is found
    "Lock": ("fastlock.Lock(on_deadlock='raise')", "lock", "lock", ["FL002 proven"]),
    "RLock": ("fastlock.RLock(on_deadlock='raise')", "lock", "lock", []),
    "write, write": ("fastlock.RWLock(on_deadlock='raise')", "lock.write()", "lock.write()", ["FL002 proven"]),
    "write, read": ("fastlock.RWLock(on_deadlock='raise')", "lock.write()", "lock.read()", ["FL002 proven"]),
    "read, write": ("fastlock.RWLock(on_deadlock='raise')", "lock.read()", "lock.write()", ["FL012 proven"]),
    "read, read": ("fastlock.RWLock(on_deadlock='raise')", "lock.read()", "lock.read()", []),
    "upgradable, write": ("fastlock.RWLock(on_deadlock='raise')", "lock.upgradable()", "lock.write()", []),
    "upgradable, read": ("fastlock.RWLock(on_deadlock='raise')", "lock.upgradable()", "lock.read()", []),
    "upgradable, upgradable": ("fastlock.RWLock(on_deadlock='raise')", "lock.upgradable()", "lock.upgradable()", ["FL002 proven"]),
    "read, upgradable": ("fastlock.RWLock(on_deadlock='raise')", "lock.read()", "lock.upgradable()", ["FL012 proven"]),
    "recursive read": ("fastlock.RWLock(prefer='reader', on_deadlock='raise')", "lock.read()", "lock.read()", []),
}


@pytest.mark.parametrize("name", TWICE)
def test_aa(name: str) -> None:
    """The same lock again is a deadlock with oneself where it is one, which is no matter of order: never FL010."""
    make, first, second, expected = TWICE[name]
    told = ask(
        f"""
        fastlock.set_level("order")
        lock, other = {make}, fastlock.Lock()
        raised = 0
        for _ in range(2):
            with other:
                try:
                    with {first}:
                        with {second}: pass
                except fastlock.DeadlockError:
                    raised += 1
        fastlock.watchdog.flush(90)
        edges = [(edge.count, edge.held_at.text) for edge in fastlock.order_graph().edges()]
        tell([raised, [f"{{finding.code}} {{finding.tier}}" for finding in fastlock.findings()], edges, lock.locked()])
        """
    )
    twice = 4 if name == "upgradable, write" else 2  # the upgrade is one more wait under the other lock
    assert told == [2 if expected else 0, expected, [[twice, "with other:"]], False]


@pytest.mark.parametrize("release", ["Lock().release", "RLock().release", "RWLock().release_read", "RWLock().release_write"])
def test_double_release(release: str) -> None:
    """A lock that is released once more than taken raises RuntimeError, and the order of the others goes on being learned."""
    lock, _, method = release.partition("().")
    told = ask(
        f"""
        from order_rows import Stage
        fastlock.set_level("order")
        with Stage(X=lambda _: lock) as stage:
            lock = fastlock.{lock}(lock_class=stage.name + ".X")
            worker = stage.crew[0]
            stage.begin(0, "A")
            worker.do(getattr(lock, "{method}".replace("release", "acquire")))
            worker.do(lock.{method})
            try:
                worker.do(lock.{method})
                raised = False
            except RuntimeError:
                raised = True
            stage.begin(0, "B")
            stage.end(0)
            stage.do(1, "B A")
            tell([raised, stage.found(), stage.edges()])
        """
    )
    assert told == [True, ["FL010 high"], ["AB", "AX", "BA"]]
