# cython: language_level=3
"""Who started and joined whom: see _clocks.pyx."""
from fastlock._table cimport FSelf

cdef void place_in_time(FSelf* me) noexcept
