# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""RWLock: many readers or one writer, with known owners on both sides.

One of the readers may hold its share upgradably: it keeps out writers and others of its kind, and by write() becomes the writer as soon as the
other readers have left. New ones wait for that, whatever the lock prefers. Its share stays: when the write ends it reads on. The share is one as all
are, counted and listed; besides `limit` says whose it is. A writer must not find any shares but, if it is that agent, its own.

Rules of recursion, all of them detected when they close a circle:

    read  inside read          passes, unless the lock prefers writers and one waits: then it is FL012
    read  inside upgradable    passes, for no writer can come before it
    write inside upgradable    passes when the other readers have left
    write inside write         FL002: a write lock is not re-entrant
    read  inside write         FL002: release the write lock first
    upgradable inside either   FL002: neither is re-entrant
    write inside read          FL012: an upgrade waits for its own read lock to go away
    upgradable inside read     FL012: the same, at once and always; let in, two such readers would wait for each other
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._block cimport acquire_blocking
from fastlock._classes cimport class_written
from fastlock._contended cimport contended_shared, contended_taken
from fastlock._core cimport (
    NOTE_ORDER, before, before_in_loop, how_held, lock_dropped, lock_made, note_given, note_taken, notes, parse_timeout, taken_in_loop)
from fastlock._loops cimport given_in_loop, share_given_in_loop
from fastlock._native cimport *
from fastlock._options cimport checked_options
from fastlock._park cimport *
from fastlock._table cimport *


@cython.auto_pickle(False)
cdef class RWLock:
    """RWLock(*, prefer="writer", name=None, lock_class=None, timeout=None, rank=None, key=None, on_deadlock=None, on_inversion=None)\n--\n\nShared reads, exclusive writes; thread-safe."""

    cdef FLock* rec
    cdef object reader, writer
    cdef object upgrader        # made when it is first asked for: most locks never are
    cdef object __weakref__

    def __cinit__(self, *args, prefer="writer", name=None, lock_class=None, timeout=None, rank=None, key=None,
                  on_deadlock=None, on_inversion=None, **kwargs):
        if prefer not in ("writer", "reader"):
            raise ValueError(f"prefer={prefer!r}: allowed are 'writer' and 'reader'")
        if (args or kwargs) and type(self) is RWLock:
            raise TypeError(f"RWLock() got an unexpected argument {next(iter(args + tuple(kwargs)))!r}")
        self.rec = lock_made(K_RWLOCK, checked_options(name, lock_class, timeout, rank, key, False, on_deadlock, on_inversion))
        self.rec.obj = <PyObject*>self
        if prefer == "reader":
            self.rec.marks |= M_READERS
        self.reader = ReadGuard.__new__(ReadGuard, self)
        self.writer = WriteGuard.__new__(WriteGuard, self)

    def __dealloc__(self):
        lock_dropped(self.rec)

    def acquire_read(self, blocking=True, timeout=-1):
        """Takes a share, waiting at most `timeout` seconds; returns whether it was acquired."""
        return read_take(self, parse_timeout(blocking, timeout)) != 0

    def release_read(self):
        """Gives the caller's share back; RuntimeError where it has none."""
        read_give(self)

    def acquire_write(self, blocking=True, timeout=-1):
        """Takes the lock exclusively, waiting at most `timeout` seconds; returns whether it was acquired."""
        return write_take(self, parse_timeout(blocking, timeout)) != 0

    def release_write(self):
        """Releases an exclusive hold; RuntimeError where the caller does not have it."""
        write_give(self)

    def acquire_upgradable(self, blocking=True, timeout=-1):
        """Takes the one share whose holder may also acquire_write(), waiting at most `timeout` seconds; returns whether it was acquired."""
        return upgradable_take(self, parse_timeout(blocking, timeout)) != 0

    def release_upgradable(self):
        """Gives the caller's upgradable share back; RuntimeError where it does not have that, or writes."""
        upgradable_give(self)

    @property
    def readers(self):
        """How many shares are held now, the upgradable one among them."""
        return self.rec.count

    def locked(self):
        """Returns whether somebody holds the lock, either way."""
        return is_held(self.rec) or self.rec.count > 0

    def _at_fork_reinit(self):
        """Frees the lock in the child of a fork, whoever held it."""
        while hold_drop(current_agent(), self.rec):
            pass
        forget(self.rec)

    def __repr__(self):
        state = "write-locked" if is_held(self.rec) else f"read-locked by {self.rec.count}" if self.rec.count else "unlocked"
        return f"<fastlock.RWLock {state}{shown_upgrade(self.rec)} at {id(self):#x}>"


cdef int read_take(RWLock self, int64_t timeout_ns) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        me = current_agent()
        if me.loops:
            return read_in_loop(L, me, timeout_ns)
    if me.depth != 0:
        before(L, me, timeout_ns, H_SHARED | (H_RECURSIVE if L.marks & M_READERS else 0))
    if not FL_CAS_WORDS and L.word == 0:
        L.count += 1
        note_taken(L, me, H_SHARED | how_held(timeout_ns))
        return note_share(L, me)
    return read_slowly(L, me, timeout_ns)


cdef int read_slowly(FLock* L, FSelf* me, int64_t timeout_ns) except -1:
    """Where somebody holds the lock exclusively, or waits."""
    if not try_take(L, me, WAIT_SHARED, 0):
        if timeout_ns == 0 or not acquire_blocking(L, me, WAIT_SHARED, 0, timeout_ns):
            return 0
    note_taken(L, me, H_SHARED | how_held(timeout_ns))
    note_share(L, me)
    if L.contended:
        contended_shared(L, me)
    return 1


cdef int read_in_loop(FLock* L, FSelf* me, int64_t timeout_ns) except -1:
    """The same in a thread that runs an event loop. Shares are the thread's; at level order the task's stack has them."""
    cdef FSelf* who = before_in_loop(L, me, timeout_ns, H_SHARED | (H_RECURSIVE if L.marks & M_READERS else 0))
    if not try_take(L, me, WAIT_SHARED, 0):
        if timeout_ns == 0 or not acquire_blocking(L, me, WAIT_SHARED, 0, timeout_ns):
            return 0
    taken_in_loop(L, who, H_SHARED | how_held(timeout_ns))
    note_share(L, me)
    if L.contended:
        contended_shared(L, me)
    return 1


cdef int note_share(FLock* L, FSelf* me) except -1:
    """Puts the share on the agent's list; out of read_take, whose frame an exception handler would make costly."""
    try:
        hold_add(me, L, L.site)
    except BaseException:
        note_given(L, me)
        give_read(L, me)
        raise
    return 1


cdef int read_give(RWLock self) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        me = current_agent()
        if me.loops:
            share_given_in_loop(L, me)
    if FL_UNLIKELY(L.limit != 0) and only_upgradable(L, me) or not hold_drop(me, L):
        raise RuntimeError("cannot release un-acquired read lock")
    note_given(L, me)
    if not FL_CAS_WORDS and L.word == 0:
        L.count -= 1
    else:
        give_read(L, me)
    return 0


cdef bint only_upgradable(FLock* L, FSelf* me) noexcept:
    """Whether the one share that the agent has is the upgradable one."""
    return upgrades(L, me) and hold_count(me, L, NULL) == 1


cdef int upgradable_take(RWLock self, int64_t timeout_ns) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = current_agent()
    cdef FSelf* who = me
    cdef uint32_t wanted = H_SHARED | H_UPGRADABLE | (H_RECURSIVE if L.marks & M_READERS else 0)
    cdef uint32_t held = H_SHARED | H_UPGRADABLE | how_held(timeout_ns)
    if me.loops:
        who = before_in_loop(L, me, timeout_ns, wanted)
    else:
        before(L, me, timeout_ns, wanted)
    if not try_take(L, me, WAIT_UPGRADABLE, 0):
        if timeout_ns == 0 or not acquire_blocking(L, me, WAIT_UPGRADABLE, 0, timeout_ns):
            return 0
    if me.loops:
        taken_in_loop(L, who, held)
    else:
        note_taken(L, me, held)
    try:
        hold_add(me, L, L.site)
    except BaseException:
        note_given(L, who)
        give_upgradable(L, me)
        raise
    if L.contended:
        contended_shared(L, me)
    return 1


cdef int upgradable_give(RWLock self) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = current_agent()
    if not upgrades(L, me):
        raise RuntimeError("cannot release un-acquired upgradable lock")
    if owner_bits(fl_load64(&L.word)) == me.word:
        raise RuntimeError("cannot release upgradable lock while it is write-locked")
    if me.loops:
        share_given_in_loop(L, me)
    hold_drop(me, L)
    note_given(L, me)
    give_upgradable(L, me)
    return 0


cdef int write_take(RWLock self, int64_t timeout_ns) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if not L.marks & M_WRITTEN:
        class_written(L, notes & NOTE_ORDER)
    if FL_UNLIKELY(me == NULL):
        me = current_agent()
        if me.loops:
            return write_in_loop(L, me, timeout_ns)
    before(L, me, timeout_ns, H_UPGRADABLE if upgrades(L, me) else 0)
    if FL_CAS_WORDS or L.count != 0 or not fl_word_take(&L.word, me.word):
        if not try_take(L, me, WAIT_EXCLUSIVE, 0):
            if timeout_ns == 0 or not acquire_blocking(L, me, WAIT_EXCLUSIVE, 0, timeout_ns):
                return 0
        note_taken(L, me, how_held(timeout_ns))
        if L.contended:
            contended_taken(L)
        return 1
    note_taken(L, me, how_held(timeout_ns))
    return 1


cdef str shown_upgrade(FLock* L):
    """What its repr adds about the upgradable share."""
    if L.limit == 0:
        return ""
    return ", upgraded" if is_held(L) else ", one of them upgradable"


cdef int write_in_loop(FLock* L, FSelf* me, int64_t timeout_ns) except -1:
    """The same in a thread that runs an event loop."""
    cdef FSelf* who = before_in_loop(L, me, timeout_ns, H_UPGRADABLE if upgrades(L, me) else 0)
    if not try_take(L, me, WAIT_EXCLUSIVE, 0):
        if timeout_ns == 0 or not acquire_blocking(L, me, WAIT_EXCLUSIVE, 0, timeout_ns):
            return 0
    taken_in_loop(L, who, how_held(timeout_ns))
    if L.contended:
        contended_taken(L)
    return 1


cdef int write_give(RWLock self) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        me = current_agent()
        if me.loops and owner_bits(fl_load64(&L.word)) == me.word:
            given_in_loop(L, me)
    if fl_word_drop(&L.word, me.word):
        note_given(L, me)
        return 0
    if owner_bits(fl_load64(&L.word)) != me.word:
        raise RuntimeError("cannot release un-acquired write lock")
    note_given(L, me)
    give_back(L)
    return 0


@cython.final
@cython.auto_pickle(False)
cdef class ReadGuard:
    """What `with lock.read():` enters."""
    cdef RWLock lock

    def __cinit__(self, RWLock lock not None):
        self.lock = lock

    @property
    def _lock(self):
        return self.lock

    def acquire(self, blocking=True, timeout=-1):
        """Takes a share: the lock's acquire_read."""
        return read_take(self.lock, parse_timeout(blocking, timeout)) != 0

    def release(self):
        """Gives a share back: the lock's release_read."""
        read_give(self.lock)


@cython.final
@cython.auto_pickle(False)
cdef class WriteGuard:
    """What `with lock.write():` enters."""
    cdef RWLock lock

    def __cinit__(self, RWLock lock not None):
        self.lock = lock

    @property
    def _lock(self):
        return self.lock

    def acquire(self, blocking=True, timeout=-1):
        """Takes the lock exclusively: the lock's acquire_write."""
        return write_take(self.lock, parse_timeout(blocking, timeout)) != 0

    def release(self):
        """Releases an exclusive hold: the lock's release_write."""
        write_give(self.lock)


@cython.final
@cython.auto_pickle(False)
cdef class UpgradableGuard:
    """What `with lock.upgradable():` enters."""
    cdef RWLock lock

    def __cinit__(self, RWLock lock not None):
        self.lock = lock

    @property
    def _lock(self):
        return self.lock

    def acquire(self, blocking=True, timeout=-1):
        """Takes the upgradable share: the lock's acquire_upgradable."""
        return upgradable_take(self.lock, parse_timeout(blocking, timeout)) != 0

    def release(self):
        """Gives the upgradable share back: the lock's release_upgradable."""
        upgradable_give(self.lock)


cdef object rwlock_read_method(RWLock self, PyObject* unused):
    return self.reader


cdef object rwlock_write_method(RWLock self, PyObject* unused):
    return self.writer


cdef object rwlock_upgradable_method(RWLock self, PyObject* unused):
    if self.upgrader is None:
        self.upgrader = UpgradableGuard.__new__(UpgradableGuard, self)
    return self.upgrader


cdef object read_enter_method(ReadGuard self, PyObject* unused):
    read_take(self.lock, -1)
    return self.lock


cdef object write_enter_method(WriteGuard self, PyObject* unused):
    write_take(self.lock, -1)
    return self.lock


cdef object upgradable_enter_method(UpgradableGuard self, PyObject* unused):
    upgradable_take(self.lock, -1)
    return self.lock


cdef object read_exit_method(ReadGuard self, PyObject** args, Py_ssize_t count):
    read_give(self.lock)


cdef object write_exit_method(WriteGuard self, PyObject** args, Py_ssize_t count):
    write_give(self.lock)


cdef object upgradable_exit_method(UpgradableGuard self, PyObject** args, Py_ssize_t count):
    upgradable_give(self.lock)


cdef void forget_agent() noexcept nogil:
    fl_tls_set(NULL)


agent_cached(forget_agent)
fl_type_method(RWLock, "read", <void*>rwlock_read_method, METH_NOARGS,
               "read($self, /)\n--\n\nReturns the context manager that holds a share of the lock.")
fl_type_method(RWLock, "write", <void*>rwlock_write_method, METH_NOARGS,
               "write($self, /)\n--\n\nReturns the context manager that holds the lock exclusively.")
fl_type_method(RWLock, "upgradable", <void*>rwlock_upgradable_method, METH_NOARGS,
               "upgradable($self, /)\n--\n\nReturns the context manager that holds the one share inside which write() may be entered.")
fl_type_method(ReadGuard, "__enter__", <void*>read_enter_method, METH_NOARGS,
               "__enter__($self, /)\n--\n\nTakes a share, and returns the lock.")
fl_type_method(WriteGuard, "__enter__", <void*>write_enter_method, METH_NOARGS,
               "__enter__($self, /)\n--\n\nTakes the lock exclusively, and returns it.")
fl_type_method(UpgradableGuard, "__enter__", <void*>upgradable_enter_method, METH_NOARGS,
               "__enter__($self, /)\n--\n\nTakes the upgradable share, and returns the lock.")
fl_type_method(ReadGuard, "__exit__", <void*>read_exit_method, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nGives the share back.")
fl_type_method(WriteGuard, "__exit__", <void*>write_exit_method, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nReleases the lock.")
fl_type_method(UpgradableGuard, "__exit__", <void*>upgradable_exit_method, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nGives the upgradable share back.")
fl_type_name(RWLock, b"fastlock.RWLock")
fl_type_name(ReadGuard, b"fastlock.ReadGuard")
fl_type_name(WriteGuard, b"fastlock.WriteGuard")
fl_type_name(UpgradableGuard, b"fastlock.UpgradableGuard")
for new_type in (RWLock, ReadGuard, WriteGuard, UpgradableGuard):
    fl_type_set(new_type, "__module__", "fastlock")
for new_type in (ReadGuard, WriteGuard, UpgradableGuard):
    fl_type_cheap_binding(new_type, b"__enter__")
    fl_type_cheap_binding(new_type, b"__exit__")
