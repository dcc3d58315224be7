# cython: language_level=3
"""Who waits for whom: circles, dead owners, starved pools. See _waits.pyx."""
from fastlock._found cimport Found
from fastlock._table cimport FSelf

cdef int examine(FSelf* me, Found* found) noexcept nogil
cdef void nudge_waiters(FSelf* dead) noexcept nogil
