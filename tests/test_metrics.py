"""Metrics: what is counted where somebody waits, by class, and what the gauges say of this moment."""

from __future__ import annotations

import json

import pytest

import fastlock
from fastlock import _delays
from support import ask

# One thread holds a lock of each kind, as many as it is told to wait for it, and then all go on.
CONTEND = """
def contend(lock, waiters=1, take="acquire", give="release"):
    getattr(lock, take)()
    threads = [start(lambda: (getattr(lock, take)(), getattr(lock, give)()), name=f"w{n}") for n in range(waiters)]
    blocked(*(thread.name for thread in threads))
    during = fastlock.metrics()
    getattr(lock, give)()
    [thread.join() for thread in threads]
    return during

def of(lock_class, metrics=None):
    found = [each for each in (metrics or fastlock.metrics()).classes if each.lock_class == lock_class]
    return [found[0].contentions, found[0].count] if found else None
"""


def told(source: str, **options):
    return ask(CONTEND.replace("\n", "\n        ") + source, **options)


@pytest.mark.parametrize("level", ["detect", "order"])
def test_a_contended_wait_is_counted_as_it_begins_and_as_it_ends(level: str) -> None:
    """While two wait there are two contentions and two waiting agents; afterwards both are in the histogram."""
    during, after, waiting = told(
        f"""
        fastlock.set_level("{level}")
        during = contend(fastlock.Lock(name="ledger"), 2)
        after = fastlock.metrics()
        assert 0 < during.oldest_wait_s and after.oldest_wait_s == 0
        ledger = after.classes[0]
        assert 0 < ledger.sum_s and ledger.buckets[-1][1] == 2
        tell([of("ledger", during), of("ledger", after), [during.waiting_agents, after.waiting_agents]])
        """
    )
    assert (during, after, waiting) == ([2, 0], [2, 2], [2, 0])


KINDS = {
    "RLock": "contend(fastlock.RLock(name='it'))",
    "semaphore": "contend(fastlock.Semaphore(1, name='it'))",
    "reader": "rw = fastlock.RWLock(name='it'); rw.acquire_write(); t = start(rw.acquire_read, name='r'); blocked('r'); rw.release_write(); t.join()",
    "writer": "contend(fastlock.RWLock(name='it'), 1, 'acquire_write', 'release_write')",
    "timeout": "lock = fastlock.Lock(name='it'); lock.acquire(); start(lock.acquire, True, 0.01).join()",
    "the lock's own limit": "lock = fastlock.Lock(name='it', timeout=0.01); lock.acquire(); start(lock.acquire).join()",
    "refused": "lock = fastlock.RLock(name='it', on_deadlock='raise'); other = fastlock.RLock(on_deadlock='raise'); [t.join() for t in ring([lock, other])]",
    "condition's lock": """
        c = fastlock.Condition(fastlock.RLock(name='it'))
        def waits():
            with c: c.wait()
        t = start(waits); blocked('waits')
        with c:
            c.notify()
            parks = fastlock.Event()  # who is notified is woken when the notifier parks, or lets the lock go
            wait_until(lambda: parks.wait(0.001) or any(wait.what == 'RLock.acquire' for wait in fastlock.snapshot().waits))
        t.join()""",
    "task": """
        import asyncio
        from fastlock import aio
        async def main():
            lock = aio.Lock(name='it')
            async def takes():
                async with lock: await asyncio.sleep(0)
            await asyncio.gather(takes(), takes())
        asyncio.run(main())""",
    "cancelled task": """
        import asyncio
        from fastlock import aio
        async def main():
            lock = aio.Lock(name='it')
            async with lock:
                task = asyncio.create_task(lock.acquire())
                while not fastlock.metrics().waiting_agents: await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
        asyncio.run(main())""",
}


@pytest.mark.parametrize("source", KINDS.values(), ids=KINDS)
def test_every_way_to_wait_and_to_end_it_is_counted_once(source: str) -> None:
    """Whatever is waited for, by whom, and however it ends, it is one wait begun and one over."""
    assert told(f"{source}\n        tell(of('it'))") == [1, 1]


NO_CONTENTION = {
    "uncontended": "lock = fastlock.Lock(name='it')\n        for _ in range(1000):\n            with lock: pass",
    "try": "lock = fastlock.Lock(name='it'); lock.acquire(); assert not lock.acquire(False)",
    "event": "event = fastlock.Event(); start(event.wait); blocked('wait'); event.set()",
    "level off": "fastlock.set_level('off'); contend(fastlock.Lock(name='it'))",
}


@pytest.mark.parametrize("source", NO_CONTENTION.values(), ids=NO_CONTENTION)
def test_what_is_no_contention_is_not_counted(source: str) -> None:
    """Free locks, attempts, and waits for something to happen are no waits for a lock; level off counts nothing."""
    assert told(f"{source}\n        tell(len(fastlock.metrics().classes))") == 0


def test_classes_beyond_the_limit_count_together() -> None:
    """The first classes have numbers of their own, the others share theirs, and nothing is lost."""
    rows = told(
        """
        fastlock.configure(metric_classes=2)
        for number in range(5):
            contend(fastlock.Lock(name=f"n{number}", lock_class=f"class {number}"))
        contend(fastlock.Lock(lock_class="class 0"))
        tell([[each.lock_class, each.contentions] for each in fastlock.metrics().classes])
        """
    )
    assert rows == [["class 0", 2], ["class 1", 1], ["other", 3]]


def test_locks_of_one_line_and_of_one_variable_are_one_class() -> None:
    """A class is the creation site where there is no name; two lines with one variable's name are told as one."""
    rows = told(
        """
        def make():
            pool_lock = fastlock.Lock()
            return pool_lock
        for lock in (make(), make()):
            contend(lock)
        pool_lock = fastlock.Lock()
        contend(pool_lock)
        tell([[each.lock_class, each.contentions] for each in fastlock.metrics().classes])
        """
    )
    assert rows == [["pool_lock@program.py", 3]]


def test_the_histogram_is_cumulative_and_has_the_bounds_that_are_documented() -> None:
    """Bounds rise from 1 ms to 60 s; a wait that is 20 ms long is in no bucket below 10 ms and in all from 30 ms."""
    buckets, count = told(
        """
        lock = fastlock.Lock(name="it")
        lock.acquire()
        assert not lock.acquire(timeout=0.02)
        waits, = fastlock.metrics().classes
        tell([waits.buckets, waits.count])
        """
    )
    assert [bound for bound, _ in buckets] == list(_delays.BOUNDS_S)
    assert list(_delays.BOUNDS_S) == [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60]
    assert [number for bound, number in buckets if bound <= 0.01] == [0, 0, 0]
    numbers = [number for _, number in buckets]
    assert numbers == sorted(numbers) and count == 1


def test_deadlocked_agents_are_those_of_circles_that_stand() -> None:
    """Two in a circle are deadlocked, who waits behind it is not, and none is when it has been dissolved."""
    assert told(
        """
        left, right = fastlock.RLock(name="left"), fastlock.RLock(name="right")
        closing = threading.Event()
        class Over(Exception): pass
        import signal
        def breaks(*_): raise Over
        signal.signal(signal.SIGUSR1, breaks)
        def other():
            with right:
                closing.wait()
                with left: pass
        t = start(other)
        numbers = []
        def look():
            found("FL001")
            start(left.acquire, name="behind"); blocked("behind")
            now = fastlock.metrics()
            numbers.append([now.waiting_agents, now.deadlocked_agents])
            os.kill(os.getpid(), signal.SIGUSR1)
        try:
            with left:
                closing.set()
                blocked("other")
                start(look)
                with right: pass
        except Over:
            pass
        t.join()
        numbers.append(fastlock.metrics().deadlocked_agents)
        tell(numbers)
        """
    ) == [[3, 2], 0]


def test_findings_are_counted_by_code_each_time() -> None:
    """A finding that is reported once is counted as often as it is met; what is kept no more is counted as dropped."""
    findings, dropped = told(
        """
        def twice(name):
            lock = fastlock.Lock(lock_class=name, on_deadlock="raise")
            try:
                with lock, lock: pass
            except fastlock.DeadlockError: pass
        for number in range(1003): twice(f"n{number}")
        twice("n1002")
        fastlock.watchdog.flush(90)
        tell([dict(fastlock.metrics().findings), fastlock.metrics().dropped_findings])
        """
    )
    assert (findings, dropped) == ({"FL002": 1004}, 3)


def test_a_deadlock_that_its_agents_meet_again_is_one() -> None:
    """Each agent of a circle looks again when its wait is slow: that is no other occurrence, and the circle keeps its first moment."""
    counts = told(
        """
        ring([fastlock.RLock(), fastlock.RLock()])
        found("FL001")
        fastlock.watchdog.flush(90)
        since = fastlock.health().reason
        tellings = []
        fastlock.configure(slow_wait=0.05, on_deadlock=tellings.append)
        start(lambda: ring([fastlock.RLock(name="a"), fastlock.RLock(name="b")])).join()
        wait_until(lambda: len(tellings) >= 2)
        fastlock.watchdog.flush(90)
        now = fastlock.metrics()
        tell([sorted(f.count for f in fastlock.findings()), now.findings["FL001"], now.deadlocked_agents, fastlock.health().reason.startswith(since)])
        """
    )
    assert counts == [[1, 1], 2, 4, True]


def test_a_circle_that_will_clear_counts_once() -> None:
    """Also where a timeout will end it, and its agents look again before."""
    counts = told(
        """
        fastlock.configure(slow_wait=0.05)
        tellings = []
        report = fastlock.watchdog._report
        def reports(*event):
            report(*event)
            tellings.append(event)
        fastlock.watchdog._report = reports
        ring([fastlock.RLock(), fastlock.RLock(timeout=100)])
        wait_until(lambda: len(tellings) >= 2)
        now = fastlock.metrics()
        tell([[f.count for f in fastlock.findings()], dict(now.findings), now.deadlocked_agents, fastlock.health().ok])
        """
    )
    assert counts == [[1], {"FL001": 1}, 0, True]


def test_hooks_that_hang_are_counted() -> None:
    """A hook and a logging handler that do not return are two that were cut off; what logging misses meanwhile is counted too."""
    assert told(
        """
        import logging
        from fastlock import guests, watchdog
        guests.limited.__defaults__ = (0.05,)
        gate = threading.Event()
        class Hangs(logging.Handler):
            def emit(self, record): gate.wait()
        logging.getLogger().addHandler(Hangs())
        fastlock.on_finding(lambda finding: gate.wait())
        def twice(name):
            lock = fastlock.Lock(name=name, on_deadlock="raise")
            try:
                with lock, lock: pass
            except fastlock.DeadlockError: pass
        twice("first"), twice("second")
        watchdog.flush(90)
        now = fastlock.metrics()
        tell([now.hooks_cut_off, now.missed_findings])
        """
    ) == [2, 1]


def test_the_child_of_a_fork_counts_its_own() -> None:
    """Counters begin at zero in the child, for processes are added up; the parent's go on."""
    assert told(
        """
        contend(fastlock.Lock(name="parent's"))
        reader, writer = os.pipe()
        if os.fork() == 0:
            before = len(fastlock.metrics().classes)
            contend(fastlock.Lock(name="child's"))
            os.write(writer, json.dumps([before, of("child's"), of("parent's")]).encode())
            os._exit(0)
        os.wait()
        tell([json.loads(os.read(reader, 1000)), of("parent's")])
        """
    ) == [[0, [1, 1], None], [1, 1]]


def test_to_dict_is_json_and_frozen() -> None:
    """The numbers are plain builtins for who wants them so, and nobody can change them."""
    numbers = fastlock.metrics()
    assert json.loads(json.dumps(numbers.to_dict()))["pid"] == numbers.pid
    with pytest.raises(AttributeError):
        numbers.pid = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        numbers.findings["FL001"] = 1  # type: ignore[index]


# ---- report_rate


def test_reports_beyond_the_rate_are_counted_and_said() -> None:
    """Two reports in full, three withheld: hooks and logging get no more, findings() and the JSON file get all."""
    import tempfile

    from support import PRELUDE, run_program

    with tempfile.NamedTemporaryFile() as file:
        done = run_program(
            PRELUDE
            + """
fastlock.configure(report_rate=2)
seen = []
fastlock.on_finding(seen.append)
for number in range(5):
    lock = fastlock.Lock(name=f"n{number}", on_deadlock="raise")
    try:
        with lock, lock: pass
    except fastlock.DeadlockError: pass
fastlock.watchdog.flush(90)
print(len(seen), len(fastlock.findings()), fastlock.metrics().withheld_reports)
""",
            env={"FASTLOCK_JSON": file.name},
        )
        assert len(file.read().splitlines()) == 5
    assert done.stdout == "2 5 3\n", done.stderr
    assert done.stderr.count("fastlock explain FL002") == 2
    assert "fastlock: 3 more found, not reported in full (report_rate=2): FL002 3; see fastlock.findings()\n" in done.stderr


def test_the_rate_is_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after the first report there is room for one again, and that is when what was withheld is said."""
    from fastlock import config, pace

    now = [1000.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(config, "_current", config.Settings(report_rate=2))
    paced = pace.Pace()
    assert [paced.admits("FL001"), paced.admits("FL001"), paced.admits("FL020")] == [True, True, False]
    assert paced.due_s() == 60
    now[0] += 59
    assert not paced.admits("FL001") and paced.due_s() == 1
    now[0] += 1
    assert paced.due_s() == 0
    assert paced.told() == "fastlock: 2 more found, not reported in full (report_rate=2): FL001 1, FL020 1; see fastlock.findings()\n"
    assert paced.told() == "" and paced.due_s() is None
    assert paced.admits("FL001")
