# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""asyncio's Lock and RLock: tasks own them.

The word of such a lock is its owner's, and no bit of it is a flag. Who is woken takes the lock when it runs; until then nobody can overtake it, for
others queue while somebody waits. A strong reference keeps the owner, so that its record cannot come to mean another task.

`async with` takes a free lock in __aenter__ and returns an awaitable that is ready: nothing is suspended, and no coroutine made.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from fastlock._aio cimport (
    Acquisition, Primitive, acquirer, acquisition, agent_for, enter_by_acquire, given_by, has_queue, is_closing, order_checked, ready, site_of_call,
    taken_by, unexpected)
from fastlock._core cimport order_before
from fastlock._native cimport *
from fastlock._options cimport checked_options, set_options
from fastlock._order cimport order_signal
from fastlock._table cimport *
from fastlock._tasks cimport running_task, task_agent, task_keep, task_known


# ---- Lock -------------------------------------------------------------------------------------------------

@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Lock(Primitive):
    """Lock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA mutual exclusion lock for tasks that knows its owner; asyncio.Lock's interface, for one loop's thread."""

    def __cinit__(self):
        self.open(K_RLOCK if isinstance(self, RLock) else K_LOCK)

    def __init__(self, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False,
                 on_deadlock=None, on_inversion=None, **unknown):
        if unknown:
            unexpected("Lock", unknown)
        own = checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion)
        if own is not None:
            set_options(self.rec, own)

    def __dealloc__(self):
        cdef FSelf* t
        if self.rec != NULL and self.rec.word != 0:
            t = agent_of(self.rec.word)
            if t != NULL:
                given_by(self.rec, t)

    def __repr__(self):
        return self.shown("locked" if self.locked() else "unlocked")

    def locked(self):
        """Returns whether somebody holds the lock."""
        return self.rec.word != 0

    def acquire(self):
        """Acquires the lock when awaited, and returns True; it belongs to the calling task."""
        return acquisition(self, WAIT_EXCLUSIVE, False, running_task())

    def release(self):
        """Releases the lock; any task may. RuntimeError where nobody holds it."""
        cdef PyObject* task = running_task()
        if self.rec.word == 0:
            raise RuntimeError("Lock is not acquired.")
        if task != <PyObject*>self.owner and not (task == NULL and self.owner is None):
            self.rec.marks |= M_SIGNAL      # no owner from here on: it leaves all reasoning
            if self.rec.node != 0:
                order_signal(self.rec)
        self.free()
        self.wake_first()

    cdef bint available(self, Acquisition a) except -1:
        return self.rec.word == 0 and self.nobody_waits()

    cdef int attempt(self, Acquisition a) except -1:
        cdef FSelf* t = task_known(<PyObject*>a.owner) if a.owner is not None else thread_agent()
        if t != NULL and t.depth != 0:
            order_checked(a, self.rec, t, 0)
        if not Lock.available(self, a):
            return 0
        return self.take(a.owner, agent_for(a.owner), a.site, H_TRY if a.trying else 0)

    cdef int woken(self, Acquisition a) except -1:
        return self.take(a.owner, acquirer(a), a.site, 0)

    cdef int given_up(self, Acquisition a) except -1:
        return self.wake_first() if self.rec.word == 0 else 0

    cdef int take(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1:
        self.rec.word = t.word
        self.owner = owner
        taken_by(self.rec, t, site, flags)
        if has_queue(self):
            self.watch_owner()
        return 1

    cdef int watch_owner(self) except -1:
        """Has the owner say when it ends, for who waits for what it still owns would wait for ever: a task says so once for all locks."""
        cdef FSelf* t = agent_of(self.rec.word) if self.owner is not None and not self.rec.marks & M_SIGNAL else NULL
        return self.hear_end(t) if t != NULL and not t.tells_end else 0

    cdef int hear_end(self, FSelf* t) except -1:
        if self.owner.done():
            return 0
        task_keep(t)
        self.owner.add_done_callback(tell_end)
        t.tells_end = True
        return 0

    cdef int free(self) except -1:
        cdef FSelf* t = agent_of(self.rec.word)
        self.rec.word = 0
        if t != NULL:
            given_by(self.rec, t)
        self.owner = None
        return 0


def owner_ended(task):
    """Called when a task has ended that has owned what others waited for: tells those who wait for what it still owns."""
    cdef FSelf* t = task_known(<PyObject*>task)
    cdef FNode* n
    cdef uint32_t i
    if t == NULL or t.owns == 0:
        return
    fl_store8(&t.pub.state, A_ENDED)
    waiting = []
    for i in range(1, agent_limit()):
        n = agent_at(i).top
        while n != NULL:
            if n.waiter != NULL and lock_at(n.lock_index).word == t.word:
                waiting.append(<object>n.waiter)
            n = n.outer
    for acquisition in waiting:
        (<Acquisition>acquisition).look_again()


cdef object tell_end = owner_ended


cdef object lock_aenter_method(Lock self, PyObject* unused):
    """Takes a free lock at once; a subclass's own acquire() is heard."""
    if type(self) is not Lock:
        return enter_by_acquire(self)
    return lock_enter(self, running_task())


cdef object lock_enter(Lock self, PyObject* task):
    cdef FLock* L = self.rec
    cdef FSelf* t
    if task != NULL and L.word == 0 and not has_queue(self):
        t = task_agent(task)
        if FL_UNLIKELY(t.depth != 0):
            order_before(L, t, 0)
        self.take(<object>task, t, site_of_call(L), 0)
        return ready
    return acquisition(self, WAIT_EXCLUSIVE, True, task)


cdef object lock_aexit_method(Lock self, PyObject** args, Py_ssize_t count):
    """__aexit__ with whatever arguments: none is read."""
    if type(self) is not Lock:
        self.release()
        return ready
    if self.rec.word == 0:
        raise RuntimeError("Lock is not acquired.")
    self.free()
    if has_queue(self) or self.onlookers is not None:
        self.wake_first()
    return ready


# ---- RLock ------------------------------------------------------------------------------------------------

@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class RLock(Lock):
    """RLock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA lock that the task which owns it may acquire again; asyncio has none, its interface is Lock's."""

    def release(self):
        """Releases the lock once; RuntimeError where the calling task does not own it."""
        if not self.owned_by(running_task()) and (self.rec.word == 0 or not is_closing(self.owner)):
            raise RuntimeError("cannot release un-acquired lock")
        self.leave()

    def _is_owned(self):
        """Returns whether the calling task holds the lock."""
        return self.owned_by(running_task())

    cdef bint owned_by(self, PyObject* task) noexcept:
        if self.rec.word == 0:
            return False
        if task == NULL:
            return self.owner is None and self.rec.word == thread_agent().word
        return task == <PyObject*>self.owner

    cdef int leave(self) except -1:
        if self.count > 0:
            self.count -= 1
            return 0
        self.free()
        return self.wake_first()

    cdef bint available(self, Acquisition a) except -1:
        return self.owned_by(<PyObject*>a.owner if a.owner is not None else NULL) or Lock.available(self, a)

    cdef int attempt(self, Acquisition a) except -1:
        if self.owned_by(<PyObject*>a.owner if a.owner is not None else NULL):
            self.count += 1
            return 1
        return Lock.attempt(self, a)


cdef object rlock_aenter_method(RLock self, PyObject* unused):
    if type(self) is not RLock:
        return enter_by_acquire(self)
    return rlock_enter(self)


cdef object rlock_enter(RLock self):
    cdef PyObject* task = running_task()
    if task != NULL and self.owned_by(task):
        self.count += 1
        return ready
    return lock_enter(self, task)


cdef object rlock_aexit_method(RLock self, PyObject** args, Py_ssize_t count):
    """Ends what __aenter__ began, whoever runs the coroutine to its end: an abandoned one is closed by another task, or by none."""
    if type(self) is not RLock or self.rec.word == 0:
        self.release()
    else:
        self.leave()
    return ready


# ---- the methods without parsing ----------------------------------------------------------------------------------

fl_type_name(Lock, b"Lock")
fl_type_name(RLock, b"RLock")
cdef const char* AENTER_DOC = "__aenter__($self, /)\n--\n\nAcquires the lock when awaited."
cdef const char* AEXIT_DOC = "__aexit__($self, /, *exc_info)\n--\n\nReleases the lock."
fl_type_method(Lock, "__aenter__", <void*>lock_aenter_method, METH_NOARGS, AENTER_DOC)
fl_type_method(Lock, "__aexit__", <void*>lock_aexit_method, METH_FASTCALL, AEXIT_DOC)
fl_type_method(RLock, "__aenter__", <void*>rlock_aenter_method, METH_NOARGS, AENTER_DOC)
fl_type_method(RLock, "__aexit__", <void*>rlock_aexit_method, METH_FASTCALL, AEXIT_DOC)
for lock_type in (Lock, RLock):
    # Not __aexit__: a suspended coroutine keeps it, and the collector does not see through such a binding.
    fl_type_cheap_binding(lock_type, b"__aenter__")
    fl_type_set(lock_type, "__module__", "fastlock.aio")
