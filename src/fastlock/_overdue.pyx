# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""When stalls are looked for: as soon as a thread has waited for longer than `slow_wait`, and then more and more rarely as long as one does.

The waiter is its own timer: it says that it is late (late), once, and fastlock's own thread looks. One look is for all who are late, and from one
to the next `slow_wait` passes at least; while nobody is newly late the pause doubles, up to five minutes. A thread that ends may be the one whom
everybody waited for: where nothing else would look soon, its last destructor makes one of those that are late say so again.

A program whose waits are all shorter than `slow_wait` comes here never, and idle workers once for each of their waits.

Guard: the GIL; `due` and `late` are also read by ending threads, without it.
"""
from libc.stdint cimport int64_t, uint32_t

from fastlock._block cimport is_looking, slow_after
from fastlock._native cimport *
from fastlock._table cimport *
from fastlock._waits cimport nudge_waiters

import os

from fastlock._block import set_late_waker

cdef enum:
    COALESCED = 16              # who is late within this part of slow_wait is looked at together

cdef int64_t MOST_TOGETHER_NS = 200000000
cdef int64_t MOST_PAUSE_NS = 300000000000

cdef int64_t due = -1           # when to look; -1: nobody is late
cdef int64_t looked_ns = -1     # when the last look began; -1: never
cdef int64_t pause_ns = 0       # to the next one, if nobody says anything
cdef object waker = None        # makes the thread that looks ask due_ns() again


def late():
    """Called by a thread that has waited for longer than slow_wait."""
    global due, pause_ns
    cdef int64_t gap = slow_after(), at
    if gap < 0:
        return
    at = fl_now_ns() + min(gap // COALESCED, MOST_TOGETHER_NS)
    if looked_ns >= 0:
        at = max(at, looked_ns + gap)
    pause_ns = gap
    if due >= 0 and due <= at:
        return
    fl_put_ns(&due, at)
    if waker is not None:
        waker()


cdef void nudge(FSelf* dead) noexcept nogil:
    """In an ending thread, without the GIL: who waits for its locks looks again, and one who is late says so again."""
    cdef int64_t gap = slow_after(), now
    cdef uint32_t i
    cdef FSelf* s
    cdef FNode* n
    nudge_waiters(dead)
    if fl_get_ns(&due) < 0 or gap < 0:
        return
    now = fl_now_ns()
    if fl_get_ns(&due) <= now + gap:
        return
    for i in range(1, agent_limit()):
        s = agent_at(i)
        n = <FNode*>fl_load64(&s.top)
        if s == dead or s.parker == NULL or n == NULL or fl_get8(&n.state) != N_QUEUED or now - fl_get_ns(&n.since_ns) < gap:
            continue
        fl_store8(&s.recheck, 1)
        fl_parker_post(s.parker)
        return


def set_waker(new_waker):
    """waker() is called in the waiting thread when due_ns() has become earlier."""
    global waker
    waker = new_waker


def due_ns():
    """When to look next, by CLOCK_MONOTONIC; -1 for never."""
    return due


def begins():
    """A look begins: returns the time before which a wait must have begun to be late, -1 where nothing is looked for."""
    global due, looked_ns
    looked_ns = fl_now_ns()
    fl_put_ns(&due, -1)
    return looked_ns - slow_after() if is_looking() and slow_after() >= 0 else -1


def gap_ns():
    """How long who waits is not late, in nanoseconds; -1 where nobody looks."""
    return slow_after() if is_looking() and slow_after() >= 0 else -1


def ends(int64_t late_ns, bint resting):
    """A look has ended: the next one is due where some thread that waits since before then still does, or some loop has nothing to run (`resting`)."""
    global due, pause_ns
    cdef int64_t at = fl_now_ns() + pause_ns
    cdef uint32_t i
    cdef FSelf* s
    for i in range(1, agent_limit()):
        if resting:
            break
        s = agent_at(i)
        resting = s.task == NULL and s.top != NULL and fl_load8(&s.pub.state) == A_ALIVE and s.top.since_ns <= late_ns and s.top.deadline_ns < 0
    if resting and (due < 0 or due > at):
        fl_put_ns(&due, at)
    pause_ns = min(2 * pause_ns, MOST_PAUSE_NS)


def in_child():
    """In the child of a fork nobody is late yet."""
    global due, looked_ns
    due = looked_ns = -1


set_late_waker(late)
set_death_callback(nudge)
os.register_at_fork(after_in_child=in_child)
