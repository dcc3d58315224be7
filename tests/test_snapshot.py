"""snapshot() in the shape of the contract, and fingerprints that an edit elsewhere does not change."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from support import PRELUDE, ask, run_program

# Owner holds `held` and a read of `shared`; patient waits for the one, impatient for the other with a timeout.
SCENE = """
        held = fastlock.Lock(name="held", lock_class="ledger")
        shared = fastlock.RWLock()
        event = fastlock.Event()
        with held: taken = threading.Event()
        def owner():
            with held, shared.read():
                taken.set()
                threading.Event().wait()
        def patient():
            with held: pass
        def impatient():
            shared.acquire_write(timeout=100)
        start(owner); taken.wait()
        start(patient), start(impatient), start(event.wait, name="for_event")
        blocked("patient", "impatient", "for_event")
"""
SITE = {"file", "line", "function"}


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """Return the snapshot of the scene."""
    return ask(SCENE + "        tell(fastlock.snapshot().to_dict())\n")


def by_name(table: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in table[part]}


def test_its_keys_are_those_of_the_contract(table: dict[str, Any]) -> None:
    """Each part has exactly the keys of the contract, and JSON can express it."""
    assert set(table) == {"pid", "process", "level", "captured_at", "raw_locks", "agents", "locks", "waits", "findings"}
    for part, keys in {
        "agents": {"id", "kind", "name", "native_id", "loop", "holds", "waits"},
        "locks": {"id", "name", "class", "kind", "owner", "readers", "waiters", "created", "held_at"},
        "waits": {"agent", "lock", "what", "mode", "owner", "since_s", "deadline_s", "wanted_at"},
    }.items():
        assert table[part]
        assert all(set(each) == keys for each in table[part])
    assert (table["process"], table["level"], table["findings"]) == ("program.py", "detect", [])
    assert datetime.fromisoformat(table["captured_at"]).tzinfo
    assert set(by_name(table, "locks")["held"]["held_at"]) == SITE


def test_agents_hold_and_wait(table: dict[str, Any]) -> None:
    """Each thread is there with its ids, and what it holds and waits for, by lock id."""
    agents, locks = by_name(table, "agents"), by_name(table, "locks")
    assert set(agents) == {"MainThread", "owner", "patient", "impatient", "for_event"}
    assert sorted(agents["owner"]["holds"]) == sorted([locks["held"]["id"], locks["shared"]["id"]])
    assert agents["patient"]["waits"] == locks["held"]["id"]
    assert (agents["MainThread"]["holds"], agents["MainThread"]["waits"]) == ([], None)
    assert len({agent["native_id"] for agent in table["agents"]}) == 5
    assert agents["MainThread"]["native_id"] == table["pid"]


def test_locks_know_owner_readers_and_waiters(table: dict[str, Any]) -> None:
    """A lock has its owner or its readers, its waiters, its class and both sites."""
    agents, locks = by_name(table, "agents"), by_name(table, "locks")
    held, shared = locks["held"], locks["shared"]
    assert (held["owner"], held["readers"], held["waiters"]) == (agents["owner"]["id"], [], [agents["patient"]["id"]])
    assert (held["class"], held["kind"], held["created"]["line"], held["held_at"]["line"]) == ("ledger", "Lock", 5, 10)
    assert (shared["owner"], shared["readers"]) == (None, [agents["owner"]["id"]])
    assert (shared["kind"], shared["waiters"]) == ("RWLock", [agents["impatient"]["id"]])


def test_waits_have_age_and_deadline(table: dict[str, Any]) -> None:
    """A wait says for what, how, since when and until when."""
    names = {agent["id"]: agent["name"] for agent in table["agents"]}
    waits = {names[wait["agent"]]: wait for wait in table["waits"]}
    owner = by_name(table, "agents")["owner"]["id"]
    patient, impatient, event = waits["patient"], waits["impatient"], waits["for_event"]
    assert (patient["what"], patient["mode"], patient["owner"]) == ("Lock.acquire", "exclusive", owner)
    assert (impatient["what"], impatient["owner"]) == ("RWLock.acquire", None)
    assert (event["what"], event["mode"], event["deadline_s"]) == ("Event.wait", "shared", None)
    assert 0 <= patient["since_s"] < 60
    assert patient["deadline_s"] is None
    assert 60 < impatient["deadline_s"] <= 100
    assert patient["wanted_at"]["line"] == 14


def test_a_quiet_process_has_an_empty_table() -> None:
    """Locks that nobody holds or wants are not in it, and raw_locks is a number."""
    table = ask(
        """
        locks = [fastlock.Lock() for _ in range(1000)]
        for lock in locks:
            with lock: pass
        tell(fastlock.snapshot().to_dict())
        """
    )
    assert (table["locks"], table["waits"], [agent["name"] for agent in table["agents"]]) == ([], [], ["MainThread"])
    assert table["raw_locks"] == 0


def test_an_ended_owner_is_kept_and_others_are_not() -> None:
    """A thread that has ended stays in the table as long as it owns something."""
    names = ask(
        """
        lock = fastlock.RLock()
        start(lock.acquire, name="left it locked").join()
        start(lambda: fastlock.Lock().acquire(), name="left nothing").join()
        with fastlock.Lock():
            wait_until(lambda: len(fastlock.snapshot().agents) == 2)
        tell([agent.name for agent in fastlock.snapshot().agents])
        """
    )
    assert sorted(names) == ["MainThread", "left it locked"]


def test_findings_are_in_it() -> None:
    """What was found so far is part of the snapshot."""
    told = ask(
        """
        ring([fastlock.RLock(), fastlock.RLock()])
        found("FL001")
        table = fastlock.snapshot()
        tell([table.findings == tuple(fastlock.findings()), table.to_dict()["findings"][0]["code"]])
        """
    )
    assert told == [True, "FL001"]


# ---- fingerprints

PARTS = {
    "circle": """
left = fastlock.RLock()
right = fastlock.RLock()
both = threading.Barrier(2)
def first():
    with left:
        both.wait()
        with right: pass
def second():
    with right:
        both.wait()
        blocked("first")
        with left: pass
start(first), start(second)
code = "FL001"
""",
    "unnamed locks": """
def make():
    return [fastlock.RLock() for _ in range(2)]
ring(make())
code = "FL001"
""",
    "orphan": """
class Pool:
    def __init__(self):
        self._lock = fastlock.RLock()
pool = Pool()
def owner():
    pool._lock.acquire()
def waiter():
    pool._lock.acquire()
start(owner).join()
start(waiter)
code = "FL003"
""",
    "long wait": """
fastlock.configure(slow_wait=0.03)
lock = fastlock.RWLock()
def owner():
    with lock.read():
        threading.Event().wait()
def waiter():
    with lock.write(): pass
start(owner); wait_until(lock.locked)
start(waiter)
code = "FL020"
""",
}
END = "tell([found(code)[0].fingerprint, found(code)[0].edges[0].wanted_at.line])\n"


def fingerprint(source: str, name: str = "program.py") -> tuple[str, int]:
    done = run_program(PRELUDE + source + END, name=name)
    assert done.returncode == 0, done.stderr
    value, line = json.loads(done.stdout)
    return value, line


@pytest.mark.parametrize("source", PARTS.values(), ids=PARTS)
def test_edits_elsewhere_do_not_change_a_fingerprint(source: str) -> None:
    """Lines above and between, in another run and directory, leave the fingerprint; the lines have moved."""
    before, line = fingerprint(source)
    moved = "# above\n" * 7 + source.replace("\ndef ", "\n\n\n# between\ndef ")
    after, moved_line = fingerprint(moved)
    assert before == after
    if source != PARTS["unnamed locks"]:
        assert line != moved_line


def test_another_defect_has_another_fingerprint() -> None:
    """Other locks, and other source text in the sites, are another defect; who closes the circle does not matter."""
    circle = PARTS["circle"]
    first_closes = 'with left:\n        both.wait()\n        blocked("second")'
    mirrored = circle.replace('blocked("first")', "pass").replace("with left:\n        both.wait()", first_closes)
    renamed = circle.replace("left", "leftmost")
    reworded = circle.replace("with right: pass", "with right: print()")
    values = [fingerprint(source)[0] for source in (circle, mirrored, renamed, reworded)]
    assert values[0] == values[1]
    assert len(set(values)) == 3
    assert all(len(value) == 64 for value in values)
