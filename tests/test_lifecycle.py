"""Beginnings and ends: of threads, of locks, of the interpreter; and code that enters in the middle of everything."""

from __future__ import annotations



import pytest

from workers import check_program

HEAD = """
import _thread, gc, os, sys, threading, weakref
import fastlock
from workers import *
"""


@pytest.mark.parametrize(
    ("make", "take", "want"),
    [
        ("fastlock.RLock()", "x.acquire()", "x.acquire()"),
        ("fastlock.Lock()", "x.__enter__()", "x.acquire()"),
        ("fastlock.RWLock()", "x.acquire_write()", "x.acquire_read()"),
        ("fastlock.RWLock()", "x.acquire_read()", "x.acquire_write()"),
    ],
)
@pytest.mark.parametrize("first", ["death", "wait"])
def test_a_lock_of_a_dead_thread_is_reported(make: str, take: str, want: str, first: str) -> None:
    """Waiting for what a thread held when it ended is FL003, whether the wait or the death came first."""
    err = check_program(f"""{HEAD}
x = {make}
waiter, owner = Worker("waiter"), Worker("careless")
owner.do(lambda: {take})
if {first!r} == "wait":
    waiter.block(lambda: {want})
    assert not fastlock.findings()
owner.stop()
if {first!r} == "death":
    waiter.start(lambda: {want})
found = wait_until(fastlock.findings)
assert [(f.code, f.tier) for f in found] == [("FL003", "proven")], found
assert "careless" in str(found[0])
print("ok", flush=True)
os._exit(0)
""")
    assert "FL003" in err and "careless" in err


def test_a_dead_owners_lock_can_still_be_released() -> None:
    """Somebody else may release a plain lock whose owner has ended, and its waiter gets it."""
    check_program(f"""{HEAD}
lock, waiter, owner = fastlock.Lock(), Worker(), Worker()
owner.do(lock.__enter__)
waiter.block(lock.acquire, aged=True)
owner.stop()
lock.release()
assert waiter.result() is True
print("ok")
""")


def test_os_exit_with_blocked_threads() -> None:
    """os._exit ends the process at once with its status, whoever waits."""
    from support import run_program

    done = run_program(
        HEAD + "lock = fastlock.Lock(); lock.acquire(); Worker().block(lock.acquire); os._exit(7)"
    )
    assert done.returncode == 7


@pytest.mark.parametrize("held_by", ["main", "a daemon"])
def test_shutdown_with_a_thousand_blocked_and_running_daemons(held_by: str) -> None:
    """The interpreter ends well while 1,000 daemon threads wait for locks and some run and hand locks to each other."""
    check_program(f"""{HEAD}
threading.stack_size(256 * 1024)
blocked, busy, ready = fastlock.Lock(), [fastlock.Lock(), fastlock.RLock()], fastlock.Semaphore(0)
def wait():
    ready.release()
    with blocked:
        pass
def run():
    ready.release()
    while True:
        for lock in busy:
            with lock:
                pass
if {held_by!r} == "main":
    blocked.acquire()
else:
    Worker().do(blocked.acquire)
sys.setswitchinterval(1e-4)
for number in range(1000):
    threading.Thread(target=wait if number < 990 else run, daemon=True).start()
for _ in range(1000):
    ready.acquire()

class Last:
    def __del__(self):
        # At this point daemons are cut off: a lock that one of them was handed must not be lost.
        for lock in busy:
            if lock.acquire(timeout=0.05):
                lock.release()
last = Last()
sys.modules["kept until the end"] = last
if blocked.locked() and {held_by!r} == "main":
    blocked.release()
print("ok")
""")


def test_a_finaliser_may_take_locks() -> None:
    """A finaliser that runs wherever a collection starts takes free locks, re-enters an RLock and tries a held Lock."""
    check_program(f"""{HEAD}
plain, deep, tried = fastlock.Lock(), fastlock.RLock(), fastlock.Lock()
ran = []
class Cyclic:
    def __init__(self):
        self.me = self
    def __del__(self):
        with plain:
            with deep:
                ran.append(tried.acquire(False) and tried.release())
gc.set_threshold(1)
crew = Crew()
def work():
    for _ in range(200):
        Cyclic()
        with deep, tried:
            fastlock.snapshot()
            [object() for _ in range(3)], dict(a=[])
for number in range(3):
    crew[number].start(work)
for number in range(3):
    crew[number].result()
gc.collect()
assert len(ran) == 600 and is_quiet(), (len(ran), quiet_text())
print("ok")
""")


def test_a_finaliser_that_wants_what_it_interrupts() -> None:
    """A finaliser that blocks on the lock its own thread holds is FL002 with "in a finaliser", and raises where asked to."""
    check_program(f"""{HEAD}
fastlock.configure(on_deadlock="raise")
lock, errors = fastlock.Lock(), []
class Cyclic:
    def __init__(self):
        self.me = self
    def __del__(self):
        try:
            lock.acquire()
        except fastlock.DeadlockError as error:
            errors.append(error.finding)
def work():
    with lock:
        Cyclic()
        gc.collect()
for _ in range(3):
    work()
assert [finding.code for finding in errors] == ["FL002"] * 3 and not lock.locked()
assert "in a finaliser" in errors[0].reasons
print("ok")
""")


def test_collections_everywhere_while_findings_are_made() -> None:
    """Finalisers that deadlock enter at every allocation of reports, snapshots and findings(), and nothing hangs."""
    check_program(f"""{HEAD}
lock, raised = fastlock.Lock(on_deadlock="raise"), []
class Cyclic:
    def __init__(self):
        self.me = self
    def __del__(self):
        try:
            with lock:
                lock.acquire()
        except fastlock.DeadlockError:
            raised.append(1)
gc.set_threshold(1)
handle = fastlock.on_finding(lambda finding: [Cyclic() for _ in range(3)])
crew = Crew()
crew[0].start(lambda: [(Cyclic(), list(fastlock.findings())) for _ in range(60)])
for _ in range(60):
    Cyclic()
    fastlock.snapshot().to_dict()
    fastlock.find_deadlocks()
crew[0].result()
gc.set_threshold(700)
# A collection that another thread is in the middle of makes ours a no-op.
wait_until(lambda: gc.collect() is not None and len(raised) >= 123)
wait_until(is_quiet)
print("ok", flush=True)
os._exit(0)
""")


def test_acquire_without_a_python_frame() -> None:
    """A thread that runs nothing but lock.acquire has no frame: it takes the lock, waits, is reported, and no site is made up."""
    check_program(f"""{HEAD}
lock, rlock, semaphore = fastlock.Lock(), fastlock.RLock(), fastlock.Semaphore(0)
for call in (lock.acquire, lock.__enter__):
    _thread.start_new_thread(call, ())
    wait_until(lock.locked)
    lock.release()
_thread.start_new_thread(rlock.__enter__, ())
wait_until(rlock.locked)
_thread.start_new_thread(rlock.acquire, ())
found = wait_until(fastlock.findings)
assert found[0].code == "FL003", found
assert not any(edge.wanted_at or edge.held_at for edge in found[0].edges)
_thread.start_new_thread(semaphore.release, ())
assert semaphore.acquire(timeout=60)
_thread.start_new_thread(fastlock.Lock, ())
print("ok", flush=True)
os._exit(0)
""")


def test_weakref_callbacks_may_lock() -> None:
    """A lock can be referred to weakly, dies with its last reference, and the callback may take locks."""
    check_program(f"""{HEAD}
other, gone = fastlock.Lock(), []
def bury(reference):
    with other:
        gone.append(reference())
makers = [fastlock.Lock, fastlock.RLock, fastlock.Condition, fastlock.Semaphore, fastlock.BoundedSemaphore, fastlock.Event,
          fastlock.RWLock, lambda: fastlock.Barrier(2)]
references = []
for make in makers:
    lock = make()
    references.append(weakref.ref(lock, bury))
    assert references[-1]() is lock
    del lock
    gc.collect()
assert gone == [None] * len(makers)
print("ok")
""")


def test_locks_destroyed_while_held_leave_nothing() -> None:
    """A lock that dies while it is held disappears from the table, and the record's next lock is free and unmarked."""
    check_program(f"""{HEAD}
for turn in range(300):
    lock, rlock, rw, semaphore = fastlock.Lock(name="old", timeout=1), fastlock.RLock(), fastlock.RWLock(), fastlock.Semaphore(1)
    assert not lock.locked() and rlock._recursion_count() == 0 and not rw.locked() and semaphore._value == 1, turn
    assert lock.acquire(False) and rlock.acquire(blocking=False) and semaphore.acquire(False)
    rlock.acquire()
    rw.acquire_write() if turn % 2 else rw.acquire_read()
    del lock, rlock, rw, semaphore
    gc.collect() if turn % 50 == 0 else None
gc.collect()
assert is_quiet(), quiet_text()
print("ok")
""")


def test_a_hundred_thousand_locks() -> None:
    """100,000 locks exist, work and die; their records serve the next ones."""
    check_program(f"""{HEAD}
import resource
def make():
    locks = [fastlock.Lock() for _ in range(100_000)]
    for lock in locks:
        lock.acquire()
    assert len(fastlock.snapshot().locks) == 100_000
    for lock in locks:
        lock.release()
    assert is_quiet()
make()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(2):
    make()
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before * 1.3
print("ok")
""")


def test_agents_of_short_threads_are_recycled() -> None:
    """3,000 threads, one after the other, use a few hundred agent records, and each gets an id of its own."""
    check_program(f"""{HEAD}
lock, orphan, ids, threads = fastlock.Lock(), fastlock.RLock(), set(), 3000
keeper = threading.Thread(target=orphan.acquire)    # a tombstone that must not be recycled: it still owns
keeper.start(); keeper.join()
def work():
    with lock:
        me = _thread.get_native_id()
        if turn % 10 == 0:
            ids.update(agent.id for agent in fastlock.snapshot().agents if agent.native_id == me and agent.holds)
for turn in range(threads):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not lock.locked()
assert len(ids) == threads // 10, len(ids)
assert max(id & 0xFFFFFF for id in ids) < 1000
assert orphan.locked() and not orphan.acquire(blocking=False)
assert any(agent.holds for agent in fastlock.snapshot().agents)
print("ok")
""")


def test_recycled_agents_inherit_nothing() -> None:
    """A thread whose agent record served another one before starts without its holds, its waits and its RLocks."""
    check_program(f"""{HEAD}
semaphore, deep = fastlock.Semaphore(3), fastlock.RLock()
def leave_things():
    semaphore.acquire()
    semaphore.acquire(timeout=0.001)
    deep.acquire()
    deep.release()
for _ in range(1500):
    thread = threading.Thread(target=leave_things)
    thread.start()
    thread.join()
    semaphore.release(); semaphore.release()        # by somebody else: nobody is its holder from here on
worker = Worker()
assert worker.do(deep._is_owned) is False
assert is_quiet(), quiet_text()
print("ok")
""")



def test_threads_that_never_lock_cost_no_agent() -> None:
    """A thread that takes no lock of fastlock's does not appear in the table."""
    check_program(f"""{HEAD}
go = _thread.allocate_lock()
go.acquire()
before = len(fastlock.snapshot().agents)
for _ in range(20):
    _thread.start_new_thread(go.acquire, ())
assert len(fastlock.snapshot().agents) == before
print("ok", flush=True)
os._exit(0)
""")
