# cython: language_level=3
"""asyncio's RWLock: see _aio_rwlock.pyx."""
from libc.stdint cimport uint32_t

from fastlock._aio cimport Acquisition
from fastlock._aio_shared cimport SharedPrimitive
from fastlock._table cimport FSelf

cdef class RWLock(SharedPrimitive):
    cdef object owner                   # keeps the task that writes; None while a callback does, or nobody
    cdef object reader, writer

    cdef uint32_t wanted_shared(self) noexcept
    cdef bint lets_read(self) except -1
    cdef bint lets_write(self) except -1
    cdef int take_read(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1
    cdef int take_write(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1
    cdef int take_for(self, Acquisition a, FSelf* t) except -1
    cdef int give_read(self, bint leaving) except -1
    cdef int ended_read(self) except -1
    cdef int give_write(self, bint leaving) except -1
    cdef int ended_write(self) except -1
    cdef int pass_on(self) except -1
    cdef int let_in(self, Acquisition a) except -1
