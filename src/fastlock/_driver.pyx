# cython: language_level=3, binding=False, boundscheck=False, wraparound=False
"""Test-only: lock core and graph on native threads, in parallel, without the GIL. Built by FASTLOCK_DRIVER=1 with FASTLOCK_CAS=1.

There is no free-threaded interpreter in reach of the tests; this shows the same code to ThreadSanitizer. The threads take and
release one exclusive lock and one RWLock, also upgradably, by the very functions that the primitives call, with timeouts and cancelled waits,
and count in plain memory, which comes out wrong, and races, where exclusion fails. Others wait for each other's results, while who brings
those changes. Pools' shares, what wakes conditions, and the copy that stalls are worked out on are guarded by the GIL, and driven by Python's threads in the same test.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastlock._contended cimport contended_close, contended_named
from fastlock._graph cimport *
from fastlock._native cimport *
from fastlock._park cimport *
from fastlock._table cimport *
from fastlock._found cimport Found, release_found
from fastlock._waits cimport examine
from fastlock._wakers cimport *

cdef extern from "pthread.h" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t*, void*, void* (*)(void*) noexcept nogil, void*)
    int pthread_join(pthread_t, void**)

cdef struct Job:
    FLock* mutex
    FLock* shared
    uint64_t rounds
    uint64_t* under_mutex      # guarded by mutex
    uint64_t* under_write      # guarded by shared, exclusively
    uint64_t* under_upgradable # guarded by shared, upgradably
    uint64_t gave_up
    uint64_t seen              # read under a share


cdef int take_exclusive(FLock* L, FSelf* me, int64_t timeout_ns) noexcept nogil:
    """An acquire as the primitives do it, with parking in place of their GIL and signal handling."""
    cdef FNode* n
    cdef int got
    cdef Found found
    if L.kind == K_LOCK and fl_word_take(&L.word, me.word):
        return TAKEN
    n = wait_push(me, L, WAIT_EXCLUSIVE, 0, timeout_ns, 0)
    got = enter(L, n)
    if got == WAITING and examine(me, &found):
        release_found(&found)
    while got == WAITING:
        if n.deadline_ns >= 0 and fl_now_ns() >= n.deadline_ns:
            got = leave(L, n)
            break
        fl_parker_wait(me.parker, 1000000 if timeout_ns < 0 else timeout_ns, False)
        got = settle(L, n)
    wait_pop(me, n)
    return got


cdef int take_share(FLock* L, FSelf* me, uint8_t mode) noexcept nogil:
    cdef FNode* n = wait_push(me, L, mode, 0, -1, 0)
    cdef int got = enter(L, n)
    while got == WAITING:
        fl_parker_wait(me.parker, 1000000, False)
        got = settle(L, n)
    wait_pop(me, n)
    return got


cdef void read_upgradably(Job* job, FSelf* me) noexcept nogil:
    """Counts under the upgradable share alone. Without its upgrade: which shares are its own is in lists that the GIL guards."""
    take_share(job.shared, me, WAIT_UPGRADABLE)
    job.under_upgradable[0] += 1
    job.seen += job.under_write[0]
    give_upgradable(job.shared, me)


cdef void* work(void* argument) noexcept nogil:
    cdef Job* job = <Job*>argument
    cdef FSelf* me = agent_attach()
    cdef uint64_t i
    for i in range(job.rounds):
        if take_exclusive(job.mutex, me, 20000 if i % 7 == 0 else -1) == TAKEN:
            job.under_mutex[0] += 1
            if not fl_word_drop(&job.mutex.word, me.word):
                give_back(job.mutex)
        else:
            job.gave_up += 1
        if i % 8 == 3:
            read_upgradably(job, me)
        elif i % 4 == 0:
            take_exclusive(job.shared, me, -1)
            job.under_write[0] += 1
            give_back(job.shared)
        else:
            take_share(job.shared, me, WAIT_SHARED)
            job.seen += job.under_write[0]
            give_read(job.shared, me)
    return NULL


def drive(uint32_t threads, uint64_t rounds):
    """Runs native threads over one Lock and one RWLock; returns (counted, expected) for each."""
    cdef FLock* mutex = lock_new(K_LOCK)
    cdef FLock* shared = lock_new(K_RWLOCK)
    contended_named(mutex, 0, 0)      # as _shown makes it
    contended_named(shared, 0, 0)
    cdef uint64_t under_mutex = 0
    cdef uint64_t under_write = 0
    cdef uint64_t under_upgradable = 0
    cdef uint64_t gave_up = 0
    cdef uint32_t i
    cdef Job* jobs = <Job*>calloc(threads, sizeof(Job))
    cdef pthread_t* ids = <pthread_t*>calloc(threads, sizeof(pthread_t))
    with nogil:
        for i in range(threads):
            jobs[i].mutex = mutex
            jobs[i].shared = shared
            jobs[i].rounds = rounds
            jobs[i].under_mutex = &under_mutex
            jobs[i].under_write = &under_write
            jobs[i].under_upgradable = &under_upgradable
            pthread_create(&ids[i], NULL, work, &jobs[i])
        for i in range(threads):
            pthread_join(ids[i], NULL)
    for i in range(threads):
        gave_up += jobs[i].gave_up
    idle = mutex.word == 0 and shared.word == 0 and shared.count == 0 and mutex.head == NULL and shared.head == NULL
    idle = idle and shared.limit == 0
    free(jobs)
    free(ids)
    contended_close(mutex)
    contended_close(shared)
    lock_free(mutex)
    lock_free(shared)
    writes = sum([1 for r in range(rounds) if r % 4 == 0])
    upgradable = sum([1 for r in range(rounds) if r % 8 == 3])
    return {"mutex": (under_mutex, threads * rounds - gave_up), "rwlock": (under_write, threads * writes), "upgradable": (under_upgradable, threads * upgradable),
            "idle": idle, "gave_up": gave_up}


# ---- results ------------------------------------------------------------------------------------

cdef enum:
    LOOKS = 3                  # of one wait

cdef struct Bringer:
    # A thread that is to bring something, and waits for what the next one and the one after are to bring.
    FLock* wait
    FLock* pool
    FSource own
    FSource* wanted[2]
    uint64_t rounds
    uint64_t waits
    uint64_t circles


cdef void comes_from(FSource* s, uint8_t state, FSelf* agent, FLock* pool) noexcept nogil:
    wakers_lock()
    s.state = state
    s.word = agent.word if agent != NULL else 0
    s.pool = pool.index if pool != NULL else 0
    s.pool_serial = pool.serial if pool != NULL else 0
    wakers_unlock()


cdef void wait_for_others(Bringer* b, FSelf* me, uint32_t n, bint any_of) noexcept nogil:
    """A wait for results, as _awaited makes it, without what parks."""
    cdef FNode* node
    cdef Found found
    cdef uint32_t i
    if not wakers_set(b.wait, n, any_of):
        return
    for i in range(n):
        wakers_put(b.wait, i, b.wanted[i])
    node = wait_push(me, b.wait, WAIT_EXCLUSIVE, 0, -1, 0)
    for i in range(LOOKS):
        if examine(me, &found):
            b.circles += 1
            release_found(&found)
        fl_parker_wait(me.parker, 20000, False)
    wakers_clear(b.wait)
    wait_pop(me, node)
    b.waits += 1


cdef void* bring(void* argument) noexcept nogil:
    cdef Bringer* b = <Bringer*>argument
    cdef FSelf* me = agent_attach()
    cdef uint64_t i
    for i in range(b.rounds):
        comes_from(&b.own, S_AGENT, me, NULL)
        wait_for_others(b, me, 1 + i % 2, i % 4 == 3)
        if i % 5 == 0:
            comes_from(&b.own, S_POOL, NULL, b.pool)
        elif i % 5 == 1:
            comes_from(&b.own, S_DONE, NULL, NULL)
    comes_from(&b.own, S_DONE, NULL, NULL)
    return NULL


def drive_results(uint32_t threads, uint64_t rounds):
    """Native threads in a ring wait for each other's results; returns how often they did, and how often they met a circle."""
    cdef Bringer* bringers = <Bringer*>calloc(threads, sizeof(Bringer))
    cdef pthread_t* ids = <pthread_t*>calloc(threads, sizeof(pthread_t))
    cdef FLock* pool = lock_new(K_POOL)
    cdef uint32_t i
    pool.limit = 1
    for i in range(threads):
        bringers[i].wait = lock_new(K_RESULT)
        contended_named(bringers[i].wait, 0, 0)
        bringers[i].pool = pool
        bringers[i].rounds = rounds
        bringers[i].wanted[0] = &bringers[(i + 1) % threads].own
        bringers[i].wanted[1] = &bringers[(i + 2) % threads].own
    with nogil:
        for i in range(threads):
            pthread_create(&ids[i], NULL, bring, &bringers[i])
        for i in range(threads):
            pthread_join(ids[i], NULL)
    result = {"waits": sum([bringers[i].waits for i in range(threads)]), "circles": sum([bringers[i].circles for i in range(threads)])}
    for i in range(threads):
        contended_close(bringers[i].wait)
        lock_free(bringers[i].wait)
    lock_free(pool)
    free(bringers)
    free(ids)
    return result


# ---- the lock-order graph -----------------------------------------------------------------------

cdef enum:
    CLASSES = 12
    LOCKS = 4          # of each class

cdef struct Learner:
    FGraph* graph
    uint32_t* nodes
    uint32_t number
    uint64_t rounds
    uint64_t random
    uint64_t shown             # calls of graph_learn
    uint64_t known             # answers of graph_seen
    uint64_t found             # circles


cdef uint64_t draw(Learner* me, uint64_t limit) noexcept nogil:
    me.random = me.random * <uint64_t>6364136223846793005 + <uint64_t>1442695040888963407
    return (me.random >> 33) % limit


cdef void pick_lock(Learner* me, GHeld* h) noexcept nogil:
    cdef uint64_t cls = draw(me, CLASSES)
    h.node = me.nodes[cls]
    h.serial = 1 + cls * LOCKS + draw(me, LOCKS)
    h.flags = G_EVIDENCE if draw(me, 8) else 0


cdef void show(Learner* me, GWant* want, GCircle* out) noexcept nogil:
    """What an acquire does: looks the pair up, shows it to the graph where it is not known, and remembers the answer."""
    cdef GHeld* top = &want.held[want.depth - 1]
    cdef uint64_t key = (top.serial << 32 | want.serial << 16 | me.number) + (<uint64_t>graph_epoch(me.graph) << 40)
    cdef uint64_t edge = graph_seen(me.graph, key)
    cdef int code
    if edge and graph_count(me.graph, edge, 1):
        me.known += 1
        return
    me.shown += 1
    code = graph_learn(me.graph, want, out)
    if code == G_FOUND:
        me.found += 1
        if draw(me, 4) == 0:
            graph_retract(me.graph, out.token)
    elif code <= G_LEARNED and out.direct_edge:
        graph_remember(me.graph, key, out.direct_edge)
        graph_saturated(me.graph, out.direct_edge)


cdef void* learn_on(void* argument) noexcept nogil:
    cdef Learner* me = <Learner*>argument
    cdef GHeld held[3]
    cdef GHeld wanted
    cdef GWant want
    cdef GCircle out
    cdef uint64_t i
    cdef uint32_t k, following
    memset(&want, 0, sizeof(want))
    memset(held, 0, sizeof(held))
    want.held = held
    want.agent = me.number
    for i in range(me.rounds):
        if i % 64 == 0:
            following = clock_new(me.graph, want.clock, 0)
            clock_unref(me.graph, want.clock)
            want.clock = following
        want.depth = 1 + <uint32_t>draw(me, 3)
        for k in range(want.depth):
            pick_lock(me, &held[k])
        pick_lock(me, &wanted)
        want.serial = wanted.serial
        want.node = wanted.node
        show(me, &want, &out)
        if i % 50 == 0:
            graph_lock_died(me.graph, wanted.serial)
        if i % 999 == 998:
            graph_signal(me.graph, wanted.serial)
            graph_lock_died(me.graph, wanted.serial)
    clock_unref(me.graph, want.clock)
    return NULL


def drive_graph(uint32_t threads, uint64_t rounds):
    """Native threads show one graph random acquires; returns what they counted, and what is wrong with its order."""
    cdef FGraph* graph = graph_new(64, 4096)
    cdef uint32_t nodes[CLASSES]
    cdef Learner* learners = <Learner*>calloc(threads, sizeof(Learner))
    cdef pthread_t* ids = <pthread_t*>calloc(threads, sizeof(pthread_t))
    cdef const char* fault
    cdef GStats stats
    cdef uint32_t i
    for i in range(CLASSES):
        nodes[i] = graph_node(graph)
    with nogil:
        for i in range(threads):
            learners[i].graph = graph
            learners[i].nodes = nodes
            learners[i].number = learners[i].random = i + 1
            learners[i].rounds = rounds
            pthread_create(&ids[i], NULL, learn_on, &learners[i])
        for i in range(threads):
            pthread_join(ids[i], NULL)
    fault = graph_fault(graph)
    graph_stats(graph, &stats)
    result = {"fault": (<bytes>fault).decode() if fault != NULL else None, "edges": stats.edges, "witnesses": stats.witnesses,
              "shown": sum([learners[i].shown for i in range(threads)]), "known": sum([learners[i].known for i in range(threads)]),
              "found": sum([learners[i].found for i in range(threads)])}
    graph_free(graph)
    free(learners)
    free(ids)
    return result
