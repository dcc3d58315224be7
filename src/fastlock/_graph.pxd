# cython: language_level=3, binding=False
"""The lock-order graph: which lock classes are wanted while which are held, and whether that can become a deadlock.

It knows numbers only: no Python object, no GIL, one mutex per graph. What is said below to need no mutex may be called by
any thread at any time; everything else takes the mutex itself. Full tables stop learning and keep checking.
"""
from libc.stdint cimport uint32_t, uint64_t

from fastlock._graph_types cimport *
from fastlock._native cimport fl_load64, fl_relaxed64

cdef struct SeenSlot:
    uint64_t key               # 0: empty; written after the value
    uint64_t value             # the edge, by reference

cdef struct SeenTable:
    uint64_t mask
    SeenTable* older           # kept: somebody may still read it
    SeenSlot* slots

cdef struct FGraph:
    # The part that is read without the mutex; _graph.pyx has the rest behind it.
    SeenTable* seen
    uint64_t epoch

cdef FGraph* graph_new(uint32_t max_nodes, uint32_t max_edges) noexcept nogil
cdef void graph_free(FGraph* g) noexcept nogil

# Classes. A node is 0 where there is no room, and 0 is ignored everywhere.
cdef uint32_t graph_node(FGraph* g) noexcept nogil
cdef void graph_drop_node(FGraph* g, uint32_t node) noexcept nogil
cdef void graph_writer(FGraph* g, uint32_t node) noexcept nogil     # somebody wants this class exclusively, holding nothing

cdef int graph_learn(FGraph* g, GWant* want, GCircle* out) noexcept nogil
cdef void graph_retract(FGraph* g, uint64_t token) noexcept nogil
cdef void graph_signal(FGraph* g, uint64_t serial) noexcept nogil
cdef void graph_lock_died(FGraph* g, uint64_t serial) noexcept nogil

# Keys of the caller's making that need not be shown to the graph again; no mutex to read.
# Edges are kept by reference, see G_EDGE_BITS: what is said of one that has gone is not taken for the one in its place.
cdef void graph_remember(FGraph* g, uint64_t key, uint64_t edge) noexcept nogil
cdef bint graph_saturated(FGraph* g, uint64_t edge) noexcept nogil      # no mutex
cdef bint graph_count(FGraph* g, uint64_t edge, uint64_t n) noexcept nogil      # no mutex; False: it has gone

# Happens-before: segments of agents' lives. 0 is none.
cdef uint32_t clock_new(FGraph* g, uint32_t pred1, uint32_t pred2) noexcept nogil
cdef void clock_ref(FGraph* g, uint32_t clock) noexcept nogil
cdef void clock_unref(FGraph* g, uint32_t clock) noexcept nogil
cdef bint clock_before(FGraph* g, uint32_t a, uint32_t b) noexcept nogil

cdef uint32_t graph_edges(FGraph* g, GLink* out, uint32_t limit, uint32_t* cursor) noexcept nogil
cdef uint32_t graph_circles(FGraph* g, GCircle* out, uint32_t limit, uint64_t* cursor) noexcept nogil
cdef void graph_stats(FGraph* g, GStats* out) noexcept nogil

# For tests and tools.
cdef void graph_tune(FGraph* g, uint32_t budget, uint32_t most_witnesses) noexcept nogil
cdef const char* graph_fault(FGraph* g) noexcept nogil
cdef uint32_t graph_records(FGraph* g, GRecord* out, uint32_t limit) noexcept nogil

cdef void graph_before_fork(FGraph* g) noexcept nogil
cdef void graph_after_fork(FGraph* g) noexcept nogil        # in parent and child

cdef inline uint32_t graph_epoch(FGraph* g) noexcept nogil:
    """Grows when what was known must be shown again; callers mix it into their keys."""
    return <uint32_t>fl_relaxed64(&g.epoch)

cdef inline uint64_t seen_hash(uint64_t key) noexcept nogil:
    key *= <uint64_t>0x9E3779B97F4A7C15
    return key ^ (key >> 32)

cdef inline uint64_t graph_seen(FGraph* g, uint64_t key) noexcept nogil:
    """The edge that was remembered with a key, 0 for an unknown one: one or two loads, no mutex."""
    cdef SeenTable* t = <SeenTable*>fl_load64(&g.seen)
    cdef uint64_t i = seen_hash(key)
    cdef uint64_t there
    while True:
        there = fl_load64(&t.slots[i & t.mask].key)
        if there == key:
            return fl_relaxed64(&t.slots[i & t.mask].value) if key else 0
        if there == 0:
            return 0
        i += 1
