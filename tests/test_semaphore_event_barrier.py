"""Semaphore, BoundedSemaphore, Event and Barrier: permits, flags and generations, none lost and none made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import fastlock
from workers import Crew, is_quiet, wait_until

SEMAPHORES = [fastlock.Semaphore, fastlock.BoundedSemaphore]


@pytest.fixture(params=["off", "detect"], autouse=True)
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run every test of the file at each level."""
    with fastlock.at_level(request.param):
        yield


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Threads by number."""
    with Crew() as workers:
        yield workers


# ---- semaphores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_as_many_permits_as_given(kind: Any) -> None:
    """Exactly `value` acquisitions succeed without a release, and each release allows one more."""
    semaphore = kind(3)
    assert [semaphore.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]
    semaphore.release()
    assert semaphore.acquire(timeout=1) and not semaphore.acquire(timeout=0.001)
    semaphore.release(3)
    assert semaphore._value == 3


@pytest.mark.parametrize("aged", [False, True])
@pytest.mark.parametrize("kind", SEMAPHORES)
def test_release_serves_waiters(crew: Crew, kind: Any, aged: bool) -> None:
    """One release(n) serves n waiters, oldest first where they have waited, and keeps the rest of the permits."""
    semaphore = kind(4)
    for _ in range(4):
        semaphore.acquire()
    for number in range(3):
        crew[number].block(semaphore.acquire, aged=aged)
    semaphore.release(2)
    assert crew[0].result() is True and crew[1].result() is True
    assert crew[2].waits() >= 0
    semaphore.release(2)
    assert crew[2].result() is True
    assert semaphore._value == 1


def test_a_huge_release_reaches_waiters(crew: Crew) -> None:
    """A release of more permits than 32 bits hold serves who waits and loses none."""
    semaphore = fastlock.Semaphore(0)
    crew[0].block(semaphore.acquire)
    semaphore.release(2**32)
    assert crew[0].result(5) is True
    assert semaphore._value == 2**32 - 1


def test_timed_acquire(crew: Crew) -> None:
    """A timed acquire returns False not before its time, leaves no trace, and a later permit is not lost."""
    semaphore = fastlock.Semaphore(0)
    begin = time.monotonic()
    assert semaphore.acquire(timeout=0.02) is False
    assert time.monotonic() - begin >= 0.02 and is_quiet()
    crew[0].block(lambda: semaphore.acquire(timeout=20))
    semaphore.release()
    assert crew[0].result() is True and semaphore._value == 0


def test_bounded_refuses_too_many() -> None:
    """BoundedSemaphore refuses a release beyond its initial value and stays as it was."""
    semaphore = fastlock.BoundedSemaphore(2)
    semaphore.acquire()
    for count in (2, 5):
        with pytest.raises(ValueError, match="Semaphore released too many times"):
            semaphore.release(count)
    semaphore.release()
    with pytest.raises(ValueError, match="Semaphore released too many times"):
        semaphore.release()
    assert semaphore._value == 2


def test_with_takes_one_permit() -> None:
    """A with block holds one permit, also behind an exception."""
    semaphore = fastlock.Semaphore(1)
    with pytest.raises(KeyError), semaphore as entered:
        assert entered is True and semaphore._value == 0
        raise KeyError
    assert semaphore._value == 1


@pytest.mark.parametrize("module", [threading, fastlock])
def test_with_and_an_overridden_acquire(module: Any) -> None:
    """As with threading's, a subclass may enter the base class from its own acquire."""

    class Counted(module.Semaphore):  # type: ignore[misc, name-defined]
        taken = 0

        def acquire(self, *args: Any) -> bool:
            self.taken += 1
            return super().__enter__(*args)

    semaphore = Counted(1)
    assert semaphore.acquire() and semaphore.taken == 1 and semaphore._value == 0


def test_permits_of_other_threads(crew: Crew) -> None:
    """A permit may be given back by another thread, and then nobody holds it any more."""
    semaphore = fastlock.Semaphore(1)
    crew[0].do(semaphore.acquire)
    crew[1].do(semaphore.release)
    assert is_quiet()
    assert semaphore.acquire(False)


def test_no_more_inside_than_permits(crew: Crew) -> None:
    """Never more threads are between acquire and release than there are permits."""
    semaphore, guard = fastlock.BoundedSemaphore(3), threading.Lock()
    inside, most = [0], [0]

    def visit() -> None:
        for turn in range(100):
            if not semaphore.acquire(timeout=5 if turn % 2 else None):
                continue
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0)  # let others in: what the semaphore is for
            with guard:
                inside[0] -= 1
            semaphore.release()

    for number in range(8):
        crew[number].start(visit)
    for number in range(8):
        crew[number].result()
    assert most[0] <= 3 and semaphore._value == 3


# ---- events ---------------------------------------------------------------------------------------


def test_set_wakes_all_and_stays(crew: Crew) -> None:
    """set() ends every wait, later waits return at once, and clear() makes them wait again."""
    event = fastlock.Event()
    assert not event.is_set() and event.wait(0.001) is False
    for number in range(4):
        crew[number].block(event.wait)
    event.set()
    assert [crew[number].result() for number in range(4)] == [True] * 4
    assert event.is_set() and event.wait() is True and event.wait(0) is True
    event.clear()
    assert event.wait(timeout=0.001) is False and is_quiet()


def test_who_waited_at_set_is_let_go_even_if_cleared(crew: Crew) -> None:
    """A set followed by a clear still ends the waits that were there."""
    event = fastlock.Event()
    for number in range(3):
        crew[number].block(event.wait)
    event.set()
    event.clear()
    assert [crew[number].result() for number in range(3)] == [True] * 3
    assert event.wait(0) is False


# ---- barriers -------------------------------------------------------------------------------------


def test_barrier_gives_each_a_number(crew: Crew) -> None:
    """All parties pass together, each with a number of its own, round after round, and the action runs once a round."""
    rounds: list[int] = []
    barrier = fastlock.Barrier(3, action=lambda: rounds.append(barrier.n_waiting))
    for _ in range(20):
        crew[0].start(barrier.wait)
        crew[1].start(barrier.wait)
        mine = barrier.wait()
        assert {mine, crew[0].result(), crew[1].result()} == {0, 1, 2}
    assert len(rounds) == 20 and barrier.n_waiting == 0 and not barrier.broken


def test_barrier_timeout_breaks_it_for_all(crew: Crew) -> None:
    """A party that gives up breaks the barrier for those who wait and who come, until reset()."""
    barrier = fastlock.Barrier(3)
    crew[0].block(barrier.wait)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    with pytest.raises(threading.BrokenBarrierError):
        crew[0].result()
    assert barrier.broken and barrier.n_waiting == 0
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken
    crew[0].start(barrier.wait)
    crew[1].start(barrier.wait)
    assert {barrier.wait(5), crew[0].result(), crew[1].result()} == {0, 1, 2}


@pytest.mark.parametrize(("method", "broken"), [("abort", True), ("reset", False)])
def test_abort_and_reset_let_waiters_go(crew: Crew, method: str, broken: bool) -> None:
    """abort() and reset() end the waits with BrokenBarrierError; only abort() leaves the barrier broken."""
    barrier = fastlock.Barrier(4)
    for number in range(2):
        crew[number].block(barrier.wait)
    wait_until(lambda: barrier.n_waiting == 2)
    getattr(barrier, method)()
    for number in range(2):
        with pytest.raises(threading.BrokenBarrierError):
            crew[number].result()
    assert barrier.broken is broken and barrier.n_waiting == 0


def test_a_failing_action_breaks_the_barrier(crew: Crew) -> None:
    """An exception of the action reaches the last party, and the others get BrokenBarrierError."""

    def fail() -> None:
        raise KeyError

    barrier = fastlock.Barrier(2, fail)
    crew[0].block(barrier.wait)
    with pytest.raises(KeyError):
        barrier.wait()
    with pytest.raises(threading.BrokenBarrierError):
        crew[0].result()
    assert barrier.broken


def test_barrier_default_timeout() -> None:
    """The barrier's own timeout holds where wait() has none."""
    barrier = fastlock.Barrier(2, timeout=0.01)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
