"""What findings say of each other: one advice for a pair of locks, and the deadlock that a long wait is behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import order_events
from fastlock import assemble, related
from fastlock.findings import Finding
from fastlock.fingerprints import class_of
from order_events import inversion
from support import ask


def finding(event: dict[str, Any]) -> Finding:
    order_events.provide_sources()
    return assemble.finding_from_event(event, site=order_events.site)


def deadlock(**more: Any) -> dict[str, Any]:
    """FL001 of the locks of the inversion, on its lines."""
    return {**inversion("proven", ("confirmed twice",)), "code": "FL001", "filters": [], "orders": [], "clears": False, **more}


def turns(found: Finding) -> Any:
    """The two classes that the fix is about, as its words have them."""
    names = {class_of(lock): lock.name for lock in found.locks}
    assert found.turns is not None
    first, then = (names[each] for each in found.turns)
    assert f" take {then} " in found.fix and first in found.fix
    return found.turns


# ---- one advice

AUDIT_FIRST = (("audit_lock@shop.py", ""), ("stock_lock@shop.py", ""))  # what is turned round
STOCK_FIRST = AUDIT_FIRST[::-1]


def frequent_audit() -> dict[str, Any]:
    """An inversion whose more frequent order is the one that a deadlock alone would turn round, for it is in one function."""
    event = inversion()
    for order, count in zip(event["orders"], (3, 18_204)):
        order["count"] = count
    return event


def test_each_has_its_own_advice_where_nothing_is_known() -> None:
    assert turns(finding(frequent_audit())) == STOCK_FIRST
    assert turns(finding(deadlock())) == AUDIT_FIRST


@pytest.mark.parametrize("first, then", [(frequent_audit, deadlock), (deadlock, frequent_audit)])
def test_the_first_advice_stands(first: Any, then: Any) -> None:
    """An inversion and the deadlock of its orders turn the same order round, whichever is told first, and so do later ones."""
    told = finding(first())
    second = related.advised(finding(then()), [told])
    assert turns(second) == turns(told)
    assert "was taken" not in second.fix or "3 times, the other 18,204 times" in second.fix
    assert turns(related.advised(finding(first()), [told, second])) == turns(told)


def test_advice_about_other_locks_is_no_advice() -> None:
    """Nor is that about more orders of the same locks."""
    other = finding(inversion(locks=[order_events.lock(1, "stock_lock", "other"), order_events.lock(2, "audit_lock")]))
    plain = finding(deadlock())
    assert related.advised(plain, [other]) is plain
    assert related.advised(plain, [replace(other, code="FL011")]) is plain
    assert related.advised(replace(plain, code="FL002"), [plain]).fix == plain.fix


SHOP = """
a, b = fastlock.RLock(name="a"), fastlock.RLock(name="b")
def often(meet=lambda: None):
    with a:
        meet()
        with b: pass
def take_a():
    with a: pass
def rarely(meet=lambda: None):
    with b:
        meet()
        take_a()
fastlock.set_level("order")
for _ in range(5):
    often()
"""


@pytest.mark.parametrize("before", ["start(rarely).join(); fastlock.watchdog.flush(90)", ""], ids=["told before", "told afterwards"])
def test_a_program_that_does_what_was_predicted(before: str) -> None:
    """The deadlock's fix turns the rarer order, as the inversion's does."""
    told = ask(
        SHOP
        + f"""
{before}
both = threading.Barrier(2)
start(often, both.wait), start(rarely, both.wait)
found("FL001"); fastlock.watchdog.flush(90)
tell([[finding.code, finding.turns] for finding in fastlock.findings()])
"""
    )
    assert sorted(told) == [["FL001", [["b", ""], ["a", ""]]], ["FL010", [["b", ""], ["a", ""]]]]


# ---- behind a deadlock

STUCK = """
one, other, third = (fastlock.RLock(name=name) for name in ("one", "other", "third"))
both = threading.Barrier(2)
def embrace(mine, its):
    with mine:
        both.wait()
        with its: pass
start(embrace, one, other), start(embrace, other, one)
deadlock = found("FL001")[0]
fastlock.configure(slow_wait=0.02)
def behind():
    with third:
        with one: pass
"""


def test_a_long_wait_names_the_deadlock_that_it_is_behind() -> None:
    """At once, and over somebody who is behind it himself."""
    name, findings, pages = ask(
        STUCK
        + """
start(behind); blocked("behind")
start(third.acquire, name="far")
wait_until(lambda: sum(finding.code == "FL020" for finding in fastlock.findings()) == 2)
slow = [finding for finding in fastlock.findings() if finding.code == "FL020"]
tell([f"deadlock {deadlock.fingerprint[:6]} (FL001)", [finding.to_dict() for finding in slow], list(map(str, slow))])
"""
    )
    for finding, page in zip(findings, pages):
        assert finding["reasons"] == [name]
        assert finding["explanation"].endswith(f": behind {name}.")
        assert finding["fix"] == f"solve {name}: this wait is behind it, and ends with it"
        assert f"Because of    {name}" in page and f"By itself?    not before {name} ends" in page
    assert {agent["name"] for finding in findings for agent in finding["agents"]} >= {"behind", "far"}


def test_a_deadlock_that_is_over_explains_nothing() -> None:
    """One that a policy has ended, and one that somebody else is in."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        threads = ring([fastlock.RLock(), fastlock.RLock()])
        for thread in threads: thread.join()
        fastlock.configure(on_deadlock="report", slow_wait=0.02)
        start(ring([fastlock.RLock(name="x"), fastlock.RLock(name="y")])[0].join)
        lock, taken = fastlock.RLock(name="mine"), threading.Event()
        def owner():
            with lock:
                taken.set()
                threading.Event().wait()
        def waiter():
            with lock: pass
        start(owner); taken.wait(); start(waiter)
        wait_until(lambda: any(finding.locks[0].name == "mine" for finding in fastlock.findings()))
        tell([[finding.code, finding.reasons] for finding in fastlock.findings() if finding.locks[0].name == "mine"])
        """
    )
    assert told == [["FL020", []]]
