# cython: language_level=3
"""Who holds shares or permits of asyncio's locks: see _shares.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastlock._table cimport FLock, FSelf

cdef struct FShare:
    # An agent's place among those who hold a lock together. Guard: the GIL; shares_lock() where there is none.
    FSelf* agent
    PyObject* task             # strong reference, NULL for a thread
    FShare* next
    FShare* prev
    uint32_t number            # of the record

cdef int share_add(FSelf* t, PyObject* task, FLock* L, uint32_t site) except -1
cdef bint share_drop(FSelf* t, FLock* L, PyObject** task) noexcept
cdef FShare* first_share(FLock* L) noexcept nogil
cdef void shares_lock() noexcept nogil
cdef void shares_unlock() noexcept nogil
