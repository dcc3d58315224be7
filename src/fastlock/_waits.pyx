# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Who waits for whom: finds the circle, or the dead owner, that an agent's wait has just met.

An agent publishes its wait before it looks, so whoever closes a circle sees all of it. From that agent the walk gathers
everybody it waits for, directly or not, and then strikes out who can still run, until nothing changes
(a greatest fixed point). An exclusive lock or a set of readers needs all its holders to let go (one stuck
holder is enough to be stuck), a semaphore any one of them. What is left can never run.

A task also needs its loop's thread: while that one is blocked it stands still, whatever else it waits for. What the table does not know (a task
that awaits another one, the task behind a lock of its loop's thread) is a loose end, see _told: the walk notes it, and follows it where told.

A pool is a node of the walk by itself: work that is queued in it needs any one of its workers, where all that there can be have a job. So who
waits for several results, some of them queued, needs all or any of agents and pools.

Cost: proportional to the agents reached. A wait for somebody who runs is two records. Guard: `walk_mutex` for the scratch
buffers; in a build with the GIL the caller holds it, so what is read is one moment's truth. Elsewhere confirm()
compares every record a second time.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastlock._found cimport *
from fastlock._native cimport *
from fastlock._park cimport revocable
from fastlock._shares cimport FShare, first_share, shares_lock, shares_unlock
from fastlock._table cimport *
from fastlock._told cimport *
from fastlock._wakers cimport B_JOIN, FWakers, source_agent, source_pool, wakers_lock, wakers_of, wakers_unlock

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef extern from "_frames.h" nogil:
    bint fl_is_inside(unsigned long, PyObject**, int)

cdef extern from "<unistd.h>" nogil:
    int getpid()

cdef enum:
    MOST_CALLS = 8
    DEAD = 1           # ended or lost in a fork: will never run
    ANY = 2            # one holder's release is enough

cdef struct Walk:
    FSelf** agents     # NULL: it is a pool
    FLock** pools
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

cdef PyObject* join_calls[MOST_CALLS]       # code objects in which the innermost call of a joining thread is
cdef int join_calls_n = 0
cdef list join_calls_kept = []
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
    p = realloc(walk.pools, room * sizeof(FLock*))
    if p == NULL:
        return False
    walk.pools = <FLock**>p
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


cdef bint add(FSelf* s, FLock* pool) noexcept nogil:
    """Adds a node to the walk; one of the two is NULL."""
    if walk.n == walk.room and not make_room():
        return False
    walk.agents[walk.n] = s
    walk.pools[walk.n] = pool
    walk.kind[walk.n] = 0
    walk.live[walk.n] = 0
    walk.n += 1
    return True


cdef bint needs(uint32_t index) noexcept nogil:
    """Adds a node to the holders of the one being looked at."""
    cdef void* p
    if walk.n_holders == walk.holders_room:
        p = realloc(walk.holders, (walk.holders_room * 2 + 256) * sizeof(uint32_t))
        if p == NULL:
            return False
        walk.holders = <uint32_t*>p
        walk.holders_room = walk.holders_room * 2 + 256
    walk.holders[walk.n_holders] = index
    walk.n_holders += 1
    return True


cdef bint reach(FSelf* s) noexcept nogil:
    """Adds an agent to the walk, and to the holders of the one being looked at."""
    if s.mark != walk.number:
        if not add(s, NULL):
            return False
        s.mark = walk.number
        s.mark_index = walk.n - 1
    return needs(s.mark_index)


cdef bint reach_pool(FLock* L) noexcept nogil:
    """The same for a pool, whose record has its marks where a lock has what level order keeps."""
    if L.tag != walk.number:
        if not add(NULL, L):
            return False
        L.tag = walk.number
        L.node = walk.n - 1
    return needs(L.node)


cdef bint reach_workers(FLock* L, uint32_t index) noexcept nogil:
    """Adds a pool's workers; False where one is idle, or can still be started."""
    cdef uint32_t before = walk.n_holders
    if L.count < L.limit or reach_shared(L, NULL) == 0:
        return False
    walk.kind[index] = ANY
    return walk.n_holders - before >= L.limit


cdef uint64_t reach_shared(FLock* L, FSelf* but) noexcept nogil:
    """Adds every agent but one with a share or permit of the lock; returns how many shares they have."""
    cdef uint32_t i
    cdef uint64_t shares = 0
    cdef uint32_t count
    cdef FSelf* s
    if L.marks & M_AIO:
        return reach_listed(L, but)
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s == but or fl_load8(&s.pub.state) == A_FREE:
            continue
        count = hold_count(s, L, NULL)
        if count:
            shares += count
            if not reach(s):
                return 0
    return shares


cdef uint64_t reach_listed(FLock* L, FSelf* but) noexcept nogil:
    """The same for a lock that knows its holders: there may be very many tasks."""
    cdef uint64_t shares = 0
    cdef FShare* h
    shares_lock()
    h = first_share(L)
    while h != NULL:
        if h.agent != but:
            if not reach(h.agent):
                shares = 0
                break
            shares += hold_count(h.agent, L, NULL)
        h = h.next
    shares_unlock()
    return shares


cdef bint reach_for_share(FLock* L, FNode* n) noexcept nogil:
    """Adds all that keep an agent from a share of a lock that nobody writes; False where nobody does, or memory is out."""
    cdef uint32_t before = walk.n_holders
    cdef FSelf* holder
    if fl_get8(&n.mode) == WAIT_UPGRADABLE:
        holder = agent_at(fl_get32(&L.limit))
        if holder != NULL and fl_load8(&holder.pub.state) != A_FREE and not reach(holder):
            return False
        if hold_count(<FSelf*>fl_load64(&n.asker), L, NULL) and not reach(<FSelf*>fl_load64(&n.asker)):     # not while it reads
            return False
    holder = writer_before(L, n)
    return (holder != NULL and reach(holder)) or walk.n_holders > before


cdef bint reach_holders(FSelf* s, uint32_t index) noexcept nogil:
    """Adds who must let go before this agent can run; False where it can run, or nobody knows."""
    cdef bint still
    cdef uint32_t before
    if fl_load8(&s.pub.state) != A_ALIVE:
        walk.kind[index] = DEAD
        return True
    still = stands_still(s)
    if still and not reach(s.thread):
        return False
    before = walk.n_holders
    if reach_awaited(s, index, still):
        return True
    walk.n_holders = before
    return still                        # nothing of its loop's runs, whatever the task waits for


cdef bint reach_awaited(FSelf* s, uint32_t index, bint still) noexcept nogil:
    """The same for what the agent itself waits for."""
    cdef FNode* n = top_of(s)
    cdef FLock* L
    cdef uint64_t word
    if n == NULL:
        return s.task != NULL and reach_told(s)
    if does_run(s):
        return False
    L = lock_at(fl_get32(&n.lock_index))
    if L == NULL or fl_load64(&L.serial) != fl_get64(&n.lock_serial) or L.marks & M_SIGNAL:
        return False
    if L.kind == K_SEMAPHORE:
        if still or L.count != 0 or reach_shared(L, NULL) != L.limit:
            return False
        walk.kind[index] = ANY
        return True
    if L.kind == K_RESULT:
        return (L.limit != B_JOIN or still_joins(s)) and reach_sources(L, index, still)
    if L.kind != K_LOCK and L.kind != K_RLOCK and L.kind != K_RWLOCK:
        return False        # anybody may wake a condition or an event
    word = fl_load64(&L.word)
    if owner_bits(word) != 0:
        return not revocable(word) and reach_owner(L, word)
    if L.kind != K_RWLOCK:
        return False
    if fl_get8(&n.mode) == WAIT_EXCLUSIVE:
        return reach_shared(L, <FSelf*>fl_load64(&n.asker) if is_upgrade(L, n) else NULL) != 0
    return reach_for_share(L, n)


def set_join_calls(codes):
    """What Thread.join is made of, from the outside in."""
    global join_calls_n
    for code in codes:
        if join_calls_n < MOST_CALLS and code not in join_calls_kept:
            join_calls_kept.append(code)
            join_calls[join_calls_n] = <PyObject*>code
            join_calls_n += 1


cdef bint still_joins(FSelf* s) noexcept nogil:
    """False where this is the main thread, and a signal handler runs in the middle of its join: nobody tells that."""
    if FL_CAS_WORDS or s.pub.native_id != <uint32_t>getpid() or s.pub.ident == PyThread_get_thread_ident():
        return True
    return fl_is_inside(s.pub.ident, join_calls, join_calls_n)


cdef bint reach_sources(FLock* L, uint32_t index, bint still) noexcept nogil:
    cdef FWakers* w
    cdef bint stuck
    wakers_lock()
    w = wakers_of(L)
    stuck = w != NULL and not (w.any and still) and reach_each(w, index)
    wakers_unlock()
    return stuck


cdef bint reach_each(FWakers* w, uint32_t index) noexcept nogil:
    """Adds who is to bring the results; False where what comes by itself, or from nobody knows whom, may be enough."""
    cdef uint32_t i, before = walk.n_holders
    cdef FSelf* agent
    cdef FLock* pool
    for i in range(w.n):
        agent = source_agent(w.source[i])
        pool = source_pool(w.source[i])
        if agent != NULL:
            if not reach(agent):
                return False
        elif pool != NULL:
            if not reach_pool(pool):
                return False
        elif w.any:
            return False
    if w.any:
        walk.kind[index] = ANY
    return walk.n_holders > before


cdef bint reach_owner(FLock* L, uint64_t word) noexcept nogil:
    """Adds who holds a lock: where its word is a thread that runs a loop, it may be a task that does not run now."""
    cdef FSelf* holder
    cdef FSelf* owner = agent_of(word)
    if owner == NULL:
        return False
    if L.marks & M_PLACED and owner.task == NULL and fl_load8(&owner.loops) != 0:
        holder = holder_told(L)
        if holder != NULL:
            return reach(holder)
        loose_lock(L)
    return reach(owner)


cdef bint reach_told(FSelf* s) noexcept nogil:
    """Adds whom a task awaits, as far as it was told."""
    cdef Told* t = told_at(s.told)
    if t == NULL:
        loose_task(s)
        return False
    while t != NULL:
        if not (reach(t.whom) if t.whom != NULL else reach_pool(t.pool)):
            return False
        t = told_at(t.next)
    return True


cdef bint gather(FSelf* me) noexcept nogil:
    """Fills the walk from `me`; False where memory is out (then nothing is claimed)."""
    cdef uint32_t i = 0
    walk.number += 1
    walk.n = 0
    walk.n_holders = 0
    loose_clear()
    if not reach(me):
        return False
    walk.n_holders = 0
    while i < walk.n:
        walk.first[i] = walk.n_holders
        if not (reach_holders(walk.agents[i], i) if walk.agents[i] != NULL else reach_workers(walk.pools[i], i)):
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

cdef bint place(Found* found, int64_t last) noexcept nogil:
    """Makes edges of the agents on the way back from `last`; a pool between two of them is what the first one waits for."""
    cdef uint32_t n = 0
    cdef int64_t i = last
    cdef FLock* pool = NULL
    while True:
        n += walk.agents[i] != NULL
        if i == 0:
            break
        i = walk.parent[i]
    if not fill(found, n):
        return False
    i = last
    while True:
        if walk.agents[i] == NULL:
            pool = walk.pools[i]
        else:
            n -= 1
            fill_agent(&found.edges[n], walk.agents[i])
            fill_pool(&found.edges[n], pool)
            pool = NULL
        if i == 0:
            return True
        i = walk.parent[i]


cdef inline void fill_pool(Edge* e, FLock* pool) noexcept nogil:
    if pool != NULL:
        e.pool = pool
        e.pool_serial = pool.serial


cdef inline FLock* wanted(Edge* e) noexcept nogil:
    """What the next agent withholds."""
    return e.pool if e.pool != NULL else e.waits


cdef int circle(Found* found, int64_t last) noexcept nogil:
    cdef int64_t i
    cdef bint starved = False
    cdef FLock* L
    if not place(found, last):
        return NOTHING
    for i in range(<int64_t>found.n):
        fill_wait(&found.edges[i], found.edges[(i + 1) % found.n].agent)
        starved = starved or found.edges[i].pool != NULL
    for i in range(<int64_t>found.n):
        if wanted(&found.edges[i]) != NULL:
            fill_hold(&found.edges[(i + 1) % found.n], wanted(&found.edges[i]))
    join_running(found)
    if starved and not add_others(found, last):
        return NOTHING
    weigh(found)
    if starved:
        return FL030
    L = found.edges[0].waits
    if L.kind == K_RWLOCK and owner_bits(fl_load64(&L.word)) == 0 and hold_count(found.edges[0].agent, L, NULL):
        if found.n == 1 and upgrades(L, found.edges[0].agent):
            return FL002                # once more; who only reads would wait for its own share
        if found.n == 1 or (found.n == 2 and found.edges[1].waits == L and not upgrades(L, found.edges[0].agent)):
            fill_hold(&found.edges[0], L)
            return FL012
    return FL002 if found.n == 1 else FL001


# ---- a starved pool: everybody who keeps its workers busy -----------------------------------------------------

cdef enum:
    OFF = 0                    # not needed for the proof
    ON_CIRCLE = 1
    BESIDE = 2

cdef bint add_others(Found* found, int64_t last) noexcept nogil:
    """Adds an edge for each further worker of the pools in the circle, and for whom those wait for; False where memory is out."""
    cdef uint32_t i
    cdef bint done
    cdef uint8_t* role = <uint8_t*>calloc(walk.n, 1)
    cdef uint32_t* since = <uint32_t*>calloc(walk.n, sizeof(uint32_t))     # by whom it was met
    done = role != NULL and since != NULL and gather_others(role, since, last)
    if done:
        for i in range(walk.n):
            if walk.agents[i] != NULL and role[i] != OFF:
                done = done and add_other(found, role, i, since[i])
    free(role)
    free(since)
    return done


cdef bint gather_others(uint8_t* role, uint32_t* since, int64_t last) noexcept nogil:
    """Marks what the proof rests on: of who needs all that it waits for, one that is stuck; of who needs any, all of them."""
    cdef uint32_t i, h, taken = 0, n = 0
    cdef uint32_t* queue = <uint32_t*>calloc(walk.n, sizeof(uint32_t))
    if queue == NULL:
        return False
    while True:
        role[last] = ON_CIRCLE
        queue[n] = <uint32_t>last
        n += 1
        if last == 0:
            break
        last = walk.parent[last]
    while taken < n:
        i = queue[taken]
        taken += 1
        if walk.kind[i] != ANY and next_of(role, i) != walk.n:
            continue
        for h in range(walk.first[i], walk.first[i + 1]):
            if role[walk.holders[h]] != OFF or walk.live[walk.holders[h]]:
                continue
            role[walk.holders[h]] = BESIDE
            since[walk.holders[h]] = i
            queue[n] = walk.holders[h]
            n += 1
            if walk.kind[i] != ANY:
                break
    free(queue)
    return True


cdef uint32_t next_of(uint8_t* role, uint32_t i) noexcept nogil:
    """Whom a node waits for, of those that are marked; walk.n where none is."""
    cdef uint32_t h
    for h in range(walk.first[i], walk.first[i + 1]):
        if role[walk.holders[h]] != OFF:
            return walk.holders[h]
    return walk.n


cdef bint add_other(Found* found, uint8_t* role, uint32_t i, uint32_t since) noexcept nogil:
    cdef uint32_t h
    cdef FSelf* s = walk.agents[i]
    cdef bint worker = False
    for h in range(walk.n):
        if walk.pools[h] != NULL and role[h] != OFF and hold_count(s, walk.pools[h], NULL):
            worker = True
            if not is_told(found, s, walk.pools[h]) and not add_edge(found, role, i, walk.pools[h]):
                return False
    if worker or role[i] == ON_CIRCLE:
        return True
    return add_edge(found, role, i, withheld(since))


cdef FLock* withheld(uint32_t i) noexcept nogil:
    """The lock or result that an agent waits for by itself; NULL where it is none."""
    cdef FNode* n = top_of(walk.agents[i]) if walk.agents[i] != NULL else NULL
    return lock_at(fl_get32(&n.lock_index)) if n != NULL else NULL


cdef bint is_told(Found* found, FSelf* s, FLock* pool) noexcept nogil:
    cdef uint32_t i
    for i in range(found.n):
        if found.edges[i].holds == pool and (found.edges[i].agent == s or found.edges[i].holder == s):
            return True
    return False


cdef bint add_edge(Found* found, uint8_t* role, uint32_t i, FLock* holds) noexcept nogil:
    cdef uint32_t following = next_of(role, i)
    cdef Edge* e
    if not more(found):
        return False
    e = &found.edges[found.n - 1]
    fill_agent(e, walk.agents[i])
    if following != walk.n:
        fill_pool(e, walk.pools[following])
        fill_wait(e, walk.agents[following])
    if holds != NULL:
        fill_hold(e, holds)
    return True


cdef int orphan(Found* found) noexcept nogil:
    """A dead holder of the very lock that `me` waits for, or a dead worker of the pool in which it is queued, where there is no other."""
    cdef uint32_t h, holder
    cdef FLock* pool
    for h in range(walk.first[0], walk.first[1]):
        holder = walk.holders[h]
        pool = walk.pools[holder]
        if pool != NULL:
            holder = dead_worker(holder)
        if walk.kind[holder] == DEAD:
            return orphan_of(found, walk.agents[holder], pool)
    return NOTHING


cdef uint32_t dead_worker(uint32_t i) noexcept nogil:
    """One of a pool's workers, if all are dead; else the pool itself."""
    cdef uint32_t h
    for h in range(walk.first[i], walk.first[i + 1]):
        if walk.kind[walk.holders[h]] != DEAD:
            return i
    return walk.holders[walk.first[i]] if walk.first[i] < walk.first[i + 1] else i


cdef int orphan_of(Found* found, FSelf* dead, FLock* pool) noexcept nogil:
    if not fill(found, 2):
        return NOTHING
    fill_agent(&found.edges[0], walk.agents[0])
    fill_agent(&found.edges[1], dead)
    fill_pool(&found.edges[0], pool)
    fill_wait(&found.edges[0], dead)
    fill_hold(&found.edges[1], wanted(&found.edges[0]))
    weigh(found)
    if pool != NULL and not pool.marks & M_OWNED:
        found.proven = False            # a later job may have a new worker started
    return FL004 if fl_load8(&dead.pub.state) == A_LOST else FL003


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
            if found.code != NOTHING:
                pin(found)
    fl_mutex_unlock(&walk_mutex)
    return found.code


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

