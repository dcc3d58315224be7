# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""A thread's waits for what agents are to bring about: results, ends of threads, and what a program declares.

Such a wait is a K_RESULT record, or a K_OPAQUE one where nobody can be named, made for this wait and for no longer. It stands around what really
blocks: a future's condition, the event of concurrent.futures.wait(), the interpreter's own lock in Thread.join. The walk looks at the outer wait
where the inner one is a part of it (see _found.top_of). Nothing is patched in concurrent.futures for that: a condition sees by its caller's code that
this is Future.result, and only where it is about to block.

Who wakes it, and what a timeout, a signal or an exit do, is the inner wait's business; here each way out takes the record away, an exception of a policy
before anything has blocked. In the child of a fork the waits of the others name nobody.

Guard: the GIL. A task is kept alive, and its agent's record pinned by a count of what it owns, while a wait names it and no longer.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._block cimport look_for_task, to_ns
from fastlock._contended cimport contended_watch
from fastlock._core cimport lock_dropped, lock_made
from fastlock._native cimport *
from fastlock._options cimport checked_options
from fastlock._late cimport task_waits
from fastlock._park cimport task_wait_pop, wait_pop
from fastlock._reused cimport record_again, record_rests
from fastlock._shown cimport task_wait_begin, wait_begin
from fastlock._sites cimport site_at
from fastlock._table cimport *
from fastlock._tasks cimport running_loop, running_task, task_agent_in, task_known, task_rest
from fastlock._wakers cimport *

import os

from _thread import TIMEOUT_MAX

cdef enum:
    MOST_CALLS = 4

cdef dict thread_words = {}         # the agent of a thread that was found by its ident
cdef set waiting = set()            # every Awaited of now: what a fork's child has to clear
cdef PyObject* calls[MOST_CALLS]    # code objects of Future.result and Future.exception
cdef int calls_n = 0
cdef list calls_kept = []


def set_result_calls(codes):
    """From here on a condition that is waited for by one of these code objects is a future's."""
    global calls_n
    for code in codes[:MOST_CALLS - calls_n]:
        if code not in calls_kept:
            calls_kept.append(code)
            calls[calls_n] = <PyObject*>code
            calls_n += 1


cdef bint is_result_call(uint32_t site) noexcept:
    cdef int i
    cdef PyObject* code = site_at(site).code if site != 0 else NULL
    for i in range(calls_n):
        if calls[i] == code:
            return True
    return False


cdef FSelf* agent_by_ident(object ident) noexcept:
    """The agent of a thread that lives and has used fastlock, else NULL. Cost: a look at every agent, the first time."""
    cdef FSelf* s
    cdef uint64_t wanted
    cdef uint32_t i
    word = thread_words.get(ident)
    s = agent_of(<uint64_t>word) if word is not None else NULL
    if s != NULL and fl_load8(&s.pub.state) == A_ALIVE and s.pub.ident == <uint64_t>ident:
        return s
    wanted = <uint64_t>ident
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s.task == NULL and fl_load8(&s.pub.state) == A_ALIVE and s.pub.ident == wanted:
            if len(thread_words) > 1024:
                thread_words.clear()
            thread_words[ident] = s.word
            return s
    return NULL


cdef FSelf* thread_of(object loop) noexcept:
    """The agent of the thread that runs the loop, NULL where it does not run or does not say."""
    cdef PyObject* mine = running_loop()
    if mine != NULL and mine == <PyObject*>loop:
        return current_agent()
    ident = getattr(loop, "_thread_id", None)
    return agent_by_ident(ident) if type(ident) is int and ident > 0 else NULL


# ---- what is to come -------------------------------------------------------------------------------------------

@cython.no_gc_clear
cdef class Source:
    """One thing that is to come: who brings it is said here, and read by every walk that meets a wait for it."""

    cdef str called(self):
        """What people call it."""
        return self.name

    cdef int wanted(self) except -1:
        """Called as somebody begins to wait for it, before that is published."""
        return 0

    cdef int rested(self) except -1:
        """Called as nobody waits for it any more."""
        return 0

    cdef int by(self, uint64_t word) except -1:
        """Says which agent brings it; 0 for nobody known."""
        wakers_lock()
        self.s.word = word
        self.s.state = S_AGENT
        wakers_unlock()
        return self.show()

    cdef int by_task(self, object task, FSelf* thread) except -1:
        """Says which task brings it; one that has no record yet gets one, where `thread` is its loop's."""
        cdef FSelf* t = task_known(<PyObject*>task)
        if self.agent != NULL or (t == NULL and thread == NULL):
            return 0
        if t == NULL:
            t = task_agent_in(<PyObject*>task, thread)
        self.task = task
        self.agent = t
        t.owns += 1
        return self.by(t.word)

    cdef int over(self) except -1:
        """It has been brought, or will never be: nobody waits for anybody any more."""
        wakers_lock()
        self.s.state = S_DONE
        self.s.word = 0
        wakers_unlock()
        self.show()
        unpin(self)
        return 0

    cdef int show(self) except -1:
        """Tells readers outside who brings it, where it is all that is waited for."""
        cdef Awaited each
        if self.waits is not None:
            for each in self.waits:
                if len(each.sources) == 1:
                    show_source(each.rec, &self.s)
        return 0


cdef void unpin(Source self) noexcept:
    cdef FSelf* t = self.agent
    if t != NULL:
        self.agent = NULL
        t.owns -= 1
        task_rest(t)


cdef void show_source(FLock* L, FSource* s) noexcept:
    """Says in the record itself who brings it, or in which pool it is queued, for readers outside."""
    fl_store64(&L.word, s.word if s != NULL and s.state == S_AGENT else 0)
    L.count = <int64_t>s.pool_serial if s != NULL and s.state == S_POOL else 0
    if L.contended:
        contended_watch(L)


# ---- a wait for it ---------------------------------------------------------------------------------------------

@cython.final
@cython.freelist(8)
@cython.no_gc_clear
cdef class Awaited:
    """One wait; the record is this object's, so that a report can keep it."""

    def __dealloc__(self):
        if self.rec != NULL and not record_rests(self.rec):
            lock_dropped(self.rec)


cdef int64_t await_limit(object timeout) except? -2:
    """Nanoseconds of a call's timeout: -1 for none, 0 for what does not wait, or is for the call itself to refuse."""
    if timeout is None:
        return -1
    if type(timeout) is not int and type(timeout) is not float or not timeout > 0:
        return 0
    return to_ns(timeout) if timeout <= TIMEOUT_MAX else 0


cdef Awaited await_made(uint8_t kind, uint8_t call, str name, str label, list sources, FSelf* waiter):
    """A wait that is not published yet. Whatever happens, it is to be ended by await_end()."""
    cdef Awaited self = Awaited.__new__(Awaited)
    self.sources = sources
    self.waiter = waiter
    if kind == K_RESULT:
        self.rec = record_again(name, label)
    if self.rec == NULL:
        self.rec = lock_made(kind, checked_options(name, label, None, None, None, False, None, None))
    self.rec.obj = <PyObject*>self
    self.rec.limit = call
    self.rec.placed = 0         # a record that is used again may have somebody's place there
    if waiter != NULL:
        waiting.add(self)
    return self


cdef Awaited await_begin(list sources, bint any_of, uint8_t call, str name, str label, int64_t limit_ns):
    """Publishes that the running thread waits for these sources, and looks for a circle.

    Raises what a policy answers, before anything has blocked.
    """
    cdef FSelf* me = current_agent()
    cdef Awaited self = await_made(K_RESULT, call, name, label, sources, me)
    try:
        attach(self, any_of)
        agent_refresh_name(me)
        self.node = wait_begin(me, self.rec, WAIT_EXCLUSIVE, 0, limit_ns, self.rec.created)
        contended_watch(self.rec)
        if me.loops:
            fl_store64(&self.node.task, <uint64_t>running_task())
        error = look_for_task(self.rec, me, self.node, True)
        if error is not None:
            raise error
    except BaseException:
        await_end(self)
        raise
    return self


cdef Awaited await_unknown(uint8_t call, str name, str label, int64_t limit_ns):
    """The same for what nobody knows who brings: it closes no circle."""
    cdef FSelf* me = current_agent()
    cdef Awaited self = await_made(K_OPAQUE, call, name, label, [], me)
    try:
        agent_refresh_name(me)
        self.node = await_any(me, self.rec, WAIT_EXCLUSIVE, limit_ns, self.rec.created)
    except BaseException:
        await_end(self)
        raise
    return self


cdef FNode* await_any(FSelf* me, FLock* L, uint8_t mode, int64_t limit_ns, uint32_t site) except NULL:
    """The same with a record that stays; to be ended by wait_pop()."""
    cdef FNode* n = wait_begin(me, L, mode, 0, limit_ns, site)
    if me.loops:
        fl_store64(&n.task, <uint64_t>running_task())
    contended_watch(L)
    return n


cdef Awaited await_in_task(FSelf* t, list sources, uint8_t call, str name, str label):
    """The same for a task, which needs any of the sources, if there is one; it is looked after as those that wait for locks."""
    cdef Awaited self = await_made(K_RESULT if sources else K_OPAQUE, call, name, label, sources, t)
    try:
        self.task = <object>t.task
        t.owns += 1
        attach(self, True)
        self.node = task_wait_begin(t, t, self.rec, WAIT_EXCLUSIVE, -1, self.rec.created)
        error = look_for_task(self.rec, t, self.node, True) if sources else None
        if error is not None:
            raise error
        task_waits(self.rec, self.node)
    except BaseException:
        await_end(self)
        raise
    return self


cdef int attach(Awaited self, bint any_of) except -1:
    cdef Source source
    cdef uint32_t i = 0, n = <uint32_t>len(self.sources)
    if n == 0:
        return 0
    if not wakers_set(self.rec, n, any_of):
        raise MemoryError
    for source in self.sources:
        if source is not None:
            if source.waits is None:
                source.waits = []
            source.waits.append(self)
            source.wanted()
            wakers_put(self.rec, i, &source.s)
        i += 1
    source = self.sources[0]
    if n == 1 and source is not None:
        self.rec.site = source.site
        source_agent(&source.s)         # a thread's is found by now, if there is one
        show_source(self.rec, &source.s)
    return 0


cdef void await_inside(Awaited self) noexcept:
    """Called just before what really blocks: a condition or an event that is waited for from here on is a part of this wait."""
    fl_put8(&self.node.flags, F_OUTER)


cdef int await_end(Awaited self) except -1:
    """Takes the wait out of the table, wherever it stands among those of its agent."""
    cdef FNode* n = self.node
    self.node = NULL
    if n != NULL and self.waiter.task == NULL and self.waiter.top == n:
        wait_pop(self.waiter, n)
    elif n != NULL:
        task_wait_pop(self.waiter, self.rec, n)
    if self.task is not None:
        self.waiter.owns -= 1
        task_rest(self.waiter)
        self.task = None
    detach(self)
    waiting.discard(self)
    return 0


cdef int detach(Awaited self) except -1:
    cdef Source source
    wakers_clear(self.rec)
    for source in self.sources:
        if source is not None and source.waits is not None and self in source.waits:
            source.waits.remove(self)
            if not source.waits:
                unpin(source)
                source.rested()
    self.sources = []
    show_source(self.rec, NULL)
    return 0


# ---- threads ---------------------------------------------------------------------------------------------------

cdef Source end_of(object thread):
    """The end of a thread that has been started; it may have no agent yet."""
    cdef Source source = Source.__new__(Source)
    target = getattr(getattr(thread, "_target", None), "__qualname__", None)
    source.s.ident = thread._ident
    source.s.native_id = getattr(thread, "_native_id", None) or 0
    source.s.state = S_AGENT
    source.name = f"end of {thread._name}"
    source.label = f"end of {target.rpartition('<locals>.')[2]}()" if type(target) is str else f"end of a {type(thread).__qualname__}"
    return source


# ---- futures ---------------------------------------------------------------------------------------------------

cdef Awaited future_begin(object expected, uint32_t site, int64_t limit_ns):
    """The wait around that for a future's condition; None where the condition is no future's. `expected` is its Source, or None."""
    cdef Source source
    if not is_result_call(site) or fl_finalizing():
        return None
    source = <Source>expected if isinstance(expected, Source) else None
    name = "result of a future" if source is None else source.called()
    return await_begin([source], False, B_FUTURE, name, None if source is None else source.label, limit_ns)


cdef Awaited futures_begin(object expected, int64_t limit_ns):
    """The wait around that for the event of wait() or as_completed(): `expected` is (futures, any, call)."""
    cdef list sources = []
    futures, any_of, call = expected
    known = set()
    for future in list(futures):
        source = source_of(future)
        sources.append(source if isinstance(source, Source) else None)
        known.add((<Source>source).called() if isinstance(source, Source) else None)
    if not sources or fl_finalizing():
        return None
    one = known.pop() if len(known) == 1 else None
    label = f"results{one.removeprefix('result')}" if one is not None else "results"
    return await_begin(sources, any_of, call, f"{'any' if any_of else 'all'} of {len(sources)} {label}", label, limit_ns)


# ---- fork ------------------------------------------------------------------------------------------------------

def in_child():
    """The threads that waited are not here, and what they waited for names nobody."""
    cdef Awaited each
    cdef FSelf* me = current_agent()
    thread_words.clear()
    for each in list(waiting):
        if each.waiter != me:
            detach(each)
            waiting.discard(each)


os.register_at_fork(after_in_child=in_child)
