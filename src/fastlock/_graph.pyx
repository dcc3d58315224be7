# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The lock-order graph: learns who wants what under what, and tells of circles that can become deadlocks.

Nodes are lock classes, and edges lead from every lock held to the one wanted: with A and B held and C wanted here, and A wanted
under C there, the circle has two agents; over the edges A-B-C alone it would seem to have one agent twice. Where both locks are of
one class the edge is between the two instances, and goes with them. _topology knows whether an edge can close a circle,
_evidence who was seen, _segments who was before whom, _judge what a circle is worth; _store keeps it, and _learn is told.

Guard: one mutex per graph, under which nothing waits and no Python runs, so that its holder needs no GIL. Read without it are
the table of seen keys, an edge's count and whether it is saturated. Costs: a known edge is graph_seen; a new one a mutex, an
edge and a witness, and where it goes against the order what lies in between.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastlock._judge cimport *
from fastlock._learn cimport *
from fastlock._native cimport *
from fastlock._pool cimport *
from fastlock._records cimport *
from fastlock._segments cimport *
from fastlock._store cimport *
from fastlock._topology cimport *

cdef enum:
    MOST_SEEN = 1048576        # keys

cdef struct Whole:
    FGraph shared
    fl_mutex mutex
    Store store
    uint64_t serials           # that the store has an entry for: 0 means that no lock's death matters
    uint64_t seen
    uint64_t seen_bytes


# ---- life ---------------------------------------------------------------------------------------

cdef FGraph* graph_new(uint32_t max_nodes, uint32_t max_edges) noexcept nogil:
    """A graph with room for that many classes, as many instances, and edges; NULL where memory is short."""
    cdef Whole* g = <Whole*>calloc(1, sizeof(Whole))
    if g == NULL:
        return NULL
    fl_mutex_init(&g.mutex)
    g.shared.seen = seen_table(1024)
    g.seen_bytes = sizeof(SeenTable) + 1024 * sizeof(SeenSlot)
    if not store_open(&g.store, max_nodes, max_edges) or g.shared.seen == NULL:
        graph_free(&g.shared)
        return NULL
    return &g.shared


cdef void graph_free(FGraph* graph) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    cdef SeenTable* t = g.shared.seen
    cdef SeenTable* older
    while t != NULL:
        older = t.older
        free(t)
        t = older
    store_close(&g.store)
    free(g)


cdef inline Store* enter(FGraph* graph) noexcept nogil:
    fl_mutex_lock(&(<Whole*>graph).mutex)
    return &(<Whole*>graph).store


cdef inline void leave(FGraph* graph) noexcept nogil:
    """Makes public what has changed for those who read without the mutex."""
    cdef Whole* g = <Whole*>graph
    if g.serials != g.store.serials.live:
        fl_put64(&g.serials, g.store.serials.live)
    if g.store.outdated:
        g.store.outdated = False
        fl_add64(&g.shared.epoch, 1)
    fl_mutex_unlock(&g.mutex)


cdef void graph_before_fork(FGraph* graph) noexcept nogil:
    fl_mutex_lock(&(<Whole*>graph).mutex)


cdef void graph_after_fork(FGraph* graph) noexcept nogil:
    fl_mutex_unlock(&(<Whole*>graph).mutex)


cdef void graph_tune(FGraph* graph, uint32_t budget, uint32_t most_witnesses) noexcept nogil:
    cdef Store* s = enter(graph)
    s.judge.budget = budget
    s.most_witnesses = min(most_witnesses, <uint32_t>250)
    leave(graph)


# ---- classes and instances ----------------------------------------------------------------------

cdef uint32_t graph_node(FGraph* graph) noexcept nogil:
    cdef uint32_t n = new_class(enter(graph))
    leave(graph)
    return n


cdef void graph_writer(FGraph* graph, uint32_t node) noexcept nogil:
    cdef Store* s = enter(graph)
    if is_class(s, node):
        node_at(&s.order, node).writer = 1
    leave(graph)


cdef void graph_drop_node(FGraph* graph, uint32_t node) noexcept nogil:
    cdef Store* s = enter(graph)
    if is_class(s, node):
        drop_class(s, node)
    leave(graph)


cdef void graph_lock_died(FGraph* graph, uint64_t serial) noexcept nogil:
    """Callers' keys of the lock need not die: its serial never comes again."""
    if fl_relaxed64(&(<Whole*>graph).serials) != 0:
        lock_died(enter(graph), serial)
        leave(graph)


cdef void graph_signal(FGraph* graph, uint64_t serial) noexcept nogil:
    make_signal(enter(graph), serial)
    leave(graph)


# ---- learning -----------------------------------------------------------------------------------

cdef int graph_learn(FGraph* graph, GWant* want, GCircle* out) noexcept nogil:
    """Learns what an agent wants under what it holds. Each edge that it touches is counted once."""
    cdef int code
    out.n = out.doubts = out.direct_edge = 0
    out.high = 0
    out.token = 0
    code = learn(enter(graph), want, out)
    leave(graph)
    return code


cdef void graph_retract(FGraph* graph, uint64_t token) noexcept nogil:
    """Takes back what one call has learned: the same acquire will find the same circle again."""
    forget(enter(graph), token)
    leave(graph)


cdef bint graph_saturated(FGraph* graph, uint64_t edge) noexcept nogil:
    """Whether callers may take the edge for known to every agent that holds the same locks."""
    cdef Topology* t = &(<Whole*>graph).store.order
    return is_edge(t, edge) and fl_load8(&edge_at(t, <uint32_t>edge).saturated)


cdef bint graph_count(FGraph* graph, uint64_t edge, uint64_t n) noexcept nogil:
    return edge_counts(&(<Whole*>graph).store.order, edge, n)


# ---- happens-before -----------------------------------------------------------------------------

cdef uint32_t clock_new(FGraph* graph, uint32_t pred1, uint32_t pred2) noexcept nogil:
    cdef uint32_t i = segment_new(&enter(graph).segments, pred1, pred2)
    leave(graph)
    return i


cdef void clock_ref(FGraph* graph, uint32_t clock) noexcept nogil:
    segment_ref(&enter(graph).segments, clock)
    leave(graph)


cdef void clock_unref(FGraph* graph, uint32_t clock) noexcept nogil:
    segment_unref(&enter(graph).segments, clock)
    leave(graph)


cdef bint clock_before(FGraph* graph, uint32_t a, uint32_t b) noexcept nogil:
    cdef bint before = segment_before(&enter(graph).segments, a, b)
    leave(graph)
    return before


# ---- keys seen ----------------------------------------------------------------------------------

cdef SeenTable* seen_table(uint64_t slots) noexcept nogil:
    cdef SeenTable* t = <SeenTable*>calloc(1, sizeof(SeenTable) + slots * sizeof(SeenSlot))
    if t != NULL:
        t.mask = slots - 1
        t.slots = <SeenSlot*>(t + 1)
    return t


cdef void seen_put(SeenTable* t, uint64_t key, uint64_t value) noexcept nogil:
    cdef uint64_t i = seen_hash(key) & t.mask
    while t.slots[i].key != 0 and t.slots[i].key != key:
        i = (i + 1) & t.mask
    fl_put64(&t.slots[i].value, value)
    fl_store64(&t.slots[i].key, key)


cdef void seen_clear(Whole* g) noexcept nogil:
    """Starts again in place. Who reads meanwhile misses a key, or takes one for another edge's, which costs one wrong count."""
    cdef SeenTable* t = g.shared.seen
    cdef uint64_t i
    for i in range(t.mask + 1):
        fl_store64(&t.slots[i].key, 0)
    g.seen = 0


cdef void seen_grow(Whole* g) noexcept nogil:
    cdef SeenTable* old = g.shared.seen
    cdef SeenTable* t = seen_table((old.mask + 1) * 2)
    cdef uint64_t i
    if t == NULL:
        seen_clear(g)
        return
    for i in range(old.mask + 1):
        if old.slots[i].key:
            seen_put(t, old.slots[i].key, old.slots[i].value)
    t.older = old
    g.seen_bytes += sizeof(SeenTable) + (t.mask + 1) * sizeof(SeenSlot)
    fl_store64(&g.shared.seen, <uint64_t>t)


cdef void graph_remember(FGraph* graph, uint64_t key, uint64_t edge) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    if key == 0:
        return
    fl_mutex_lock(&g.mutex)
    if graph_seen(graph, key) == 0:
        # It is a cache: what an epoch has outdated lies in it, so starting again is better than to stay full.
        if g.seen >= MOST_SEEN:
            seen_clear(g)
        elif (g.seen + 1) * 2 > g.shared.seen.mask + 1:
            seen_grow(g)
        g.seen += 1
    seen_put(g.shared.seen, key, edge)
    fl_mutex_unlock(&g.mutex)


# ---- listing ------------------------------------------------------------------------------------

cdef uint32_t graph_edges(FGraph* graph, GLink* out, uint32_t limit, uint32_t* cursor) noexcept nogil:
    """Copies the next direct edges between classes; 0 at the end. Start with a cursor of 0; what comes and goes may be missed."""
    cdef Store* s = enter(graph)
    cdef uint32_t n = 0
    cdef Edge* edge
    cursor[0] = max(cursor[0], 1)
    while n < limit and cursor[0] < s.order.edges.used:
        edge = edge_at(&s.order, cursor[0])
        if edge.witnesses and edge.direct and node_at(&s.order, edge.tail).cls == 0:
            copy_link(s, cursor[0], edge.witness, &out[n])
            n += 1
        cursor[0] += 1
    leave(graph)
    return n


cdef uint32_t graph_circles(FGraph* graph, GCircle* out, uint32_t limit, uint64_t* cursor) noexcept nogil:
    """Copies the next circles that have been reported and still stand, as they are to be judged now, shortest first; 0 at the end.

    Start with a cursor of 0; what comes and goes may be missed.
    """
    cdef Store* s = enter(graph)
    cdef uint32_t length = max(<uint32_t>(cursor[0] >> 32), 2)
    cdef uint32_t i = max(<uint32_t>cursor[0], 1)
    cdef uint32_t n = 0
    cdef Record* r
    cdef int tier
    while n < limit and length <= G_LONGEST:
        if i >= s.records.pool.used:
            length, i = length + 1, 1
            continue
        r = record_at(&s.records, i)
        i += 1
        if r.key == 0 or r.n != length or r.tier == T_FILTERED:
            continue
        tier = judge_circle(&s.judge, r.edges, r.n)
        if tier != T_FILTERED:
            copy_circle(s, &s.judge.path, tier, &out[n])
            out[n].token = 0
            out[n].direct_edge = 0
            n += 1
    cursor[0] = <uint64_t>length << 32 | i
    leave(graph)
    return n


cdef void graph_stats(FGraph* graph, GStats* out) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    cdef Store* s = enter(graph)
    out.nodes = s.order.nodes.live
    out.edges = s.order.edges.live
    out.witnesses = s.evidence.witnesses.live
    out.cyclic = s.order.cyclic
    out.seen = g.seen
    out.clocks = s.segments.pool.live
    out.bytes = sizeof(Whole) + store_bytes(s) + g.seen_bytes
    memcpy(out.filtered, s.records.filtered, sizeof(s.records.filtered))
    out.filtered[GF_BUDGET] += s.judge.unsearched
    out.reported = s.records.reported
    out.full = s.full
    leave(graph)


# ---- for tests ----------------------------------------------------------------------------------

cdef uint32_t graph_records(FGraph* graph, GRecord* out, uint32_t limit) noexcept nogil:
    """Copies how circles have been judged, the filtered ones as well."""
    cdef Store* s = enter(graph)
    cdef uint32_t i, k, n = 0
    cdef Record* r
    for i in range(1, s.records.pool.used):
        r = record_at(&s.records, i)
        if r.key and n < limit:
            out[n].n = r.n
            out[n].tier = r.tier
            out[n].filter = r.filter
            for k in range(r.n):
                copy_link(s, r.edges[k], edge_at(&s.order, r.edges[k]).witness, &out[n].link[k])
            n += 1
    leave(graph)
    return n


cdef const char* graph_fault(FGraph* graph) noexcept nogil:
    """What is wrong with the order of nodes, NULL for nothing; looks at everything."""
    cdef const char* fault = topology_fault(&enter(graph).order)
    leave(graph)
    return fault
