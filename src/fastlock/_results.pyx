# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Where the work for a future is: a coroutine that a loop was given by another thread, a function that was submitted to a pool of threads.

Each such future has a Source, as its `_fastlock` and in its condition: so who waits for it can say whom he waits for. A pool is a K_POOL record,
held by each of its workers while it runs something of the pool's, from where that was submitted. A job is queued in its pool, run by a worker,
done: two stores each, and whoever waits sees it. A worker keeps its share until the callbacks of the future have run, for so long it is busy.

A worker that ends in the middle of a job keeps its share as a tombstone, as with a lock; after a fork all of them are lost in the child. Where a
future was made or a job queued before install(), nothing is known of it, and it can come at any moment.

Guard: the GIL; for a pool's count, changed by its workers, the bucket mutex where there is none.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastlock._awaited cimport Awaited, Source, await_begin, await_end, await_limit, thread_of
from fastlock._block cimport is_looking
from fastlock._contended cimport contended_refresh, contended_shared
from fastlock._core cimport lock_dropped, lock_made
from fastlock._native cimport *
from fastlock._options cimport checked_options
from fastlock._shown cimport show_pool
from fastlock._sites cimport site_created
from fastlock._sync cimport expect
from fastlock._table cimport *
from fastlock._tasks cimport running_loop
from fastlock._wakers cimport B_COMPLETED, B_FUTURE, B_WAIT, S_POOL, set_source, source_agent, source_of

from _weakref import ref as weak_reference

import os

cdef bint has_forked = False    # this process is the child of a fork

cdef enum:
    MOST_WORKERS = 0x7FFFFFFF  # an enum's member is an int: a larger one would be negative
    MOST_NAMES = 1024          # kept of functions


cdef dict names = {}            # qualified name -> what its result is called: the same str for all that wait for one


cdef str name_of(object function):
    """What people call what is run, without running code of the program's."""
    while type(function).__name__ == "partial" and hasattr(function, "func"):
        function = function.func
    qualified = getattr(function, "__qualname__", None)
    if type(qualified) is not str:
        qualified = type(function).__qualname__
    name = names.get(qualified)
    if name is None:
        if len(names) >= MOST_NAMES:
            names.clear()
        name = names[qualified] = f"result of {qualified.rpartition('<locals>.')[2]}()"
    return name


# ---- a coroutine for a loop -------------------------------------------------------------------------------------

cdef object task_in(object callback):
    """The task whose end completes a future, from the callback by which asyncio lets the one cancel the other; None where it is none."""
    code = getattr(callback, "__code__", None)
    cells = getattr(callback, "__closure__", None)
    if code is None or cells is None or "source" not in code.co_freevars:
        return None
    task = cells[code.co_freevars.index("source")].cell_contents
    return task if callable(getattr(task, "get_coro", None)) else None


@cython.final
cdef class Expected(Source):
    """What a future of run_coroutine_threadsafe is known to depend on: the task that runs the coroutine, until then the loop's thread."""
    cdef object loop            # weak reference
    cdef object future          # weak reference
    cdef uint64_t thread        # word of the loop's thread's agent, as the task was made there
    cdef bint done

    def __init__(self, loop, coroutine, future):
        try:
            self.loop = weak_reference(loop)
        except TypeError:
            self.loop = None
        self.future = weak_reference(future)
        self.name = name_of(coroutine)
        self.site = site_created()
        self.s.future = <PyObject*>future
        expect(future._condition, self)

    def learn(self, callback):
        """Called in the loop's thread with each callback that is added: one of them knows the task."""
        if self.task is not None or self.done:
            return
        self.task = task_in(callback)
        if self.task is None:
            return
        self.thread = current_agent().word if running_loop() != NULL else 0
        if self.waits:
            self.by_task(self.task, agent_of(self.thread))

    def ends(self):
        """Called as the future is completed or cancelled, before anybody is woken: nobody waits for the task from here on."""
        self.done = True
        self.task = None
        self.over()

    def wait(self, done, call, timeout):
        """Returns call(timeout), a wait for the future, whose condition is none of ours and says nothing: so it is said here."""
        cdef Awaited wait
        cdef int64_t limit_ns = await_limit(timeout) if is_looking() and not fl_finalizing() else 0
        if limit_ns == 0 or done():
            return call(timeout)
        wait = await_begin([self], False, B_FUTURE, self.name, self.label, limit_ns)
        try:
            return call(timeout)
        finally:
            await_end(wait)

    cdef int wanted(self) except -1:
        cdef FSelf* thread
        loop = self.loop() if self.loop is not None else None
        thread = thread_of(loop) if loop is not None else NULL
        if self.task is None:       # asyncio may have had it before this class got to the future
            for callback in list(getattr(self.future(), "_done_callbacks", ())):
                self.task = self.task or task_in(callback)
        if self.done:
            return 0
        if self.task is not None:
            self.by_task(self.task, agent_of(self.thread) if self.thread else thread)
        elif thread != NULL:
            self.by(thread.word)
        return 0


# ---- a function for a pool --------------------------------------------------------------------------------------

@cython.final
@cython.no_gc_clear
cdef class Pool:
    """An executor of threads; the record is this object's."""
    cdef FLock* rec
    cdef object executor        # weak reference
    cdef bint foreign           # its jobs run in another interpreter, where nothing of theirs is seen

    def __cinit__(self, executor, bint foreign, object name):
        self.executor = weak_reference(executor)
        self.foreign = foreign
        self.rec = lock_made(K_POOL, checked_options(name, None, None, None, None, False, None, None))
        self.rec.obj = <PyObject*>self
        self.measure()

    def __dealloc__(self):
        if self.rec != NULL:
            self.rec.tag = 0        # the walk's marks
            self.rec.node = 0
        lock_dropped(self.rec)

    cdef int measure(self) except -1:
        """Reads how many workers there can be: a program may change it."""
        executor = self.executor()
        size = getattr(executor, "_max_workers", None)
        if type(size) is int and 0 < size <= MOST_WORKERS:
            fl_put32(&self.rec.limit, size)
            if has_forked:
                self.miss(getattr(executor, "_threads", ()), size)
        return 0

    cdef int miss(self, object threads, int64_t size) except -1:
        """In the child of a fork: workers that stayed in the parent never come back, also where they had nothing to do.

        Where no other one is there, what is queued stays so until a later submit() finds room for a new one, which for those it takes for idle it does not.
        """
        cdef FSelf* s
        lost = [thread for thread in list(threads) if thread.ident is not None and not thread.is_alive()]
        for thread in lost:
            s = lost_agent(thread.ident)
            if s != NULL and not hold_count(s, self.rec, NULL):
                hold_add(s, self.rec, self.rec.created)
                add_busy(self.rec, 1)
        if lost and len(lost) == len(threads):
            fl_put32(&self.rec.limit, <uint32_t>len(lost))
            self.rec.marks = self.rec.marks & ~M_OWNED | (M_OWNED if len(lost) >= size else 0)
        return 0

    @property
    def index(self):
        """Of its record, for the walk."""
        return self.rec.index

    @property
    def queued(self):
        """How many jobs stand in its queue; 0 where the executor is gone."""
        queue = getattr(self.executor(), "_work_queue", None)
        return queue.qsize() if queue is not None else 0


@cython.final
@cython.no_gc_clear
cdef class Job(Source):
    """A function that was submitted to a pool."""
    cdef Pool pool
    cdef object function        # until it is over

    cdef str called(self):
        if self.name is None:
            self.name = name_of(self.function) if self.function is not None else "result of a job"
        return self.name

    cdef int wanted(self) except -1:
        if self.s.state == S_POOL:
            self.pool.measure()
            show_pool(self.pool.rec)
        return 0

    cdef int rested(self) except -1:
        contended_refresh(self.pool.rec)
        return 0

    cdef int begin(self) except -1:
        """The running thread begins with it, and is busy from here on."""
        cdef FSelf* me = current_agent()
        cdef FLock* L = self.pool.rec
        if not hold_count(me, L, NULL):
            add_busy(L, 1)
        hold_add(me, L, self.site)
        if L.contended:
            contended_shared(L, me)
        return self.by(me.word)

    cdef int end(self) except -1:
        """The thread that began it has come to its end, its future's callbacks as well."""
        cdef FSelf* me = current_agent()
        cdef FLock* L = self.pool.rec
        self.function = None
        self.over()
        hold_drop(me, L)
        if not hold_count(me, L, NULL):
            add_busy(L, -1)
        if L.contended:
            contended_shared(L, me)
        return 0


cdef FSelf* lost_agent(uint64_t ident) noexcept nogil:
    """The record of a thread that stayed in the parent of a fork, NULL where it has none (any more)."""
    cdef FSelf* s
    cdef uint32_t i
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s.task == NULL and fl_load8(&s.pub.state) == A_LOST and s.pub.ident == ident:
            return s
    return NULL


cdef void add_busy(FLock* L, int n) noexcept nogil:
    if FL_CAS_WORDS:
        fl_mutex_lock(bucket(L))
    L.count += n
    if FL_CAS_WORDS:
        fl_mutex_unlock(bucket(L))


cdef Pool pool_of(object executor):
    pool = source_of(executor)
    if type(pool) is Pool:
        return <Pool>pool
    return pool_made(executor, executor._thread_name_prefix)    # it is from before install(), or another's: its place is not known


cdef Pool pool_made(object executor, object name):
    foreign = any([base.__module__ == "concurrent.futures.interpreter" for base in type(executor).__mro__])
    cdef Pool pool = Pool.__new__(Pool, executor, foreign, name if type(name) is str and name else None)
    set_source(executor, pool)
    return pool


def pool_begins(executor):
    """Called as an executor of threads has been made: its record is from where that is."""
    name = executor._thread_name_prefix
    # What the executor calls itself, with a number that differs from run to run, says less than where it was made.
    pool_made(executor, name if type(name) is str and not name.startswith("ThreadPoolExecutor-") else None)


@cython.binding(True)
def followed_submit(original):
    """What stands in the place of ThreadPoolExecutor.submit: its futures know where their work is."""
    @cython.binding(True)
    def submit(self, fn, /, *args, **kwargs):
        cdef FSelf* me
        cdef Job job
        cdef void* before
        if not is_looking():
            return original(self, fn, *args, **kwargs)
        job = Job.__new__(Job)
        job.pool = pool_of(self)
        job.function = fn
        job.site = site_created()
        me = current_agent()
        before = me.submits
        me.submits = <void*>job
        try:
            return original(self, fn, *args, **kwargs)
        finally:
            me.submits = before

    return submit


def followed_item(base):
    """What stands in the place of the pool's work item, whose run() knows the thread and the moment."""

    init, work = base.__init__, base.run

    class _WorkItem(base):
        # What the graph of lock orders finds on the stack, see _clocks.
        _fastlock_run = work

        def __init__(self, future, *task):
            init(self, future, *task)
            queue_job(future)

        def run(self, *context):
            cdef Job job = job_of(self.future)
            if job is None or job.pool.foreign:
                return work(self, *context)
            job.begin()
            try:
                return work(self, *context)
            finally:
                job.end()

    _WorkItem.__module__, _WorkItem.__qualname__, _WorkItem.__doc__ = base.__module__, base.__qualname__, base.__doc__
    return _WorkItem


cdef int queue_job(object future) except -1:
    """Gives a new future the job that its thread is just handing to a pool."""
    cdef FSelf* me = current_agent()
    cdef Job job
    if me.submits == NULL:
        return 0
    job = <Job>me.submits
    me.submits = NULL
    if not job.pool.foreign:
        job.s.pool = job.pool.rec.index
        job.s.pool_serial = job.pool.rec.serial
        job.s.state = S_POOL
    job.s.future = <PyObject*>future
    set_source(future, job)
    expect(future._condition, job)
    return 0


cdef Job job_of(object future):
    job = source_of(future) if future is not None else None
    return <Job>job if type(job) is Job else None


def work_of(future):
    """Where the work for a future of concurrent.futures is: the agent's id of the thread that runs it, the Pool that it is queued in; None: over, or not known."""
    cdef Job job = job_of(future)
    cdef FSelf* s
    if job is None:
        return None
    if job.s.state == S_POOL:
        job.pool.measure()
        return job.pool
    s = source_agent(&job.s)
    return agent_id(s) if s != NULL else None


# ---- many futures -----------------------------------------------------------------------------------------------

def followed_waiters(original, as_completed, all_completed):
    """What stands in the place of concurrent.futures._base._create_and_install_waiters: who waits for many futures says for which."""
    @cython.binding(True)
    def _create_and_install_waiters(fs, return_when):
        waiter = original(fs, return_when)
        call = B_COMPLETED if return_when == as_completed else B_WAIT
        # The very set, from which as_completed() takes what it has yielded: no future is kept for longer.
        expect(waiter.event, (fs, return_when != all_completed, call))
        return waiter

    return _create_and_install_waiters


# ---- fork -------------------------------------------------------------------------------------------------------

def in_child():
    """Pools may miss workers from here on."""
    global has_forked
    has_forked = True


os.register_at_fork(after_in_child=in_child)
