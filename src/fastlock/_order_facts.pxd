# cython: language_level=3
"""The order graph and its circles as Python objects: see _order_facts.pyx."""
from fastlock._graph cimport GCircle, GLink
from fastlock._table cimport FLock, FSelf

cdef dict inversion_event(GCircle* circle, FLock* L, FSelf* me)
cdef dict rank_event(FLock* L, FSelf* me)
cdef tuple circle_facts(GCircle* circle)
cdef dict edge_facts(GLink* link, set cyclic)
cdef dict graph_facts(list circles, list edges, dict at, dict acquired)
