# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Threads that wait for tasks, and tasks that wait for threads.

A thread in `run_coroutine_threadsafe(...).result()` waits for a K_RESULT record: no lock, but something that one agent is to bring
about, and the record's word is that agent. It is the task that runs the coroutine; until that exists, the thread whose loop is to make it. The
future's own condition is waited for inside, and the walk looks at the outer wait (see _waits.top_of).

Work that a loop gives to an executor is a Job, which knows the thread that runs it.

Guard: the GIL. A record and its node are withdrawn on every way out of the wait. The task is kept alive, and its agent's record pinned by a
count of what it owns, while a wait names it and no longer.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastlock._block cimport look_for_task, to_ns
from fastlock._contended cimport contended_watch
from fastlock._core cimport lock_dropped, lock_made
from fastlock._native cimport *
from fastlock._options cimport checked_options
from fastlock._park cimport wait_pop
from fastlock._shown cimport wait_begin
from fastlock._sites cimport site_created
from fastlock._table cimport *
from fastlock._tasks cimport running_loop, running_task, task_agent, task_known, task_rest

import os
import weakref

from _thread import TIMEOUT_MAX

cdef dict thread_words = {}         # the agent of a thread that was found by its ident
cdef set waiting = set()            # every Result that a thread waits for: what a fork's child has to clear
cdef object jobs = weakref.WeakKeyDictionary()      # asyncio's future to Job


# ---- whose loop -----------------------------------------------------------------------------------------------

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


cdef object task_in(object callback):
    """The task whose end completes a future, from the callback by which asyncio lets the one cancel the other; None where it is none."""
    code = getattr(callback, "__code__", None)
    cells = getattr(callback, "__closure__", None)
    if code is None or cells is None or "source" not in code.co_freevars:
        return None
    task = cells[code.co_freevars.index("source")].cell_contents
    return task if callable(getattr(task, "get_coro", None)) else None


# ---- a thread waits for a task ---------------------------------------------------------------------------------

@cython.final
@cython.no_gc_clear
cdef class Result:
    """What one thread waits for; the record is this object's, so that a report can keep it."""
    cdef FLock* rec
    cdef FSelf* waiter
    cdef FSelf* agent           # of the task, as long as it is named
    cdef object task

    def __dealloc__(self):
        lock_dropped(self.rec)

    cdef int brought_by(self, object task, FSelf* thread) except -1:
        """Names the task; where it has no record yet, `thread` is its loop's."""
        cdef FSelf* t = task_known(<PyObject*>task)
        if self.task is not None or (t == NULL and thread == NULL):
            return 0
        if t == NULL:
            t = task_agent(<PyObject*>task)
            t.thread = thread
        self.task = task
        self.agent = t
        t.owns += 1
        self.names(t.word)
        return 0

    cdef void names(self, uint64_t word) noexcept:
        """Says who is to bring it, to readers outside too."""
        fl_store64(&self.rec.word, word)
        if self.rec.contended:
            contended_watch(self.rec)

    cdef void over(self) noexcept:
        """Names nobody any more: it has been brought, or is not waited for."""
        cdef FSelf* t = self.agent
        self.names(0)
        if t != NULL:
            self.agent = NULL
            t.owns -= 1
            task_rest(t)


@cython.final
cdef class Expected:
    """What a future of run_coroutine_threadsafe is known to depend on."""
    cdef object loop            # weak reference
    cdef object task            # the future's own callback keeps it as well
    cdef str name
    cdef list results           # of the threads that wait now
    cdef uint64_t thread        # word of the loop's thread's agent, as the task was made there
    cdef uint32_t site          # where the coroutine was handed over
    cdef bint done

    def __init__(self, loop, what):
        try:
            self.loop = weakref.ref(loop)
        except TypeError:
            self.loop = None
        self.name = f"result of {what.rpartition('<locals>.')[2]}()"
        self.results = []
        self.site = site_created()

    def learn(self, callback):
        """Called in the loop's thread with each callback that is added: one of them knows the task."""
        cdef Result result
        if self.task is not None or self.done:
            return
        self.task = task_in(callback)
        if self.task is None:
            return
        self.thread = current_agent().word if running_loop() != NULL else 0
        for result in list(self.results):
            result.brought_by(self.task, agent_of(self.thread))

    def over(self):
        """Called as the future is completed or cancelled, before anybody is woken: nobody waits for the task from here on."""
        cdef Result result
        self.done = True
        self.task = None
        for result in list(self.results):
            result.over()

    def wait(self, future, call, timeout):
        """Returns call(timeout), a wait for the future; meanwhile the table says what this thread waits for."""
        cdef Result result = Result.__new__(Result)
        cdef FNode* n = NULL
        cdef int64_t limit_ns = -1
        if isinstance(timeout, (int, float)):
            if not timeout > 0:
                return call(timeout)
            if timeout <= TIMEOUT_MAX:
                limit_ns = to_ns(timeout)
        result.rec = lock_made(K_RESULT, checked_options(self.name, None, None, None, None, False, None, None))
        result.rec.obj = <PyObject*>result
        result.rec.site = self.site
        result.waiter = current_agent()
        try:
            self.results.append(result)
            waiting.add(result)
            self.resolve(result, future)
            agent_refresh_name(result.waiter)
            n = wait_begin(result.waiter, result.rec, WAIT_EXCLUSIVE, 0, limit_ns, site_created())
            contended_watch(result.rec)
            if result.waiter.loops:
                n.task = running_task()
            error = look_for_task(result.rec, result.waiter, n, True)
            if error is not None:
                raise error
            return call(timeout)
        finally:
            if n != NULL:
                wait_pop(result.waiter, n)
            result.over()
            result.task = None
            waiting.discard(result)
            self.results.remove(result)

    cdef int resolve(self, Result result, object future) except -1:
        cdef FSelf* thread
        loop = self.loop() if self.loop is not None else None
        thread = thread_of(loop) if loop is not None else NULL
        if self.task is None:       # asyncio may have had it before this class got to the future
            for callback in list(getattr(future, "_done_callbacks", ())):
                self.task = self.task or task_in(callback)
        if self.done:
            return 0
        if self.task is not None:
            result.brought_by(self.task, agent_of(self.thread) if self.thread else thread)
        if self.task is None and thread != NULL:
            result.names(thread.word)
        return 0


# ---- a task waits for a thread ---------------------------------------------------------------------------------

@cython.final
cdef class Job:
    """A function that an executor's thread is to run; it knows which one, while it runs."""
    cdef object function
    cdef uint64_t word
    cdef bint begun
    cdef object __weakref__

    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **kwargs):
        self.word = current_agent().word
        self.begun = True
        try:
            return self.function(*args, **kwargs)
        finally:
            self.word = 0
            self.function = None        # as the executor does: a future that is kept must not keep the arguments

    def __getattr__(self, name):
        return getattr(self.function, name)

    def __repr__(self):
        return repr(self.function)

    def belongs_to(self, future):
        """Lets the job be found by the future that the task awaits, as long as that lives."""
        try:
            jobs[future] = self
        except TypeError:               # a loop's own kind of future, to which nothing can refer
            return


cdef uint64_t job_word(object future) noexcept:
    """The agent, as a lock word, of the thread that runs the job of this future; 0 where there is no job, or it is queued or over."""
    cdef Job job
    try:
        job = jobs.get(future)
    except TypeError:
        return 0
    return job.word if job is not None else 0


def executor_job_thread(future):
    """The agent's id of the thread that runs the job of an asyncio future; None where there is no job, or it is queued or over."""
    cdef FSelf* s = agent_of(job_word(future))
    return agent_id(s) if s != NULL else None


def executor_job_begun(future):
    """Whether a thread has begun the job of an asyncio future; None where the future is no executor's."""
    cdef Job job = jobs.get(future)
    return job.begun if job is not None else None


# ---- fork --------------------------------------------------------------------------------------------------------

def in_child():
    """The threads that waited are not here, and what they waited for names nobody."""
    cdef Result result
    cdef FSelf* me = current_agent()
    thread_words.clear()
    for result in list(waiting):
        if result.waiter != me:
            result.over()
            waiting.discard(result)


os.register_at_fork(after_in_child=in_child)
