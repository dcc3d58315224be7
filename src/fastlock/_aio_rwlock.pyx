# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""asyncio's RWLock, which asyncio does not have: many readers or one writer, all of them tasks that are known.

The rules of recursion are those of the threads' RWLock, see _rwlock. Waiters queue, oldest first. A lock that prefers writers lets no reader
past a queue; one that prefers readers lets them in as long as no writer holds it. Who is let in has the lock from that moment on, before it
runs: nobody can come in between, and if it is cancelled it gives the lock back. All state changes in the thread that runs the loop, under the GIL.

The one upgradable share is a share like others, whose holder's write goes to the front of the queue and waits for the other readers alone. Whose it is is
known twice: by the task itself, and for the detector by the number of its record in `limit`, which is 0 where nobody has it.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t

from fastlock._aio cimport (
    Acquisition, acquisition, agent_for, caller_known, given_by, is_closing, order_checked, ready, refused, site_of_call, taken_by, tell_turn)
from fastlock._aio_shared cimport SharedPrimitive
from fastlock._classes cimport class_written
from fastlock._contended cimport contended_refresh
from fastlock._core cimport NOTE_ORDER, notes, order_before
from fastlock._native cimport *
from fastlock._options cimport checked_options, set_options
from fastlock._table cimport *
from fastlock._tasks cimport running_task, task_agent, task_known

from collections import deque


@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class RWLock(SharedPrimitive):
    """RWLock(*, prefer="writer", name=None, lock_class=None, timeout=None, rank=None, key=None, on_deadlock=None, on_inversion=None)\n--\n\nShared reads and exclusive writes for tasks, in one loop's thread; fastlock.RWLock's interface."""

    def __cinit__(self):
        self.open(K_RWLOCK)
        self.reader = ReadGuard.__new__(ReadGuard, self)
        self.writer = WriteGuard.__new__(WriteGuard, self)

    def __init__(self, *, prefer="writer", name=None, lock_class=None, timeout=None, rank=None, key=None,
                 on_deadlock=None, on_inversion=None):
        if prefer not in ("writer", "reader"):
            raise ValueError(f"prefer={prefer!r}: allowed are 'writer' and 'reader'")
        own = checked_options(name, lock_class, timeout, rank, key, False, on_deadlock, on_inversion)
        if own is not None:
            set_options(self.rec, own)
        if prefer == "reader":
            self.rec.marks |= M_READERS

    def __dealloc__(self):
        cdef FSelf* t = agent_of(self.rec.word) if self.rec != NULL and self.rec.word != 0 else NULL
        if t != NULL:
            given_by(self.rec, t)

    @property
    def readers(self):
        """How many shares are held now, the upgradable one among them."""
        return self.rec.count

    def locked(self):
        """Returns whether somebody holds the lock, either way."""
        return self.rec.word != 0 or self.rec.count > 0

    def __repr__(self):
        state = "write-locked" if self.rec.word else f"read-locked by {self.rec.count}" if self.rec.count else "unlocked"
        return self.shown(f"{state}{', upgraded' if self.rec.word else ', one of them upgradable'}" if self.rec.limit else state)

    def acquire_read(self):
        """Takes a share when awaited, and returns True; it belongs to the calling task."""
        return acquisition(self, WAIT_SHARED, False, running_task())

    def acquire_write(self):
        """Takes the lock exclusively when awaited, and returns True; it belongs to the calling task."""
        return acquisition(self, WAIT_EXCLUSIVE, False, running_task())

    def acquire_upgradable(self):
        """Takes the one share whose holder may also acquire_write(), when awaited, and returns True; it belongs to the calling task."""
        return acquisition(self, WAIT_UPGRADABLE, False, running_task())

    def release_read(self):
        """Gives the calling task's share back; RuntimeError where it has none."""
        self.give_read(False)

    def release_write(self):
        """Releases an exclusive hold; RuntimeError where the calling task does not have it."""
        self.give_write(False)

    def release_upgradable(self):
        """Gives the calling task's upgradable share back; RuntimeError where it does not have that, or writes."""
        self.give_upgradable(False)

    cdef uint32_t wanted(self, uint8_t mode, object owner) noexcept:
        if mode == WAIT_EXCLUSIVE:
            return H_UPGRADABLE if self.may_upgrade(owner) else 0
        return H_SHARED | (H_RECURSIVE if self.rec.marks & M_READERS else 0) | (H_UPGRADABLE if mode == WAIT_UPGRADABLE else 0)

    cdef bint may_upgrade(self, object owner) noexcept:
        """Whether the upgradable share is this task's, or for None this thread's."""
        return self.rec.limit != 0 and owner is self.upgrader and (owner is not None or upgrades(self.rec, thread_agent()))

    cdef int64_t shares_of(self, object owner) noexcept:
        cdef FSelf* t = task_known(<PyObject*>owner) if owner is not None else thread_agent()
        return hold_count(t, self.rec, NULL) if t != NULL else 0

    cdef bint is_alone(self, object owner) noexcept:
        """Whether nobody reads but, by its upgradable share, who wants to write."""
        return self.rec.count == (max(1, self.shares_of(owner)) if self.may_upgrade(owner) else 0)

    cdef bint upgradable_is_free(self, object owner) noexcept:
        """Whether this task may have that share: not one that reads already, for two of them would wait for each other."""
        return self.rec.limit == 0 and self.shares_of(owner) == 0

    cdef bint writer_waits(self) except -1:
        """Whether newcomers do not read: somebody waits to write, where readers are preferred one that reads upgradably."""
        for a in self._waiters or ():
            if (<Acquisition>a).mode == WAIT_EXCLUSIVE and not (<Acquisition>a).future.done():
                return not self.rec.marks & M_READERS or self.may_upgrade((<Acquisition>a).owner)   # who is before all others
        return False

    cdef bint nobody_waits(self) except -1:
        if self._waiters:
            for a in self._waiters:
                if not (<Acquisition>a).future.done():
                    return False
        return True

    cdef int take_read(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1:
        if self.rec.marks & M_SIGNAL:
            refused(t)
        else:
            self.take_share(owner, t, site)
            taken_by(self.rec, t, site, H_SHARED | flags)
        self.rec.count += 1
        return 1

    cdef int take_upgradable(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1:
        self.rec.limit = t.pub.index
        try:
            self.take_read(owner, t, site, H_UPGRADABLE | flags)
        except BaseException:           # no memory
            self.rec.limit = 0
            raise
        self.upgrader = owner
        return 1

    cdef int take_write(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1:
        self.rec.word = t.word
        self.owner = owner
        taken_by(self.rec, t, site, flags)
        return 1

    cdef int give_read(self, bint leaving) except -1:
        """Ends a share: the caller's, or that of a task whose coroutine somebody else closes. Who leaves an `async with` did have one."""
        cdef FSelf* t = caller_known()
        if not self.drop_read(t):
            if not self.drop_read(self.closing_holder()):
                if self.rec.count == 0 or not (leaving or self.rec.marks & M_SIGNAL):
                    raise RuntimeError("cannot release un-acquired read lock")
                self.becomes_signal()
        return self.ended_read()

    cdef bint drop_read(self, FSelf* t) noexcept:
        """Ends a share of the agent's that is not the upgradable one; False where it has none."""
        if t == NULL or (upgrades(self.rec, t) and hold_count(t, self.rec, NULL) == 1):
            return False
        return self.drop_share(t)

    cdef int ended_read(self) except -1:
        self.rec.count -= 1
        return self.pass_on() if (self.rec.count == 0 or self.rec.limit != 0) and (self._waiters or self.onlookers is not None) else 0

    cdef int give_upgradable(self, bint leaving) except -1:
        """The same for the upgradable share, whose holder is one. Where somebody else closes that, its write may end after it."""
        cdef FSelf* t = caller_known()
        cdef bint own = self.rec.limit != 0 and t != NULL and upgrades(self.rec, t)
        if not own and (self.rec.limit == 0 or not (leaving or is_closing(self.upgrader))):
            raise RuntimeError("cannot release un-acquired upgradable lock")
        if own and self.rec.word != 0:
            raise RuntimeError("cannot release upgradable lock while it is write-locked")
        return self.ended_upgradable()

    cdef int ended_upgradable(self) except -1:
        cdef FSelf* t = agent_at(self.rec.limit)
        owner = self.upgrader           # lives until its record is given back
        self.rec.limit = 0
        self.upgrader = None
        if t != NULL:
            self.drop_share(t)
        self.rec.count -= 1
        return self.pass_on() if self._waiters or self.onlookers is not None else 0

    cdef int give_write(self, bint leaving) except -1:
        """The same for the exclusive hold, whose owner is one."""
        cdef FSelf* t = caller_known()
        if self.rec.word == 0 or not (leaving or (t != NULL and self.rec.word == t.word) or is_closing(self.owner)):
            raise RuntimeError("cannot release un-acquired write lock")
        return self.ended_write()

    cdef int ended_write(self) except -1:
        cdef FSelf* t = agent_of(self.rec.word)
        owner = self.owner              # lives until its record is given back
        self.rec.word = 0
        self.owner = None
        if t != NULL:
            given_by(self.rec, t)
        return self.pass_on() if self._waiters or self.onlookers is not None else 0

    cdef int attempt(self, Acquisition a) except -1:
        cdef FSelf* t
        if a.mode == WAIT_EXCLUSIVE and not self.rec.marks & M_WRITTEN:
            class_written(self.rec, notes & NOTE_ORDER)
        t = agent_for(a.owner)
        order_checked(a, self.rec, t, self.wanted(a.mode, a.owner))
        if not self.available(a):
            return refused(t)
        return self.take_for(a, t)

    cdef bint available(self, Acquisition a) except -1:
        if self.rec.word != 0:
            return False
        if a.mode == WAIT_EXCLUSIVE:
            return self.is_alone(a.owner) and (self.rec.limit != 0 or self.nobody_waits())
        if a.mode == WAIT_UPGRADABLE and not self.upgradable_is_free(a.owner):
            return False
        return self.may_upgrade(a.owner) or not self.writer_waits()

    cdef int take_for(self, Acquisition a, FSelf* t) except -1:
        cdef uint32_t flags = H_TRY if a.trying else 0
        if a.mode == WAIT_EXCLUSIVE:
            return self.take_write(a.owner, t, a.site, flags)
        if a.mode == WAIT_UPGRADABLE:
            return self.take_upgradable(a.owner, t, a.site, flags)
        return self.take_read(a.owner, t, a.site, flags)

    cdef int woken(self, Acquisition a) except -1:
        return 0                        # has it already

    cdef int given_up(self, Acquisition a) except -1:
        if not a.granted:
            return self.pass_on()       # a writer that has gone lets readers in
        a.granted = False
        if a.mode == WAIT_EXCLUSIVE:
            return self.ended_write()
        if a.mode == WAIT_UPGRADABLE:
            return self.ended_upgradable()
        self.drop_share(agent_for(a.owner))
        return self.ended_read()

    cdef int enqueue(self, Acquisition a) except -1:
        if self._waiters is None:
            self._waiters = deque()
        if a.mode == WAIT_EXCLUSIVE and self.may_upgrade(a.owner):
            self._waiters.appendleft(a)
        else:
            self._waiters.append(a)
        return 0

    cdef int dequeue(self, Acquisition a) except -1:
        if not a.granted and a in self._waiters:
            self._waiters.remove(a)
        return 0

    cdef int pass_on(self) except -1:
        """Lets in the oldest writer, or the readers before the next writer: all readers, where they are preferred. One at most upgradably."""
        cdef Acquisition a
        if self.rec.head != NULL:
            contended_refresh(self.rec)
        if self.rec.word != 0:
            return 0
        if not self._waiters:
            return self.tell_onlookers() if self.onlookers is not None else 0
        left = []
        try:
            while self._waiters:
                a = self._waiters.popleft()
                if a.future.done():
                    continue            # cancelled or timed out, and on its way out
                if a.mode == WAIT_EXCLUSIVE:
                    if self.is_alone(a.owner):
                        self.let_in(a)
                        break
                    left.append(a)
                    if not self.rec.marks & M_READERS or self.may_upgrade(a.owner):
                        break
                elif a.mode == WAIT_UPGRADABLE and not self.upgradable_is_free(a.owner):
                    left.append(a)
                else:
                    self.let_in(a)
        finally:
            self._waiters.extendleft(reversed(left))
        return self.tell_onlookers() if self.onlookers is not None and self.rec.word == 0 else 0

    cdef int let_in(self, Acquisition a) except -1:
        self.take_for(a, agent_for(a.owner))
        a.granted = True
        if a.node != NULL:
            fl_put8(&a.node.state, N_GRANTED)
        return tell_turn(a.future)


@cython.final
@cython.auto_pickle(False)
cdef class ReadGuard:
    """What `async with lock.read():` enters."""
    cdef RWLock lock

    def __cinit__(self, RWLock lock not None):
        self.lock = lock

    @property
    def _lock(self):
        return self.lock

    def acquire(self):
        """Takes a share when awaited: the lock's acquire_read."""
        return acquisition(self.lock, WAIT_SHARED, False, running_task())

    def release(self):
        """Gives a share back: the lock's release_read."""
        self.lock.give_read(False)


@cython.final
@cython.auto_pickle(False)
cdef class WriteGuard:
    """What `async with lock.write():` enters."""
    cdef RWLock lock

    def __cinit__(self, RWLock lock not None):
        self.lock = lock

    @property
    def _lock(self):
        return self.lock

    def acquire(self):
        """Takes the lock exclusively when awaited: the lock's acquire_write."""
        return acquisition(self.lock, WAIT_EXCLUSIVE, False, running_task())

    def release(self):
        """Releases an exclusive hold: the lock's release_write."""
        self.lock.give_write(False)


@cython.final
@cython.auto_pickle(False)
cdef class UpgradableGuard:
    """What `async with lock.upgradable():` enters."""
    cdef RWLock lock

    def __cinit__(self, RWLock lock not None):
        self.lock = lock

    @property
    def _lock(self):
        return self.lock

    def acquire(self):
        """Takes the upgradable share when awaited: the lock's acquire_upgradable."""
        return acquisition(self.lock, WAIT_UPGRADABLE, False, running_task())

    def release(self):
        """Gives the upgradable share back: the lock's release_upgradable."""
        self.lock.give_upgradable(False)


cdef object rwlock_read_method(RWLock self, PyObject* unused):
    return self.reader


cdef object rwlock_write_method(RWLock self, PyObject* unused):
    return self.writer


cdef object rwlock_upgradable_method(RWLock self, PyObject* unused):
    if self.upgradable_reader is None:
        self.upgradable_reader = UpgradableGuard.__new__(UpgradableGuard, self)
    return self.upgradable_reader


cdef object read_aenter_method(ReadGuard self, PyObject* unused):
    cdef RWLock lock = self.lock
    cdef FLock* L = lock.rec
    cdef FSelf* t
    cdef PyObject* task = running_task()
    if task == NULL or L.word != 0 or (lock._waiters and (L.limit != 0 or not L.marks & M_READERS)):
        return acquisition(lock, WAIT_SHARED, True, task)
    t = task_agent(task)
    if FL_UNLIKELY(t.depth != 0):
        order_before(L, t, lock.wanted(WAIT_SHARED, None))
    lock.take_read(<object>task, t, site_of_call(L), 0)
    return ready


cdef object write_aenter_method(WriteGuard self, PyObject* unused):
    cdef RWLock lock = self.lock
    cdef FLock* L = lock.rec
    cdef FSelf* t
    cdef PyObject* task = running_task()
    if task == NULL or L.word != 0 or L.count != 0 or lock._waiters or not L.marks & M_WRITTEN:
        return acquisition(lock, WAIT_EXCLUSIVE, True, task)
    t = task_agent(task)
    if FL_UNLIKELY(t.depth != 0):
        order_before(L, t, 0)
    lock.take_write(<object>task, t, site_of_call(L), 0)
    return ready


cdef object upgradable_aenter_method(UpgradableGuard self, PyObject* unused):
    return acquisition(self.lock, WAIT_UPGRADABLE, True, running_task())


cdef object read_aexit_method(ReadGuard self, PyObject** args, Py_ssize_t count):
    self.lock.give_read(True)
    return ready


cdef object write_aexit_method(WriteGuard self, PyObject** args, Py_ssize_t count):
    self.lock.give_write(True)
    return ready


cdef object upgradable_aexit_method(UpgradableGuard self, PyObject** args, Py_ssize_t count):
    self.lock.give_upgradable(True)
    return ready


fl_type_method(RWLock, "read", <void*>rwlock_read_method, METH_NOARGS,
               "read($self, /)\n--\n\nReturns the asynchronous context manager that holds a share of the lock.")
fl_type_method(RWLock, "write", <void*>rwlock_write_method, METH_NOARGS,
               "write($self, /)\n--\n\nReturns the asynchronous context manager that holds the lock exclusively.")
fl_type_method(RWLock, "upgradable", <void*>rwlock_upgradable_method, METH_NOARGS,
               "upgradable($self, /)\n--\n\nReturns the asynchronous context manager that holds the one share inside which write() may be entered.")
fl_type_method(ReadGuard, "__aenter__", <void*>read_aenter_method, METH_NOARGS,
               "__aenter__($self, /)\n--\n\nTakes a share when awaited.")
fl_type_method(WriteGuard, "__aenter__", <void*>write_aenter_method, METH_NOARGS,
               "__aenter__($self, /)\n--\n\nTakes the lock exclusively when awaited.")
fl_type_method(UpgradableGuard, "__aenter__", <void*>upgradable_aenter_method, METH_NOARGS,
               "__aenter__($self, /)\n--\n\nTakes the upgradable share when awaited.")
fl_type_method(ReadGuard, "__aexit__", <void*>read_aexit_method, METH_FASTCALL,
               "__aexit__($self, /, *exc_info)\n--\n\nGives the share back.")
fl_type_method(WriteGuard, "__aexit__", <void*>write_aexit_method, METH_FASTCALL,
               "__aexit__($self, /, *exc_info)\n--\n\nReleases the lock.")
fl_type_method(UpgradableGuard, "__aexit__", <void*>upgradable_aexit_method, METH_FASTCALL,
               "__aexit__($self, /, *exc_info)\n--\n\nGives the upgradable share back.")
fl_type_name(RWLock, b"RWLock")
fl_type_name(ReadGuard, b"fastlock.aio.ReadGuard")
fl_type_name(WriteGuard, b"fastlock.aio.WriteGuard")
fl_type_name(UpgradableGuard, b"fastlock.aio.UpgradableGuard")
for new_type in (RWLock, ReadGuard, WriteGuard, UpgradableGuard):
    fl_type_set(new_type, "__module__", "fastlock.aio")
for new_type in (ReadGuard, WriteGuard, UpgradableGuard):
    fl_type_cheap_binding(new_type, b"__aenter__")
