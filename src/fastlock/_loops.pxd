# cython: language_level=3
"""Synchronous locks in a thread that runs an event loop. See _loops.pyx."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastlock._native cimport FL_LIKELY, FL_UNLIKELY, fl_context_version, fl_step
from fastlock._table cimport M_PLACED, FLock, FSelf, held_remove

cdef int armed                  # places whose next acquire is to be looked at
cdef int looked_at              # acquires that are being looked at

cdef bint stacks                # some task has had a held stack

cdef FSelf* find_owner(FSelf* me, bint make) noexcept
cdef int look_at(FLock* L) except -1
cdef void is_looked_at(FLock* L) noexcept
cdef void arm(uint64_t key) noexcept


cdef inline FSelf* stack_owner(FSelf* me) noexcept:
    """Whose stack holds what the running thread takes at level order: the task's, which keeps its record from then on, or the thread's.

    No other task runs in the same step: who it is, is asked once for each.
    """
    if FL_LIKELY(me.step == fl_step()):
        return me.now
    return find_owner(me, True)


cdef inline bint in_one_step(FSelf* t, uint16_t now) noexcept:
    """Whether all that the task holds was taken since it was resumed last: no other task of the thread has seen it held."""
    cdef uint32_t i
    for i in range(t.depth):
        if t.held[i].stamp >> 16 != now:
            return False
    return True


cdef inline void given_in_loop(FLock* L, FSelf* me) noexcept:
    """What there is to do in a loop's thread before it lets an exclusive hold go, above what note_given does for the thread."""
    if L.marks & M_PLACED:
        L.marks &= ~<uint8_t>M_PLACED
        if FL_UNLIKELY(<uint16_t>(L.placed >> 48) != fl_context_version()):
            arm(<uint64_t>L.created << 32 | L.site)
    share_given_in_loop(L, me)


cdef inline void share_given_in_loop(FLock* L, FSelf* me) noexcept:
    """Takes the lock off the running task's stack: also below level order, where it may be from before."""
    cdef FSelf* t
    if stacks:
        t = me.now if me.step == fl_step() else find_owner(me, False)
        if t == me or t.depth == 0:
            return
        if FL_LIKELY(t.held[t.depth - 1].lock == L):
            t.depth -= 1
        else:
            held_remove(t, L)
