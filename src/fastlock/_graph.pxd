# cython: language_level=3, binding=False
"""The lock-order graph: which lock classes are wanted while which are held, and whether that can become a deadlock.

It knows numbers only: no Python object, no GIL, one mutex per graph. What is said below to need no mutex may be called by
any thread at any time; everything else takes the mutex itself. Full tables stop learning and keep checking.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._native cimport fl_load64, fl_relaxed64

cdef enum:  # flags of what is held (h) and wanted (w)
    G_SHARED = 1           # h w: not exclusively
    G_RECURSIVE = 2        # w: a share that is granted past waiting writers
    G_TIMED = 4            # w: gives up by itself
    G_TRY = 8              # h: was taken by a try-lock
    G_EVIDENCE = 16        # h: holders are known to be the ones that release
    G_REACQUIRE = 32       # w: the end of a Condition.wait
    G_NESTED = 64          # w: a second lock of the same class is sanctioned
    G_HELD_SHARED = 128    # only in GLink.flags, where G_SHARED speaks of what is wanted
    G_IMPLIED = 256        # only in GLink.flags: the edge passes over a later blocking acquire

cdef enum:  # what graph_learn answers
    G_KNOWN = 0            # nothing new; may be cached
    G_LEARNED = 1          # new, and no circle; may be cached
    G_WATCHED = 2          # part of a circle that a later witness may open: not to be cached
    G_FOUND = 3            # a circle to report, which has not been reported in this tier
    G_FULL = 4             # checked, but there was no room to learn: not to be cached

cdef enum:  # GCircle.doubts: why a circle is only possible
    GD_TIMED = 1           # somebody in it gives up by himself
    GD_INSTANCES = 2       # a lock wanted and the lock held are of one class, but two
    GD_EVIDENCE = 4        # a lock in it may be released by others than its holder
    GD_WRITER = 8          # readers block each other only behind a writer, and there has been none
    GD_BUDGET = 16         # the search for a better one was cut off

cdef enum:  # indices of GStats.filtered
    GF_AGENTS = 0
    GF_GATE = 1
    GF_HAPPENS_BEFORE = 2
    GF_SHARED = 3
    GF_BUDGET = 4

cdef enum:
    G_LONGEST = 16         # links; longer circles are not searched for
    G_NAME = 40

cdef struct GHeld:
    uint64_t serial
    uint32_t lock
    uint32_t node
    uint32_t site
    uint32_t flags

cdef struct GWant:
    uint64_t serial
    uint32_t lock
    uint32_t node
    uint32_t site
    uint32_t flags
    uint64_t agent
    uint32_t job               # 0: none; one agent in two jobs counts as two
    uint32_t clock             # segment of clock_new; 0: unordered
    char name[40]
    double wall_s
    GHeld* held                # bottom first
    uint32_t depth

cdef struct GLink:
    # One edge with one witness of it.
    uint32_t edge
    uint32_t from_node         # class nodes, for edges between instances too
    uint32_t to_node
    uint32_t held_site
    uint32_t wanted_site
    uint32_t from_lock
    uint32_t to_lock
    uint32_t flags
    uint64_t from_serial
    uint64_t to_serial
    uint64_t agent
    uint32_t job
    char name[40]
    uint64_t count
    double first_s             # wall time of the edge's first witness

cdef struct GCircle:
    uint32_t n                 # 0: none
    uint8_t high
    uint32_t doubts
    uint64_t token             # of what this call has learned, for graph_retract; 0: nothing
    uint32_t direct_edge       # set by every graph_learn: edge + 1 from the lock on top of the stack, 0: none
    GLink link[16]             # link[0] is the edge just learned

cdef struct GStats:
    uint64_t nodes             # classes and instances
    uint64_t edges
    uint64_t witnesses
    uint64_t cyclic            # edges within circles of classes or instances
    uint64_t seen
    uint64_t clocks
    uint64_t bytes
    uint64_t filtered[5]       # circles that are filtered now, by filter
    uint64_t reported          # circles that have been reported and still stand
    bint full

cdef struct SeenSlot:
    uint64_t key               # 0: empty; written after the value
    uint64_t value

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
cdef void graph_remember(FGraph* g, uint64_t key, uint32_t edge_plus_1) noexcept nogil
cdef bint graph_saturated(FGraph* g, uint32_t edge) noexcept nogil      # no mutex
cdef void graph_count(FGraph* g, uint32_t edge, uint64_t n) noexcept nogil      # no mutex

# Happens-before: segments of agents' lives. 0 is none.
cdef uint32_t clock_new(FGraph* g, uint32_t pred1, uint32_t pred2) noexcept nogil
cdef void clock_ref(FGraph* g, uint32_t clock) noexcept nogil
cdef void clock_unref(FGraph* g, uint32_t clock) noexcept nogil
cdef bint clock_before(FGraph* g, uint32_t a, uint32_t b) noexcept nogil

cdef uint32_t graph_edges(FGraph* g, GLink* out, uint32_t limit, uint32_t* cursor) noexcept nogil
cdef uint32_t graph_circles(FGraph* g, GCircle* out, uint32_t limit) noexcept nogil
cdef void graph_stats(FGraph* g, GStats* out) noexcept nogil

cdef void graph_before_fork(FGraph* g) noexcept nogil
cdef void graph_after_fork(FGraph* g) noexcept nogil        # in parent and child

cdef inline uint32_t graph_epoch(FGraph* g) noexcept nogil:
    """Grows when what was known must be shown again; callers mix it into their keys."""
    return <uint32_t>fl_relaxed64(&g.epoch)

cdef inline uint64_t seen_hash(uint64_t key) noexcept nogil:
    key *= <uint64_t>0x9E3779B97F4A7C15
    return key ^ (key >> 32)

cdef inline uint32_t graph_seen(FGraph* g, uint64_t key) noexcept nogil:
    """The edge + 1 that was remembered with a key, 0 for an unknown one: one or two loads, no mutex."""
    cdef SeenTable* t = <SeenTable*>fl_load64(&g.seen)
    cdef uint64_t i = seen_hash(key)
    cdef uint64_t there
    while True:
        there = fl_load64(&t.slots[i & t.mask].key)
        if there == key:
            return <uint32_t>fl_relaxed64(&t.slots[i & t.mask].value) if key else 0
        if there == 0:
            return 0
        i += 1
