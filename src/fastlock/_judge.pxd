# cython: language_level=3, binding=False
"""Whether a circle of classes can become a deadlock: which witnesses of its edges go together, and what speaks against it."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._evidence cimport Evidence
from fastlock._records cimport Records
from fastlock._segments cimport Segments
from fastlock._topology cimport Topology

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
    Records* records
    uint64_t unsearched        # edges whose component was too large to find a way round in
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

cdef void judge_open(Judge* j, Topology* order, Evidence* evidence, Segments* segments, Records* records) noexcept nogil
cdef int judge_witness(Judge* j, uint32_t w, Path* out) noexcept nogil
cdef int judge_circle(Judge* j, uint32_t* edges, uint32_t n) noexcept nogil
cdef int judge_filter(Judge* j, uint32_t* edges, uint32_t n) noexcept nogil
cdef void shortest_circle(Judge* j, uint32_t edge, Path* out) noexcept nogil
