# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What a walk has found: a circle's edges, each with its wait and its hold, and whether they are still there.

Filled in and looked at by who walks, under the same guard as the walk, see _waits.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastlock._native cimport *
from fastlock._table cimport *
from fastlock._tasks cimport task_unpin
from fastlock._told cimport *
from fastlock._wakers cimport is_lent, owes

cdef extern from "Python.h":
    void Py_CLEAR(PyObject*)


# ---- an agent's wait -----------------------------------------------------------------------------------------

cdef FNode* top_of(FSelf* s) noexcept nogil:
    """What the agent waits for, NULL where it runs. A future's condition, or event, stands for the result that is waited for outside of it."""
    cdef FNode* n = <FNode*>fl_load64(&s.top)
    cdef FNode* outer = <FNode*>fl_load64(&n.outer) if n != NULL else NULL
    if outer == NULL or (fl_get8(&n.mode) != WAIT_NOTIFY and fl_get8(&n.mode) != WAIT_FLAG):
        return n
    return outer if fl_get8(&outer.flags) & F_OUTER else n


cdef bint does_run(FSelf* s) noexcept nogil:
    """Whether the agent's innermost wait is none, or none any more: it runs a signal handler or a report, or has been given what it waits for."""
    cdef FNode* n = <FNode*>fl_load64(&s.top)
    cdef uint8_t state = fl_get8(&n.state) if n != NULL else <uint8_t>N_IDLE
    return state != N_QUEUED and state != N_WOKEN


cdef FSelf* writer_before(FLock* L, FNode* n) noexcept nogil:
    """The waiting writer that a reader of an RWLock queues behind, NULL for none; without a node, the one behind which new ones do."""
    cdef fl_mutex* m = bucket(L)
    cdef FNode* w
    cdef FSelf* writer = NULL
    fl_mutex_lock(m)
    w = L.head
    while w != NULL and w != n:
        if w.mode == WAIT_EXCLUSIVE and w.state == N_QUEUED and (not L.marks & M_READERS or is_upgrade(L, w)):
            writer = w.agent
            break
        w = w.next
    fl_mutex_unlock(m)
    return writer


cdef bint stands_still(FSelf* s) noexcept nogil:
    """Whether this is a task whose loop's thread is blocked."""
    return s.task != NULL and fl_load8(&s.thread.loops) != 0 and top_of(s.thread) != NULL


# ---- edges ---------------------------------------------------------------------------------------------------

cdef bint has_evidence(FLock* L) noexcept nogil:
    """Whether the holder is known to be the one who will release: DESIGN's evidence of ownership."""
    if L.kind == K_RESULT or is_lent(L):
        return True         # only who runs the work can bring what it returns
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
        t = told_between(s, following if e.pool == NULL else NULL, e.pool)
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
        e.runs = <void*>fl_load64(&n.task)


cdef void fill_hold(Edge* e, FLock* L) noexcept nogil:
    cdef uint32_t site = 0
    if owner_bits(fl_load64(&L.word)) == e.agent_word or (L.kind == K_RESULT and owes(L, e.agent)):
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


cdef bint more(Found* found) noexcept nogil:
    """Makes room for one more edge; False where memory is out."""
    cdef Edge* edges = <Edge*>realloc(found.edges, (found.n + 1) * sizeof(Edge))
    if edges == NULL:
        return False
    found.edges = edges
    memset(&edges[found.n], 0, sizeof(Edge))
    found.n += 1
    return True


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


# ---- afterwards ----------------------------------------------------------------------------------------------

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
    if e.holds.kind == K_RESULT:
        return owes(e.holds, e.holder)
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
        proof += mix(mix(who, e.wait_number ^ e.token), mix(e.holds_serial, e.placed) ^ e.pool_serial)
    return proof ^ found.n


cdef bint split_unknown(Found* found) noexcept:
    """Makes of "a thread waits for itself" that some task of its loop holds the lock, which one is not known; False where memory is out."""
    cdef Edge* edges
    if not more(found):
        return False
    edges = found.edges
    fill_agent(&edges[1], edges[0].agent)
    fill_hold(&edges[1], edges[0].waits)
    edges[1].how = BY_LOOP
    edges[0].holds = NULL
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
