"""The console's lints: what each says, that it needs what it claims to need, and that healthy programs get none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from console_support import NOW_NS, Process, fleet, grids, lines, rows, shown
from fastlock.console import lints as rules
from fastlock.console.history import READINGS, SPAN_S, History
from fastlock.console.lints import KINDS, Lint, lints
from fastlock.console.names import Names
from fastlock.console.pages import page
from fastlock.console.seen import STOPPED, Target
from fastlock.console.sleeping import Sleep, sleep_of
from fastlock.console.tables import Query
from outside_support import running
from support import wait_until

STEP_NS = 500_000_000


def judged(moments: Sequence[Process], asleep: Callable[[int, int], Sleep | None] = lambda pid, tid: None, **facts: Any) -> list[Lint]:
    """What is said of the last of these moments."""
    history = History()
    for made in moments:
        history.note([made.seen()])
    seen = moments[-1].seen(**facts)
    return lints(seen, history.of(seen.pid), Names(seen), asleep)


def kinds(found: Sequence[Lint]) -> list[str]:
    """The kinds of lints."""
    return [lint.kind for lint in found]


def over(number: int, make: Callable[[Process, int], None]) -> list[Process]:
    """Moments half a second apart."""
    moments = []
    for at in range(number):
        made = Process(now_ns=NOW_NS + at * STEP_NS)
        make(made, at)
        moments.append(made)
    return moments


def queue(made: Process, owner: int, waiters: int, age_s: float, kind: str = "Lock", what: str = "Lock.acquire") -> None:
    """A lock with an owner of 40 agents and so many others waiting for it."""
    agents = [made.agent(f"a{number}") for number in range(40)]
    lock = made.lock("ledger", agents[owner], "pay.py:10", kind)
    for number in range(waiters):
        made.wait(agents[20 + number], lock, age_s - number * 0.001, f"pay.py:{20 + number}", what)


# ---- each lint ----------------------------------------------------------------------------------------------------


def test_a_convoy_has_a_queue_that_stays_while_owners_change() -> None:
    """Eight in the queue in every reading, and the lock goes from one to the next."""
    found = judged(over(6, lambda made, at: queue(made, at % 5, 9, 0.3)))
    assert kinds(found) == ["convoy"]
    assert found[0].target == Target("lock", 41, 100) and found[0].about == "ledger"
    assert "9 queue for ledger, never fewer than 9" in found[0].what and "5 owners" in found[0].what
    assert "split it" in found[0].fix


@pytest.mark.parametrize(
    "make",
    [
        lambda made, at: queue(made, at % 5, 7, 0.3),  # one too few
        lambda made, at: queue(made, at % 2, 9, 0.3),  # two who hand it to each other
        lambda made, at: queue(made, at, 9 if at != 3 else 2, 0.3),  # the queue was gone in between
    ],
)
def test_no_convoy_without_all_of_it(make: Callable[[Process, int], None]) -> None:
    """Fewer, or an owner that stays, or a queue that was gone meanwhile: no convoy."""
    assert "convoy" not in kinds(judged(over(6, make)))


def test_always_contended_needs_a_wait_in_every_reading_of_five_seconds() -> None:
    """And the waits have to be other ones: else one owner keeps it."""
    found = judged(over(12, lambda made, at: queue(made, at % 2, 1, 0.2)))
    assert kinds(found) == ["always-contended"]
    assert "in each of the last 12 readings (5.5s), up to 1 at once" in found[0].what
    assert judged(over(9, lambda made, at: queue(made, at % 2, 1, 0.2))) == []
    assert judged(over(12, lambda made, at: queue(made, at % 2, 1 if at != 6 else 0, 0.2))) == []
    assert "always-contended" not in kinds(judged(over(12, lambda made, at: queue(made, 1, 1, at * 0.5))))


def test_a_long_hold_is_one_owner_for_five_seconds_of_a_wait() -> None:
    """With the place where it was taken, and what the owner waits for meanwhile, where that is an event."""
    found = judged(over(1, lambda made, at: queue(made, 1, 2, 6)))
    assert kinds(found) == ["long-hold"]
    assert found[0].what == "a1 keeps ledger from 2 others, the oldest for 6.0s"
    assert "taken in pay.py:10" in found[0].fix
    assert judged(over(1, lambda made, at: queue(made, 1, 2, 4))) == []
    assert judged(over(8, lambda made, at: queue(made, 1 + at // 7, 2, 6 + at * 0.5))) == []  # it has just changed hands

    def resting(made: Process, at: int) -> None:
        queue(made, 1, 1, 6)
        made.wait(2, made.lock("ready", kind="Event"), 6, "main.py:3", "Event.wait")

    assert "waits for ready meanwhile (Event.wait at main.py:3)" in judged(over(1, resting))[0].what


def test_many_locks_of_one_class_are_one_lint() -> None:
    """The oldest is told, the others are counted."""

    def many(made: Process, at: int) -> None:
        for number in range(12):
            lock = made.lock(f"account {number}", made.agent(f"owner {number}"), "pay.py:1", lock_class="account" if number else "other")
            made.wait(made.agent(f"waiter {number}"), lock, 6 + number)

    found = judged(over(1, many))
    assert [lint.about for lint in found] == ["account 11", "account 0"]
    assert found[0].what.endswith("; the same of 10 more locks of class account") and "more" not in found[1].what


def test_who_waits_for_a_lock_itself_is_not_to_blame() -> None:
    """The long hold is that of the last one of a chain."""

    def chain(made: Process, at: int) -> None:
        one, two, three = made.agent("one"), made.agent("two"), made.agent("three")
        first, second = made.lock("first", one, "a.py:1"), made.lock("second", two, "b.py:1")
        made.wait(two, first, 9)
        made.wait(three, second, 8)

    assert [lint.about for lint in judged(over(1, chain))] == ["first"]


@pytest.mark.parametrize("kind", ["Event", "Condition", "Result", "Barrier", "ThreadPoolExecutor", "Wait"])
def test_what_has_no_owner_is_never_a_lint(kind: str) -> None:
    """Idle workers, joins and results may wait for hours."""
    moments = over(12, lambda made, at: queue(made, 1, 12, 3600, kind, f"{kind}.wait"))
    assert judged(moments, lambda pid, tid: Sleep("sleeps for a time", "hrtimer_nanosleep")) == []


def test_a_starving_writer_sees_readers_come_in_after_it() -> None:
    """Who reads since before it waits is no sign of that."""

    def reads(made: Process, readers: tuple[int, ...], age_s: float) -> None:
        for number in range(6):
            made.agent(f"r{number}")
        writer = made.agent("writer")
        made.wait(writer, made.lock("rates", kind="RWLock", readers=readers), age_s, what="RWLock.acquire_write")

    found = judged(over(5, lambda made, at: reads(made, (1, 2 + at), 1 + at * 0.5)))
    assert kinds(found) == ["starving-writer"]
    assert found[0].what == "writer waits to write rates; meanwhile 4 readers came in after it"
    assert judged(over(5, lambda made, at: reads(made, (1, 2), 1 + at * 0.5))) == []
    assert judged(over(5, lambda made, at: reads(made, (1, 2 + at), at * 0.4))) == []  # not long enough
    assert judged(over(1, lambda made, at: reads(made, (1, 2), 60))) == []  # one reading tells nothing


def test_a_blocked_loop_is_a_thread_with_tasks_that_waits_for_a_lock() -> None:
    """After a tenth of a second, as FL006; a thread without tasks is none."""

    def loop(made: Process, age_s: float, what: str = "Lock.acquire", kind: str = "Lock") -> None:
        thread = made.agent("MainThread", tid=41)
        made.agent("fetch", "task", "MainThread", 41)
        made.wait(thread, made.lock("cache", made.agent("other"), "c.py:1", kind), age_s, "web.py:9", what)

    found = judged(over(1, lambda made, at: loop(made, 0.2)))
    assert kinds(found) == ["loop-blocked"]
    assert found[0].what == "the loop of MainThread waits for cache; at least 1 of its tasks stands still"
    assert "asyncio.to_thread()" in found[0].fix and "web.py:9" in found[0].fix
    assert judged(over(1, lambda made, at: loop(made, 0.05))) == []
    assert judged(over(1, lambda made, at: loop(made, 60, "Event.wait", "Event"))) == []


def test_a_loop_that_only_a_finding_knows_of_is_blocked_too() -> None:
    """Its tasks hold and wait for nothing that the table has."""

    def loop(made: Process, code: str) -> None:
        thread = made.agent("MainThread", tid=41)
        lock = made.lock("cache", made.agent("other"), "c.py:1")
        made.wait(thread, lock, 1)
        made.findings.append({"code": code, "fingerprint": "ab", "agents": [{"id": 9, "native_id": 41}, {"id": "?"}], "edges": [{"agent": 9, "waits": lock}, {"agent": None}]})

    assert kinds(judged(over(1, lambda made, at: loop(made, "FL006")))) == ["loop-blocked"]
    assert judged(over(1, lambda made, at: loop(made, "FL020"))) == []


def test_a_lock_across_await_is_told_once_a_finding() -> None:
    """With the finding's own words."""

    def found(made: Process, at: int) -> None:
        told = {"code": "FL005", "fingerprint": "ab" * 32, "locks": [{"name": "rates\x1b"}], "explanation": "fetch holds rates.", "fix": "make rates a fastlock.aio.Lock"}
        made.findings += [told, told]

    told = judged(over(1, found))
    assert kinds(told) == ["lock-across-await"]
    assert told[0].target == Target("finding", 41, "ab" * 32)
    assert (told[0].about, told[0].what, told[0].fix) == ("rates�", "fetch holds rates.", "make rates a fastlock.aio.Lock")


def test_an_owner_that_sleeps_is_told_with_what_it_sleeps_in() -> None:
    """Where nobody gives up, for two seconds; it stands for the long hold that it is as well."""
    asked: list[tuple[int, int]] = []

    def asleep(pid: int, tid: int) -> Sleep:
        asked.append((pid, tid))
        return Sleep("waits for the network", "tcp_recvmsg")

    found = judged(over(1, lambda made, at: queue(made, 1, 2, 8)), asleep)
    assert kinds(found) == ["owner-sleeps"] and set(asked) == {(41, 4702)}
    assert found[0].what == "a20 waits without a timeout for ledger; a1, who has it, waits for the network (tcp_recvmsg)"
    assert "since pay.py:10" in found[0].fix and "pay.py:20 a timeout" in found[0].fix
    assert judged(over(1, lambda made, at: queue(made, 1, 2, 1)), asleep) == []
    assert kinds(judged(over(1, lambda made, at: queue(made, 1, 2, 8)))) == ["long-hold"]  # it runs

    def patient(made: Process, at: int) -> None:
        made.wait(made.agent("waiter"), made.lock("ledger", made.agent("owner"), "a.py:1"), 3, left_s=2)

    assert judged(over(1, patient), asleep) == []


def test_nothing_is_said_of_a_process_that_is_stopped() -> None:
    """Everything in it stands still, and its waits are nobody's fault."""
    assert judged(over(1, lambda made, at: queue(made, 1, 9, 60)), state=STOPPED) == []


def test_healthy_programs_get_no_lint() -> None:
    """Short waits that come and go, workers at rest, a queue now and then."""

    def healthy(made: Process, at: int) -> None:
        agents = [made.agent(f"w{number}") for number in range(12)]
        ready = made.lock("ready", kind="Condition")
        for agent in agents[4:]:
            made.wait(agent, ready, 3600 + at, what="Condition.wait")
        if at % 4:
            lock = made.lock("cache", agents[0], "c.py:1")
            made.wait(agents[1 + at % 3], lock, 0.004)

    assert judged(over(READINGS, healthy), lambda pid, tid: Sleep("sleeps", "futex_wait")) == []


# ---- the history, and the page --------------------------------------------------------------------------------------


def test_the_history_keeps_the_last_seconds_of_processes_that_are_there() -> None:
    """The same reading counts once, a process that is gone is forgotten, and one whose clock goes back begins anew."""
    history = History()
    for made in over(60, lambda made, at: queue(made, 1, 1, 1)):
        history.note([made.seen()])
        history.note([made.seen()])
    kept = history.of(41)
    assert len(kept) == READINGS and kept[-1].now_ns - kept[0].now_ns <= SPAN_S * 1e9
    history.note([Process(now_ns=NOW_NS).seen()])
    assert [reading.now_ns for reading in history.of(41)] == [NOW_NS]
    history.note([Process(42).seen()])
    assert (history.of(41), len(history.of(42))) == ((), 1)


def test_the_page_tells_each_lint_in_full_with_what_to_do() -> None:
    """And says, while it is too early, what cannot be told yet."""
    made = Process()
    queue(made, 1, 2, 8)
    shown_page = shown("lints", fleet(made))
    assert [row["lint"] for row in rows(shown_page)] == ["long hold"]
    told = " ".join(lines(shown_page))
    assert "a1 keeps ledger from 2 others" in told and KINDS["long-hold"].meaning in told and "Do: release ledger sooner" in " ".join(told.split())
    assert any("some lints need 5.0s of readings" in note for note in shown_page.notes)
    history = History()
    moments = over(12, lambda made, at: queue(made, 1, 2, 8 + at / 2))
    for moment in moments:
        history.note([moment.seen()])
    late = page("lints", fleet(moments[-1]), Query(), None, history)
    assert not any("some lints" in note for note in late.notes)
    assert grids(late)[0].rows[0].target == Target("lock", 41, 100)


def test_every_kind_has_its_words() -> None:
    """The order of the kinds is that of urgency, and each says what it means."""
    assert list(KINDS)[0] == "loop-blocked"
    assert all(kind.title and kind.meaning.endswith(".") for kind in KINDS.values())
    assert rules.LOOP_BLOCK_S == 0.1


# ---- what a thread sleeps in ------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="threads are looked at in /proc")
def test_what_a_thread_sleeps_in_is_read_from_outside() -> None:
    """A thread in sleep(), one that runs, and one that is not there."""
    program = """
    def sleeper():
        box.append(threading.get_native_id())
        time.sleep(1000)
    def runner():
        box.append(threading.get_native_id())
        while True: pass
    box = []
    start(sleeper); wait_until(lambda: len(box) == 1)
    start(runner); wait_until(lambda: len(box) == 2)
    ready(box)
    """
    with running(program) as it:
        sleeper, runner = it.told
        sleep = wait_until(lambda: sleep_of(it.pid, sleeper))
        assert sleep.text and "\n" not in sleep.text
        if "nanosleep" in sleep.channel:
            assert sleep.text == "sleeps for a time"
        assert wait_until(lambda: sleep_of(it.pid, runner) is None)
        assert sleep_of(it.pid, 2**22 + 5) is None
    assert sleep_of(2**22 + 5, 1) is None
    assert sleep_of(os.getpid(), 2**22 + 5) is None


@pytest.mark.skipif(sys.platform != "linux", reason="threads are looked at in /proc")
def test_a_thread_of_another_process_is_not_mistaken_for_it() -> None:
    """The number of a process that is no thread of the one that is asked about."""
    assert sleep_of(os.getpid(), os.getppid()) is None
