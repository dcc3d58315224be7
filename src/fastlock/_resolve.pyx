# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Walks whose loose ends are asked of asyncio, in Python, and only where somebody is blocked.

A walk knows what the table knows. Where it ends at a task that waits for nothing of ours, or at a lock whose word is the thread of a loop, the
resolver (suspended.py) is asked what the task awaits, or which task of the loop holds the lock. Its answers are told to the walk (_told), which
is repeated until nothing new is met, and withdrawn before any Python code runs again.

The resolver is Python: threads may switch while it answers, so an answer may be old when the walk uses it. What was found with it
counts only after all of it has been asked and walked a second time, with the same outcome. Each wait in it was then there the first time
and is there the second time, as the very same wait (a wait's number, the future that is awaited, the lock and the frame that took it), so
it has lasted from the end of the first round to the beginning of the second one; so they were all there at once.

Cost: nothing but a look at a few attributes for a task that is not suspended on another one's end. A waiting thread's node is suspended while
Python runs, as for a signal handler.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

from fastlock._native cimport *
from fastlock._park cimport TAKEN, resume, suspend
from fastlock._sites cimport site_at, site_in
from fastlock._table cimport *
from fastlock._tasks cimport task_agent_in, task_known, task_rest
from fastlock._told cimport *
from fastlock._found cimport FL002, NOTHING, Edge, Found, found_proof, release_found, split_unknown, weigh
from fastlock._wakers cimport wakers_refresh
from fastlock._waits cimport examine

cdef extern from "Python.h":
    void Py_INCREF(PyObject*)
    void PyErr_WriteUnraisable(object)

cdef extern from "_frames.h":
    bint fl_runs_in(unsigned long, uint64_t)
    bint fl_same_context(unsigned long, uint16_t)
    uint64_t fl_frame_here()

cdef enum:  # whom a task awaits
    NOBODY = 0
    MAYBE = 1
    ENDED = 2

cdef enum:
    MOST_ROUNDS = 512
    MOST_TRIES = 3
    MOST_TOLD = 32768

cdef object resolver = None
cdef object deadlines = None
cdef object plain_future = None     # _asyncio.Future: what waits for a timer, for I/O, for a lock
cdef object waiting_codes = ()      # coroutines of asyncio that wait for tasks by a plain future
cdef set busy = set()               # words of the agents whose thread runs the resolver now


def set_resolver(resolve, deadlines_of):
    """resolve(tasks, frames) -> (relations, ended, holders) and deadlines_of(tasks) -> ns or None for each, in the waiting agent."""
    global resolver, deadlines
    resolver = resolve
    deadlines = deadlines_of


def set_waiting(future_type, codes):
    """What tells a task that surely awaits no other one: see awaits()."""
    global plain_future, waiting_codes
    plain_future = future_type
    waiting_codes = codes


def frame_here():
    """The address of the calling function's frame, its lower 48 bits; 0 where it is not known."""
    return fl_frame_here()


# ---- loose ends -----------------------------------------------------------------------------------------------

cdef int awaits(object task) except -1:
    """Whether a task may be suspended on another one (MAYBE), has ended (ENDED) or neither; some attributes of it tell nearly always."""
    try:
        future = task._fut_waiter
        if future is None:
            return ENDED if task.done() else NOBODY
        if type(future) is not plain_future:
            return MAYBE
        if future.done():
            return NOBODY
        if len(future._callbacks) > 1:
            return MAYBE        # the task itself, and who cancels what is behind it
        link = task.get_coro()
        inner = link.cr_await
        while inner is not None and hasattr(inner, "cr_await"):
            link = inner
            inner = link.cr_await
        return MAYBE if getattr(link, "cr_code", None) in waiting_codes else NOBODY
    except AttributeError:
        return MAYBE            # no task of asyncio's own: the resolver will see


cdef bint leads_nowhere(FSelf* me, FSelf* owner) except -1:
    """Whether a walk from the running task, which waits for this one, ends there: it is of the same loop, which runs, and waits for nobody."""
    return (owner != NULL and owner.task != NULL and owner.top == NULL and owner.thread == me.thread
            and owner.pub.state == A_ALIVE and resolver is not None and awaits(<object>owner.task) == NOBODY)


cdef class Ends:
    """What is asked in one round."""
    cdef list tasks
    cdef list ended
    cdef list locks             # (index, serial, placed)
    cdef list frames            # (ident of the thread, frame)


cdef class Asked:
    """What was asked and answered for one walk."""
    cdef set known              # addresses of tasks, serials of locks
    cdef list relations
    cdef list holders           # (index, serial, placed, task)
    cdef set unknown            # serials of locks of which no task could be named
    cdef uint64_t proof


cdef bint is_suspended(FLock* L, FSelf* owner):
    """Whether a lock of a loop's thread was taken by what does not run now: a task has been resumed since, and the frame is not in use."""
    cdef uint64_t frame = placed_frame(L)
    return L.placed != 0 and not fl_same_context(owner.pub.ident, placed_version(L)) and not (frame != 0 and fl_runs_in(owner.pub.ident, frame))


cdef object site_code(uint32_t site):
    return <object>site_at(site).code if site != 0 else None


cdef int note_lock(Ends ends, Asked asked, FLock* L) except -1:
    cdef FSelf* owner = agent_of(L.word)
    if L.serial in asked.known or owner == NULL:
        return 0
    asked.known.add(L.serial)
    if is_suspended(L, owner):
        ends.locks.append((L.index, L.serial, L.placed))
        ends.frames.append((owner.pub.ident, placed_frame(L), site_code(L.site)))
    return 0


cdef Ends loose_ends(Found* found, Asked asked):
    """What the last walk has met and nobody has been asked for: of a circle, only the locks that are in it."""
    cdef uint32_t i
    cdef FSelf* t
    cdef Ends ends = Ends.__new__(Ends)
    ends.tasks = []
    ends.ended = []
    ends.locks = []
    ends.frames = []
    if found.code != NOTHING:
        for i in range(found.n):
            if found.edges[i].waits != NULL and is_loose(found.edges[i].waits):
                note_lock(ends, asked, found.edges[i].waits)
        return ends
    met = []
    for i in range(loose_tasks()):
        t = loose_task_at(i)
        if t.word not in asked.known and t.task != NULL:
            asked.known.add(t.word)
            met.append(<object>t.task)
    for i in range(loose_locks()):
        note_lock(ends, asked, loose_lock_at(i))
    for task in met:
        how = awaits(task)
        if how == MAYBE:
            ends.tasks.append(task)
        elif how == ENDED:
            ends.ended.append(task)
    return ends


cdef bint is_loose(FLock* L) noexcept:
    cdef uint32_t i
    for i in range(loose_locks()):
        if loose_lock_at(i) == L:
            return True
    return False


# ---- telling the walk -----------------------------------------------------------------------------------------

cdef FSelf* thread_of(object ident) noexcept:
    cdef uint32_t i
    cdef uint64_t wanted = ident
    cdef FSelf* s
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s.task == NULL and fl_load8(&s.pub.state) == A_ALIVE and s.pub.ident == wanted:
            return s
    return NULL


cdef FSelf* agent_by_id(uint64_t number) noexcept:
    cdef FSelf* s = agent_at(<uint32_t>(number & 0xFFFFFF))
    return s if s != NULL and agent_id(s) == number and s.pub.state == A_ALIVE else NULL


cdef FSelf* agent_told(object who, object ident, FSelf* thread, dict threads) except? NULL:
    """The record of a task or of an agent's id in an answer; NULL where the thread of its loop is not known and `thread`, its likely one, not either."""
    cdef FSelf* s
    if type(who) is int:
        return agent_by_id(who)
    s = task_known(<PyObject*>who)
    if s != NULL:
        return s
    if ident is not None:
        if ident not in threads:
            threads[ident] = <uintptr_t>thread_of(ident)
        thread = <FSelf*><uintptr_t>threads[ident]
    return task_agent_in(<PyObject*>who, thread) if thread != NULL else NULL


cdef int tell_walk(Asked asked, dict threads) except -1:
    """Writes the answers down for a walk."""
    cdef FSelf* who
    cdef FSelf* whom
    cdef uint32_t index
    for task, other, ident, how, code, lasti, token in asked.relations:
        who = agent_told(task, ident, NULL, threads)
        if who == NULL or who.top != NULL:
            continue
        if how == BY_POOL:
            if not tell_pool(who, other, code, lasti, <uintptr_t><PyObject*>token):
                return 0
            continue
        whom = agent_told(other, None, NULL, threads) if type(other) is int else agent_told(other[0], other[1], who.thread, threads)
        if whom == NULL:
            continue
        if not told_wait(who, whom, how, site_in(code, lasti) if code is not None else 0, <uintptr_t><PyObject*>token):
            return 0
    for index, serial, placed, task in asked.holders:
        who = agent_of(lock_at(index).word)
        if who != NULL and who.task == NULL:
            told_holder(lock_at(index), serial, placed, task_agent_in(<PyObject*>task, who))
    return 0


cdef bint tell_pool(FSelf* who, object pool, object code, object lasti, uint64_t token) except? False:
    """The same of one that waits for a worker; the answer keeps the pool."""
    cdef FLock* L = lock_at(pool.index)
    return told_pool(who, L, site_in(code, lasti) if code is not None else 0, token)


cdef void give_back_records(Asked asked) noexcept:
    """Of tasks that have a record for the sake of the walk alone."""
    for relation in asked.relations:
        rest(relation[0])
        if type(relation[1]) is tuple:
            rest(relation[1][0])
    for holder in asked.holders:
        rest(holder[3])


cdef inline void rest(object task) noexcept:
    cdef FSelf* t = task_known(<PyObject*>task)
    if t != NULL:
        task_rest(t)


cdef int walk_told(FSelf* me, Found* found, Asked asked) except -1:
    """One walk with all answers so far; no Python code runs in it."""
    try:
        tell_walk(asked, {})
        examine_awake(me, found)
        asked.proof = found_proof(found) if found.code != NOTHING else 0
    finally:
        told_withdraw()
        give_back_records(asked)
    return found.code


# ---- asking -------------------------------------------------------------------------------------------------------

cdef int ask(Asked asked, Ends ends) except -1:
    relations, ended, holders = resolver(ends.tasks, ends.frames)
    mark_ended(ended)
    asked.relations.extend(relations[:MOST_TOLD])
    for lock, holder in zip(ends.locks, holders):
        if holder is not None:
            asked.holders.append((*lock, holder))
        else:
            asked.unknown.add(lock[1])
    return 0


cdef int mark_ended(list ended) except -1:
    cdef FSelf* t
    for task in ended:
        t = task_known(<PyObject*>task)
        if t != NULL and t.pub.state == A_ALIVE:
            fl_store8(&t.pub.state, A_ENDED)
    return 0


cdef int in_python(FLock* L, FNode* n, Asked asked, Ends ends) except -1:
    """Asks, while the wait of `n` is suspended; TAKEN where the lock came meanwhile."""
    if n != NULL and suspend(L, n) == TAKEN:
        return TAKEN
    try:
        ask(asked, ends)
    except Exception:
        PyErr_WriteUnraisable(resolver)
    return resume(L, n) if n != NULL else 0


cdef int one_round(FSelf* me, Found* found, FLock* L, FNode* n, Asked asked, bint* taken) except -1:
    """Walks and asks until nothing new is met."""
    cdef Ends ends
    cdef int i
    asked.known = set()
    asked.relations = []
    asked.holders = []
    asked.unknown = set()
    for i in range(MOST_ROUNDS):
        walk_told(me, found, asked)
        ends = loose_ends(found, asked)
        if ends.ended:
            mark_ended(ends.ended)
        elif not ends.tasks and not ends.locks:
            return found.code
        release_found(found)
        found.code = NOTHING
        if (ends.tasks or ends.locks) and in_python(L, n, asked, ends) == TAKEN:
            taken[0] = True
            return NOTHING
        if len(asked.relations) >= MOST_TOLD:
            return walk_told(me, found, asked)
    return found.code


cdef bint rests_on_tasks(Found* found) noexcept:
    cdef uint32_t i
    for i in range(found.n):
        if found.edges[i].agent.task != NULL or found.edges[i].placed != 0:
            return True
    return False


cdef dict deadlines_in(Found* found, FLock* L, FNode* n, bint* taken):
    """When the tasks of a circle give up by themselves, by address; those whose loop stands still do not."""
    cdef uint32_t i
    tasks = []
    for i in range(found.n):
        if found.edges[i].agent.task != NULL and found.edges[i].how != BY_LOOP:
            tasks.append(<object>found.edges[i].agent.task)
    if not tasks:
        return {}
    if n != NULL and suspend(L, n) == TAKEN:
        taken[0] = True
        return {}
    times = []
    try:
        times = deadlines(tasks)
    except Exception:
        PyErr_WriteUnraisable(deadlines)
    if n != NULL and resume(L, n) == TAKEN:
        taken[0] = True
    return {<uintptr_t><PyObject*>task: time for task, time in zip(tasks, times) if time is not None}


cdef int set_deadlines(Found* found, dict times) except -1:
    cdef uint32_t i
    cdef int64_t time
    cdef Edge* e
    for i in range(found.n):
        e = &found.edges[i]
        if e.agent.task == NULL or e.how == BY_LOOP or <uintptr_t>e.agent.task not in times:
            continue
        time = times[<uintptr_t>e.agent.task]
        if e.deadline_ns < 0 or time < e.deadline_ns:
            e.deadline_ns = time
    weigh(found)
    return 0


cdef int examine_awake(FSelf* me, Found* found) except -1:
    """What the agent's wait has met, without who has only not run yet: tasks that were cancelled or called, threads whose results have come."""
    cdef uint32_t i
    cdef FSelf* s
    cdef FNode* n
    cdef bint stale
    while examine(me, found) != NOTHING:
        stale = False
        for i in range(found.n):
            s = found.edges[i].agent
            n = s.top
            if found.edges[i].waits != NULL and found.edges[i].waits.kind == K_RESULT and wakers_refresh(found.edges[i].waits):
                stale = True
            if s.task == NULL or found.edges[i].wait_number == 0 or n == NULL or n.future == NULL or n.state == N_SUSPENDED:
                continue
            if (<object>n.future).done():
                fl_put8(&n.state, N_SUSPENDED)      # it takes nothing and keeps nobody waiting, until its task runs
                stale = True
        if not stale:
            return found.code
        release_found(found)
    return NOTHING


cdef int examine_all(FSelf* me, Found* found, FLock* L, FNode* n, bint* taken) except -1:
    """As examine(), and what the table does not know is asked; `n` is the calling thread's own wait for L, NULL where it is another's.

    Sets `taken` where the lock came while it was asked; then nothing is found.
    """
    cdef uint64_t caller
    taken[0] = False
    examine_awake(me, found)
    if resolver is None or fl_finalizing() or (loose_tasks() == 0 and loose_locks() == 0 and not rests_on_tasks(found)):
        return found.code
    caller = current_agent().word
    if caller in busy:
        return found.code           # the resolver itself waits for a lock
    release_found(found)
    found.code = NOTHING
    busy.add(caller)
    try:
        return examine_twice(me, found, L, n, taken)
    finally:
        busy.discard(caller)


cdef int examine_twice(FSelf* me, Found* found, FLock* L, FNode* n, bint* taken) except -1:
    """What two rounds agree on; a few more where something has changed between them."""
    cdef int i
    for i in range(MOST_TRIES):
        if examine_once(me, found, L, n, taken):
            break
    return found.code


cdef bint examine_once(FSelf* me, Found* found, FLock* L, FNode* n, bint* taken) except -1:
    """False where the rounds do not agree."""
    cdef Asked first = Asked.__new__(Asked)
    cdef Asked second = Asked.__new__(Asked)
    if one_round(me, found, L, n, first, taken) == NOTHING:
        return True
    if not rests_on_tasks(found) and not is_unknown(found, first):
        return True
    times = deadlines_in(found, L, n, taken)
    release_found(found)
    found.code = NOTHING
    if taken[0] or one_round(me, found, L, n, second, taken) == NOTHING:
        return True
    if second.proof != first.proof:
        release_found(found)
        found.code = NOTHING
        return False
    kept = [first, second, times]   # nothing of it is let go before it has been told
    found.asked = <PyObject*>kept
    Py_INCREF(found.asked)
    set_deadlines(found, times)
    if is_unknown(found, second):
        split_unknown(found)
    return True


cdef bint is_unknown(Found* found, Asked asked):
    """Whether a thread waits for its own lock, and a task that does not run, one does not know which, holds it."""
    return found.code == FL002 and found.n == 1 and found.edges[0].waits != NULL and found.edges[0].waits_serial in asked.unknown


cdef tuple placed_by(FLock* L):
    """What to ask of who holds a lock of a loop's thread, with which lock() can tell later that it is still so: None where it is a thread."""
    cdef FSelf* owner = agent_of(L.word)
    if owner == NULL or owner.task != NULL or not L.marks & M_PLACED or owner.loops == 0 or not is_suspended(L, owner):
        return None
    return (owner.pub.ident, placed_frame(L), site_code(L.site), L.index, L.serial, L.placed)
