"""Wrong use of the primitives: a clear error of the caller's line, never a crash, never a lost lock."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

import fastlock
from workers import Crew, check_program, is_quiet

OPTIONS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"name": 3}, TypeError),
    ({"name": b"x"}, TypeError),
    ({"lock_class": ["x"]}, TypeError),
    ({"timeout": "1"}, TypeError),
    ({"timeout": -1}, ValueError),
    ({"timeout": -0.5}, ValueError),
    ({"timeout": math.nan}, ValueError),
    ({"timeout": math.inf}, OverflowError),
    ({"timeout": 10**400}, OverflowError),
    ({"on_deadlock": "panic"}, ValueError),
    ({"on_deadlock": 3}, ValueError),
    ({"on_inversion": "exit"}, ValueError),
    ({"on_inversion": print}, ValueError),
    ({"rank": "first"}, TypeError),
    ({"rank": True}, TypeError),
    ({"rank": math.nan}, ValueError),
    ({"nmae": "x"}, TypeError),
]
MAKERS: dict[str, Callable[..., Any]] = {
    "Lock": fastlock.Lock, "RLock": fastlock.RLock, "Condition": fastlock.Condition, "Semaphore": fastlock.Semaphore,
    "BoundedSemaphore": fastlock.BoundedSemaphore, "RWLock": fastlock.RWLock,
}  # fmt: skip


@pytest.mark.parametrize(("options", "error"), OPTIONS, ids=str)
@pytest.mark.parametrize("kind", MAKERS)
def test_bad_options(kind: str, options: dict[str, Any], error: type[Exception]) -> None:
    """A bad keyword or value is refused when the lock is made, in one line that names it."""
    if kind == "RLock" and "nmae" in options and (3, 13) <= sys.version_info < (3, 15):
        with pytest.warns(DeprecationWarning):  # threading's takes anything there, and says that it will not for long
            fastlock.RLock(**options)
        return
    with pytest.raises(error) as caught:
        MAKERS[kind](**options)
    assert str(caught.value) and "\n" not in str(caught.value)
    assert MAKERS[kind]() is not None


@pytest.mark.parametrize("kind", sorted(MAKERS.keys() - {"RLock"}))  # before 3.15 that one takes and ignores anything
def test_options_are_keywords_only(kind: str) -> None:
    """Options cannot be given by position."""
    with pytest.raises(TypeError):
        MAKERS[kind](*([1] if "Semaphore" in kind else [fastlock.Lock()] if kind == "Condition" else []), "name")


@pytest.mark.parametrize("prefer", ["writers", "", None, 1])
def test_unknown_preference(prefer: Any) -> None:
    """RWLock names the preferences that there are."""
    with pytest.raises(ValueError, match="allowed are 'writer' and 'reader'"):
        fastlock.RWLock(prefer=prefer)


def test_a_condition_takes_options_for_its_own_lock_only() -> None:
    """Options belong to the lock: with a lock given they are a TypeError."""
    with pytest.raises(TypeError, match="belong to the lock"):
        fastlock.Condition(fastlock.Lock(), name="x")
    with pytest.raises(AttributeError, match="acquire"):
        fastlock.Condition("lock")  # type: ignore[arg-type]


BAD_TIMEOUTS = [(math.nan, ValueError), (-5, ValueError), (math.inf, OverflowError), (10**400, OverflowError), ("1", TypeError)]


@pytest.mark.parametrize(("timeout", "error"), BAD_TIMEOUTS, ids=str)
def test_bad_timeouts_lose_no_lock(timeout: Any, error: type[Exception]) -> None:
    """A bad timeout is an error before anything is taken or waited for, held or free."""
    rw, lock, rlock = fastlock.RWLock(), fastlock.Lock(), fastlock.RLock()
    with Crew() as crew:
        guards = (rw.read(), rw.write(), rw.upgradable())
        methods = (rw.acquire_read, rw.acquire_write, rw.acquire_upgradable)
        for acquire in (lock.acquire, rlock.acquire, *methods, *(guard.acquire for guard in guards)):
            with pytest.raises(error):
                acquire(timeout=timeout)
        assert is_quiet()
        for take, give, acquire in (
            (lock.acquire, lock.release, lock.acquire),
            (rlock.acquire, rlock.release, rlock.acquire),
            (rw.acquire_write, rw.release_write, rw.acquire_read),
            (rw.acquire_read, rw.release_read, rw.acquire_write),
            (rw.acquire_upgradable, rw.release_upgradable, rw.acquire_upgradable),
        ):
            crew[0].do(take)
            with pytest.raises(error):
                acquire(timeout=timeout)
            crew[0].do(give)
        assert is_quiet() and not rw.locked()


def test_a_blocking_flag_and_a_timeout() -> None:
    """A timeout for a call that does not block is threading's ValueError, for the RWLock too."""
    rw = fastlock.RWLock()
    for acquire in (fastlock.Lock().acquire, fastlock.RLock().acquire, rw.acquire_read, rw.acquire_write, rw.acquire_upgradable):
        with pytest.raises(ValueError, match="can't specify a timeout for a non-blocking call"):
            acquire(False, 1)
    assert not rw.locked()


def test_bad_levels_change_nothing() -> None:
    """An unknown level, or one of a later version, is a ConfigError and the level stays."""
    before = fastlock.level()
    for level in ("loud", "trace", "", None, 1):
        with pytest.raises(fastlock.ConfigError):
            fastlock.set_level(level)  # type: ignore[arg-type]
        with pytest.raises(fastlock.ConfigError):
            fastlock.at_level(level)  # type: ignore[arg-type]
    assert fastlock.level() == before


# Each is a program of one line that must end with an exception of Python's, not of the machine.
TRESPASSES = [
    "type(fastlock.RWLock().read())(None)",
    "type(fastlock.RWLock().read())()",
    "type(fastlock.RWLock().write())(None).acquire()",
    "type(fastlock.RWLock().write())(3)",
    "type(fastlock.RWLock().upgradable())(None)",
    "type(fastlock.RWLock().upgradable())()",
    "type(fastlock.Lock()).__enter__(3)",
    "type(fastlock.Lock()).__enter__.__get__(3)()",
    "type(fastlock.Lock()).__exit__.__get__(3)()",
    "type(fastlock.Lock()).acquire(fastlock.RLock())",
    "fastlock.RLock.__enter__(fastlock.Lock())",
    "fastlock.RLock.__exit__.__get__(object())()",
    "fastlock.Condition.__enter__.__get__([])()",
    "fastlock.Semaphore.acquire(fastlock.Event())",
    "fastlock.Condition.__new__(fastlock.Condition).__enter__()",
    "fastlock.Condition.__new__(fastlock.Condition).wait()",
    "fastlock.Barrier.__new__(fastlock.Barrier).wait()",
    "fastlock.Semaphore.__new__(fastlock.Semaphore).release('x')",
    "fastlock.BoundedSemaphore.__new__(fastlock.BoundedSemaphore).release()",
    "fastlock.RLock()._acquire_restore(None)",
    "fastlock.RLock()._acquire_restore(('x', 1))",
    "fastlock.Condition().acquire(*range(9))",
    "fastlock.Lock().acquire(**{str(number): 1 for number in range(9)})",
    "fastlock.Lock().acquire(True, blocking=True)",
    "fastlock.Semaphore(2**70).release(2**70)",
    "fastlock.Semaphore().release(2**70)",
    "type('X', (), {'__enter__': type(fastlock.Lock()).__enter__, '__exit__': int})().__enter__()",
]


@pytest.mark.parametrize("trespass", TRESPASSES)
def test_no_use_crashes(trespass: str) -> None:
    """Methods of a wrong object, and objects whose constructor never ran, are errors of Python's and nothing worse."""
    check_program(f"""
import fastlock
try:
    {trespass}
except (TypeError, ValueError, RuntimeError, AttributeError, OverflowError):
    print("ok")
""")


@pytest.mark.parametrize("kind", ["Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"])
def test_a_subclass_that_forgets_its_base(kind: str) -> None:
    """repr and attributes of an object whose __init__ never ran do not crash."""
    check_program(f"""
import fastlock
class Forgetful(fastlock.{kind}):
    def __init__(self):
        pass
thing = Forgetful()
for name in dir(thing):
    try:
        getattr(thing, name)
    except AttributeError:
        pass
repr(thing)
print("ok")
""")


def test_constructors_may_run_twice() -> None:
    """A second __init__ is a fresh start, as threading's is, and no lock is lost by it."""
    semaphore, event, barrier, condition = fastlock.Semaphore(3), fastlock.Event(), fastlock.Barrier(2), fastlock.Condition()
    semaphore.__init__(1)  # type: ignore[misc]
    barrier.__init__(1)  # type: ignore[misc]
    condition.__init__(fastlock.Lock())  # type: ignore[misc]
    event.__init__()  # type: ignore[misc]
    assert semaphore.acquire(False) and not semaphore.acquire(False)
    assert barrier.wait() == 0
    with condition:
        assert condition.wait(0) is False
