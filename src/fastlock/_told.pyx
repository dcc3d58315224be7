# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Temporary relations between agents, and the loose ends of a walk that they are asked for.

The table knows who waits for a lock, and nothing of a task that awaits another one or of the task behind a thread's lock. Where a walk
ends at such a place it notes a loose end; _resolve has it answered, writes the answers down here, walks again, and withdraws them before
any Python code runs. Guard: the GIL, which the one who walks holds from the first told_wait() to told_withdraw(); the walk's mutex
where there is none.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport realloc

from fastlock._native cimport fl_load64
from fastlock._table cimport *

cdef enum:
    MOST_LOOSE = 4096          # of one walk: what lies behind more of them is not asked for

cdef struct ToldLock:
    FLock* lock
    FSelf* holder

cdef Told* relations = NULL
cdef uint32_t relations_n = 0
cdef uint32_t relations_room = 0
cdef ToldLock* holders = NULL
cdef uint32_t holders_n = 0
cdef uint32_t holders_room = 0
cdef FSelf* tasks[MOST_LOOSE]
cdef FLock* locks[MOST_LOOSE]
cdef uint32_t tasks_n = 0
cdef uint32_t locks_n = 0


# ---- relations ------------------------------------------------------------------------------------------------

cdef bint told_wait(FSelf* who, FSelf* whom, uint8_t how, uint32_t site, uint64_t token) noexcept nogil:
    """Notes that a task cannot go on before another agent does; False where memory is out."""
    return note(who, whom, NULL, how, site, token)


cdef bint told_pool(FSelf* who, FLock* pool, uint32_t site, uint64_t token) noexcept nogil:
    """Notes that a task cannot go on before a worker of a pool is free; False where memory is out."""
    return note(who, NULL, pool, BY_POOL, site, token)


cdef bint note(FSelf* who, FSelf* whom, FLock* pool, uint8_t how, uint32_t site, uint64_t token) noexcept nogil:
    global relations, relations_n, relations_room
    cdef Told* t
    if relations_n == relations_room:
        t = <Told*>realloc(relations, (relations_room * 2 + 64) * sizeof(Told))
        if t == NULL:
            return False
        relations = t
        relations_room = relations_room * 2 + 64
    t = &relations[relations_n]
    t.who = who
    t.whom = whom
    t.pool = pool
    t.how = how
    t.site = site
    t.token = token
    t.next = who.told
    relations_n += 1
    who.told = relations_n
    return True


cdef bint told_holder(FLock* L, uint64_t serial, uint64_t placed, FSelf* holder) noexcept nogil:
    """Notes which task holds a lock whose word is its loop's thread; not where the lock has been let go since it was asked."""
    global holders, holders_n, holders_room
    cdef ToldLock* h
    if L.serial != serial or L.placed != placed or owner_bits(fl_load64(&L.word)) != holder.thread.word:
        return False
    if holders_n == holders_room:
        h = <ToldLock*>realloc(holders, (holders_room * 2 + 16) * sizeof(ToldLock))
        if h == NULL:
            return False
        holders = h
        holders_room = holders_room * 2 + 16
    holders[holders_n].lock = L
    holders[holders_n].holder = holder
    holders_n += 1
    return True


cdef Told* told_at(uint32_t number) noexcept nogil:
    """By number + 1, as FSelf.told and Told.next have it; NULL for 0."""
    return &relations[number - 1] if number else NULL


cdef Told* told_between(FSelf* who, FSelf* whom, FLock* pool) noexcept nogil:
    """Why an agent depends on another one, or on a pool: one of these is NULL."""
    cdef Told* t = told_at(who.told)
    while t != NULL and (t.whom != whom or t.pool != pool):
        t = told_at(t.next)
    return t


cdef FSelf* holder_told(FLock* L) noexcept nogil:
    cdef uint32_t i
    for i in range(holders_n):
        if holders[i].lock == L:
            return holders[i].holder
    return NULL


cdef void told_withdraw() noexcept nogil:
    global relations_n, holders_n
    cdef uint32_t i
    for i in range(relations_n):
        relations[i].who.told = 0
    relations_n = 0
    holders_n = 0


# ---- loose ends -----------------------------------------------------------------------------------------------

cdef void loose_clear() noexcept nogil:
    global tasks_n, locks_n
    tasks_n = 0
    locks_n = 0


cdef void loose_task(FSelf* t) noexcept nogil:
    global tasks_n
    if tasks_n < MOST_LOOSE:
        tasks[tasks_n] = t
        tasks_n += 1


cdef void loose_lock(FLock* L) noexcept nogil:
    global locks_n
    if locks_n < MOST_LOOSE:
        locks[locks_n] = L
        locks_n += 1


cdef uint32_t loose_tasks() noexcept nogil:
    return tasks_n


cdef uint32_t loose_locks() noexcept nogil:
    return locks_n


cdef FSelf* loose_task_at(uint32_t i) noexcept nogil:
    return tasks[i]


cdef FLock* loose_lock_at(uint32_t i) noexcept nogil:
    return locks[i]
