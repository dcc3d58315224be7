"""Lock: who gets it, in what order, within what time; at every level, since no level may change what a lock does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import fastlock
from workers import Crew, is_quiet


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


def test_is_held_from_acquire_to_release() -> None:
    """A lock is locked from its acquisition to its release, and another acquisition fails meanwhile, the holder's too."""
    lock = fastlock.Lock()
    assert not lock.locked()
    assert lock.acquire() is True
    assert lock.locked() and lock.acquire(blocking=False) is False
    assert lock.release() is None
    assert not lock.locked() and lock.acquire(False) is True


def test_with_releases_after_an_exception() -> None:
    """A with block holds the lock, gives True, lets exceptions through and releases behind them."""
    lock = fastlock.Lock()
    with pytest.raises(KeyError), lock as entered:
        assert entered is True and lock.locked()
        raise KeyError
    assert not lock.locked()


def test_mixed_styles_of_taking_and_releasing() -> None:
    """What acquire() took __exit__ releases, and what __enter__ took release() releases."""
    lock = fastlock.Lock()
    lock.acquire()
    lock.__exit__(None, None, None)
    assert lock.__enter__() is True
    lock.release()
    lock.acquire()
    lock.__exit__()
    assert not lock.locked()


def test_old_names() -> None:
    """The names acquire_lock, release_lock and locked_lock of _thread's locks do the same."""
    lock = fastlock.Lock()
    assert lock.acquire_lock() is True and lock.locked_lock()
    assert lock.acquire_lock(False) is False
    lock.release_lock()
    assert not lock.locked()


@pytest.mark.parametrize("aged", [False, True])
def test_release_hands_the_lock_to_a_waiter(crew: Crew, aged: bool) -> None:
    """A waiter gets the lock that is released, whether it has just come or waited long enough to be handed it."""
    lock = fastlock.Lock()
    lock.acquire()
    crew[0].block(lock.acquire, aged=aged)
    lock.release()
    assert crew[0].result() is True
    assert lock.locked()
    crew[0].do(lock.release)
    assert not lock.locked()


def test_aged_waiters_are_served_in_order(crew: Crew) -> None:
    """Waiters that have waited long enough get the lock oldest first."""
    lock = fastlock.Lock()
    served: list[int] = []

    def take(number: int) -> None:
        with lock:
            served.append(number)

    lock.acquire()
    for number in range(6):
        crew[number].block(take, number, aged=True)
    lock.release()
    for number in range(6):
        crew[number].result()
    assert served == list(range(6))


def test_a_handed_over_lock_cannot_be_barged(crew: Crew) -> None:
    """Between the release and the waiter's waking the lock is the waiter's: nobody else can take it."""
    lock = fastlock.Lock()
    lock.acquire()
    crew[0].block(lock.acquire, aged=True)
    lock.release()
    assert lock.locked()
    assert lock.acquire(False) is False
    assert crew[0].result() is True
    crew[0].do(lock.release)


def test_releasing_twice_takes_the_lock_from_whom_it_was_handed(crew: Crew) -> None:
    """A second release while the lock is on its way frees it, as threading's would, and the waiter still gets it."""
    lock = fastlock.Lock()
    lock.acquire()
    crew[0].block(lock.acquire, aged=True)
    lock.release()
    lock.release()
    assert crew[0].result() is True
    assert lock.locked()
    lock.release()
    assert not lock.locked()


def test_any_thread_may_release(crew: Crew) -> None:
    """A lock that one thread took another may release, also while a third one waits."""
    lock = fastlock.Lock()
    crew[0].do(lock.acquire)
    crew[1].block(lock.acquire)
    lock.release()
    assert crew[1].result() is True
    crew[0].do(lock.release)
    assert not lock.locked()


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9, 0.03])
def test_a_timed_acquire_ends_in_time(crew: Crew, timeout: float) -> None:
    """A timed acquire of a lock that stays held returns False, not before its time and without a trace."""
    lock = fastlock.Lock()
    crew[0].do(lock.acquire)
    begin = time.monotonic()
    assert lock.acquire(timeout=timeout) is False
    assert time.monotonic() - begin >= timeout
    crew[0].do(lock.release)
    assert is_quiet() and lock.acquire(False)


def test_a_timed_acquire_succeeds_in_time(crew: Crew) -> None:
    """A timed acquire gets the lock that is released before its time is over, however long that time is."""
    lock = fastlock.Lock()
    for timeout in (20, 1e8, 2.5e9, threading.TIMEOUT_MAX):
        lock.acquire()
        crew[0].block(lambda limit: lock.acquire(timeout=limit), timeout)
        lock.release()
        assert crew[0].result() is True
        lock.release()


def test_a_waiter_that_gave_up_gets_nothing(crew: Crew) -> None:
    """After a timed-out waiter the lock goes to the next one, and is free at the end."""
    lock = fastlock.Lock()
    lock.acquire()
    crew[0].start(lambda: lock.acquire(timeout=0.01))
    crew[1].block(lock.acquire, aged=True)
    assert crew[0].result() is False
    lock.release()
    assert crew[1].result() is True
    lock.release()
    assert not lock.locked()


def test_own_limit_raises(crew: Crew) -> None:
    """A lock made with timeout= raises LockTimeout, which names owner and lock, where a caller sets no limit of its own."""
    shelf_lock = fastlock.Lock(timeout=0.01)
    crew[0].do(shelf_lock.acquire)
    with pytest.raises(fastlock.LockTimeout, match=r"shelf_lock.*worker-0") as caught, shelf_lock:
        pytest.fail("entered a held lock")
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(fastlock.LockTimeout):
        shelf_lock.acquire()
    assert shelf_lock.acquire(timeout=0.001) is False
    crew[0].do(shelf_lock.release)
    assert shelf_lock.acquire() is True
    shelf_lock.release()


def test_limit_of_the_process_spares_signal_locks(crew: Crew) -> None:
    """acquire_timeout is the limit of every lock that has none, save those that somebody else releases."""
    plain, signal, generous = fastlock.Lock(), fastlock.Lock(signal=True), fastlock.Lock(timeout=20)
    for lock in (plain, signal, generous):
        crew[0].do(lock.acquire)
    fastlock.configure(acquire_timeout=0.01)
    try:
        with pytest.raises(fastlock.LockTimeout):
            plain.acquire()
        crew[1].block(signal.acquire, aged=True)
        crew[2].block(generous.acquire, aged=True)
        with pytest.raises(fastlock.LockTimeout):
            plain.acquire()
    finally:
        fastlock.configure(acquire_timeout=None)
    for lock in (plain, signal, generous):
        lock.release()
    assert crew[1].result() is True and crew[2].result() is True


def test_many_threads_count_right(crew: Crew) -> None:
    """Increments under the lock are not lost between threads that also try and time out."""
    lock = fastlock.Lock()
    total = [0]

    def count() -> int:
        done = 0
        for turn in range(300):
            got = lock.acquire(turn % 3 != 0) if turn % 5 else lock.acquire(timeout=0.01)
            if got:
                before = total[0]
                if turn % 50 == 0:
                    time.sleep(0)  # let others in: what the lock is for
                total[0] = before + 1
                done += 1
                lock.release()
        return done

    for number in range(8):
        crew[number].start(count)
    assert sum(crew[number].result() for number in range(8)) == total[0] > 0
    assert not lock.locked()
