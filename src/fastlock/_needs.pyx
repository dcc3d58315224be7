# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What has to happen before a wait ends: a need of the copy, with links to whoever could bring it about.

An exclusive lock, readers and results need all of their holders to let go. Permits need any one holder; so does what one is woken from (a condition,
an event, a barrier, a semaphore that is a signal), of those who have woken it so far. Where these are no measure of who will, as nobody has, or too few times, or
they come and go, anybody who runs may. Work that is queued in a pool needs any of its workers, where all that there can be have a job: a need of
its own, to which those who wait for it are linked. Guard: the GIL.
"""
from libc.stdint cimport uint32_t, uint8_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memset
from posix.unistd cimport getpid

import sys

from fastlock._found cimport writer_before
from fastlock._native cimport *
from fastlock._park cimport revocable
from fastlock._table cimport *
from fastlock._wakers cimport S_UNKNOWN, FSource, FWakers, is_lent, source_agent, source_pool, wakers_lock, wakers_of, wakers_refresh, wakers_unlock
from fastlock._woken cimport BY_MANY, BY_STRANGER, BY_TURNS, Woken, last_count, last_waker, woken_of

cdef dict modules = sys.modules

cdef enum:
    ESTABLISHED = 3            # wakes, before who has woken somebody so far says who will


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
    cdef void* p = grown(c.needs, c.n_needs + RW_NEEDS - 1, &c.needs_room, sizeof(Need))      # as many at a time, see need_for()
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


cdef int make_need(Copy* c, uint32_t number, FLock* L, uint32_t way, dict others) except? 0:
    cdef Need* need = &c.needs[number]
    memset(need, 0, sizeof(Need))
    need.lock = L
    need.serial = L.serial
    need.proof = proof_of(L)
    if is_lent(L) and wakers_of(L) != NULL:
        wakers_refresh(L)
        need_sources(c, number, L)
    elif L.kind == K_CONDITION or L.kind == K_EVENT or L.kind == K_BARRIER or (L.kind == K_SEMAPHORE and L.marks & M_SIGNAL):
        need.woken = 1
        if not (L.kind == K_EVENT or L.kind == K_SEMAPHORE) or L.count == 0:
            need.rule = ANY
            other = others.get(L.serial) if L.kind == K_CONDITION else None
            mark_over(c, L)
            need_wakers(c, number, L, lock_at(<uint32_t>other) if other is not None else NULL)
    elif not L.marks & M_SIGNAL:
        if L.kind == K_RESULT:
            wakers_refresh(L)
        need_holders(c, number, L, way)
    return 1


cdef uint64_t proof_of(FLock* L) noexcept nogil:
    """Another one as soon as somebody else holds the lock, or has woken it."""
    if L.kind == K_RESULT or is_lent(L):
        return result_proof(L)
    if L.kind == K_CONDITION or L.kind == K_BARRIER:
        return mix(L.tag, L.acquired)
    if L.kind == K_EVENT:
        return mix(L.tag, L.count)
    return mix(owner_bits(fl_load64(&L.word)), <uint64_t>L.count ^ L.marks ^ <uint64_t>L.limit << 32)


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


cdef void need_holders(Copy* c, uint32_t number, FLock* L, uint32_t way) noexcept nogil:
    """Who has to let the lock go, for an RWLock's of this `way`; shares are added in copy_end()."""
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
    elif L.kind == K_RWLOCK and way == RW_UPGRADABLE and fl_get32(&L.limit) != 0:
        need.rule = ALL if link(c, number, agent_at(fl_get32(&L.limit))) else FREE
    elif L.kind == K_RWLOCK and (way == RW_READ or way == RW_UPGRADABLE):
        need.rule = ALL if link(c, number, writer_before(L, NULL)) else FREE
    elif L.kind == K_RWLOCK:
        need.rule = ALL
        need.shared = 1


cdef void need_sources(Copy* c, uint32_t number, FLock* L) noexcept nogil:
    """Who is to bring the results: agents, and pools, which are needs of their own. What is there already may come at any moment, and what nobody
    is known to bring from anybody who runs: a future of the program's own, or of another kind of pool, whose threads run or wait for processes."""
    cdef FWakers* w
    cdef uint32_t i, pool
    cdef FSelf* agent
    cdef bint known = True
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
        elif is_unknown(w.source[i]):
            known = False
        elif w.any:
            c.needs[number].rule = FREE
    if c.needs[number].rule == ANY and not known or c.needs[number].links == 0 and c.needs[number].rule == ALL:
        c.needs[number].rule = FREE if known else ANYBODY
        c.needs[number].woken = not known
    wakers_unlock()


cdef bint is_unknown(FSource* s) noexcept nogil:
    """Whether nobody knows who brings it, and it is not there either."""
    return s == NULL or s.state == S_UNKNOWN


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


cdef int mark_over(Copy* c, FLock* L) except -1:
    """Marks tasks that have woken it, and are done: their records stay as long as the tasks are there."""
    cdef Woken* w = woken_of(L)
    cdef uint32_t i
    cdef FSelf* s
    if not L.marks & M_AIO:
        return 0
    for i in range((w.n if w != NULL else 0) + 1):
        s = agent_of(w.words[i] if w != NULL and i < w.n else last_waker(L))
        if s == NULL or s.task == NULL or s.top != NULL or fl_load8(&s.pub.state) != A_ALIVE or not is_done(<object>s.task):
            continue
        fl_store8(&s.pub.state, A_ENDED)
        if s.pub.index < c.at:
            c.nodes[s.pub.index].kind = GONE
    return 0


cdef bint is_done(object task) except -1:
    """Asked only of C's own tasks: any other could run code of the program's."""
    return type(task) is getattr(modules.get("_asyncio"), "Task", None) and task.done()


cdef void need_wakers(Copy* c, uint32_t number, FLock* L, FLock* other) noexcept nogil:
    """Who has woken what waits there, or at the other record, and whether that says who will."""
    cdef uint64_t times = add_wakers(c, number, L)
    if other != NULL:
        times += add_wakers(c, number, other)
    if c.needs[number].rule == ANY and (times < (1 if c.asked else ESTABLISHED) or (L.kind == K_BARRIER and known(L) < L.limit)):
        c.needs[number].rule = ANYBODY


cdef uint32_t known(FLock* L) noexcept nogil:
    """How many parties have ever come."""
    cdef Woken* w = woken_of(L)
    return w.n + w.forgotten if w != NULL else L.tag != 0


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
    if c.handlers and (s if s.task == NULL else s.thread).pub.native_id == <uint32_t>getpid():
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
