# cython: language_level=3
"""Waits of tasks in asyncio's own graph: see _awaits.pyx."""
from fastlock._table cimport FLock

cdef bint publishing
cdef object awaits_begin(FLock* L, object waiter, object loop)
cdef int awaits_moved(FLock* L) except -1
cdef int awaits_end(object entry) except -1
