# cython: language_level=3, binding=False
"""Nodes, edges, and an order of the nodes that every edge follows, kept up to date edge by edge.

Nodes that lie on a common circle form a component. Every node has a rank of its own, and for each edge that leads from one
component to another, all ranks of the first lie below all ranks of the second. So a new edge that follows the ranks closes
no circle, and one within a component can.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._graph_types cimport G_EDGE_BITS
from fastlock._native cimport fl_cas64, fl_put64, fl_relaxed64
from fastlock._pool cimport List, Map, Pool

cdef struct Node:
    uint32_t first_out         # also links the unused
    uint32_t first_in
    uint64_t rank
    uint32_t component         # 0: alone
    uint32_t next_member
    uint32_t prev_member
    uint32_t cls               # an instance's class; 0 for a class
    uint64_t serial            # an instance's
    uint8_t writer             # a class that somebody has wanted exclusively
    uint8_t alive
    # scratch of the walks, by stamp
    uint32_t forward
    uint32_t backward
    uint32_t distance
    uint32_t number
    uint32_t low
    uint32_t cursor

cdef struct Edge:
    uint32_t tail              # also links the unused
    uint32_t head
    uint32_t next_out
    uint32_t prev_out
    uint32_t next_in
    uint32_t prev_in
    # what the graph keeps with it
    uint32_t witness           # first of a list, oldest first
    uint8_t witnesses
    uint8_t direct             # some witness is direct
    uint8_t recorded           # a circle's record names it
    uint32_t watched           # records that name it and may yet change
    uint64_t count             # generation (24) | how often (40); atomic, without the mutex; 0: no edge
    uint8_t saturated          # atomic, without the mutex

cdef struct Component:
    uint32_t first             # also links the unused
    uint32_t size
    uint32_t edges
    uint32_t debt              # edges and nodes that have gone since its members were last known to be on a circle
    uint64_t lowest
    uint64_t highest

cdef struct Ranked:
    uint64_t rank
    uint32_t node

cdef struct Topology:
    Pool nodes
    Pool edges
    Pool components
    Map by_pair
    uint64_t next_rank
    uint64_t generation        # of the newest edge
    uint64_t cyclic            # edges inside components
    uint32_t stamp
    List forward
    List backward
    List scratch
    Ranked* ranked
    uint64_t* ranks
    uint32_t ranked_room

cdef bint topology_open(Topology* t, uint32_t max_nodes, uint32_t max_edges) noexcept nogil
cdef void topology_close(Topology* t) noexcept nogil
cdef uint64_t topology_bytes(Topology* t) noexcept nogil
cdef uint32_t topology_node(Topology* t) noexcept nogil
cdef void topology_drop_node(Topology* t, uint32_t n) noexcept nogil
cdef uint32_t topology_find(Topology* t, uint32_t tail, uint32_t head) noexcept nogil
cdef uint32_t topology_insert(Topology* t, uint32_t tail, uint32_t head) noexcept nogil
cdef void topology_remove(Topology* t, uint32_t e) noexcept nogil
cdef bint topology_distances(Topology* t, uint32_t target, uint32_t start, uint32_t furthest, uint32_t* budget) noexcept nogil
cdef const char* topology_fault(Topology* t) noexcept nogil

cdef inline Node* node_at(Topology* t, uint32_t i) noexcept nogil:
    return &(<Node*>t.nodes.chunks[i >> 8])[i & 255]

cdef inline Edge* edge_at(Topology* t, uint32_t i) noexcept nogil:
    return &(<Edge*>t.edges.chunks[i >> 8])[i & 255]

cdef inline Component* component_at(Topology* t, uint32_t i) noexcept nogil:
    return &(<Component*>t.components.chunks[i >> 8])[i & 255]

cdef inline bint together(Topology* t, uint32_t a, uint32_t b) noexcept nogil:
    """Whether an edge between the two may lie on a circle."""
    cdef uint32_t c = node_at(t, a).component
    return c != 0 and c == node_at(t, b).component

cdef inline void edge_begins(Topology* t, uint32_t e) noexcept nogil:
    t.generation = (t.generation + 1) & 0xFFFFFF
    t.generation += t.generation == 0
    fl_put64(&edge_at(t, e).count, t.generation << G_EDGE_BITS)

cdef inline void edge_ends(Topology* t, uint32_t e) noexcept nogil:
    """From here on nothing is counted for it."""
    fl_put64(&edge_at(t, e).count, 0)

cdef inline uint64_t edge_ref(Topology* t, uint32_t e) noexcept nogil:
    """An edge for those who keep it without the mutex."""
    return fl_relaxed64(&edge_at(t, e).count) >> G_EDGE_BITS << G_EDGE_BITS | e

cdef inline uint64_t edge_count(Edge* edge) noexcept nogil:
    return fl_relaxed64(&edge.count) & ((<uint64_t>1 << G_EDGE_BITS) - 1)

cdef inline bint is_edge(Topology* t, uint64_t ref) noexcept nogil:
    """Whether the edge is still there; no mutex, for records stay where they are."""
    return ref != 0 and (fl_relaxed64(&edge_at(t, <uint32_t>ref).count) ^ ref) >> G_EDGE_BITS == 0

cdef inline bint edge_counts(Topology* t, uint64_t ref, uint64_t n) noexcept nogil:
    """Adds to an edge's count, which stops at its most; False where the edge has gone. Compared and added in one step,
    so that what comes late is never given to the edge that has taken the place."""
    cdef uint64_t most = (<uint64_t>1 << G_EDGE_BITS) - 1
    cdef uint64_t* count = &edge_at(t, <uint32_t>ref).count
    cdef uint64_t known
    while True:
        known = fl_relaxed64(count)
        if ref == 0 or (known ^ ref) >> G_EDGE_BITS:
            return False
        if fl_cas64(count, known, known + min(n, most - (known & most))):
            return True
