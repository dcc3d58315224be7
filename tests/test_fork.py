"""Fork: what the child can still do, what it is told about locks that were held by threads it does not have."""

from __future__ import annotations

import pytest

from workers import check_program

HEAD = """
import os, signal, sys, threading, warnings
import fastlock
from workers import *

warnings.simplefilter("ignore", DeprecationWarning)     # forking with threads is what is tested
crew = Crew()

def in_child(work):
    '''Run work() in a forked child; True where it returned a true value within 15 s.'''
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        status = 1
        try:
            status = 0 if work() else 3
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, f"child: {status:#x}"
    return True
"""


def test_the_child_can_use_every_lock() -> None:
    """Free locks work in the child, between threads of its own; the forking thread still owns what it held."""
    check_program(f"""{HEAD}
held, deep, free, rw, semaphore = fastlock.Lock(), fastlock.RLock(), fastlock.Lock(), fastlock.RWLock(), fastlock.Semaphore(1)
condition = fastlock.Condition()
held.acquire(); deep.acquire(); deep.acquire(); rw.acquire_read(); semaphore.acquire()
def child():
    assert deep._recursion_count() == 2 and held.locked() and rw.readers == 1
    workers = Crew()
    workers[0].block(held.acquire, aged=True)
    held.release()
    assert workers[0].result() is True
    deep.release(); deep.release(); rw.release_read(); semaphore.release()
    assert workers[1].do(deep.acquire) and workers[1].do(rw.acquire_write) and workers[1].do(semaphore.acquire)
    workers[2].block(lambda: condition.__enter__() and condition.wait())
    with condition:
        condition.notify()
    assert workers[2].result() is True
    with free:
        return True
in_child(child)
assert held.locked() and deep._recursion_count() == 2 and rw.readers == 1 and semaphore._value == 0
print("ok")
""")


ORPHANS = {
    "Lock": ("x = fastlock.Lock()", "with x: hold()", "x.acquire()"),
    "RLock": ("x = fastlock.RLock()", "with x: hold()", "x.acquire()"),
    "write lock": ("x = fastlock.RWLock()", "with x.write(): hold()", "x.acquire_read()"),
    "read lock": ("x = fastlock.RWLock()", "with x.read(): hold()", "x.acquire_write()"),
    "upgradable lock": ("x = fastlock.RWLock()", "with x.upgradable(): hold()", "x.acquire_upgradable()"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ORPHANS)
def test_an_orphaned_lock_is_reported(kind: str) -> None:
    """Waiting in the child for what a thread of the parent held at the fork is FL004, proven, in the child alone."""
    make, take, want = ORPHANS[kind]
    err = check_program(f"""{HEAD}
{make}
inside, leave = threading.Event(), threading.Event()
def hold():
    inside.set()
    leave.wait()
def holder():
    {take}
crew[0].start(holder)
inside.wait()
def child():
    worker = Worker()
    worker.block(lambda: {want})
    found = wait_until(fastlock.findings)
    assert [(f.code, f.tier) for f in found] == [("FL004", "proven")], found
    assert [a.state for a in found[0].agents] == ["alive", "lost-in-fork"]
    x._at_fork_reinit()                     # the waiter is not in its queue any more, and nobody holds it
    return True
in_child(child)
leave.set()
crew[0].result()
assert not fastlock.findings()
print("ok")
""")
    assert "FL004" in err and "worker-0" in err


def test_at_fork_reinit_frees() -> None:
    """_at_fork_reinit in the child frees whatever the parent's threads held, and makes it usable."""
    check_program(f"""{HEAD}
locks = [fastlock.Lock(), fastlock.RLock(), fastlock.Condition(), fastlock.Condition(fastlock.Lock())]
rw, event = fastlock.RWLock(), fastlock.Event()
for lock in locks:
    crew[0].do(lock.acquire)
crew[0].do(rw.acquire_write)
crew[1].block(event.wait)
for number, lock in enumerate(locks):
    crew[2 + number].block(lock.acquire)
event_was = event.is_set()
def child():
    for lock in (*locks, rw, event):
        lock._at_fork_reinit()
    worker = Worker()
    for lock in locks:
        assert lock.acquire(blocking=False)
        worker.block(lock.acquire)
        lock.release()
        assert worker.result() is True
    worker.block(event.wait)
    event.set()
    assert worker.result() is True
    return rw.acquire_write(False)
in_child(child)
event.set()
assert crew[1].result() is True and rw.locked()
for number, lock in enumerate(locks):
    crew[0].do(lock.release)
    assert crew[2 + number].result() is True    # the parent's waiters got theirs
print("ok")
""")


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "read", "write", "upgradable"])
def test_what_was_on_its_way_is_not_lost(kind: str) -> None:
    """What had been handed to a waiter of the parent that had not yet woken is free in the child."""
    make, take, give, want, trial = {
        "Lock": ("fastlock.Lock()", "x.acquire()", "x.release()", "x.acquire()", "x.acquire(timeout=60)"),
        "Semaphore": ("fastlock.Semaphore(0)", "True", "x.release()", "x.acquire()", "x.acquire(timeout=60)"),
        "read": ("fastlock.RWLock()", "x.acquire_write()", "x.release_write()", "x.acquire_read()", "x.acquire_write(timeout=60)"),
        "write": ("fastlock.RWLock()", "x.acquire_read()", "x.release_read()", "x.acquire_write()", "x.acquire_read(timeout=60)"),
        "upgradable": (
            "fastlock.RWLock()", "x.acquire_upgradable()", "x.release_upgradable()", "x.acquire_upgradable()",
            "x.acquire_upgradable(timeout=60)",
        ),
    }[kind]  # fmt: skip
    check_program(f"""{HEAD}
sys.setswitchinterval(10)       # the waiter cannot wake between the release and the fork
x = {make}
{take}
crew[0].block(lambda: {want}, aged=True)
def fork():
    {give}
    return in_child(lambda: {trial})
assert fork()
assert crew[0].result() is True
print("ok")
""")


def test_fork_among_waiters_and_contention() -> None:
    """Forks in the midst of contention give children in which every lock works once it is made anew, and leave the parent whole."""
    check_program(f"""{HEAD}
sys.setswitchinterval(1e-4)
locks = [fastlock.Lock(), fastlock.RLock()]
rw, stop, total = fastlock.RWLock(), threading.Event(), [0]
def work(number):
    while not stop.is_set():
        for lock in locks:
            with lock:
                total[0] += 1
        with rw.write() if number % 2 else rw.read():
            pass
for number in range(4):
    crew[number].start(work, number)
def child():
    for lock in (*locks, rw):
        lock._at_fork_reinit()
    workers = Crew()
    for number in range(3):
        workers[number].start(lambda: [total.__setitem__(0, total[0] + 1) for _ in range(50) for lock in locks if with_lock(lock)])
    for number in range(3):
        workers[number].result()
    with rw.write():
        return True
def with_lock(lock):
    with lock:
        return True
for _ in range(15):
    in_child(child)
stop.set()
for number in range(4):
    crew[number].result()
assert is_quiet(), quiet_text()
print("ok")
""")


def test_fork_inside_a_handler_inside_a_wait() -> None:
    """A fork by a signal handler inside a wait: the child's wait goes on and can be ended by the child, the parent's too."""
    check_program(f"""{HEAD}
lock = fastlock.Lock()
child = []
def handle(*_):
    if not child:
        child.append(os.fork())
        if child == [0]:
            signal.alarm(60)
            lock._at_fork_reinit()              # its owner stayed behind
signal.signal(signal.SIGUSR1, handle)
crew[0].do(lock.acquire)
def go():
    wait_until(main_waits)
    while not child:
        os.kill(os.getpid(), signal.SIGUSR1)
        try:
            wait_until(lambda: child, timeout_s=0.2)
        except AssertionError:
            pass
    crew[0].do(lock.release)
crew[1].start(go)
assert lock.acquire() is True                   # in both processes
assert lock.locked() and not fastlock.snapshot().waits
if child == [0]:
    worker = Worker()
    worker.block(lock.acquire, aged=True)
    lock.release()
    os._exit(0 if worker.result() else 1)
assert os.waitpid(child[0], 0)[1] == 0
crew[1].result()
print("ok")
""")


def test_grandchildren() -> None:
    """Forks of forks keep their owner's identity and free their other locks."""
    check_program(f"""{HEAD}
mine = fastlock.RLock()
mine.acquire()
def descend(generation):
    assert mine._is_owned() and mine._recursion_count() == generation
    worker = Worker()
    assert worker.do(lambda: mine.acquire(blocking=False)) is False
    if generation == 4:
        return True
    mine.acquire()
    return in_child(lambda: descend(generation + 1))
assert descend(1)
print("ok")
""")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method: str) -> None:
    """Processes of multiprocessing use locks of their own beside installed ones, under either start method."""
    check_program(f"""
import multiprocessing, sys, threading
import fastlock
from concurrent.futures import ThreadPoolExecutor
fastlock.install()
guard = threading.Lock()

def work(number):
    with guard, ThreadPoolExecutor(2) as pool:
        return sum(pool.map(abs, range(-number, 0)))

if __name__ == "__main__":
    assert type(guard) is type(fastlock.Lock())
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map(work, range(6), chunksize=1) == [0, 1, 3, 6, 10, 15]
    assert not fastlock.findings()
    print("ok")
""")
