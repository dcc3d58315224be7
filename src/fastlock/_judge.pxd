# cython: language_level=3, binding=False
"""Whether a circle of classes can become a deadlock: which witnesses of its edges go together, and what speaks against it."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._evidence cimport Evidence
from fastlock._graph_types cimport GStats
from fastlock._pool cimport Map, Pool
from fastlock._segments cimport Segments
from fastlock._topology cimport Topology

cdef enum:  # Record.tier, and what a search answers
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

cdef struct Path:
    # Links chosen so far, or a result.
    uint32_t n
    uint32_t doubts
    uint32_t edges[16]
    uint32_t witnesses[16]

cdef struct Judge:
    Topology* order
    Evidence* evidence
    Segments* segments
    Pool records
    Map by_key
    uint64_t counts[5]         # filtered records, by filter
    uint64_t unsearched        # edges whose component was too large to find a way round in
    uint64_t reported          # records of the other tiers
    bint news                  # an edge is watched that was not
    uint32_t budget            # steps of one search
    # scratch
    Path path
    uint32_t* along            # edges to follow, NULL: any
    uint32_t filters           # bits 1 << GF_ of those to apply
    uint8_t tier               # T_HIGH: accept no doubt
    uint32_t steps
    bint cut                   # no steps were left
    bint told                  # a circle passes that has been reported
    bint longer                # longer circles may pass

cdef bint judge_open(Judge* j, Topology* order, Evidence* evidence, Segments* segments) noexcept nogil
cdef void judge_close(Judge* j) noexcept nogil
cdef int judge_witness(Judge* j, uint32_t w, Path* out) noexcept nogil
cdef int judge_circle(Judge* j, uint32_t* edges, uint32_t n) noexcept nogil
cdef int judge_filter(Judge* j, uint32_t* edges, uint32_t n) noexcept nogil
cdef void shortest_circle(Judge* j, uint32_t edge, Path* out) noexcept nogil
cdef uint32_t record_find(Judge* j, uint32_t* edges, uint32_t n) noexcept nogil
cdef bint record_set(Judge* j, uint32_t* edges, uint32_t n, int tier, int filter, uint64_t call) noexcept nogil
cdef void records_forget_edge(Judge* j, uint32_t edge) noexcept nogil
cdef void records_restore(Judge* j, uint64_t call) noexcept nogil

cdef inline Record* record_at(Judge* j, uint32_t i) noexcept nogil:
    return &(<Record*>j.records.chunks[i >> 8])[i & 255]
