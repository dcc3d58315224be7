# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""Condition, Semaphore, BoundedSemaphore, Event and Barrier: threading's interfaces on the core's queues.

A waiter is a node in a lock record's queue, granted by who notifies, sets or releases; no inner lock is made per wait,
and Event and Semaphore have none at all. In a build with the GIL it guards the counts; else the bucket mutex does.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._awaited cimport Awaited, await_end, await_inside, future_begin, futures_begin
from fastlock._block cimport acquire_blocking, block, is_looking, site_now, to_ns, wait_out
from fastlock._contended cimport contended_shared
from fastlock._core cimport (
    LockType, RLock, lock_dropped, lock_made, lock_release, lock_take, new_lock, note_given, note_site,
    parse_timeout, rlock_owned, rlock_release, rlock_restore, rlock_save, rlock_take, take_again)
from fastlock._native cimport *
from fastlock._options cimport checked_options, set_options
from fastlock._park cimport *
from fastlock._shown cimport given_back, wait_begin
from fastlock._table cimport *
from fastlock._woken cimport wakes

import sys

from _collections import deque
from time import monotonic

cdef enum:
    OTHER = 0                  # whatever has acquire() and release()
    OUR_LOCK = 1
    OUR_RLOCK = 2

cdef int64_t ENDLESS = 1 << 62     # permits that no program uses up


cdef int64_t wait_limit(object timeout) except? -2:
    """Nanoseconds of a timeout of Condition, Event, Semaphore and Barrier: None for ever, what is not positive at once."""
    if timeout is None:
        return -1
    if not timeout > 0:
        return 0
    return parse_timeout(True, timeout)


# ---- Condition --------------------------------------------------------------------------------------------

@cython.auto_pickle(False)
cdef class Condition:
    """Condition(lock=None, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA condition variable on a Lock or RLock; threading.Condition's interface, thread-safe."""

    cdef FLock* rec
    cdef object lock
    cdef object expected        # a future's: its Source, where somebody knows who brings it
    cdef uint8_t lock_kind
    cdef object __weakref__
    cdef dict __dict__

    def __cinit__(self, *args, **kwargs):
        self.rec = lock_made(K_CONDITION, None)
        self.rec.obj = <PyObject*>self

    def __init__(self, lock=None, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False,
                 on_deadlock=None, on_inversion=None):
        own = checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion)
        if lock is None:
            lock = RLock.__new__(RLock)
            set_made_options((<RLock>lock).rec, own)
        elif own is not None:
            raise TypeError("these options belong to the lock: give them to it, or give no lock")
        lock.acquire, lock.release      # what is no lock fails here and not at its first use
        self.lock = lock
        self.lock_kind = OUR_LOCK if type(lock) is LockType else OUR_RLOCK if type(lock) is RLock else OTHER

    def __dealloc__(self):
        lock_dropped(self.rec)

    @property
    def _lock(self):
        return self.lock

    @property
    def _waiters(self):
        """One entry for each waiter, oldest first: a picture, not the queue itself."""
        return deque(range(waiting(self.rec)))

    @property
    def acquire(self):
        """The lock's acquire."""
        return self.lock.acquire

    @property
    def release(self):
        """The lock's release."""
        return self.lock.release

    @property
    def locked(self):
        """The lock's locked."""
        return self.lock.locked

    def __enter__(self):
        """Acquires the lock."""
        if self.lock_kind == OUR_RLOCK:
            return rlock_take(<RLock>self.lock) != 0
        if self.lock_kind == OUR_LOCK:
            return lock_take(<LockType>self.lock) != 0
        return self.lock.__enter__()

    def _is_owned(self):
        return condition_owned(self)

    def _release_save(self):
        return condition_save(self)

    def _acquire_restore(self, state):
        condition_restore(self, state)

    def _at_fork_reinit(self):
        """Frees lock and waiters in the child of a fork."""
        self.lock._at_fork_reinit()
        forget(self.rec)

    def wait(self, timeout=None):
        """Releases the lock, waits for a notification at most `timeout` seconds, re-acquires; False where none came."""
        cdef Awaited outer
        cdef int64_t limit_ns
        cdef uint32_t site
        if not condition_owned(self):
            raise RuntimeError("cannot wait on un-acquired lock")
        limit_ns = wait_limit(timeout)
        site = site_now()
        outer = future_begin(self.expected, site, limit_ns) if limit_ns != 0 else None
        if outer is None:
            return condition_wait(self, limit_ns, site) != 0
        try:
            await_inside(outer)
            return condition_wait(self, limit_ns, site) != 0
        finally:
            await_end(outer)

    def wait_for(self, predicate, timeout=None):
        """Waits until the predicate is true, at most `timeout` seconds; returns its last value."""
        result = predicate()
        left = timeout
        end = None
        while not result:
            if end is not None:
                left = end - monotonic()
                if left <= 0:
                    break
            elif timeout is not None:
                end = monotonic() + timeout     # even without time the lock is released once
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n=1):
        """Wakes the `n` oldest waiters; RuntimeError where the lock is not held."""
        cdef FSelf* me
        if not condition_owned(self):
            raise RuntimeError("cannot notify on un-acquired lock")
        me = current_agent()
        wakes(self.rec, me)
        if self.rec.head != NULL and n > 0:
            notify(self.rec, n, me, guard_of(self))

    def notify_all(self):
        """Wakes all waiters; RuntimeError where the lock is not held."""
        cdef FSelf* me
        if not condition_owned(self):
            raise RuntimeError("cannot notify on un-acquired lock")
        me = current_agent()
        wakes(self.rec, me)
        if self.rec.head != NULL:
            notify(self.rec, -1, me, guard_of(self))

    def notifyAll(self):
        """Deprecated name of notify_all()."""
        import warnings
        warnings.warn("notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, stacklevel=2)
        self.notify_all()

    def __repr__(self):
        return f"<Condition({self.lock!r}, {waiting(self.rec)})>"


def number_of(condition):
    """(index, serial) of a condition's record, None where it is none of ours."""
    return ((<Condition>condition).rec.index, (<Condition>condition).rec.serial) if isinstance(condition, Condition) else None


cdef int condition_wait(Condition self, int64_t limit_ns, uint32_t site) except -1:
    cdef FSelf* me = current_agent()
    cdef FNode* n = wait_begin(me, self.rec, WAIT_NOTIFY, 0, limit_ns, site)
    cdef FLock* guard
    cdef void* owed
    enter(self.rec, n)
    owed = me.owed
    me.owed = NULL              # releasing the lock here must not pay: parking does, without the GIL
    try:
        state = condition_save(self)
    except BaseException:
        me.owed = owed
        if leave(self.rec, n) == TAKEN:
            notify(self.rec, 1, NULL, NULL)
        wait_pop(me, n)
        raise
    me.owed = owed
    guard = guard_of(self) if me.pub.held_count else NULL
    if guard != NULL:
        given_back(me, guard)
    try:
        return wait_out(self.rec, me, n, False, False)
    finally:
        condition_restore(self, state)


cdef int expect(object primitive, object what) except -1:
    """Says what a condition of ours, or an event, really stands for: a future's Source, or what futures_begin() takes. Others are left alone.

    A future's lock is given back within its wait, after that is published, and kept for long by nobody: it is no part of a circle.
    """
    cdef FLock* guard
    if isinstance(primitive, Condition):
        (<Condition>primitive).expected = what
        guard = guard_of(<Condition>primitive)
        if guard != NULL:
            guard.marks |= M_SIGNAL
    elif isinstance(primitive, Event):
        (<Event>primitive).expected = what
    return 0


cdef object condition_exit_method(Condition self, PyObject** args, Py_ssize_t count):
    if self.lock_kind == OUR_RLOCK:
        rlock_release(<RLock>self.lock)
    elif self.lock_kind == OUR_LOCK:
        lock_exit(<LockType>self.lock)
    else:
        return self.lock.__exit__(*[<object>args[i] for i in range(count)])


cdef FLock* guard_of(Condition self) noexcept:
    """The record of the condition's lock, NULL where it is not ours."""
    if self.lock_kind == OUR_RLOCK:
        return (<RLock>self.lock).rec
    return (<LockType>self.lock).rec if self.lock_kind == OUR_LOCK else NULL


cdef uint32_t waiting(FLock* L) noexcept:
    cdef fl_mutex* m = bucket(L)
    cdef uint32_t count = 0
    fl_mutex_lock(m)
    cdef FNode* n = L.head
    while n != NULL:
        count += 1
        n = n.next
    fl_mutex_unlock(m)
    return count


cdef int lock_exit(LockType lock) except -1:
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        me = current_agent()
        if me.loops:
            return lock_release(lock)
    if fl_word_drop(&lock.rec.word, me.word | W_WITH):
        lock.rec.marks |= M_OWNED
        note_given(lock.rec, me)
        return 0
    return lock_release(lock)


cdef bint condition_owned(Condition self) except -1:
    if self.lock_kind == OUR_RLOCK:
        return rlock_owned(<RLock>self.lock)
    if self.lock_kind == OUR_LOCK:
        return is_held((<LockType>self.lock).rec)
    own = getattr(self.lock, "_is_owned", None)
    if own is not None:
        return own()
    if self.lock.acquire(False):
        self.lock.release()
        return False
    return True


cdef object condition_save(Condition self):
    if self.lock_kind == OUR_RLOCK:
        return rlock_save(<RLock>self.lock)
    if self.lock_kind == OUR_LOCK:
        with_flag = (fl_load64(&(<LockType>self.lock).rec.word) & W_WITH) != 0
        lock_release(<LockType>self.lock)
        return with_flag
    own = getattr(self.lock, "_release_save", None)
    return own() if own is not None else self.lock.release()


cdef int condition_restore(Condition self, object state) except -1:
    """Takes the lock again, as deep and by the same kind of acquire; no policy or timeout acts on it."""
    cdef FLock* L
    cdef FSelf* me
    cdef uint8_t flags
    if self.lock_kind == OUR_RLOCK:
        return rlock_restore(<RLock>self.lock, state[0])
    if self.lock_kind == OUR_LOCK:
        L = (<LockType>self.lock).rec
        me = current_agent()
        flags = W_WITH if state else 0
        error = take_again(L, me, flags)
        if error is not None:
            raise error
        return 0
    own = getattr(self.lock, "_acquire_restore", None)
    if own is not None:
        own(state)
    else:
        self.lock.acquire()
    return 0


cdef object shown(object self, str state):
    """threading's repr of its own classes; up to 3.10 they have none."""
    if sys.version_info < (3, 11):
        return object.__repr__(self)
    cls = type(self)
    return f"<{cls.__module__}.{cls.__qualname__} at {id(self):#x}: {state}>"


# ---- Semaphore ----------------------------------------------------------------------------------------------

@cython.auto_pickle(False)
cdef class Semaphore:
    """Semaphore(value=1, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA counting semaphore; threading.Semaphore's interface, thread-safe, about a tenth of its cost."""

    cdef FLock* rec
    cdef object condition
    cdef object value           # what the count is called where it is `base`, if that is no int of 62 bits; else None
    cdef int64_t base
    cdef object __weakref__
    cdef dict __dict__

    def __cinit__(self, *args, **kwargs):
        self.rec = lock_made(K_SEMAPHORE, None)
        self.rec.obj = <PyObject*>self

    def __init__(self, value=1, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False,
                 on_deadlock=None, on_inversion=None):
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        set_made_options(self.rec, checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion))
        set_value(self, value)
        self.rec.limit = <uint32_t>min(self.rec.count, <int64_t>0xFFFFFFFF)
        if self.rec.count == 0 or self.rec.count == ENDLESS:
            self.rec.marks |= M_SIGNAL      # it announces, it does not guard; or nobody ever waits for it

    def __dealloc__(self):
        lock_dropped(self.rec)

    @property
    def _value(self):
        return value_of(self)

    @_value.setter
    def _value(self, value):
        self.rec.marks |= M_SIGNAL          # somebody else counts
        set_value(self, value)

    @property
    def _cond(self):
        """For code that reaches for threading's inner condition; acquire and release don't use it."""
        if self.condition is None:
            self.condition = Condition(new_lock())
        return self.condition

    def acquire(self, blocking=True, timeout=None):
        """Takes a permit, waiting at most `timeout` seconds; returns whether it got one."""
        if timeout is None and blocking is True:
            if permit_take(self.rec):
                note_permit(self.rec)
                return True
            return permit_wait(self, -1) != 0
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        if permit_take(self.rec):
            note_permit(self.rec)
            return True
        if not blocking:
            return False
        return permit_wait(self, wait_limit(timeout)) != 0

    def __enter__(self, blocking=True, timeout=None):
        return Semaphore.acquire(self, blocking, timeout)   # a subclass's acquire() may enter, as threading's may

    def release(self, n=1):
        """Gives back `n` permits; ValueError where n is less than one."""
        if n < 1:
            raise ValueError("n must be one or more")
        permits_give(self.rec, n)

    def __exit__(self, t, v, tb):
        self.release()

    def __repr__(self):
        return shown(self, f"value={value_of(self)}")


cdef int set_value(Semaphore self, object value) except -1:
    """Takes any number, as threading does, which waits where it is exactly zero: after 2.0 permits, but never after 2.5."""
    if isinstance(value, int) and -ENDLESS < value < ENDLESS:
        self.rec.count = value
        self.value = None
        return 0
    try:
        whole = int(value)
        self.base = whole if whole == value and -ENDLESS < whole < ENDLESS else ENDLESS
    except (OverflowError, ValueError):     # infinite, or not a number
        self.base = ENDLESS
    self.value = value
    self.rec.count = self.base
    return 0


cdef object value_of(Semaphore self):
    if self.value is None:
        return self.rec.count
    return self.value + (self.rec.count - self.base)


cdef inline bint permit_take(FLock* L) noexcept:
    if FL_CAS_WORDS:
        return try_take(L, current_agent(), WAIT_PERMIT, 0) == TAKEN
    if L.count > 0:
        L.count -= 1
        return True
    return False


cdef int note_permit(FLock* L) except -1:
    """Notes who holds the permit, as long as holders are those who release."""
    if not L.marks & M_SIGNAL:
        note_site(L)
        hold_add(current_agent(), L, L.site)
    return 0


cdef int permit_wait(Semaphore self, int64_t timeout_ns) except -1:
    if timeout_ns == 0 or not acquire_blocking(self.rec, current_agent(), WAIT_PERMIT, 0, timeout_ns):
        return 0
    note_permit(self.rec)
    if self.rec.contended:
        contended_shared(self.rec, current_agent())
    return 1


cdef void permits_give(FLock* L, int64_t permits) noexcept:
    cdef FSelf* me = current_agent()
    cdef int64_t i
    if not L.marks & M_SIGNAL:
        for i in range(permits):
            if not hold_drop(me, L):
                L.marks |= M_SIGNAL
                break
    if L.marks & M_SIGNAL:
        wakes(L, me)
    if not FL_CAS_WORDS and L.word == 0:
        L.count += permits
    else:
        give_permits(L, permits, me)


cdef object set_made_options(FLock* L, object own):
    if own is not None:
        set_options(L, own)


@cython.auto_pickle(False)
cdef class BoundedSemaphore(Semaphore):
    """BoundedSemaphore(value=1, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA semaphore that may not be released more often than acquired; threading.BoundedSemaphore's interface."""

    cdef int64_t initial
    cdef object initial_value   # None where `initial` says it

    def __init__(self, value=1, **options):
        Semaphore.__init__(self, value, **options)
        self.initial = self.rec.count
        self.initial_value = self.value

    @property
    def _initial_value(self):
        return self.initial if self.initial_value is None else self.initial_value

    def release(self, n=1):
        """Gives back `n` permits; ValueError where that is more than were taken."""
        if n < 1:
            raise ValueError("n must be one or more")
        if value_of(self) + n > self._initial_value if self.initial_value is not None else self.rec.count + n > self.initial:
            raise ValueError("Semaphore released too many times")
        permits_give(self.rec, n)

    def __repr__(self):
        return shown(self, f"value={value_of(self)}/{self._initial_value}")


# ---- Event -----------------------------------------------------------------------------------------------------

@cython.auto_pickle(False)
cdef class Event:
    """Event(*, name=None, lock_class=None)\n--\n\nA flag that threads wait for; threading.Event's interface, thread-safe, safe in signal handlers."""

    cdef FLock* rec
    cdef object condition
    cdef object expected        # what it stands for, see expect(); else None
    cdef object __weakref__
    cdef dict __dict__

    def __cinit__(self, *args, **kwargs):
        self.rec = lock_made(K_EVENT, None)
        self.rec.obj = <PyObject*>self

    def __init__(self, *, name=None, lock_class=None):
        set_made_options(self.rec, checked_options(name, lock_class, None, None, None, False, None, None))

    def __dealloc__(self):
        lock_dropped(self.rec)

    @property
    def _flag(self):
        return self.rec.count != 0

    @property
    def _cond(self):
        """For code that reaches for threading's inner condition; set() and wait() don't use it."""
        if self.condition is None:
            self.condition = Condition(new_lock())
        return self.condition

    def is_set(self):
        """Returns whether the flag is set."""
        return self.rec.count != 0

    def isSet(self):
        """Deprecated name of is_set()."""
        import warnings
        warnings.warn("isSet() is deprecated, use is_set() instead", DeprecationWarning, stacklevel=2)
        return self.is_set()

    def set(self):
        """Sets the flag and wakes all waiters."""
        wakes(self.rec, current_agent())
        if FL_CAS_WORDS or self.rec.head != NULL:
            set_flag(self.rec)
        else:
            self.rec.count = 1

    def clear(self):
        """Clears the flag."""
        fl_store64(&self.rec.count, 0)

    def wait(self, timeout=None):
        """Waits until the flag is set, at most `timeout` seconds; returns whether it is."""
        cdef int64_t limit_ns
        if self.rec.count != 0:
            return True
        limit_ns = wait_limit(timeout)
        if limit_ns == 0:
            return self.rec.count != 0
        if self.expected is not None:
            return event_wait(self, limit_ns) != 0
        return block(self.rec, current_agent(), WAIT_FLAG, 0, limit_ns, False) != 0

    def _at_fork_reinit(self):
        """Drops the waiters in the child of a fork; the flag stays."""
        forget(self.rec)
        if self.condition is not None:
            self.condition._at_fork_reinit()

    def __repr__(self):
        return shown(self, "set" if self.rec.count else "unset")


cdef int event_wait(Event self, int64_t limit_ns) except -1:
    """Waits for an event that stands for something else, and says for what."""
    cdef Awaited outer = futures_begin(self.expected, limit_ns) if is_looking() else None
    if outer is None:
        return block(self.rec, current_agent(), WAIT_FLAG, 0, limit_ns, False)
    try:
        await_inside(outer)
        return block(self.rec, current_agent(), WAIT_FLAG, 0, limit_ns, False)
    finally:
        await_end(outer)


# ---- Barrier -----------------------------------------------------------------------------------------------------

cdef object broken_barrier():
    # Imported here, so that fastlock can be in a process before threading is.
    from threading import BrokenBarrierError
    return BrokenBarrierError()


cdef class Generation:
    """One filling of a barrier: who arrives later belongs to the next one."""
    cdef int64_t arrived
    cdef bint passed
    cdef bint broken


@cython.auto_pickle(False)
cdef class Barrier:
    """Barrier(parties, action=None, timeout=None)\n--\n\nA point that `parties` threads pass together; threading.Barrier's interface, thread-safe."""

    cdef Condition condition
    cdef object action, default_timeout
    cdef int64_t _parties
    cdef Generation generation
    cdef object __weakref__
    cdef dict __dict__

    def __init__(self, parties, action=None, timeout=None):
        if parties < 1 and sys.version_info >= (3, 13):
            raise ValueError("parties must be >= 1" if sys.version_info >= (3, 14) else "parties must be > 0")
        self.condition = Condition(new_lock())
        self.condition.rec.kind = K_BARRIER
        self.action = action
        self.default_timeout = timeout
        self._parties = parties
        self.condition.rec.limit = <uint32_t>min(max(self._parties, 0), <int64_t>0xFFFFFFFF)
        self.generation = Generation()

    @property
    def _cond(self):
        return self.condition

    @property
    def _action(self):
        return self.action

    @property
    def _timeout(self):
        return self.default_timeout

    @property
    def parties(self):
        """How many threads pass together."""
        return self._parties

    @property
    def n_waiting(self):
        """How many threads wait now."""
        return 0 if self.generation.broken else self.generation.arrived

    @property
    def broken(self):
        """Whether the barrier is broken."""
        return self.generation.broken

    def wait(self, timeout=None):
        """Waits for the others; returns 0 to parties - 1, each once; BrokenBarrierError where that can't be."""
        cdef Generation now
        cdef int64_t index
        if timeout is None:
            timeout = self.default_timeout
        with self.condition:
            now = self.generation
            if now.broken:
                raise broken_barrier()
            index = now.arrived
            now.arrived += 1
            wakes(self.condition.rec, current_agent())      # each one who comes is one of those for whom the others wait
            if now.arrived == self._parties:
                self._pass(now)
            else:
                self._wait_for(now, timeout)
            return index

    def _pass(self, Generation now):
        """The last one: runs the action and lets all go."""
        try:
            if self.action is not None:
                self.action()
        except BaseException:
            self._break(now)
            raise
        now.passed = True
        if self.generation is now:
            self.generation = Generation()
        self.condition.notify_all()

    def _wait_for(self, Generation now, timeout):
        def is_over():
            return now.passed or now.broken
        try:
            over = self.condition.wait_for(is_over, timeout)
        except BaseException:
            if not now.passed:
                self._break(now)
            raise
        if not over:
            self._break(now)
            raise broken_barrier()
        if now.broken:
            raise broken_barrier()

    def _break(self, Generation now):
        now.broken = True
        self.condition.notify_all()

    def reset(self):
        """Empties the barrier: who waits gets BrokenBarrierError, who comes next finds it whole."""
        with self.condition:
            if self.generation.arrived > 0:
                self._break(self.generation)
            self.generation = Generation()

    def abort(self):
        """Breaks the barrier for all, until reset()."""
        with self.condition:
            self._break(self.generation)

    def __repr__(self):
        return shown(self, "broken" if self.broken else f"waiters={self.n_waiting}/{self._parties}")


cdef void forget_agent() noexcept nogil:
    fl_tls_set(NULL)


agent_cached(forget_agent)
fl_type_name(Condition, b"threading.Condition")
fl_type_name(Semaphore, b"threading.Semaphore")
fl_type_name(BoundedSemaphore, b"threading.BoundedSemaphore")
fl_type_name(Event, b"threading.Event")
fl_type_name(Barrier, b"threading.Barrier")
for new_type in (Condition, Semaphore, BoundedSemaphore, Event, Barrier):
    fl_type_set(new_type, "__module__", "threading")
fl_type_method(Condition, "__exit__", <void*>condition_exit_method, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nReleases the lock.")
for new_type in (Condition, Semaphore):
    fl_type_cheap_binding(new_type, b"__enter__")
    fl_type_cheap_binding(new_type, b"__exit__")
