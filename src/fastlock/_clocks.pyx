# cython: language_level=3, binding=False
"""Happens-before by Thread.start and Thread.join: which orders of locks can never meet.

A thread's life is cut into segments, a new one at each start or join; the graph keeps their partial order, and each
witness names the segment it was seen in. A Clock hangs on the Thread object: made by whoever starts the thread, taken up
by the thread when it first shows the graph something, read by whoever joins it. It owns the reference to the segment, so
a segment lives as long as its thread's object, a witness from it, or a segment after it. Guard: the GIL.

A thread without a Thread object, or started below level order, has no predecessors: it counts as parallel to all.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastlock._classes cimport graph
from fastlock._graph cimport clock_new, clock_ref, clock_unref
from fastlock._native cimport fl_finalizing
from fastlock._table cimport A_ALIVE, FSelf, agent_of, current_agent, mix

import sys

cdef extern from "Python.h":
    object PyObject_GenericGetAttr(object, object)

cdef str ATTRIBUTE = "_fastlock_clock"
cdef uint32_t jobs = 0


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


cdef void adopt_clock(FSelf* me) noexcept:
    """Before the agent shows the graph something."""
    if me.clock == 0 and not fl_finalizing():
        own_clock(me)


def started(thread):
    """Called by the starting thread, before `thread` starts: what came before here comes before all of it."""
    cdef FSelf* me = current_agent()
    cdef Clock mine = own_clock(me)
    cdef Clock its
    if mine is None or clock_of(thread) is not None:
        return
    its = Clock.__new__(Clock)
    its.segment = clock_new(graph, mine.segment, 0)
    thread.__dict__[ATTRIBUTE] = its
    mine.advance(me, 0)


def joined(thread):
    """Called by the joining thread, once `thread` has ended: all of it comes before what follows here."""
    cdef FSelf* me = current_agent()
    cdef Clock mine = own_clock(me)
    cdef Clock its = clock_of(thread)
    if mine is not None and its is not None and its is not mine:
        mine.advance(me, its.segment)


def began_job():
    """Called by a pool's thread before each piece of work: what two of them do could be done at the same time."""
    global jobs
    cdef FSelf* me = current_agent()
    jobs = jobs + 1 if jobs < 0xFFFFFFFF else 1
    me.job = jobs
