# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Learns what an agent wants under what it holds, and has what is new judged.

An edge leads from every lock held to the one wanted. It is direct from the topmost lock that was not taken by a try-lock,
and from what lies above; the others count as well, but are implied by those.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastlock._evidence cimport *
from fastlock._graph_types cimport *
from fastlock._judge cimport *
from fastlock._pool cimport *
from fastlock._records cimport *
from fastlock._segments cimport *
from fastlock._store cimport *
from fastlock._topology cimport *

cdef struct Call:
    GWant* want
    uint64_t top_edge          # from the lock on top, by reference
    bint learned               # some witness is new
    bint temporary             # the tables are full: forget it afterwards
    bint unchecked             # not even that was possible


# ---- edges and witnesses ------------------------------------------------------------------------

cdef uint32_t flags_of(GWant* want, GHeld* held) noexcept nogil:
    return (want.flags & (G_SHARED | G_UPGRADABLE | G_RECURSIVE | G_TIMED | G_REACQUIRE | G_IN_TASK | G_ONE_STEP)
            | held.flags & (G_TRY | G_EVIDENCE) | (G_HELD_SHARED if held.flags & G_SHARED else 0)
            | (G_HELD_UPGRADABLE if held.flags & G_UPGRADABLE else 0))


cdef bint wants_upgrade(GWant* want) noexcept nogil:
    """Whether what is wanted is held already, by the upgradable share: what counts is what else is held then."""
    return want.flags & (G_SHARED | G_UPGRADABLE) == G_UPGRADABLE


cdef uint32_t mode_of(GHeld* held) noexcept nogil:
    return (MODE_EXCLUSIVE if not held.flags & G_SHARED else MODE_UPGRADABLE if held.flags & G_UPGRADABLE else MODE_SHARED)


cdef bint ends_of(Store* s, GWant* want, GHeld* held, uint32_t* tail, uint32_t* head) noexcept nogil:
    tail[0] = held.node
    head[0] = want.node
    if held.node == want.node:
        tail[0] = instance(s, held.serial, held.node)
        head[0] = instance(s, want.serial, want.node)
    return tail[0] != 0 and head[0] != 0


cdef uint32_t new_witness(Store* s, Call* call, GHeld* held, uint32_t tail, uint32_t head) noexcept nogil:
    """Learns an edge or one more witness of it; 0 where there is no memory for either."""
    cdef uint32_t w
    cdef uint32_t e = topology_find(&s.order, tail, head)
    if e == 0 and s.order.edges.live >= s.max_edges or s.evidence.witnesses.live >= s.max_witnesses:
        call.temporary = True
    if e == 0:
        e = topology_insert(&s.order, tail, head)
    w = 0
    if e:
        w = witness_new(&s.evidence, call.want, held, flags_of(call.want, held))
        if w == 0 and edge_at(&s.order, e).witnesses == 0:
            topology_remove(&s.order, e)
    if w:
        witness_at(&s.evidence, w).call = s.calls
        segment_ref(&s.segments, call.want.clock)
        attach(s, w, e)
        call.learned = True
    return w


cdef void learn_edge(Store* s, Call* call, GHeld* held, uint32_t lockset, bint direct, bint top) noexcept nogil:
    """Finds or makes the witness for one of the locks held, and puts it on the list of those to judge where that is due."""
    cdef uint32_t tail, head, e, w = 0
    cdef Witness like
    if not ends_of(s, call.want, held, &tail, &head):
        call.unchecked = True
        drop_idle_instance(s, tail)
        drop_idle_instance(s, head)
        return
    e = topology_find(&s.order, tail, head)
    if e and lockset:
        like.agent = call.want.agent
        like.job = call.want.job
        like.clock = call.want.clock
        like.from_serial = held.serial
        like.to_serial = call.want.serial
        like.lockset = lockset
        like.flags = flags_of(call.want, held)
        w = known_witness(s, e, &like)
    if w == 0:
        w = new_witness(s, call, held, tail, head)
        if w:
            list_push(&s.pending, w)
        else:
            call.unchecked = True
            drop_idle_instance(s, tail)
            drop_idle_instance(s, head)
            return
    elif witness_at(&s.evidence, w).fresh:
        if s.order.edges.live < s.max_edges and s.evidence.witnesses.live < s.max_witnesses:
            witness_at(&s.evidence, w).call = s.calls       # to be taken back with the rest
        list_push(&s.pending, w)
    e = witness_at(&s.evidence, w).edge
    edge_at(&s.order, e).direct |= direct
    list_push(&s.touched, e)
    edge_counts(&s.order, edge_ref(&s.order, e), 1)
    if top:
        call.top_edge = edge_ref(&s.order, e)


cdef bint prepare(Store* s, GWant* want, uint32_t* lockset) noexcept nogil:
    """Gathers the set of locks held; False where there is nothing to learn."""
    cdef uint32_t i
    cdef bint has = False
    if not is_class(s, want.node) or is_signal(s, want.serial):
        return False
    if not want.flags & G_SHARED:
        node_at(&s.order, want.node).writer = 1
    if want.flags & G_TRY or want.depth == 0 or not gather_begin(&s.evidence, want.depth):
        return False
    for i in range(want.depth):
        has |= want.held[i].serial == want.serial
        if not want.held[i].flags & G_SHARED and is_class(s, want.held[i].node):
            node_at(&s.order, want.held[i].node).writer = 1
        if not is_signal(s, want.held[i].serial):
            gather(&s.evidence, want.held[i].serial, mode_of(&want.held[i]))
    if has and not wants_upgrade(want):
        return False
    lockset[0] = gather_end(&s.evidence)
    return True


cdef void learn_edges(Store* s, Call* call, uint32_t lockset) noexcept nogil:
    cdef GWant* want = call.want
    cdef GHeld* held
    cdef uint32_t i
    cdef uint32_t blocking = 0     # the topmost lock that was not taken by try: edges from there up are direct
    cdef uint32_t top = 0
    for i in range(want.depth):
        if want.held[i].serial != want.serial:
            top = i
            if not want.held[i].flags & G_TRY:
                blocking = i
    for i in range(want.depth):
        held = &want.held[i]
        if not is_class(s, held.node) or is_signal(s, held.serial) or held.serial == want.serial:
            continue
        if held.node == want.node and want.flags & G_NESTED:
            continue
        learn_edge(s, call, held, lockset, i >= blocking, i == top)


# ---- judging ------------------------------------------------------------------------------------

cdef void keep_record(Store* s, Path* circle, int tier, int filter) noexcept nogil:
    s.records.news = False
    if not record_set(&s.records, circle.edges, circle.n, tier, filter, s.calls):
        s.full = True
    if s.records.news:
        s.outdated = True


cdef void note_filtered(Store* s, uint32_t w, bint cut) noexcept nogil:
    """Records why the shortest circle through a witness is none to report, and keeps an eye on it."""
    cdef Path circle
    cdef int reason
    shortest_circle(&s.judge, witness_at(&s.evidence, w).edge, &circle)
    reason = judge_filter(&s.judge, circle.edges, circle.n)
    if cut and record_find(&s.records, circle.edges, circle.n) == 0:
        reason = GF_BUDGET      # there are others, and one of them may pass
    if reason >= 0:
        keep_record(s, &circle, T_FILTERED, reason)


cdef int judge_pending(Store* s, Path* best) noexcept nogil:
    """Judges what is new; returns the tier of the best circle that is news, T_NONE for none."""
    cdef Path circle
    cdef int tier, best_tier = T_NONE
    cdef uint32_t i, w, chosen = 0
    for i in range(s.pending.n):
        w = s.pending.items[i]
        tier = judge_witness(&s.judge, w, &circle)
        witness_at(&s.evidence, w).fresh = False
        if tier == T_FILTERED:
            note_filtered(s, w, circle.doubts & GD_BUDGET)
        elif tier != T_NONE and tier != T_TOLD:
            # What is not told now is told when it is seen again.
            witness_at(&s.evidence, w).fresh = True
            if best_tier == T_NONE or tier > best_tier or tier == best_tier and circle.n < best.n:
                best[0] = circle
                best_tier = tier
                chosen = w
    if chosen:
        witness_at(&s.evidence, chosen).fresh = False
        keep_record(s, best, best_tier, 0)
    return best_tier


cdef void thin_out(Store* s) noexcept nogil:
    """Brings edges that have got too many witnesses back to their limit, and notes how well the others are known."""
    cdef uint32_t i, e
    for i in range(s.pending.n):
        weigh(s, s.pending.items[i])
    for i in range(s.pending.n):
        e = witness_at(&s.evidence, s.pending.items[i]).edge     # 0 where it has gone already
        if e and edge_at(&s.order, e).witnesses > s.most_witnesses:
            drop_witness(s, spare_witness(s, edge_at(&s.order, e)))


cdef uint64_t token_of(Store* s, GWant* want) noexcept nogil:
    """Number of the call and the node its edges lead to: the instance, where there is one, knows its class."""
    cdef uint32_t n = map_get(&s.serials, want.serial)
    return s.calls << 24 | (n if n else want.node)


cdef bint any_watched(Store* s) noexcept nogil:
    cdef uint32_t i
    for i in range(s.touched.n):
        if edge_at(&s.order, s.touched.items[i]).watched:
            return True
    return False


cdef int learn(Store* s, GWant* want, GCircle* out) noexcept nogil:
    cdef Call call
    cdef Path best
    cdef uint32_t lockset
    cdef int tier = T_NONE
    cdef bint watched
    if not prepare(s, want, &lockset):
        return G_KNOWN
    memset(&call, 0, sizeof(Call))
    call.want = want
    s.calls += 1
    s.pending.n = s.touched.n = 0
    if not list_room(&s.pending, want.depth) or not list_room(&s.touched, want.depth):
        return G_FULL
    learn_edges(s, &call, lockset)
    out.direct_edge = call.top_edge
    if s.pending.n:
        tier = judge_pending(s, &best)
        out.token = token_of(s, want)
    if tier != T_NONE:
        copy_circle(s, &best, tier, out)
    watched = any_watched(s)
    if s.pending.n:
        thin_out(s)
    if call.temporary:
        forget(s, out.token)
    if call.temporary or call.unchecked:
        s.full = True
        return G_FOUND if tier != T_NONE else G_FULL
    if tier != T_NONE:
        return G_FOUND
    return G_WATCHED if watched else G_LEARNED if call.learned else G_KNOWN


# ---- copying out --------------------------------------------------------------------------------

cdef uint32_t class_of(Store* s, uint32_t n) noexcept nogil:
    return node_at(&s.order, n).cls if node_at(&s.order, n).cls else n


cdef void copy_link(Store* s, uint32_t e, uint32_t w, GLink* out) noexcept nogil:
    cdef Edge* edge = edge_at(&s.order, e)
    cdef Witness* witness = witness_at(&s.evidence, w)
    out.edge = edge_ref(&s.order, e)
    out.from_node = class_of(s, edge.tail)
    out.to_node = class_of(s, edge.head)
    out.held_site = witness.held_site
    out.wanted_site = witness.wanted_site
    out.from_lock = witness.from_lock
    out.to_lock = witness.to_lock
    out.flags = witness.flags | (0 if edge.direct else <uint32_t>G_IMPLIED)
    out.from_serial = witness.from_serial
    out.to_serial = witness.to_serial
    out.agent = witness.agent
    out.job = witness.job
    memcpy(out.name, name_at(&s.evidence, witness.name).text, G_NAME)
    out.count = edge_count(edge)
    out.first_s = witness_at(&s.evidence, edge.witness).wall_s


cdef void copy_circle(Store* s, Path* circle, int tier, GCircle* out) noexcept nogil:
    cdef uint32_t i
    out.n = circle.n
    out.high = tier == T_HIGH
    out.doubts = circle.doubts
    for i in range(circle.n):
        copy_link(s, circle.edges[i], circle.witnesses[i], &out.link[i])
