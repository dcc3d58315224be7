# cython: language_level=3
"""Lock classes: nodes of the lock-order graph, and what is counted for each. See _classes.pyx."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._graph cimport FGraph, G_EDGE_BITS, graph_count
from fastlock._table cimport FLock, FSelf

cdef enum:
    CONSUMERS = 5              # distinct agents that are told apart; what is asked is whether there are more than two

cdef struct FClass:
    uint64_t acquired          # by locks that are gone; the living ones count for themselves
    uint64_t contended
    uint64_t number            # of no other class before: nodes are used again, and what was known of them must not be
    uint64_t consumers[5]
    uint32_t created           # site
    uint32_t live
    uint8_t kind
    uint8_t by_instance        # its locks are taken under each other: instances are told apart

cdef FGraph* graph
cdef uint32_t class_of(FLock* L) except? 0
cdef FClass* class_at(uint32_t node) noexcept nogil
cdef object class_label(uint32_t node)
cdef object class_name(uint32_t node)
cdef bint class_split(uint32_t node) noexcept
cdef void class_contended(FLock* L, FSelf* me) noexcept
cdef int class_written(FLock* L, bint learning) except -1
cdef void class_died(FLock* L) noexcept

cdef inline uint64_t pair_settle(FLock* L) noexcept:
    """Gives the edge of the lock's last pair what was counted since, and returns how much: nothing where the edge has gone."""
    cdef uint64_t n = L.pair_count & ((<uint64_t>1 << G_EDGE_BITS) - 1)
    if L.pair_edge == 0 or n == 0:
        return 0
    L.pair_count -= n
    return n if graph_count(graph, L.pair_count | L.pair_edge, n) else 0
