# cython: language_level=3
"""A copy of who waits for what and who could end that, and who of them can run: see _copy.pyx."""
from libc.stdint cimport uint32_t

from fastlock._needs cimport Copy, Need

cdef enum:  # what settle() takes for able to run, beside who is
    SOMEBODY = 1       # anybody: what waits for ANYBODY
    WOKEN = 2          # whatever waits to be woken, so that only locks, permits and results are left
    YOUNG = 4          # whoever waits since after `young_ns`
    LOCKED = 8         # whoever cannot run for locks alone (settled with WOKEN before): marked `locked`
    SOMEBODY_RUNS = 13 # LOCKED, SOMEBODY, YOUNG: somebody in the process can run

cdef bint copy_open(Copy* c) noexcept nogil
cdef void copy_close(Copy* c) noexcept nogil
cdef bint copy_some(Copy* c, dict others) noexcept
cdef void copy_end(Copy* c) noexcept nogil
cdef void settle(Copy* c, int able) noexcept nogil
cdef bint still_waits(Copy* c, uint32_t i) noexcept nogil
cdef bint still_needs(Copy* c, Need* need) noexcept nogil
