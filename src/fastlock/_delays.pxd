# cython: language_level=3
"""How long locks were waited for, by class. See _delays.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FNode

cdef enum:
    BUCKETS = 12               # the last one has no upper bound
    KIND_BITS = 8              # of a class's key where it has no name

cdef struct FWaited:
    # One class, or all that have no record of their own.
    uint64_t contentions       # waits that have begun
    uint64_t ended[12]         # those that are over, by how long they were
    int64_t waited_ns          # and all of them together
    void* label                # the class, a str that is kept; NULL: it is a creation site
    uint32_t created           # that site
    uint8_t kind

cdef inline uint64_t key_of_site(uint32_t created, uint8_t kind) noexcept:
    """The key of a class that is a creation site."""
    return <uint64_t>created << KIND_BITS | kind

cdef FWaited* wait_began(FLock* L, FNode* n) except? NULL
cdef FWaited* wait_began_again(FLock* L, FWaited** known) except NULL
cdef void wait_ended(FWaited* w, int64_t since_ns) noexcept
