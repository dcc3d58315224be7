# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Who waits for whom: finds the circle, or the dead owner, that an agent's wait has just met.

An agent publishes its wait before it looks, so whoever closes a circle sees all of it. From that agent the walk gathers
everybody it waits for, directly or not, and then strikes out who can still run, until nothing changes
(a greatest fixed point). An exclusive lock or a set of readers needs all its holders to let go (one stuck
holder is enough to be stuck), a semaphore any one of them. What is left can never run.

Cost: proportional to the agents reached. A wait for somebody who runs is two records. Guard: `walk_mutex` for the scratch
buffers; in a build with the GIL the caller holds it, so what is read is one moment's truth. Elsewhere confirm()
compares every record a second time.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastlock._native cimport *
from fastlock._park cimport revocable
from fastlock._shares cimport FShare, first_share, shares_lock, shares_unlock
from fastlock._table cimport *

cdef enum:
    DEAD = 1           # ended or lost in a fork: will never run
    ANY = 2            # one holder's release is enough

cdef struct Walk:
    FSelf** agents
    uint8_t* kind
    uint8_t* live
    uint32_t* first    # where an agent's holders start in `holders`
    uint32_t* parent
    uint32_t n
    uint32_t room
    uint32_t* holders
    uint32_t n_holders
    uint32_t holders_room
    uint64_t number

cdef Walk walk
cdef fl_mutex walk_mutex
memset(&walk, 0, sizeof(walk))
fl_mutex_init(&walk_mutex)


cdef bint make_room() noexcept nogil:
    cdef uint32_t room = walk.room * 2 if walk.room else 256
    cdef void* p
    p = realloc(walk.agents, room * sizeof(FSelf*))
    if p == NULL:
        return False
    walk.agents = <FSelf**>p
    p = realloc(walk.kind, room)
    if p == NULL:
        return False
    walk.kind = <uint8_t*>p
    p = realloc(walk.live, room)
    if p == NULL:
        return False
    walk.live = <uint8_t*>p
    p = realloc(walk.first, (room + 1) * sizeof(uint32_t))
    if p == NULL:
        return False
    walk.first = <uint32_t*>p
    p = realloc(walk.parent, room * sizeof(uint32_t))
    if p == NULL:
        return False
    walk.parent = <uint32_t*>p
    walk.room = room
    return True


cdef bint reach(FSelf* s) noexcept nogil:
    """Adds an agent to the walk, and to the holders of the one being looked at."""
    cdef void* p
    if s.mark != walk.number:
        if walk.n == walk.room and not make_room():
            return False
        s.mark = walk.number
        s.mark_index = walk.n
        walk.agents[walk.n] = s
        walk.kind[walk.n] = 0
        walk.live[walk.n] = 0
        walk.n += 1
    if walk.n_holders == walk.holders_room:
        p = realloc(walk.holders, (walk.holders_room * 2 + 256) * sizeof(uint32_t))
        if p == NULL:
            return False
        walk.holders = <uint32_t*>p
        walk.holders_room = walk.holders_room * 2 + 256
    walk.holders[walk.n_holders] = s.mark_index
    walk.n_holders += 1
    return True


cdef FNode* top_of(FSelf* s) noexcept nogil:
    return <FNode*>fl_load64(&s.top)


cdef uint64_t reach_shared(FLock* L) noexcept nogil:
    """Adds every agent with a share or permit of the lock; returns how many shares they have."""
    cdef uint32_t i
    cdef uint64_t shares = 0
    cdef uint32_t count
    cdef FSelf* s
    if L.marks & M_AIO:
        return reach_listed(L)
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if fl_load8(&s.pub.state) == A_FREE:
            continue
        count = hold_count(s, L, NULL)
        if count:
            shares += count
            if not reach(s):
                return 0
    return shares


cdef uint64_t reach_listed(FLock* L) noexcept nogil:
    """The same for a lock that knows its holders: there may be very many tasks."""
    cdef uint64_t shares = 0
    cdef FShare* h
    shares_lock()
    h = first_share(L)
    while h != NULL:
        if not reach(h.agent):
            shares = 0
            break
        shares += hold_count(h.agent, L, NULL)
        h = h.next
    shares_unlock()
    return shares


cdef bint reach_writer_ahead(FLock* L, FNode* n) noexcept nogil:
    """Adds the waiting writer that this reader queues behind."""
    cdef fl_mutex* m = bucket(L)
    cdef FNode* w
    cdef FSelf* writer = NULL
    fl_mutex_lock(m)
    w = L.head
    while w != NULL and w != n:
        if w.mode == WAIT_EXCLUSIVE and w.state == N_QUEUED:
            writer = w.agent
            break
        w = w.next
    fl_mutex_unlock(m)
    return writer != NULL and reach(writer)


cdef bint stands_still(FSelf* s) noexcept nogil:
    """Whether this is a task whose loop's thread is blocked."""
    return s.task != NULL and top_of(s.thread) != NULL


cdef bint reach_holders(FSelf* s, uint32_t index) noexcept nogil:
    """Adds who must let go before this agent can run; False where it can run, or nobody knows."""
    cdef FNode* n = top_of(s)
    cdef FLock* L
    cdef FSelf* owner
    cdef uint64_t word
    cdef uint8_t state
    if fl_load8(&s.pub.state) != A_ALIVE:
        walk.kind[index] = DEAD
        return True
    if stands_still(s):
        return reach(s.thread)          # nothing of its loop's runs, whatever the task waits for
    if n == NULL:
        return False
    state = fl_get8(&n.state)
    if state != N_QUEUED and state != N_WOKEN:
        return False
    L = lock_at(fl_get32(&n.lock_index))
    if L == NULL or fl_load64(&L.serial) != fl_get64(&n.lock_serial) or L.marks & M_SIGNAL:
        return False
    if L.kind == K_SEMAPHORE:
        walk.kind[index] = ANY
        return L.count == 0 and reach_shared(L) == L.limit
    if L.kind != K_LOCK and L.kind != K_RLOCK and L.kind != K_RWLOCK:
        return False        # anybody may wake a condition or an event
    word = fl_load64(&L.word)
    if owner_bits(word) != 0:
        if revocable(word):
            return False
        owner = agent_of(word)
        return owner != NULL and reach(owner)
    if L.kind != K_RWLOCK:
        return False
    if fl_get8(&n.mode) == WAIT_EXCLUSIVE:
        return reach_shared(L) != 0
    return reach_writer_ahead(L, n)


cdef bint gather(FSelf* me) noexcept nogil:
    """Fills the walk from `me`; False where memory is out (then nothing is claimed)."""
    cdef uint32_t i = 0
    walk.number += 1
    walk.n = 0
    walk.n_holders = 0
    if not reach(me):
        return False
    walk.n_holders = 0
    while i < walk.n:
        walk.first[i] = walk.n_holders
        if not reach_holders(walk.agents[i], i):
            walk.live[i] = 1
            walk.n_holders = walk.first[i]
        i += 1
    walk.first[walk.n] = walk.n_holders
    return True


cdef bint can_run(uint32_t i) noexcept nogil:
    cdef uint32_t h
    cdef bint any_of = walk.kind[i] == ANY
    if walk.kind[i] == DEAD:
        return False
    for h in range(walk.first[i], walk.first[i + 1]):
        if walk.live[walk.holders[h]]:
            if any_of:
                return True
        elif not any_of:
            return False
    return not any_of


cdef void strike_out() noexcept nogil:
    """Marks who can run. Late agents first: a chain settles in one pass."""
    cdef bint changed = True
    cdef int64_t i
    while changed:
        changed = False
        for i in range(<int64_t>walk.n - 1, -1, -1):
            if not walk.live[i] and can_run(<uint32_t>i):
                walk.live[i] = 1
                changed = True


cdef int64_t last_of_circle() noexcept nogil:
    """The agent whose lock `me` (number 0) holds, on the shortest way back; -1 where there is none."""
    cdef uint32_t i, h, next_seen = 1
    cdef uint32_t* queue = <uint32_t*>calloc(walk.n, sizeof(uint32_t))
    cdef uint32_t taken = 0
    cdef int64_t last = -1
    if queue == NULL:
        return -1
    for i in range(walk.n):
        walk.parent[i] = walk.n
    queue[0] = 0
    while taken < next_seen and last < 0:
        i = queue[taken]
        taken += 1
        for h in range(walk.first[i], walk.first[i + 1]):
            if walk.holders[h] == 0:
                last = i
                break
            if not walk.live[walk.holders[h]] and walk.parent[walk.holders[h]] == walk.n:
                walk.parent[walk.holders[h]] = i
                queue[next_seen] = walk.holders[h]
                next_seen += 1
    free(queue)
    return last


# ---- what was found ------------------------------------------------------------------------------------

cdef bint has_evidence(FLock* L) noexcept nogil:
    """Whether the holder is known to be the one who will release: DESIGN's evidence of ownership."""
    if L.kind == K_RLOCK or L.kind == K_RWLOCK or (L.marks & M_AIO and L.kind == K_LOCK):
        return not L.marks & M_SIGNAL
    if L.kind != K_LOCK or L.marks & M_SIGNAL:
        return False
    return (L.marks & M_OWNED) != 0 or (fl_load64(&L.word) & W_WITH) != 0


cdef void fill_wait(Edge* e, FSelf* s) noexcept nogil:
    cdef FNode* n = top_of(s)
    e.agent = s
    e.agent_word = fl_load64(&s.word)
    if n == NULL or fl_load8(&s.pub.state) != A_ALIVE or stands_still(s):
        return
    e.waits = lock_at(fl_get32(&n.lock_index))
    e.waits_serial = fl_get64(&n.lock_serial)
    e.wait_number = fl_get64(&n.wait_number)
    e.wanted_site = fl_get32(&n.site)
    e.since_ns = fl_get_ns(&n.since_ns)
    e.deadline_ns = fl_get_ns(&n.deadline_ns)
    e.mode = fl_get8(&n.mode)


cdef void fill_hold(Edge* e, FLock* L) noexcept nogil:
    cdef uint32_t site = 0
    if owner_bits(fl_load64(&L.word)) == e.agent_word:
        e.holds = L
        site = L.site
    elif hold_count(e.agent, L, &site):
        e.holds = L
    else:
        return              # a writer that only queues ahead
    e.holds_serial = L.serial
    e.held_site = site


cdef bint fill(Found* found, uint32_t n) noexcept nogil:
    found.edges = <Edge*>calloc(n, sizeof(Edge))
    found.n = n
    found.proven = True
    found.timed = False
    return found.edges != NULL


cdef void weigh(Found* found) noexcept nogil:
    cdef uint32_t i
    for i in range(found.n):
        if found.edges[i].waits != NULL and not has_evidence(found.edges[i].waits):
            found.proven = False
        if found.edges[i].wait_number and found.edges[i].deadline_ns >= 0:
            found.timed = True


cdef int circle(Found* found, int64_t last) noexcept nogil:
    cdef uint32_t n = 1
    cdef int64_t i = last
    cdef FLock* L
    while i != 0:
        n += 1
        i = walk.parent[i]
    if not fill(found, n):
        return NOTHING
    i = last
    while True:
        n -= 1
        fill_wait(&found.edges[n], walk.agents[i])
        if i == 0:
            break
        i = walk.parent[i]
    for i in range(<int64_t>found.n):
        if found.edges[i].waits != NULL:
            fill_hold(&found.edges[(i + 1) % found.n], found.edges[i].waits)
    weigh(found)
    L = found.edges[0].waits
    if L.kind == K_RWLOCK and owner_bits(fl_load64(&L.word)) == 0 and hold_count(found.edges[0].agent, L, NULL):
        if found.n == 1 or (found.n == 2 and found.edges[1].waits == L):
            fill_hold(&found.edges[0], L)
            return FL012
    return FL002 if found.n == 1 else FL001


cdef int orphan(Found* found) noexcept nogil:
    """A dead holder of the very lock that `me` waits for."""
    cdef uint32_t h
    cdef FSelf* dead
    for h in range(walk.first[0], walk.first[1]):
        dead = walk.agents[walk.holders[h]]
        if walk.kind[walk.holders[h]] == DEAD:
            if not fill(found, 2):
                return NOTHING
            fill_wait(&found.edges[0], walk.agents[0])
            fill_wait(&found.edges[1], dead)
            fill_hold(&found.edges[1], found.edges[0].waits)
            weigh(found)
            return FL004 if fl_load8(&dead.pub.state) == A_LOST else FL003
    return NOTHING


cdef int examine(FSelf* me, Found* found) noexcept nogil:
    """What the running agent's published wait has met: a code of _waits.pxd, with `found` filled."""
    cdef int64_t last
    memset(found, 0, sizeof(Found))
    fl_mutex_lock(&walk_mutex)
    if gather(me):
        strike_out()
        if not walk.live[0]:
            last = last_of_circle()
            found.code = circle(found, last) if last >= 0 else orphan(found)
    fl_mutex_unlock(&walk_mutex)
    return found.code


cdef bint confirm(Found* found) noexcept nogil:
    """Looks at every record again: whether each agent still waits the same wait for the same holder."""
    cdef uint32_t i
    cdef Edge* e
    cdef FNode* n
    for i in range(found.n):
        e = &found.edges[i]
        if fl_load64(&e.agent.word) != e.agent_word:
            return False
        if e.wait_number:
            n = top_of(e.agent)
            if n == NULL or fl_get64(&n.wait_number) != e.wait_number or fl_get8(&n.state) == N_GRANTED:
                return False
        if e.holds != NULL:
            if fl_load64(&e.holds.serial) != e.holds_serial:
                return False
            if owner_bits(fl_load64(&e.holds.word)) != e.agent_word and not hold_count(e.agent, e.holds, NULL):
                return False
    return True


cdef void release_found(Found* found) noexcept nogil:
    free(found.edges)
    found.edges = NULL


# ---- an ending thread -----------------------------------------------------------------------------------

cdef void nudge_waiters(FSelf* dead) noexcept nogil:
    """Makes whoever waits for a lock of the ending thread look again; runs in that thread, without the GIL."""
    cdef uint32_t i
    cdef FSelf* s
    cdef FLock* L
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s == dead or fl_load8(&s.pub.wait_mode) == WAIT_NONE:
            continue
        L = lock_at(fl_get32(&s.pub.wait_lock))
        if L == NULL or fl_load64(&L.serial) != fl_get64(&s.pub.wait_serial):
            continue
        if owner_bits(fl_load64(&L.word)) == dead.word or hold_count(dead, L, NULL):
            fl_store8(&s.recheck, 1)
            if s.parker != NULL:
                fl_parker_post(s.parker)


set_death_callback(nudge_waiters)
