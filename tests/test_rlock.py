"""RLock: depth, ownership, and what Condition does with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastlock
from workers import Crew


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


def can_take(crew: Crew, lock: fastlock.RLock) -> bool:
    """Tell whether another thread could take the lock."""
    got = crew[9].do(lambda: lock.acquire(blocking=False))
    if got:
        crew[9].do(lock.release)
    return bool(got)


def test_is_free_after_as_many_releases(crew: Crew) -> None:
    """The lock is others' only when it has been released as often as taken, by whatever style."""
    lock = fastlock.RLock()
    with lock:
        assert lock.acquire() is True
        assert lock.acquire(blocking=False) is True
        assert lock.acquire(timeout=5) is True
        assert lock._recursion_count() == 4
        for _ in range(3):
            lock.release()
            assert lock._is_owned() and not can_take(crew, lock)
    assert can_take(crew, lock)
    assert not lock._is_owned() and lock._recursion_count() == 0


def test_only_the_owner_releases(crew: Crew) -> None:
    """A release by somebody else, or of a free lock, is a RuntimeError that changes nothing."""
    lock = fastlock.RLock()
    crew[0].do(lock.acquire)
    for release in (lock.release, lambda: lock.__exit__(None, None, None)):
        with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
            release()
    assert not can_take(crew, lock) and crew[0].do(lock._is_owned)
    crew[0].do(lock.release)
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        lock.release()
    assert can_take(crew, lock)


@pytest.mark.parametrize("aged", [False, True])
def test_a_waiter_gets_it_at_depth_one(crew: Crew, aged: bool) -> None:
    """Whoever waited starts at depth one, however deep the owner before was."""
    lock = fastlock.RLock()
    lock.acquire()
    lock.acquire()
    crew[0].block(lock.acquire, aged=aged)
    lock.release()
    assert crew[0].waits() >= 0
    lock.release()
    assert crew[0].result() is True
    assert crew[0].do(lock._recursion_count) == 1
    crew[0].do(lock.release)
    assert can_take(crew, lock)


def test_is_not_the_waiters_before_it_wakes(crew: Crew) -> None:
    """The former owner does not own what it has released, even while nobody has woken to take it."""
    lock = fastlock.RLock()
    lock.acquire()
    crew[0].block(lock.acquire, aged=True)
    lock.release()
    assert not lock._is_owned()
    with pytest.raises(RuntimeError):
        lock.release()
    assert crew[0].result() is True
    crew[0].do(lock.release)


def test_release_save_and_acquire_restore(crew: Crew) -> None:
    """_release_save frees the lock from any depth, and _acquire_restore brings the depth back."""
    lock = fastlock.RLock()
    for _ in range(3):
        lock.acquire()
    state = lock._release_save()
    assert not lock._is_owned() and can_take(crew, lock)
    lock._acquire_restore(state)
    assert lock._recursion_count() == 3
    for _ in range(3):
        lock.release()
    assert can_take(crew, lock)
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        lock._release_save()


def test_acquire_restore_waits(crew: Crew) -> None:
    """_acquire_restore waits for the owner of the day and then has the whole depth."""
    lock = fastlock.RLock()
    lock.acquire()
    lock.acquire()
    state = lock._release_save()
    crew[0].do(lock.acquire)
    crew[1].block(lock._acquire_restore, state)
    crew[0].do(lock.release)
    crew[1].result()
    assert crew[1].do(lock._recursion_count) == 2


def test_repr_tells_owner_and_depth(crew: Crew) -> None:
    """repr has the owner's identity and the depth, and zeros where the lock is free."""
    lock = fastlock.RLock()
    assert "<unlocked _thread.RLock object owner=0 count=0 at 0x" in repr(lock)
    crew[0].do(lock.acquire)
    crew[0].do(lock.acquire)
    assert f"<locked _thread.RLock object owner={crew[0].thread.ident} count=2 at 0x" in repr(lock)


def test_own_limit_counts_for_others_only(crew: Crew) -> None:
    """The lock's own limit raises in another thread and never in the owner, which need not wait."""
    lock = fastlock.RLock(timeout=0.01)
    crew[0].do(lock.acquire)
    with pytest.raises(fastlock.LockTimeout), lock:
        pytest.fail("entered a held lock")
    assert crew[0].do(lock.acquire) is True


def test_subclass_with_arguments() -> None:
    """A subclass may take any arguments and add attributes, and its lock is a lock."""

    class Named(fastlock.RLock):
        def __init__(self, label: str, *, flavour: int = 0) -> None:
            self.label = label

    lock = Named("x", flavour=3)
    with lock, lock:
        assert lock.label == "x" and lock._recursion_count() == 2
    assert not lock._is_owned()
