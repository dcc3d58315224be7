# cython: language_level=3
"""Records as Python objects: names, events, the table. Cold; under the GIL."""
from libc.stdint cimport uint64_t

from fastlock._table cimport FLock, FSelf
from fastlock._waits cimport Found

cdef object options_of(FLock* L)
cdef void set_options(FLock* L, object name, object lock_class, object timeout_s, object on_deadlock) except *
cdef void drop_options(FLock* L) noexcept
cdef object lock_name(FLock* L)
cdef object agent_name(FSelf* s)
cdef bytes raw_report(Found* found)
cdef Circle circle_of(Found* found)
cdef dict circle_event(Circle circle, FSelf* me)
cdef dict wait_event(str code, FSelf* me, FLock* L)
cdef uint64_t found_key(Found* found) noexcept

cdef class Circle:
    cdef Found found
    cdef list kept
    cdef dict readers, waiters
