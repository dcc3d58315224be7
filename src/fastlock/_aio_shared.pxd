# cython: language_level=3
"""asyncio's primitives that several tasks hold together: see _aio_shared.pyx."""
from libc.stdint cimport uint32_t

from fastlock._aio cimport Primitive
from fastlock._table cimport FLock, FSelf

cdef class Holders:
    cdef object unused                  # makes the garbage collector look at it
    cdef FLock* rec

cdef class SharedPrimitive(Primitive):
    cdef Holders holders

    cdef int take_share(self, object owner, FSelf* t, uint32_t site) except -1
    cdef bint drop_share(self, FSelf* t) noexcept
    cdef void drop_shares(self) noexcept
    cdef FSelf* closing_holder(self) except? NULL
    cdef int becomes_signal(self) except -1
