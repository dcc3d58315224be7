# cython: language_level=3
"""Waits of threads for tasks, and of tasks for threads: see _results.pyx."""
from libc.stdint cimport uint64_t

cdef uint64_t job_word(object future) noexcept
