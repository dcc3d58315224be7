# cython: language_level=3
"""asyncio's Semaphore: see _aio_semaphores.pyx."""
from libc.stdint cimport int64_t, uint32_t

from fastlock._aio_shared cimport SharedPrimitive
from fastlock._table cimport FSelf

cdef class Semaphore(SharedPrimitive):
    cdef object value                   # what the count is called where it is `base`, if that is no int of 62 bits; else None
    cdef int64_t base

    cdef int count_from(self, object value) except -1
    cdef int give(self) except -1
    cdef int note(self, object owner, FSelf* t, uint32_t site) except -1
    cdef bint wake_next(self) except -1
    cdef int wake_all(self) except -1
