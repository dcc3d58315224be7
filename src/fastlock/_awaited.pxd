# cython: language_level=3
"""A thread's waits for what agents are to bring about: see _awaited.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FNode, FSelf
from fastlock._wakers cimport FSource

cdef class Source:
    cdef FSource s
    cdef readonly str name      # of the wait for it: "result of work()"
    cdef str label              # its lock class; None: the name
    cdef uint32_t site          # where it was ordered
    cdef object task            # that brings it, where it is one
    cdef FSelf* agent           # of the task, while somebody waits
    cdef list waits             # every Awaited for it
    cdef str called(self)
    cdef int wanted(self) except -1
    cdef int rested(self) except -1
    cdef int by_task(self, object task, FSelf* thread) except -1
    cdef int by(self, uint64_t word) except -1
    cdef int over(self) except -1
    cdef int show(self) except -1

cdef class Awaited:
    cdef FLock* rec
    cdef FSelf* waiter
    cdef FNode* node
    cdef list sources           # Source, or None for what nobody knows
    cdef object task            # that waits; None: it is a thread

cdef Awaited await_begin(list sources, bint any_of, uint8_t call, str name, str label, int64_t limit_ns)
cdef Awaited await_made(uint8_t kind, uint8_t call, str name, str label, list sources, FSelf* waiter)
cdef Awaited await_unknown(uint8_t call, str name, str label, int64_t limit_ns)
cdef FNode* await_any(FSelf* me, FLock* L, uint8_t mode, int64_t limit_ns, uint32_t site) except NULL
cdef Awaited await_in_task(FSelf* t, list sources, uint8_t call, str name, str label)
cdef int attach(Awaited self, bint any_of) except -1
cdef int detach(Awaited self) except -1
cdef void await_inside(Awaited self) noexcept
cdef int await_end(Awaited self) except -1
cdef int64_t await_limit(object timeout) except? -2
cdef FSelf* thread_of(object loop) noexcept
cdef Source end_of(object thread)
cdef Awaited future_begin(object expected, uint32_t site, int64_t limit_ns)
cdef Awaited futures_begin(object expected, int64_t limit_ns)
