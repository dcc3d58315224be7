# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Waits of suspended tasks that are in no table, published for the time of a look by who looks.

What a task awaits that is none of ours (a plain future, asyncio.Queue, another task) is published nowhere: it would cost each await. Where the loop of a task has
nothing to run, who looks for stalls knows that the task stands still, and lends it a wait: from then on it is analysed, told and named as any other. The loan ends
with its object, which is kept as long as the stall stands. Should the loop go on meanwhile, a task has one wait too many for as long: to all walks it is one that anybody may end, so that
nothing follows from it.

Guard: the GIL. The task is kept alive, and its record by a count of what it owns.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._awaited cimport Awaited, Source, attach, await_made, detach, thread_of
from fastlock._native cimport *
from fastlock._park cimport task_wait_pop
from fastlock._shown cimport task_wait_begin
from fastlock._table cimport *
from fastlock._tasks cimport task_agent_in, task_known, task_rest
from fastlock._wakers cimport B_AWAIT, S_POOL, wakers_of


@cython.final
@cython.no_gc_clear
cdef class Thing:
    """What is awaited: anything that somebody is to bring about, or results of which all of `needs` (tasks, ids of threads' agents, pools) are needed."""
    cdef Awaited of

    def __init__(self, str name, str label, needs=()):
        self.of = await_made(K_CONDITION, B_AWAIT, name, label, [source_for(each) for each in needs], NULL)
        attach(self.of, False)

    def __dealloc__(self):
        if self.of is not None:
            detach(self.of)

    @property
    def has_needs(self):
        """Whether it is results of somebody's."""
        return wakers_of(self.of.rec) != NULL


cdef Source source_for(object who):
    """Who is to bring a result: a task, the agent of a thread by its id, or work that is queued in a pool."""
    cdef Source source = Source.__new__(Source)
    cdef FSelf* s
    if type(who) is int:
        s = agent_at(<uint32_t>(<uint64_t>who & 0xFFFFFF))
        source.by(s.word if s != NULL and agent_id(s) == <uint64_t>who else 0)
    elif hasattr(who, "get_coro"):
        source.by_task(who, thread_of(who.get_loop()))
    else:
        source.s.pool = who.index
        source.s.pool_serial = lock_at(source.s.pool).serial
        source.s.state = S_POOL
    return source


@cython.final
@cython.no_gc_clear
cdef class Lent:
    """The wait of one task, since `since_ns` at least."""
    cdef readonly object task
    cdef readonly Thing thing
    cdef FSelf* agent
    cdef FNode* node

    @property
    def id(self):
        """The agent's id."""
        return agent_id(self.agent)

    def __dealloc__(self):
        if self.node != NULL:
            task_wait_pop(self.agent, self.thing.of.rec, self.node)
            self.agent.owns -= 1
            task_rest(self.agent)


def waits(task):
    """Whether a wait of the task is published already."""
    cdef FSelf* t = task_known(<PyObject*>task)
    return t != NULL and t.top != NULL


def wait_of(task):
    """The agent's id of a suspended task, and since when it waits to be woken, by CLOCK_MONOTONIC; None where nothing of ours says that it does, for ever."""
    cdef FSelf* t = task_known(<PyObject*>task)
    cdef FNode* n = t.top if t != NULL else NULL
    if n == NULL or n.deadline_ns >= 0 or (n.mode != WAIT_NOTIFY and n.mode != WAIT_FLAG):
        return None
    return agent_id(t), n.since_ns


def lend(task, Thing thing, int64_t since_ns):
    """Publish that a suspended task waits for a thing; None where its loop's thread is not known."""
    cdef Lent self
    cdef FLock* L = thing.of.rec
    cdef FSelf* thread = thread_of(task.get_loop())
    if thread == NULL:
        return None
    self = Lent.__new__(Lent)
    self.task, self.thing = task, thing
    self.agent = task_agent_in(<PyObject*>task, thread)
    self.agent.owns += 1
    try:
        agent_refresh_name(self.agent)
        self.node = task_wait_begin(self.agent, self.agent, L, WAIT_NOTIFY, -1, L.created)
    finally:
        if self.node == NULL:
            self.agent.owns -= 1
            task_rest(self.agent)
    fl_put_ns(&self.node.since_ns, since_ns)
    return self
