# cython: language_level=3
"""Whether the GIL moves while somebody waits. See _stall.pyx."""
from libc.stdint cimport int64_t

from fastlock._table cimport FSelf

cdef int park(FSelf* me, int64_t timeout_ns) noexcept nogil
