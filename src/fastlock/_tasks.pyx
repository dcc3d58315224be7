# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Tasks as agents.

A task has a record of the ownership table only while it holds or waits for something, and is found by its address meanwhile. Who lets
a task go, gives its record back (task_rest); the primitives keep the task itself alive as long as it has one. A task that takes locks
inside others at level order keeps its record until it ends: what was learned from it must stay one agent's (task_keep).
Costs: some 10 ns for a record, a few for finding it. Guard: the GIL, and `map_mutex` where there is none.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free

from fastlock._native cimport *
from fastlock._table cimport *
from fastlock._task_names cimport name_field

import sys

from os import register_at_fork

cdef extern from "Python.h":
    PyObject* PyWeakref_NewRef(PyObject*, PyObject*) except NULL
    void Py_XDECREF(PyObject*)

cdef extern from "_asyncio.h":
    PyObject* fl_running_loop()
    PyObject* fl_running_task()
    bint fl_asyncio_agrees(PyObject*, PyObject*)
    int fl_asyncio_setup(PyObject*) except -1
    bint FL_TASKS_IN_STATE

cdef enum:
    LEAST_BUCKETS = 256
    WAITED = 1024              # addresses remembered of tasks that have waited
    UNTRIED = 0
    FAST = 1
    PUBLIC = 2

cdef FSelf** buckets = NULL
cdef uint64_t bucket_mask = 0
cdef uint64_t in_map = 0
cdef FSelf* free_tasks = NULL
cdef uint64_t[WAITED] waited        # addresses: another task may have come to one, and keeps its record for nothing
cdef fl_mutex map_mutex
cdef int way = UNTRIED
cdef dict modules = sys.modules
cdef object public_loop = None          # asyncio's own functions, once it has been imported
cdef object public_task = None
fl_mutex_init(&map_mutex)


# ---- the running task ---------------------------------------------------------------------------------------

cdef int learn_asyncio() except -1:
    """Finds asyncio's functions, and where it keeps the running task; called when a loop is about to be asked for."""
    global public_loop, public_task
    import asyncio
    try:
        import _asyncio
    except ImportError:             # built without: tasks are asyncio's own in Python
        _asyncio = asyncio.tasks
    current = getattr(_asyncio, "_current_tasks", None)
    fl_asyncio_setup(<PyObject*>current if type(current) is dict else NULL)
    public_task = asyncio.current_task
    public_loop = asyncio._get_running_loop
    return 0


cdef int try_fast_way() except -1:
    """Compares the fast way with the public one, in the first thread that runs a loop."""
    global way
    if public_loop is None:
        learn_asyncio()
    loop = public_loop()
    if loop is None:
        return 0
    task = public_task(loop)
    way = FAST if fl_asyncio_agrees(<PyObject*>loop, <PyObject*>task if task is not None else NULL) else PUBLIC
    return 0


cdef PyObject* running_loop() noexcept:
    """The calling thread's running loop, borrowed; NULL where there is none."""
    return fl_running_loop() if FL_LIKELY(way == FAST) else running_loop_asked()


cdef PyObject* running_loop_asked() noexcept:
    try:
        if way == UNTRIED:
            try_fast_way()
        if way == FAST:
            return fl_running_loop()
        loop = public_loop()
    except Exception:               # asyncio cannot be imported, or not any more
        return NULL
    return <PyObject*>loop if loop is not None else NULL


cdef PyObject* running_task() noexcept:
    """The calling thread's running task, borrowed; NULL where there is none."""
    cdef PyObject* task
    if FL_LIKELY(way == FAST):
        task = fl_running_task()
        if FL_LIKELY(task != NULL or not FL_TASKS_IN_STATE):
            return task
    if running_loop() == NULL:
        return NULL
    try:
        found = public_task()       # tasks that are written in Python are kept elsewhere
    except Exception:
        return NULL
    return <PyObject*>found if found is not None else NULL


# ---- tasks' records ------------------------------------------------------------------------------------------

cdef inline uint64_t bucket_of(PyObject* task) noexcept nogil:
    return ((<uint64_t><uintptr_t>task >> 4) * <uint64_t>0x9E3779B97F4A7C15 >> 32) & bucket_mask


cdef FSelf* task_known(PyObject* task) noexcept:
    """The task's record, NULL where it has none."""
    cdef FSelf* t
    if buckets == NULL:
        return NULL
    if FL_CAS_WORDS:
        fl_mutex_lock(&map_mutex)
    t = buckets[bucket_of(task)]
    while t != NULL and t.task != task:
        t = t.next_task
    if FL_CAS_WORDS:
        fl_mutex_unlock(&map_mutex)
    return t


cdef bint grow_map() noexcept nogil:
    global buckets, bucket_mask
    cdef uint64_t old_mask = bucket_mask, i
    cdef FSelf** old = buckets
    cdef FSelf* t
    cdef FSelf* following
    cdef uint64_t size = (old_mask + 1) * 2 if old != NULL else LEAST_BUCKETS
    cdef FSelf** new = <FSelf**>calloc(size, sizeof(FSelf*))
    if new == NULL:
        return old != NULL          # the chains get longer
    buckets = new
    bucket_mask = size - 1
    if old != NULL:
        for i in range(old_mask + 1):
            t = old[i]
            while t != NULL:
                following = t.next_task
                t.next_task = buckets[bucket_of(<PyObject*>t.task)]
                buckets[bucket_of(<PyObject*>t.task)] = t
                t = following
        free(old)
    return True


cdef FSelf* task_agent(PyObject* task) except NULL:
    """The record of a task of the running loop, made where it has none; whoever asks keeps the task alive while it is held."""
    cdef FSelf* t = task_known(task)
    return t if t != NULL else task_agent_in(task, current_agent())


cdef FSelf* task_agent_in(PyObject* task, FSelf* thread) except NULL:
    """The same for a task whose loop runs in that thread."""
    cdef FSelf* t = task_known(task)
    cdef uint64_t b
    if t != NULL:
        return t
    if FL_CAS_WORDS:
        fl_mutex_lock(&map_mutex)
    if free_tasks != NULL:
        t = pop_free()
    else:
        t = agent_for_task()
    if in_map > bucket_mask or buckets == NULL:
        if not grow_map():
            if FL_CAS_WORDS:
                fl_mutex_unlock(&map_mutex)
            raise MemoryError
    agent_renew(t)
    t.task = task
    t.thread = thread
    t.pub.loop = thread.pub.index
    t.watch = NULL
    b = bucket_of(task)
    t.next_task = buckets[b]
    buckets[b] = t
    add_to_map(1)
    if FL_CAS_WORDS:
        fl_mutex_unlock(&map_mutex)
    return t


cdef inline FSelf* pop_free() noexcept nogil:
    global free_tasks
    cdef FSelf* t = free_tasks
    free_tasks = t.next_task
    return t


cdef inline void add_to_map(int64_t n) noexcept nogil:
    global in_map
    in_map += n


cdef void task_free(FSelf* t) noexcept:
    """Gives the record back; its id is never used again."""
    global free_tasks
    cdef FSelf** link
    if FL_CAS_WORDS:
        fl_mutex_lock(&map_mutex)
    link = &buckets[bucket_of(<PyObject*>t.task)]
    while link[0] != t:
        link = &link[0].next_task
    link[0] = t.next_task
    add_to_map(-1)
    fl_store8(&t.pub.state, A_FREE)
    fl_store64(&t.word, 0)
    t.task = NULL
    Py_XDECREF(<PyObject*>t.shown_name)
    t.shown_name = NULL
    t.next_task = free_tasks
    free_tasks = t
    if FL_CAS_WORDS:
        fl_mutex_unlock(&map_mutex)


cdef void task_rest(FSelf* t) noexcept:
    """Called after the task has let something go: gives its record back where that was the last."""
    if t.owns == 0 and t.top == NULL and t.depth == 0 and t.watch == NULL and t.pins == 0:
        task_free(t)


cdef void task_unpin(FSelf* t) noexcept:
    """A finding that told of the task is gone; until here it has kept the task itself."""
    t.pins -= 1
    task_rest(t)


cdef class Watch:
    """The callback of a kept record's weak reference."""
    cdef FSelf* agent
    cdef uint64_t word

    def __call__(self, reference):
        cdef FSelf* t = self.agent
        cdef PyObject* watch = <PyObject*>t.watch
        if t.word != self.word or watch == NULL:
            return
        t.watch = NULL
        t.depth = 0             # what it held as a stack went with it
        task_rest(t)
        Py_XDECREF(watch)


cdef int task_keep(FSelf* t) except -1:
    """Lets the task keep its record, and with it its identity, until it is gone."""
    cdef Watch end
    if t.watch != NULL:
        return 0
    end = Watch.__new__(Watch)
    end.agent = t
    end.word = t.word
    t.watch = PyWeakref_NewRef(<PyObject*>t.task, <PyObject*>end)
    return 0


cdef int task_waits_again(FSelf* t) except -1:
    """Called as a task begins to wait: one that has lately waited before keeps its record, for to give it back and make it anew costs more than all else."""
    cdef uint64_t* lately
    if t.watch != NULL:
        return 0
    lately = &waited[bucket_of(<PyObject*>t.task) % WAITED]
    if lately[0] == <uint64_t>t.task:
        return task_keep(t)
    lately[0] = <uint64_t>t.task
    return 0


cdef FSelf* task_waiting(PyObject* task) except NULL:
    """The record of the running task, which is about to wait: under the name that it has now."""
    cdef FSelf* thread = thread_agent()
    cdef FSelf* t = task_known(task)
    if FL_UNLIKELY(t == NULL):
        t = task_agent_in(task, thread)
    if FL_UNLIKELY(t.watch == NULL):
        task_waits_again(t)
    if FL_UNLIKELY(t.shown_name == NULL or t.shown_name != name_field(task)):
        agent_refresh_name(t)
    t.thread = thread
    return t


cdef FSelf* caller() except NULL:
    """Who is running: the task, else the thread."""
    cdef PyObject* task = running_task()
    return task_agent(task) if task != NULL else thread_agent()


# ---- fork ------------------------------------------------------------------------------------------------------

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)


cdef void before_fork() noexcept nogil:
    fl_mutex_lock(&map_mutex)


cdef void after_fork() noexcept nogil:
    fl_mutex_unlock(&map_mutex)


cdef void in_child() noexcept nogil:
    fl_mutex_init(&map_mutex)


cdef uint64_t forking = 0          # the word of the task that forks


def forks():
    """Called before each fork by the interpreter."""
    global forking
    cdef PyObject* task = running_task() if way != UNTRIED else NULL
    cdef FSelf* t = task_known(task) if task != NULL else NULL
    forking = t.word if t != NULL else 0


def forked():
    """Called in the child: its task goes on, as its thread does; all others stayed in the parent."""
    cdef FSelf* t = agent_of(forking)
    if t != NULL and t.task != NULL:
        fl_store8(&t.pub.state, A_ALIVE)


pthread_atfork(before_fork, after_fork, in_child)
register_at_fork(before=forks, after_in_child=forked)
