# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Who can never run: a look at the whole table, and what of it is a stall.

A stall is what is left when everybody who can run, and everybody whom those could let go on, is taken out, and so is who stands still for locks alone:
that is a circle or an abandoned lock, and told as such. Who is merely idle is no stall: a thread other than the main one that waits to be given
something to do, and for whom nobody else waits. While somebody can run, what is known of who wakes whom is no more than what has been so far, and a
new one may come, or one that has ended be replaced: so only waits count then that have lasted for PATIENCE times slow_wait, unless somebody has asked. A stall has a victim: the main thread, or somebody who waits for a lock, a permit,
a result, a barrier, for room in a queue or for its end; the others in it are those who could have woken it. Where nothing in the whole process can run, all are victims.

A look copies the table with the GIL held for some milliseconds at a time, works without it, and then compares every wait and every record
with the copy. Guard: the GIL; a Look is its caller's.
"""
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.unistd cimport getpid, usleep

from fastlock._block cimport slow_after
from fastlock._copy cimport *
from fastlock._native cimport *
from fastlock._needs cimport *
from fastlock._table cimport *

import os

from _thread import get_ident

cdef int64_t OTHERWISE_NS = 10000000000     # slow_wait, where there is none

cdef enum:
    PATIENCE = 10              # times slow_wait that who used to wake them has left them waiting
    NAP_US = 50                # between slices: who else wants the GIL gets it
    AT_ONCE = 2048             # waits that are compared at a time

cdef dict own = {}              # fastlock's own threads: the system's number by ident


def own_thread(runs):
    """The calling thread is one of fastlock's own, until it says that it ends: it wakes nobody."""
    if runs:
        own[get_ident()] = fl_native_id()
    else:
        own.pop(get_ident(), None)


def look(idents, calls, others, awaited, resting, wanted, bint handlers, natives, served, bint asked):
    """Who is stuck now; `idents` are of all Python threads, `others` records by serial who are also woken by those of the record with that index.

    `asked`: whoever wants to know what may be stuck now is not to wait for it to last. `awaited` has the threads for whose end the main one waits at the interpreter's end, each with that one's ident: it does nothing else then.
    `resting` are the threads whose event loop has nothing to run, and nothing to wait for but what another thread gives it.
    `wanted` has the ids of the tasks whose end somebody waits for: the one that a loop runs for, and whom that awaits.
    `served()` has the threads that C code has given what they wait for. It is asked when all is copied: who has gone on by then is in another wait when that is compared.
    """
    cdef bint runs
    cdef Look self = Look.__new__(Look)
    self.handlers = self.copy.handlers = handlers
    self.calls = dict(calls)
    self.awaited = dict(awaited)
    self.wanted = frozenset(wanted)
    self.copy.asked = asked
    self.copy.young_ns = fl_now_ns() - (0 if asked else PATIENCE * (slow_after() if slow_after() >= 0 else OTHERWISE_NS))
    while copy_some(&self.copy, others):
        with nogil:
            usleep(NAP_US)
    mark_served(&self.copy, served())
    mark_resting(&self.copy, resting)
    runs = handlers or mark_idle(&self.copy, idents, {*own, *awaited.values()})
    with nogil:
        self.nothing_runs = work_out(&self.copy, runs)
    if self.nothing_runs:
        self.natives = natives(tids_of(&self.copy))
        if self.natives:
            self.nothing_runs = False
            with nogil:
                settle(&self.copy, SOMEBODY_RUNS)
    return self


cdef bint work_out(Copy* c, bint runs) noexcept nogil:
    """Settles a copy that is complete; whether nobody in it can run, and nobody beside it does (`runs`). In one go: who computes gives the GIL back after a while only."""
    copy_end(c)
    mark_awake(c)
    mark_locked(c)
    settle(c, 0)
    runs = runs or somebody_runs(c)
    settle(c, SOMEBODY_RUNS if runs else LOCKED)
    return not runs


cdef int mark_served(Copy* c, set idents) except -1:
    """Marks as running who waits, and has been given what it waits for."""
    cdef uint32_t i
    for i in range(1, c.n_nodes if idents else 0):
        if c.nodes[i].kind == WAITS and c.nodes[i].ident != 0 and c.nodes[i].ident in idents:
            c.nodes[i].kind = RUNS
            c.nodes[i].need = 0
    return 0


cdef int mark_resting(Copy* c, object idents) except -1:
    """Has threads that run a loop without anything to run wait for anybody who runs; their tasks need them."""
    cdef uint32_t i, number
    cdef Need* need
    if not idents or not room_for_need(c):
        return 0
    number = c.n_needs
    c.n_needs += 1
    need = &c.needs[number]
    memset(need, 0, sizeof(Need))
    need.rule = ANYBODY
    need.woken = 1
    for i in range(1, c.n_nodes):
        if c.nodes[i].kind == RUNS and c.nodes[i].need == 0 and c.nodes[i].ident != 0 and c.nodes[i].ident in idents:
            c.nodes[i].kind = WAITS
            c.nodes[i].rests = 1
            c.nodes[i].need = number
            c.nodes[i].next_waiter = need.first_waiter
            need.first_waiter = i
    return 0


cdef bint mark_idle(Copy* c, object idents, set idle) except -1:
    """Marks threads that run and wake nobody; whether there is another one that is in no record."""
    cdef uint32_t i
    strangers = set(idents) - idle
    for i in range(1, c.n_nodes):
        if c.nodes[i].ident != 0 and c.nodes[i].kind != GONE:
            ident = c.nodes[i].ident
            strangers.discard(ident)
            c.nodes[i].idle = ident in idle
    return len(strangers) != 0


cdef frozenset tids_of(Copy* c):
    """The system's numbers of the threads that have a record, and of fastlock's own."""
    cdef uint32_t i
    tids = [agent_at(i).pub.native_id for i in range(1, c.n_nodes) if c.nodes[i].ident != 0 and c.nodes[i].kind != GONE]
    return frozenset(tids + list(own.values()))


cdef void mark_awake(Copy* c) noexcept nogil:
    """A loop with a task whose wait may end at any moment, nobody knows by whom, may have something to run then."""
    cdef uint32_t i
    cdef Node* thread
    for i in range(1, c.n_nodes):
        thread = &c.nodes[c.nodes[i].thread]
        if c.nodes[i].thread != 0 and thread.rests and c.nodes[i].kind == WAITS and c.needs[c.nodes[i].need].rule == FREE:
            thread.kind = RUNS
            thread.rests = 0
            thread.need = 0


cdef void mark_locked(Copy* c) noexcept nogil:
    """Marks whom locks, permits and results alone keep from running."""
    cdef uint32_t i
    settle(c, WOKEN)
    for i in range(1, c.n_nodes):
        c.nodes[i].locked = not c.nodes[i].live and (c.nodes[i].kind == WAITS or c.nodes[i].kind == RUNS)


cdef bint somebody_runs(Copy* c) noexcept nogil:
    cdef uint32_t i
    for i in range(1, c.n_nodes):
        if c.nodes[i].live and not c.nodes[i].is_task and not c.nodes[i].idle:
            return True
    return False


@cython.final
cdef class Look:

    def __cinit__(self):
        if not copy_open(&self.copy):
            raise MemoryError
        self.parent = <uint32_t*>calloc(self.copy.n_nodes, sizeof(uint32_t))
        if self.parent == NULL:
            raise MemoryError

    def __dealloc__(self):
        copy_close(&self.copy)
        free(self.parent)

    def stalls(self, int64_t late_ns):
        """The stalls, each a list of agents' indices in the table, the oldest victim first; only those with a victim that waits since before `late_ns`."""
        cdef uint32_t i
        if self.copy.failed:
            return []
        victims = [i for i in range(1, self.copy.n_nodes) if self.is_stuck(i) and self.is_victim(i)]
        if not victims:
            return []
        victims.sort(key=self.urgency)
        self.groups = []
        for group in grouped(self, victims):
            if any([self.copy.nodes[<uint32_t>i].since_ns <= late_ns for i in group if self.is_victim(<uint32_t>i)]) and self.holds_still(group):
                self.groups.append(group)
        return self.groups

    def urgency(self, uint32_t i):
        return (not is_main(i), self.copy.nodes[i].since_ns)

    cdef bint is_stuck(self, uint32_t i) noexcept nogil:
        cdef Node* node = &self.copy.nodes[i]
        return node.kind == WAITS and not node.live and not node.locked and not node.rests

    cdef bint is_victim(self, uint32_t i) except -1:
        cdef Need* need = &self.copy.needs[self.copy.nodes[i].need]
        if not self.is_stuck(i):
            return False
        if self.nothing_runs or not need.woken or need.lock.kind == K_BARRIER or is_main(i):
            return True
        if self.copy.nodes[i].is_task:
            return agent_id(agent_at(i)) in self.wanted
        ident = self.copy.nodes[i].ident
        return ident in self.awaited or self.calls.get(ident) in ("put", "join")

    cdef bint holds_still(self, list group) except -1:
        """Whether all of it is as it was copied: then none of them has run meanwhile."""
        cdef uint32_t i
        cdef Need* need
        for at, number in enumerate(group):
            i = number
            need = &self.copy.needs[self.copy.nodes[i].need]
            if not still_waits(&self.copy, i) or not still_needs(&self.copy, need):
                return False
            if at % AT_ONCE == AT_ONCE - 1:
                with nogil:
                    usleep(NAP_US)
        return True


cdef bint is_main(uint32_t i) noexcept:
    cdef FSelf* s = agent_at(i)
    return s.task == NULL and s.pub.native_id == <uint32_t>getpid()


cdef list grouped(Look self, list victims):
    """Victims and who could have woken them, those together who have to do with each other."""
    cdef Copy* c = &self.copy
    cdef uint32_t i, j
    reached = dict.fromkeys(victims)
    queue = list(victims)
    for i in queue:
        self.parent[i] = i
    for number in queue:                # grows meanwhile
        for other in wakers_in(c, c.nodes[<uint32_t>number].need):
            j = other
            if self.is_stuck(j) and j not in reached:
                self.parent[j] = j
                reached[j] = None
                queue.append(j)
    join_up(self, queue)
    groups = {}
    for number in queue:
        groups.setdefault(root(self, <uint32_t>number), []).append(number)
    return list(groups.values())


cdef int join_up(Look self, list reached) except -1:
    """Those who wait for the same, and who could wake them; everybody, where nothing runs."""
    cdef Copy* c = &self.copy
    cdef uint32_t i
    first_of = {}
    for number in reached:
        i = number
        first = first_of.setdefault(0 if self.nothing_runs else c.nodes[i].need, number)
        if first != number:
            self.parent[root(self, i)] = root(self, <uint32_t>first)
            continue
        for other in wakers_in(c, c.nodes[i].need):
            if self.is_stuck(<uint32_t>other):
                self.parent[root(self, <uint32_t>other)] = root(self, i)
    return 0


cdef list wakers_in(Copy* c, uint32_t need):
    """The indices of all agents that could end the waits for it, a pool's workers among them."""
    cdef uint32_t at = c.needs[need].first_link
    agents = []
    while at != 0:
        if c.links[at].agent != 0:
            agents.append(c.links[at].agent)
        else:
            agents += wakers_in(c, c.links[at].pool)
        at = c.links[at].next_of_need
    return agents


cdef uint32_t root(Look self, uint32_t i) noexcept nogil:
    while self.parent[i] != i:
        self.parent[i] = self.parent[self.parent[i]]
        i = self.parent[i]
    return i


def in_child():
    """Fastlock's own threads are not in the child of a fork."""
    own.clear()


os.register_at_fork(after_in_child=in_child)
