"""FL020: a wait for something that is held, longer than slow_wait; the waiter times itself."""

from __future__ import annotations

import re

import pytest

from support import ask

LOCKS = {
    "Lock": ("fastlock.Lock()", "acquire", "acquire"),
    "RLock": ("fastlock.RLock()", "__enter__", "__enter__"),
    "RWLock, behind a writer": ("fastlock.RWLock()", "acquire_write", "acquire_read"),
    "RWLock, behind a reader": ("fastlock.RWLock()", "acquire_read", "acquire_write"),
    "Semaphore": ("fastlock.Semaphore(1)", "acquire", "acquire"),
}


@pytest.mark.parametrize("lock, hold, want", LOCKS.values(), ids=LOCKS)
def test_a_long_wait_names_the_owner(lock: str, hold: str, want: str) -> None:
    """After slow_wait each kind of lock reports waiter, owner and both sites, once, and the wait goes on."""
    told = ask(
        f"""
        fastlock.configure(slow_wait=0.05)
        lock, end = {lock}, threading.Event()
        def owner():
            lock.{hold}()
            taken.set()
            end.wait()
            getattr(lock, dict(acquire="release", __enter__="release", acquire_write="release_write",
                               acquire_read="release_read")["{hold}"])()
        def waiter():
            lock.{want}()
        taken = threading.Event()
        threads = [start(owner)]; taken.wait(); threads.append(start(waiter))
        finding = found("FL020")[0]
        end.set()
        for thread in threads:
            thread.join()
        tell([finding.to_dict(), len(fastlock.findings()), [repr(thread.error) for thread in threads]])
        """
    )
    finding, count, errors = told
    assert (finding["code"], finding["tier"], count, errors) == ("FL020", "measured", 1, ["None", "None"])
    assert [agent["name"] for agent in finding["agents"]] == ["waiter", "owner"]
    waits, holds = finding["edges"]
    assert waits["since_s"] >= 0.05
    assert (waits["wanted_at"]["line"], holds["held_at"]["line"]) == (14, 8)
    assert finding["agents"][1]["stack"]
    root = re.fullmatch(r'thread "owner" at program.py:\d+ in owner\(\)', finding["explanation"].partition("in the end, for ")[2][:-1])
    assert 'held by thread "owner" since program.py:8. Everybody here waits, in the end, for ' in finding["explanation"] and root


def test_what_nobody_holds_may_be_waited_for_however_long() -> None:
    """Events, conditions and signal semaphores are waited for by design: no finding."""
    told = ask(
        """
        fastlock.configure(slow_wait=0.02)
        event, condition, signal = fastlock.Event(), fastlock.Condition(), fastlock.Semaphore(0)
        def wait_for_condition():
            with condition:
                condition.wait()
        start(event.wait, name="e"), start(wait_for_condition, name="c"), start(signal.acquire, name="s")
        blocked("e", "c", "s")
        wait_until(lambda: min(wait.since_s for wait in fastlock.snapshot().waits) > 0.06)
        tell([len(fastlock.findings()), len(fastlock.find_deadlocks())])
        """
    )
    assert told == [0, 0]


def test_a_timed_wait_is_reported_with_its_end() -> None:
    """A wait that gives up later than slow_wait is reported, with the time that is left."""
    told = ask(
        """
        fastlock.configure(slow_wait=0.02)
        held = fastlock.RLock(); held_now = threading.Event()
        def owner():
            with held:
                held_now.set()
                threading.Event().wait()
        start(owner); held_now.wait()
        got = held.acquire(timeout=0.1)
        finding = found("FL020")[0]
        tell([got, finding.clears, str(finding)])
        """
    )
    assert told[:2] == [False, True]
    assert "as soon as it is released; at the latest MainThread gives up in" in told[2]


def test_short_waits_are_silent() -> None:
    """A wait that ends before slow_wait leaves no finding."""
    told = ask(
        """
        lock, taken = fastlock.Lock(), threading.Event()
        def owner():
            with lock:
                taken.set()
                blocked("MainThread")
        thread = start(owner); taken.wait()
        with lock:
            thread.join()
        tell(len(fastlock.findings()))
        """
    )
    assert told == 0


def test_the_owner_that_waits_itself_is_told_with_what_it_waits_for() -> None:
    """A chain without a circle: the finding shows what the owner waits for, and who has that."""
    finding = ask(
        """
        first, second = fastlock.RLock(name="first"), fastlock.RLock(name="second")
        ready = threading.Event()
        def far():
            with second:
                ready.set()
                threading.Event().wait()
        def middle():
            ready.wait()
            with first:
                with second: pass
        def near():
            with first: pass
        start(far), start(middle); blocked("middle")
        fastlock.configure(slow_wait=0.03)
        start(near)
        tell(found("FL020")[0].to_dict())
        """
    )
    assert [agent["name"] for agent in finding["agents"]][:2] == ["near", "middle"]
    assert {lock["name"] for lock in finding["locks"]} == {"first", "second"}
    known = {lock["id"] for lock in finding["locks"]}
    assert {edge[key] for edge in finding["edges"] for key in ("holds", "waits")} - {None} <= known


def test_many_slow_waiters_of_one_line_are_one_finding() -> None:
    """Threads that wait in the same line are counted, not reported one by one."""
    told = ask(
        """
        fastlock.configure(slow_wait=0.05)
        lock = fastlock.RLock()
        def owner():
            with lock:
                threading.Event().wait()
        def waiter():
            with lock: pass
        start(owner); wait_until(lock.locked)
        for number in range(20):
            start(waiter, name=f"w{number}")
        wait_until(lambda: fastlock.findings() and fastlock.findings()[0].count == 20)
        tell(len(fastlock.findings()))
        """
    )
    assert told == 1


def test_a_circle_that_closes_during_a_slow_report_is_seen() -> None:
    """Whoever closes a circle while its other member is reporting a slow wait takes that one for running; it looks again."""
    told = ask(
        """
        from fastlock import _core, watchdog
        one, other = fastlock.RLock(name="one"), fastlock.RLock(name="other")
        slow, closed = threading.Event(), threading.Event()
        def handler(event):
            if event["code"] == "FL020" and not slow.is_set():
                slow.set()
                wait_until(lambda: any(agent.name == "closer" and agent.waits for agent in fastlock.snapshot().agents))
            return watchdog.handle(event)
        _core.set_handler(handler)
        both = threading.Barrier(2)
        def slow_one():
            with one:
                both.wait()
                with other: pass
        def closer():
            with other:
                both.wait()
                slow.wait()
                fastlock.configure(slow_wait=100)
                with one: pass
        fastlock.configure(slow_wait=0.02)
        start(slow_one), start(closer)
        tell([finding.code for finding in found("FL001")])
        """
    )
    assert told == ["FL020", "FL001"]
