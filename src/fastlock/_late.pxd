# cython: language_level=3
"""Tasks' waits that last too long: see _late.pyx."""
from fastlock._table cimport FLock, FNode

cdef int task_waits(FLock* L, FNode* n) except -1
