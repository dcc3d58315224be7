# cython: language_level=3
"""Who is to bring about what a K_RESULT record stands for: see _wakers.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FSelf

cdef enum:  # FLock.limit of a record that is made for one wait: which call it is; the words are _facts' and outside.view's
    B_FUTURE = 0
    B_JOIN = 1
    B_WAIT = 2         # concurrent.futures.wait
    B_COMPLETED = 3    # as_completed
    B_DECLARED = 4     # fastlock.waiting_for
    B_PROCESS = 5
    B_SIMPLE = 6       # SimpleQueue.get
    B_AWAIT = 7        # of a task, lent by who looks

cdef enum:  # FSource.state
    S_UNKNOWN = 0      # nobody knows who brings it, and when
    S_AGENT = 1        # an agent does: `word`, or the thread `ident`
    S_POOL = 2         # the work for it is queued in a pool
    S_DONE = 3         # it has been brought

cdef struct FSource:
    # One thing that is to come, and from where. Lies in the Python object that stands for it; whoever waits keeps that. Guard: the GIL; wakers_lock()
    # where there is none, for who changes it and for who walks.
    uint64_t word              # of an agent; 0: not known
    uint64_t ident             # of a thread that has had no agent yet; 0: none
    uint64_t pool_serial
    uint32_t pool              # index of its record
    uint32_t native_id         # of the thread `ident`: one of these numbers may be another thread's soon, hardly both
    PyObject* future           # whose it is, borrowed: who waits keeps it; NULL: no future's
    uint8_t state

cdef struct FWakers:
    uint32_t n
    uint8_t any                # one of them is enough; else all are needed
    FSource* source[1]         # as many as n; NULL is unknown

cdef FWakers* wakers_of(FLock* L) noexcept nogil
cdef bint is_lent(FLock* L) noexcept nogil
cdef bint wakers_set(FLock* L, uint32_t n, bint any_of) noexcept nogil
cdef void wakers_put(FLock* L, uint32_t i, FSource* source) noexcept nogil
cdef void wakers_clear(FLock* L) noexcept nogil
cdef void wakers_lock() noexcept nogil
cdef void wakers_unlock() noexcept nogil
cdef FSelf* source_agent(FSource* s) noexcept nogil
cdef FLock* source_pool(FSource* s) noexcept nogil
cdef bint owes(FLock* L, FSelf* s) noexcept nogil
cdef bint wakers_refresh(FLock* L) except -1
cdef object source_of(object thing)
cdef int set_source(object thing, object source) except -1
