# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What is wanted meets what is held: the slow side of level order.

order_before() in _core.pxd has found that this lock was not wanted in this way last time. Here the held stack is put in order,
ranks and keys are compared, and only a pair that the graph has not seen from this agent goes to the graph. All of it runs in
the acquiring agent, before it acquires, under the GIL and with no mutex held but the graph's own, inside the graph.

Keys. A pair's key is made of the classes and modes of everything held, of how the lock is wanted, of the epoch, and of the
agent, until enough different agents have shown it. It is kept in the wanted lock for the next time, and in the graph's table of
seen keys for the class's other locks. Locks of a class that are taken under each other are told apart: by serial in place of class.
While it is not known who will release what is held, which is so until a Lock's first release, a pair is only kept in the table, under
a key that says so: the next time it makes a better witness.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastlock._classes cimport class_of, class_at, class_split, graph, pair_settle
from fastlock._clocks cimport place_in_time
from fastlock._graph cimport *
from fastlock._native cimport fl_get64, fl_load64, fl_site_key
from fastlock._options cimport LockOptions, options_of
from fastlock._order_facts cimport inversion_event, rank_event
from fastlock._sites cimport site_here
from fastlock._table cimport *
from fastlock._tasks cimport task_keep
from fastlock._found cimport has_evidence

from fastlock._order_facts import dump
from time import time

cdef uint64_t EPOCH = 0xA0761D6478BD642F    # any constant

cdef enum:
    STACK = 16                 # held locks that need no allocation
    UNSURE = 1 << 16           # in a key: something held is without evidence of ownership

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)

cdef uint64_t order_epoch = 0
cdef uint64_t forgotten = 0     # times that all pairs became unknown for a reason outside the graph


cdef void renew_epoch() noexcept:
    global order_epoch
    # Mixed twice: mixed once it could be the very tag of a class, and the key of that class alone would be 0, which is none.
    order_epoch = mix(mix(<uint64_t>graph_epoch(graph) + 1, forgotten), EPOCH)


cdef void order_forget_pairs() noexcept:
    """Makes every pair unknown: what it means to want a lock has changed."""
    global forgotten
    forgotten += 1
    renew_epoch()


# ---- the held stack -------------------------------------------------------------------------------------

cdef bint holds_entry(FSelf* me, FHeld* h) noexcept:
    """Whether the agent still holds what it took; somebody else may have released it, and a signal has no owner."""
    if h.lock.serial == 0 or h.lock.marks & M_SIGNAL:
        return False
    if h.flags & H_SHARED:
        return hold_count(in_whose_name(me, h), h.lock, NULL) != 0
    if owner_bits(fl_load64(&h.lock.word)) != in_whose_name(me, h).word:
        return False
    # Another task of the same thread may have released it, and somebody taken it since.
    return not h.flags & H_IN_TASK or (h.lock.marks & M_PLACED and <uint32_t>(fl_get64(&h.lock.placed) >> 32) == h.stamp)


cdef inline FSelf* in_whose_name(FSelf* me, FHeld* h) noexcept:
    """Whom the table knows as the holder: of a synchronous lock that a task holds, its loop's thread."""
    return me.thread if h.flags & H_IN_TASK else me


cdef int tidy(FSelf* me) except -1:
    """Drops stale entries and makes every entry's chain known."""
    cdef uint32_t i, kept = 0
    cdef FHeld* h
    cdef uint64_t chain = 0, tag
    for i in range(me.depth):
        if holds_entry(me, &me.held[i]):
            me.held[kept] = me.held[i]
            kept += 1
    me.depth = kept
    i = 0
    while i < me.depth:             # naming a class may run a finaliser, which takes locks and gives them back
        h = &me.held[i]
        if h.lock.node == 0 and class_of(h.lock) == 0:
            return 0
        h = &me.held[i]
        tag = held_tag(h.lock, h.flags)
        chain = chained(chain, tag) if i else tag
        h.chain = chain
        i += 1
    return 1


# ---- judging -----------------------------------------------------------------------------------------------

cdef dict order_judge(FLock* L, FSelf* me, uint32_t flags, bint timed):
    """The event of an inversion or a violated rank, None where there is nothing to say."""
    cdef uint32_t i
    cdef uint64_t key, seen, salt
    cdef bint plain
    cdef bint alone = True      # nothing else is held
    cdef dict event
    if L.marks & M_SIGNAL or class_of(L) == 0 or not tidy(me) or me.depth == 0:
        return None
    plain = not class_at(L.node).by_instance
    for i in range(me.depth):
        if me.held[i].lock == L:
            if not wants_upgrade(flags) or not me.held[i].flags & H_SHARED:
                return None         # once more, or a self-deadlock: not a matter of order
            continue
        alone = False
        if class_at(me.held[i].lock.node).by_instance:
            plain = False
        if not has_evidence(me.held[i].lock):
            flags |= UNSURE
    if alone:
        return None
    if me.nested == L.serial or (me.task != NULL and me.thread.nested == L.serial):
        flags |= H_NESTED
    elif L.marks & M_RANKED:
        event = rank_event(L, me)
        if event is not None or not tidy(me) or me.depth == 0:     # comparing keys runs code of the program's
            return event
    key = me.held[me.depth - 1].chain ^ order_epoch ^ flags
    seen = mix(key, L.tag)
    if plain and not flags & H_NESTED:
        salt = salt_of(me, flags)
        if keep_known(L, key ^ salt, flags, seen ^ salt):
            return None
        if keep_known(L, key ^ pair_salt(me, flags, common_salt(me)), flags, seen ^ common_salt(me)):
            return None
    return learn(L, me, flags, timed, plain)


cdef inline bint wants_upgrade(uint32_t flags) noexcept:
    """Whether who wants the lock has its upgradable share, and waits for readers who may want something else that it holds."""
    return flags & (H_SHARED | H_UPGRADABLE) == H_UPGRADABLE


cdef inline uint64_t salt_of(FSelf* me, uint32_t flags) noexcept:
    """Whose the order is that is shown: what a task does in one step, any task of its thread may as well have done."""
    return me.thread.salt if flags & H_ONE_STEP else me.salt


cdef inline uint64_t common_salt(FSelf* me) noexcept:
    """Whose it is once enough agents have shown it: everybody's, but of tasks their thread's, for they count as one against its own code."""
    return me.thread.salt if me.task != NULL else 0


cdef inline uint64_t pair_salt(FSelf* me, uint32_t flags, uint64_t salt) noexcept:
    """What such a pair is kept under in the lock: a task that wants it again finds its own, others of its thread ask the graph's table."""
    return salt_of(me, flags) if me.task != NULL else salt


cdef bint keep_known(FLock* L, uint64_t key, uint32_t flags, uint64_t seen) noexcept:
    """Counts a pair that the graph has seen, and keeps it; False where it is news, or its edge has gone meanwhile."""
    cdef uint64_t edge = graph_seen(graph, seen)
    if edge == 0 or not graph_count(graph, edge, 1):
        return False
    keep_pair(L, key, flags, edge)
    return True


cdef void keep_pair(FLock* L, uint64_t key, uint32_t flags, uint64_t edge) noexcept:
    """Remembers in the lock how it was wanted, so that the next time costs two compares."""
    if L.marks & M_RANKED or flags & UNSURE:
        return
    pair_settle(L)
    L.pair_key = key
    L.pair_edge = <uint32_t>edge
    L.pair_count = edge >> G_EDGE_BITS << G_EDGE_BITS


cdef dict learn(FLock* L, FSelf* me, uint32_t flags, bint timed, bint plain):
    cdef GHeld room[STACK]
    cdef GHeld* held = room
    cdef GWant want
    cdef GCircle circle
    cdef int answer
    if split_if_nested(L, me) and not tidy(me):
        return None
    agent_refresh_name(me)
    if me.task != NULL:
        task_keep(me)               # it must be known again: one task's two orders are no inversion
    place_in_time(me)
    if me.depth > STACK:
        held = <GHeld*>malloc(me.depth * sizeof(GHeld))
        if held == NULL:
            raise MemoryError
    want.held = held
    fill_want(&want, L, me, flags | (H_TIMED if timed else 0))
    answer = graph_learn(graph, &want, &circle)
    if held != room:
        free(held)
    renew_epoch()
    if answer == G_FOUND:
        return inversion_event(&circle, L, me)
    if answer == G_KNOWN or answer == G_LEARNED:
        remember(L, me, flags, plain, circle.direct_edge)
    return None


cdef void remember(FLock* L, FSelf* me, uint32_t flags, bint plain, uint64_t edge) noexcept:
    """The pair is known from here on, from everybody once enough agents have shown it."""
    cdef uint64_t key, salt
    if me.depth == 0 or edge == 0 or flags & H_NESTED:
        return
    key = me.held[me.depth - 1].chain ^ order_epoch ^ flags
    salt = common_salt(me) if graph_saturated(graph, edge) else salt_of(me, flags)
    if plain and not class_at(L.node).by_instance:
        graph_remember(graph, mix(key, L.tag) ^ salt, edge)
    keep_pair(L, key ^ pair_salt(me, flags, salt), flags, edge)


cdef bint split_if_nested(FLock* L, FSelf* me) noexcept:
    """Tells the locks of a class apart from the first time on that two are taken together."""
    cdef uint32_t i
    for i in range(me.depth):
        if me.held[i].lock != L and me.held[i].lock.node == L.node and class_split(L.node):
            order_forget_pairs()
            return True
    return False


cdef void fill_want(GWant* want, FLock* L, FSelf* me, uint32_t flags) noexcept:
    cdef uint32_t i
    cdef GHeld* g
    cdef FHeld* h
    want.serial = L.serial
    want.lock = L.index
    want.node = L.node
    want.site = site_here(fl_site_key())
    want.flags = flags & ~<uint32_t>UNSURE | (H_IN_TASK if me.task != NULL else 0)
    want.agent = agent_id(me)
    want.job = job_of_thread(agent_id(me.thread)) if me.task != NULL else me.job
    want.clock = me.clock
    want.wall_s = time()
    want.depth = 0
    memcpy(want.name, me.pub.name, sizeof(want.name))
    want.name[sizeof(want.name) - 1] = 0
    for i in range(me.depth):
        h = &me.held[i]
        if h.lock != L and h.lock.node == L.node and both_have_keys(h.lock, L):
            continue                # the keys say in which order
        g = &want.held[want.depth]
        g.serial = h.lock.serial
        g.lock = h.lock.index
        g.node = h.lock.node
        g.site = held_site(in_whose_name(me, h), h.lock)
        g.flags = h.flags | (H_EVIDENCE if has_evidence(h.lock) else 0)
        want.depth += 1


cdef bint both_have_keys(FLock* a, FLock* b) noexcept:
    cdef LockOptions one, two
    if not a.marks & b.marks & M_RANKED:
        return False
    one, two = options_of(a), options_of(b)
    return one is not None and two is not None and one.key is not None and two.key is not None


cdef void order_take_back(dict event) noexcept:
    """Unlearns what an event was made from: the acquire has been refused, and will be the next time."""
    token = event.get("token")
    if token is not None:
        graph_retract(graph, token)
        renew_epoch()


cdef void order_signal(FLock* L) noexcept:
    """The lock turns out to be a signal: what was learned from it is taken back."""
    graph_signal(graph, L.serial)
    renew_epoch()


# ---- fork ----------------------------------------------------------------------------------------------------

cdef void before_fork() noexcept nogil:
    graph_before_fork(graph)


cdef void after_fork() noexcept nogil:
    graph_after_fork(graph)


pthread_atfork(before_fork, after_fork, after_fork)
renew_epoch()
