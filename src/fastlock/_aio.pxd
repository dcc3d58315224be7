# cython: language_level=3
"""What asyncio's primitives have in common: see _aio.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._delays cimport FWaited
from fastlock._table cimport FLock, FNode, FSelf
from fastlock._tasks cimport task_rest

cdef class Primitive:
    """A record, a queue of futures, and the loop that they belong to."""
    cdef FLock* rec
    cdef public object _waiters         # deque of futures, None until somebody waits
    cdef public object _loop            # the first one that somebody waited on
    cdef FWaited* delays                # where its waits are counted; NULL: not known yet
    cdef list onlookers                 # futures of those who wait until it could be had, without a place in the queue
    cdef object __weakref__
    cdef dict __dict__

    # What an Acquisition asks of the primitive, always in the loop's thread.
    cdef int attempt(self, Acquisition a) except -1       # takes it where that is possible now: 1, else 0
    cdef int woken(self, Acquisition a) except -1         # its turn has come: takes it
    cdef int given_up(self, Acquisition a) except -1      # cancelled, timed out, refused: lets the next one have it
    cdef bint available(self, Acquisition a) except -1    # whether attempt() would take it
    cdef int enqueue(self, Acquisition a) except -1       # queues it, oldest first
    cdef int dequeue(self, Acquisition a) except -1       # and takes it out again, if it is still there

    cdef int open(self, uint8_t kind) except -1
    cdef object shown(self, object state)
    cdef int wake_first(self) except -1
    cdef int tell_onlookers(self) except -1
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
    cdef FWaited* counted               # where its wait is counted when it is over; NULL: it does not wait, or nothing is counted
    cdef int64_t timeout_ns
    cdef uint32_t site
    cdef uint8_t mode
    cdef uint8_t state
    cdef bint entering                  # `async with`: the result is None
    cdef bint trying                    # takes it at once or not at all
    cdef bint looking                   # waits until it could be had, and does not take it
    cdef bint again                     # a condition's wait takes its lock back: no policy and no limit acts on it
    cdef bint granted                   # has been given what it waits for
    cdef object failed                  # what a check raised that may not keep it from taking its lock back
    cdef object timer
    cdef object entry                   # of the wait in asyncio's own graph, None where it has none

    cdef PyObject* start(self) except? NULL
    cdef PyObject* step(self, object value, object error) except? NULL
    cdef object yielded(self, PyObject* step)
    cdef int publish(self, object loop) except -1
    cdef FSelf* asker(self) noexcept
    cdef int look_again(self) except -1
    cdef int leave_queue(self) except -1
    cdef int join_queue(self) except -1
    cdef int unpublish(self) except -1
    cdef int finish(self) except -1
    cdef int withdraw(self) except -1

cdef class Lock(Primitive):
    cdef object owner                   # keeps the task whose word this is; None while a callback holds it, or nobody
    cdef int64_t count                  # RLock: re-entries

    cdef int watch_owner(self) except -1
    cdef int take(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1
    cdef int free(self) except -1

cdef class RLock(Lock):
    cdef bint owned_by(self, PyObject* task) noexcept
    cdef int leave(self) except -1

cdef Acquisition acquisition(Primitive what, uint8_t mode, bint entering)
cdef FSelf* agent_for(object task) except NULL
cdef FSelf* caller_known() noexcept
cdef int order_checked(Acquisition a, FLock* L, FSelf* t, uint32_t flags) except -1
cdef int unexpected(str name, dict unknown) except -1
cdef object repr_of(object self)
cdef bint is_closing(object task) except -1
cdef int tell_turn(object future) except -1
cdef uint32_t site_of_call(FLock* L) noexcept
cdef int taken_by(FLock* L, FSelf* t, uint32_t site, uint32_t flags) except -1
cdef void given_by(FLock* L, FSelf* t) noexcept
cdef object lock_enter(Lock self, PyObject* task)
cdef object rlock_enter(RLock self)
cdef object enter_by_acquire(object primitive)
cdef object ready

cdef inline int refused(FSelf* t) except -1:
    """Not to be had now: gives a record back that was made for nothing."""
    if t.task != NULL:
        task_rest(t)
    return 0
