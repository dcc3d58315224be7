"""FL003 and FL004: locks whose owner has ended, or stayed in the parent of a fork."""

from __future__ import annotations

import pytest

from support import ask

LOCKS = {
    "Lock": ("fastlock.Lock()", "__enter__", "__enter__", "proven"),
    "RLock": ("fastlock.RLock()", "acquire", "acquire", "proven"),
    "Lock without evidence": ("fastlock.Lock()", "acquire", "acquire", "possible"),
    "RWLock, writer left": ("fastlock.RWLock()", "acquire_write", "acquire_read", "proven"),
    "RWLock, reader left": ("fastlock.RWLock()", "acquire_read", "acquire_write", "proven"),
    "RWLock, upgradable reader left": ("fastlock.RWLock()", "acquire_upgradable", "acquire_upgradable", "proven"),
    "Semaphore": ("fastlock.Semaphore(1)", "acquire", "acquire", "possible"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("lock, hold, want, tier", LOCKS.values(), ids=LOCKS)
def test_the_owner_has_ended(lock: str, hold: str, want: str, tier: str, when: str) -> None:
    """Whether the owner ends before or after somebody waits: the finding names it and where it took the lock."""
    finding = ask(
        f"""
        if "{tier}" == "possible":
            fastlock.configure(slow_wait=0.05)
        lock, end = {lock}, threading.Event()
        def owner():
            lock.{hold}()
            taken.set()
            end.wait()
        def waiter():
            lock.{want}()
        taken = threading.Event()
        thread = start(owner); taken.wait()
        if "{when}" == "before":
            end.set(); thread.join()
        start(waiter)
        blocked("waiter")
        end.set(); thread.join()
        tell(found("FL003")[-1].to_dict())
        """
    )
    assert (finding["code"], finding["tier"], finding["clears"]) == ("FL003", tier, False)
    assert [agent["name"] for agent in finding["agents"]] == ["waiter", "owner"]
    waits, holds = finding["edges"]
    assert (waits["waits"], waits["wanted_at"]["function"].rpartition(".")[2]) == (holds["holds"], "waiter")
    assert (holds["waits"], holds["held_at"]["line"]) == (None, 9)
    assert "owner" in finding["explanation"]


def test_an_owner_that_ends_after_slow_wait_is_found_too() -> None:
    """A wait that has been reported as slow is looked at again when the owner ends, without evidence as well."""
    codes = ask(
        """
        fastlock.configure(slow_wait=0.03)
        lock, end = fastlock.Lock(), threading.Event()
        def owner():
            lock.acquire()
            end.wait()
        thread = start(owner); wait_until(lock.locked)
        start(lock.acquire, name="waiter")
        found("FL020")
        end.set(); thread.join()
        tell([[finding.code, finding.tier] for finding in found("FL003")])
        """
    )
    assert codes == [["FL020", "measured"], ["FL003", "possible"]]


def test_a_chain_behind_an_orphan_is_one_finding() -> None:
    """Only who waits for the abandoned lock itself reports it, not those who wait for that waiter."""
    told = ask(
        """
        left, other = fastlock.RLock(), fastlock.RLock()
        start(left.acquire, name="owner").join()
        def first():
            with other:
                left.acquire()
        start(first); blocked("first")
        start(other.acquire, name="second"); blocked("second")
        tell([[f.code for f in found("FL003")], [f.code for f in fastlock.find_deadlocks()]])
        """
    )
    assert told == [["FL003"], ["FL003"]]


def test_another_thread_may_still_release_an_abandoned_lock() -> None:
    """Releasing a dead owner's Lock wakes the waiter, and makes it a signal lock without findings from then on."""
    told = ask(
        """
        fastlock.configure(slow_wait=0.02)
        lock = fastlock.Lock()
        start(lock.acquire, name="owner").join()
        waiter = start(lock.acquire, name="waiter")
        found("FL003")
        lock.release(); waiter.join()
        again = start(lock.acquire, name="again"); blocked("again")
        wait_until(lambda: fastlock.snapshot().waits[0].since_s > 0.05)
        tell([[f.code for f in fastlock.findings()], len(fastlock.find_deadlocks())])
        """
    )
    assert told == [["FL003"], 0]


def test_deadlock_error_instead_of_waiting_for_the_dead() -> None:
    """With raise, who would wait for a dead owner gets the error, and the lock stays as it is."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock = fastlock.RLock(name="ledger")
        start(lock.acquire, name="owner").join()
        try:
            lock.acquire()
        except RuntimeError as error:
            tell([type(error).__name__, str(error), lock.locked(), lock._is_owned(), len(fastlock.snapshot().waits)])
        """
    )
    assert told[0] == "DeadlockError"
    assert told[1].startswith('FL003 abandoned lock (proven): MainThread waits for ledger, which thread "owner" took at ')
    assert told[2:] == [True, False, 0]


FORKED = {
    "Lock": ("fastlock.Lock()", "__enter__", "__enter__", "proven"),
    "RWLock, reader left": ("fastlock.RWLock()", "acquire_read", "acquire_write", "proven"),
    "RWLock, upgradable reader left": ("fastlock.RWLock()", "acquire_upgradable", "acquire_upgradable", "proven"),
    "Lock without evidence": ("fastlock.Lock()", "acquire", "acquire", "possible"),
}


@pytest.mark.parametrize("lock, hold, want, tier", FORKED.values(), ids=FORKED)
def test_a_lock_held_at_fork(lock: str, hold: str, want: str, tier: str) -> None:
    """In the child somebody waits for a lock of a thread that stayed in the parent: FL004 with its name and site."""
    finding = ask(
        f"""
        if "{tier}" == "possible":
            fastlock.configure(slow_wait=0.05)
        lock, end = {lock}, threading.Event()
        def owner():
            lock.{hold}()
            taken.set()
            end.wait()
        taken = threading.Event()
        thread = start(owner); taken.wait()
        if os.fork() == 0:
            start(lambda: lock.{want}(), name="waiter")
            tell(found("FL004")[0].to_dict())
        os.wait()
        """,
        through=("-W", "ignore"),
    )
    assert (finding["code"], finding["tier"]) == ("FL004", tier)
    assert [agent["name"] for agent in finding["agents"]] == ["waiter", "owner"]
    assert finding["edges"][1]["held_at"]["line"] == 9
    assert "does not copy" in finding["explanation"] or "did not copy" in finding["explanation"]


def test_the_parent_of_a_fork_has_no_orphan() -> None:
    """In the parent the owner lives: its waiter gets the lock, and there is no finding."""
    told = ask(
        """
        lock, end = fastlock.Lock(), threading.Event()
        def owner():
            with lock:
                end.wait()
        thread = start(owner); wait_until(lock.locked)
        waiter = start(lambda: lock.acquire(), name="waiter"); blocked("waiter")
        if os.fork() == 0:
            os._exit(len(fastlock.findings()))
        status = os.wait()[1]
        end.set(); waiter.join()
        tell([status, len(fastlock.findings()), repr(waiter.error)])
        """,
        through=("-W", "ignore"),
    )
    assert told == [0, 0, "None"]


def test_a_reporting_thread_is_made_anew_in_the_child() -> None:
    """A process that has reported before it forks reports in the child as well, with hooks."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        def twice(lock):
            with lock:
                try:
                    with lock: pass
                except fastlock.DeadlockError: pass
        twice(fastlock.Lock(name="parent's"))
        found("FL002")
        if os.fork() == 0:
            seen = []
            fastlock.on_finding(lambda finding: seen.append(finding.locks[0].name))
            twice(fastlock.Lock(name="child's"))
            wait_until(lambda: seen)
            tell([seen, [finding.locks[0].name for finding in fastlock.findings()]])
        os.wait()
        """,
        through=("-W", "ignore"),
    )
    assert told == [["child's"], ["parent's", "child's"]]
