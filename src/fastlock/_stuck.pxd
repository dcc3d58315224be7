# cython: language_level=3
"""Who can never run: see _stuck.pyx."""
from libc.stdint cimport int64_t, uint32_t

from fastlock._needs cimport Copy

cdef class Look:
    cdef Copy copy
    cdef uint32_t* parent      # union-find of those who are stuck together
    cdef readonly bint nothing_runs     # in the whole process
    cdef readonly object natives        # threads of C code; None: not known
    cdef readonly bint handlers
    cdef dict calls            # what a thread is in, by ident, where it is one of a queue's
    cdef dict awaited          # threads for whose end the main one waits at the interpreter's end, each with that one
    cdef frozenset wanted      # ids of tasks for whose end somebody waits
    cdef list groups           # of agents' indices, whoever is worst off first

    cdef bint is_stuck(self, uint32_t i) noexcept nogil
    cdef bint is_victim(self, uint32_t i) except -1
    cdef bint holds_still(self, list group) except -1

cdef list wakers_in(Copy* c, uint32_t need)
