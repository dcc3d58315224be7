"""What on_deadlock and timeouts do, for the process and for one lock, and what they spare."""

from __future__ import annotations

import pytest

from support import PRELUDE, ask, run_program


def run(source: str, **options):
    return run_program(PRELUDE + source, **options)


# ---- raise

RAISING = {"of the process": ('fastlock.configure(on_deadlock="raise")', ""), "of the lock": ("", ', on_deadlock="raise"')}


@pytest.mark.parametrize("process, lock", RAISING.values(), ids=RAISING)
def test_raise_in_the_agent_that_closes_the_circle(process: str, lock: str) -> None:
    """It gets a DeadlockError, which is a RuntimeError with the finding, and the other one gets its lock."""
    told = ask(
        f"""
        {process or "pass"}
        one, other = fastlock.Lock(name="one"), fastlock.Lock(name="other"{lock})
        both, got = threading.Barrier(2), []
        def patient():
            with other:
                both.wait()
                with one: got.append("patient")
        def closing():
            with one:
                both.wait()
                blocked("patient")
                state = one.locked(), other.locked()
                try:
                    other.acquire()
                except RuntimeError as error:
                    table = fastlock.snapshot()
                    got.append([type(error).__name__, error.finding.code, str(error).partition(":")[0],
                                state == (one.locked(), other.locked()), [wait.lock for wait in table.waits] == [1],
                                [len(each.waiters) for each in table.locks]])
        threads = start(patient), start(closing)
        for thread in threads:
            thread.join()
        tell([got, one.locked(), other.locked(), [repr(t.error) for t in threads], len(fastlock.snapshot().waits)])
        """
    )
    got, *rest = told
    assert got == [["DeadlockError", "FL001", "FL001 deadlock (proven)", True, True, [1, 0]], "patient"]
    assert rest == [False, False, ["None", "None"], 0]


ERRORS = {
    "with": "with lock, lock: pass",
    "acquire": "lock.acquire(), lock.release(), lock.acquire(), lock.acquire()",
    "timeout": "with held: pass",
    "write in read": "with rw.read(), rw.write(): pass",
    "read in write": "rw.acquire_write(), rw.acquire_read()",
    "release": "lock.release()",
    "release of an RLock": "fastlock.RLock().release()",
    "release of a permit": "fastlock.BoundedSemaphore().release()",
    "notify": "fastlock.Condition().notify()",
    "wrong arguments": "fastlock.Lock(timeout=-1)",
}


@pytest.mark.parametrize("body", ERRORS.values(), ids=ERRORS)
def test_a_traceback_has_at_most_one_line_of_fastlocks(body: str) -> None:
    """What a lock raises is said next to the program's line, however deep in fastlock it was raised."""
    frames = ask(
        f"""
        import traceback
        fastlock.configure(on_deadlock="raise")
        lock, rw = fastlock.Lock(), fastlock.RWLock()
        held = fastlock.Lock(timeout=0)
        start(held.acquire).join()
        def guilty():
            {body}
        try:
            guilty()
        except (RuntimeError, TimeoutError, ValueError) as error:
            tell([frame.name for frame in traceback.extract_tb(error.__traceback__)])
        """
    )
    assert (frames[:2], len(frames) <= 3) == (["<module>", "guilty"], True), frames


def test_raise_reports_as_well_with_everybodys_stack() -> None:
    """The finding of a DeadlockError has the stacks of all agents, taken before the exception lets them go on."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        threads = ring([fastlock.RLock(), fastlock.RLock()])
        threads[1].join()
        tell([found("FL001")[0] == threads[1].error.finding, [len(a.stack) > 1 for a in threads[1].error.finding.agents]])
        """
    )
    assert told == [True, [True, True]]


def test_the_page_says_that_the_acquire_was_refused() -> None:
    """Which one, and in place of what would have become of the circle."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        a, b = fastlock.RLock(name="a"), fastlock.RLock(name="b")
        def first():
            with a:
                begun.set()
                with b: pass
        begun = threading.Event()
        with b:
            thread = start(first); begun.wait(); blocked("first")
            try:
                a.acquire()
            except fastlock.DeadlockError as error:
                page = str(error.finding)
        thread.join()
        tell([page, found("FL001")[0].refused])
        """
    )
    assert told[1] == "DeadlockError"
    assert "Refused       the acquire in program.py:15: DeadlockError was raised, and a was not taken" in told[0]
    assert "By itself?" not in told[0]


def test_raise_again_and_again() -> None:
    """Each time the circle closes again the error comes again; the finding is counted."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock, errors = fastlock.Lock(), 0
        with lock:
            for _ in range(100):
                try:
                    lock.acquire()
                except fastlock.DeadlockError:
                    errors += 1
        wait_until(lambda: fastlock.findings()[0].count == 100)
        tell([errors, len(fastlock.findings()), lock.locked()])
        """
    )
    assert told == [100, 1, False]


# ---- exit and callables

SELF = """
with lock:
    with lock: pass
"""


def test_exit_reports_and_ends_with_3(tmp_path) -> None:
    """What was printed before is flushed, the report is complete, the JSON file too, and the status is 3."""
    json_file = tmp_path / "findings.json"
    program = f"fastlock.configure(on_deadlock='exit', json={str(json_file)!r})\nlock = fastlock.Lock()\nprint('before')"
    done = run(program + SELF)
    assert (done.returncode, done.stdout) == (3, "before\n")
    assert done.stderr.index("fastlock: FL002") < done.stderr.index("FL002 self-deadlock: lock  ")
    assert done.stderr.endswith("fastlock explain FL002\n")
    assert json_file.read_text().count("\n") == 1


def test_exit_of_one_lock_wins_over_the_process() -> None:
    """The lock's own policy is the one that counts."""
    program = "fastlock.configure(on_deadlock='raise')\nlock = fastlock.Lock(on_deadlock='exit')"
    assert run(program + SELF).returncode == 3
    program = "fastlock.configure(on_deadlock='exit')\nlock = fastlock.Lock(on_deadlock='raise')"
    done = run(program + SELF)
    assert (done.returncode, "fastlock.errors.DeadlockError: FL002" in done.stderr) == (1, True)


def test_exit_although_standard_output_is_locked() -> None:
    """A thread of the circle may hold the lock of a stream: flushing has a limit, and the process ends."""
    done = run(
        """
import sys
class Stuck:
    def flush(self):
        with outer: pass
outer = fastlock.RLock()
fastlock.configure(on_deadlock="exit")
sys.stdout = Stuck()
threads = ring([outer, fastlock.RLock()])
threading.Event().wait()
"""
    )
    assert done.returncode == 3
    assert "flushing has not returned in 1 s" in done.stderr


def test_a_callable_gets_the_finding_every_time() -> None:
    """A callable is called on a thread of fastlock's with each occurrence, and the wait goes on."""
    told = ask(
        """
        seen = []
        def policy(finding):
            seen.append([finding.code, finding.count, threading.get_ident() in waiters])
        lock, waiters = fastlock.Lock(on_deadlock=policy), []
        def twice(lock):
            waiters.append(threading.get_ident())
            with lock:
                with lock: pass
        start(twice, lock); wait_until(lambda: len(seen) == 1)
        start(twice, fastlock.Lock(on_deadlock=policy)); wait_until(lambda: len(seen) == 2)
        tell(seen)
        """
    )
    assert [one[0] for one in told] == ["FL002", "FL002"]
    assert [one[2] for one in told] == [False, False]


def test_report_lets_everybody_wait() -> None:
    """The default only reports: who waits goes on waiting."""
    told = ask(
        """
        threads = ring([fastlock.RLock(), fastlock.RLock()])
        found("FL001")
        blocked("t0", "t1")
        tell([thread.is_alive() for thread in threads])
        """
    )
    assert told == [True, True]


# ---- what no policy touches

POLICIES = ["raise", "exit"]


@pytest.mark.parametrize("policy", [*POLICIES, "callable"])
@pytest.mark.parametrize("kind", ["RLock", "Lock"])
def test_not_a_conditions_reacquisition(policy: str, kind: str) -> None:
    """A circle that closes when a condition takes its lock again is reported, and nothing is done about it."""
    told = ask(
        f"""
        import signal
        called = []
        fastlock.configure(on_deadlock=called.append if "{policy}" == "callable" else "{policy}")
        outer, inner = fastlock.RLock(name="outer"), fastlock.{kind}(name="inner")
        condition = fastlock.Condition(inner)
        def notifier():
            with condition:
                holding.set()
                with outer: pass
        def helper():
            blocked("MainThread")
            start(notifier); blocked("notifier")
            os.kill(os.getpid(), signal.SIGUSR1)
            finding = found("FL001")[0]
            fastlock.on_finding(lambda later: tell([finding.tier, finding.agents[0].name, len(called)]))
            with fastlock.RWLock(on_deadlock="report").read() as again:
                again.acquire_write()
        def interrupt(number, frame):
            raise InterruptedError
        signal.signal(signal.SIGUSR1, interrupt)
        holding = threading.Event()
        start(helper)
        with outer, condition:
            condition.wait()
        """
    )
    assert told == ["proven", "MainThread", 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_not_what_is_only_possible(policy: str) -> None:
    """Locks without evidence and semaphores are reported late as possible, and no policy acts on them."""
    told = ask(
        f"""
        fastlock.configure(on_deadlock="{policy}", slow_wait=0.05)
        plain = ring([fastlock.Lock(name="p1"), fastlock.Lock(name="p2")], "acquire", "acquire")
        found("FL001")
        permits = [fastlock.Semaphore(1, name="s1", on_deadlock="{policy}"), fastlock.Semaphore(1, name="s2")]
        def twice(lock):
            lock.acquire()
            lock.acquire()
        others = [start(twice, permits[0], name="twice")]
        found("FL002")
        findings = [[f.code, f.tier] for f in fastlock.findings() if f.code != "FL020"]
        tell([*findings, [thread.is_alive() for thread in plain + others]])
        """
    )
    assert told == [["FL001", "possible"], ["FL002", "possible"], [True, True, True]]


@pytest.mark.parametrize("policy", POLICIES)
def test_not_what_will_clear(policy: str) -> None:
    """A circle with a timeout in it ends by itself: no exception, no exit, just False after the time."""
    told = ask(
        f"""
        fastlock.configure(on_deadlock="{policy}")
        lock = fastlock.Lock()
        with lock:
            got = lock.acquire(timeout=0.03)
        tell([got, [finding.tier for finding in found("FL002")]])
        """
    )
    assert told == [False, ["will-clear"]]


# ---- timeouts

OWN = {
    "of the lock": "lock = fastlock.{}(timeout=0.05)",
    "of the process": "fastlock.configure(acquire_timeout=0.05); lock = fastlock.{}()",
}
TIMED = {
    "Lock": ("Lock", "__enter__", "__enter__"),
    "Lock by acquire": ("Lock", "acquire", "acquire"),
    "RLock": ("RLock", "acquire", "__enter__"),
    "Condition": ("Condition", "acquire", "__enter__"),
    "RWLock": ("RWLock", "acquire_read", "acquire_write"),
}


@pytest.mark.parametrize("limit", OWN.values(), ids=OWN)
@pytest.mark.parametrize("kind, hold, want", TIMED.values(), ids=TIMED)
def test_lock_timeout_names_owner_and_site(kind: str, hold: str, want: str, limit: str) -> None:
    """A blocking acquire beyond the limit raises a TimeoutError with the lock, its owner and where that took it."""
    told = ask(
        f"""
        {limit.format(kind)}
        def owner():
            lock.{hold}()
            taken.set()
            threading.Event().wait()
        taken = threading.Event()
        start(owner); taken.wait()
        try:
            lock.{want}()
        except TimeoutError as error:
            tell([type(error).__name__, error.lock, error.owner, error.held_at.line, error.timeout_s, str(error),
                  len(fastlock.snapshot().waits)])
        """
    )
    assert told[:5] == ["LockTimeout", "lock", 'thread "owner"', 7, 0.05]
    text = f'lock not acquired within 50 ms: held by thread "owner" since program.py:7 (lock.{hold}())'
    assert told[5:] == [text, 0]


def test_an_explicit_timeout_is_not_the_locks_limit() -> None:
    """acquire(timeout=...) returns False as ever, whatever the limit; a try-lock too."""
    told = ask(
        """
        lock = fastlock.Lock(timeout=30)
        taken = threading.Event()
        def owner():
            with lock:
                taken.set()
                threading.Event().wait()
        start(owner); taken.wait()
        tell([lock.acquire(timeout=0.02), lock.acquire(False), lock.acquire(blocking=False)])
        """
    )
    assert told == [False, False, False]


def test_what_the_limit_of_the_process_spares() -> None:
    """Condition re-acquisition, signal locks, semaphores, events and conditions wait on; their own limit counts."""
    told = ask(
        """
        fastlock.configure(acquire_timeout=0.02)
        signal, permits = fastlock.Lock(signal=True), fastlock.Semaphore(1)
        condition, event = fastlock.Condition(), fastlock.Event()
        def wait_for_condition():
            with condition:
                condition.wait()
        signal.acquire(), permits.acquire()
        threads = [start(signal.acquire, name="signal"), start(permits.acquire, name="permits"),
                   start(wait_for_condition, name="condition"), start(event.wait, name="event")]
        blocked("signal", "permits", "condition", "event")
        with condition:
            condition.notify()
            wait_until(lambda: min(wait.since_s for wait in fastlock.snapshot().waits) > 0.06)
        signal.release(), permits.release(), event.set()
        for thread in threads:
            thread.join()
        limits = []
        for lock in fastlock.Semaphore(0, timeout=0.02, name="none"), fastlock.Lock(signal=True, timeout=0.02, name="free"):
            lock.acquire(False)
            try:
                lock.acquire()
            except fastlock.LockTimeout as error:
                limits.append(str(error))
        tell([[repr(thread.error) for thread in threads], limits])
        """
    )
    errors, limits = told
    assert errors == ["None"] * 4
    assert limits == [f"{name} not acquired within 20 ms: its owner is not known" for name in ("none", "free")]


def test_a_limit_makes_a_deadlock_clear() -> None:
    """A lock's own limit in a circle is a timeout: the finding will clear, and the waiter gets LockTimeout."""
    told = ask(
        """
        lock = fastlock.Lock(timeout=0.05)
        with lock:
            try:
                lock.acquire()
            except fastlock.LockTimeout as error:
                tell([str(error).partition(":")[0], [finding.tier for finding in found("FL002")]])
        """
    )
    assert told == ["lock not acquired within 50 ms", ["will-clear"]]
