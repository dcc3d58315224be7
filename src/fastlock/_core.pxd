# cython: language_level=3
"""The lock types' C side, for the other primitives: see _core.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._native cimport fl_site_key
from fastlock._sites cimport site_here, site_mode
from fastlock._table cimport FLock, FNode, FSelf

cdef int level
cdef object call_handler(dict event)
cdef int block(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns, bint policy) except -1
cdef object block_to_the_end(FLock* L, FSelf* me, uint8_t flags)
cdef int wait_out(FLock* L, FSelf* me, FNode* n, bint policy, bint limited) except -1
cdef uint32_t site_now() noexcept
cdef int acquire_blocking(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns) except -1
cdef int64_t to_ns(double seconds) noexcept
cdef int64_t parse_timeout(object blocking, object timeout) except? -2
cdef object set_checked_options(FLock* L, object name, object lock_class, object timeout, bint signal, object on_deadlock)
cdef FLock* lock_made(uint8_t kind, object name, object lock_class, object timeout, bint signal, object on_deadlock) except NULL
cdef void lock_dropped(FLock* L) noexcept

cdef inline void note_site(FLock* L) noexcept:
    """Stores where the running thread takes the lock: one compare, where it was last taken from the same place."""
    cdef uint64_t key
    if site_mode == 1:
        key = fl_site_key()
        if key != L.site_key:
            L.site_key = key
            L.site = site_here(key)
    elif site_mode == 0:
        L.site_key = 0
        L.site = 0
    else:
        L.site = site_here(0)

cdef class LockType:
    cdef FLock* rec
    cdef object __weakref__

cdef class RLock:
    cdef FLock* rec
    cdef object __weakref__

cdef LockType new_lock()
cdef bint lock_take(LockType self) except -1
cdef int lock_release(LockType self) except -1
cdef int rlock_take(RLock self) except -1
cdef int rlock_release(RLock self) except -1
cdef bint is_held(FLock* L) noexcept
cdef object rlock_save(RLock self)
cdef int rlock_restore(RLock self, int64_t depth) except -1
cdef bint rlock_owned(RLock self) noexcept
