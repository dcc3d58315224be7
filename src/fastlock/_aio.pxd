# cython: language_level=3
"""What asyncio's primitives have in common: see _aio.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FNode, FSelf

cdef class Primitive:
    """A record, a queue of futures, and the loop that they belong to."""
    cdef FLock* rec
    cdef public object _waiters         # deque of futures, None until somebody waits
    cdef public object _loop            # the first one that somebody waited on
    cdef object __weakref__
    cdef dict __dict__

    # What an Acquisition asks of the primitive, always in the loop's thread.
    cdef int attempt(self, Acquisition a) except -1       # takes it where that is possible now: 1, else 0
    cdef int woken(self, Acquisition a) except -1         # its turn has come: takes it
    cdef int given_up(self, Acquisition a) except -1      # cancelled, timed out, refused: lets the next one have it

    cdef int wake_first(self) except -1
    cdef bint nobody_waits(self) except -1

cdef class Acquisition:
    """A coroutine that acquires; what acquire() returns, and `async with` awaits where the primitive is not free."""
    cdef Primitive what
    cdef object owner                   # the task that asked, None for a callback's
    cdef object waiter                  # the task that runs this, while it waits
    cdef object future                  # in the queue, while it waits
    cdef object steps                   # of awaiting it
    cdef FSelf* agent                   # of the waiter
    cdef FNode* node
    cdef int64_t timeout_ns
    cdef uint32_t site
    cdef uint8_t mode
    cdef uint8_t state
    cdef bint entering                  # `async with`: the result is None
    cdef object timer
    cdef object entry                   # of the wait in asyncio's own graph, None where it has none

    cdef PyObject* start(self) except? NULL
    cdef PyObject* step(self, object value, object error) except? NULL
    cdef object yielded(self, PyObject* step)
    cdef int publish(self, object loop) except -1
    cdef int look_again(self) except -1
    cdef int leave_queue(self) except -1
    cdef int unpublish(self) except -1
    cdef int finish(self) except -1
    cdef int withdraw(self) except -1

cdef class Lock(Primitive):
    cdef object owner                   # keeps the task whose word this is; None while a callback holds it, or nobody
    cdef int64_t count                  # RLock: re-entries
    cdef bint watched                   # the owner is to say when it ends

    cdef int watch_owner(self) except -1
    cdef int take(self, object owner, FSelf* t, uint32_t site) except -1
    cdef int free(self) except -1

cdef class RLock(Lock):
    cdef bint owned_by(self, PyObject* task) noexcept
    cdef int leave(self) except -1

cdef Acquisition acquisition(Primitive what, uint8_t mode, bint entering)
cdef FSelf* agent_for(object task) except NULL
cdef int taken_by(FLock* L, FSelf* t, uint32_t site, uint32_t flags) except -1
cdef void given_by(FLock* L, FSelf* t) noexcept
cdef object ready
