# cython: language_level=3, binding=False
"""Circles of the lock-order graph that have been judged."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._pool cimport Map, Pool
from fastlock._topology cimport Topology

cdef enum:  # Record.tier, and what judge_witness answers
    T_FILTERED = 0
    T_POSSIBLE = 1
    T_HIGH = 2
    T_NONE = 3         # judge_witness: the edge is on no circle
    T_TOLD = 4         # judge_witness: the best one has been reported

cdef struct Record:
    # A circle of edges, as it was last judged. It goes with the first of its edges that goes.
    uint32_t n                 # also links the unused; 0 while unused
    uint8_t tier
    uint8_t filter             # GF_, where the tier is T_FILTERED
    bint existed               # what stood before `call`, to be restored when that is retracted
    uint8_t tier_before
    uint8_t filter_before
    uint64_t call
    uint64_t key
    uint32_t edges[16]         # the smallest first

cdef struct Records:
    Topology* order
    Pool pool
    Map by_key
    uint64_t filtered[5]       # records, by filter
    uint64_t reported          # records of the other tiers
    bint news                  # an edge is watched that was not

cdef bint records_open(Records* a, Topology* order) noexcept nogil
cdef void records_close(Records* a) noexcept nogil
cdef uint64_t records_bytes(Records* a) noexcept nogil
cdef uint32_t record_find(Records* a, uint32_t* edges, uint32_t n) noexcept nogil
cdef bint record_set(Records* a, uint32_t* edges, uint32_t n, int tier, int filter, uint64_t call) noexcept nogil
cdef void records_forget_edge(Records* a, uint32_t edge) noexcept nogil
cdef void records_restore(Records* a, uint64_t call) noexcept nogil

cdef inline Record* record_at(Records* a, uint32_t i) noexcept nogil:
    return &(<Record*>a.pool.chunks[i >> 8])[i & 255]
