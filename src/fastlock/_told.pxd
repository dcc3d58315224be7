# cython: language_level=3
"""What was asked of asyncio and answered: see _told.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FSelf

cdef enum:  # how one agent depends on another; the words are _facts'
    BY_LOCK = 0        # it waits for a lock, or for nothing
    BY_LOOP = 1        # a task whose loop's thread is blocked
    BY_TASK = 2        # awaits it; from here on told
    BY_GATHER = 3
    BY_GROUP = 4
    BY_WAIT = 5
    BY_JOB = 6         # work in another thread
    BY_POOL = 7        # work that is queued in a pool
    BY_TOLD = 8        # how many

cdef struct Told:
    FSelf* who
    FSelf* whom                # NULL: any worker of `pool`
    FLock* pool
    uint64_t token             # what is awaited, by address: told twice, it is one wait that lasts
    uint32_t site              # where it awaits
    uint32_t next              # number + 1 of the next one of the same agent
    uint8_t how

cdef bint told_wait(FSelf* who, FSelf* whom, uint8_t how, uint32_t site, uint64_t token) noexcept nogil
cdef bint told_pool(FSelf* who, FLock* pool, uint32_t site, uint64_t token) noexcept nogil
cdef bint told_holder(FLock* L, uint64_t serial, uint64_t placed, FSelf* holder) noexcept nogil
cdef Told* told_at(uint32_t number) noexcept nogil
cdef Told* told_between(FSelf* who, FSelf* whom, FLock* pool) noexcept nogil
cdef FSelf* holder_told(FLock* L) noexcept nogil
cdef void told_withdraw() noexcept nogil

cdef void loose_clear() noexcept nogil
cdef void loose_task(FSelf* t) noexcept nogil
cdef void loose_lock(FLock* L) noexcept nogil
cdef uint32_t loose_tasks() noexcept nogil
cdef uint32_t loose_locks() noexcept nogil
cdef FSelf* loose_task_at(uint32_t i) noexcept nogil
cdef FLock* loose_lock_at(uint32_t i) noexcept nogil
