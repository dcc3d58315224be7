"""Signals inside waits: handlers run, may wait themselves, and what they raise leaves nothing behind.

Each program sends SIGUSR1 from a thread when the main thread's wait is in the table. A signal that comes between that and the
system's own sleep runs its handler at the next wake only, as with threading's locks, so senders repeat until it has run.
"""

from __future__ import annotations

import pytest

from workers import check_program

# Kinds of waits: how others make the main thread wait, what it calls, how they let it go, what proves that nothing is left.
WAITS = {
    "Lock": ("x = fastlock.Lock(); crew[0].do(x.acquire)", "x.acquire()", "x.release()", "x.acquire(False)"),
    "timed Lock": ("x = fastlock.Lock(); crew[0].do(x.acquire)", "x.acquire(timeout=60)", "x.release()", "x.acquire(False)"),
    "RLock": ("x = fastlock.RLock(); crew[0].do(x.acquire)", "x.acquire()", "x.release()", "x.acquire(blocking=False)"),
    "with Lock": ("x = fastlock.Lock(); crew[0].do(x.acquire)", "x.__enter__()", "x.release()", "x.acquire(False)"),
    "Semaphore": ("x = fastlock.Semaphore(1); crew[0].do(x.acquire)", "x.acquire()", "x.release()", "x.acquire(False)"),
    "Event": ("x = fastlock.Event()", "x.wait()", "x.set()", "x.wait(0)"),
    "read": ("x = fastlock.RWLock(); crew[0].do(x.acquire_write)", "x.acquire_read()", "x.release_write()", "x.acquire_write(False)"),
    "write": ("x = fastlock.RWLock(); crew[0].do(x.acquire_read)", "x.acquire_write()", "x.release_read()", "x.acquire_write(False)"),
    "upgradable": (
        "x = fastlock.RWLock(); crew[0].do(x.acquire_upgradable)",
        "x.acquire_upgradable()", "x.release_upgradable()", "x.acquire_write(False)",
    ),
    "upgrade": (
        "x = fastlock.RWLock(prefer='reader'); x.acquire_upgradable(); crew[0].do(x.acquire_read)",
        "x.acquire_write()", "x.release_read()", "x.acquire_read(False) and x.readers == 2 and 'upgradable' in repr(x)",
    ),
    "Barrier": ("x = fastlock.Barrier(2)", "x.wait()", "x.wait()", "x.n_waiting == 0"),
    "Condition": (
        "x = fastlock.Condition()\ndef wait():\n    with x: return x.wait()\ndef notify():\n    with x: x.notify()",
        "wait()", "notify()", "x.acquire(blocking=False)",
    ),
    "acquire_all": (
        "y = fastlock.Lock(); z = fastlock.Lock(); x = fastlock.acquire_all(z, y); crew[0].do(y.acquire)",
        "x.__enter__()", "y.release()", "z.acquire(False)",
    ),
}  # fmt: skip

HEAD = """
import os, signal, sys, threading
import fastlock
from workers import *

crew = Crew()
ran = []

def shoot(count=1):
    '''Send signals until `count` more handlers have begun to run inside the main thread's wait.'''
    goal = len(ran) + count
    wait_until(main_waits)
    while len(ran) < goal:
        os.kill(os.getpid(), signal.SIGUSR1)
        seen = len(ran)
        try:
            wait_until(lambda: len(ran) > seen, timeout_s=0.2)
        except AssertionError:
            pass    # it came just before the thread slept
"""


@pytest.mark.parametrize("kind", WAITS)
def test_a_handler_runs_during_the_wait(kind: str) -> None:
    """A signal handler runs while the main thread waits, several times, and the wait then ends as if there had been none."""
    prepare, wait, release, _ = WAITS[kind]
    check_program(f"""{HEAD}
signal.signal(signal.SIGUSR1, lambda *_: ran.append(main_waits()))
{prepare}
def go():
    shoot()
    shoot()
    return crew[0].do(lambda: {release})
crew[1].start(go)
outcome = {wait}
crew[1].result()
assert all(ran) and len(ran) >= 2 and outcome is not False, (ran, outcome)
assert not fastlock.snapshot().waits
print("ok")
""")


@pytest.mark.parametrize("kind", WAITS)
def test_an_exception_of_a_handler_leaves_no_trace(kind: str) -> None:
    """KeyboardInterrupt out of a wait leaves no wait in the table, and others can take the lock afterwards."""
    prepare, wait, release, free = WAITS[kind]
    check_program(f"""{HEAD}
def interrupt(*_):
    ran.append(1)
    if len(ran) == 1:
        raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, interrupt)
{prepare}
crew[1].start(shoot)
try:
    {wait}
except KeyboardInterrupt:
    pass
else:
    sys.exit("the wait was not interrupted")
crew[1].result()
assert not fastlock.snapshot().waits, quiet_text()
if {kind!r} == "Barrier":
    assert x.broken
else:
    crew[0].do(lambda: {release})
assert crew[2].do(lambda: {free}), quiet_text()
print("ok")
""")


def test_ctrl_c_ends_a_wait() -> None:
    """The default action of SIGINT ends a wait by KeyboardInterrupt and status 130 or the signal itself."""
    check_program(f"""{HEAD}
x = fastlock.Lock()
crew[0].do(x.acquire)
def press():
    wait_until(main_waits)
    while main_waits():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            wait_until(lambda: not main_waits(), timeout_s=0.2)
        except AssertionError:
            pass
try:
    crew[1].start(press)
    x.acquire()
except KeyboardInterrupt:
    assert crew[1].result() is None
    crew[0].do(x.release)
    assert crew[2].do(x.acquire, False)
    print("ok")
""")


def test_a_handler_may_wait_itself() -> None:
    """A handler that runs inside a wait waits for another lock, gets it, and the outer wait goes on; the table shows both."""
    check_program(f"""{HEAD}
outer, inner = fastlock.Lock(), fastlock.Lock()
depths = []
def handle(*_):
    ran.append(1)
    if len(ran) > 1:
        return
    with inner:
        depths.append(sum(wait.what == "Lock.acquire" for wait in fastlock.snapshot().waits))
signal.signal(signal.SIGUSR1, handle)
crew[0].do(outer.acquire)
crew[0].do(inner.acquire)
def go():
    shoot()
    wait_until(lambda: len(fastlock.snapshot().waits) == 2)   # main's two, nested
    outer.release()                             # the outer one must wait until the handler is over
    wait_until(lambda: len(fastlock.snapshot().waits) == 2)
    assert not outer.locked()                   # nothing is given to a wait whose thread runs a handler
    inner.release()
crew[1].start(go)
assert outer.acquire() is True
crew[1].result()
assert depths == [1] and outer.locked() and not inner.locked(), depths
assert not fastlock.snapshot().waits
print("ok")
""")


def test_a_handler_may_take_what_its_thread_waits_for() -> None:
    """A handler that takes and releases the very lock its thread waits for, once it is free, leaves the outer wait intact."""
    check_program(f"""{HEAD}
lock = fastlock.Lock()
took = []
def handle(*_):
    ran.append(1)
    if len(ran) == 1:
        took.append(lock.acquire(timeout=60))
        lock.release()
signal.signal(signal.SIGUSR1, handle)
crew[0].do(lock.acquire)
def go():
    shoot()
    wait_until(lambda: len(fastlock.snapshot().waits) == 2)
    lock.release()
crew[1].start(go)
assert lock.acquire() is True and took == [True]
crew[1].result()
assert not fastlock.snapshot().waits
print("ok")
""")


def test_a_handler_may_read_what_its_thread_waits_to_write() -> None:
    """A writer whose wait is interrupted does not stand in the way of its own handler's read of a lock that is free by then."""
    check_program(f"""{HEAD}
rw = fastlock.RWLock()
read = []
def handle(*_):
    ran.append(1)
    if len(ran) == 1:
        crew[0].do(rw.release_read)
        read.append(rw.acquire_read(timeout=60))
        rw.release_read()
signal.signal(signal.SIGUSR1, handle)
crew[0].do(rw.acquire_read)
crew[1].start(shoot)
assert rw.acquire_write() is True and read == [True], read
rw.release_write()
crew[1].result()
print("ok")
""")


@pytest.mark.parametrize("kind", WAITS)
def test_the_traceback_of_a_handlers_exception_has_the_handler(kind: str) -> None:
    """What a handler raises out of a wait shows who waited and the handler: the frames of the program, all of them."""
    prepare, wait, _, _ = WAITS[kind]
    check_program(f"""{HEAD}
import traceback
{prepare}
def interrupt(*_):
    ran.append(1)
    if len(ran) == 1:
        raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, interrupt)
crew[1].start(shoot)
def waiting():
    {wait}
try:
    waiting()
except KeyboardInterrupt as error:
    frames = traceback.extract_tb(error.__traceback__)
    names = [frame.name for frame in frames]
    crew[1].result()
    assert (names[:2], names[-1]) == (["<module>", "waiting"], "interrupt"), names
    assert not any(frame.filename.endswith(".pyx") for frame in frames), frames
    print("ok")
""")


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "write", "Condition"])
def test_what_an_interrupted_waiter_was_given_goes_to_the_next(kind: str) -> None:
    """A lock, permit or notification that arrives while a handler raises in the oldest waiter reaches the next waiter."""
    prepare, wait, release, _ = WAITS[kind]
    check_program(f"""{HEAD}
{prepare}
def interrupt(*_):
    ran.append(1)
    if len(ran) == 1:
        crew[0].do(lambda: {release})      # arrives at a waiter that is about to leave
        raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, interrupt)
def go():
    wait_until(main_waits)
    crew[2].block(lambda: {wait}, aged=True)
    shoot()
crew[3].start(go)
try:
    {wait}
except KeyboardInterrupt:
    assert crew[2].result() is not False
    crew[3].result()
    assert not fastlock.snapshot().waits, quiet_text()
    print("ok")
""")


@pytest.mark.parametrize("kind", ["Lock", "timed Lock", "RLock", "Semaphore", "read", "write", "acquire_all"])
def test_what_an_interrupted_waiter_leaves_is_free(kind: str) -> None:
    """What is released while a handler raises in its only waiter is free afterwards, and not taken in passing."""
    prepare, wait, release, free = WAITS[kind]
    check_program(f"""{HEAD}
{prepare}
def interrupt(*_):
    ran.append(1)
    if len(ran) == 1:
        crew[0].do(lambda: {release})
        raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, interrupt)
crew[1].start(shoot)
try:
    {wait}
except KeyboardInterrupt:
    crew[1].result()
    assert is_quiet(), quiet_text()
    assert crew[2].do(lambda: {free})
    print("ok")
""")


@pytest.mark.parametrize("kind", ["RLock", "Lock"])
def test_an_interrupted_reacquisition_still_ends_as_owner(kind: str) -> None:
    """An exception of a handler while Condition.wait takes its lock again comes out with the lock held."""
    check_program(f"""{HEAD}
condition = fastlock.Condition(fastlock.{kind}())
def interrupt(*_):
    ran.append(1)
    if len(ran) == 1:
        raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, interrupt)
def reacquires():
    return any(wait.what == "{kind}.acquire" for wait in fastlock.snapshot().waits)
def go():
    with condition:
        condition.notify()
        fastlock.Event().wait(0.001)    # a waiter is woken once its notifier waits itself, or releases
        wait_until(reacquires)
        shoot()
        wait_until(reacquires)
crew[0].start(lambda: (wait_until(main_waits), go()))
with condition:
    try:
        condition.wait()
    except KeyboardInterrupt:
        assert condition._is_owned() and condition._lock.locked()
        assert crew[1].do(lambda: condition.acquire(blocking=False)) is False
        print("interrupted")
crew[0].result()
assert crew[1].do(lambda: condition.acquire(blocking=False)) is True
assert not fastlock.snapshot().waits
print("ok")
""")


def test_a_rain_of_signals() -> None:
    """Two hundred signals during contended waits lose no wake and no count."""
    check_program(f"""{HEAD}
lock, total = fastlock.Lock(), [0]
signal.signal(signal.SIGALRM, lambda *_: ran.append(lock.acquire(False) and lock.release()))
def count():
    for _ in range(3000):
        with lock:
            total[0] += 1
for number in range(3):
    crew[number].start(count)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
turns = 0
while len(ran) < 200:
    with lock:
        total[0] += 1
        turns += 1
signal.setitimer(signal.ITIMER_REAL, 0)
for number in range(3):
    crew[number].result()
assert total == [9000 + turns] and is_quiet(), quiet_text()
print("ok")
""")


def test_event_is_safe_in_handlers() -> None:
    """A handler may set the event that its thread waits for, a thousand times."""
    check_program(f"""{HEAD}
event = fastlock.Event()
signal.signal(signal.SIGALRM, lambda *_: event.set())
for _ in range(300):
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.05)   # again, should the first come before the sleep
    assert event.wait(10)
    event.clear()
signal.setitimer(signal.ITIMER_REAL, 0)
print("ok")
""")
