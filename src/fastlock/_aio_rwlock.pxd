# cython: language_level=3
"""asyncio's RWLock: see _aio_rwlock.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from fastlock._aio cimport Acquisition
from fastlock._aio_shared cimport SharedPrimitive
from fastlock._table cimport FSelf

cdef class RWLock(SharedPrimitive):
    cdef object owner                   # keeps the task that writes; None while a callback does, or nobody
    cdef object upgrader                # keeps the task that has the upgradable share; None while a callback does, or nobody
    cdef object reader, writer
    cdef object upgradable_reader       # made when it is first asked for

    cdef uint32_t wanted(self, uint8_t mode, object owner) noexcept
    cdef bint may_upgrade(self, object owner) noexcept
    cdef int64_t shares_of(self, object owner) noexcept
    cdef bint is_alone(self, object owner) noexcept
    cdef bint upgradable_is_free(self, object owner) noexcept
    cdef bint writer_waits(self) except -1
    cdef int take_upgradable(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1
    cdef int give_upgradable(self, bint leaving) except -1
    cdef int ended_upgradable(self) except -1
    cdef int take_read(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1
    cdef int take_write(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1
    cdef int take_for(self, Acquisition a, FSelf* t) except -1
    cdef int give_read(self, bint leaving) except -1
    cdef bint drop_read(self, FSelf* t) noexcept
    cdef int ended_read(self) except -1
    cdef int give_write(self, bint leaving) except -1
    cdef int ended_write(self) except -1
    cdef int pass_on(self) except -1
    cdef int let_in(self, Acquisition a) except -1
