# cython: language_level=3
"""What readers outside see of locks that somebody waits for: see _contended.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FSelf

cdef struct FContended:
    # A lock that somebody has waited for, 64 bytes in the mapping (docs/table.md): what is told of it is true while `waited` is. Guard: the
    # lock's bucket mutex; the names are written under the GIL, once.
    uint32_t seq               # odd: being written
    uint32_t lock              # its index; the next free record
    uint64_t serial            # 0: unused
    uint64_t owner             # lock word of the owner, with W_OFFERED and W_WITH
    int64_t count              # RLock: re-entries; RWLock: readers; Semaphore: permits
    uint32_t limit             # Semaphore: initial permits
    uint32_t site              # where the owner took it; 0: not known (yet)
    uint32_t created
    uint32_t name              # offset in strings
    uint32_t lock_class
    uint32_t shares            # the first FShown of who holds it together with others; 0: none
    uint32_t more              # of whom so many are not listed
    uint8_t kind
    uint8_t marks
    uint8_t waited             # somebody waits for it now
    uint8_t named

cdef FContended* contended_of(FLock* L) noexcept nogil
cdef void contended_named(FLock* L, uint32_t name, uint32_t lock_class) noexcept nogil
cdef void contended_sync(FLock* L) noexcept nogil
cdef void contended_refresh(FLock* L) noexcept nogil
cdef void contended_watch(FLock* L) noexcept nogil
cdef void contended_taken(FLock* L) noexcept nogil
cdef void contended_shared(FLock* L, FSelf* s) noexcept nogil
cdef void contended_share(FLock* L, FSelf* s) noexcept nogil
cdef void contended_rescan(FLock* L) noexcept nogil
cdef void contended_overtaken(FLock* L) noexcept nogil
cdef void contended_close(FLock* L) noexcept nogil
cdef void contended_rests(FLock* L) noexcept nogil
cdef void contended_again(FLock* L) noexcept nogil
cdef uint32_t shown_chain(uint32_t first, uint32_t length) noexcept nogil
