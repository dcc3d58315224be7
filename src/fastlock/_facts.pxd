# cython: language_level=3
"""Records as Python objects: names, events, the table. Cold; under the GIL."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FSelf
from fastlock._found cimport Found

cdef uint32_t labels_changed
cdef object lock_name(FLock* L)
cdef object lock_class(FLock* L)
cdef object site_class(uint32_t created, uint8_t kind)
cdef object agent_name(FSelf* s)
cdef dict agent_facts(FSelf* s)
cdef dict lock_facts(FLock* L, dict readers, dict waiters)
cdef dict edge_facts(uint64_t agent, FLock* holds, FLock* waits, uint32_t held_site, uint32_t wanted_site, uint8_t mode,
                     int64_t since_ns, int64_t deadline_ns)
cdef list waiters_of(FLock* L)
cdef dict blank_event(str code, FSelf* me)
cdef bytes raw_report(Found* found)
cdef Circle circle_of(Found* found)
cdef dict circle_event(Circle circle, FSelf* me)
cdef dict wait_event(str code, FSelf* me, FLock* L)
cdef object class_key(FLock* L)
cdef bint is_made_for_one(FLock* L) noexcept
cdef uint64_t found_key(Found* found) noexcept

cdef class Circle:
    cdef Found found
    cdef list kept
    cdef dict readers, waiters
