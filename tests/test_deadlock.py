"""FL001: circles of any length over all kinds of locks, how sure each one is, and silence where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from support import PRELUDE, answer, ask, run_program


def names(finding: dict[str, Any]) -> list[str]:
    by_id = {agent["id"]: agent["name"] for agent in finding["agents"]}
    return [by_id[edge["agent"]] for edge in finding["edges"]]


def assert_circle(finding: dict[str, Any], length: int) -> None:
    """Each agent waits for what the next one holds, and the one that closed the circle comes first."""
    edges = finding["edges"]
    assert (finding["code"], len(edges), len(finding["agents"]), len(finding["locks"])) == ("FL001", length, length, length)
    for number, edge in enumerate(edges):
        assert edge["waits"] == edges[(number + 1) % length]["holds"]
        assert edge["held_at"]["line"] and edge["wanted_at"]["line"]
    assert names(finding)[0] == f"t{length - 1}"


@pytest.mark.parametrize("length", [2, 3, 100])
def test_a_circle_is_found_as_it_forms(length: int) -> None:
    """Circles of 2, 3 and 100 threads are one proven finding each, with every edge."""
    findings = ask(
        f"""
        ring([fastlock.RLock() for _ in range({length})])
        found("FL001")
        tell([finding.to_dict() for finding in fastlock.findings()])
        """
    )
    assert len(findings) == 1
    assert_circle(findings[0], length)
    assert (findings[0]["tier"], findings[0]["clears"], findings[0]["behind"]) == ("proven", False, 0)
    assert findings[0]["reasons"] == ["confirmed twice"]


def test_a_long_circle_is_told_by_a_part_and_kept_whole() -> None:
    """The text shows twelve of forty agents; facts are those of all, and so is the fingerprint, a lone kind of lock included."""
    done = run_program(
        PRELUDE
        + """
import pickle
from fastlock.fingerprints import fingerprint
ring([fastlock.RLock(name="rare" if number == 20 else "common") for number in range(40)])
(finding,) = found("FL001")
whole, part = [fingerprint("FL001", finding.locks, edges) for edges in (finding.edges, finding.edges[:12])]
assert pickle.loads(pickle.dumps(finding)) == finding
tell([str(finding), finding.to_dict(), finding.explanation, whole, part])
"""
    )
    text, facts, explanation, whole, part = answer(done)
    assert_circle(facts, 40)
    assert sorted(names(facts)) == sorted(f"t{number}" for number in range(40))
    assert sum(lock["name"] == "rare" for lock in facts["locks"]) == 1
    assert facts["fingerprint"] == whole != part
    assert f"{text}\n" in done.stderr
    assert text.startswith("FL001 deadlock: 40 agents, 40 locks") and explanation.startswith("40 agents wait in a circle")
    assert (text.count("\n    waits  "), text.count("… and 28 more")) == (12, 2)


def test_two_locks_made_in_two_lines_keep_their_names() -> None:
    """Locks, classes and sites are those of the source, each edge's own."""
    finding = ask(
        """
        left = fastlock.Lock()
        right = fastlock.Lock()
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
        tell(found("FL001")[0].to_dict())
        """
    )
    locks = {lock["id"]: lock for lock in finding["locks"]}
    second, first = finding["edges"]
    assert [locks[second[key]]["name"] for key in ("holds", "waits")] == ["right", "left"]
    assert [second["held_at"]["line"], second["wanted_at"]["line"]] == [13, 16]
    assert [first["held_at"]["line"], first["wanted_at"]["line"]] == [9, 11]
    assert locks[first["holds"]]["created"]["line"] == 5
    assert [agent["stack"][-1]["text"] for agent in finding["agents"]] == ["with left: pass", "with right: pass"]


MODES = {
    "write, write": ("acquire_write", "acquire_write", "exclusive"),
    "write, read": ("acquire_write", "acquire_read", "shared"),
    "read, write": ("acquire_read", "acquire_write", "exclusive"),
}


@pytest.mark.parametrize("hold, want, mode", MODES.values(), ids=MODES)
def test_rwlocks_in_every_mode_that_excludes(hold: str, want: str, mode: str) -> None:
    """Readers and writers of two RWLocks deadlock as soon as one of them excludes the other."""
    finding = ask(
        f"""
        ring([fastlock.RWLock(), fastlock.RWLock()], "{hold}", "{want}")
        tell(found("FL001")[0].to_dict())
        """
    )
    assert_circle(finding, 2)
    assert (finding["tier"], [edge["mode"] for edge in finding["edges"]]) == ("proven", [mode, mode])


def test_readers_of_two_rwlocks_do_not_deadlock() -> None:
    """Reads in opposite order exclude nobody."""
    told = ask(
        """
        a, b = fastlock.RWLock(), fastlock.RWLock()
        both = threading.Barrier(2)
        def read(one, other):
            with one.read():
                both.wait()
                with other.read():
                    both.wait()
        threads = [start(read, a, b), start(read, b, a)]
        for thread in threads:
            thread.join()
        tell([len(fastlock.findings()), [repr(thread.error) for thread in threads]])
        """
    )
    assert told == [0, ["None", "None"]]


def test_a_reader_behind_a_waiting_writer_is_part_of_a_circle() -> None:
    """A reader that queues behind a writer, which waits for a first reader, which waits for the second one's lock."""
    finding = ask(
        """
        shared, plain = fastlock.RWLock(), fastlock.RLock()
        reading, plain_taken = threading.Event(), threading.Event()
        def t2():
            with shared.read():
                reading.set()
                plain_taken.wait()
                blocked("writer", "late_reader")
                with plain: pass
        def writer():
            reading.wait()
            with shared.write(): pass
        def late_reader():
            with plain:
                plain_taken.set()
                blocked("writer")
                with shared.read(): pass
        start(t2), start(writer), start(late_reader)
        tell(found("FL001")[0].to_dict())
        """
    )
    assert names(finding) == ["t2", "late_reader", "writer"]
    assert [edge["mode"] for edge in finding["edges"]] == ["exclusive", "shared", "exclusive"]
    assert (finding["tier"], finding["edges"][2]["holds"]) == ("proven", None)
    assert "behind writer" in finding["explanation"] or "circle" in finding["explanation"]


def test_one_stuck_reader_is_enough() -> None:
    """A writer needs all readers to end: that another one runs does not save it."""
    finding = ask(
        """
        shared, plain = fastlock.RWLock(), fastlock.RLock()
        reading = threading.Barrier(3)
        def running_reader():
            with shared.read():
                reading.wait()
                threading.Event().wait()
        def t1():
            with shared.read():
                reading.wait()
                blocked("t0")
                with plain: pass
        def t0():
            with plain:
                reading.wait()
                with shared.write(): pass
        start(running_reader), start(t1), start(t0)
        tell(found("FL001")[0].to_dict())
        """
    )
    assert (finding["tier"], sorted(names(finding))) == ("proven", ["t0", "t1"])


# ---- how sure it is

EVIDENCE = {
    "never released": ("", "possible"),
    "released by its owner once": ("lock.acquire(); lock.release()", "proven"),
    "taken by with once, and left": ("with lock: pass", "proven"),
}


@pytest.mark.parametrize("before, tier", EVIDENCE.values(), ids=EVIDENCE)
def test_the_tier_of_a_lock_is_the_evidence_of_ownership(before: str, tier: str) -> None:
    """A Lock taken by acquire() proves nothing until its owner has released it once."""
    finding = ask(
        f"""
        fastlock.configure(slow_wait=0.05)
        locks = fastlock.Lock(name="one"), fastlock.Lock(name="other")
        for lock in locks:
            {before or "pass"}
        ring(locks, "acquire", "acquire")
        tell(next(finding for finding in found("FL001") if finding.code == "FL001").to_dict())
        """
    )
    assert finding["tier"] == tier
    doubts = [reason for reason in finding["reasons"] if "anybody may release it" in reason]
    assert len(doubts) == (0 if tier == "proven" else 2)


def test_one_lock_without_evidence_makes_the_circle_possible() -> None:
    """A circle is as sure as its least sure lock, which the reasons name."""
    finding = ask(
        """
        fastlock.configure(slow_wait=0.05)
        plain, sure = fastlock.Lock(name="plain"), fastlock.RLock(name="sure")
        ring([plain, sure], "acquire", "acquire")
        tell(next(finding for finding in found("FL001") if finding.code == "FL001").to_dict())
        """
    )
    assert finding["tier"] == "possible"
    assert [reason.split()[0] for reason in finding["reasons"]] == ["confirmed", "plain"]
    assert "possible, not proven" in finding["explanation"].lower()


def test_locks_held_by_with_are_evidence_enough() -> None:
    """A Lock that is held by `with` is proven at its very first acquisition."""
    finding = ask(
        """
        ring([fastlock.Lock(name="one"), fastlock.Lock(name="other")])
        tell(found("FL001")[0].to_dict())
        """
    )
    assert_circle(finding, 2)
    assert finding["tier"] == "proven"


def test_a_timeout_in_the_circle_makes_it_clear_by_itself() -> None:
    """The tier is will-clear, and when the wait has given up nobody waits any more."""
    told = ask(
        """
        one, other = fastlock.RLock(), fastlock.RLock()
        both = threading.Barrier(2)
        def patient():
            with one:
                both.wait()
                with other: pass
        def impatient():
            with other:
                both.wait()
                blocked("patient")
                assert not one.acquire(timeout=0.05)
        threads = start(patient), start(impatient)
        for thread in threads:
            thread.join()
        finding = found("FL001")[0]
        tell([finding.tier, finding.clears, [repr(t.error) for t in threads], len(fastlock.snapshot().waits), str(finding)])
        """
    )
    assert told[:4] == ["will-clear", True, ["None", "None"], 0]
    assert "FL001 deadlock that will clear: 2 agents, 2 locks" in told[4]
    assert 'By itself?    yes: thread "impatient" gives up in' in told[4]


SIGNALS = {"said so": ("signal=True", "pass"), "released by another": ("", "lock.acquire(); start(lock.release).join()")}


@pytest.mark.parametrize("option, before", SIGNALS.values(), ids=SIGNALS)
def test_signal_locks_leave_the_reasoning(option: str, before: str) -> None:
    """A lock that another thread releases has no owner: no finding, not even a possible or a slow one."""
    told = ask(
        f"""
        fastlock.configure(slow_wait=0.02)
        lock, other = fastlock.Lock({option}), fastlock.RLock()
        {before}
        ring([other, lock], "acquire", "acquire")
        blocked("t0", "t1")
        found("FL020")
        table = fastlock.snapshot().to_dict()
        tell([[f.code for f in fastlock.findings()], len(fastlock.find_deadlocks()),
              [each["owner"] for each in table["locks"] if each["kind"] == "Lock"]])
        """
    )
    assert told == [["FL020"], 0, [None]]


# ---- semaphores


def test_a_circle_of_semaphores_is_possible_and_late() -> None:
    """Semaphores whose holders are known deadlock possibly, after slow_wait and not before."""
    told = ask(
        """
        one, other = fastlock.Semaphore(1), fastlock.Semaphore(1)
        ring([one, other], "acquire", "acquire")
        blocked("t0", "t1")
        early = [len(fastlock.findings()), len(fastlock.find_deadlocks())]
        fastlock.configure(slow_wait=0.05)
        one, other = fastlock.Semaphore(1, name="one"), fastlock.BoundedSemaphore(1, name="other")
        ring([one, other], "acquire", "acquire")
        tell([early, found("FL001")[0].to_dict()])
        """
    )
    assert told[0] == [0, 1]
    assert (told[1]["tier"], told[1]["clears"]) == ("possible", False)
    assert "one is a semaphore: anybody may release it" in told[1]["reasons"]


def test_one_running_holder_of_a_semaphore_is_enough_to_go_on() -> None:
    """Who waits for a permit needs any one holder: while one of two runs there is no circle."""
    told = ask(
        """
        fastlock.configure(slow_wait=0.05)
        permits, lock = fastlock.Semaphore(2), fastlock.RLock()
        holding, stop = threading.Barrier(3), threading.Event()
        def runs():
            with permits:
                holding.wait()
                stop.wait()
        def stuck():
            with permits:
                holding.wait()
                blocked("wants")
                with lock: pass
        def wants():
            with lock:
                holding.wait()
                with permits: pass
        threads = start(runs), start(stuck), start(wants)
        blocked("stuck", "wants")
        found("FL020")
        before = [sorted({f.code for f in fastlock.findings()}), len(fastlock.find_deadlocks())]
        stop.set()
        for thread in threads:
            thread.join()
        tell(before)
        """
    )
    assert told == [["FL020"], 0]


# ---- silence, and looking on demand


def test_500_threads_that_wait_for_a_living_owner_are_no_finding() -> None:
    """However many wait: as long as the owner runs nothing is found and nothing is printed."""
    done = run_program(
        PRELUDE
        + """
locks = [fastlock.Lock(), fastlock.RLock(), fastlock.RWLock().write()]
for lock in locks:
    lock.__enter__()
def take(lock):
    with lock: pass
threads = [start(take, locks[n % 3], name=f"w{n}") for n in range(500)]
blocked(*[thread.name for thread in threads])
print(len(fastlock.findings()), len(fastlock.find_deadlocks()))
for lock in locks:
    lock.__exit__(None, None, None)
for thread in threads:
    thread.join()
print(len(fastlock.findings()), len(fastlock.snapshot().waits), {thread.error for thread in threads})
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 0\n0 0 {None}\n", "")


def test_those_who_wait_behind_the_circle_are_counted() -> None:
    """Threads that wait for a lock of the circle are behind it, and no part of it."""
    told = ask(
        """
        locks = [fastlock.RLock(), fastlock.RLock()]
        def behind():
            wait_until(locks[1].locked)
            with locks[1]: pass
        both = threading.Barrier(2)
        def t1():
            with locks[1]:
                for n in range(3):
                    start(behind, name=f"behind{n}")
                both.wait()
                blocked("t0", "behind0", "behind1", "behind2")
                with locks[0]: pass
        def t0():
            with locks[0]:
                both.wait()
                with locks[1]: pass
        start(t1), start(t0)
        finding = found("FL001")[0]
        start(behind, name="late"); blocked("late")
        tell([finding.behind, len(finding.agents), "3 more wait for these locks" in str(finding), len(fastlock.findings())])
        """
    )
    assert told == [3, 2, True, 1]


def test_find_deadlocks_looks_on_demand_whatever_the_level() -> None:
    """At level off nothing is reported, and find_deadlocks() finds each circle once, with stacks."""
    told = ask(
        """
        fastlock.set_level("off")
        ring([fastlock.RLock() for _ in range(3)])
        blocked("t0", "t1", "t2")
        deadlocks = fastlock.find_deadlocks()
        tell([len(fastlock.findings()), [f.to_dict() for f in deadlocks]])
        """
    )
    assert (told[0], len(told[1])) == (0, 1)
    assert (told[1][0]["code"], len(told[1][0]["agents"])) == ("FL001", 3)
    assert all(agent["stack"] for agent in told[1][0]["agents"])
