# cython: language_level=3, binding=False
"""The holders of an asyncio lock that several tasks hold together, in a list of the lock's own.

A share of a synchronous lock is in its holder's list only, and who looks for holders asks every thread. There may be a hundred thousand
tasks, so a lock of theirs knows its holders, and a walk costs what it reaches. The list also keeps the tasks alive, so that no record comes
to mean another task. Records stay where they are, as all that is walked.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastlock._native cimport FL_CAS_WORDS, FL_UNLIKELY, fl_mutex, fl_mutex_init, fl_mutex_lock, fl_mutex_unlock
from fastlock._pool cimport CHUNK, Pool, pool_open, pool_take
from fastlock._table cimport FHold, FLock, FSelf, hold_add, hold_drop, hold_end, hold_known

cdef extern from "Python.h":
    void Py_XINCREF(PyObject*)

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)

cdef enum:
    MOST_SHARES = 1 << 24

cdef Pool pool
cdef FShare* unused = NULL      # list through FShare.next
cdef fl_mutex mutex
fl_mutex_init(&mutex)
if not pool_open(&pool, sizeof(FShare), MOST_SHARES):
    raise MemoryError


cdef void shares_lock() noexcept nogil:
    if FL_CAS_WORDS:
        fl_mutex_lock(&mutex)


cdef void shares_unlock() noexcept nogil:
    if FL_CAS_WORDS:
        fl_mutex_unlock(&mutex)


cdef FShare* share_at(uint32_t number) noexcept nogil:
    return <FShare*>(pool.chunks[number // CHUNK] + <uint64_t>(number % CHUNK) * sizeof(FShare))


cdef inline FShare* take_share() noexcept nogil:
    global unused
    cdef FShare* h = unused
    if FL_UNLIKELY(h == NULL):
        return new_share()
    unused = h.next
    return h


cdef FShare* new_share() noexcept nogil:
    """NULL where there is no room."""
    cdef uint32_t number = pool_take(&pool)
    if number == 0:
        return NULL
    share_at(number).number = number
    return share_at(number)


cdef inline void give_share(FShare* h) noexcept nogil:
    global unused
    h.next = unused
    unused = h


cdef FShare* first_share(FLock* L) noexcept nogil:
    return <FShare*>L.placed


cdef int share_add(FSelf* t, PyObject* task, FLock* L, uint32_t site) except -1:
    """Notes one more share of the agent's; the task, NULL for a thread, is kept until it has none."""
    cdef FHold* e
    cdef FShare* h
    hold_add(t, L, site)
    e = hold_known(t, L)
    if e.share != 0:
        return 0
    shares_lock()
    h = take_share()
    if FL_UNLIKELY(h == NULL):
        shares_unlock()
        hold_drop(t, L)
        raise MemoryError
    h.agent = t
    h.task = task
    h.prev = NULL
    h.next = first_share(L)
    if h.next != NULL:
        h.next.prev = h
    L.placed = <uint64_t>h
    e.share = h.number
    shares_unlock()
    Py_XINCREF(task)
    return 0


cdef bint share_drop(FSelf* t, FLock* L, PyObject** task) noexcept:
    """Takes one share off; False where the agent has none. With the last one a reference to `task` becomes the caller's."""
    cdef FHold* e = hold_known(t, L)
    cdef FShare* h
    task[0] = NULL
    if e == NULL:
        return False
    h = share_at(e.share)
    if FL_UNLIKELY(e.count > 1):
        return hold_drop(t, L)
    shares_lock()
    if h.prev != NULL:
        h.prev.next = h.next
    else:
        L.placed = <uint64_t>h.next
    if h.next != NULL:
        h.next.prev = h.prev
    task[0] = h.task
    h.task = NULL
    e.share = 0
    hold_end(t, e)
    give_share(h)
    shares_unlock()
    return True


# ---- fork ------------------------------------------------------------------------------------------------------

cdef void before_fork() noexcept nogil:
    shares_lock()


cdef void after_fork() noexcept nogil:
    shares_unlock()


cdef void in_child() noexcept nogil:
    fl_mutex_init(&mutex)


pthread_atfork(before_fork, after_fork, in_child)
