# cython: language_level=3
"""Who waits for a lock, and who gets it next. See _park.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FNode, FSelf

cdef enum:
    WAITING = 0
    TAKEN = 1

cdef FNode* wait_push(FSelf* me, FLock* L, uint8_t mode, uint8_t flags, int64_t timeout_ns, uint32_t site) noexcept nogil
cdef void wait_pop(FSelf* me, FNode* n) noexcept nogil
cdef FNode* task_wait_push(FSelf* t, FSelf* asker, FLock* L, uint8_t mode, int64_t timeout_ns, uint32_t site, int64_t now) noexcept nogil
cdef void task_wait_pop(FSelf* t, FLock* L, FNode* n) noexcept nogil

cdef int enter(FLock* L, FNode* n) noexcept nogil
cdef int settle(FLock* L, FNode* n) noexcept nogil
cdef int leave(FLock* L, FNode* n) noexcept nogil
cdef int suspend(FLock* L, FNode* n) noexcept nogil
cdef int resume(FLock* L, FNode* n) noexcept nogil

cdef int try_take(FLock* L, FSelf* me, uint8_t mode, uint8_t flags) noexcept nogil
cdef bint give_back(FLock* L) noexcept nogil
cdef void give_read(FLock* L, FSelf* me) noexcept nogil
cdef void give_upgradable(FLock* L, FSelf* me) noexcept nogil
cdef void give_permits(FLock* L, int64_t permits, FSelf* me) noexcept nogil
cdef uint32_t notify(FLock* L, int64_t count, FSelf* me, FLock* guard) noexcept nogil
cdef void pay(FSelf* me) noexcept nogil
cdef void set_flag(FLock* L) noexcept nogil
cdef void forget(FLock* L) noexcept nogil
cdef bint revocable(uint64_t word) noexcept nogil
