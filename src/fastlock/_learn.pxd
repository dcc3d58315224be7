# cython: language_level=3, binding=False
"""Learning: from what an agent wants and holds to edges, witnesses and circles."""
from libc.stdint cimport uint32_t

from fastlock._graph_types cimport GCircle, GLink, GWant
from fastlock._judge cimport Path
from fastlock._store cimport Store

cdef int learn(Store* s, GWant* want, GCircle* out) noexcept nogil
cdef void copy_link(Store* s, uint32_t e, uint32_t w, GLink* out) noexcept nogil
cdef void copy_circle(Store* s, Path* circle, int tier, GCircle* out) noexcept nogil
