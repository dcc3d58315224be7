# cython: language_level=3
"""asyncio's Condition, for Barrier: see _aio_conditions.pyx."""
from fastlock._aio cimport Primitive

cdef class Condition(Primitive):
    cdef object lock

cdef Condition barrier_condition()
