# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""A copy of who waits for what, who could end that, and the greatest fixed point of it: everything that has a waker which can run, can run.

Copied with the GIL held, in slices, so that nobody is kept from running; worked out on the copy without it. What is waited for is a node of its
own (agent, need, agents), so 5,000 who wait for one semaphore of 5,000 permits are 10,000 links and not 25 million.

An exclusive lock, readers and a result need all of their holders to let go. Permits need any one holder; so does what one is woken from (a condition,
an event, a barrier, a semaphore that is a signal), of those who have woken it so far. Where these are no measure of who will, as nobody has, or too few times, or
they come and go, anybody who runs may.

Nothing here is told. What has changed since it was copied is found by still_waits() and still_needs(): a wait that is the same wait before and
after has lasted all the time between.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset
from posix.unistd cimport getpid

from fastlock._native cimport *
from fastlock._found cimport does_run, top_of
from fastlock._park cimport revocable
from fastlock._table cimport *
from fastlock._wakers cimport FSource, FWakers, source_agent, source_pool, wakers_lock, wakers_of, wakers_refresh, wakers_unlock
from fastlock._woken cimport BY_MANY, BY_STRANGER, BY_TURNS, Woken, last_count, last_waker, woken_of

cdef enum:
    ESTABLISHED = 3            # wakes, before who has woken somebody so far says who will
    LOOKS_PER_CLOCK = 256

cdef int64_t SLICE_NS = 2000000


# ---- memory -----------------------------------------------------------------------------------------------------

cdef bint copy_open(Copy* c) noexcept nogil:
    memset(c, 0, sizeof(Copy))
    c.n_nodes = agent_limit()
    c.n_locks = lock_limit()
    c.nodes = <Node*>calloc(c.n_nodes, sizeof(Node))
    c.need_of = <uint32_t*>calloc(c.n_locks, sizeof(uint32_t))
    c.queue = <uint32_t*>calloc(c.n_nodes, sizeof(uint32_t))
    c.at = c.n_needs = c.n_links = 1
    c.failed = c.nodes == NULL or c.need_of == NULL or c.queue == NULL
    return not c.failed and room_for_need(c) and room_for_link(c)


cdef void copy_close(Copy* c) noexcept nogil:
    free(c.nodes)
    free(c.needs)
    free(c.links)
    free(c.shares)
    free(c.need_of)
    free(c.queue)
    memset(c, 0, sizeof(Copy))


cdef void* grown(void* items, uint32_t n, uint32_t* room, size_t size) noexcept nogil:
    """Room for one more; NULL where memory is out."""
    cdef void* p
    if items != NULL and n < room[0]:
        return items
    p = realloc(items, <size_t>(room[0] * 2 + 64) * size)
    if p != NULL:
        room[0] = room[0] * 2 + 64
    return p


cdef bint room_for_need(Copy* c) noexcept nogil:
    cdef void* p = grown(c.needs, c.n_needs + 1, &c.needs_room, sizeof(Need))     # two at a time, see need_for()
    if p == NULL:
        c.failed = True
        return False
    c.needs = <Need*>p
    return True


cdef bint room_for_link(Copy* c) noexcept nogil:
    cdef void* p = grown(c.links, c.n_links, &c.links_room, sizeof(Link))
    if p == NULL:
        c.failed = True
        return False
    c.links = <Link*>p
    return True


# ---- copying, with the GIL ------------------------------------------------------------------------------------------

cdef bint copy_some(Copy* c, dict others) noexcept:
    """Copies for some two milliseconds; False where all is copied. `others` has records by serial whose wakers are another one's."""
    cdef int64_t until = fl_now_ns() + SLICE_NS
    while c.at < c.n_nodes and not c.failed:
        copy_agent(c, c.at, others)
        c.at += 1
        if c.at % LOOKS_PER_CLOCK == 0 and fl_now_ns() > until:
            return True
    return False


cdef int copy_agent(Copy* c, uint32_t i, dict others) except? 0:
    cdef FSelf* s = agent_at(i)
    cdef Node* node = &c.nodes[i]
    cdef uint8_t state = fl_load8(&s.pub.state)
    cdef FNode* n
    if state == A_FREE:
        return 1
    node.word = fl_load64(&s.word)
    node.is_task = s.task != NULL
    node.ident = s.pub.ident if s.task == NULL else 0
    copy_shares(c, s, i)
    if state != A_ALIVE:
        node.kind = GONE
        return 1
    node.kind = RUNS
    if s.task != NULL and s.thread != NULL and fl_load8(&s.thread.loops) != 0 and s.thread.pub.index < c.n_nodes:
        node.thread = s.thread.pub.index
    n = top_of(s)
    if n == NULL or does_run(s) or n.deadline_ns >= 0 or s.top.deadline_ns >= 0:
        return 1
    node.need = need_for(c, n, others)
    if node.need != 0:
        node.kind = WAITS
        node.wait_number = n.wait_number
        node.since_ns = n.since_ns
        node.next_waiter = c.needs[node.need].first_waiter
        c.needs[node.need].first_waiter = i
    return 1


cdef void copy_shares(Copy* c, FSelf* s, uint32_t i) noexcept nogil:
    """Notes which shares and permits the agent has: of locks that nobody waits for they are left over."""
    cdef FHolds* h = &s.holds
    cdef FHold* e
    cdef void* p
    cdef uint32_t j
    while h != NULL:
        for j in range(h.used):
            e = &h.entry[j]
            if e.serial == 0:
                continue
            p = grown(c.shares, c.n_shares, &c.shares_room, sizeof(Share))
            if p == NULL:
                c.failed = True
                return
            c.shares = <Share*>p
            c.shares[c.n_shares].serial = e.serial
            c.shares[c.n_shares].lock = e.lock
            c.shares[c.n_shares].agent = i
            c.shares[c.n_shares].count = e.count
            c.n_shares += 1
        h = h.more


cdef uint32_t need_for(Copy* c, FNode* n, dict others) except? 0:
    """The need of a wait, 0 where it is for nothing that is known."""
    cdef FLock* L = lock_at(n.lock_index)
    cdef uint32_t number
    if L == NULL or L.serial != n.lock_serial or L.index >= c.n_locks:
        return 0
    number = c.need_of[L.index]
    if number == 0:
        if not room_for_need(c):
            return 0
        number = c.need_of[L.index] = c.n_needs
        c.n_needs += 1
        make_need(c, number, L, WAIT_EXCLUSIVE, others)
        if L.kind == K_RWLOCK:
            c.n_needs += 1
            make_need(c, number + 1, L, WAIT_SHARED, others)
    if L.kind == K_RWLOCK and n.mode != WAIT_EXCLUSIVE:
        return number + 1 if n.mode == WAIT_SHARED else 0
    return number


cdef int make_need(Copy* c, uint32_t number, FLock* L, uint8_t mode, dict others) except? 0:
    cdef Need* need = &c.needs[number]
    memset(need, 0, sizeof(Need))
    need.lock = L
    need.serial = L.serial
    need.proof = proof_of(L)
    if L.kind == K_CONDITION or L.kind == K_EVENT or L.kind == K_BARRIER or (L.kind == K_SEMAPHORE and L.marks & M_SIGNAL):
        need.woken = 1
        if not (L.kind == K_EVENT or L.kind == K_SEMAPHORE) or L.count == 0:
            need.rule = ANY
            other = others.get(L.serial) if L.kind == K_CONDITION else None
            need_wakers(c, number, L, lock_at(<uint32_t>other) if other is not None else NULL)
    elif not L.marks & M_SIGNAL:
        if L.kind == K_RESULT:
            wakers_refresh(L)
        need_holders(c, number, L, mode)
    return 1


cdef uint64_t proof_of(FLock* L) noexcept nogil:
    """Another one as soon as somebody else holds the lock, or has woken it."""
    if L.kind == K_CONDITION or L.kind == K_BARRIER:
        return mix(L.tag, L.acquired)
    if L.kind == K_EVENT:
        return mix(L.tag, L.count)
    if L.kind == K_RESULT:
        return result_proof(L)
    return mix(owner_bits(fl_load64(&L.word)), <uint64_t>L.count ^ L.marks)


cdef uint64_t result_proof(FLock* L) noexcept nogil:
    cdef FWakers* w
    cdef FSource* source
    cdef uint64_t proof = 0
    cdef uint32_t i
    wakers_lock()
    w = wakers_of(L)
    for i in range(w.n if w != NULL else 0):
        source = w.source[i]
        if source != NULL:
            proof += mix(mix(i, source.state), source.word ^ source.ident ^ source.pool_serial)
    wakers_unlock()
    return proof


cdef void need_holders(Copy* c, uint32_t number, FLock* L, uint8_t mode) noexcept nogil:
    """Who has to let the lock go; shares are added in copy_end()."""
    cdef Need* need = &c.needs[number]
    cdef uint64_t word = fl_load64(&L.word)
    if L.kind == K_SEMAPHORE:
        need.rule = ANY if L.count == 0 else FREE
        need.shared = 1
    elif L.kind == K_RESULT:
        need_sources(c, number, L)
    elif L.kind == K_OPAQUE:
        need.rule = FREE
    elif owner_bits(word) != 0:
        need.rule = ALL
        if revocable(word) or not link(c, number, agent_of(word)):
            need.rule = FREE
    elif L.kind == K_RWLOCK and mode == WAIT_SHARED:
        need.rule = ALL if link(c, number, first_writer(L)) else FREE
    elif L.kind == K_RWLOCK:
        need.rule = ALL
        need.shared = 1


cdef void need_sources(Copy* c, uint32_t number, FLock* L) noexcept nogil:
    """Who is to bring the results: agents, and pools, which are needs of their own. One that is not known, or is there already, may come at any moment."""
    cdef FWakers* w
    cdef uint32_t i, pool
    cdef FSelf* agent
    wakers_lock()
    w = wakers_of(L)
    c.needs[number].rule = FREE if w == NULL else ANY if w.any else ALL
    for i in range(w.n if w != NULL else 0):
        agent = source_agent(w.source[i])
        pool = pool_need(c, source_pool(w.source[i])) if agent == NULL else 0
        if agent != NULL:
            link(c, number, agent)
        elif pool != 0:
            link_pool(c, number, pool)
        elif w.any:
            c.needs[number].rule = FREE
    wakers_unlock()
    if c.needs[number].links == 0:
        c.needs[number].rule = FREE


cdef uint32_t pool_need(Copy* c, FLock* L) noexcept nogil:
    """The need of work that is queued in a pool: any of its workers, where all that there can be have a job; their shares are added in copy_end()."""
    cdef Need* need
    if L == NULL or L.index >= c.n_locks or not room_for_need(c):
        return 0
    if c.need_of[L.index] == 0:
        need = &c.needs[c.n_needs]
        memset(need, 0, sizeof(Need))
        need.lock = L
        need.serial = L.serial
        need.proof = proof_of(L)
        need.rule = ANY if L.count >= L.limit else FREE
        need.shared = 1
        c.need_of[L.index] = c.n_needs
        c.n_needs += 1
    return c.need_of[L.index]


cdef bint link_pool(Copy* c, uint32_t number, uint32_t pool) noexcept nogil:
    """The need waits for another one."""
    cdef Link* at
    if not room_for_link(c):
        return False
    at = &c.links[c.n_links]
    at.need = number
    at.agent = 0
    at.next_of_agent = c.needs[pool].first_queued
    c.needs[pool].first_queued = c.n_links
    at.next_of_need = c.needs[number].first_link
    c.needs[number].first_link = c.n_links
    at.pool = pool
    c.needs[number].links += 1
    c.n_links += 1
    return True


cdef FSelf* first_writer(FLock* L) noexcept nogil:
    """The waiting writer behind which new readers queue."""
    cdef fl_mutex* m = bucket(L)
    cdef FNode* n
    cdef FSelf* writer = NULL
    fl_mutex_lock(m)
    n = L.head
    while n != NULL and writer == NULL:
        if n.mode == WAIT_EXCLUSIVE and n.state == N_QUEUED:
            writer = n.agent
        n = n.next
    fl_mutex_unlock(m)
    return writer


cdef void need_wakers(Copy* c, uint32_t number, FLock* L, FLock* other) noexcept nogil:
    """Who has woken what waits there, or at the other record, and whether that says who will."""
    cdef uint64_t times = add_wakers(c, number, L)
    if other != NULL:
        times += add_wakers(c, number, other)
    if c.needs[number].rule == ANY and times < ESTABLISHED:
        c.needs[number].rule = ANYBODY


cdef uint64_t add_wakers(Copy* c, uint32_t number, FLock* L) noexcept nogil:
    """Links those of one record; returns how often it has been woken."""
    cdef Need* need = &c.needs[number]
    cdef Woken* w = woken_of(L)
    cdef uint64_t times = last_count(L)
    cdef uint32_t i
    if w != NULL:
        if w.flags & BY_STRANGER:
            need.rule = FREE        # nobody knows what that one waits for
        elif w.flags & (BY_MANY | BY_TURNS) and need.rule == ANY:
            need.rule = ANYBODY
        for i in range(w.n):
            if w.words[i] != last_waker(L):
                times += w.counts[i]
                link_waker(c, number, w.words[i])
    if last_waker(L) != 0:
        link_waker(c, number, last_waker(L))
    return times


cdef void link_waker(Copy* c, uint32_t number, uint64_t word) noexcept nogil:
    """One that has ended is nobody's link where its record is another's by now."""
    cdef FSelf* s = agent_of(word)
    if s == NULL:
        return
    if c.handlers and s.pub.native_id == <uint32_t>getpid():
        c.needs[number].rule = FREE     # the main thread runs the signal handlers
    link(c, number, s)


cdef bint link(Copy* c, uint32_t number, FSelf* s) noexcept nogil:
    cdef Link* at
    cdef Need* need = &c.needs[number]
    if s == NULL or s.pub.index >= c.n_nodes or not room_for_link(c):
        return False
    at = &c.links[c.n_links]
    at.need = number
    at.agent = s.pub.index
    at.next_of_need = need.first_link
    need.first_link = c.n_links
    need.links += 1
    at.next_of_agent = c.nodes[at.agent].first_link
    c.nodes[at.agent].first_link = c.n_links
    c.n_links += 1
    return True


# ---- on the copy, without the GIL --------------------------------------------------------------------------------------

cdef void copy_end(Copy* c) noexcept nogil:
    """Adds shares to what they are shares of, and tasks to their threads."""
    cdef uint32_t i
    cdef Share* share
    cdef Need* need
    cdef Node* node
    for i in range(c.n_shares):
        share = &c.shares[i]
        if share.lock >= c.n_locks or c.need_of[share.lock] == 0:
            continue
        need = &c.needs[c.need_of[share.lock]]
        if need.serial != share.serial or not need.shared:
            continue
        if not link(c, c.need_of[share.lock], agent_at(share.agent)):
            c.failed = True
        need.shares += share.count
    for i in range(1, c.n_needs):
        need = &c.needs[i]
        if need.rule == ALL and need.links == 0:
            need.rule = FREE        # nobody is known to read
        elif need.rule == ANY and need.shared and need.shares < need.lock.limit:
            need.rule = FREE        # somebody who is not known has a permit
    for i in range(1, c.n_nodes):
        node = &c.nodes[i]
        if node.thread != 0 and c.nodes[node.thread].kind != WAITS:
            node.thread = 0
        if node.thread != 0 and node.kind != GONE:
            node.next_task = c.nodes[node.thread].first_task
            c.nodes[node.thread].first_task = i


cdef void settle(Copy* c, int able) noexcept nogil:
    """Marks `live` who can run, as far as `able` says, and whom those can let go on; linear."""
    cdef uint32_t i, taken = 0, n = 0, t
    cdef Need* need
    cdef Node* node
    for i in range(1, c.n_needs):
        need = &c.needs[i]
        need.live = 0
        need.missing = need.links if need.rule == ALL else 1
    for i in range(1, c.n_nodes):
        node = &c.nodes[i]
        node.live = 0
        node.missing = (node.need != 0) + (node.thread != 0)
    for i in range(1, c.n_nodes):
        node = &c.nodes[i]
        if not node.live and (node.kind == RUNS and node.missing == 0 or (able & LOCKED and node.locked)):
            n = goes_on(c, i, n)
    for i in range(1, c.n_needs):
        need = &c.needs[i]
        if need.rule == FREE or (able & SOMEBODY and need.rule == ANYBODY) or (able & WOKEN and need.woken):
            n = set_free(c, need, n)
    while taken < n:
        node = &c.nodes[c.queue[taken]]
        taken += 1
        n = let_go(c, node.first_link, n)
        t = node.first_task
        while t != 0:
            n = one_less(c, t, n)
            t = c.nodes[t].next_task


cdef inline uint32_t goes_on(Copy* c, uint32_t i, uint32_t n) noexcept nogil:
    c.nodes[i].live = 1
    c.queue[n] = i
    return n + 1


cdef inline uint32_t one_less(Copy* c, uint32_t i, uint32_t n) noexcept nogil:
    cdef Node* node = &c.nodes[i]
    if node.live or node.kind == GONE:
        return n
    node.missing -= node.missing > 0
    return goes_on(c, i, n) if node.missing == 0 else n


cdef uint32_t set_free(Copy* c, Need* need, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if need.live:
        return n
    need.live = 1
    i = need.first_waiter
    while i != 0:
        n = one_less(c, i, n)
        i = c.nodes[i].next_waiter
    return let_go(c, need.first_queued, n)      # of a pool; what waits for pools is none itself, so this goes no deeper


cdef uint32_t let_go(Copy* c, uint32_t i, uint32_t n) noexcept nogil:
    """Takes one off what each of the links' needs lacks; `i` is the first of an agent's links, or of a pool's."""
    cdef Link* at
    cdef Need* need
    while i != 0:
        at = &c.links[i]
        need = &c.needs[at.need]
        need.missing -= need.missing > 0
        if need.missing == 0 or need.rule != ALL:
            n = set_free(c, need, n)
        i = at.next_of_agent
    return n


# ---- looking again, with the GIL -----------------------------------------------------------------------------------------

cdef bint still_waits(Copy* c, uint32_t i) noexcept nogil:
    """Whether an agent is in the very wait that was copied; of one that did not wait, whether it is that agent."""
    cdef FSelf* s = agent_at(i)
    cdef FNode* n
    if fl_load64(&s.word) != c.nodes[i].word:
        return False
    if c.nodes[i].kind != WAITS:
        return True
    n = top_of(s)
    return n != NULL and not does_run(s) and n.wait_number == c.nodes[i].wait_number


cdef bint still_needs(Copy* c, Need* need) noexcept nogil:
    return need.lock.serial == need.serial and proof_of(need.lock) == need.proof
