# cython: language_level=3
"""The order graph and its circles as Python objects: see _order_facts.pyx."""
from fastlock._graph cimport GCircle
from fastlock._table cimport FLock, FSelf

cdef dict inversion_event(GCircle* circle, FLock* L, FSelf* me)
cdef dict rank_event(FLock* L, FSelf* me)
