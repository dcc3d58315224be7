# cython: language_level=3
"""Waits for the end of a thread or a process: see _joins.pyx."""
from libc.stdint cimport int64_t

cdef int64_t limit_of(object timeout) except? -2
