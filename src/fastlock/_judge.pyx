# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Judges circles of the lock-order graph.

A circle of classes is a deadlock to come where each of its edges has a witness such that, among them, all agents differ
[agents], no two hold a lock in common that one of them holds exclusively [gate], none is over before another begins
[happens-before], and each wants what makes it wait for the next one [shared]. What weakens that is a doubt.

The search goes edge by edge from the new witness, shortest circles first, and follows nothing that cannot come home
within the length. A circle of a program with one thread is given up at its second edge. Guard: the graph's mutex.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fastlock._evidence cimport *
from fastlock._graph_types cimport *
from fastlock._records cimport *
from fastlock._segments cimport *
from fastlock._topology cimport *

cdef enum:
    ALL_FILTERS = 15


cdef void judge_open(Judge* j, Topology* order, Evidence* evidence, Segments* segments, Records* records) noexcept nogil:
    memset(j, 0, sizeof(Judge))
    j.order = order
    j.evidence = evidence
    j.segments = segments
    j.records = records
    j.budget = 20000


# ---- what two witnesses say together ------------------------------------------------------------

cdef bint one_agent(Witness* a, Witness* b) noexcept nogil:
    """One agent in two jobs counts as two: a pool may run them on two threads the next time.

    Of two tasks of one thread neither comes between what the other one does in one step. The thread's own code and its loop's tasks take
    turns altogether: while it waits for a lock, no task of its goes on."""
    if a.agent == b.agent:
        return a.flags & G_IN_TASK or a.job == b.job or a.job == 0 or b.job == 0
    if a.flags & b.flags & G_ONE_STEP or (a.flags ^ b.flags) & G_IN_TASK:
        return thread_of(a) == thread_of(b)
    return False


cdef uint32_t thread_of(Witness* w) noexcept nogil:
    return w.job if w.flags & G_IN_TASK else job_of_thread(w.agent)


cdef bint ordered(Judge* j, Witness* a, Witness* b) noexcept nogil:
    return segment_before(j.segments, a.clock, b.clock) or segment_before(j.segments, b.clock, a.clock)


cdef bint waits(Witness* a, Witness* b) noexcept nogil:
    """Whether what `a` wants makes it wait for who holds as `b` does."""
    return not (a.flags & G_RECURSIVE and both_share(a, b))


cdef bint both_share(Witness* a, Witness* b) noexcept nogil:
    """Whether both at once may have what `a` wants as it wants it, as far as no writer comes between."""
    return a.flags & G_SHARED and b.flags & G_HELD_SHARED and not (a.flags & G_UPGRADABLE and b.flags & G_HELD_UPGRADABLE)


cdef uint32_t own_doubts(Witness* w) noexcept nogil:
    return (GD_TIMED if w.flags & G_TIMED else 0) | (0 if w.flags & G_EVIDENCE else GD_EVIDENCE)


cdef bint has_writer(Topology* t, uint32_t n) noexcept nogil:
    cdef Node* node = node_at(t, n)
    return node.writer or (node.cls != 0 and node_at(t, node.cls).writer)


cdef uint32_t link_doubts(Judge* j, Witness* a, Witness* b) noexcept nogil:
    """What is doubtful where `a` wants what `b` holds."""
    cdef uint32_t doubts = GD_INSTANCES if a.to_serial != b.from_serial else 0
    if both_share(a, b) and not has_writer(j.order, edge_at(j.order, b.edge).tail):
        doubts |= GD_WRITER
    return doubts


cdef bint go_together(Judge* j, Witness* a, Witness* b) noexcept nogil:
    if j.filters & (1 << GF_AGENTS) and one_agent(a, b):
        return False
    if j.filters & (1 << GF_GATE) and gated(j.evidence, a.lockset, b.lockset):
        return False
    return not (j.filters & (1 << GF_HAPPENS_BEFORE)) or not ordered(j, a, b)


cdef bint passes(Judge* j, Witness* w, bint last) noexcept nogil:
    """Whether a witness can be the next link of the path, and its last one where it has to close the circle."""
    cdef uint32_t i
    cdef uint32_t n = j.path.n
    cdef Witness* before = NULL
    cdef Witness* first = NULL
    for i in range(n):
        if not go_together(j, witness_at(j.evidence, j.path.witnesses[i]), w):
            return False
    if n:
        before = witness_at(j.evidence, j.path.witnesses[n - 1])
        first = witness_at(j.evidence, j.path.witnesses[0])
    if j.filters & (1 << GF_SHARED):
        if n and not waits(before, w) or last and not waits(w, first):
            return False
    if j.tier == T_HIGH:
        return not (own_doubts(w) or n and link_doubts(j, before, w) or last and link_doubts(j, w, first))
    return True


# ---- searches -----------------------------------------------------------------------------------

cdef uint32_t doubts_of(Judge* j) noexcept nogil:
    cdef uint32_t i, doubts = 0
    cdef Witness* w
    for i in range(j.path.n):
        w = witness_at(j.evidence, j.path.witnesses[i])
        doubts |= own_doubts(w) | link_doubts(j, w, witness_at(j.evidence, j.path.witnesses[(i + 1) % j.path.n]))
    return doubts


cdef bint accept(Judge* j) noexcept nogil:
    """Whether the circle that has been closed is news: has not been reported in its tier."""
    cdef uint32_t record
    j.path.doubts = doubts_of(j)
    if j.along != NULL:
        return True
    record = record_find(j.records, j.path.edges, j.path.n)
    if record == 0 or record_at(j.records, record).tier < (T_POSSIBLE if j.path.doubts else T_HIGH):
        return True
    j.told = True
    return False


cdef bint leads_home(Judge* j, Edge* edge, uint32_t length) noexcept nogil:
    """Whether an edge can be the next one of a circle of that many links."""
    cdef uint32_t i
    cdef uint32_t n = j.path.n
    cdef Node* node = node_at(j.order, edge.head)
    if n + 1 == length:
        j.longer = True
        return edge.head == edge_at(j.order, j.path.edges[0]).tail
    if node.backward != j.order.stamp or node.distance == 0:
        return False
    if n + 1 + node.distance > length:
        j.longer = True
        return False
    for i in range(n):
        if edge_at(j.order, j.path.edges[i]).head == edge.head:
            return False
    return True


cdef bint try_edge(Judge* j, uint32_t e, uint32_t length) noexcept nogil:
    cdef uint32_t n = j.path.n
    cdef uint32_t w = edge_at(j.order, e).witness
    while w:
        if j.steps == 0:
            j.cut = True
            return False
        j.steps -= 1
        if passes(j, witness_at(j.evidence, w), n + 1 == length):
            j.path.edges[n] = e
            j.path.witnesses[n] = w
            j.path.n = n + 1
            if accept(j) if n + 1 == length else extend(j, length):
                return True
            j.path.n = n
        w = witness_at(j.evidence, w).next
    return False


cdef bint extend(Judge* j, uint32_t length) noexcept nogil:
    """Completes the path to a circle of that length; calls itself G_LONGEST deep at most."""
    cdef uint32_t e
    if j.along != NULL:
        return try_edge(j, j.along[j.path.n], length)
    e = edge_at(j.order, j.path.edges[j.path.n - 1]).head
    e = node_at(j.order, e).first_out
    while e and not j.cut:
        if leads_home(j, edge_at(j.order, e), length) and try_edge(j, e, length):
            return True
        e = edge_at(j.order, e).next_out
    return False


cdef bint hunt(Judge* j, uint32_t w, int tier, uint32_t shortest, uint32_t longest) noexcept nogil:
    """Looks for a shortest circle through a witness.

    One that has been told already, in j.told, is as good: a tangle has more circles than anyone wants to be told of."""
    cdef uint32_t length
    j.along = NULL
    j.filters = ALL_FILTERS
    j.tier = tier
    j.steps = j.budget
    j.cut = False
    j.told = False
    for length in range(shortest, longest + 1):
        j.longer = False
        j.path.n = 1
        j.path.edges[0] = witness_at(j.evidence, w).edge
        j.path.witnesses[0] = w
        if extend(j, length):
            return True
        if j.cut or j.told or not j.longer:
            return False
    return False


cdef int judge_witness(Judge* j, uint32_t w, Path* out) noexcept nogil:
    """The tier of the best circle through a witness, or T_TOLD, T_FILTERED, T_NONE.

    out.doubts has GD_BUDGET where the search was cut off."""
    cdef Edge* edge = edge_at(j.order, witness_at(j.evidence, w).edge)
    cdef uint32_t longest, shortest
    cdef uint32_t budget = j.budget
    cdef bint found = False
    cdef bint cut = False
    out.n = out.doubts = 0
    if not together(j.order, edge.tail, edge.head):
        return T_NONE
    if not topology_distances(j.order, edge.tail, edge.head, G_LONGEST - 1, &budget):
        j.unsearched += budget == 0
        return T_NONE
    shortest = 1 + node_at(j.order, edge.head).distance
    longest = min(<uint32_t>G_LONGEST, component_at(j.order, node_at(j.order, edge.tail).component).size)
    if own_doubts(witness_at(j.evidence, w)) == 0:
        found = hunt(j, w, T_HIGH, shortest, longest)
        cut = j.cut
        if j.told and not found:
            return T_TOLD
    if not found:
        found = hunt(j, w, T_POSSIBLE, shortest, longest)
        cut |= j.cut or budget == 0
        if j.told and not found:
            return T_TOLD
    if found:
        out[0] = j.path
        if out.doubts == 0:
            return T_HIGH
    if cut:
        out.doubts |= GD_BUDGET
    return T_POSSIBLE if found else T_FILTERED


cdef int judge_circle(Judge* j, uint32_t* edges, uint32_t n) noexcept nogil:
    """The tier of a circle by all of its witnesses, with the best ones in j.path."""
    cdef int tier
    for tier in range(T_HIGH, T_FILTERED, -1):
        if combine(j, edges, n, ALL_FILTERS, tier):
            return tier
    return T_FILTERED


cdef bint combine(Judge* j, uint32_t* edges, uint32_t n, uint32_t filters, int tier) noexcept nogil:
    j.along = edges
    j.filters = filters
    j.tier = tier
    j.steps = j.budget
    j.cut = False
    j.path.n = 0
    return extend(j, n)


cdef int judge_filter(Judge* j, uint32_t* edges, uint32_t n) noexcept nogil:
    """The first filter that no combination of a circle's witnesses passes together with those before it; -1: all pass."""
    cdef int f
    for f in range(4):
        if not combine(j, edges, n, (2 << f) - 1, T_POSSIBLE):
            return GF_BUDGET if j.cut else f
    return -1


cdef void shortest_circle(Judge* j, uint32_t edge, Path* out) noexcept nogil:
    """A shortest circle through an edge, after judge_witness has set the distances."""
    cdef uint32_t e, n, goal
    out.n = 1
    out.edges[0] = edge
    n = edge_at(j.order, edge).head
    goal = edge_at(j.order, edge).tail
    while n != goal:
        e = node_at(j.order, n).first_out
        while not nearer(j, edge_at(j.order, e).head, n):
            e = edge_at(j.order, e).next_out
        out.edges[out.n] = e
        out.n += 1
        n = edge_at(j.order, e).head


cdef bint nearer(Judge* j, uint32_t a, uint32_t b) noexcept nogil:
    return node_at(j.order, a).backward == j.order.stamp and node_at(j.order, a).distance < node_at(j.order, b).distance
