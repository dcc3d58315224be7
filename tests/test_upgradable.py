"""RWLock.upgradable(): one reader beside the others that may become the writer, and then reads on."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest

import fastlock
from support import ask
from workers import Crew, check_program, is_quiet


@pytest.fixture(params=["writer", "reader"])
def rw(request: pytest.FixtureRequest) -> fastlock.RWLock:
    """Return a lock of each preference."""
    return fastlock.RWLock(prefer=request.param)


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Threads by number."""
    with Crew() as workers:
        yield workers


def test_it_is_beside_readers_and_excludes_its_like_and_writers(rw: fastlock.RWLock, crew: Crew) -> None:
    """Readers come and go; another upgradable reader and a writer do not come in."""
    crew[0].do(rw.acquire_read)
    with rw.upgradable() as entered:
        assert entered is rw and rw.readers == 2
        assert crew[1].do(rw.acquire_read, False) is True
        assert crew[2].do(rw.acquire_upgradable, False) is False
        assert crew[2].do(rw.acquire_upgradable, True, 0.001) is False
        assert crew[2].do(rw.acquire_write, True, 0.001) is False
        crew[0].do(rw.release_read)
        crew[1].do(rw.release_read)
    assert not rw.locked()
    assert crew[2].do(rw.acquire_upgradable, False) is True
    crew[2].do(rw.release_upgradable)
    assert is_quiet()


@pytest.mark.parametrize("aged", [False, True])
def test_an_upgrade_waits_for_the_other_readers_and_reads_on(rw: fastlock.RWLock, crew: Crew, aged: bool) -> None:
    """It writes when the last other reader has left, alone; when it has written, readers come in again and writers do not."""
    crew[0].do(rw.acquire_upgradable)
    crew[1].do(rw.acquire_read)
    crew[2].do(rw.acquire_read)
    crew[0].block(rw.acquire_write, aged=aged)
    crew[1].do(rw.release_read)
    assert crew[0].waits() >= 0
    crew[2].do(rw.release_read)
    assert crew[0].result() is True
    assert "write-locked" in repr(rw)
    assert crew[1].do(rw.acquire_read, False) is False
    crew[1].block(rw.acquire_read, aged=aged)
    crew[0].do(rw.release_write)
    assert crew[1].result() is True and rw.readers == 2
    assert crew[2].do(rw.acquire_write, False) is False
    crew[0].do(rw.release_upgradable)
    crew[1].do(rw.release_read)
    assert crew[2].do(rw.acquire_write, False) is True
    crew[2].do(rw.release_write)
    assert is_quiet()


def test_new_readers_queue_behind_an_upgrade(rw: fastlock.RWLock, crew: Crew) -> None:
    """Also where readers are preferred: an upgrade that waits is not starved by readers that come after it."""
    crew[0].do(rw.acquire_upgradable)
    crew[1].do(rw.acquire_read)
    crew[0].block(rw.acquire_write)
    assert crew[2].do(rw.acquire_read, False) is False
    crew[2].block(rw.acquire_read, aged=True)
    crew[1].do(rw.release_read)
    assert crew[0].result() is True and crew[2].waits() >= 0
    crew[0].do(rw.release_write)
    assert crew[2].result() is True
    crew[2].do(rw.release_read)
    crew[0].do(rw.release_upgradable)


@pytest.mark.parametrize("aged", [False, True])
def test_an_upgrade_goes_before_writers_that_wait(rw: fastlock.RWLock, crew: Crew, aged: bool) -> None:
    """A writer that has waited for longer comes in after it: it waits for the upgradable share to end anyway."""
    crew[0].do(rw.acquire_upgradable)
    crew[1].do(rw.acquire_read)
    crew[2].block(rw.acquire_write, aged=aged)
    crew[0].block(rw.acquire_write, aged=aged)
    crew[1].do(rw.release_read)
    assert crew[0].result() is True
    crew[0].do(rw.release_write)
    assert crew[2].waits() >= 0
    crew[0].do(rw.release_upgradable)
    assert crew[2].result() is True
    crew[2].do(rw.release_write)


@pytest.mark.parametrize("aged", [False, True])
def test_one_waiter_at_a_time_gets_it(rw: fastlock.RWLock, crew: Crew, aged: bool) -> None:
    """Of several that wait for it each has it in turn, whoever else reads, and readers behind them do not wait for them."""
    crew[0].do(rw.acquire_upgradable)
    for number in (1, 2, 3):
        crew[number].block(rw.acquire_upgradable, aged=aged)
    assert crew[4].do(rw.acquire_read, False) is True
    crew[0].do(rw.release_upgradable)
    for number in (1, 2, 3):
        assert crew[number].result() is True
        assert rw.readers == 2 and [crew[other].waits() >= 0 for other in range(number + 1, 4)] == [True] * (3 - number)
        crew[number].do(rw.release_upgradable)
    crew[4].do(rw.release_read)
    assert is_quiet()


def test_reads_nest_in_it_and_in_its_own_way_out(rw: fastlock.RWLock, crew: Crew) -> None:
    """Its holder reads again whoever waits to write, and may upgrade inside that read."""
    crew[0].do(rw.acquire_upgradable)
    crew[1].block(rw.acquire_write, aged=True)
    assert crew[0].do(rw.acquire_read, False) is True
    assert crew[0].do(rw.acquire_write, False) is True
    crew[0].do(rw.release_write)
    crew[0].do(rw.release_read)
    assert crew[1].waits() >= 0
    crew[0].do(rw.release_upgradable)
    assert crew[1].result() is True
    crew[1].do(rw.release_write)


@pytest.mark.parametrize("timeout", [0, 0.002])
def test_an_upgrade_that_gives_up_reads_on(rw: fastlock.RWLock, crew: Crew, timeout: float) -> None:
    """A try or a timeout leaves the upgradable share as it was, and lets in who queued behind."""
    crew[0].do(rw.acquire_upgradable)
    crew[1].do(rw.acquire_read)
    assert crew[0].do(rw.acquire_write, True, timeout) is False
    assert crew[2].do(rw.acquire_read, False) is True
    crew[2].do(rw.release_read)
    crew[0].start(lambda: rw.acquire_write(timeout=0.05))
    crew[2].start(rw.acquire_read)
    assert crew[0].result() is False and crew[2].result() is True
    assert "read-locked by 3, one of them upgradable" in repr(rw)
    crew[1].do(rw.release_read)
    crew[2].do(rw.release_read)
    assert crew[0].do(rw.acquire_write) is True
    crew[0].do(rw.release_write)
    crew[0].do(rw.release_upgradable)
    assert is_quiet()


def test_only_its_holder_releases_it(rw: fastlock.RWLock, crew: Crew) -> None:
    """Releasing what one does not hold is a RuntimeError that changes nothing, and so is to let it go while one writes."""
    crew[0].do(rw.acquire_upgradable)
    crew[1].do(rw.acquire_read)
    for release in (rw.release_upgradable, rw.release_read, lambda: crew[1].do(rw.release_upgradable)):
        with pytest.raises(RuntimeError, match="cannot release un-acquired (read|upgradable) lock"):
            release()
    with pytest.raises(RuntimeError, match="cannot release un-acquired read lock"):
        crew[0].do(rw.release_read)
    crew[1].do(rw.release_read)
    crew[0].do(rw.acquire_write)
    with pytest.raises(RuntimeError, match="cannot release upgradable lock while it is write-locked"):
        crew[0].do(rw.release_upgradable)
    assert rw.readers == 1
    crew[0].do(rw.release_write)
    crew[0].do(rw.release_upgradable)
    with pytest.raises(RuntimeError, match="cannot release un-acquired upgradable lock"):
        crew[0].do(rw.release_upgradable)
    assert not rw.locked() and is_quiet()


def test_guards_release_behind_exceptions_and_are_locks(rw: fastlock.RWLock, crew: Crew) -> None:
    """Behind an exception in the write and in the read nothing is held; the guard has acquire and release."""
    with pytest.raises(KeyError), rw.upgradable(), rw.write():
        raise KeyError
    assert not rw.locked()
    guard = rw.upgradable()
    assert guard.acquire() and crew[0].do(guard.acquire, False) is False
    guard.release()
    with fastlock.acquire_all(rw.upgradable(), fastlock.Lock()), fastlock.acquire_all(fastlock.Lock(), rw.write()):
        assert "write-locked, upgraded" in repr(rw)
    with pytest.raises(ValueError, match="named twice"):
        fastlock.acquire_all(rw.read(), rw.upgradable())
    assert not rw.locked() and is_quiet()


def test_limits_name_the_holder(crew: Crew) -> None:
    """timeout= raises LockTimeout for the upgradable share and for the upgrade, and names who has the lock."""
    rw = fastlock.RWLock(timeout=0.01, name="catalogue")
    crew[0].do(rw.acquire_upgradable)
    with pytest.raises(fastlock.LockTimeout, match=r"catalogue.*worker-0"), rw.upgradable():
        pytest.fail("entered a lock that another one reads upgradably")
    crew[1].do(rw.acquire_read)
    with pytest.raises(fastlock.LockTimeout, match=r"catalogue.*worker-"):
        crew[0].do(rw.acquire_write)
    crew[1].do(rw.release_read)
    crew[0].do(rw.release_upgradable)
    assert is_quiet()


def test_the_table_shows_it_as_a_reader_and_as_the_writer(crew: Crew) -> None:
    """It is among the readers, and while it writes the owner too; who waits for it is shown with the call."""
    rw = fastlock.RWLock(name="prices")
    crew[0].do(rw.acquire_upgradable)
    crew[1].block(rw.acquire_upgradable)
    table = fastlock.snapshot()
    (lock,) = [lock for lock in table.locks if lock.name == "prices"]
    (holder,) = [agent.id for agent in table.agents if agent.name == "worker-0"]
    assert (lock.owner, lock.readers) == (None, (holder,))
    assert [(wait.what, wait.mode) for wait in table.waits] == [("RWLock.acquire_upgradable", "shared")]
    crew[0].do(rw.acquire_write)
    table = fastlock.snapshot()
    (lock,) = [lock for lock in table.locks if lock.name == "prices"]
    assert (lock.owner, lock.readers) == (holder, (holder,))
    assert [agent.holds for agent in table.agents if agent.id == holder] == [(lock.id,)]
    crew[0].do(rw.release_write)
    crew[0].do(rw.release_upgradable)
    assert crew[1].result() is True
    crew[1].do(rw.release_upgradable)


def test_a_lock_that_goes_while_it_is_held_leaves_nothing(crew: Crew) -> None:
    """Its record serves the next lock, which nobody holds."""

    def leave() -> None:
        fastlock.RWLock().acquire_upgradable()

    crew[0].do(leave)
    gc.collect()
    for rw in [fastlock.RWLock() for _ in range(5)]:
        assert "unlocked at" in repr(rw)
        assert crew[0].do(rw.acquire_upgradable, False) is True
        crew[0].do(rw.release_upgradable)
    assert is_quiet()


def test_levels_change_while_it_is_held(rw: fastlock.RWLock) -> None:
    """A level that rises or falls between any two of its steps is no error."""
    levels = ["off", "detect", "order"]
    for first in levels:
        for second in levels:
            with fastlock.at_level(first):
                rw.acquire_upgradable()
            with fastlock.at_level(second):
                rw.acquire_write()
            with fastlock.at_level(first):
                rw.release_write()
            with fastlock.at_level(second):
                rw.release_upgradable()
    assert not rw.locked() and is_quiet()


def test_invariant_under_load(rw: fastlock.RWLock, crew: Crew) -> None:
    """Among readers, writers and upgrades what an upgradable reader saw is what it finds when it writes."""
    pair = [0, 0]
    wrong: list[Any] = []

    def upgrade(turn: int) -> int:
        if not rw.acquire_upgradable(timeout=5 if turn % 2 else -1):
            return 0
        seen, wrote = pair[0], 0
        time.sleep(0)
        if rw.acquire_write(timeout=0.001 if turn % 7 == 0 else -1):
            if pair != [seen, seen]:
                wrong.append((seen, tuple(pair)))
            pair[0] += 1
            time.sleep(0)
            pair[1] += 1
            wrote = 1
            rw.release_write()
        if pair[0] != seen + wrote:
            wrong.append((seen, wrote, tuple(pair)))
        rw.release_upgradable()
        return wrote

    def write() -> int:
        with rw.write():
            pair[0] += 1
            time.sleep(0)
            pair[1] += 1
        return 1

    def read(turn: int) -> int:
        if rw.acquire_read(turn % 7 != 0):
            if pair[0] != pair[1]:
                wrong.append(tuple(pair))
            rw.release_read()
        return 0

    def visit(number: int) -> int:
        turns = range(number, 120 + number)
        return sum(upgrade(turn) if turn % 4 == 0 else write() if turn % 9 == 0 else read(turn) for turn in turns)

    for number in range(6):
        crew[number].start(visit, number)
    assert sum(crew[number].result() for number in range(6)) == pair[0] == pair[1]
    assert wrong == [] and not rw.locked()


# ---- what is found -------------------------------------------------------------------------------


def test_a_proper_upgrade_is_no_finding() -> None:
    """One that has to wait, among readers and writers, is nothing to report, at no level."""
    told = ask(
        """
        fastlock.set_level("order")
        for prefer in ("writer", "reader"):
            rw, reading, go = fastlock.RWLock(prefer=prefer), threading.Event(), threading.Event()
            def reader():
                with rw.read():
                    reading.set(); go.wait()
            def upgrade():
                with rw.upgradable(), rw.read():
                    with rw.write(): pass
                    with rw.write(): pass
            def writer():
                with rw.write(): pass
            threads = [start(reader)]; reading.wait()
            threads += [start(writer)]; blocked("writer")
            go.set()
            for thread in threads: thread.join()
            reading.clear(); go.clear()
            threads = [start(reader)]; reading.wait()
            threads += [start(upgrade)]; blocked("upgrade")
            threads += [start(writer), start(reader, name="late")]; blocked("writer", "late")
            go.set()
            for thread in threads: thread.join()
            assert not any(thread.error for thread in threads), [thread.error for thread in threads]
        assert fastlock.watchdog.flush(10)
        tell([str(finding) for finding in (*fastlock.findings(), *fastlock.find_deadlocks())])
        """
    )
    assert told == []


@pytest.mark.parametrize("closing", ["upgrade", "reader"])
def test_a_circle_through_an_upgrade_that_waits(closing: str) -> None:
    """It waits for a reader who waits for its other lock: FL001, proven, whoever closes it; the upgrade does not wait for itself."""
    finding, text = ask(
        f"""
        rw, other = fastlock.RWLock(name="rw"), fastlock.RLock(name="other")
        both = threading.Barrier(2)
        def reader():
            with rw.read():
                both.wait()
                if "{closing}" == "reader": blocked("upgrade")
                with other: pass
        def upgrade():
            with rw.upgradable(), other:
                both.wait()
                if "{closing}" == "upgrade": blocked("reader")
                with rw.write(): pass
        start(reader), start(upgrade)
        finding = found("FL001")[0]
        assert [code.code for code in fastlock.find_deadlocks()] == ["FL001"]
        tell([finding.to_dict(), str(finding)])
        """
    )
    assert (finding["tier"], sorted(agent["name"] for agent in finding["agents"])) == ("proven", ["reader", "upgrade"])
    assert {(edge["mode"], edge["held_at"]["line"], edge["wanted_at"]["line"]) for edge in finding["edges"]} == {
        ("exclusive", 13, 16), ("exclusive", 8, 11),
    }  # fmt: skip
    assert "waits  rw (write)" in text and "holds  rw (read)" in text


@pytest.mark.parametrize("writes", [False, True])
def test_a_circle_through_who_has_it(writes: bool) -> None:
    """Two that want each other's upgradable share, read only or being written: FL001, proven."""
    finding = ask(
        f"""
        locks = [fastlock.RWLock(name="one"), fastlock.RWLock(name="two")]
        both = threading.Barrier(2)
        def member(first, second):
            with first.upgradable():
                if {writes}: first.acquire_write()
                both.wait()
                with second.upgradable(): pass
        start(member, *locks, name="a"), start(member, *reversed(locks), name="b")
        tell(found("FL001")[0].to_dict())
        """
    )
    assert (finding["tier"], len(finding["edges"])) == ("proven", 2)
    assert {edge["mode"] for edge in finding["edges"]} == {"shared"}
    assert all(edge["holds"] is not None for edge in finding["edges"])


def test_a_second_read_behind_an_upgrade() -> None:
    """The reader waits behind the upgrade, which waits for the first read: FL012 of the reader's, also where readers are preferred."""
    for prefer in ("writer", "reader"):
        finding = ask(
            f"""
            shared = fastlock.RWLock(prefer="{prefer}"); reading = threading.Event()
            def reader():
                with shared.read():
                    reading.set()
                    blocked("upgrade")
                    with shared.read(): pass
            def upgrade():
                reading.wait()
                with shared.upgradable():
                    with shared.write(): pass
            start(reader), start(upgrade)
            tell(found("FL012")[0].to_dict())
            """
        )
        assert (finding["tier"], [agent["name"] for agent in finding["agents"]]) == ("proven", ["reader", "upgrade"])
        assert "wants to read it again" in finding["explanation"]


def test_a_reader_that_wants_it_waits_for_itself() -> None:
    """Two readers of whom one came to upgrade would wait for each other as soon as both do: FL012 at once, and the fix."""
    told = ask(
        """
        shared = fastlock.RWLock(on_deadlock="raise")
        with shared.read():
            assert not shared.acquire_upgradable(False)
            try:
                shared.acquire_upgradable()
            except fastlock.DeadlockError as error:
                finding = error.finding
            readers = shared.readers
        tell([finding.code, finding.tier, len(finding.edges), finding.explanation, finding.fix, readers, shared.locked()])
        """
    )
    assert told[:3] == ["FL012", "proven", 1] and told[5:] == [1, False]
    assert "wants to read it upgradably" in told[3] and "use shared.upgradable() in program.py:6 already" in told[4]


def test_the_fix_of_an_upgrade_is_this() -> None:
    """FL012 of a reader that wants to write points to upgradable(), and so does its explanation."""
    told = ask(
        """
        from fastlock.explain import EXPLANATIONS
        shared = fastlock.RWLock(on_deadlock="raise")
        try:
            with shared.read(), shared.write(): pass
        except fastlock.DeadlockError as error:
            tell([error.finding.code, error.finding.fix, EXPLANATIONS["FL012"].fix])
        """
    )
    assert told[0] == "FL012" and told[1].startswith("in program.py:8 use shared.upgradable() in place of read()")
    assert "with rw.upgradable():" in told[2]


def test_raise_in_an_upgrade_leaves_the_share() -> None:
    """A policy that raises in the upgrade leaves its holder reading, upgradably; so does what a signal handler raises."""
    told = ask(
        """
        rw, other = fastlock.RWLock(on_deadlock="raise"), fastlock.RLock()
        inside, raised, over = threading.Event(), threading.Event(), threading.Event()
        def reader():
            with rw.read():
                inside.set()
                with other: pass
        with rw.upgradable(), other:
            thread = start(reader); inside.wait(); blocked("reader")
            try:
                rw.acquire_write()
            except fastlock.DeadlockError as error:
                code = error.finding.code
            shown = [rw.readers, rw.acquire_write(False), "upgradable" in repr(rw)]
        thread.join()
        with rw.upgradable(), rw.write(): pass
        tell([code, shown, rw.locked(), len(fastlock.snapshot().waits)])
        """
    )
    assert told == ["FL001", [2, False, True], False, 0]


def test_an_end_of_the_process_with_waiters() -> None:
    """Exit while daemon threads hold it, wait for it and wait to upgrade ends with status 0 and in time."""
    check_program(
        """
        import threading
        import fastlock
        from support import blocked, start
        rw, reading = fastlock.RWLock(prefer="reader"), threading.Event()
        def reader():
            with rw.read():
                reading.set()
                threading.Event().wait()
        def upgrade():
            with rw.upgradable(): rw.acquire_write()
        start(reader); reading.wait()
        start(upgrade); blocked("upgrade")
        start(rw.acquire_upgradable, name="next"); start(rw.acquire_read, name="late"); blocked("next", "late")
        print("ok")
        """
    )
