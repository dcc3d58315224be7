# cython: language_level=3
"""asyncio's Lock and RLock: see _aio_locks.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from fastlock._aio cimport Primitive
from fastlock._table cimport FSelf

cdef class Lock(Primitive):
    cdef object owner                   # keeps the task whose word this is; None while a callback holds it, or nobody
    cdef int64_t count                  # RLock: re-entries

    cdef int hear_end(self, FSelf* t) except -1
    cdef int take(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1
    cdef int free(self) except -1

cdef class RLock(Lock):
    cdef bint owned_by(self, PyObject* task) noexcept
    cdef int leave(self) except -1

cdef object lock_enter(Lock self, PyObject* task)
cdef object rlock_enter(RLock self)
