# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Who is to bring about what a K_RESULT record stands for: agents, work that is queued in a pool, or nobody knows.

A wait for several futures needs all of them or any one. Where the work for a future is now is written down once, in the FSource of that
future, by who queues and runs it; who waits points to it. So a job that begins or ends costs two stores, however many wait for it. That a future is
done is asked of it when somebody looks (wakers_refresh): who completes it may be anybody.

Guard: the GIL, and `mutex` where there is none.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlock._native cimport FL_CAS_WORDS, fl_load64, fl_load8, fl_mutex, fl_mutex_init, fl_mutex_lock, fl_mutex_unlock, fl_store64
from fastlock._table cimport *

cdef extern from "Python.h":
    object PyObject_GenericGetAttr(object, object)
    int PyObject_GenericSetAttr(object, object, object) except -1

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)

cdef str STATE = "_state"
cdef str SOURCE = "_fastlock"
cdef frozenset OVER = frozenset(("CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"))
cdef fl_mutex mutex
fl_mutex_init(&mutex)


cdef void wakers_lock() noexcept nogil:
    if FL_CAS_WORDS:
        fl_mutex_lock(&mutex)


cdef void wakers_unlock() noexcept nogil:
    if FL_CAS_WORDS:
        fl_mutex_unlock(&mutex)


cdef FWakers* wakers_of(FLock* L) noexcept nogil:
    """NULL where nobody knows anything of who brings it."""
    return <FWakers*>L.placed if L.kind == K_RESULT or is_lent(L) else NULL


cdef bint is_lent(FLock* L) noexcept nogil:
    """Whether this stands for what a task awaits, published by who looks: no walk for circles goes by it, for the task may have gone on."""
    return L.kind == K_CONDITION and L.limit == B_AWAIT


cdef bint wakers_set(FLock* L, uint32_t n, bint any_of) noexcept nogil:
    """Makes room for n sources, all unknown; False where memory is out."""
    cdef FWakers* w = <FWakers*>calloc(1, sizeof(FWakers) + n * sizeof(FSource*))
    if w == NULL:
        return False
    w.n = n
    w.any = any_of
    wakers_lock()                       # who walks may still be at the wait before this one
    fl_store64(&L.placed, <uint64_t>w)
    wakers_unlock()
    return True


cdef void wakers_put(FLock* L, uint32_t i, FSource* source) noexcept nogil:
    """Says who brings the i-th of them."""
    wakers_lock()
    wakers_of(L).source[i] = source
    wakers_unlock()


cdef void wakers_clear(FLock* L) noexcept nogil:
    """Called before the sources go: nobody is pointed to any more."""
    cdef FWakers* w
    wakers_lock()
    w = <FWakers*>L.placed
    fl_store64(&L.placed, 0)
    wakers_unlock()
    free(w)


cdef FSelf* source_agent(FSource* s) noexcept nogil:
    """The agent that is to bring it, NULL where it is none, is not known, or has ended: then it has been brought.

    A thread that has used nothing of fastlock's has no agent, and is looked for again each time: some ns for each agent there is.
    """
    cdef FSelf* a
    cdef uint32_t i
    if s == NULL or s.state != S_AGENT:
        return NULL
    if s.word == 0 and s.ident != 0:
        for i in range(1, agent_limit()):
            a = agent_at(i)
            if a.task == NULL and a.pub.ident == s.ident and a.pub.native_id == s.native_id and fl_load8(&a.pub.state) == A_ALIVE:
                s.word = fl_load64(&a.word)
                break
    a = agent_of(s.word)
    return a if a != NULL and fl_load8(&a.pub.state) == A_ALIVE else NULL


cdef FLock* source_pool(FSource* s) noexcept nogil:
    """The pool in which the work is queued, NULL where it is none or none of those that are known."""
    cdef FLock* L
    if s == NULL or s.state != S_POOL:
        return NULL
    L = lock_at(s.pool)
    return L if L != NULL and L.kind == K_POOL and fl_load64(&L.serial) == s.pool_serial else NULL


cdef bint owes(FLock* L, FSelf* agent) noexcept nogil:
    """Whether the agent is one of those who are to bring what the record stands for."""
    cdef FWakers* w
    cdef uint32_t i
    cdef bint found = False
    wakers_lock()
    w = wakers_of(L)
    if w != NULL:
        for i in range(w.n):
            if source_agent(w.source[i]) == agent:
                found = True
                break
    wakers_unlock()
    return found


cdef bint wakers_refresh(FLock* L) except -1:
    """Asks the futures behind a record which of them are done, without running any code of the program; whether that changed something."""
    cdef FWakers* w = wakers_of(L)
    cdef uint32_t i
    cdef FSource* s
    cdef bint changed = False
    if w == NULL:
        return False
    for i in range(w.n):
        s = w.source[i]
        if s == NULL or s.future == NULL or s.state == S_DONE:
            continue
        if is_over(<object>s.future):
            s.state = S_DONE
            changed = True
    return changed


cdef bint is_over(object future):
    try:
        return PyObject_GenericGetAttr(future, STATE) in OVER
    except (AttributeError, TypeError):     # of a class of the program's, that keeps it otherwise
        return False


cdef object source_of(object thing):
    """What an object of the program's was given by set_source(), else None; runs no code of the program, and makes no dict where it has none."""
    try:
        return PyObject_GenericGetAttr(thing, SOURCE)
    except AttributeError:
        return None


cdef int set_source(object thing, object source) except -1:
    return PyObject_GenericSetAttr(thing, SOURCE, source)


# ---- fork ------------------------------------------------------------------------------------------------------

cdef void before_fork() noexcept nogil:
    wakers_lock()


cdef void after_fork() noexcept nogil:
    wakers_unlock()


cdef void in_child() noexcept nogil:
    fl_mutex_init(&mutex)


pthread_atfork(before_fork, after_fork, in_child)
