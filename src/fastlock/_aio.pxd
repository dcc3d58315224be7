# cython: language_level=3
"""What asyncio's primitives have in common: see _aio.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._core cimport NOTE_ORDER, NOTE_SITE, note_given, notes
from fastlock._delays cimport FWaited
from fastlock._native cimport FL_LIKELY, FL_UNLIKELY, fl_context_version, fl_site_key
from fastlock._sites cimport site_here
from fastlock._table cimport FHeld, FLock, FNode, FSelf, chained, held_grow, held_tag
from fastlock._tasks cimport task_rest

cdef extern from "Python.h":
    void* Py_TYPE(PyObject*)
    Py_ssize_t Py_SIZE(PyObject*)

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
    cdef int watch_owner(self) except -1                  # somebody waits for what one task holds: has that one say when it ends
    cdef bint available(self, Acquisition a) except -1    # whether attempt() would take it
    cdef int enqueue(self, Acquisition a) except -1       # queues it, oldest first
    cdef int dequeue(self, Acquisition a) except -1       # and takes it out again, if it is still there

    cdef int open(self, uint8_t kind) except -1
    cdef int open_queue(self) except -1
    cdef object shown(self, object state)
    cdef int wake_first(self) except -1
    cdef int tell_onlookers(self) except -1
    cdef bint nobody_waits(self) except -1
    cdef bint tell_next(self) except -1

cdef class Unusual:
    cdef object timer                   # of the lock's own limit
    cdef object steps                   # of awaiting a future that is not asyncio's own
    cdef object entry                   # of the wait in asyncio's own graph
    cdef object failed                  # what a check raised that may not keep the acquisition from taking its lock back

cdef class Acquisition:
    """A coroutine that acquires; what acquire() returns, and `async with` awaits where the primitive is not free."""
    cdef Primitive what
    cdef object owner                   # the task that asked, None for a callback's
    cdef object waiter                  # the task that runs this while it waits, None where that is the owner
    cdef object future                  # in the queue, while it waits
    cdef Unusual unusual                # None mostly
    cdef FSelf* agent                   # of the waiter
    cdef FNode* node
    cdef FWaited* counted               # where its wait is counted when it is over; NULL: it does not wait, or nothing is counted
    cdef uint32_t site
    cdef uint8_t mode
    cdef uint8_t state
    cdef bint entering                  # `async with`: the result is None
    cdef bint trying                    # takes it at once or not at all
    cdef bint looking                   # waits until it could be had, and does not take it
    cdef bint again                     # a condition's wait takes its lock back: no policy and no limit acts on it
    cdef bint finalised                 # by the collector or as it went: that is done once, so it is not kept for another one
    cdef bint granted                   # has been given what it waits for

    cdef PyObject* step(self, PyObject* value, PyObject* error) except? NULL
    cdef PyObject* start_inside(self) except? NULL
    cdef PyObject* step_inside(self, PyObject* value, PyObject* error) except? NULL
    cdef PyObject* start(self) except? NULL
    cdef int undo(self) except -1
    cdef object yielded(self, PyObject* step)
    cdef Unusual more(self)
    cdef int publish(self, PyObject* loop, PyObject* task) except -1
    cdef int look(self) except -1
    cdef int enter_graph(self, object task, object loop) except -1
    cdef int64_t limit(self, object loop) except? -2
    cdef FSelf* asker(self) noexcept
    cdef int look_again(self) except -1
    cdef int leave_queue(self) except -1
    cdef int end_unusual(self) except -1
    cdef int look_on(self) except -1
    cdef int unpublish(self) except -1
    cdef int finish(self) except -1
    cdef int withdraw(self) except -1

cdef Acquisition acquisition(Primitive what, uint8_t mode, bint entering, PyObject* task)
cdef FSelf* agent_for(object task) except NULL
cdef FSelf* caller_known() noexcept
cdef int order_checked(Acquisition a, FLock* L, FSelf* t, uint32_t flags) except -1
cdef int unexpected(str name, dict unknown) except -1
cdef object repr_of(object self)
cdef bint is_closing(object task) except -1
cdef int tell_turn(object future) except -1
cdef object enter_by_acquire(object primitive)
cdef object ready

cdef inline FSelf* acquirer(Acquisition a) except NULL:
    """The record of whose acquisition it is, once it has waited."""
    return a.agent if a.agent != NULL and a.waiter is None else agent_for(a.owner)

cdef void* queue_type           # deque, where its length is where it is thought to be
cdef bint has_other_queue(Primitive self) except -1

cdef inline bint has_queue(Primitive self) except -1:
    """Whether the queue is not empty."""
    cdef PyObject* queue = <PyObject*>self._waiters
    if queue == <PyObject*>None:
        return False
    return Py_SIZE(queue) != 0 if FL_LIKELY(Py_TYPE(queue) == queue_type) else has_other_queue(self)

cdef inline uint32_t site_of_call(FLock* L) noexcept:
    """The running frame's site: one compare, where the lock was last taken from the same place."""
    cdef uint64_t key
    if FL_LIKELY(notes & NOTE_SITE):
        key = fl_site_key()
        if key != L.site_key:
            L.site_key = key
            L.site = site_here(key)
        return L.site
    return site_here(0) if notes else 0

cdef inline int taken_by(FLock* L, FSelf* t, uint32_t site, uint32_t flags) except -1:
    """Notes a hold of the agent's: the site, and at level order an entry of its stack."""
    cdef FHeld* h
    cdef uint64_t tag
    if FL_UNLIKELY(L.site != site):
        L.site = site
        L.site_key = 0
    t.owns += 1
    if notes & NOTE_ORDER:
        L.acquired += 1
        if FL_UNLIKELY(t.depth == t.room) and not held_grow(t):
            return 0
        h = &t.held[t.depth]
        h.lock = L
        h.flags = flags
        h.stamp = <uint32_t>fl_context_version() << 16
        tag = held_tag(L, flags)
        if t.depth == 0:
            h.chain = tag
        else:
            h.chain = chained((h - 1).chain, tag) if (h - 1).chain != 0 and tag != 0 else 0
        t.depth += 1
    return 0

cdef inline void given_by(FLock* L, FSelf* t) noexcept:
    """Ends a hold of the agent's; the word, or the list of shares, is the caller's to clear."""
    t.owns -= 1
    note_given(L, t)
    if t.task != NULL and t.watch == NULL:
        task_rest(t)

cdef inline int refused(FSelf* t) except -1:
    """Not to be had now: gives a record back that was made for nothing."""
    if t.task != NULL:
        task_rest(t)
    return 0
