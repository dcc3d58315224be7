"""acquire_all: many locks in any order of the arguments, all or none of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import fastlock
from workers import Crew, is_quiet


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Threads by number."""
    with Crew() as workers:
        yield workers


def test_holds_all_and_releases_all() -> None:
    """Inside, all the locks are held, whatever their kinds; behind an exception none is."""
    rw = fastlock.RWLock()
    locks = (fastlock.Lock(), fastlock.RLock(), threading.Lock(), fastlock.Semaphore(1), rw.write())
    with pytest.raises(KeyError), fastlock.acquire_all(*locks) as held:
        assert held == locks
        assert locks[0].locked() and locks[1]._is_owned() and locks[2].locked() and locks[3]._value == 0 and rw.locked()
        raise KeyError
    assert is_quiet() and not locks[2].locked() and locks[3]._value == 1


def test_nothing_to_hold() -> None:
    """Without locks it is a context manager that does nothing."""
    with fastlock.acquire_all() as held:
        assert held == ()


def test_refuses_bad_arguments() -> None:
    """The same lock twice is a ValueError, what is no lock a TypeError."""
    lock = fastlock.Lock()
    with pytest.raises(ValueError, match="named twice"):
        fastlock.acquire_all(lock, fastlock.Lock(), lock)
    with pytest.raises(TypeError, match="not int"):
        fastlock.acquire_all(lock, 3)


def test_holds_none_while_it_waits(crew: Crew) -> None:
    """While one lock cannot be had the others are free for everybody, and it then gets all."""
    first, second, third = (fastlock.Lock() for _ in range(3))

    def hold() -> bool:
        with fastlock.acquire_all(first, second, third):
            return first.locked() and second.locked() and third.locked()

    third.acquire()
    crew[0].block(hold)
    assert first.acquire(False) and second.acquire(False)
    first.release()
    second.release()
    third.release()
    assert crew[0].result() is True
    assert not (first.locked() or second.locked() or third.locked())


def test_an_error_leaves_none_held(crew: Crew) -> None:
    """An exception out of one acquisition releases what was taken before it."""
    first, limited = fastlock.Lock(), fastlock.Lock(timeout=0.01)

    class Failing:
        release = first.release

        def acquire(self, blocking: bool = True) -> bool:
            raise KeyError

    with pytest.raises(KeyError), fastlock.acquire_all(first, Failing()):
        pytest.fail("entered without its locks")
    assert not first.locked()
    crew[0].do(limited.acquire)
    with pytest.raises(fastlock.LockTimeout), fastlock.acquire_all(first, limited):
        pytest.fail("entered without its locks")
    assert not first.locked()
    crew[0].do(limited.release)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_failing_release_leaves_none_held(lost: int) -> None:
    """Where the body has released one of the locks itself, the end raises and still releases the others."""
    locks = [fastlock.Lock() for _ in range(3)]
    with pytest.raises(RuntimeError, match="release unlocked lock"), fastlock.acquire_all(*locks):
        locks[lost].release()
    assert [lock.locked() for lock in locks] == [False] * 3


def test_any_order_is_safe(crew: Crew) -> None:
    """Threads that name the same locks in every order never deadlock and never lose a count."""
    locks = [fastlock.Lock() for _ in range(4)]
    total = [0]

    def work(number: int) -> None:
        order = locks[number % 4 :] + locks[: number % 4]
        for turn in range(100):
            with fastlock.acquire_all(*(order if number % 2 else reversed(order))):
                before = total[0]
                if turn % 20 == 0:
                    time.sleep(0)  # let others in: what the locks are for
                total[0] = before + 1

    for number in range(6):
        crew[number].start(work, number)
    for number in range(6):
        crew[number].result()
    assert total == [600] and is_quiet()


def test_two_sides_of_one_lock_are_the_same_lock() -> None:
    """Both sides of an RWLock, or a lock and its condition, would wait for each other without end: they are refused."""
    shared = fastlock.RWLock()
    with pytest.raises(ValueError, match="named twice"):
        fastlock.acquire_all(shared.read(), shared.write())
    lock = fastlock.Lock()
    with pytest.raises(ValueError, match="named twice"):
        fastlock.acquire_all(lock, fastlock.Condition(lock))


def test_locks_of_tasks_are_refused() -> None:
    """Who took the wrong one of the two is told of the right one."""
    with pytest.raises(TypeError, match="for asyncio's there is fastlock.aio.acquire_all"):
        fastlock.acquire_all(fastlock.aio.Lock(), fastlock.aio.Lock())
