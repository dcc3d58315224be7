# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""What the lock-order graph knows, kept consistent: no edge without a witness, no record of a circle without its edges.

Guard: the graph's mutex. Costs: a witness is put at the end of a short list; a lock that others release costs a look at all
witnesses, where it is in any.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastlock._evidence cimport *
from fastlock._graph_types cimport *
from fastlock._judge cimport *
from fastlock._native cimport fl_store8
from fastlock._pool cimport *
from fastlock._records cimport *
from fastlock._segments cimport *
from fastlock._topology cimport *

cdef enum:
    MOST_WITNESSES = 16        # of one edge
    MOST_CLOCKS = 4194304
    MOST_CONTRACTED = 16384    # edges made where one node goes
    RESERVE = 256              # edges and witnesses beyond the limit, to check with where nothing more is learned
    SATURATED = 4              # agents with one set of held locks
    SIGNAL = 1 << 31           # in a serial's entry, beside its instance node


cdef bint store_open(Store* s, uint32_t max_nodes, uint32_t max_edges) noexcept nogil:
    memset(s, 0, sizeof(Store))
    s.max_nodes = min(max_nodes, <uint32_t>(1 << 22))      # two of them fit into a token
    s.max_edges = min(max_edges, <uint32_t>(1 << 26))
    s.max_witnesses = 4 * s.max_edges
    s.most_witnesses = MOST_WITNESSES
    judge_open(&s.judge, &s.order, &s.evidence, &s.segments, &s.records)
    return (topology_open(&s.order, 2 * s.max_nodes, s.max_edges + RESERVE)
            and evidence_open(&s.evidence, s.max_witnesses + RESERVE) and segments_open(&s.segments, MOST_CLOCKS)
            and records_open(&s.records, &s.order))


cdef void store_close(Store* s) noexcept nogil:
    records_close(&s.records)
    segments_close(&s.segments)
    evidence_close(&s.evidence)
    topology_close(&s.order)
    map_close(&s.serials)
    list_close(&s.pending)
    list_close(&s.touched)


cdef uint64_t store_bytes(Store* s) noexcept nogil:
    return (topology_bytes(&s.order) + evidence_bytes(&s.evidence) + pool_bytes(&s.segments.pool)
            + records_bytes(&s.records) + map_bytes(&s.serials))


# ---- classes and instances ----------------------------------------------------------------------

cdef bint is_class(Store* s, uint32_t n) noexcept nogil:
    return n != 0 and n < s.order.nodes.used and node_at(&s.order, n).alive and node_at(&s.order, n).cls == 0


cdef uint32_t new_class(Store* s) noexcept nogil:
    cdef uint32_t n = 0
    if s.classes < s.max_nodes:
        n = topology_node(&s.order)
    if n:
        s.classes += 1
    else:
        s.full = True
    return n


cdef bint is_signal(Store* s, uint64_t serial) noexcept nogil:
    return s.signals != 0 and map_get(&s.serials, serial) & SIGNAL != 0


cdef uint32_t instance(Store* s, uint64_t serial, uint32_t cls) noexcept nogil:
    """The node of one lock, made on first use; 0 where there is no room."""
    cdef uint32_t n = map_get(&s.serials, serial) & ~<uint32_t>SIGNAL
    if n or s.order.nodes.live >= s.max_nodes + s.classes:
        return n
    n = topology_node(&s.order)
    if n and not map_put(&s.serials, serial, n):
        topology_drop_node(&s.order, n)
        return 0
    if n:
        node_at(&s.order, n).serial = serial
        node_at(&s.order, n).cls = cls
    return n


cdef void drop_edges(Store* s, uint32_t n) noexcept nogil:
    while node_at(&s.order, n).first_out:
        drop_edge(s, node_at(&s.order, n).first_out)
    while node_at(&s.order, n).first_in:
        drop_edge(s, node_at(&s.order, n).first_in)


cdef void drop_instance(Store* s, uint64_t serial) noexcept nogil:
    cdef uint32_t entry = map_get(&s.serials, serial)
    if entry & ~<uint32_t>SIGNAL:
        drop_edges(s, entry & ~<uint32_t>SIGNAL)
        topology_drop_node(&s.order, entry & ~<uint32_t>SIGNAL)


cdef void drop_idle_instance(Store* s, uint32_t n) noexcept nogil:
    if n and node_at(&s.order, n).cls and node_at(&s.order, n).first_out == 0 and node_at(&s.order, n).first_in == 0:
        map_drop(&s.serials, node_at(&s.order, n).serial)
        topology_drop_node(&s.order, n)


cdef void lock_died(Store* s, uint64_t serial) noexcept nogil:
    if map_get(&s.serials, serial):
        s.signals -= is_signal(s, serial)
        drop_instance(s, serial)
        map_drop(&s.serials, serial)


cdef void make_signal(Store* s, uint64_t serial) noexcept nogil:
    """What a lock that others release has witnessed is void, and it keeps nobody apart."""
    cdef uint32_t w
    cdef Witness* witness
    if is_signal(s, serial):
        return
    drop_instance(s, serial)
    s.signals += map_put(&s.serials, serial, <uint32_t>SIGNAL)
    if not was_mentioned(&s.evidence, serial):
        return
    s.outdated = True
    for w in range(1, s.evidence.witnesses.used):
        witness = witness_at(&s.evidence, w)
        if witness.edge == 0:
            continue
        if witness.from_serial == serial or witness.to_serial == serial:
            drop_witness(s, w)
        elif witness_forgets(&s.evidence, w, serial):
            witness.fresh = True


cdef void contract(Store* s, uint32_t n) noexcept nogil:
    """Leads what led to a node on to where it led, so that the order over it is not forgotten with it."""
    cdef uint32_t i, o, e, made = 0
    i = node_at(&s.order, n).first_in
    while i:
        o = node_at(&s.order, n).first_out
        while o and made < MOST_CONTRACTED:
            if edge_at(&s.order, i).tail != edge_at(&s.order, o).head:
                made += 1
                e = edge_between(s, edge_at(&s.order, i).tail, edge_at(&s.order, o).head)
                if e:
                    copy_witnesses(s, o, e)
            o = edge_at(&s.order, o).next_out
        i = edge_at(&s.order, i).next_in


cdef void drop_class(Store* s, uint32_t n) noexcept nogil:
    contract(s, n)
    drop_edges(s, n)
    topology_drop_node(&s.order, n)
    s.classes -= 1
    s.outdated = True


# ---- edges and witnesses ------------------------------------------------------------------------

cdef uint32_t edge_between(Store* s, uint32_t tail, uint32_t head) noexcept nogil:
    """The edge between two nodes, made within the limit; 0 where there is no room."""
    cdef uint32_t e = topology_find(&s.order, tail, head)
    if e == 0 and s.order.edges.live < s.max_edges:
        e = topology_insert(&s.order, tail, head)
    return e


cdef void attach(Store* s, uint32_t w, uint32_t e) noexcept nogil:
    """Puts a witness at the end of an edge's list."""
    cdef Edge* edge = edge_at(&s.order, e)
    cdef uint32_t last = edge.witness
    witness_at(&s.evidence, w).edge = e
    edge.witnesses += 1
    if last == 0:
        edge.witness = w
        return
    while witness_at(&s.evidence, last).next:
        last = witness_at(&s.evidence, last).next
    witness_at(&s.evidence, last).next = w


cdef void release(Store* s, uint32_t w) noexcept nogil:
    segment_unref(&s.segments, witness_at(&s.evidence, w).clock)
    witness_free(&s.evidence, w)


cdef void drop_edge(Store* s, uint32_t e) noexcept nogil:
    cdef Edge* edge = edge_at(&s.order, e)
    cdef uint32_t w
    while edge.witness:
        w = edge.witness
        edge.witness = witness_at(&s.evidence, w).next
        release(s, w)
    records_forget_edge(&s.records, e)
    edge.witnesses = 0
    topology_remove(&s.order, e)


cdef void drop_witness(Store* s, uint32_t w) noexcept nogil:
    """Removes a witness, and its edge where it was the last one."""
    cdef uint32_t e = witness_at(&s.evidence, w).edge
    cdef Edge* edge = edge_at(&s.order, e)
    cdef uint32_t before = edge.witness
    if edge.witnesses == 1:
        drop_edge(s, e)
        return
    if before == w:
        edge.witness = witness_at(&s.evidence, w).next
    else:
        while witness_at(&s.evidence, before).next != w:
            before = witness_at(&s.evidence, before).next
        witness_at(&s.evidence, before).next = witness_at(&s.evidence, w).next
    edge.witnesses -= 1
    fl_store8(&edge.saturated, 0)
    release(s, w)


cdef bint same(Witness* a, Witness* b) noexcept nogil:
    return (a.agent == b.agent and a.from_serial == b.from_serial and a.to_serial == b.to_serial and a.job == b.job
            and a.clock == b.clock and a.lockset == b.lockset and a.flags == b.flags)


cdef uint32_t known_witness(Store* s, uint32_t e, Witness* like) noexcept nogil:
    cdef uint32_t w = edge_at(&s.order, e).witness
    while w:
        if same(witness_at(&s.evidence, w), like):
            return w
        w = witness_at(&s.evidence, w).next
    return 0


cdef void copy_witnesses(Store* s, uint32_t origin, uint32_t e) noexcept nogil:
    """Gives an edge the witnesses of another one, as far as there is room."""
    cdef uint32_t copy
    cdef uint32_t w = edge_at(&s.order, origin).witness
    while w:
        if edge_at(&s.order, e).witnesses < s.most_witnesses and s.evidence.witnesses.live < s.max_witnesses \
                and known_witness(s, e, witness_at(&s.evidence, w)) == 0:
            copy = witness_copy(&s.evidence, w)
            if copy:
                segment_ref(&s.segments, witness_at(&s.evidence, copy).clock)
                attach(s, copy, e)
        w = witness_at(&s.evidence, w).next
    if edge_at(&s.order, e).witnesses == 0:
        topology_remove(&s.order, e)


cdef uint32_t spare_witness(Store* s, Edge* edge) noexcept nogil:
    """Which of an edge's witnesses to give up: one of the agent that has most, not its oldest; else the newest of all."""
    cdef uint32_t a = edge.witness
    cdef uint32_t b, n, second, most = 1, spare = 0
    while a:
        b = witness_at(&s.evidence, a).next
        n = 1
        second = 0
        while b:
            if witness_at(&s.evidence, b).agent == witness_at(&s.evidence, a).agent \
                    and witness_at(&s.evidence, b).job == witness_at(&s.evidence, a).job:
                n += 1
                second = second if second else b
            b = witness_at(&s.evidence, b).next
        if n > most:
            most = n
            spare = second
        if spare == 0 and witness_at(&s.evidence, a).next == 0:
            spare = a
        a = witness_at(&s.evidence, a).next
    return spare


cdef void weigh(Store* s, uint32_t w) noexcept nogil:
    """Notes whether enough agents have shown an edge with the set of locks that this witness held."""
    cdef uint64_t agents[4]
    cdef uint32_t i, n = 0
    cdef uint32_t lockset = witness_at(&s.evidence, w).lockset
    cdef Edge* edge = edge_at(&s.order, witness_at(&s.evidence, w).edge)
    w = edge.witness
    while w and n < SATURATED:
        if witness_at(&s.evidence, w).lockset == lockset:
            for i in range(n):
                if agents[i] == witness_at(&s.evidence, w).agent:
                    break
            else:
                agents[n] = witness_at(&s.evidence, w).agent
                n += 1
        w = witness_at(&s.evidence, w).next
    fl_store8(&edge.saturated, n == SATURATED)


cdef void forget_at(Store* s, uint32_t n, uint64_t call) noexcept nogil:
    """Drops the witnesses that a call has left at the edges to a node."""
    cdef uint32_t e = node_at(&s.order, n).first_in
    cdef uint32_t w, next_edge, following
    while e:
        next_edge = edge_at(&s.order, e).next_in
        w = edge_at(&s.order, e).witness
        while w:
            following = witness_at(&s.evidence, w).next
            if witness_at(&s.evidence, w).call == call:
                drop_witness(s, w)
            w = following
        e = next_edge


cdef void forget(Store* s, uint64_t token) noexcept nogil:
    cdef uint32_t n = token & 0xFFFFFF
    cdef uint32_t cls
    if n == 0 or n >= s.order.nodes.used or not node_at(&s.order, n).alive:
        return
    records_restore(&s.records, token >> 24)
    cls = node_at(&s.order, n).cls
    forget_at(s, n, token >> 24)
    if cls:
        forget_at(s, cls, token >> 24)
