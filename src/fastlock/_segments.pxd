# cython: language_level=3, binding=False
"""Happens-before: an agent's life in segments, each of which knows what came right before it (start, join)."""
from libc.stdint cimport uint32_t, uint64_t

from fastlock._pool cimport List, Pool

cdef struct Segment:
    uint32_t first_use         # slot of the first successor's reference to this segment, 0: none; also links the unused
    uint32_t refs              # agents and witnesses
    uint64_t number            # order of creation, never used again: predecessors have smaller ones
    uint32_t pred[2]           # 0: none; pred[0] is filled first
    uint32_t next_use[2]       # this segment's slots in their predecessors' lists; a slot is 2 * segment + which
    uint32_t prev_use[2]
    uint32_t stamp
    bint loose                 # on the list of those to look at

cdef struct Verdict:
    uint64_t a
    uint64_t b
    bint before

cdef struct Segments:
    Pool pool
    uint64_t number
    uint32_t stamp
    List walk
    List loose
    Verdict verdicts[256]      # numbers of segments, so they stay true

cdef bint segments_open(Segments* s, uint32_t limit) noexcept nogil
cdef void segments_close(Segments* s) noexcept nogil
cdef uint32_t segment_new(Segments* s, uint32_t pred1, uint32_t pred2) noexcept nogil
cdef void segment_ref(Segments* s, uint32_t i) noexcept nogil
cdef void segment_unref(Segments* s, uint32_t i) noexcept nogil
cdef bint segment_before(Segments* s, uint32_t a, uint32_t b) noexcept nogil

cdef inline Segment* segment_at(Segments* s, uint32_t i) noexcept nogil:
    return &(<Segment*>s.pool.chunks[i >> 8])[i & 255]
