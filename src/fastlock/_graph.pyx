# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The lock-order graph: learns who wants what under what, and tells of circles that can become deadlocks.

Nodes are lock classes, and edges lead from every lock held to the one wanted: with A and B held and C wanted here, and A wanted
under C there, the circle has two agents; over the edges A-B-C alone it would seem to have one agent twice. Where both locks are of
one class the edge is between the two instances, and goes with them. _topology knows whether an edge can close a circle,
_evidence who was seen, _segments who was before whom, _judge what a circle is worth.

Guard: one mutex per graph, under which nothing waits and no Python runs, so that its holder needs no GIL. Read without it are
the table of seen keys, an edge's count and whether it is saturated. Costs: a known edge is graph_seen; a new one a mutex, an
edge and a witness, and where it goes against the order what lies in between.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastlock._evidence cimport *
from fastlock._judge cimport *
from fastlock._native cimport *
from fastlock._pool cimport *
from fastlock._segments cimport *
from fastlock._topology cimport *

cdef enum:
    MOST_WITNESSES = 16        # of one edge
    MOST_SEEN = 1048576        # keys
    MOST_CLOCKS = 4194304
    MOST_CONTRACTED = 16384    # edges made where one node goes
    RESERVE = 256              # edges and witnesses beyond the limit, to check with where nothing more is learned
    SATURATED = 4              # agents with one set of held locks
    SIGNAL = 1 << 31           # in a serial's entry, beside its instance node

cdef struct Whole:
    FGraph shared
    fl_mutex mutex
    Topology order
    Evidence evidence
    Segments segments
    Judge judge
    Map serials                # serial -> instance node, SIGNAL
    uint64_t signals
    uint64_t calls
    uint64_t seen
    uint64_t seen_bytes
    uint32_t classes
    uint32_t max_nodes
    uint32_t max_edges
    uint32_t max_witnesses
    uint32_t most_witnesses    # of one edge
    bint full                  # something could not be learned
    List pending               # witnesses of this call to judge
    List touched               # edges of this call
    uint64_t known_serials     # serials.live, to be read without the mutex


# ---- life ---------------------------------------------------------------------------------------

cdef SeenTable* seen_table(uint64_t slots) noexcept nogil:
    cdef SeenTable* t = <SeenTable*>calloc(1, sizeof(SeenTable) + slots * sizeof(SeenSlot))
    if t != NULL:
        t.mask = slots - 1
        t.slots = <SeenSlot*>(t + 1)
    return t


cdef FGraph* graph_new(uint32_t max_nodes, uint32_t max_edges) noexcept nogil:
    """A graph with room for that many classes, as many instances, and edges; NULL where memory is short."""
    cdef Whole* g = <Whole*>calloc(1, sizeof(Whole))
    if g == NULL:
        return NULL
    fl_mutex_init(&g.mutex)
    g.max_nodes = min(max_nodes, <uint32_t>(1 << 22))      # two of them fit into a token
    g.max_edges = min(max_edges, <uint32_t>(1 << 26))
    g.max_witnesses = 4 * g.max_edges
    g.most_witnesses = MOST_WITNESSES
    g.shared.seen = seen_table(1024)
    g.seen_bytes = sizeof(SeenTable) + 1024 * sizeof(SeenSlot)
    if g.shared.seen == NULL or not topology_open(&g.order, 2 * g.max_nodes, g.max_edges + RESERVE) \
            or not evidence_open(&g.evidence, g.max_witnesses + RESERVE) or not segments_open(&g.segments, MOST_CLOCKS) \
            or not judge_open(&g.judge, &g.order, &g.evidence, &g.segments):
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
    judge_close(&g.judge)
    segments_close(&g.segments)
    evidence_close(&g.evidence)
    topology_close(&g.order)
    map_close(&g.serials)
    list_close(&g.pending)
    list_close(&g.touched)
    free(g)


cdef void graph_before_fork(FGraph* graph) noexcept nogil:
    fl_mutex_lock(&(<Whole*>graph).mutex)


cdef void graph_after_fork(FGraph* graph) noexcept nogil:
    fl_mutex_unlock(&(<Whole*>graph).mutex)


cdef void next_epoch(Whole* g) noexcept nogil:
    fl_add64(&g.shared.epoch, 1)


cdef void graph_tune(FGraph* graph, uint32_t budget, uint32_t most_witnesses) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    fl_mutex_lock(&g.mutex)
    g.judge.budget = budget
    g.most_witnesses = min(most_witnesses, <uint32_t>250)
    fl_mutex_unlock(&g.mutex)


cdef const char* graph_fault(FGraph* graph) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    cdef const char* fault
    fl_mutex_lock(&g.mutex)
    fault = topology_fault(&g.order)
    fl_mutex_unlock(&g.mutex)
    return fault


# ---- classes and instances ----------------------------------------------------------------------

cdef bint is_class(Whole* g, uint32_t n) noexcept nogil:
    return n != 0 and n < g.order.nodes.used and node_at(&g.order, n).alive and node_at(&g.order, n).cls == 0


cdef uint32_t graph_node(FGraph* graph) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    cdef uint32_t n = 0
    fl_mutex_lock(&g.mutex)
    if g.classes < g.max_nodes:
        n = topology_node(&g.order)
    if n:
        g.classes += 1
    else:
        g.full = True
    fl_mutex_unlock(&g.mutex)
    return n


cdef void graph_writer(FGraph* graph, uint32_t node) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    fl_mutex_lock(&g.mutex)
    if is_class(g, node):
        node_at(&g.order, node).writer = 1
    fl_mutex_unlock(&g.mutex)


cdef bint is_signal(Whole* g, uint64_t serial) noexcept nogil:
    return g.signals != 0 and map_get(&g.serials, serial) & SIGNAL != 0


cdef uint32_t instance(Whole* g, uint64_t serial, uint32_t cls) noexcept nogil:
    """The node of one lock, made on first use; 0 where there is no room."""
    cdef uint32_t n = map_get(&g.serials, serial) & ~<uint32_t>SIGNAL
    if n or g.order.nodes.live >= g.max_nodes + g.classes:
        return n
    n = topology_node(&g.order)
    if n and not map_put(&g.serials, serial, n):
        topology_drop_node(&g.order, n)
        return 0
    if n:
        node_at(&g.order, n).serial = serial
        node_at(&g.order, n).cls = cls
    return n


cdef void drop_edges(Whole* g, uint32_t n) noexcept nogil:
    while node_at(&g.order, n).first_out:
        drop_edge(g, node_at(&g.order, n).first_out)
    while node_at(&g.order, n).first_in:
        drop_edge(g, node_at(&g.order, n).first_in)


cdef void drop_instance(Whole* g, uint64_t serial) noexcept nogil:
    cdef uint32_t entry = map_get(&g.serials, serial)
    if entry & ~<uint32_t>SIGNAL:
        drop_edges(g, entry & ~<uint32_t>SIGNAL)
        topology_drop_node(&g.order, entry & ~<uint32_t>SIGNAL)


cdef void graph_lock_died(FGraph* graph, uint64_t serial) noexcept nogil:
    """Callers' keys of the lock need not die: its serial never comes again."""
    cdef Whole* g = <Whole*>graph
    if fl_relaxed64(&g.known_serials) == 0:
        return
    fl_mutex_lock(&g.mutex)
    if map_get(&g.serials, serial):
        g.signals -= is_signal(g, serial)
        drop_instance(g, serial)
        map_drop(&g.serials, serial)
        fl_put64(&g.known_serials, g.serials.live)
    fl_mutex_unlock(&g.mutex)


cdef void graph_signal(FGraph* graph, uint64_t serial) noexcept nogil:
    """What a lock that others release has witnessed is void, and it keeps nobody apart."""
    cdef Whole* g = <Whole*>graph
    cdef uint32_t w
    cdef Witness* witness
    fl_mutex_lock(&g.mutex)
    if not is_signal(g, serial):
        drop_instance(g, serial)
        g.signals += map_put(&g.serials, serial, <uint32_t>SIGNAL)
        if was_mentioned(&g.evidence, serial):
            next_epoch(g)
            for w in range(1, g.evidence.witnesses.used):
                witness = witness_at(&g.evidence, w)
                if witness.edge == 0:
                    continue
                if witness.from_serial == serial or witness.to_serial == serial:
                    drop_witness(g, w)
                elif witness_forgets(&g.evidence, w, serial):
                    witness.fresh = True
    fl_put64(&g.known_serials, g.serials.live)
    fl_mutex_unlock(&g.mutex)


cdef void contract(Whole* g, uint32_t n) noexcept nogil:
    """Leads what led to a node on to where it led, so that the order over it is not forgotten with it."""
    cdef uint32_t i, o, e, made = 0
    i = node_at(&g.order, n).first_in
    while i:
        o = node_at(&g.order, n).first_out
        while o and made < MOST_CONTRACTED:
            if edge_at(&g.order, i).tail != edge_at(&g.order, o).head:
                made += 1
                e = edge_between(g, edge_at(&g.order, i).tail, edge_at(&g.order, o).head)
                if e:
                    copy_witnesses(g, o, e)
            o = edge_at(&g.order, o).next_out
        i = edge_at(&g.order, i).next_in


cdef void graph_drop_node(FGraph* graph, uint32_t node) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    fl_mutex_lock(&g.mutex)
    if is_class(g, node):
        contract(g, node)
        drop_edges(g, node)
        topology_drop_node(&g.order, node)
        g.classes -= 1
        next_epoch(g)
    fl_mutex_unlock(&g.mutex)


# ---- edges and witnesses ------------------------------------------------------------------------

cdef uint32_t edge_between(Whole* g, uint32_t tail, uint32_t head) noexcept nogil:
    """The edge between two nodes, made within the limit; 0 where there is no room."""
    cdef uint32_t e = topology_find(&g.order, tail, head)
    if e == 0 and g.order.edges.live < g.max_edges:
        e = topology_insert(&g.order, tail, head)
    return e


cdef void attach(Whole* g, uint32_t w, uint32_t e) noexcept nogil:
    """Puts a witness at the end of an edge's list."""
    cdef Edge* edge = edge_at(&g.order, e)
    cdef uint32_t last = edge.witness
    witness_at(&g.evidence, w).edge = e
    edge.witnesses += 1
    if last == 0:
        edge.witness = w
        return
    while witness_at(&g.evidence, last).next:
        last = witness_at(&g.evidence, last).next
    witness_at(&g.evidence, last).next = w


cdef void release(Whole* g, uint32_t w) noexcept nogil:
    segment_unref(&g.segments, witness_at(&g.evidence, w).clock)
    witness_free(&g.evidence, w)


cdef void drop_edge(Whole* g, uint32_t e) noexcept nogil:
    cdef Edge* edge = edge_at(&g.order, e)
    cdef uint32_t w
    while edge.witness:
        w = edge.witness
        edge.witness = witness_at(&g.evidence, w).next
        release(g, w)
    records_forget_edge(&g.judge, e)
    edge.witnesses = 0
    topology_remove(&g.order, e)


cdef void drop_witness(Whole* g, uint32_t w) noexcept nogil:
    """Removes a witness, and its edge where it was the last one."""
    cdef uint32_t e = witness_at(&g.evidence, w).edge
    cdef Edge* edge = edge_at(&g.order, e)
    cdef uint32_t before = edge.witness
    if edge.witnesses == 1:
        drop_edge(g, e)
        return
    if before == w:
        edge.witness = witness_at(&g.evidence, w).next
    else:
        while witness_at(&g.evidence, before).next != w:
            before = witness_at(&g.evidence, before).next
        witness_at(&g.evidence, before).next = witness_at(&g.evidence, w).next
    edge.witnesses -= 1
    fl_store8(&edge.saturated, 0)
    release(g, w)


cdef bint same(Witness* a, Witness* b) noexcept nogil:
    return (a.agent == b.agent and a.from_serial == b.from_serial and a.to_serial == b.to_serial and a.job == b.job
            and a.clock == b.clock and a.lockset == b.lockset and a.flags == b.flags)


cdef uint32_t known_witness(Whole* g, uint32_t e, Witness* like) noexcept nogil:
    cdef uint32_t w = edge_at(&g.order, e).witness
    while w:
        if same(witness_at(&g.evidence, w), like):
            return w
        w = witness_at(&g.evidence, w).next
    return 0


cdef void copy_witnesses(Whole* g, uint32_t origin, uint32_t e) noexcept nogil:
    """Gives an edge the witnesses of another one, as far as there is room."""
    cdef uint32_t copy
    cdef uint32_t w = edge_at(&g.order, origin).witness
    while w:
        if edge_at(&g.order, e).witnesses < g.most_witnesses and g.evidence.witnesses.live < g.max_witnesses \
                and known_witness(g, e, witness_at(&g.evidence, w)) == 0:
            copy = witness_copy(&g.evidence, w)
            if copy:
                segment_ref(&g.segments, witness_at(&g.evidence, copy).clock)
                attach(g, copy, e)
        w = witness_at(&g.evidence, w).next
    if edge_at(&g.order, e).witnesses == 0:
        topology_remove(&g.order, e)


cdef uint32_t spare_witness(Whole* g, Edge* edge) noexcept nogil:
    """Which of an edge's witnesses to give up: one of the agent that has most, not its oldest; else the newest of all."""
    cdef uint32_t a = edge.witness
    cdef uint32_t b, n, second, most = 1, spare = 0
    while a:
        b = witness_at(&g.evidence, a).next
        n = 1
        second = 0
        while b:
            if witness_at(&g.evidence, b).agent == witness_at(&g.evidence, a).agent \
                    and witness_at(&g.evidence, b).job == witness_at(&g.evidence, a).job:
                n += 1
                second = second if second else b
            b = witness_at(&g.evidence, b).next
        if n > most:
            most = n
            spare = second
        if spare == 0 and witness_at(&g.evidence, a).next == 0:
            spare = a
        a = witness_at(&g.evidence, a).next
    return spare


cdef void weigh(Whole* g, uint32_t w) noexcept nogil:
    """Notes whether enough agents have shown an edge with the set of locks that this witness held."""
    cdef uint64_t agents[4]
    cdef uint32_t i, n = 0
    cdef uint32_t lockset = witness_at(&g.evidence, w).lockset
    cdef Edge* edge = edge_at(&g.order, witness_at(&g.evidence, w).edge)
    w = edge.witness
    while w and n < SATURATED:
        if witness_at(&g.evidence, w).lockset == lockset:
            for i in range(n):
                if agents[i] == witness_at(&g.evidence, w).agent:
                    break
            else:
                agents[n] = witness_at(&g.evidence, w).agent
                n += 1
        w = witness_at(&g.evidence, w).next
    fl_store8(&edge.saturated, n == SATURATED)


cdef bint graph_saturated(FGraph* graph, uint32_t edge) noexcept nogil:
    """Whether callers may take the edge for known to every agent that holds the same locks."""
    return fl_load8(&edge_at(&(<Whole*>graph).order, edge).saturated)


cdef void graph_count(FGraph* graph, uint32_t edge, uint64_t n) noexcept nogil:
    fl_add64(&edge_at(&(<Whole*>graph).order, edge).count, n)


# ---- learning -----------------------------------------------------------------------------------

cdef struct Call:
    GWant* want
    int code
    uint32_t top_edge          # edge + 1 from the lock on top
    bint watched
    bint learned               # some witness is new
    bint temporary             # the tables are full: forget it afterwards
    bint unchecked             # not even that was possible


cdef uint32_t flags_of(GWant* want, GHeld* held) noexcept nogil:
    return (want.flags & (G_SHARED | G_RECURSIVE | G_TIMED | G_REACQUIRE) | held.flags & (G_TRY | G_EVIDENCE)
            | (G_HELD_SHARED if held.flags & G_SHARED else 0))


cdef bint ends_of(Whole* g, GWant* want, GHeld* held, uint32_t* tail, uint32_t* head) noexcept nogil:
    tail[0] = held.node
    head[0] = want.node
    if held.node == want.node:
        tail[0] = instance(g, held.serial, held.node)
        head[0] = instance(g, want.serial, want.node)
    return tail[0] != 0 and head[0] != 0


cdef void drop_idle_instance(Whole* g, uint32_t n) noexcept nogil:
    if n and node_at(&g.order, n).cls and node_at(&g.order, n).first_out == 0 and node_at(&g.order, n).first_in == 0:
        map_drop(&g.serials, node_at(&g.order, n).serial)
        topology_drop_node(&g.order, n)


cdef uint32_t new_witness(Whole* g, Call* call, GHeld* held, uint32_t tail, uint32_t head) noexcept nogil:
    """Learns an edge or one more witness of it; 0 where there is no memory for either."""
    cdef uint32_t w
    cdef uint32_t e = topology_find(&g.order, tail, head)
    if e == 0 and g.order.edges.live >= g.max_edges or g.evidence.witnesses.live >= g.max_witnesses:
        call.temporary = True
    if e == 0:
        e = topology_insert(&g.order, tail, head)
    w = 0
    if e:
        w = witness_new(&g.evidence, call.want, held, flags_of(call.want, held))
        if w == 0 and edge_at(&g.order, e).witnesses == 0:
            topology_remove(&g.order, e)
    if w:
        witness_at(&g.evidence, w).call = g.calls
        segment_ref(&g.segments, call.want.clock)
        attach(g, w, e)
        call.learned = True
    return w


cdef void learn_edge(Whole* g, Call* call, GHeld* held, uint32_t lockset, bint direct, bint top) noexcept nogil:
    """Finds or makes the witness for one of the locks held, and puts it on the list of those to judge where that is due."""
    cdef uint32_t tail, head, e, w = 0
    cdef Witness like
    if not ends_of(g, call.want, held, &tail, &head):
        call.unchecked = True
        drop_idle_instance(g, tail)
        drop_idle_instance(g, head)
        return
    e = topology_find(&g.order, tail, head)
    if e and lockset:
        like.agent = call.want.agent
        like.job = call.want.job
        like.clock = call.want.clock
        like.from_serial = held.serial
        like.to_serial = call.want.serial
        like.lockset = lockset
        like.flags = flags_of(call.want, held)
        w = known_witness(g, e, &like)
    if w == 0:
        w = new_witness(g, call, held, tail, head)
        if w:
            list_push(&g.pending, w)
        else:
            call.unchecked = True
            drop_idle_instance(g, tail)
            drop_idle_instance(g, head)
            return
    elif witness_at(&g.evidence, w).fresh:
        if g.order.edges.live < g.max_edges and g.evidence.witnesses.live < g.max_witnesses:
            witness_at(&g.evidence, w).call = g.calls       # to be taken back with the rest
        list_push(&g.pending, w)
    e = witness_at(&g.evidence, w).edge
    edge_at(&g.order, e).direct |= direct
    list_push(&g.touched, e)
    graph_count(&g.shared, e, 1)
    if top:
        call.top_edge = e + 1


cdef bint prepare(Whole* g, GWant* want, uint32_t* lockset) noexcept nogil:
    """Gathers the set of locks held; False where there is nothing to learn."""
    cdef uint32_t i
    if not is_class(g, want.node) or is_signal(g, want.serial):
        return False
    if not want.flags & G_SHARED:
        node_at(&g.order, want.node).writer = 1
    if want.flags & G_TRY or want.depth == 0 or not gather_begin(&g.evidence, want.depth):
        return False
    for i in range(want.depth):
        if want.held[i].serial == want.serial:
            return False
        if not want.held[i].flags & G_SHARED and is_class(g, want.held[i].node):
            node_at(&g.order, want.held[i].node).writer = 1
        if not is_signal(g, want.held[i].serial):
            gather(&g.evidence, want.held[i].serial, not want.held[i].flags & G_SHARED)
    lockset[0] = gather_end(&g.evidence)
    return True


cdef void learn_edges(Whole* g, Call* call, uint32_t lockset) noexcept nogil:
    cdef GWant* want = call.want
    cdef GHeld* held
    cdef uint32_t i
    cdef uint32_t blocking = 0     # the topmost lock that was not taken by try: edges from there up are direct
    for i in range(want.depth):
        if not want.held[i].flags & G_TRY:
            blocking = i
    for i in range(want.depth):
        held = &want.held[i]
        if not is_class(g, held.node) or is_signal(g, held.serial):
            continue
        if held.node == want.node and want.flags & G_NESTED:
            continue
        learn_edge(g, call, held, lockset, i >= blocking, i + 1 == want.depth)


cdef void keep_record(Whole* g, Path* circle, int tier, int filter) noexcept nogil:
    g.judge.news = False
    if not record_set(&g.judge, circle.edges, circle.n, tier, filter, g.calls):
        g.full = True
    if g.judge.news:
        next_epoch(g)


cdef void note_filtered(Whole* g, uint32_t w, bint cut) noexcept nogil:
    """Records why the shortest circle through a witness is none to report, and keeps an eye on it."""
    cdef Path circle
    cdef int reason
    if not shortest_circle(&g.judge, witness_at(&g.evidence, w).edge, &circle):
        return
    reason = judge_filter(&g.judge, circle.edges, circle.n)
    if cut and reason < 0:
        reason = GF_BUDGET if record_find(&g.judge, circle.edges, circle.n) == 0 else -1
    if reason >= 0:
        keep_record(g, &circle, T_FILTERED, reason)


cdef int judge_pending(Whole* g, Path* best) noexcept nogil:
    """Judges what is new; returns the tier of the best circle that is news, T_NONE for none."""
    cdef Path circle
    cdef int tier, best_tier = T_NONE
    cdef uint32_t i, w, chosen = 0
    for i in range(g.pending.n):
        w = g.pending.items[i]
        tier = judge_witness(&g.judge, w, &circle)
        witness_at(&g.evidence, w).fresh = False
        if tier == T_FILTERED:
            note_filtered(g, w, circle.doubts & GD_BUDGET)
        elif tier != T_NONE:
            # What is not told now is told when it is seen again.
            witness_at(&g.evidence, w).fresh = True
            if best_tier == T_NONE or tier > best_tier or tier == best_tier and circle.n < best.n:
                best[0] = circle
                best_tier = tier
                chosen = w
    if chosen:
        witness_at(&g.evidence, chosen).fresh = False
        keep_record(g, best, best_tier, 0)
    return best_tier


cdef void thin_out(Whole* g) noexcept nogil:
    """Brings edges that have got too many witnesses back to their limit, and notes how well the others are known."""
    cdef uint32_t i, e
    for i in range(g.pending.n):
        weigh(g, g.pending.items[i])
    for i in range(g.pending.n):
        e = witness_at(&g.evidence, g.pending.items[i]).edge     # 0 where it has gone already
        if e and edge_at(&g.order, e).witnesses > g.most_witnesses:
            drop_witness(g, spare_witness(g, edge_at(&g.order, e)))


cdef uint64_t token_of(Whole* g, GWant* want) noexcept nogil:
    """Number of the call and the node its edges lead to: the instance, where there is one, knows its class."""
    cdef uint32_t n = map_get(&g.serials, want.serial)
    return g.calls << 24 | (n if n else want.node)


cdef int learn(Whole* g, GWant* want, GCircle* out) noexcept nogil:
    cdef Call call
    cdef Path best
    cdef uint32_t lockset
    cdef int tier = T_NONE
    if not prepare(g, want, &lockset):
        return G_KNOWN
    memset(&call, 0, sizeof(Call))
    call.want = want
    g.calls += 1
    g.pending.n = g.touched.n = 0
    if not list_room(&g.pending, want.depth) or not list_room(&g.touched, want.depth):
        return G_FULL
    learn_edges(g, &call, lockset)
    out.direct_edge = call.top_edge
    if g.pending.n:
        tier = judge_pending(g, &best)
        out.token = token_of(g, want)
    if tier != T_NONE:
        copy_circle(g, &best, tier, out)
    call.watched = any_watched(g)
    if g.pending.n:
        thin_out(g)
    if call.temporary:
        forget(g, out.token)
    if call.temporary or call.unchecked:
        g.full = True
        return G_FOUND if tier != T_NONE else G_FULL
    if tier != T_NONE:
        return G_FOUND
    return G_WATCHED if call.watched else G_LEARNED if call.learned else G_KNOWN


cdef bint any_watched(Whole* g) noexcept nogil:
    cdef uint32_t i
    for i in range(g.touched.n):
        if edge_at(&g.order, g.touched.items[i]).watched:
            return True
    return False


cdef int graph_learn(FGraph* graph, GWant* want, GCircle* out) noexcept nogil:
    """Learns what an agent wants under what it holds. Each edge that it touches is counted once."""
    cdef Whole* g = <Whole*>graph
    cdef int code
    out.n = out.doubts = out.direct_edge = 0
    out.high = 0
    out.token = 0
    fl_mutex_lock(&g.mutex)
    code = learn(g, want, out)
    fl_put64(&g.known_serials, g.serials.live)
    fl_mutex_unlock(&g.mutex)
    return code


cdef void forget_at(Whole* g, uint32_t n, uint64_t call) noexcept nogil:
    """Drops the witnesses that a call has left at the edges to a node."""
    cdef uint32_t e = node_at(&g.order, n).first_in
    cdef uint32_t w, next_edge, following
    while e:
        next_edge = edge_at(&g.order, e).next_in
        w = edge_at(&g.order, e).witness
        while w:
            following = witness_at(&g.evidence, w).next
            if witness_at(&g.evidence, w).call == call:
                drop_witness(g, w)
            w = following
        e = next_edge


cdef void forget(Whole* g, uint64_t token) noexcept nogil:
    cdef uint32_t n = token & 0xFFFFFF
    cdef uint32_t cls
    if n == 0 or n >= g.order.nodes.used or not node_at(&g.order, n).alive:
        return
    records_restore(&g.judge, token >> 24)
    cls = node_at(&g.order, n).cls
    forget_at(g, n, token >> 24)
    if cls:
        forget_at(g, cls, token >> 24)


cdef void graph_retract(FGraph* graph, uint64_t token) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    fl_mutex_lock(&g.mutex)
    forget(g, token)
    fl_mutex_unlock(&g.mutex)


# ---- happens-before -----------------------------------------------------------------------------

cdef uint32_t clock_new(FGraph* graph, uint32_t pred1, uint32_t pred2) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    cdef uint32_t i
    fl_mutex_lock(&g.mutex)
    i = segment_new(&g.segments, pred1, pred2)
    fl_mutex_unlock(&g.mutex)
    return i


cdef void clock_ref(FGraph* graph, uint32_t clock) noexcept nogil:
    fl_mutex_lock(&(<Whole*>graph).mutex)
    segment_ref(&(<Whole*>graph).segments, clock)
    fl_mutex_unlock(&(<Whole*>graph).mutex)


cdef void clock_unref(FGraph* graph, uint32_t clock) noexcept nogil:
    fl_mutex_lock(&(<Whole*>graph).mutex)
    segment_unref(&(<Whole*>graph).segments, clock)
    fl_mutex_unlock(&(<Whole*>graph).mutex)


cdef bint clock_before(FGraph* graph, uint32_t a, uint32_t b) noexcept nogil:
    cdef bint before
    fl_mutex_lock(&(<Whole*>graph).mutex)
    before = segment_before(&(<Whole*>graph).segments, a, b)
    fl_mutex_unlock(&(<Whole*>graph).mutex)
    return before


# ---- keys seen ----------------------------------------------------------------------------------

cdef void seen_put(SeenTable* t, uint64_t key, uint32_t value) noexcept nogil:
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
            seen_put(t, old.slots[i].key, <uint32_t>old.slots[i].value)
    t.older = old
    g.seen_bytes += sizeof(SeenTable) + (t.mask + 1) * sizeof(SeenSlot)
    fl_store64(&g.shared.seen, <uint64_t>t)


cdef void graph_remember(FGraph* graph, uint64_t key, uint32_t edge_plus_1) noexcept nogil:
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
    seen_put(g.shared.seen, key, edge_plus_1)
    fl_mutex_unlock(&g.mutex)


# ---- listing ------------------------------------------------------------------------------------

cdef uint32_t class_of(Whole* g, uint32_t n) noexcept nogil:
    return node_at(&g.order, n).cls if node_at(&g.order, n).cls else n


cdef void copy_link(Whole* g, uint32_t e, uint32_t w, GLink* out) noexcept nogil:
    cdef Edge* edge = edge_at(&g.order, e)
    cdef Witness* witness = witness_at(&g.evidence, w)
    out.edge = e
    out.from_node = class_of(g, edge.tail)
    out.to_node = class_of(g, edge.head)
    out.held_site = witness.held_site
    out.wanted_site = witness.wanted_site
    out.from_lock = witness.from_lock
    out.to_lock = witness.to_lock
    out.flags = witness.flags | (0 if edge.direct else <uint32_t>G_IMPLIED)
    out.from_serial = witness.from_serial
    out.to_serial = witness.to_serial
    out.agent = witness.agent
    out.job = witness.job
    memcpy(out.name, name_at(&g.evidence, witness.name).text, G_NAME)
    out.count = fl_relaxed64(&edge.count)
    out.first_s = witness_at(&g.evidence, edge.witness).wall_s


cdef void copy_circle(Whole* g, Path* circle, int tier, GCircle* out) noexcept nogil:
    cdef uint32_t i
    out.n = circle.n
    out.high = tier == T_HIGH
    out.doubts = circle.doubts
    for i in range(circle.n):
        copy_link(g, circle.edges[i], circle.witnesses[i], &out.link[i])


cdef uint32_t graph_edges(FGraph* graph, GLink* out, uint32_t limit, uint32_t* cursor) noexcept nogil:
    """Copies the next direct edges between classes; 0 at the end. Start with a cursor of 0; what comes and goes may be missed."""
    cdef Whole* g = <Whole*>graph
    cdef uint32_t n = 0
    cdef Edge* edge
    fl_mutex_lock(&g.mutex)
    cursor[0] = max(cursor[0], 1)
    while n < limit and cursor[0] < g.order.edges.used:
        edge = edge_at(&g.order, cursor[0])
        if edge.witnesses and edge.direct and node_at(&g.order, edge.tail).cls == 0:
            copy_link(g, cursor[0], edge.witness, &out[n])
            n += 1
        cursor[0] += 1
    fl_mutex_unlock(&g.mutex)
    return n


cdef uint32_t graph_circles(FGraph* graph, GCircle* out, uint32_t limit) noexcept nogil:
    """Copies circles that have been reported and still stand, as they are to be judged now, shortest first."""
    cdef Whole* g = <Whole*>graph
    cdef uint32_t i, length, n = 0
    cdef Record* r
    cdef int tier
    fl_mutex_lock(&g.mutex)
    for length in range(2, G_LONGEST + 1):
        for i in range(1, g.judge.records.used):
            r = record_at(&g.judge, i)
            if n == limit or r.key == 0 or r.n != length or r.tier == T_FILTERED:
                continue
            tier = judge_circle(&g.judge, r.edges, r.n)
            if tier != T_FILTERED:
                copy_circle(g, &g.judge.path, tier, &out[n])
                out[n].token = 0
                out[n].direct_edge = 0
                n += 1
    fl_mutex_unlock(&g.mutex)
    return n


cdef void graph_stats(FGraph* graph, GStats* out) noexcept nogil:
    cdef Whole* g = <Whole*>graph
    fl_mutex_lock(&g.mutex)
    out.nodes = g.order.nodes.live
    out.edges = g.order.edges.live
    out.witnesses = g.evidence.witnesses.live
    out.cyclic = g.order.cyclic
    out.seen = g.seen
    out.clocks = g.segments.pool.live
    out.bytes = (sizeof(Whole) + topology_bytes(&g.order) + evidence_bytes(&g.evidence) + pool_bytes(&g.segments.pool)
                 + pool_bytes(&g.judge.records) + map_bytes(&g.judge.by_key) + map_bytes(&g.serials) + g.seen_bytes)
    memcpy(out.filtered, g.judge.counts, sizeof(g.judge.counts))
    out.reported = g.judge.reported
    out.full = g.full
    fl_mutex_unlock(&g.mutex)


cdef uint32_t graph_records(FGraph* graph, GRecord* out, uint32_t limit) noexcept nogil:
    """Copies how circles have been judged, the filtered ones as well, for tests."""
    cdef Whole* g = <Whole*>graph
    cdef uint32_t i, k, n = 0
    cdef Record* r
    fl_mutex_lock(&g.mutex)
    for i in range(1, g.judge.records.used):
        r = record_at(&g.judge, i)
        if r.key and n < limit:
            out[n].n = r.n
            out[n].tier = r.tier
            out[n].filter = r.filter
            for k in range(r.n):
                copy_link(g, r.edges[k], edge_at(&g.order, r.edges[k]).witness, &out[n].link[k])
            n += 1
    fl_mutex_unlock(&g.mutex)
    return n
