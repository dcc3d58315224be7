# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""A copy of who waits for what, who could end that, and the greatest fixed point of it: everything that has a waker which can run, can run.

Copied with the GIL held, in slices, so that nobody is kept from running; worked out on the copy without it. What is waited for is a node of its
own (agent, need, agents), so 5,000 who wait for one semaphore of 5,000 permits are 10,000 links and not 25 million.

Nothing here is told. What has changed since it was copied is found by still_waits() and still_needs(): a wait that is the same wait before and
after has lasted all the time between.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastlock._found cimport does_run, top_of
from fastlock._native cimport *
from fastlock._needs cimport *
from fastlock._table cimport *

cdef extern from *:
    void __builtin_prefetch(const void*) nogil

cdef enum:
    LOOKS_PER_CLOCK = 256
    AHEAD = 8                  # agents

cdef int64_t SLICE_NS = 4000000


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


# ---- copying, with the GIL ------------------------------------------------------------------------------------------

cdef bint copy_some(Copy* c, dict others) noexcept:
    """Copies for some milliseconds; False where all is copied. `others` has records by serial whose wakers are another one's."""
    cdef int64_t until = fl_now_ns() + SLICE_NS
    while c.at < c.n_nodes and not c.failed:
        if c.at + AHEAD < c.n_nodes:
            fetch_early(agent_at(c.at + AHEAD), agent_at(c.at + AHEAD // 2))
        copy_agent(c, c.at, others)
        c.at += 1
        if c.at % LOOKS_PER_CLOCK == 0 and fl_now_ns() > until:
            return True
    return False


cdef inline void fetch_early(FSelf* s, FSelf* sooner) noexcept nogil:
    """Has the memory ready by the time that it is copied: waiting for it is most of what copying costs."""
    __builtin_prefetch(s)
    __builtin_prefetch(&s.pub)
    __builtin_prefetch(&s.first)
    __builtin_prefetch(&s.first.wait_number)
    __builtin_prefetch(&s.holds.used)
    __builtin_prefetch(&s.task)
    __builtin_prefetch(sooner.pub)


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
        c.n_needs += RW_NEEDS if L.kind == K_RWLOCK else 1
        make_need(c, number, L, RW_WRITE, others)
        if L.kind == K_RWLOCK:
            make_need(c, number + RW_READ, L, RW_READ, others)
            make_need(c, number + RW_UPGRADABLE, L, RW_UPGRADABLE, others)
            make_need(c, number + RW_UPGRADE, L, RW_UPGRADE, others)
    return number + rw_need(L, n) if L.kind == K_RWLOCK else number


cdef uint32_t rw_need(FLock* L, FNode* n) noexcept nogil:
    """Which of an RWLock's needs a wait has."""
    if n.mode == WAIT_EXCLUSIVE:
        return RW_UPGRADE if is_upgrade(L, n) else RW_WRITE
    return RW_UPGRADABLE if n.mode == WAIT_UPGRADABLE else RW_READ


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
        if need.lock.kind == K_RWLOCK and fl_get32(&need.lock.limit) != share.agent and not link(c, c.need_of[share.lock] + RW_UPGRADE, agent_at(share.agent)):
            c.failed = True
    for i in range(1, c.n_needs):
        need = &c.needs[i]
        if need.rule == ALL and need.links == 0:
            need.rule = FREE        # nobody is known to read
        elif need.rule == ANY and need.shared and need.shares < fl_get32(&need.lock.limit):
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
        if node.kind == GONE or node.live:
            continue
        if node.kind == RUNS and node.missing == 0 and (able & WOKEN or not node.idle) or (able & LOCKED and node.locked) or (able & YOUNG and node.since_ns > c.young_ns):
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
