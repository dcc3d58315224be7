# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""asyncio's Condition and Event. Their waits are published like those for locks; nobody owns what is waited for.

On every version a condition behaves as 3.13's does: who is cancelled after it was notified passes the notification on, and raises the
very cancellation that it got. A condition's wait releases the lock, and takes it back, for the task that called wait(): up to
3.11 wait_for() runs it in another one.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from fastlock._aio cimport Acquisition, Primitive, acquisition, enter_by_acquire, is_closing, ready, tell_turn, unexpected
from fastlock._aio_locks cimport Lock, RLock, lock_enter, rlock_enter
from fastlock._facts cimport lock_class, lock_name
from fastlock._native cimport *
from fastlock._options cimport checked_options, set_options
from fastlock._table cimport *
from fastlock._tasks cimport running_loop, running_task, task_agent, task_keep, task_known, task_rest
from fastlock._woken cimport another_wakes, wakes

from asyncio import CancelledError
from collections import deque


# ---- who wakes ------------------------------------------------------------------------------------------------

cdef int task_wakes(FLock* L, object waiters) except -1:
    """Notes that the running task wakes those who wait here; one that has no record, and wakes nobody just now, in its thread's name."""
    cdef FSelf* thread = thread_agent()
    cdef FSelf* t = agent_of(L.tag)
    cdef PyObject* task
    if t == thread and not waiters:     # as the last time; who it is is not asked where nobody waits
        L.acquired += 1
        return 0
    task = running_task()
    if task != NULL and t != NULL and t.task == task:
        L.acquired += 1
        return 0
    t = task_known(task) if task != NULL else NULL
    if task != NULL and (t != NULL or waiters) and is_kept(task):
        another_wakes(L, task_known(task))
    else:
        wakes(L, thread)
    return 0


cdef bint is_kept(PyObject* task) except -1:
    """Lets a task keep its record until it is gone, so that it stays the same one; where it can't be referred to weakly there is no telling."""
    cdef FSelf* t = task_agent(task)
    try:
        task_keep(t)
    except TypeError:
        task_rest(t)
        return False
    return True


# ---- Condition ------------------------------------------------------------------------------------------------

@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Condition(Primitive):
    """Condition(lock=None, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA condition variable on a lock, for tasks; asyncio.Condition's interface, for one loop's thread."""

    def __cinit__(self):
        self.open(K_CONDITION)
        self._waiters = deque()

    def __init__(self, lock=None, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False,
                 on_deadlock=None, on_inversion=None, **unknown):
        if unknown:
            unexpected("Condition", unknown)
        own = checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion)
        if lock is None:
            lock = Lock()
            if own is not None:
                set_options((<Lock>lock).rec, own)
        elif own is not None:
            raise TypeError("these options belong to the lock: give them to it, or give no lock")
        self.lock = lock
        # As asyncio's: attributes of the object, so that they win over what a subclass has.
        self.locked = lock.locked
        self.acquire = lock.acquire
        self.release = lock.release

    @property
    def _lock(self):
        return self.lock

    def __repr__(self):
        return self.shown("locked" if self.locked() else "unlocked")

    def wait(self):
        """Releases the lock, waits for a notification, takes the lock again and returns True; RuntimeError where it is not held."""
        return named(wait(self, owner_now()), f"{type(self).__name__}.wait")

    def wait_for(self, predicate):
        """Waits until the predicate is true, and returns its last value."""
        return named(wait_for(self, predicate, owner_now()), f"{type(self).__name__}.wait_for")

    def notify(self, n=1):
        """Wakes the `n` oldest waiters; RuntimeError where the lock is not held."""
        if not is_locked(self, owner_now()):
            raise RuntimeError("cannot notify on un-acquired lock")
        self._notify(n)

    def _notify(self, n):
        task_wakes(self.rec, self._waiters)
        if n <= 0:
            return
        left = n
        for future in self._waiters:
            if not future.done():
                tell_turn(future)
                left -= 1
                if left <= 0:
                    break

    def notify_all(self):
        """Wakes all waiters; RuntimeError where the lock is not held."""
        self.notify(len(self._waiters))

    cdef int attempt(self, Acquisition a) except -1:
        return 0                        # always waits

    cdef int woken(self, Acquisition a) except -1:
        return 0

    cdef int given_up(self, Acquisition a) except -1:
        return 0                        # wait() passes the notification on, once it has the lock again


cdef object owner_now():
    cdef PyObject* task = running_task()
    return <object>task if task != NULL else None


cdef object named(object coroutine, str name):
    coroutine.__qualname__ = name
    return coroutine


async def wait(Condition self, owner):
    if not is_locked(self, owner):
        raise RuntimeError("cannot wait on un-acquired lock")
    self._get_loop()
    depth = released(self, owner)
    try:
        try:
            await acquisition(self, WAIT_NOTIFY, False, running_task())
            return True
        finally:
            error = again = None
            while True:
                try:
                    again = taking_again(self, owner)
                    await again
                    break
                except CancelledError as cancelled:
                    error = cancelled
                except RuntimeError:
                    if running_loop() != NULL:
                        raise
                    again = None        # closed with its loop, and somebody else has the lock: see __aexit__
                    break
            if again is not None:
                error = restored(self, again, depth) or error
            if error is not None:
                try:
                    raise error
                finally:
                    error = None        # no cycle by the traceback
    except BaseException:
        # Perhaps it had been notified: the next one is woken instead, if need be for nothing.
        self._notify(1)
        raise


async def wait_for(Condition self, predicate, owner):
    result = predicate()
    while not result:
        await (wait(self, owner) if type(self) is Condition else self.wait())
        result = predicate()
    return result


cdef bint is_locked(Condition self, object owner) except -1:
    if type(self.lock) is RLock:
        return (<RLock>self.lock).owned_by(<PyObject*>owner if owner is not None else NULL)
    return self.locked()


cdef int64_t released(Condition self, object owner) except -1:
    """Releases the lock wholly; returns how often it was held besides."""
    cdef Lock lock
    cdef int64_t depth = 0
    if type(self.lock) is RLock:
        depth = (<RLock>self.lock).count
        (<RLock>self.lock).count = 0
    elif type(self.lock) is not Lock or (<Lock>self.lock).owner is not owner:
        self.release()
        return 0
    lock = self.lock
    lock.free()
    lock.wake_first()
    return depth


cdef object taking_again(Condition self, object owner):
    cdef Acquisition a
    if type(self.lock) is not Lock and type(self.lock) is not RLock:
        return self.acquire()
    a = acquisition(self.lock, WAIT_EXCLUSIVE, False, NULL)
    a.owner = owner
    a.again = True
    return a


cdef object restored(Condition self, object again, int64_t depth):
    """Holds the lock as often as before; returns what a check raised on the way."""
    if type(self.lock) is RLock:
        (<RLock>self.lock).count = depth
    return (<Acquisition>again).unusual.failed if type(again) is Acquisition and (<Acquisition>again).unusual is not None else None


cdef object condition_aenter_method(Condition self, PyObject* unused):
    if type(self) is Condition and type(self.lock) is Lock:
        return lock_enter(self.lock, running_task())
    if type(self) is Condition and type(self.lock) is RLock:
        return rlock_enter(self.lock)
    return enter_by_acquire(self)


cdef object condition_aexit_method(Condition self, PyObject** args, Py_ssize_t count):
    cdef Lock lock
    if type(self) is Condition and isinstance(self.lock, Lock) and running_loop() == NULL:
        lock = self.lock
        if lock.rec.word == 0 or (lock.owner is not None and not is_closing(lock.owner)):
            return ready                # a wait that was closed with its loop has come back without it
    self.release()
    return ready


cdef Condition barrier_condition():
    """The condition that the parties of a barrier wait on: its waits are a barrier's, and its lock is nobody's to reason about."""
    cdef Condition self = Condition(signal=True)
    self.rec.kind = K_BARRIER
    return self


# ---- Event ----------------------------------------------------------------------------------------------------

@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Event(Primitive):
    """Event(*, name=None, lock_class=None)\n--\n\nA flag that tasks wait for; asyncio.Event's interface, for one loop's thread."""

    def __cinit__(self):
        self.open(K_EVENT)
        self._waiters = deque()

    def __init__(self, *, name=None, lock_class=None, **unknown):
        if unknown:
            unexpected("Event", unknown)
        own = checked_options(name, lock_class, None, None, None, False, None, None)
        if own is not None:
            set_options(self.rec, own)

    @property
    def _value(self):
        return self.rec.count != 0

    def __repr__(self):
        return self.shown("set" if self.rec.count else "unset")

    def is_set(self):
        """Returns whether the flag is set."""
        return self.rec.count != 0

    def set(self):
        """Sets the flag and wakes all waiters."""
        task_wakes(self.rec, self._waiters)
        if self.rec.count == 0:
            self.rec.count = 1
            for future in self._waiters:
                if not future.done():
                    tell_turn(future)

    def clear(self):
        """Clears the flag."""
        self.rec.count = 0

    def wait(self):
        """Waits until the flag is set when awaited, and returns True."""
        return acquisition(self, WAIT_FLAG, False, NULL)

    cdef int attempt(self, Acquisition a) except -1:
        return self.rec.count != 0

    cdef int woken(self, Acquisition a) except -1:
        return 0

    cdef int given_up(self, Acquisition a) except -1:
        return 0


def known_as(thing):
    """Name and class of an event of ours, None for anything else."""
    return (lock_name((<Event>thing).rec), lock_class((<Event>thing).rec)) if isinstance(thing, Event) else None


fl_type_method(Condition, "__aenter__", <void*>condition_aenter_method, METH_NOARGS,
               "__aenter__($self, /)\n--\n\nAcquires the lock when awaited.")
fl_type_method(Condition, "__aexit__", <void*>condition_aexit_method, METH_FASTCALL,
               "__aexit__($self, /, *exc_info)\n--\n\nReleases the lock.")
fl_type_name(Condition, b"Condition")
fl_type_name(Event, b"Event")
for new_type in (Condition, Event):
    fl_type_set(new_type, "__module__", "fastlock.aio")
fl_type_cheap_binding(Condition, b"__aenter__")
