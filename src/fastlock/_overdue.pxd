# cython: language_level=3
"""When stalls are looked for: see _overdue.pyx."""
from libc.stdint cimport int64_t

cdef int wait_is_late() except -1
