"""RWLock: many readers or one writer, preference, recursion, timeouts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlock
from workers import Crew, is_quiet


@pytest.fixture(params=["off", "detect"], autouse=True)
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run every test of the file at each level."""
    with fastlock.at_level(request.param):
        yield


@pytest.fixture(params=["writer", "reader"])
def rw(request: pytest.FixtureRequest) -> fastlock.RWLock:
    """Return a lock of each preference."""
    return fastlock.RWLock(prefer=request.param)


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Threads by number."""
    with Crew() as workers:
        yield workers


def test_readers_share_and_writers_exclude(rw: fastlock.RWLock, crew: Crew) -> None:
    """Reads go together; a write excludes reads and writes, and a read excludes writes."""
    with rw.read():
        assert crew[0].do(rw.acquire_read, False) is True
        assert rw.readers == 2 and rw.locked()
        assert crew[1].do(rw.acquire_write, False) is False
        crew[0].do(rw.release_read)
    with rw.write():
        assert crew[0].do(rw.acquire_read, False) is False
        assert crew[0].do(rw.acquire_write, False) is False
    assert not rw.locked() and rw.readers == 0
    assert crew[0].do(rw.acquire_write, False) is True
    crew[0].do(rw.release_write)


def test_guards_give_the_lock_and_release_behind_exceptions(rw: fastlock.RWLock) -> None:
    """read() and write() enter as the lock itself and release it behind an exception."""
    for guard in (rw.read(), rw.write()):
        with pytest.raises(KeyError), guard as entered:
            assert entered is rw and rw.locked()
            raise KeyError
        assert not rw.locked()


def test_guards_are_locks(rw: fastlock.RWLock) -> None:
    """read() and write() have acquire and release as locks have."""
    reader, writer = rw.read(), rw.write()
    assert reader.acquire() and reader.acquire(blocking=False) and not writer.acquire(False)
    reader.release()
    reader.release()
    assert writer.acquire(timeout=1) and not reader.acquire(timeout=0.001)
    writer.release()
    assert not rw.locked()


@pytest.mark.parametrize("aged", [False, True])
def test_a_release_lets_all_readers_in(rw: fastlock.RWLock, crew: Crew, aged: bool) -> None:
    """When a writer leaves, every waiting reader comes in, and they are inside together."""
    rw.acquire_write()
    for number in range(4):
        crew[number].block(rw.acquire_read, aged=aged)
    rw.release_write()
    assert [crew[number].result() for number in range(4)] == [True] * 4
    assert rw.readers == 4
    for number in range(4):
        crew[number].do(rw.release_read)
    assert is_quiet()


@pytest.mark.parametrize("aged", [False, True])
def test_the_last_reader_lets_a_writer_in(rw: fastlock.RWLock, crew: Crew, aged: bool) -> None:
    """A waiting writer comes in when the last reader leaves, not before."""
    rw.acquire_read()
    crew[1].do(rw.acquire_read)
    crew[0].block(rw.acquire_write, aged=aged)
    rw.release_read()
    assert crew[0].waits() >= 0
    crew[1].do(rw.release_read)
    assert crew[0].result() is True
    crew[0].do(rw.release_write)


def test_writer_preference_holds_new_readers_back(crew: Crew) -> None:
    """With writer preference a new reader queues behind a waiting writer, and comes in after it."""
    rw = fastlock.RWLock()
    rw.acquire_read()
    crew[0].block(rw.acquire_write, aged=True)
    assert crew[1].do(rw.acquire_read, False) is False
    crew[1].block(rw.acquire_read, aged=True)
    rw.release_read()
    assert crew[0].result() is True
    assert crew[1].waits() >= 0
    crew[0].do(rw.release_write)
    assert crew[1].result() is True
    crew[1].do(rw.release_read)


def test_reader_preference_lets_readers_pass(crew: Crew) -> None:
    """With reader preference a new reader passes a waiting writer, which comes in after all of them."""
    rw = fastlock.RWLock(prefer="reader")
    rw.acquire_read()
    crew[0].block(rw.acquire_write, aged=True)
    assert crew[1].do(rw.acquire_read, False) is True
    rw.release_read()
    assert crew[0].waits() >= 0
    crew[1].do(rw.release_read)
    assert crew[0].result() is True
    crew[0].do(rw.release_write)


def test_a_writer_that_gives_up_lets_readers_in(crew: Crew) -> None:
    """Readers that queue behind a writer come in when its time is over."""
    rw = fastlock.RWLock()
    rw.acquire_read()
    crew[0].start(lambda: rw.acquire_write(timeout=0.05))
    crew[1].start(rw.acquire_read)
    assert crew[0].result() is False
    assert crew[1].result() is True
    crew[1].do(rw.release_read)
    rw.release_read()
    assert is_quiet()


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_timeouts(rw: fastlock.RWLock, crew: Crew, timeout: float) -> None:
    """Timed acquisitions return False not before their time and leave no trace."""
    calls: list[tuple[Callable[..., Any], Callable[[], Any], Callable[..., Any]]] = [
        (rw.acquire_write, rw.release_write, rw.acquire_read),
        (rw.acquire_write, rw.release_write, rw.acquire_write),
        (rw.acquire_read, rw.release_read, rw.acquire_write),
    ]
    for take, give, wanted in calls:
        crew[0].do(take)
        begin = time.monotonic()
        assert wanted(timeout=timeout) is False
        assert time.monotonic() - begin >= timeout
        crew[0].do(give)
        assert is_quiet() and not rw.locked()


def test_reads_nest(rw: fastlock.RWLock, crew: Crew) -> None:
    """A thread may read inside its read, and the lock is free after as many releases."""
    with rw.read(), rw.read():
        assert rw.readers == 2
        rw.acquire_read()
        rw.release_read()
    assert crew[0].do(rw.acquire_write, False) is True
    crew[0].do(rw.release_write)


def test_only_holders_release(rw: fastlock.RWLock, crew: Crew) -> None:
    """Releasing what one does not hold is a RuntimeError that changes nothing."""
    crew[0].do(rw.acquire_read)
    for release in (rw.release_read, rw.release_write, lambda: crew[0].do(rw.release_write)):
        with pytest.raises(RuntimeError, match="cannot release un-acquired (read|write) lock"):
            release()
    assert rw.readers == 1
    crew[0].do(rw.release_read)
    crew[0].do(rw.acquire_write)
    for release in (rw.release_read, rw.release_write, lambda: crew[0].do(rw.release_read)):
        with pytest.raises(RuntimeError, match="cannot release un-acquired (read|write) lock"):
            release()
    crew[0].do(rw.release_write)
    assert not rw.locked()


def test_own_limit_in_both_modes(crew: Crew) -> None:
    """timeout= raises LockTimeout for reads and writes, and names the writer."""
    rw = fastlock.RWLock(timeout=0.01, name="catalogue")
    crew[0].do(rw.acquire_write)
    for guard in (rw.read(), rw.write()):
        with pytest.raises(fastlock.LockTimeout, match=r"catalogue.*worker-0"), guard:
            pytest.fail("entered a held lock")
    crew[0].do(rw.release_write)
    with rw.write():
        pass


def test_repr_tells_the_state(rw: fastlock.RWLock) -> None:
    """repr says how the lock is held."""
    assert "<fastlock.RWLock unlocked at 0x" in repr(rw)
    with rw.read(), rw.read():
        assert "read-locked by 2" in repr(rw)
    with rw.write():
        assert "write-locked" in repr(rw)


def test_invariant_under_load(rw: fastlock.RWLock, crew: Crew) -> None:
    """Readers never see half a write, among threads that read, write, try and time out."""
    pair = [0, 0]
    torn: list[tuple[int, ...]] = []

    def visit(number: int) -> int:
        writes = 0
        for turn in range(150):
            if (turn + number) % 5 == 0:
                if rw.acquire_write(timeout=5 if turn % 2 else -1):
                    pair[0] += 1
                    time.sleep(0)  # let others in: what the lock is for
                    pair[1] += 1
                    writes += 1
                    rw.release_write()
            elif rw.acquire_read(turn % 7 != 0):
                if pair[0] != pair[1]:
                    torn.append(tuple(pair))
                rw.release_read()
        return writes

    for number in range(6):
        crew[number].start(visit, number)
    assert sum(crew[number].result() for number in range(6)) == pair[0] == pair[1]
    assert torn == [] and not rw.locked()
