# cython: language_level=3
"""How a thread blocks: see _block.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport M_POLICY, FLock, FNode, FSelf
from fastlock._found cimport Found

cdef object call_handler(dict event)
cdef void show_ignored(object error, object where) noexcept
cdef bint looking               # above level off
cdef int64_t acquire_timeout_ns
cdef int64_t slow_wait_ns
cdef int64_t limit_of(FLock* L, uint8_t mode) except? -2
cdef int acquire_blocking(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns) except -1
cdef int block(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns, bint policy) except -1
cdef object block_to_the_end(FLock* L, FSelf* me, uint8_t flags)
cdef int wait_out(FLock* L, FSelf* me, FNode* n, bint policy, bint limited) except -1
cdef object look_for_task(FLock* L, FSelf* me, FNode* n, bint policy)
cdef void wait_is_late() noexcept
cdef object task_timed_out(FLock* L, FSelf* me)
cdef uint32_t site_now() noexcept
cdef void look_for_circles(bint on) noexcept
cdef bint is_looking() noexcept
cdef int64_t slow_after() noexcept nogil
cdef bint is_kept(FLock* L) noexcept
cdef bint raw_known(uint64_t key)
cdef object write_raw(Found* found, uint64_t key)

cdef inline bint may_be_limited(FLock* L) noexcept:
    """Whether limit_of() has to be asked."""
    return L.marks & M_POLICY or acquire_timeout_ns >= 0

cdef inline int64_t to_ns(double seconds) noexcept:
    cdef double exact = seconds * 1e9
    cdef int64_t ns = <int64_t>exact
    return ns + 1 if ns < exact else ns

cdef inline int64_t sooner(int64_t a, int64_t b) noexcept:
    """The earlier of two moments, of which -1 is none."""
    return a if b < 0 or 0 <= a < b else b
