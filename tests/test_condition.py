"""Condition: who is notified, in what order; the lock comes back as deep as it was, whatever ends the wait."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlock
from workers import Crew, is_quiet, wait_until


class Homemade:
    """A lock of the user's: nothing but acquire and release, on a raw lock."""

    def __init__(self) -> None:
        self._raw = _thread.allocate_lock()
        self.acquire = self._raw.acquire
        self.release = self._raw.release

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


LOCKS: list[Callable[[], Any]] = [fastlock.RLock, fastlock.Lock, threading.Lock, threading.RLock, Homemade]


@pytest.fixture(params=LOCKS, ids=["RLock", "Lock", "threading.Lock", "threading.RLock", "homemade"])
def condition(request: pytest.FixtureRequest) -> fastlock.Condition:
    """Return a condition on each kind of lock."""
    return fastlock.Condition(request.param())


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Threads by number."""
    with Crew() as workers:
        yield workers


def wait_inside(condition: fastlock.Condition, timeout: float | None = None) -> bool:
    """Wait for a notification under the lock."""
    with condition:
        return condition.wait(timeout)


def notify(condition: fastlock.Condition, count: int | None = 1) -> None:
    """Notify `count` waiters under the lock; all of them for None."""
    with condition:
        condition.notify_all() if count is None else condition.notify(count)


def test_notify_wakes_the_oldest_first(condition: fastlock.Condition, crew: Crew) -> None:
    """Each notification ends the oldest wait, and only that."""
    for number in range(4):
        crew[number].block(wait_inside, condition)
    notify(condition)
    assert crew[0].result() is True
    notify(condition, 2)
    assert crew[1].result() is True and crew[2].result() is True
    assert crew[3].waits() >= 0 and len(condition._waiters) == 1
    notify(condition, 10)
    assert crew[3].result() is True


def test_notify_all_wakes_all(condition: fastlock.Condition, crew: Crew) -> None:
    """notify_all ends every wait that has begun."""
    for number in range(5):
        crew[number].block(wait_inside, condition)
    notify(condition, None)
    assert [crew[number].result() for number in range(5)] == [True] * 5


def test_a_notification_is_not_kept(condition: fastlock.Condition) -> None:
    """A notification without a waiter is lost: the next wait times out, and no trace is left."""
    notify(condition)
    notify(condition, None)
    begin = time.monotonic()
    assert wait_inside(condition, 0.02) is False
    assert time.monotonic() - begin >= 0.02
    assert is_quiet() and not condition._waiters


def test_a_timed_out_waiter_uses_up_no_notification(condition: fastlock.Condition, crew: Crew) -> None:
    """A notification after a timeout goes to the next waiter."""
    crew[0].start(wait_inside, condition, 0.01)
    crew[1].block(wait_inside, condition)
    assert crew[0].result() is False
    notify(condition)
    assert crew[1].result() is True


def test_the_lock_is_released_while_waiting_and_held_after(condition: fastlock.Condition, crew: Crew) -> None:
    """The lock is others' during the wait and the waiter's again before wait() returns."""
    held_at_return: list[bool] = []

    def wait() -> None:
        with condition:
            condition.wait()
            held_at_return.append(condition._is_owned())

    crew[0].block(wait)
    with condition:
        condition.notify()
        assert crew[0].busy
    crew[0].result()
    assert held_at_return == [True]
    assert condition.acquire(timeout=5) if not isinstance(condition._lock, Homemade) else condition.acquire()
    condition.release()


def test_depth_comes_back(crew: Crew) -> None:
    """A wait from depth three of an RLock frees it entirely and comes back to depth three, timed out or notified."""
    condition = fastlock.Condition()

    def wait(timeout: float | None) -> tuple[bool, int]:
        with condition, condition, condition:
            got = condition.wait(timeout)
            return got, condition._lock._recursion_count()

    crew[0].block(wait, None)
    notify(condition)
    assert crew[0].result() == (True, 3)
    assert crew[0].do(wait, 0.001) == (False, 3)
    assert not condition._is_owned()


@pytest.mark.parametrize("timeout", [0, -1, -5.5, 0.001])
def test_short_waits(condition: fastlock.Condition, timeout: float) -> None:
    """Without a positive timeout wait() only looks; it holds the lock again at its end."""
    with condition:
        assert condition.wait(timeout) is False
        assert condition._is_owned()


def test_needs_the_lock(condition: fastlock.Condition) -> None:
    """wait and notify without the lock are RuntimeErrors that leave no trace."""
    for method, text in (("wait", "wait"), ("notify", "notify"), ("notify_all", "notify")):
        with pytest.raises(RuntimeError, match=f"cannot {text} on un-acquired lock"):
            getattr(condition, method)()
    assert is_quiet()


def test_wait_for_looks_again_at_each_notification(condition: fastlock.Condition, crew: Crew) -> None:
    """wait_for sleeps on until the predicate is true, and returns its value."""
    box: list[str] = []

    def wait() -> list[str]:
        with condition:
            return condition.wait_for(lambda: box)

    crew[0].block(wait)
    notify(condition)
    wait_until(lambda: crew[0].waits() >= 0)
    assert crew[0].busy
    box.append("there")
    notify(condition)
    assert crew[0].result() == ["there"]


def test_wait_for_gives_up() -> None:
    """wait_for returns the predicate's last value when its time is over, and a zero timeout still lets others in once."""
    condition = fastlock.Condition()
    values = iter([0, "", False, None] + [None] * 10_000)
    with condition:
        begin = time.monotonic()
        assert not condition.wait_for(lambda: next(values), 0.02)
        assert time.monotonic() - begin >= 0.02


@pytest.mark.parametrize("module", [threading, fastlock])
@pytest.mark.parametrize("timeout", [0, -3, 0.0])
def test_wait_for_without_time_asks_twice(module: Any, timeout: float) -> None:
    """As threading's, wait_for without time asks, releases the lock once, and asks again."""
    condition = module.Condition()
    asked: list[int] = []
    with condition:
        assert condition.wait_for(lambda: asked.append(1), timeout) is None
    assert len(asked) == 2


@pytest.mark.parametrize("module", [threading, fastlock])
def test_wait_for_reads_its_timeout_only_to_wait(module: Any) -> None:
    """As threading's, wait_for does not look at the timeout of a predicate that is true already."""
    condition = module.Condition()
    with condition:
        assert condition.wait_for(lambda: 7, "soon") == 7
        with pytest.raises(TypeError):
            condition.wait_for(lambda: 0, "soon")


def test_an_exception_of_the_predicate_passes(crew: Crew) -> None:
    """An exception of the predicate ends wait_for with the lock held."""
    condition = fastlock.Condition()

    def fail() -> bool:
        raise KeyError

    with condition:
        with pytest.raises(KeyError):
            condition.wait_for(fail)
        assert condition._is_owned()


class Accounted:
    """A lock of the user's whose release() takes a second lock of fastlock's after the first is free."""

    def __init__(self) -> None:
        self.inner, self.books = fastlock.Lock(), fastlock.Lock()

    def acquire(self, *args: Any) -> bool:
        return self.inner.acquire(*args)

    def release(self) -> None:
        self.inner.release()
        with self.books:
            pass

    def _is_owned(self) -> bool:
        return self.inner.locked()


@pytest.mark.parametrize("level", ["off", "detect"])
def test_a_notification_during_release_is_not_lost(crew: Crew, level: str) -> None:
    """A waiter whose lock's own release() has to wait for something sees a notification that comes meanwhile."""
    lock = Accounted()
    condition = fastlock.Condition(lock)

    def wait() -> bool:
        condition.acquire()
        return condition.wait()

    with fastlock.at_level(level):
        lock.books.acquire()
        crew[0].block(wait, aged=True)
        lock.inner.acquire()
        condition.notify()
        seen = crew[0].waits()
        wait_until(lambda: crew[0].waits() > seen + 0.01)  # the wake has been looked at and did not help
        lock.books.release()
        lock.inner.release()
        assert crew[0].result(5) is True


def test_ping_pong(crew: Crew) -> None:
    """Two threads hand a ball to and fro a thousand times without losing a wake."""
    condition = fastlock.Condition()
    turn = [0]

    def play(me: int) -> None:
        for _ in range(500):
            with condition:
                condition.wait_for(lambda: turn[0] == me)
                turn[0] = 1 - me
                condition.notify()

    crew[0].start(play, 0)
    crew[1].start(play, 1)
    crew[0].result()
    crew[1].result()
    assert turn == [0]
