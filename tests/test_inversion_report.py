"""The report of a prediction: both orders, the scenario that has not happened, and one line to change."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from typing import Any

import pytest

import order_events
from fastlock import assemble
from fastlock.findings import AgentFact, EdgeFact, Finding, LockFact, OrderFact, Site
from fastlock.reporting import Labels, shorten, width, wording
from fastlock.reporting import inversion as inversion_page
from order_events import inversion, rank

STACK = (Site("/srv/app/main.py", 12, "main", "audit.write()"), Site("/srv/app/audit.py", 56, "Audit.write", "with stock_lock:"))


def finding(event: dict[str, Any] | None = None) -> Finding:
    """The finding of an event, as process 41 has it."""
    order_events.provide_sources()
    found = assemble.finding_from_event(event or inversion(), site=order_events.site, stacks={2: STACK})
    return replace(found, fingerprint="9f3a1c" + "0" * 58, pid=41, process="shop-api")


def ring(number: int, name: str = "lock_{}", agents: int | None = None) -> Finding:
    """An inversion of so many orders, each of an agent of its own."""
    held, wanted = Site("/srv/a.py", 1, "f", "with x:"), Site("/srv/b.py", 2, "g", "with y:")
    people = [AgentFact(n, "thread", f"worker-{n}") for n in range(1, (agents or number) + 1)]
    locks = [LockFact(n, name.format(n), f"class {n}", "Lock") for n in range(1, number + 1)]
    edges = [
        EdgeFact(n if n <= len(people) else 1, n, n % number + 1, "exclusive", replace(held, line=n), replace(wanted, line=n))
        for n in range(1, number + 1)
    ]
    facts = [OrderFact(e.holds or 0, e.waits or 0, e.held_at, e.wanted_at, 10 + e.agent, "", e.agent) for e in edges]
    draft = replace(finding(), agents=tuple(people), locks=tuple(locks), edges=tuple(edges), orders=tuple(facts))
    return wording.complete(draft)


def squeeze(text: str) -> str:
    """Return the text on one line, as a reader's eye joins wrapped lines."""
    return " ".join(text.split())


def test_an_inversion_in_full() -> None:
    """The report of two orders is, to the character, what the colleague next morning gets."""
    expected = """
    FL010 lock-order inversion: 2 locks, 2 orders              shop-api, pid 41
    detected 23:47:11Z, nobody is stuck                        report 9f3a1c

      Two orders exist
        stock_lock → audit_lock    18,204 times, first 21:02:11Z by thread "replica-1"
          holds  stock_lock   shop.py:32    with stock_lock:
          wants  audit_lock   audit.py:47   with audit_lock:
        audit_lock → stock_lock    3 times, first 21:02:11Z by thread "replica-2"
          holds  audit_lock   audit.py:55   with audit_lock:
          wants  stock_lock   audit.py:56   with stock_lock:

      This has not happened yet: time runs down
        thread "replica-1"                    thread "replica-2"
        takes stock_lock       shop.py:32
        │                                     takes audit_lock       audit.py:55
        waits for audit_lock   audit.py:47    │
        │                                     waits for stock_lock   audit.py:56
        neither can go on

      Completed by thread "replica-2"
        stack  /srv/app/main.py:12 in main           audit.write()
               /srv/app/audit.py:56 in Audit.write   with stock_lock:

      Passed        distinct agents, no common lock, not ordered by start/join, modes can block
      Fix           in audit.py:55 take stock_lock before audit_lock, as shop.py:32 does: this order was taken 3
                    times, the other 18,204 times
      Explain       fastlock explain FL010
    """
    assert str(finding()) == textwrap.dedent(expected).strip("\n")


def test_a_broken_rank_in_full() -> None:
    """The report of a rank says what the program has declared, and nothing of waiting."""
    expected = """
    FL011 rank or key order violated: 1 agent, 2 locks         shop-api, pid 41
    detected 23:47:11Z                                         report 9f3a1c

      Thread "replica-2" holds audit_lock since audit.py:55 and wants stock_lock at audit.py:56,
      against the order that the program declares: rank 20 wanted while rank 30 is held.

      thread "replica-2"    tid 4102
        holds  audit_lock   audit.py:55   with audit_lock:
        wants  stock_lock   audit.py:56   with stock_lock:
        stack  /srv/app/main.py:12 in main           audit.write()
               /srv/app/audit.py:56 in Audit.write   with stock_lock:

      Declared      rank 20 wanted while rank 30 is held
      Fix           take stock_lock of audit.py:56 before audit_lock of audit.py:55
      Explain       fastlock explain FL011
    """
    assert str(finding(rank())) == textwrap.dedent(expected).strip("\n")


def test_a_refused_acquire_is_on_the_page() -> None:
    found = replace(finding(), refused="LockOrderError")
    assert "Refused       the acquire in shop.py:32: LockOrderError was raised" not in str(finding())
    assert f"the acquire in {Labels(found).site(found.edges[0].wanted_at)}: LockOrderError was raised" in str(found)


def test_one_line_for_logs_and_errors() -> None:
    """The summary has both orders and the fix."""
    assert finding().summary() == (
        "FL010 lock-order inversion (high): Two orders exist, stock_lock → audit_lock (shop.py:32, then audit.py:47: 18,204 times) "
        "and audit_lock → stock_lock (audit.py:55, then audit.py:56: 3 times); nobody is stuck, but agents that do all of this "
        "at once wait for each other for ever. Fix: in audit.py:55 take stock_lock before audit_lock, as shop.py:32 does: this "
        "order was taken 3 times, the other 18,204 times."
    )


def test_possible_tells_its_doubts() -> None:
    """What makes it only possible stands in the head, the explanation and the foot, and the scenario is not promised."""
    doubts = ("audit_lock is wanted with a timeout at audit.py:47", "stock_lock is another instance there")
    found = finding(inversion("possible", doubts))
    text = str(found)
    assert text.startswith("FL010 possible lock-order inversion: 2 locks, 2 orders")
    assert f"  Doubts        {doubts[0]}\n                {doubts[1]}\n" in text
    assert "neither can go on, unless a doubt below keeps them apart" in text
    assert f"Only possible: {doubts[0]}; {doubts[1]}." in found.explanation
    assert found.reasons == doubts


@pytest.mark.parametrize(("counts", "line"), [((18_204, 3), 55), ((2, 900), 32)])
def test_the_rarer_order_adapts(counts: tuple[int, int], line: int) -> None:
    """The line to change is the one that fewer acquires rely on."""
    event = inversion()
    for order, count in zip(event["orders"], counts):
        order["count"] = count
    assert f".py:{line} take " in finding(event).fix


def test_equal_orders_change_where_both_lines_are_in_one_function() -> None:
    """With equal counts the easier change is named, the same wherever the circle starts."""
    event = inversion()
    for order in event["orders"]:
        order["count"] = 7
    fix = "in audit.py:55 take stock_lock before audit_lock, as shop.py:32 does"
    assert finding(event).fix == fix
    event["orders"].reverse()
    event["edges"].reverse()
    assert finding(event).fix == fix


def test_locks_of_one_class_are_taken_by_one_call() -> None:
    """Two accounts have no order of names, so the fix takes both together; a key is kept by rising."""
    locks = [order_events.lock(n, "Account._lock", "Account._lock@bank.py") for n in (1, 2)]
    found = finding(inversion(locks=locks))
    assert found.fix.startswith("take both locks in audit.py:55 by one fastlock.acquire_all(...)")
    assert "Account._lock #1 → Account._lock #2    18,204 times" in str(found)
    keyed = finding(rank(locks=locks, reasons=["key 3 wanted while key 5 is held"]))
    assert keyed.fix == (
        "take locks of one class in rising key: Account._lock #1 of audit.py:56 before Account._lock #2 of audit.py:55"
    )


def test_first_seen_on_another_day_has_its_date() -> None:
    """A time alone means today."""
    event = inversion()
    event["orders"][1].update(first_s=order_events.FIRST_S - 86_400, count=1)
    assert 'once, 2025-11-03 21:02:11Z by thread "replica-2"' in str(finding(event))


def test_modes_of_rwlocks_are_told() -> None:
    """Whether a column waits to read or to write decides whether it blocks."""
    locks = [order_events.lock(1, "stock_lock", kind="RWLock"), order_events.lock(2, "audit_lock", kind="RWLock")]
    edges = [order_events.edge(1, 1, 2, 1, 2, "shared"), order_events.edge(2, 2, 1, 3, 4)]
    text = str(finding(inversion(locks=locks, edges=edges)))
    assert "waits to read audit_lock" in text and "waits to write stock_lock" in text


def test_two_jobs_of_one_worker_have_a_column_each() -> None:
    """A pool's worker that did both, in two jobs, stands for any two workers."""
    edges = [order_events.edge(2, 1, 2, 1, 2), order_events.edge(2, 2, 1, 3, 4)]
    text = str(finding(inversion(edges=edges, agents=[order_events.agent(2, "pool-0_0")])))
    assert re.search(r'thread "pool-0_0", job 1 +thread "pool-0_0", job 2\n', text)
    assert 'Passed        two jobs of pool thread "pool-0_0", no common lock, ' in text


def test_jobs_beside_other_agents() -> None:
    """Of three agents one that stands for two is told as such."""
    found = ring(3, agents=2)
    assert inversion_page.passed(found, Labels(found))[:2] == ["distinct agents", "two jobs of pool thread \"worker-1\""]


LONG = "a_rather_long_name_of_a_lock_{}"


@pytest.mark.parametrize(
    ("number", "name", "lines"), [(2, "lock_{}", 5), (2, LONG, 5), (3, "lock_{}", 7), (3, LONG, 13), (4, "lock_{}", 9), (4, LONG, 17)]
)
def test_up_to_four_agents_have_columns(number: int, name: str, lines: int) -> None:
    """Each agent has a column, its steps stand below each other, and what came before it goes on beside it."""
    block = str(ring(number, name)).split("time runs down\n")[1].split("\n\n")[0].splitlines()
    assert len(block) == lines + 1  # sites below what is done there where there is no room beside it
    starts = [block[0].index("thread", at) for at in [0, *[m.end() for m in re.finditer("worker-", block[0])][:-1]]]
    assert len(starts) == number
    for who, start in enumerate(starts, 1):
        told = [line[start:] for line in block[1:-1] if re.match(r"takes|waits", line[start:])]
        assert [text.split("  ")[0].strip() for text in told] == [
            f"takes {shorten(name.format(who), 30)}",
            f"waits for {shorten(name.format(who % number + 1), 30)}",
        ]
    assert block[-1] == ("    neither can go on" if number == 2 else "    none of them can go on")
    assert max(map(width, block)) <= (116 if name != LONG or number == 2 else 180)


@pytest.mark.parametrize(("number", "hidden"), [(5, 0), (12, 0), (13, 1), (500, 488)])
def test_long_circles_are_rows_and_are_cut(number: int, hidden: int) -> None:
    """More than four agents have a row each; of more than twelve the others are counted, and the last closes the circle."""
    text = str(ring(number))
    rows = re.findall(r'thread "worker-(\d+)"   +takes lock_\1 +a.py:\d+ +then waits for lock_(\d+) +b.py:\d+', text)
    assert len(rows) == min(number, 12)
    assert rows[-1] == (str(number), "1")
    assert text.count(f"… and {hidden:,} more") == (2 if hidden else 0)
    assert len(text.splitlines()) < 75
    assert f"{number:,} orders exist that make a circle" in text
    assert len(ring(number).explanation) < 300


def test_the_fix_of_a_longer_circle_turns_its_rarest_order() -> None:
    """Of many orders the rarest is turned round."""
    assert ring(3).fix == "in a.py:1 take lock_2 before lock_1: this order was taken 11 times, the others 12 times and more"


@pytest.mark.parametrize("name", ["", "ledger" * 30, "größe\t\n\x1b[31m\udc80{}", "帳簿の錠{}", "<Foo object at 0x7f3a5c2b1d30>"])
@pytest.mark.parametrize("number", [2, 3, 4, 6])
def test_any_name_keeps_the_page_in_shape(name: str, number: int) -> None:
    """Whatever a program calls its locks, the columns align and the text stays printable."""
    text = str(ring(number, name))
    text.encode("utf-8")
    assert all(line.isprintable() for line in text.splitlines())
    assert "0x" not in text
    block = text.split("time runs down\n")[1].split("\n\n")[0].splitlines()
    if number <= 4:
        for start in (match.start() for match in re.finditer("thread", block[0])):
            room = width(block[0][:start])
            reached = [line for line in block[1:-1] if width(line) > room]
            assert all(starts_at(line, room) for line in reached)


def starts_at(line: str, column: int) -> bool:
    """Tell whether a cell starts at this column of the terminal, and no other reaches into it."""
    before = next(line[:at] for at in range(len(line) + 1) if width(line[:at]) >= column)
    return width(before) == column and before.endswith("    ") or not before.strip()


def test_unknown_parts_are_called_unknown() -> None:
    """Sites and agents that are not known are called so; without orders the edges tell them."""
    event = inversion(agents=[], edges=[order_events.edge(1, 1, 2, 0, 0), order_events.edge(2, 2, 1, 0, 0)], orders=[])
    text = str(finding(event))
    assert "an unknown agent" in text and "unknown site" in text and "None" not in text
    assert "everywhere take" in text and "times" not in text
