"""The root in reports: whom everybody waits for in the end, where that stands, and the tree of those behind."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from outside_support import fastlock, running
from support import answer, ask, run_program

AIO = """
import asyncio, threading
import fastlock
from fastlock import aio, watchdog
from support import *
def pages(code):
    watchdog.flush()
    return [str(finding) for finding in fastlock.findings() if finding.code == code]
"""


def root_of(page: str) -> list[str]:
    """The lines of the Root fact and its tree, without ages and line numbers."""
    found: list[str] = []
    for line in page.splitlines():
        if line.startswith("  Root ") or (found and re.match(r" {16}\S?[│├└ ]", line)):
            found.append(re.sub(r"(\.py):\d+|, for [\du].*|, the oldest.*", r"\1", line.removeprefix("  Root").strip()))
        elif found:
            break
    return found


CHAIN = """
fastlock.configure(slow_wait=0.05)
first, second = fastlock.Lock(name="first"), fastlock.RLock(name="second")
taken, on, end = threading.Event(), threading.Event(), threading.Event()
class Db:
    def recv(self):
        with first:
            taken.set()
            end.wait()
def middle():
    with second:
        on.set()
        with first: pass
def far():
    with second: pass
start(Db().recv, name="db"); taken.wait()
start(middle); on.wait(); blocked("middle")
start(far); blocked("far")
"""


def test_a_long_wait_tells_the_chain_to_its_root() -> None:
    """The wait of `far` is for `middle`, which waits for `db`: named with its line, in text, explanation and JSON alike."""
    told = ask(
        CHAIN
        + """
    wait_until(lambda: any(finding.agents[0].name == "far" for finding in fastlock.findings() if finding.code == "FL020"))
    finding = next(finding for finding in fastlock.findings() if finding.agents[0].name == "far")
    facts = finding.to_dict()
    tell([str(finding), finding.explanation, facts, finding.root.kind, finding.root.total, finding.root.waiters, finding.root.at.function])
    """.replace("\n    ", "\n")
    )
    page, explanation, facts, kind, total, waiters, function = told
    assert root_of(page) == [
        'everybody here waits, in the end, for thread "db" at program.py in recv()',
        '└ thread "middle" waits for first at program.py',
        '└ thread "far" waits for second at program.py',
    ]
    assert re.search(r'\. Everybody here waits, in the end, for thread "db" at program\.py:\d+ in recv\(\)\.$', explanation)
    assert page.count("in the end") == 1, "the sentence stands in the foot alone"
    assert facts["explanation"] == explanation and "root" not in facts
    assert (kind, total, waiters) == ("running", 2, [])
    assert function.endswith("recv")


def test_who_is_told_anyway_makes_no_tree() -> None:
    """One that waits and one that holds: the root's line says all."""
    page = ask(
        """
        fastlock.configure(slow_wait=0.05)
        lock, taken = fastlock.Lock(name="lock"), threading.Event()
        def owner():
            with lock:
                taken.set()
                threading.Event().wait()
        start(owner); taken.wait(); start(lock.acquire, name="waiter")
        tell(str(found("FL020")[0]))
        """
    )
    assert root_of(page) == ['everybody here waits, in the end, for thread "owner" at program.py in owner()']


def test_a_deadlock_shows_the_tree_behind_it() -> None:
    """Those who wait for its locks, and those who wait for these; "Behind it" counts as it did, and the whole tree besides."""
    page, explanation = ask(
        """
        a, b, gate = fastlock.RLock(name="a"), fastlock.RLock(name="b"), fastlock.RLock(name="gate")
        both, on = threading.Barrier(3), threading.Event()
        def one():
            with a:
                both.wait()
                on.wait()
                with b: pass
        def two():
            with b:
                both.wait()
                with a: pass
        def behind():
            with gate:
                with a: pass
        start(one), start(two); both.wait(); blocked("two")
        start(behind); blocked("behind")
        start(gate.acquire, name="far"); blocked("far")
        on.set()
        finding = found("FL001")[0]
        tell([str(finding), finding.explanation])
        """
    )
    foot = page[page.index("  Behind it") :].splitlines()
    assert re.match(r"  Behind it     1 more waits for these locks; 2 agents wait in all, the oldest", foot[0])
    assert [line.split(" at ")[0].strip() for line in foot[1:3]] == [
        '└ thread "behind" waits for a',
        '└ thread "far" waits for gate',
    ]
    assert foot[3].startswith("  By itself?")
    assert explanation.endswith("None of them can go on.") and root_of(page) == []


def test_an_abandoned_lock_shows_who_is_behind() -> None:
    """The root is the thread that has ended."""
    page = ask(
        """
        lock, gate = fastlock.RLock(name="lock"), fastlock.RLock(name="gate")
        go = threading.Event()
        def owner():
            lock.acquire()
            go.wait()
        thread = start(owner)
        wait_until(lambda: any(each.name == "lock" for each in fastlock.snapshot().locks))
        def waiter():
            with gate:
                lock.acquire()
        start(waiter); blocked("waiter")
        start(gate.acquire, name="far"); blocked("far")
        go.set()
        tell(str(found("FL003")[0]))
        """
    )
    lines = page[page.index("  Behind it") :].splitlines()
    assert "Behind it     2 agents wait, the oldest for" in lines[0]
    assert [line.split(" at ")[0].strip() for line in lines[1:3]] == ['└ thread "waiter" waits for lock', '└ thread "far" waits for gate']


def test_a_long_wait_behind_a_deadlock_ends_in_its_circle() -> None:
    """The cause is told as before, and the root is the whole circle."""
    page, reasons, explanation = ask(
        """
        locks = [fastlock.RLock(name="x"), fastlock.RLock(name="y")]
        ring(locks); found("FL001")
        fastlock.configure(slow_wait=0.02)
        start(locks[0].acquire, name="late")
        finding = next(finding for finding in found("FL020") if finding.code == "FL020")
        tell([str(finding), finding.reasons, finding.explanation])
        """
    )
    assert len(reasons) == 1 and explanation.endswith(f": behind {reasons[0]}.")
    assert root_of(page)[0].startswith("everybody here waits, in the end, for a circle of ")


def test_a_crowd_is_cut() -> None:
    """Of 300 waiters the report and the memory keep a dozen rows."""
    page, rows, total = ask(
        """
        fastlock.configure(slow_wait=3600)
        threading.stack_size(256 * 1024)
        lock, taken = fastlock.Lock(name="lock"), threading.Event()
        def owner():
            with lock:
                taken.set()
                threading.Event().wait()
        start(owner); taken.wait()
        threads = [start(lock.acquire, name=f"w{n}") for n in range(300)]
        wait_until(lambda: len(fastlock.snapshot().waits) == 300)
        fastlock.configure(slow_wait=0.01)
        start(lock.acquire, name="last")
        finding = found("FL020")[0]
        tell([str(finding), len(finding.root.rows), finding.root.total])
        """
    )
    tree = root_of(page)
    assert (rows, total, len(tree)) == (11, 301, 12)
    assert re.search(r"and 291 more, the oldest for", page)


def test_a_crowd_behind_a_deadlock_is_told_after_the_report() -> None:
    """Where very many wait, nobody waits for the tree to read the report; the finding has it all the same."""
    done = run_program(
        """
        import fastlock, threading
        from fastlock import watchdog
        from support import *
        watchdog.MOST_BEFORE = 2
        locks = [fastlock.RLock(name="x"), fastlock.RLock(name="y"), fastlock.RLock(name="z")]
        both, on = threading.Barrier(3), threading.Event()
        def one():
            with locks[0]:
                both.wait(); on.wait()
                locks[1].acquire()
        def two():
            with locks[1]:
                both.wait()
                locks[0].acquire()
        start(one), start(two); both.wait(); blocked("two")
        start(locks[0].acquire, name="b1"), start(locks[0].acquire, name="b2"); blocked("b1", "b2")
        on.set()
        finding = found("FL001")[0]
        tell([finding.root.total, finding.fingerprint[:6]])
        """
    )
    total, fingerprint = answer(done)
    page, _, rest = done.stderr.partition("Explain       fastlock explain FL001\n")
    assert total == 2 and "├ thread" not in page
    assert rest.splitlines()[0].startswith(f"FL001 deadlock, report {fingerprint}: 2 agents wait for it in the end")
    assert '├ thread "b1" waits for x' in rest.splitlines()[1] and '└ thread "b2" waits for x' in rest.splitlines()[2]


def test_find_deadlocks_tells_it_too() -> None:
    """What is asked for is told as what is reported."""
    told = ask(
        """
        locks = [fastlock.RLock(name="x"), fastlock.RLock(name="y")]
        ring(locks); found("FL001")
        start(locks[0].acquire, name="late"); blocked("late")
        found_now, = fastlock.find_deadlocks()
        tell([found_now.root.kind, found_now.root.total, str(found_now)])
        """
    )
    assert told[:2] == ["circle", 1] and '└ thread "late" waits for x' in told[2]


def test_an_exception_has_no_tree() -> None:
    """A policy that raises ends the circle, and nobody is behind it any more."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        for thread in ring([fastlock.RLock(name="x"), fastlock.RLock(name="y")]): thread.join()
        tell([finding.root for finding in found("FL001")])
        """
    )
    assert set(told) == {None}


def test_a_root_that_fails_loses_no_report() -> None:
    """The report comes without, and says so."""
    done = run_program(
        """
        import fastlock
        from fastlock import rooted
        from support import *
        def broken(*args, **kwargs): raise ValueError("no root")
        rooted.Rooting.rooted = broken
        ring([fastlock.RLock(name="x"), fastlock.RLock(name="y")])
        tell([finding.code for finding in found("FL001")])
        """
    )
    assert answer(done) == ["FL001"]
    assert "fastlock: the root of a report cannot be told\n" in done.stderr and "ValueError: no root" in done.stderr
    assert "fastlock explain FL001" in done.stderr


# ---- tasks


def test_a_task_that_awaits_another_leads_to_that_one() -> None:
    """A holds the lock and awaits `leaf`, which neither holds nor waits for anything of ours: the root is where `leaf` awaits."""
    told = answer(
        run_program(
            AIO
            + """
fastlock.configure(slow_wait=0.05)
async def main():
    lock, end = aio.Lock(name="lock"), asyncio.Event()
    async def leaf():
        await end.wait()
    async def holder():
        async with lock:
            await asyncio.gather(asyncio.create_task(leaf(), name="leaf"))
    async def waiter():
        async with lock: pass
    tasks = [asyncio.create_task(holder(), name="holder")]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(waiter(), name="waiter")]
    while not pages("FL020"):
        await asyncio.sleep(0.005)
    end.set()
    await asyncio.gather(*tasks)
asyncio.run(main())
tell(pages("FL020"))
"""
        )
    )
    assert root_of(told[0]) == [
        'everybody here waits, in the end, for task "leaf" at program.py in leaf()',
        '└ task "holder" awaits it',
        '└ task "waiter" waits for lock at program.py',
    ]


def test_the_suspended_holder_of_a_threads_lock_is_the_root() -> None:
    """A synchronous lock held across an await: not the loop's thread is to blame, but the task that is suspended."""
    told = answer(
        run_program(
            AIO
            + """
fastlock.configure(slow_wait=0.05)
lock = fastlock.Lock(name="lock")
async def main():
    end = asyncio.Event()
    async def holder():
        with lock:
            await end.wait()
    task = asyncio.create_task(holder(), name="holder")
    await asyncio.sleep(0)
    start(lock.acquire, name="thread")
    while not pages("FL020"):
        await asyncio.sleep(0.005)
    end.set()
    await task
asyncio.run(main())
tell(pages("FL020"))
"""
        )
    )
    assert root_of(told[0]) == ['everybody here waits, in the end, for task "holder" at program.py in holder()']


def test_tasks_stand_behind_the_thread_that_stops_their_loop() -> None:
    """FL006: a loop's thread waits for a thread; behind it its tasks, and who waits for these."""
    told = answer(
        run_program(
            AIO
            + """
fastlock.configure(loop_block=0.05, slow_wait=3600)
outer, end, taken = fastlock.Lock(name="outer"), threading.Event(), threading.Event()
def worker():
    with outer:
        taken.set()
        end.wait()
async def main():
    lock = aio.Lock(name="lock")
    async def holder():
        async with lock:
            await asyncio.Event().wait()
    async def waiter():
        async with lock: pass
    tasks = [asyncio.create_task(holder(), name="holder"), asyncio.create_task(waiter(), name="waiter")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    start(worker); taken.wait()
    start(lambda: (wait_until(lambda: fastlock.findings()), end.set()))
    with outer: pass
    for task in tasks: task.cancel()
asyncio.run(main())
tell(pages("FL006"))
"""
        )
    )
    assert root_of(told[0]) == [
        'everybody here waits, in the end, for thread "worker" at program.py in worker()',
        "└ MainThread waits for outer at program.py",
        '└ task "holder" stands still: its loop is stopped',
        '└ task "waiter" waits for lock at program.py',
    ]


# ---- from outside


def dump(pid: Any) -> list[str]:
    """The lines of a dump, without ages."""
    done = fastlock("dump", pid)
    assert done.returncode == 0, done.stderr
    return [re.sub(r", for [^,;]+|, the oldest for [^,;]+", "", line) for line in done.stdout.splitlines()]


def test_a_dump_tells_the_roots(tmp_path: Path) -> None:
    """First the circle with who is behind it, then who is waited for by others, what that holds and where it took it; from a saved file too."""
    source = """
        a, b = fastlock.RLock(name="a"), fastlock.RLock(name="b")
        ring([a, b])
        found("FL001")
        start(a.acquire, name="late"); blocked("late")
        crowd, gate, ready_ = fastlock.Lock(name="crowd"), fastlock.Lock(name="gate"), fastlock.Event(name="idle")
        crowd.acquire()
        def middle():
            with gate:
                with crowd: pass
        start(middle); blocked("middle")
        start(gate.acquire, name="far"); blocked("far")
        start(ready_.wait, name="rests"); blocked("rests")
        ready()
    """
    with running(source) as program:
        lines = dump(program.pid)
        (tmp_path / "saved.json").write_text(fastlock("dump", program.pid, "--json").stdout)
    for told in (lines, dump(tmp_path / "saved.json")):
        at = told.index("DEADLOCK: 2 agents in a circle")
        run = "start.<locals>.run" if sys.version_info >= (3, 11) else "run"  # 3.10's code objects have no qualified name
        assert told[at + 5 : at + 7] == ["  Behind it: 1 agent waits", f"  └ late waits for a (RLock) at support.py:92 {run}"]
        at = told.index("ROOT: MainThread, which waits for no lock; 2 agents wait for it in the end")
        assert re.match(r"  holds crowd \(Lock\), taken at program\.py:\d+ <module>", told[at + 1])
        assert re.match(r"  └ middle waits for crowd \(Lock\) at program\.py:\d+ middle", told[at + 2])
        assert told[at + 3].startswith("    └ far waits for gate (Lock) at ")
        rest = told.index("Other waits")
        assert rest > at and told[rest + 1].startswith("  rests waits for idle (Event)")
        assert "      Explain: fastlock explain FL001" in told
        assert any(line.startswith("      Fix: ") for line in told)


def test_equal_names_are_numbered_in_a_dump() -> None:
    """Two locks of one name, and two threads of one name."""
    source = """
        one, two = fastlock.Lock(name="same"), fastlock.Lock(name="same")
        one.acquire(), two.acquire()
        for lock in (one, two):
            start(lock.acquire, name="worker")
        wait_until(lambda: len(fastlock.snapshot().waits) == 2)
        ready()
    """
    with running(source) as program:
        lines = dump(program.pid)
    waits = sorted(line.strip()[2:].split(" at ")[0] for line in lines if " waits for same" in line)
    assert waits == ["worker #1 waits for same (Lock) #1", "worker #2 waits for same (Lock) #2"]


def test_a_dump_of_a_crowd_is_short() -> None:
    """Hundreds behind one lock are a dozen lines."""
    source = """
        threading.stack_size(256 * 1024)
        lock = fastlock.Lock(name="crowd"); lock.acquire()
        for number in range(400):
            start(lock.acquire, name=f"w{number}")
        wait_until(lambda: len(fastlock.snapshot().waits) == 400)
        ready()
    """
    with running(source) as program:
        lines = dump(program.pid)
    assert "ROOT: MainThread, which waits for no lock; 400 agents wait for it in the end" in lines
    assert len(lines) < 25 and "  └ and 390 more" in lines


def test_a_dump_of_an_idle_wait_has_no_root() -> None:
    """Who waits for an event, with nobody behind, is listed as a wait."""
    with running("event = fastlock.Event(name='idle')\nstart(event.wait, name='rests'); blocked('rests')\nready()\n") as program:
        lines = dump(program.pid)
    assert "Waits" in lines and not any(line.startswith("ROOT") for line in lines)


# ---- joins, results, pools

BEHIND = """
import concurrent.futures, threading
import fastlock
fastlock.install()
from fastlock import watchdog
from support import *
fastlock.configure(slow_wait=0.05)
lock, taken, end = fastlock.Lock(name="lock"), threading.Event(), threading.Event()
def job():
    taken.set()
    end.wait()
def holder():
    with lock:
        wait_for_it()
def told(kind):
    start(holder)
    wait_until(lambda: any(wait.what == kind for wait in fastlock.snapshot().waits))
    start(lock.acquire, name="waiter")
    wait_until(lambda: any(finding.code == "FL020" for finding in fastlock.findings()))
    tell(next(str(finding) for finding in fastlock.findings() if finding.code == "FL020"))
"""


def test_a_join_leads_to_the_thread_that_is_joined() -> None:
    """The holder of a lock waits for a thread to end: where that one stands is what everybody waits for."""
    page = answer(run_program(f"{BEHIND}thread = start(job); taken.wait()\nwait_for_it = thread.join\ntold('Thread.join')\n"))
    assert root_of(page) == [
        'everybody here waits, in the end, for thread "job", which waits for end (Event) at program.py',
        '└ thread "holder" waits for end of job at program.py',
        '└ thread "waiter" waits for lock at support.py',
    ]


def test_queued_work_leads_to_a_worker_of_its_pool() -> None:
    """The holder waits for work that stands in a pool's queue: everybody waits for the pool's worker."""
    page = answer(
        run_program(
            f"{BEHIND}pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix='p')\n"
            "pool.submit(job); taken.wait()\nwait_for_it = pool.submit(print).result\ntold('Future.result')\n"
        )
    )
    tree = root_of(page)
    assert tree[0].startswith('everybody here waits, in the end, for thread "p_0"')
    assert tree[1].startswith('└ thread "holder" waits for ') and tree[2].startswith('└ thread "waiter" waits for lock')
