# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
"""Happens-before by Thread.start and Thread.join: which orders of locks can never meet.

A thread's life is cut into segments, a new one at each start or join; the graph keeps their partial order, and each
witness names the segment it was seen in. A Clock hangs on the Thread object: made by whoever starts the thread, taken up
by the thread when it first shows the graph something, read by whoever joins it. It owns the reference to the segment, so
a segment lives as long as its thread's object, a witness from it, or a segment after it. Guard: the GIL.

A thread without a Thread object, or started before level order was first on, has no predecessors: it counts as parallel to all.
"""
from libc.stdint cimport uint32_t

from fastlock._classes cimport graph
from fastlock._graph cimport clock_new, clock_unref
from fastlock._native cimport fl_finalizing
from fastlock._table cimport FSelf, agent_of, current_agent, mix

import sys

cdef str ATTRIBUTE = "_fastlock_clock"
cdef uint32_t jobs = 0
cdef bint following = False


cdef class Clock:
    """The segment that a thread is in, or ended in."""
    cdef uint32_t segment
    cdef unsigned long long agent       # its word, once it has taken the clock up

    def __dealloc__(self):
        cdef FSelf* s = agent_of(self.agent)
        if s != NULL and s.clock == self.segment:
            s.clock = 0
        if self.segment:
            clock_unref(graph, self.segment)

    cdef void advance(self, FSelf* me, uint32_t joined) noexcept:
        """Begins a new segment after this one, and after `joined`."""
        cdef uint32_t after = clock_new(graph, self.segment, joined)
        if after == 0:
            return          # no memory: what follows counts as the same segment
        if self.segment:
            clock_unref(graph, self.segment)
        self.segment = after
        self.show(me)

    cdef void show(self, FSelf* me) noexcept:
        self.agent = me.word
        me.clock = self.segment
        me.salt = mix(me.word, me.clock)


cdef Clock clock_of(object thread):
    clock = thread.__dict__.get(ATTRIBUTE)
    return clock if type(clock) is Clock else None


cdef Clock own_clock(FSelf* me):
    """The running thread's clock, made where it has none; None for a thread that threading does not know."""
    cdef Clock clock
    threading = sys.modules.get("threading")
    active = getattr(threading, "_active", None)
    thread = active.get(me.pub.ident) if active is not None else None
    if thread is None:
        return None
    clock = clock_of(thread)
    if clock is None:
        clock = Clock.__new__(Clock)
        clock.segment = clock_new(graph, 0, 0)
        thread.__dict__[ATTRIBUTE] = clock
    if me.clock != clock.segment:
        clock.show(me)
    return clock


cdef void place_in_time(FSelf* me) noexcept:
    """Before the agent shows the graph something: when it does so, and for which piece of work."""
    if fl_finalizing() or me.task != NULL:      # what a task does is ordered by nothing that is followed here
        return
    if me.clock == 0:
        own_clock(me)
    me.job = job_here()


def follow():
    """Starts and joins count from here on: also below level order, for what they put in order may be from before and after."""
    global following
    following = True


def started(thread):
    """Called by the starting thread, before `thread` starts: what came before here comes before all of it."""
    cdef FSelf* me
    cdef Clock mine, its
    if not following or clock_of(thread) is not None:
        return
    me = current_agent()
    mine = own_clock(me)
    if mine is None:
        return
    its = Clock.__new__(Clock)
    its.segment = clock_new(graph, mine.segment, 0)
    thread.__dict__[ATTRIBUTE] = its
    mine.advance(me, 0)


def joined(thread):
    """Called by the joining thread, once `thread` has ended: all of it comes before what follows here."""
    cdef FSelf* me
    cdef Clock mine, its = clock_of(thread)
    if not following or its is None:
        return
    me = current_agent()
    mine = own_clock(me)
    if mine is not None and its is not mine:
        mine.advance(me, its.segment)


# ---- jobs -------------------------------------------------------------------------------------------------------

cdef uint32_t job_here():
    """Which piece of work the running pool thread does, 0 where it is none: two pieces could run at the same time.

    Asked for only when the graph is to learn something, so the pools need not be changed.
    """
    futures = sys.modules.get("concurrent.futures.thread")
    pool = sys.modules.get("multiprocessing.pool")
    item = getattr(futures, "_WorkItem", None)
    runs = getattr(getattr(item, "_fastlock_run", getattr(item, "run", None)), "__code__", None)    # the stdlib's own, which ours calls
    works = getattr(getattr(pool, "worker", None), "__code__", None)
    if runs is None and works is None:
        return 0
    try:
        frame = sys._getframe(0)
    except ValueError:
        return 0
    while frame is not None:
        if frame.f_code is runs:
            return number_of(frame.f_locals["self"])
        if frame.f_code is works:
            of = frame.f_locals
            return <uint32_t>(hash((of.get("job"), of.get("i"))) & 0x7FFFFFFF) + 1
        frame = frame.f_back
    return 0


cdef uint32_t number_of(object item):
    """A number that no other work item has."""
    global jobs
    number = item.__dict__.get("_fastlock_job")
    if number is None:
        jobs += 1
        number = item.__dict__["_fastlock_job"] = jobs & 0x7FFFFFFF or 1
    return number
