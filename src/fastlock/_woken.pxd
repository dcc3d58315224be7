# cython: language_level=3
"""Who has woken a condition, an event, a barrier or a signal semaphore: see _woken.pyx."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._native cimport FL_LIKELY
from fastlock._table cimport FLock, FSelf

cdef enum:
    MOST_WAKERS = 12

cdef enum:  # Woken.flags: sticky
    BY_STRANGER = 1    # a thread that threading has not started: C code's, or one of _thread's
    BY_MANY = 2        # more than MOST_WAKERS that lived at once
    BY_TURNS = 4       # somebody new came after one had ended: those who wake it come and go

cdef struct Woken:
    uint64_t words[MOST_WAKERS]     # agents; the record of one that has ended may be another's by now
    uint64_t counts[MOST_WAKERS]    # how often each has woken it; of `last` the lock's record has it
    uint32_t n
    uint32_t forgotten              # had ended, and made room
    uint32_t flags

cdef void another_wakes(FLock* L, FSelf* me) noexcept
cdef Woken* woken_of(FLock* L) noexcept nogil
cdef void woken_drop(FLock* L) noexcept


cdef inline uint64_t last_waker(FLock* L) noexcept nogil:
    """The word of who woke it last, 0 for nobody."""
    return L.tag


cdef inline uint64_t last_count(FLock* L) noexcept nogil:
    """How often that one has woken it."""
    return L.acquired if L.tag != 0 else 0


cdef inline void wakes(FLock* L, FSelf* me) noexcept:
    """Notes that the running thread wakes those who wait here, whether somebody does or not: one compare, where it was the last one too."""
    if FL_LIKELY(L.tag == me.word):
        L.acquired += 1
    else:
        another_wakes(L, me)
