# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""Lock and RLock: the hot path, every line of it paid per acquire. What happens once a thread has to wait is in _block.

The core knows an integer level. It decides nothing: what is found goes to the handler as a dict, and an exception that comes
back is raised in the acquiring agent.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._block cimport acquire_blocking, block_to_the_end, call_handler, limit_of, look_for_circles, to_ns
from fastlock._classes cimport class_died
from fastlock._contended cimport contended_close, contended_taken
from fastlock._loops cimport given_in_loop, stack_owner
from fastlock._mapping cimport header
from fastlock._native cimport *
from fastlock._options cimport checked_options, drop_options, set_options
from fastlock._order cimport order_judge, order_signal, order_take_back
from fastlock._park cimport *
from fastlock._sites cimport site_created, site_fast
from fastlock._table cimport *
from fastlock._woken cimport woken_drop

import sys

from _thread import allocate_lock as raw_lock
from fastlock._block import find_circles, set_handler, set_limits
from fastlock._clocks import follow
from fastlock._facts import site, suspended_holder, table, task_of
from fastlock._resolve import frame_here, set_resolver, set_waiting

cdef extern from "Python.h":
    object PyObject_Vectorcall(object, PyObject**, size_t, PyObject*)
    Py_ssize_t PyVectorcall_NARGS(size_t)

ctypedef PyObject* (*lock_function)(PyObject*) noexcept
ctypedef PyObject* (*acquire_function)(PyObject*, PyObject**, Py_ssize_t, PyObject*) noexcept
ctypedef PyObject* (*note_function)(FLock*, FSelf*) noexcept

cdef extern from *:
    """
    /* The running thread's agent, where it runs an event loop; the cache of _native.h is empty then. */
    static __thread void *fl_loop_self FL_TLS_MODEL = NULL;
    """
    void* fl_loop_self

cdef int notes = 0
cdef int level = 0


# ---- Lock -----------------------------------------------------------------------------------------------

@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class LockType:
    """lock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA mutual exclusion lock that knows its owner; threading.Lock's interface, thread-safe."""

    def __cinit__(self):
        self.rec = lock_new(K_LOCK)
        self.rec.obj = <PyObject*>self
        self.rec.created = site_created()

    def __dealloc__(self):
        lock_dropped(self.rec)

    def acquire(self, blocking=True, timeout=-1):
        cdef FSelf* me = <FSelf*>fl_tls_get()
        cdef int64_t timeout_ns = parse_timeout(blocking, timeout)
        if FL_UNLIKELY(me == NULL):
            me = agent_otherwise()
            if me.loops:
                return take_in_loop(self.rec, me, 0, timeout_ns) != 0
        before(self.rec, me, timeout_ns, 0)
        if fl_word_take(&self.rec.word, me.word):
            note_taken(self.rec, me, how_held(timeout_ns))
            return True
        return lock_acquire(self.rec, me, 0, timeout_ns) != 0

    def locked(self):
        """Returns whether somebody holds the lock."""
        return is_held(self.rec)

    def _at_fork_reinit(self):
        """Frees the lock in the child of a fork, whoever held it."""
        forget(self.rec)

    def __repr__(self):
        return f"<{'locked' if is_held(self.rec) else 'unlocked'} _thread.lock object at {id(self):#x}>"


# The four methods that matter come in three parts. The first one handles what is usual, and is a leaf: it calls nothing, so it
# saves no registers, and its exceptions are those of the last part, which does it all over for whatever else there is.
# So the first takes and returns plain pointers, where a result is a new reference, and NULL a raised exception; and it knows
# the next by a pointer that no compiler sees through, or it would be made one with it again. The part between them is what is
# usual in a thread that runs an event loop, and a leaf as well.

cdef lock_function lock_enter_rest, lock_release_rest, lock_exit_rest, lock_enter_last, lock_release_last
cdef acquire_function lock_acquire_rest, lock_acquire_last
cdef note_function taken_rest, given_rest


cdef inline bint taken_as_usual(FLock* L, FSelf* me, uint32_t depth, uint64_t key) noexcept:
    """What note_taken does, where it need not call anything: taken at the same site as before, and room on the stack."""
    cdef FHeld* h
    if FL_UNLIKELY(not notes & NOTE_SITE or key != L.site_key):
        return False
    if notes & NOTE_ORDER:
        if FL_UNLIKELY(depth == me.room):
            return False
        L.acquired += 1
        h = &me.held[depth]
        h.lock = L
        h.flags = 0
        h.chain = L.tag
        if depth != 0:
            L.pair_count += 1
            h.chain = chained((h - 1).chain, L.tag)     # neither is 0, for the pair is known
        me.depth = depth + 1
    return True


cdef inline bint given_as_usual(FLock* L, FSelf* me) noexcept:
    """What note_given does, where the lock is the only one, or the last, that is held."""
    if FL_LIKELY(me.depth == 0):
        return True
    if FL_LIKELY(me.held[me.depth - 1].lock == L):
        me.depth -= 1
        return True
    return False


cdef inline PyObject* lock_enter_usual(PyObject* self, bint direct) noexcept:
    cdef FLock* L = (<LockType>self).rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    cdef uint32_t depth
    if FL_LIKELY(me != NULL):
        depth = me.depth
        if FL_LIKELY((depth == 0 or pair_is_known(L, me, depth, 0)) and fl_word_take(&L.word, me.word | W_WITH)):
            if FL_LIKELY(taken_as_usual(L, me, depth, fl_site_key_direct() if direct else fl_site_key())):
                return fl_true()
            return taken_rest(L, me)
    return lock_enter_rest(self)


cdef inline PyObject* lock_acquire_usual(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names, bint direct) noexcept:
    cdef FLock* L
    cdef FSelf* me = <FSelf*>fl_tls_get()
    cdef uint32_t depth
    if FL_LIKELY(count == 0 and names == NULL and me != NULL):
        L = (<LockType>self).rec
        depth = me.depth
        if FL_LIKELY((depth == 0 or pair_is_known(L, me, depth, 0)) and fl_word_take(&L.word, me.word)):
            if FL_LIKELY(taken_as_usual(L, me, depth, fl_site_key_direct() if direct else fl_site_key())):
                return fl_true()
            return taken_rest(L, me)
    return lock_acquire_rest(self, args, count, names)


# Each is there twice: only where the interpreter's thread state is a plain load is it a leaf.

cdef PyObject* lock_enter_method(PyObject* self, PyObject* unused) noexcept:
    return lock_enter_usual(self, False)


cdef PyObject* lock_enter_leaf(PyObject* self, PyObject* unused) noexcept:
    return lock_enter_usual(self, True)


cdef PyObject* lock_acquire_method(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) noexcept:
    return lock_acquire_usual(self, args, count, names, False)


cdef PyObject* lock_acquire_leaf(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) noexcept:
    return lock_acquire_usual(self, args, count, names, True)


cdef PyObject* lock_release_method(PyObject* self, PyObject* unused) noexcept:
    cdef FLock* L = (<LockType>self).rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_LIKELY(me != NULL and L.marks & M_OWNED and fl_word_drop(&L.word, me.word)):
        if FL_LIKELY(given_as_usual(L, me)):
            return fl_none()
        return given_rest(L, me)
    return lock_release_rest(self)


cdef PyObject* lock_exit_method(PyObject* self, PyObject** args, Py_ssize_t count) noexcept:
    """__exit__ with whatever arguments: none is read."""
    cdef FLock* L = (<LockType>self).rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_LIKELY(me != NULL and L.marks & M_OWNED and fl_word_drop(&L.word, me.word | W_WITH)):
        if FL_LIKELY(given_as_usual(L, me)):
            return fl_none()
        return given_rest(L, me)
    return lock_exit_rest(self)


cdef PyObject* lock_enter_in_loop(PyObject* self) noexcept:
    cdef FLock* L = (<LockType>self).rec
    cdef FSelf* me = <FSelf*>fl_loop_self
    if FL_LIKELY(me != NULL and usually_taken_in_loop(L, me, W_WITH)):
        return fl_true()
    return lock_enter_last(self)


cdef PyObject* lock_acquire_in_loop(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) noexcept:
    cdef FLock* L = (<LockType>self).rec
    cdef FSelf* me = <FSelf*>fl_loop_self
    if FL_LIKELY(me != NULL and count == 0 and names == NULL and usually_taken_in_loop(L, me, 0)):
        return fl_true()
    return lock_acquire_last(self, args, count, names)


cdef PyObject* lock_release_in_loop(PyObject* self) noexcept:
    cdef FLock* L = (<LockType>self).rec
    cdef FSelf* me = <FSelf*>fl_loop_self
    if FL_LIKELY(me != NULL and usually_given_in_loop(L, me, 0, M_OWNED | M_PLACED)):
        return fl_none()
    return lock_release_last(self)


cdef PyObject* lock_exit_in_loop(PyObject* self) noexcept:
    cdef FLock* L = (<LockType>self).rec
    cdef FSelf* me = <FSelf*>fl_loop_self
    if FL_LIKELY(me != NULL and usually_given_in_loop(L, me, W_WITH, M_OWNED | M_PLACED)):
        return fl_none()
    return lock_release_last(self)


cdef PyObject* taken_otherwise(FLock* L, FSelf* me) noexcept:
    if me.depth != 0:
        L.pair_count += 1
    note_taken(L, me, 0)
    return fl_true()


cdef PyObject* given_otherwise(FLock* L, FSelf* me) noexcept:
    note_given(L, me)
    return fl_none()


cdef object lock_enter_otherwise(LockType self):
    cdef FSelf* me = agent_otherwise()
    if me.loops:
        take_in_loop(self.rec, me, W_WITH, -1)
    else:
        lock_take(self)
    return True


cdef object lock_acquire_otherwise(LockType self, PyObject** args, Py_ssize_t count, PyObject* names):
    cdef FLock* L = self.rec
    cdef FSelf* me = agent_otherwise()
    if count != 0 or names != NULL:
        return call_parsing(lock_acquire_parsing, <PyObject*>self, args, count, names)
    if me.loops:
        return take_in_loop(L, me, 0, -1) != 0
    if me.depth != 0:
        order_before(L, me, 0)
    if fl_word_take(&L.word, me.word):
        note_taken(L, me, 0)
        return True
    return lock_acquire(L, me, 0, -1) != 0


cdef object lock_release_otherwise(LockType self):
    cdef FLock* L = self.rec
    cdef FSelf* me = agent_otherwise()
    if me.loops and owner_bits(L.word) == me.word:
        given_in_loop(L, me)
    if fl_word_drop(&L.word, me.word) or fl_word_drop(&L.word, me.word | W_WITH):
        L.marks |= M_OWNED
        note_given(L, me)
    else:
        lock_release(self)


lock_enter_rest = lock_enter_in_loop
lock_release_rest = lock_release_in_loop
lock_exit_rest = lock_exit_in_loop
lock_acquire_rest = lock_acquire_in_loop
lock_enter_last = <lock_function><void*>lock_enter_otherwise
lock_release_last = <lock_function><void*>lock_release_otherwise
lock_acquire_last = <acquire_function><void*>lock_acquire_otherwise
taken_rest = taken_otherwise
given_rest = given_otherwise


cdef object call_parsing(object method, PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names):
    """Calls a method of Cython's making with arguments as the interpreter passed them."""
    cdef PyObject* values[4]
    cdef Py_ssize_t i, keywords = len(<tuple>names) if names != NULL else 0
    if count + keywords > 3:
        raise TypeError(f"acquire() takes at most 2 arguments ({count + keywords} given)")
    values[0] = self
    for i in range(count + keywords):
        values[i + 1] = args[i]
    return PyObject_Vectorcall(method, values, count + 1, names)


cdef int lock_acquire(FLock* L, FSelf* me, uint8_t flags, int64_t timeout_ns) except -1:
    """Takes an exclusive lock by the slow path: 1 taken, 0 not in time."""
    cdef int got = lock_wait(L, me, flags, timeout_ns)
    if got:
        note_taken(L, me, how_held(timeout_ns))
        if L.contended:
            contended_taken(L)
    return got


cdef inline int lock_wait(FLock* L, FSelf* me, uint8_t flags, int64_t timeout_ns) except -1:
    """The same without the notes."""
    cdef int got
    flags &= W_WITH
    got = try_take(L, me, WAIT_EXCLUSIVE, flags)
    if not got and timeout_ns != 0:
        got = acquire_blocking(L, me, WAIT_EXCLUSIVE, flags, timeout_ns)
    return got


cdef int lock_release(LockType self) except -1:
    """Releases by the slow path: somebody waits, or the caller is not the owner."""
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    cdef uint64_t word = fl_load64(&L.word)
    if FL_UNLIKELY(me == NULL):
        me = agent_otherwise()
        if me.loops and owner_bits(word) == me.word:
            given_in_loop(L, me)
    if owner_bits(word) == me.word:
        L.marks |= M_OWNED
        note_given(L, me)
    elif owner_bits(word) != 0:
        L.marks |= M_SIGNAL     # no owner from here on: it leaves all reasoning
        if L.node != 0:
            order_signal(L)
    if not give_back(L):
        raise RuntimeError("release unlocked lock")
    return 0


cdef int lock_take(LockType self) except -1:
    """with self, for the other primitives."""
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        me = agent_otherwise()
        if me.loops:
            return take_in_loop(L, me, W_WITH, -1)
    if FL_UNLIKELY(me.depth != 0):
        order_before(L, me, 0)
    if fl_word_take(&L.word, me.word | W_WITH):
        note_taken(L, me, 0)
        return 1
    return lock_acquire(L, me, W_WITH, -1)


# ---- in a thread that runs an event loop -----------------------------------------------------------------------

cdef inline FSelf* agent_otherwise() noexcept:
    """current_agent, from a cache also where the thread runs an event loop."""
    global fl_loop_self
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        me = <FSelf*>fl_loop_self
        if me == NULL:
            me = current_agent()
            if me.loops and me.settled:
                fl_loop_self = me
    return me


cdef int take_in_loop(FLock* L, FSelf* me, uint8_t flags, int64_t timeout_ns) except -1:
    """Takes an exclusive lock: 1 taken, 0 not in time."""
    cdef FSelf* who = before_in_loop(L, me, timeout_ns, 0)
    if not fl_word_take(&L.word, me.word | flags) and not lock_wait(L, me, flags, timeout_ns):
        return 0
    taken_in_loop(L, who, how_held(timeout_ns))
    if L.contended:
        contended_taken(L)
    return 1


# ---- RLock -----------------------------------------------------------------------------------------------

@cython.auto_pickle(False)
cdef class RLock:
    """RLock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA re-entrant lock that knows its owner; threading.RLock's interface, thread-safe."""

    def __cinit__(self, *args, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False,
                  on_deadlock=None, on_inversion=None, **kwargs):
        if (args or kwargs) and type(self).__init__ is object.__init__:
            refuse_rlock_arguments(type(self), args, kwargs)
        self.rec = lock_made(K_RLOCK, checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion))
        self.rec.obj = <PyObject*>self

    def __dealloc__(self):
        lock_dropped(self.rec)

    def acquire(self, blocking=True, timeout=-1):
        cdef FSelf* me = <FSelf*>fl_tls_get()
        cdef int64_t timeout_ns = parse_timeout(blocking, timeout)
        return (rlock_acquire(self, me, timeout_ns) if me != NULL else rlock_otherwise(self, timeout_ns)) != 0

    def locked(self):
        """Returns whether somebody holds the lock."""
        return is_held(self.rec)

    def _is_owned(self):
        """Returns whether the calling thread holds the lock."""
        return rlock_owned(self)

    def _recursion_count(self):
        """How often the calling thread holds the lock."""
        return self.rec.count + 1 if rlock_owned(self) else 0

    def _release_save(self):
        """Releases the lock entirely; returns what _acquire_restore takes."""
        return rlock_save(self)

    def _acquire_restore(self, state):
        """Acquires the lock to the depth that _release_save returned."""
        count, _ = state
        rlock_restore(self, count)

    def _at_fork_reinit(self):
        """Frees the lock in the child of a fork, whoever held it."""
        forget(self.rec)

    def __repr__(self):
        cdef FSelf* owner = agent_of(self.rec.word)
        cdef uint64_t ident = owner.pub.ident if owner != NULL else 0
        cdef int64_t count = self.rec.count + 1 if is_held(self.rec) else 0
        kind = "_thread.RLock" if type(self) is RLock else type(self).__name__
        return (f"<{'locked' if is_held(self.rec) else 'unlocked'} {kind} object "
                f"owner={ident} count={count} at {id(self):#x}>")


cdef object refuse_rlock_arguments(object cls, tuple args, dict kwargs):
    """What the running version says of arguments to RLock; an unknown keyword to RLock itself is an error where it may be."""
    if kwargs and cls is RLock and not (3, 13) <= sys.version_info < (3, 15):
        raise TypeError(f"RLock() got an unexpected keyword argument {next(iter(kwargs))!r}")
    if sys.version_info >= (3, 15):
        raise TypeError("RLock() takes no positional arguments")
    if sys.version_info >= (3, 13):
        import warnings
        warnings.warn("Passing arguments to RLock is deprecated and will be removed in 3.15", DeprecationWarning, stacklevel=2)


# Leaves, as those of Lock are; see there.

cdef lock_function rlock_enter_rest, rlock_release_rest
cdef acquire_function rlock_acquire_rest


cdef inline PyObject* rlock_taken(PyObject* self, bint direct) noexcept:
    """True where the lock is free or the caller's, and all is as usual; NULL, with nothing done and no exception, elsewhere."""
    cdef FLock* L = (<RLock>self).rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    cdef uint32_t depth
    cdef uint64_t word
    if FL_UNLIKELY(me == NULL):
        return NULL
    word = fl_relaxed64(&L.word)
    if word & ~<uint64_t>W_CONTENDED == me.word:
        L.count += 1
        return fl_true()
    depth = me.depth
    if FL_UNLIKELY((depth != 0 and not pair_is_known(L, me, depth, 0)) or not fl_word_take(&L.word, me.word)):
        return NULL
    if FL_LIKELY(taken_as_usual(L, me, depth, fl_site_key_direct() if direct else fl_site_key())):
        return fl_true()
    return taken_rest(L, me)


cdef inline PyObject* rlock_enter_usual(PyObject* self, bint direct) noexcept:
    cdef PyObject* taken = rlock_taken(self, direct)
    return taken if FL_LIKELY(taken != NULL) else rlock_enter_rest(self)


cdef inline PyObject* rlock_acquire_usual(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names, bint direct) noexcept:
    cdef PyObject* taken = NULL
    if FL_LIKELY(count == 0 and names == NULL):
        taken = rlock_taken(self, direct)
    return taken if FL_LIKELY(taken != NULL) else rlock_acquire_rest(self, args, count, names)


cdef PyObject* rlock_enter_method(PyObject* self, PyObject* unused) noexcept:
    return rlock_enter_usual(self, False)


cdef PyObject* rlock_enter_leaf(PyObject* self, PyObject* unused) noexcept:
    return rlock_enter_usual(self, True)


cdef PyObject* rlock_acquire_method(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) noexcept:
    return rlock_acquire_usual(self, args, count, names, False)


cdef PyObject* rlock_acquire_leaf(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) noexcept:
    return rlock_acquire_usual(self, args, count, names, True)


cdef PyObject* rlock_release_method(PyObject* self, PyObject* unused) noexcept:
    cdef FLock* L = (<RLock>self).rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_LIKELY(me != NULL and fl_relaxed64(&L.word) & ~<uint64_t>W_CONTENDED == me.word):
        if L.count != 0:
            L.count -= 1
            return fl_none()
        if FL_LIKELY(fl_word_drop(&L.word, me.word)):
            return fl_none() if FL_LIKELY(given_as_usual(L, me)) else given_rest(L, me)
    return rlock_release_rest(self)


cdef PyObject* rlock_exit_method(PyObject* self, PyObject** args, Py_ssize_t count) noexcept:
    return rlock_release_method(self, NULL)


cdef object rlock_enter_otherwise(RLock self):
    rlock_take(self)
    return True


cdef object rlock_acquire_otherwise(RLock self, PyObject** args, Py_ssize_t count, PyObject* names):
    if count == 0 and names == NULL:
        return rlock_enter_otherwise(self)
    return call_parsing(rlock_acquire_parsing, <PyObject*>self, args, count, names)


cdef object rlock_release_otherwise(RLock self):
    rlock_release(self)


rlock_enter_rest = <lock_function><void*>rlock_enter_otherwise
rlock_acquire_rest = <acquire_function><void*>rlock_acquire_otherwise
rlock_release_rest = <lock_function><void*>rlock_release_otherwise


cdef bint rlock_owned(RLock self) noexcept:
    cdef uint64_t word = fl_load64(&self.rec.word)
    return owner_bits(word) == agent_otherwise().word and not word & W_OFFERED


cdef int rlock_take(RLock self) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        return rlock_otherwise(self, -1)
    if me.depth == 0 and fl_word_take(&L.word, me.word):
        note_taken(L, me, 0)
        return 1
    return rlock_acquire(self, me, -1)


cdef int rlock_otherwise(RLock self, int64_t timeout_ns) except -1:
    """In a thread that runs an event loop, or is new."""
    cdef FSelf* me = <FSelf*>fl_loop_self
    if FL_LIKELY(me != NULL and timeout_ns < 0 and usually_taken_in_loop(self.rec, me, 0)):
        return 1
    me = agent_otherwise()
    if not me.loops:
        return rlock_acquire(self, me, timeout_ns)
    if rlock_owned(self):
        self.rec.count += 1
        return 1
    return take_in_loop(self.rec, me, 0, timeout_ns)


cdef int rlock_acquire(RLock self, FSelf* me, int64_t timeout_ns) except -1:
    """By the longer path: something else is held, or this lock is, by the caller or another agent."""
    cdef FLock* L = self.rec
    if rlock_owned(self):
        L.count += 1
        return 1
    before(L, me, timeout_ns, 0)
    if fl_word_take(&L.word, me.word):
        note_taken(L, me, how_held(timeout_ns))
        return 1
    return lock_acquire(L, me, 0, timeout_ns)


cdef int rlock_release(RLock self) except -1:
    cdef FLock* L = self.rec
    cdef FSelf* me = <FSelf*>fl_tls_get()
    if FL_UNLIKELY(me == NULL):
        me = agent_otherwise()
        if me.loops and L.count == 0 and usually_given_in_loop(L, me, 0, M_PLACED):
            return 0
        if me.loops and L.count == 0 and rlock_owned(self):
            given_in_loop(L, me)
    if L.count == 0 and fl_word_drop(&L.word, me.word):
        note_given(L, me)
        return 0
    if not rlock_owned(self):
        raise RuntimeError("cannot release un-acquired lock")
    if L.count > 0:
        L.count -= 1
    else:
        note_given(L, me)
        give_back(L)
    return 0


cdef object rlock_save(RLock self):
    cdef FLock* L = self.rec
    cdef int64_t depth
    cdef FSelf* owner = agent_of(L.word)
    cdef FSelf* me = agent_otherwise()
    if owner == NULL:
        raise RuntimeError("cannot release un-acquired lock")
    depth = L.count + 1
    L.count = 0
    ident = owner.pub.ident
    if me.loops and owner == me:
        given_in_loop(L, me)
    note_given(L, me)
    give_back(L)
    return (depth, ident)


cdef int rlock_restore(RLock self, int64_t depth) except -1:
    """Re-acquires after a condition's wait: no policy and no timeout ever acts on it."""
    cdef FLock* L = self.rec
    cdef FSelf* me = agent_otherwise()
    error = take_again(L, me, 0)
    L.count = depth - 1
    if error is not None:
        raise error
    return 0


cdef object take_again(FLock* L, FSelf* me, uint8_t flags):
    """Re-acquires after a condition's wait, whatever comes; returns the exception to raise once all is as it was."""
    cdef FSelf* who = me
    error = None
    if me.loops and notes & NOTE_ORDER:
        who = stack_owner(me)
    if who.depth != 0:
        try:
            order_before(L, who, H_REACQUIRE)
        except BaseException as first:      # of a key's own comparison, or of a signal handler
            error = first
    if not fl_word_take(&L.word, me.word | flags) and not try_take(L, me, WAIT_EXCLUSIVE, flags):
        error = block_to_the_end(L, me, flags) or error
    if me.loops:
        taken_in_loop(L, who, 0)
    else:
        note_taken(L, me, 0)
    if L.contended:
        contended_taken(L)
    return error


# ---- order: what is held meets what is wanted ------------------------------------------------------------------

cdef int order_wanted(FLock* L, FSelf* me, uint32_t flags) except -1:
    """The check where the pair is not known to this lock: LockOrderError where a policy forbids the acquire."""
    cdef dict event
    if not notes & NOTE_ORDER or fl_finalizing():       # at the end the tables of names may be gone
        return 0
    event = order_judge(L, me, flags, bool(flags & H_TIMED) or limit_of(L, WAIT_EXCLUSIVE) >= 0)
    if event is None:
        return 0
    if flags & H_REACQUIRE:
        event["policy"] = "report"      # it must come back an owner; the report is not to say that it was refused
    answer = call_handler(event)
    if answer is not None:
        order_take_back(event)
        raise answer
    return 0


# ---- making and dropping -----------------------------------------------------------------------------------

cdef LockType new_lock():
    return LockType.__new__(LockType)


cdef object make_lock(PyObject* callable, PyObject** args, size_t count, PyObject* names):
    """Lock(): up to 3.12 a function, from 3.13 on what the type does when it is called."""
    if names == NULL and PyVectorcall_NARGS(count) == 0:
        return LockType.__new__(LockType)
    return PyObject_Vectorcall(make_lock_parsing, args, count, names)


def Lock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None):
    """Makes a lock from what the caller gave."""
    cdef object own = checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion)
    cdef LockType self = LockType.__new__(LockType)
    if own is not None:
        set_options(self.rec, own)
    return self


cdef object make_lock_parsing = Lock


cdef FLock* lock_made(uint8_t kind, object own) except NULL:
    """A record with its creation site and options, for the constructors."""
    cdef FLock* L = lock_new(kind)
    L.created = site_created()
    if own is not None:
        set_options(L, own)
    return L


cdef void lock_dropped(FLock* L) noexcept:
    if L == NULL:
        return
    if L.marks & M_POLICY:
        drop_options(L)
    if L.node != 0:
        class_died(L)
    elif L.tag != 0:
        woken_drop(L)
    if L.contended:
        contended_close(L)
    lock_free(L)


cdef object MINUS_ONE = -1
cdef object lock_acquire_parsing, rlock_acquire_parsing


cdef int64_t parse_timeout(object blocking, object timeout) except? -2:
    """Nanoseconds to wait: -1 for ever, 0 not at all. What is wrong with the arguments, the stdlib's own lock says."""
    cdef double seconds
    if timeout is MINUS_ONE:
        if blocking is True:
            return -1
        if blocking is False:
            return 0
    elif blocking is True and type(timeout) is float:
        seconds = timeout
        if 0 <= seconds < 1e8:
            return to_ns(seconds)
    raw_lock().acquire(blocking, timeout)
    if not blocking:
        return 0
    seconds = timeout
    return -1 if seconds == -1 else to_ns(seconds)


# ---- what the Python layer sets and asks ------------------------------------------------------------------------

def set_level(int new_level):
    """0 off, 1 detect, 2 order; takes effect at the next acquire and the next wait of every thread."""
    global level, notes
    level = new_level
    header.level = <uint32_t>new_level
    notes = (NOTE_SITE if site_fast else NOTE_PUBLIC) if level else 0
    if level >= 2:
        notes |= NOTE_ORDER
        follow()
    look_for_circles(level > 0)


def get_level():
    """The level in force, as a number."""
    return level


cdef void forget_agent() noexcept nogil:
    global fl_loop_self
    fl_tls_set(NULL)
    fl_loop_self = NULL


agent_cached(forget_agent)
set_level(1)

# ---- the stdlib's names, and the methods without parsing ---------------------------------------------------------

LOCK_DOC = ("Lock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n"
            "--\n\nA mutual exclusion lock that knows its owner; threading.Lock's interface, thread-safe.")
lock_acquire_parsing = LockType.__dict__["acquire"]
rlock_acquire_parsing = RLock.__dict__["acquire"]
fl_type_method(LockType, "__enter__", <void*>lock_enter_leaf if fl_is_direct() else <void*>lock_enter_method, METH_NOARGS,
               "__enter__($self, /)\n--\n\nAcquires the lock.")
fl_type_method(LockType, "acquire", <void*>lock_acquire_leaf if fl_is_direct() else <void*>lock_acquire_method, METH_FASTCALL | METH_KEYWORDS,
               "acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
               "Acquires the lock, waiting at most `timeout` seconds; returns whether it was acquired.")
fl_type_method(LockType, "release", <void*>lock_release_method, METH_NOARGS,
               "release($self, /)\n--\n\nReleases the lock; any thread may. RuntimeError where nobody holds it.")
fl_type_method(LockType, "__exit__", <void*>lock_exit_method, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nReleases the lock.")
fl_type_method(RLock, "__enter__", <void*>rlock_enter_leaf if fl_is_direct() else <void*>rlock_enter_method, METH_NOARGS,
               "__enter__($self, /)\n--\n\nAcquires the lock, once more where the caller holds it.")
fl_type_method(RLock, "acquire", <void*>rlock_acquire_leaf if fl_is_direct() else <void*>rlock_acquire_method, METH_FASTCALL | METH_KEYWORDS,
               "acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
               "Acquires the lock, once more where the caller holds it; returns whether it was acquired.")
fl_type_method(RLock, "release", <void*>rlock_release_method, METH_NOARGS,
               "release($self, /)\n--\n\nReleases the lock once; RuntimeError where the caller does not hold it.")
fl_type_method(RLock, "__exit__", <void*>rlock_exit_method, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nReleases the lock once.")
fl_type_name(LockType, b"_thread.lock")
fl_type_set(LockType, "__doc__", LOCK_DOC.partition("--\n\n")[2])
fl_type_name(RLock, b"_thread.RLock")
for alias, method in (("acquire_lock", "acquire"), ("release_lock", "release"), ("locked_lock", "locked")):
    fl_type_set(LockType, alias, LockType.__dict__[method])
for new_type in (LockType, RLock):
    fl_type_set(new_type, "__module__", "_thread")
    fl_type_cheap_binding(new_type, b"__enter__")
    fl_type_cheap_binding(new_type, b"__exit__")
# threading.Lock is a function up to 3.12, and the type itself from 3.13 on. By name it is pickled.
if sys.version_info < (3, 13):
    Lock = fl_function(b"Lock", <void*>make_lock, METH_FASTCALL | METH_KEYWORDS, LOCK_DOC.encode(), "threading")
    fl_type_no_new(LockType)
else:
    fl_type_vectorcall(LockType, <void*>make_lock)
    Lock = LockType
