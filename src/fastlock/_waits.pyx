# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Who waits for whom: finds the circle, or the dead owner, that an agent's wait has just met.

An agent publishes its wait before it looks, so whoever closes a circle sees all of it. From that agent the walk gathers
everybody it waits for, directly or not, and then strikes out who can still run, until nothing changes
(a greatest fixed point). An exclusive lock or a set of readers needs all its holders to let go (one stuck
holder is enough to be stuck), a semaphore any one of them. What is left can never run.

A task also needs its loop's thread: while that one is blocked it stands still, whatever else it waits for. What the table does not know (a task
that awaits another one, the task behind a lock of its loop's thread) is a loose end, see _told: the walk notes it, and follows it where told.

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
from fastlock._tasks cimport task_unpin
from fastlock._told cimport *

cdef extern from "Python.h":
    void Py_CLEAR(PyObject*)

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
    """What the agent waits for, NULL where it runs. A future's condition stands for the result that is waited for outside of it."""
    cdef FNode* n = <FNode*>fl_load64(&s.top)
    cdef FNode* outer = <FNode*>fl_load64(&n.outer) if n != NULL else NULL
    cdef FLock* L
    if outer == NULL or fl_get8(&n.mode) != WAIT_NOTIFY:
        return n
    L = lock_at(fl_get32(&outer.lock_index))
    return outer if L != NULL and L.kind == K_RESULT else n


cdef bint does_run(FSelf* s) noexcept nogil:
    """Whether the agent's innermost wait is none, or none any more: it runs a signal handler or a report, or has been given what it waits for."""
    cdef FNode* n = <FNode*>fl_load64(&s.top)
    cdef uint8_t state = fl_get8(&n.state) if n != NULL else <uint8_t>N_IDLE
    return state != N_QUEUED and state != N_WOKEN


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
    return s.task != NULL and fl_load8(&s.thread.loops) != 0 and top_of(s.thread) != NULL


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
    cdef FSelf* owner
    cdef uint64_t word
    if n == NULL:
        return s.task != NULL and reach_told(s)
    if does_run(s):
        return False
    L = lock_at(fl_get32(&n.lock_index))
    if L == NULL or fl_load64(&L.serial) != fl_get64(&n.lock_serial) or L.marks & M_SIGNAL:
        return False
    if L.kind == K_SEMAPHORE:
        if still or L.count != 0 or reach_shared(L) != L.limit:
            return False
        walk.kind[index] = ANY
        return True
    if L.kind == K_RESULT:
        owner = agent_of(fl_load64(&L.word))        # one that has ended has brought it: whoever waits is about to be woken
        return owner != NULL and fl_load8(&owner.pub.state) == A_ALIVE and reach(owner)
    if L.kind != K_LOCK and L.kind != K_RLOCK and L.kind != K_RWLOCK:
        return False        # anybody may wake a condition or an event
    word = fl_load64(&L.word)
    if owner_bits(word) != 0:
        return not revocable(word) and reach_owner(L, word)
    if L.kind != K_RWLOCK:
        return False
    if fl_get8(&n.mode) == WAIT_EXCLUSIVE:
        return reach_shared(L) != 0
    return reach_writer_ahead(L, n)


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
        if not reach(t.whom):
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
    if L.kind == K_RESULT:
        return True         # only the task that runs the coroutine can bring what it returns
    if L.kind == K_RLOCK or L.kind == K_RWLOCK or (L.marks & M_AIO and L.kind == K_LOCK):
        return not L.marks & M_SIGNAL
    if L.kind != K_LOCK or L.marks & M_SIGNAL:
        return False
    return (L.marks & M_OWNED) != 0 or (fl_load64(&L.word) & W_WITH) != 0


cdef void fill_agent(Edge* e, FSelf* s) noexcept nogil:
    e.agent = e.holder = s
    e.agent_word = e.holder_word = fl_load64(&s.word)
    e.deadline_ns = -1


cdef void fill_wait(Edge* e, FSelf* following) noexcept nogil:
    """Why the edge's agent depends on the next one."""
    cdef FSelf* s = e.agent
    cdef FNode* n = top_of(s)
    cdef Told* t
    if fl_load8(&s.pub.state) != A_ALIVE:
        return
    if s.task != NULL and following == s.thread and stands_still(s):
        e.how = BY_LOOP
    elif n == NULL:
        t = told_between(s, following)
        if t != NULL:
            e.how = t.how
            e.token = t.token
            e.wanted_site = t.site
    else:
        e.waits = lock_at(fl_get32(&n.lock_index))
        e.waits_serial = fl_get64(&n.lock_serial)
        e.wait_number = fl_get64(&n.wait_number)
        e.wanted_site = fl_get32(&n.site)
        e.since_ns = fl_get_ns(&n.since_ns)
        e.deadline_ns = fl_get_ns(&n.deadline_ns)
        e.mode = fl_get8(&n.mode)
        e.runs = n.task


cdef void fill_hold(Edge* e, FLock* L) noexcept nogil:
    cdef uint32_t site = 0
    if owner_bits(fl_load64(&L.word)) == e.agent_word:
        e.holds = L
        site = L.site
    elif hold_count(e.agent, L, &site):
        e.holds = L
    elif holder_told(L) == e.agent:
        e.holds = L
        e.placed = L.placed
        site = L.site
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
        if found.edges[i].deadline_ns >= 0:
            found.timed = True


cdef void join_running(Found* found) noexcept nogil:
    """A task that has stopped its loop, and the thread that it has blocked, are one: what it holds goes to the thread's edge."""
    cdef uint32_t i, kept = 0
    cdef Edge* e
    cdef Edge* thread
    for i in range(found.n):
        e = &found.edges[i]
        thread = &found.edges[(i + 1) % found.n]
        if e.how == BY_LOOP and thread.runs == e.agent.task:
            thread.shown = thread.holder = e.agent
            thread.holder_word = e.holder_word
            thread.holds = e.holds
            thread.holds_serial = e.holds_serial
            thread.held_site = e.held_site
            thread.placed = e.placed
            e.agent = NULL
    for i in range(found.n):
        if found.edges[i].agent != NULL:
            found.edges[kept] = found.edges[i]
            kept += 1
    found.n = kept


cdef void pin(Found* found) noexcept nogil:
    """Keeps the records of the tasks in it, until release_found()."""
    cdef uint32_t i
    for i in range(found.n):
        if found.edges[i].agent.task != NULL:
            found.edges[i].agent.pins += 1
        if found.edges[i].shown != NULL:
            found.edges[i].shown.pins += 1


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
        fill_agent(&found.edges[n], walk.agents[i])
        if i == 0:
            break
        i = walk.parent[i]
    for i in range(<int64_t>found.n):
        fill_wait(&found.edges[i], found.edges[(i + 1) % found.n].agent)
    for i in range(<int64_t>found.n):
        if found.edges[i].waits != NULL:
            fill_hold(&found.edges[(i + 1) % found.n], found.edges[i].waits)
    join_running(found)
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
            fill_agent(&found.edges[0], walk.agents[0])
            fill_agent(&found.edges[1], dead)
            fill_wait(&found.edges[0], dead)
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
            if found.code != NOTHING:
                pin(found)
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
        if e.holds != NULL and not still_holds(e):
            return False
    return True


cdef bint still_holds(Edge* e) noexcept nogil:
    if fl_load64(&e.holder.word) != e.holder_word or fl_load64(&e.holds.serial) != e.holds_serial:
        return False
    if e.placed:
        return e.holds.placed == e.placed and owner_bits(fl_load64(&e.holds.word)) == e.holder.thread.word
    return owner_bits(fl_load64(&e.holds.word)) == e.holder_word or hold_count(e.holder, e.holds, NULL) != 0


cdef uint64_t found_proof(Found* found) noexcept nogil:
    """The same for the same agents in the same waits, told ones too: found twice, all of them have lasted from the one to the other."""
    cdef uint64_t who, proof = 0
    cdef uint32_t i
    cdef Edge* e
    for i in range(found.n):
        e = &found.edges[i]
        # A task by itself: its record may be another one, made for this walk. Its waits are numbered by the record.
        who = <uint64_t>e.agent.task if e.agent.task != NULL else e.agent_word
        proof += mix(mix(who, e.wait_number ^ e.token), mix(e.holds_serial, e.placed))
    return proof ^ found.n


cdef bint split_unknown(Found* found) noexcept:
    """Makes of "a thread waits for itself" that some task of its loop holds the lock, which one is not known; False where memory is out."""
    cdef Edge* edges = <Edge*>realloc(found.edges, 2 * sizeof(Edge))
    if edges == NULL:
        return False
    found.edges = edges
    memset(&edges[1], 0, sizeof(Edge))
    fill_agent(&edges[1], edges[0].agent)
    fill_hold(&edges[1], edges[0].waits)
    edges[1].how = BY_LOOP
    edges[0].holds = NULL
    found.n = 2
    found.code = FL001
    return True


cdef void release_found(Found* found) noexcept nogil:
    cdef uint32_t i
    cdef Edge* e
    for i in range(found.n if found.edges != NULL else 0):
        e = &found.edges[i]
        if e.agent.task != NULL or e.shown != NULL:
            with gil:
                if e.agent.task != NULL:
                    task_unpin(e.agent)
                if e.shown != NULL:
                    task_unpin(e.shown)
    free(found.edges)
    found.edges = NULL
    if found.asked != NULL:
        with gil:
            Py_CLEAR(found.asked)


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

