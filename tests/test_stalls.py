"""Stalls (FL031): who is stuck when nobody can wake them, what is proven and what only possible, and when it is looked for."""

from __future__ import annotations

import pytest

from support import answer, ask, run_program

SETUP = """
import os, queue, signal, sys, time
fastlock.install()
fastlock.configure(slow_wait=0.05)

def stalls():
    return [finding for finding in fastlock.find_deadlocks() if finding.code == "FL031"]

def told():
    return [finding for finding in fastlock.findings() if finding.code == "FL031"]

def said(finding):
    return [finding.tier, finding.explanation, finding.fix, list(finding.reasons)]
"""


def told(source: str, **options: object) -> object:
    """Run a program after SETUP and return what it told."""
    return ask(SETUP + source, **options)


# Where a thread of the program runs on, so that nothing is proven.
ALIVE = """
def watch(what):
    tell(said(wait_until(what, 25)[0]))
"""


def test_a_consumer_that_is_gone_is_possible_while_somebody_runs() -> None:
    """The producer waits for room that only an ended thread has made so far; another thread runs, and might."""
    tier, explanation, fix, reasons = told(
        ALIVE
        + """
jobs = queue.Queue(2)

def consumer():
    for _ in range(4):
        jobs.get()

def producer():
    for number in range(20):
        jobs.put(number)

start(consumer)
start(producer)
watch(told)
"""
    )
    assert tier == "possible"
    assert 'Thread "producer" waits in Queue.put on jobs, 2 of 2' in explanation
    assert 'Who has taken from it so far: thread "consumer", which has ended' in explanation
    assert reasons == ["confirmed twice", "assumed: nobody wakes who waits for jobs but who has so far"]
    assert "keep somebody who takes from jobs" in fix


def test_who_asks_is_told_at_once_what_may_be() -> None:
    """find_deadlocks() does not wait for it to last, nor for three who have woken; the report does."""
    answer = told(
        """
fastlock.configure(slow_wait=10)
jobs = queue.Queue(1)

def producer():
    for number in range(3):
        jobs.put(number)

start(producer)
start(jobs.get).join()
wait_until(stalls, 25)
tell([finding.tier for finding in stalls()] + [len(told())])
"""
    )
    assert answer == ["possible", 0]


def test_a_consumer_that_puts_into_its_own_full_queue() -> None:
    """The only one who takes from the queue waits for room in it."""
    tier, explanation, fix, _ = told(
        ALIVE
        + """
jobs = queue.Queue(2)

def worker():
    for number in range(20):
        jobs.get()
        if number >= 4:
            jobs.put(number)
            jobs.put(number)

def feeder():
    for number in range(8):
        jobs.put(number)

start(feeder)
start(worker)
watch(lambda: [finding for finding in told() if "only one" in finding.explanation])
"""
    )
    assert tier == "possible"
    assert "in Queue.put on jobs, 2 of 2" in explanation
    assert "is the only one who takes from it" in explanation
    assert "put_nowait()" in fix


def test_a_forgotten_task_done_keeps_join_waiting() -> None:
    """Who joins the queue waits for its workers, which wait for more to come from who joins."""
    tier, explanation, _, _ = told(
        ALIVE
        + """
jobs = queue.Queue()

def worker():
    while True:
        if jobs.get() != 2:
            jobs.task_done()

def boss():
    for number in range(6):
        jobs.put(number)
    jobs.join()

start(worker)
start(boss)
watch(told)
"""
    )
    assert tier == "possible"
    assert 'Thread "boss" waits in Queue.join on jobs, 1 unfinished' in explanation
    assert 'thread "worker", which waits in Queue.get on jobs, empty' in explanation


def test_a_stall_without_any_other_thread_is_proven_at_once() -> None:
    """find_deadlocks() of a process in which nothing runs: here it is fastlock's own thread that asks."""
    done = run_program(
        """
        import threading
        import fastlock
        fastlock.install()
        fastlock.configure(slow_wait=0.05, on_deadlock="exit")
        threading.Event().wait()
        """
    )
    assert done.returncode == 3
    assert "FL031 stall: Event@program.py:6" in done.stderr
    assert "nobody has set it so far" in done.stderr
    assert "nothing in the process can run" in done.stderr


@pytest.mark.parametrize(
    "somebody",
    [
        "signal.signal(signal.SIGUSR1, lambda *_: ready.set())",
        "start(time.sleep, 60)",
        "start(lambda: threading.Event().wait(60))",
        "start(lambda: os.read(os.pipe()[0], 1))",
        "start(lambda: __import__('subprocess').run(['sleep', '60'], stdout=-3, stderr=-3))",
    ],
    ids=["signal handler", "sleep", "timeout", "pipe", "process"],
)
def test_whoever_may_run_may_wake(somebody: str) -> None:
    """An event that nobody has ever set is no stall while a handler is installed, or some thread is not in a wait without end."""
    done = run_program(
        f"""
        import os, signal, sys, threading, time
        import fastlock
        from support import *
        fastlock.install()
        fastlock.configure(slow_wait=0.05)
        looks = []
        from fastlock import stalls
        find = stalls.find
        def counted(late_ns):
            events = find(late_ns)
            looks.append(len(events))
            if len(looks) == 3:
                tell(looks)
            return events
        stalls.find = counted
        ready = threading.Event()
        {somebody}
        ready.wait()
        """
    )
    assert answer(done) == [0, 0, 0]


def test_a_thread_of_c_code_may_wake() -> None:
    """Where the process has a thread that is none of Python's, nothing is known of what it will do."""
    done = run_program(
        """
        import ctypes, threading
        import fastlock
        from support import *
        fastlock.install()
        fastlock.configure(slow_wait=0.05)
        from fastlock import stalls
        looks = []
        find = stalls.find
        def counted(late_ns):
            events = find(late_ns)
            looks.append(len(events))
            if len(looks) == 3:
                tell(looks)
            return events
        stalls.find = counted
        libc = ctypes.CDLL(None)
        number = ctypes.c_ulong()
        libc.pthread_create(ctypes.byref(number), None, ctypes.cast(libc.sleep, ctypes.c_void_p), ctypes.c_void_p(60))
        threading.Event().wait()
        """
    )
    assert answer(done) == [0, 0, 0]


def test_idle_workers_are_no_stall() -> None:
    """Workers that wait to be given something are idle, whoever has given them something before and has ended."""
    assert (
        told(
            """
jobs, started = queue.Queue(), []

def worker():
    while True:
        jobs.get()

def submit():
    for number in range(6):
        jobs.put(number)

workers = [start(worker, name=f"worker-{number}") for number in range(3)]
start(submit).join()
blocked("worker-0", "worker-1", "worker-2")
from fastlock import _overdue
wait_until(lambda: _overdue.due_ns() > time.monotonic_ns() + 50_000_000 * 8)   # it has looked until it looks rarely
tell([len(stalls()), len(told())])
"""
        )
        == [0, 0]
    )


def test_who_come_and_go_are_replaced() -> None:
    """Where a new one has come after one had ended, the next one may come as well."""
    assert (
        told(
            """
inbox = queue.Queue()

def request():
    for number in range(3):
        inbox.put(number)

def serve():
    while True:
        inbox.get()

for number in range(3):
    start(request, name=f"request-{number}").join()
server = start(serve)
start(server.join, name="joins")
blocked("serve", "joins")
from fastlock import _overdue
wait_until(lambda: _overdue.due_ns() > time.monotonic_ns() + 50_000_000 * 30)
tell(len(stalls()))
"""
        )
        == 0
    )


# A thread waits for a condition that only an ended thread has notified.
UNNOTIFIED = """
ready = threading.Condition()

def setup():
    for _ in range(3):
        with ready:
            ready.notify_all()

def waits():
    with ready:
        ready.wait()

start(setup).join()
waiter = start(waits)
"""


def test_a_stall_is_told_once_and_no_more() -> None:
    """Later looks find the same waits, and neither tell nor count them again."""
    assert (
        told(
            """
from fastlock import stalls as module
looks = []
find = module.find
def counted(late_ns):
    events = find(late_ns)
    if events:
        looks.append(events[0]["tier"])
    return events
module.find = counted
"""
            + UNNOTIFIED
            + """
start(waiter.join, name="joins")
wait_until(lambda: len(looks) > 2, 25)
tell([(finding.tier, finding.count) for finding in told()])
"""
        )
        == [["possible", 1]]
    )


def test_a_policy_acts_on_what_is_proven_only() -> None:
    """While somebody runs a policy has nothing to act on; nobody is raised in."""
    assert (
        told(
            """
acted = []
fastlock.configure(on_deadlock=lambda finding: acted.append(finding.code))
"""
            + UNNOTIFIED
            + """
joins = start(waiter.join, name="joins")
wait_until(told, 25)
tell([acted, waiter.error is None, joins.error is None])
"""
        )
        == [[], True, True]
    )


def test_a_callable_policy_is_given_a_proven_stall() -> None:
    """The main thread waits for a thread that waits for an end marker; nothing else is there."""
    done = run_program(
        """
        import os, queue, threading
        import fastlock
        fastlock.install()

        def act(finding):
            print(finding.code, finding.tier, len(finding.agents))
            os._exit(0)

        fastlock.configure(slow_wait=0.05, on_deadlock=act)
        results = queue.Queue()
        reader = threading.Thread(target=lambda: list(iter(results.get, None)), name="reader")
        reader.start()
        for number in range(3):
            results.put(number)
        reader.join()
        """
    )
    assert (done.returncode, done.stdout) == (0, "FL031 proven 2\n"), done.stderr


def test_a_process_that_cannot_end_says_for_whom_it_waits() -> None:
    """The main thread is over, and a thread that is no daemon waits for ever: the interpreter waits for it."""
    done = run_program(
        """
        import queue, threading
        import fastlock
        fastlock.install()
        fastlock.configure(slow_wait=0.05, on_deadlock="exit")
        results = queue.Queue()
        threading.Thread(target=results.get, name="reader").start()
        """
    )
    assert done.returncode == 3, done.stderr
    assert 'Thread "reader" waits in Queue.get on results, empty' in done.stderr


def test_a_deadlock_is_told_as_one() -> None:
    """What locks alone keep from running is FL001, and who merely stands behind it is no stall."""
    assert (
        told(
            """
ring([fastlock.RLock(), fastlock.RLock()])
found("FL001")
jobs = queue.Queue(1)
tell([len(stalls()), sorted({finding.code for finding in fastlock.findings()})])
"""
        )
        == [0, ["FL001"]]
    )


def test_after_a_fork_only_the_childs_own_threads_count() -> None:
    """In the child nobody is left who has filled the queue."""
    done = run_program(
        """
        import os, queue, sys, threading
        import fastlock
        fastlock.install()
        fastlock.configure(slow_wait=0.05, on_deadlock="exit")
        jobs = queue.Queue()
        go, done = threading.Event(), threading.Event()

        def produce():
            for number in range(3):
                jobs.put(number)
            done.set()
            go.wait(60)

        threading.Thread(target=produce, name="producer", daemon=True).start()
        done.wait()
        for _ in range(3):
            jobs.get()
        child = os.fork()
        if child == 0:
            jobs.get()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(str(status))
        os._exit(0)
        """
    )
    assert done.stdout == "3", done.stderr
    assert "stayed in the parent of a fork" in done.stderr


def test_short_waits_start_no_thread() -> None:
    """A program that never waits for as long as slow_wait has no thread of fastlock's own, and looks at nothing."""
    assert (
        ask(
            """
import queue
fastlock.install()
from fastlock import _overdue, watchdog
jobs = queue.Queue(2)
worker = start(lambda: [jobs.get() for _ in range(200)])
for number in range(200):
    jobs.put(number)
worker.join()
tell([_overdue.due_ns(), len(watchdog._tickets)])
"""
        )
        == [-1, 1]
    )


def test_looks_become_rare() -> None:
    """As long as nobody is newly late the pause between two looks doubles."""
    pauses = told(
        """
from fastlock import stalls as module
times = []
find = module.find
def counted(late_ns):
    times.append(time.monotonic())
    return find(late_ns)
module.find = counted
start(threading.Event().wait, name="idle")
wait_until(lambda: len(times) > 5, 25)
tell([after - before for before, after in zip(times, times[1:])])
"""
    )
    assert isinstance(pauses, list)
    assert pauses[4] > 4 * 0.05


def test_a_thread_that_ends_has_the_late_ones_looked_at() -> None:
    """The last one who ran ends long after the others became late, and long before the next look would be due."""
    done = run_program(
        """
        import sys, threading, time
        import fastlock
        from support import *
        from fastlock import _overdue
        fastlock.install()
        fastlock.configure(slow_wait=0.05, on_deadlock="exit")

        def runs():
            wait_until(lambda: _overdue.due_ns() > time.monotonic_ns() + 3 * 10**9, 25)

        start(runs)
        threading.Event().wait()
        """,
        timeout_s=60,
    )
    assert done.returncode == 3, done.stderr
    assert "FL031 stall" in done.stderr


def test_what_is_known_of_wakers_goes_with_the_condition() -> None:
    """A record that serves another condition knows nothing of the one before."""
    assert (
        told(
            """
def wake(event):
    for _ in range(3):
        event.set()

for _ in range(100):
    event = threading.Event()
    start(wake, event).join()
    start(wake, event).join()
    del event
fresh = [threading.Event() for _ in range(100)]
waiters = [start(event.wait, name=f"w{number}") for number, event in enumerate(fresh)]
start(lambda: [waiter.join() for waiter in waiters], name="joins")
blocked("joins", "w99")
began = time.monotonic()
wait_until(lambda: time.monotonic() > began + 1)    # ten times slow_wait, and more
tell(len(stalls()))
"""
        )
        == 0
    )


def test_who_has_been_given_something_by_a_simple_queue_can_run() -> None:
    """A thread that still waits in C, because it has not got the GIL yet, counts as one that runs; afterwards nothing of it is kept."""
    source = """
    import queue, sys
    from fastlock import _simple
    fastlock.install()
    things = queue.SimpleQueue()
    taker = start(things.get)
    blocked(taker.name)
    before = _simple.served()
    sys.setswitchinterval(100)
    things.put(1)
    given = _simple.served()
    sys.setswitchinterval(0.005)
    taker.join()
    expected = {taker.ident} if sys.version_info < (3, 13) else set()     # from then on put() hands it over
    tell([len(before), given == expected, len(_simple.served()), [finding.code for finding in fastlock.find_deadlocks()]])
    """
    assert ask(source) == [0, True, 0, []]


# In each of them the last line waits for ever, and no other thread runs.
PROVEN = {
    "upgradable": ("rw = fastlock.RWLock()", "with rw.upgradable(): never.wait()", "with rw.upgradable(): pass"),
    "upgrade": ("rw = fastlock.RWLock()", "with rw.read(): never.wait()", "with rw.upgradable(), rw.write(): pass"),
    "read behind an upgrade": (
        "rw = fastlock.RWLock(prefer='reader'); reads = threading.Event()",
        "start(lambda: [reads.wait(), rw.acquire_upgradable(), rw.acquire_write()], name='upgrades')\n    with rw.read(): reads.set(); never.wait()",
        "blocked('upgrades'); wait_until(lambda: any(w.what == 'acquire_write' or w.mode == 'exclusive' for w in fastlock.snapshot().waits))\nwith rw.read(): pass",
    ),
    "a future of the program's": ("promise = Future()", "never.wait()", "promise.result()"),
    "any of two futures of the program's": ("promises = [Future(), Future()]", "never.wait()", "next(as_completed(promises))"),
}


@pytest.mark.parametrize("make, other, main", PROVEN.values(), ids=PROVEN)
def test_nothing_runs_and_it_is_proven(make: str, other: str, main: str) -> None:
    """Ways to wait in which a thread once counted as one that can run."""
    done = run_program(
        f"""
import threading
from concurrent.futures import Future, as_completed
import fastlock
from support import *
fastlock.install()
fastlock.configure(slow_wait=0.05, on_deadlock="exit")
never = threading.Event()
{make}
def other():
    {other}
start(other)
blocked("other")
{main}
"""
    )
    assert done.returncode == 3, done.stderr
    assert "nothing in the process can run" in done.stderr


def test_a_future_of_the_programs_may_come_from_whoever_runs() -> None:
    """Nobody is known to bring it: while somebody runs, nothing is said of it, also to who asks."""
    assert (
        told(
            """
from concurrent.futures import Future
promises = [Future() for _ in range(3)]
start(promises[0].result, name="w0")
start(lambda: [promise.result() for promise in promises], name="w1")
blocked("w0", "w1")
began = time.monotonic()
wait_until(lambda: time.monotonic() > began + 1)    # ten times slow_wait, and more
tell(len(stalls()) + len(told()))
"""
        )
        == 0
    )


def test_an_upgrade_is_not_kept_waiting_by_its_own_share() -> None:
    """Who upgrades waits for the other reader alone, who waits with a limit: nobody is stuck, whoever waits behind the two."""
    assert (
        told(
            """
rw, event = fastlock.RWLock(), threading.Event()
def reads():
    with rw.read():
        reading.set()
        event.wait(2)
reading = threading.Event()
reader = start(reads)
reading.wait()
def upgrades():
    with rw.upgradable(), rw.write():
        pass
upgrader = start(upgrades)
blocked("upgrades")
waiters = [start(rw.acquire_upgradable, name="w0"), start(rw.acquire_write, name="w1")]
blocked("w0", "w1")
said = len(stalls())
event.set()
upgrader.join(); reader.join()
tell([said, len(told()), repr(upgrader.error)])
"""
        )
        == [0, 0, "None"]
    )
