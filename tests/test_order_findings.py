"""Predictions become findings: their facts, their fingerprint, what they do to the agent, and how one is suppressed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path
from typing import Any

import pytest

import order_events
from fastlock import assemble, config, suppression
from fastlock.findings import Finding, OrderFact, Site
from fastlock.kept import KeptFindings
from fastlock.reporting import jsonl, logs
from order_events import SITES, inversion, rank
from support import ask

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "finding.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    """Leave the settings as they were."""
    before = config.current()
    yield
    config._change(asdict(before))


def finding(event: dict[str, Any] | None = None, sites: dict[int, Any] = SITES) -> Finding:
    """The finding of an event."""
    order_events.provide_sources(sites)
    return assemble.finding_from_event(event or inversion(), site=lambda n: sites[n][:4] if n in sites else None)


# ---- facts


def test_orders_have_their_facts() -> None:
    """Each order has its locks, both sites with their source, how often and when first, and by whom."""
    first, second = finding().orders
    assert first == OrderFact(
        first=1,
        then=2,
        held_at=Site("/srv/app/shop.py", 32, "Shop.sell", "with stock_lock:"),
        wanted_at=Site("/srv/app/audit.py", 47, "Audit.add", "with audit_lock:"),
        count=18_204,
        first_seen="2025-11-04T21:02:11.500+00:00",
        agent=1,
    )
    assert (second.first, second.then, second.count, second.agent) == (2, 1, 3, 2)
    assert finding().filters == ("distinct agents", "no common lock", "not ordered by start/join", "modes can block")
    with pytest.raises(FrozenInstanceError):
        first.count = 7  # type: ignore[misc]


@pytest.mark.parametrize("event", [inversion(), inversion("possible", ("a wait has a timeout",)), rank()], ids=str)
def test_the_json_is_the_closed_contract(event: dict[str, Any]) -> None:
    """Orders and filters are for the text: the JSON has the documented keys only."""
    jsonschema = pytest.importorskip("jsonschema")
    facts = json.loads(jsonl.encode(finding(event)))
    jsonschema.Draft202012Validator(SCHEMA).validate(facts)
    assert "orders" not in facts and "filters" not in facts
    assert facts["clears"] is None and facts["reasons"] == event["reasons"]


@pytest.mark.parametrize(("event", "level"), [(inversion(), "WARNING"), (rank(), "ERROR")], ids=["FL010", "FL011"])
def test_log_records(event: dict[str, Any], level: str, caplog: pytest.LogCaptureFixture) -> None:
    """A prediction is a warning; a broken rank, which is proven, an error."""
    assert logs.emit(finding(event))
    (record,) = caplog.records
    assert (record.levelname, record.fastlock_code) == (level, event["code"])
    assert "\n" not in record.getMessage()


# ---- fingerprint


def test_fingerprint_is_the_same_in_the_next_run() -> None:
    """Ids, agents, counts, times and where the circle was entered make no other defect; its value is pinned."""
    event = inversion()
    other = inversion("possible", ("a doubt",), edges=list(reversed(copy.deepcopy(event["edges"]))))
    numbers = {1: 71, 2: 72}
    for each in other["edges"]:
        each.update(agent=each["agent"] + 5, holds=numbers[each["holds"]], waits=numbers[each["waits"]])
    for each in other["locks"]:
        each["id"] = numbers[each["id"]]
    other["orders"] = [order_events.order(each, 5) for each in other["edges"]]
    other.update(closing=6, agents=[order_events.agent(6, "x"), order_events.agent(7, "y")], wall_s=5.0)
    assert finding(other).fingerprint == finding(event).fingerprint
    assert finding(event).fingerprint[:12] == "3392419b35c3"
    assert finding(rank()).fingerprint[:12] == "bc1b83e908d4"


def test_fingerprint_is_the_same_elsewhere_and_after_an_edit_above() -> None:
    """Other directories, lines and versions without qualified names make no other defect."""
    moved = {
        number: (file.replace("/srv/app", "/opt/x"), line + 7, function.rpartition(".")[2], first + 7, text)
        for number, (file, line, function, first, text) in SITES.items()
    }
    for event in (inversion(), rank()):
        assert finding(event, moved).fingerprint == finding(event).fingerprint


def test_fingerprint_tells_other_orders_apart() -> None:
    """Another lock class, and another line of code, is another defect."""
    renamed = inversion()
    renamed["locks"][0]["class"] = "config_lock"
    rewritten = {**SITES, 4: (*SITES[4][:4], "stock_lock.acquire()")}
    prints = {finding().fingerprint, finding(renamed).fingerprint, finding(sites=rewritten).fingerprint}
    assert len(prints) == 3


# ---- once, and once more where the tier rises


def test_a_rise_of_the_tier_reports_again() -> None:
    """Possible, then high, is two reports with one count; high, then possible, is one, and it stays high."""
    kept = KeptFindings()
    possible, high = finding(inversion("possible", ("a doubt",))), finding()
    assert [kept.record(each)[1] for each in (possible, possible, high, high, possible)] == [True, False, True, False, False]
    (last,) = kept.all()
    assert (last.tier, last.reasons, last.count) == ("high", (), 5)


def test_other_codes_do_not_rise() -> None:
    """A deadlock is reported once for each fingerprint, as before."""
    kept = KeptFindings()
    possible = replace(finding(), code="FL001", tier="possible")
    assert [kept.record(each)[1] for each in (possible, replace(possible, tier="high"))] == [True, False]


# ---- suppression

MATCHES = [
    ("339241", True),
    ("3392419B35C3", True),
    ("33924", False),
    ("ffffff", False),
    ("stock_lock", True),
    ("stock_lock@shop.py", True),
    ("*@shop.py", True),
    ("audit_*", True),
    ("Audit_*", False),
    ("stock", False),
    ("*", True),
]


@pytest.mark.parametrize(("pattern", "suppressed"), MATCHES)
def test_a_pattern_is_a_fingerprint_or_a_glob(pattern: str, suppressed: bool) -> None:
    """The start of a fingerprint, from 6 digits on, or a glob of the class or name of one of the locks."""
    config.configure(suppress=["nothing_*", pattern])
    assert suppression.matches(finding()) is suppressed


def test_patterns_of_a_file_come_on_top(tmp_path: Path) -> None:
    """A file's patterns count beside those of the code."""
    path = tmp_path / "known.txt"
    path.write_text("audit_*\n")
    config.configure(suppress=["9f3a1c"], suppress_file=path)
    assert suppression.patterns() == ("9f3a1c", "audit_*")
    assert suppression.matches(finding())


def test_a_name_of_hex_digits_is_a_glob_as_well() -> None:
    """A lock may be called like a fingerprint."""
    event = inversion()
    event["locks"][0]["name"] = "deadbeef"
    config.configure(suppress=["deadbeef"])
    assert suppression.matches(finding(event))


def test_what_blocks_is_never_suppressed() -> None:
    """A pattern that was written for an inversion does not hide the deadlock it becomes."""
    config.configure(suppress=["*"])
    assert not suppression.matches(replace(finding(), code="FL001"))
    assert suppression.matches(finding(rank()))


# ---- the agent that completes it

PROGRAM = """
from fastlock import _core, watchdog
import order_events
from order_events import inversion, rank
_core.site = order_events.site
order_events.provide_sources()
def outcome(event):
    error = watchdog.handle(event)
    assert fastlock.config.current() is not None and watchdog.flush(90)
    return error if error is None else [type(error).__name__, isinstance(error, RuntimeError), error.finding.code, str(error)[:30]]
"""


def told(source: str, **options: Any) -> Any:
    return ask(PROGRAM.replace("\n", "\n        ") + source, **options)


RAISED = ["LockOrderError", True, "FL010", "FL010 lock-order inversion (hi"]


def test_raise_is_the_locks_own_then_the_processs() -> None:
    """What the lock says counts before what the process says."""
    outcomes = told(
        """
        got = [outcome(inversion()), outcome(inversion(policy="raise"))]
        fastlock.configure(on_inversion="raise")
        tell([*got, outcome(inversion()), outcome(inversion(policy="report")), fastlock.findings()[0].count])
        """
    )
    assert outcomes == [None, RAISED, RAISED, None, 4]


def test_raise_acts_on_high_and_on_ranks_only() -> None:
    """What is only possible never raises, and on_deadlock has no say."""
    outcomes = told(
        """
        fastlock.configure(on_inversion="raise", on_deadlock="exit")
        got = [outcome(inversion("possible", ["a doubt"])), outcome(rank())[2], outcome(inversion())[2]]
        tell([*got, [[each.code, each.tier, each.count] for each in fastlock.findings()]])
        """
    )
    assert outcomes == [None, "FL011", "FL010", [["FL010", "high", 2], ["FL011", "proven", 1]]]


def test_a_conditions_reacquisition_is_never_refused() -> None:
    """Nothing is raised where wait() takes its lock back, and the page does not say so."""
    got = ask(
        """
        fastlock.configure(level="order", on_inversion="raise")
        outer, inner = fastlock.RLock(name="outer"), fastlock.RLock(name="inner")
        condition = fastlock.Condition(inner)
        started, shown = threading.Event(), threading.Event()
        def inwards():
            started.wait()
            with inner, outer: pass
            shown.set()
        def outwards():
            shown.wait()
            with condition:
                with outer:
                    condition.wait(0.01)
        threads = start(inwards), start(outwards)
        started.set()
        for thread in threads: thread.join()
        fastlock.watchdog.flush(90)
        tell([[each.code, each.tier, each.refused, "Refused" in str(each)] for each in fastlock.findings()])
        """
    )
    assert got == [["FL010", "high", "", False]]


def test_the_error_has_the_way_of_the_agent() -> None:
    """The finding of the error has the stack of the agent that would have completed the inversion, and only this one's."""
    stacks = told(
        """
        def completes():
            return watchdog.handle(inversion(policy="raise"))
        finding = completes().finding
        tell([[site.function for site in each.stack[-1:]] for each in finding.agents])
        """
    )
    assert stacks == [[], ["completes"]]


def test_suppressed_is_counted_and_neither_reported_nor_raised(tmp_path: Path) -> None:
    """A suppressed one is silent but visible: in suppressed(), and in the next report of another one."""
    file = tmp_path / "findings.json"
    got = told(
        f"""
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        fastlock.configure(on_inversion="raise", suppress=["stock_lock"], json={str(file)!r})
        seen = []
        fastlock.on_finding(seen.append)
        silent = [outcome(inversion("possible", ["a doubt"])), outcome(inversion()), outcome(rank())]
        kept = [[each.code, each.tier, each.count] for each in fastlock.suppressed()]
        fastlock.configure(suppress=["config*"], on_inversion="report")
        outcome(rank()), outcome(inversion())
        text = os.read(reader, 65536).decode()
        tell([silent, kept, len(seen), len(fastlock.findings()), text])
        """
    )
    *numbers, text = got
    assert numbers == [[None] * 3, [["FL010", "high", 2], ["FL011", "proven", 1]], 2, 2]
    assert text.startswith("FL011 ") and text.count("fastlock: suppressed 2, see fastlock.suppressed()\n") == 1
    assert text.index("explain FL011") < text.index("suppressed 2") < text.index("explain FL010")
    assert file.read_text().count("\n") == 2


def test_a_rise_is_reported_everywhere_again(tmp_path: Path) -> None:
    """Text, JSON and hooks get an inversion once more when it has become likely."""
    file = tmp_path / "findings.json"
    got = told(
        f"""
        fastlock.configure(json={str(file)!r})
        seen = []
        fastlock.on_finding(seen.append)
        for event in (inversion("possible", ["a doubt"]), inversion("possible", ["a doubt"]), inversion(), inversion()):
            outcome(event)
        tell([[each.tier, each.count] for each in seen])
        """
    )
    assert got == [["possible", 1], ["high", 3]]
    assert [json.loads(line)["tier"] for line in file.read_text().splitlines()] == ["possible", "high"]
