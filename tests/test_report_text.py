"""The report for people: what each kind of finding says, that it lines up, and that it stays short."""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlock.findings import CODES, AgentFact, EdgeFact, Finding, LockFact, Site
from fastlock.reporting import duration, shorten, trees, width, wording
from fastlock.reporting.text import render
from fastlock.roots import Link, More, Root

RATES = Site("/srv/app/rates.py", 88, "Rates.refresh", "with rates_lock:")
LEDGER = Site("/srv/app/ledger.py", 41, "Ledger.post", "with ledger_lock:")
EXPORT = Site("/srv/app/export.py", 120, "export_all", "with ledger_lock:")
EXPORT_IN = Site("/srv/app/export.py", 131, "export_all", "rates_lock.acquire()")
MADE = Site("/srv/app/pool.py", 31, "Pool.__init__", "self._lock = fastlock.Lock()")


def thread(number, name, state="alive", stack=()):
    """An agent, whose native id is made of its number."""
    return AgentFact(number, "thread", name, 4100 + number, None, tuple(stack), state)


def lock(number, name, kind="Lock", owner=None, readers=(), held_at=None, lock_class=None):
    """A lock, created in pool.py."""
    return LockFact(number, name, lock_class or name, kind, MADE, owner, tuple(readers), (), held_at)


def finding(code, agents, locks, edges, tier="proven", clears=False, reasons=(), **more):
    """A finding with the sentences that belong to it."""
    draft = Finding(
        code=code,
        title=CODES[code],
        tier=tier,
        fingerprint="9f3a1c" + "0" * 58,
        count=more.pop("count", 1),
        detected_at="2025-11-04T23:47:12.500+00:00",
        pid=41,
        process="billing-api",
        agents=tuple(agents),
        locks=tuple(locks),
        edges=tuple(edges),
        clears=clears,
        behind=more.pop("behind", 0),
        reasons=tuple(reasons),
    )
    assert not more
    return wording.complete(draft)


def embrace(*, edges=None, **more):
    """The deadly embrace of two threads."""
    agents = [thread(1, "Thread-4 (refresh)"), thread(2, "exporter", stack=more.pop("stack", ()))]
    locks = [lock(1, "rates_lock", owner=1), lock(2, "ledger_lock", owner=2)]
    usual = [
        EdgeFact(1, 1, 2, "exclusive", RATES, LEDGER, 272.0),
        EdgeFact(2, 2, 1, "exclusive", EXPORT, EXPORT_IN, 270.4),
    ]
    return finding("FL001", agents, locks, edges or usual, **more)


def ring(number, lock_class=None):
    """A circle of so many threads, each in a function and with a lock of its own."""
    agents = [thread(n, f"worker-{n}") for n in range(1, number + 1)]
    locks = [lock(n, f"lock_{n}", owner=n, lock_class=lock_class) for n in range(1, number + 1)]
    edges = [
        EdgeFact(n, n, n % number + 1, "exclusive", replace(RATES, line=n), replace(LEDGER, line=n), 0.002)
        for n in range(1, number + 1)
    ]
    return finding("FL001", agents, locks, edges)


def one(code, kind="Lock", mode="exclusive", readers=(), **more):
    """A finding of one thread that waits for the lock it holds."""
    held = lock(1, "table_lock", kind, None if readers else 1, readers, EXPORT)
    edge = EdgeFact(1, 1, 1, mode, EXPORT, LEDGER, 1.5)
    return finding(code, [thread(1, "MainThread")], [held], [edge], **more)


def orphan(code, state, held_at=EXPORT_IN):
    """A finding of a thread that waits for a dead owner."""
    edges = [EdgeFact(1, None, 1, "exclusive", None, LEDGER, 0.004), EdgeFact(2, 1, None, "exclusive", held_at)]
    agents = [thread(1, "MainThread"), thread(2, "worker", state)]
    return finding(code, agents, [lock(1, "table_lock", owner=2, held_at=held_at)], edges)


def expect(text, expected):
    """Compares a report with an indented block of the test."""
    assert text == textwrap.dedent(expected).strip("\n")


def squeeze(text):
    """Returns the text on one line, as a reader's eye joins wrapped lines."""
    return " ".join(text.split())


def test_deadly_embrace_in_full():
    """The report of two threads is, to the character, what the person on call gets."""
    expect(
        str(embrace(reasons=["confirmed twice", "each lock was taken by 'with'"], behind=14)),
        """
        FL001 deadlock: 2 agents, 2 locks                          billing-api, pid 41
        detected 23:47:12Z, stuck 4m 30s, confirmed twice          report 9f3a1c

          Thread-4 "refresh" ── waits ──▶ ledger_lock ── held by ──▶ thread "exporter"
                ▲                                                            │
                └───────── held by ──── rates_lock ◀──────── waits ──────────┘

          Thread-4 "refresh"    tid 4101
            holds  rates_lock    rates.py:88     with rates_lock:
            waits  ledger_lock   ledger.py:41    with ledger_lock:      4m 32s
          thread "exporter"     tid 4102
            holds  ledger_lock   export.py:120   with ledger_lock:
            waits  rates_lock    export.py:131   rates_lock.acquire()   4m 30s

          Evidence      each lock was taken by 'with'
          Behind it     14 more wait for these locks
          By itself?    no: nobody in the circle has a timeout
          Fix           in export.py:120 take rates_lock first, or release ledger_lock before line 131
          Explain       fastlock explain FL001
        """,
    )


def test_circle_of_three_in_full():
    """A longer circle is a chain that is drawn downwards and closes at its first agent."""
    expect(
        str(ring(3)),
        """
        FL001 deadlock: 3 agents, 3 locks                          billing-api, pid 41
        detected 23:47:12Z, as it formed                           report 9f3a1c

          ┌─▶ thread "worker-1"  waits for lock_2  held by ↓
          │   thread "worker-2"  waits for lock_3  held by ↓
          └── thread "worker-3"  waits for lock_1  held by thread "worker-1"

          thread "worker-1"    tid 4101
            holds  lock_1   rates.py:1    with rates_lock:
            waits  lock_2   ledger.py:1   with ledger_lock:   2 ms
          thread "worker-2"    tid 4102
            holds  lock_2   rates.py:2    with rates_lock:
            waits  lock_3   ledger.py:2   with ledger_lock:   2 ms
          thread "worker-3"    tid 4103
            holds  lock_3   rates.py:3    with rates_lock:
            waits  lock_1   ledger.py:3   with ledger_lock:   2 ms

          By itself?    no: nobody in the circle has a timeout
          Fix           in rates.py:1 take lock_2 first, or release lock_1 before ledger.py:1
          Explain       fastlock explain FL001
        """,
    )


def test_self_deadlock_in_full():
    """A self-deadlock is told in a sentence, with the way in that the core has seen."""
    expect(
        str(one("FL002", reasons=["in a signal handler"])),
        """
        FL002 self-deadlock: table_lock                            billing-api, pid 41
        detected 23:47:12Z, stuck 1.5s                             report 9f3a1c

          MainThread holds table_lock since export.py:120 and asks for it again at ledger.py:41, in a
          signal handler: it waits for itself.

          MainThread    tid 4101
            holds  table_lock   export.py:120   with ledger_lock:
            waits  table_lock   ledger.py:41    with ledger_lock:   1.5s

          How           in a signal handler
          By itself?    no: the wait has no timeout
          Fix           do not take table_lock in the signal handler (ledger.py:41): let it only put into a
                        queue.SimpleQueue, and do the work outside
          Explain       fastlock explain FL002
        """,
    )


@pytest.mark.parametrize(("number", "hidden"), [(12, 0), (13, 1), (5000, 4988)])
def test_long_circles_are_cut(number, hidden):
    """At most twelve agents are shown, the closing one always, and the rest is counted."""
    text = str(ring(number))
    assert text.startswith(f"FL001 deadlock: {number:,} agents, {number:,} locks")
    assert text.count("\n    waits  ") == 12
    assert f'└── thread "worker-{number}"' in text
    assert text.count(f"… and {hidden:,} more") == (2 if hidden else 0)
    assert len(text.splitlines()) < 70


def test_circles_of_one_class_are_fixed_by_one_call():
    """Where all locks are of one class no order of names helps, so the fix takes them together."""
    assert ring(2, "Account._lock").fix == (
        "take both locks in rates.py:1 by one fastlock.acquire_all(...), which has one order for everybody"
    )


def test_equal_names_are_numbered():
    """Two locks, or two threads, of one name are told apart everywhere, without an address."""
    agents = [thread(7, "pool"), thread(9, "pool")]
    locks = [lock(11, "Account._lock", owner=7), lock(12, "Account._lock", owner=9)]
    edges = [EdgeFact(7, 11, 12, "exclusive", RATES, LEDGER), EdgeFact(9, 12, 11, "exclusive", EXPORT, EXPORT_IN)]
    text = str(finding("FL001", agents, locks, edges))
    assert 'thread "pool" #1 ── waits ──▶ Account._lock #2 ── held by ──▶ thread "pool" #2' in text
    assert "held by ──── Account._lock #1 ◀──────── waits" in text


def test_fix_is_the_same_wherever_the_circle_starts():
    """The line to change does not depend on which thread closed the circle."""
    first = embrace()
    assert embrace(edges=first.edges[::-1]).fix == first.fix


def test_will_clear_says_who_gives_up():
    """A timeout in the circle is shown at its wait and decides how it ends."""
    edges = list(embrace().edges)
    edges[1] = replace(edges[1], deadline_s=3.2)
    text = str(embrace(edges=edges, tier="will-clear", clears=True))
    assert "FL001 deadlock that will clear: 2 agents" in text
    assert "rates_lock.acquire()   4m 30s, gives up in 3.2s" in text
    assert 'By itself?    yes: thread "exporter" gives up in 3.2s' in text


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([], "rates_lock and ledger_lock are plain Locks, which any thread may release"),
        (["ledger_lock: its owner never released it before"], "ledger_lock: its owner never released it before"),
    ],
)
def test_possible_says_why(reasons, told):
    """A finding without proof says so in its head, its explanation and its foot."""
    report = embrace(tier="possible", clears=None, reasons=reasons)
    assert str(report).startswith("FL001 possible deadlock:")
    assert f"Not proven    {told}" in str(report)
    assert f"Possible, not proven: {told}." in report.explanation
    assert "By itself?" not in str(report)


@pytest.mark.parametrize(
    ("reason", "told", "fix"),
    [
        ("direct", "asks for it again at ledger.py:41: it", "do not take table_lock again in ledger.py:41"),
        ("through a callback", ", through a callback: it", "before the callback is called"),
        ("in a finaliser", ", in a finaliser: it", "do not take table_lock in the finaliser (ledger.py:41)"),
    ],
)
def test_self_deadlock_says_how(reason, told, fix):
    """The way into a self-deadlock decides its sentence and its fix."""
    report = one("FL002", reasons=[reason])
    assert told in report.explanation
    assert fix in report.fix
    assert f"How           {reason}" in str(report)


def test_self_deadlock_offers_an_rlock_only_for_a_lock():
    """Only a plain Lock can become an RLock, and the fix says where it is made."""
    assert "or make it an RLock at pool.py:31" in one("FL002").fix
    assert "RLock" not in one("FL002", kind="Semaphore").fix


def test_possible_leaves_room_for_a_foreign_release():
    """Where ownership is not proven the report does not claim that it can never end."""
    text = str(embrace(tier="possible", clears=False))
    assert "By itself?    only if somebody else releases it: nobody in the circle has a timeout" in text


def test_long_wait_counts_further_holders():
    """A long wait for a semaphore names one holder and counts the others."""
    locks = [lock(2, "slots", "Semaphore", readers=[2, 3, 4])]
    edges = [EdgeFact(1, None, 2, "exclusive", None, LEDGER, 12.0), EdgeFact(2, 2, None, "exclusive", EXPORT)]
    report = finding("FL020", [thread(1, "a"), thread(2, "b")], locks, edges, tier="measured")
    assert (
        report.explanation
        == 'Thread "a" has waited 12s for slots, held by thread "b" since export.py:120 and by 2 more.'
    )
    assert "By itself?    as soon as it is released; the wait has no timeout" in str(report)


def test_abandoned_lock_names_the_dead_owner():
    """A lock whose owner has ended shows the owner as ended, with the line where it took the lock."""
    report = orphan("FL003", "ended")
    text = str(report)
    assert re.search(r'thread "worker" +ended\n    holds  table_lock   export.py:131   rates_lock.acquire\(\)', text)
    assert "By itself?    no: its owner has ended" in text
    assert report.fix == "in export.py:131 write `with table_lock:`, which releases it however the thread ends"
    assert orphan("FL003", "ended", EXPORT).fix == "let the block of export.py:120 end before its thread does"


def test_fork_orphan_says_that_the_owner_is_not_here():
    """A lock orphaned by fork shows an owner that this process does not have."""
    text = str(orphan("FL004", "lost-in-fork"))
    assert text.startswith("FL004 fork orphan: table_lock")
    assert re.search(r'thread "worker" +not in this process: lost in fork\n', text)
    assert "By itself?    no: its owner is not in this process" in text


def test_upgrade_shows_both_modes():
    """A reader that wants to write is shown with the mode of what it holds and of what it wants."""
    text = str(one("FL012", "RWLock", readers=[1]))
    assert re.search(r"holds  table_lock \(read\) +export.py:120", text)
    assert re.search(r"waits  table_lock \(write\) +ledger.py:41", text)
    assert "wants to write it at ledger.py:41" in text
    assert "upgradable() in place of read(), or end the read before ledger.py:41" in squeeze(text)


def test_second_read_names_the_writer_before_it():
    """A second read behind a waiting writer is told as such."""
    text = str(one("FL012", "RWLock", mode="shared", readers=[1]))
    assert "wants to read it again at ledger.py:41, behind a writer" in squeeze(text)
    assert "do not read table_lock again" in text


def test_reader_behind_a_writer_in_a_circle():
    """A writer that only queues ahead is not said to hold the lock."""
    agents = [thread(1, "reader"), thread(2, "writer")]
    locks = [lock(1, "rw", "RWLock", readers=[9]), lock(2, "db_lock", owner=1)]
    edges = [EdgeFact(1, 2, 1, "shared", RATES, LEDGER), EdgeFact(2, None, 2, "exclusive", None, EXPORT)]
    report = finding("FL001", agents, locks, edges)
    assert 'thread "reader" ── waits to read ──▶ rw ── behind ──▶ thread "writer"' in str(report)
    assert 'waits for rw, behind thread "writer", which wants to write it' in report.explanation
    assert report.fix == "in rates.py:88 take rw first, or release db_lock before ledger.py:41"


def test_semaphores_and_rwlocks_in_a_circle():
    """Shared holds are shown as one of several, and an RWLock's link by its mode."""
    locks = [lock(1, "cache", "RWLock", readers=[1]), lock(2, "slots", "Semaphore", readers=[2, 8, 9])]
    report = embrace()
    text = str(finding("FL001", report.agents, locks, report.edges))
    assert 'waits ──▶ slots ── one of 3 holders ──▶ thread "exporter"' in text
    assert "read by ──── cache ◀──────── waits to write" in text
    assert re.search(r"holds  slots \(one of 3 holders\) +export.py:120", text)
    assert re.search(r"waits  slots \(3 holders\) +ledger.py:41", text)


def test_long_wait_shows_the_holder_and_what_it_does():
    """A long wait shows a holder that has no edge of its own, and its stack."""
    library = os.path.dirname(os.__file__)
    stack = [
        Site(f"{library}/threading.py", 1, "Thread._bootstrap", "x"),
        Site(f"{library}/threading.py", 2, "Thread.run", "x"),
        Site("/srv/app/main.py", 12, "main", "export_all()"),
        Site("/srv/app/export.py", 125, "export_all", "upload(rows)"),
    ]
    agents = [thread(1, "MainThread"), thread(2, "exporter", stack=stack)]
    edges = [EdgeFact(1, None, 2, "exclusive", None, LEDGER, 10.2, 4.0)]
    locks = [lock(2, "ledger_lock", owner=2, held_at=EXPORT)]
    report = finding("FL020", agents, locks, edges, tier="measured", clears=True, behind=1)
    text = str(report)
    assert "detected 23:47:12Z, waiting 10s" in text
    assert (
        report.explanation
        == 'MainThread has waited 10s for ledger_lock, held by thread "exporter" since export.py:120.'
    )
    expected = """
          thread "exporter"    tid 4102
            holds  ledger_lock   export.py:120   with ledger_lock:
            stack  … 2 frames in threading.py
                   /srv/app/main.py:12 in main            export_all()
                   /srv/app/export.py:125 in export_all   upload(rows)
    """
    assert textwrap.indent(textwrap.dedent(expected).strip("\n"), "  ") in text
    assert "Behind it     1 more waits for ledger_lock" in text
    assert "By itself?    as soon as it is released; at the latest MainThread gives up in 4.0s" in text


def test_the_root_of_a_long_wait_in_full():
    """The foot names whom everybody waits for, where that stands, and the tree; a name that others have is numbered, what is told keeps its own."""
    agents = [thread(1, "worker"), thread(2, "exporter")]
    edges = [EdgeFact(1, None, 2, "exclusive", None, LEDGER, 272.0)]
    locks = [lock(2, "ledger_lock", owner=2, held_at=EXPORT)]
    slow = finding("FL020", agents, locks, edges, tier="measured", clears=False, behind=4_991)
    recv = Site("/srv/app/db.py", 88, "Db.recv", "")
    rows = (
        Link(2, "thread", "exporter", lock=7, what="db_lock", lock_kind="Lock", since_s=280.0, wanted_at=EXPORT_IN, depth=1),
        Link(1, "thread", "worker", lock=2, what="ledger_lock", lock_kind="Lock", since_s=272.0, wanted_at=LEDGER, depth=2),
        Link(3, "thread", "worker", lock=2, what="ledger_lock", since_s=270.0, deadline_s=3.0, wanted_at=LEDGER, depth=2),
        More(2, 4_990, 260.0),
    )
    told = trees.rooted(slow, Root("running", (Link(9, "thread", "Thread-7 (recv)"),), 1, 4_993, 280.0, recv, rows=rows))
    sentence = 'Everybody here waits, in the end, for Thread-7 "recv" at db.py:88 in recv().'
    assert told.explanation == f"{slow.explanation} {sentence}" and told.to_dict().keys() == slow.to_dict().keys()
    foot = str(told)[str(told).index("  Behind it") :]
    expect(
        textwrap.dedent(foot),
        """
        Behind it     4,991 more wait for ledger_lock
        Root          everybody here waits, in the end, for Thread-7 "recv" at db.py:88 in recv()
                      └ thread "exporter" waits for db_lock at export.py:131, for 4m 40s
                        ├ thread "worker" waits for ledger_lock at ledger.py:41, for 4m 32s
                        ├ thread "worker" #2 waits for ledger_lock at ledger.py:41, for 4m 30s, gives up in 3.0s
                        └ and 4,990 more, the oldest for 4m 20s
        By itself?    as soon as it is released; the wait has no timeout
        Fix           see what thread "exporter" does after export.py:120 and keep the slow part outside the lock, or
                      give the wait in ledger.py:41 a timeout
        Explain       fastlock explain FL020
        """,
    )


def test_pages_keep_to_a_terminals_width():
    """Deep directories put lines of source below their places, and long lines of source give way to what is to their right."""
    deep = f"/srv/lib/site-packages/{'service/' * 3}handler.py"
    stack = [Site(deep, number, "Worker.handle_request", "response = self.application(environ, start_response, more)") for number in (1, 2)]
    long = replace(RATES, file="/srv/app/registry_views.py", text="with self.registry.lock_of(customer, order, stock, supplier):")
    edges = [EdgeFact(1, 1, 2, "exclusive", long, long, 272.0, 3.0), EdgeFact(2, 2, 1, "exclusive", EXPORT, EXPORT_IN, 270.4)]
    text = str(embrace(edges=edges, stack=stack))
    assert max(map(width, text[: text.index("  By itself?")].splitlines())) <= 100
    assert f"stack  {deep}:1 in Worker.handle_request\n             response = self.application(" in text
    assert "with self.registry.lock_…   4m 32s, gives up in 3.0s" in text


def test_long_stacks_lose_their_outer_frames():
    """Of a deep stack the innermost frames are shown and the others counted."""
    stack = [Site("/srv/app/deep.py", number, "call", "call()") for number in range(1, 41)]
    text = str(embrace(stack=stack))
    assert "stack  … 24 outer frames\n" in text
    assert "deep.py:24 in" not in text and "deep.py:40 in" in text


def test_unknown_is_called_unknown():
    """Sites, locks and holders that are not known are called so and nothing is made up."""
    edges = [EdgeFact(1, 1, 2, "exclusive", None, None), EdgeFact(2, 2, 1, "exclusive", EXPORT, EXPORT_IN)]
    text = str(embrace(edges=edges))
    assert re.search(r"holds  rates_lock +unknown site", text)
    assert re.search(r"waits  ledger_lock +unknown site", text)
    lonely = finding(
        "FL020", [thread(1, "a")], [lock(2, "slots", "Semaphore")], [EdgeFact(1, None, 2, wanted_at=LEDGER)]
    )
    assert lonely.explanation == 'Thread "a" has waited under 1 ms for slots; who has it is not known.'
    assert "waits  another lock" in str(
        finding("FL020", [thread(1, "a")], [], [EdgeFact(1, None, 5, wanted_at=LEDGER)])
    )


def test_files_of_one_name_show_their_directory():
    """Two views.py are told apart by the directory they are in."""
    edges = list(embrace().edges)
    edges[0] = replace(edges[0], held_at=replace(RATES, file="/srv/shop/views.py"))
    edges[1] = replace(edges[1], held_at=replace(RATES, file="/srv/till/views.py", line=9))
    text = str(embrace(edges=edges))
    assert "shop/views.py:88" in text and "till/views.py:9" in text


def test_repeats_are_counted():
    """A finding that came again says how often it was seen."""
    assert "seen 1,204 times" in str(replace(embrace(), count=1204))


def test_tasks_name_their_loop():
    """A task is shown with the loop that runs it."""
    agents = [AgentFact(1, "task", "Task-47 (refresh_rates)", None, "MainThread"), thread(2, "exporter")]
    report = embrace()
    text = str(finding("FL001", agents, report.locks, report.edges))
    assert re.search(r'Task-47 "refresh_rates" +loop of MainThread', text)


@pytest.mark.parametrize(
    "name", ["", "x", "ledger" * 30, "größe\t\n\x1b[31m\udc80", "帳簿の錠", "<Foo object at 0x7f3a5c2b1d30>"]
)
def test_any_name_keeps_the_report_in_shape(name):
    """Whatever a program calls its locks and threads, columns align and the text stays printable."""
    report = embrace()
    agents = [replace(agent, name=name) for agent in report.agents]
    locks = [replace(each, name=name) for each in report.locks]
    text = str(finding("FL001", agents, locks, report.edges))
    text.encode("utf-8")
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert "0x" not in text
    top, middle, bottom = lines[3:6]
    assert width(middle) == width(bottom) <= width(top)
    assert middle.index("▲") == bottom.index("└")
    sites = [width(line[: re.search(r"\w+\.py:\d+", line).start()]) for line in lines[7:14] if ".py:" in line]
    assert len(sites) == 4 and len(set(sites)) == 1
    assert max(map(width, lines)) < 200


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("tier", ["proven", "possible"])
def test_every_code_has_a_report(code, tier):
    """Each code has a head, a fix and the way to its explanation, with or without known lines."""
    agents = [thread(1, "a"), thread(2, "b")]
    locks = [lock(1, "one", owner=1), lock(2, "two", owner=2)]
    for site in (RATES, None):
        edges = [EdgeFact(1, 1, 2, "exclusive", site, site, 1.0), EdgeFact(2, 2, 1, "exclusive", site, site, 1.0)]
        text = render(finding(code, agents, locks, edges, tier=tier))
        assert text.startswith(f"{code} {'possible ' if tier == 'possible' else ''}{CODES[code]}: ")
        assert "\n  Fix           " in text
        assert text.endswith(f"  Explain       fastlock explain {code}")
        assert not re.search(r"0x[0-9a-f]{6,}|None|  $", text, re.MULTILINE)


def test_a_finding_without_edges_still_has_a_report():
    """A finding of which only the code is known can be printed."""
    assert "FL031 stall" in str(finding("FL031", [], [], []))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "under 1 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0s"),
        (3.21, "3.2s"),
        (9.96, "10s"),
        (59.6, "1m 00s"),
        (272, "4m 32s"),
        (3599.7, "1h 00m"),
        (7530, "2h 05m"),
        (273_600, "3d 4h"),
    ],
)
def test_duration(seconds, text):
    """Durations are said as people say them, also at the edges of their units."""
    assert duration(seconds) == text


@given(text=st.text(max_size=60), limit=st.integers(3, 40))
@settings(max_examples=50)
def test_shorten_keeps_both_ends(text, limit):
    """A cut name is not longer than its limit and keeps its first and last characters."""
    cut = shorten(text, limit)
    assert len(cut) <= limit
    assert cut == text or (cut[0] == text[0] and cut[-1] == text[-1] and "…" in cut)
