# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""What asyncio's primitives have in common: a record, a queue of futures, and the coroutine that acquires. Tasks wait as asyncio's waiters do.

All state changes in the thread that runs the loop. What is acquired belongs to the task that called acquire(), whichever task runs the coroutine.

A task that waits comes back to code that is cold: what such a wait costs is counted in lines of code more than in instructions. So what few waits need
is out of the way of the others, in functions of its own, and no `try` is in it.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._awaits cimport awaits_begin, awaits_end, awaits_moved, publishing
from fastlock._block cimport limit_of, look_for_task, looking, may_be_limited, task_timed_out
from fastlock._classes cimport class_contended
from fastlock._contended cimport contended_refresh
from fastlock._delays cimport wait_began_again, wait_ended
from fastlock._core cimport NOTE_SITE, lock_dropped, lock_made, notes, order_before
from fastlock._late cimport task_waits
from fastlock._futures cimport *
from fastlock._native cimport *
from fastlock._park cimport task_wait_pop
from fastlock._shown cimport task_wait_begin
from fastlock._sites cimport site_fast, site_here
from fastlock._table cimport *
from fastlock._tasks cimport (
    fl_type_ready, running_loop, running_task, task_agent, task_known, task_rest, task_waiting)

import sys
import warnings

from asyncio.base_events import BaseEventLoop
from asyncio.futures import Future
from collections import deque

cdef extern from "Python.h":
    void Py_INCREF(PyObject*)
    void Py_DECREF(PyObject*)

cdef extern from "_asyncio.h":
    int fl_sent(PyObject*, PyObject*, PyObject**)
    PyObject* fl_stepped(PyObject*, PyObject*, bint)
    PyObject* fl_coroutine_kept()
    int fl_failed() except -1
    void fl_type_coroutine(object, void*, void*, void*, void*)

cdef enum:
    MOST_LINKS = 4096          # of an await chain

cdef enum:  # Acquisition.state
    NEW = 0
    WAITS = 1
    ENDS = 2                   # has waited, and takes what it waited for
    OVER = 3


cdef class Ready:
    """What is awaited where nothing has to be waited for."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration


cdef object ready = Ready()
cdef object YES = True              # as a pointer; a literal would become a number
cdef object plain_create_future = BaseEventLoop.create_future
fl_type_ready(Ready)


cdef void* queue_type = NULL


class Nowhere:
    """A loop that runs nothing, for futures that are only looked at."""

    def get_debug(self):
        return False


cdef int learn_futures() except -1:
    global queue_type
    pending, cancelled, done = [Future(loop=Nowhere()) for _ in range(3)]
    cancelled.cancel()
    done.set_result(None)
    queue_type = fl_futures_learn(deque((pending, done)), pending, cancelled, done)
    return 0


learn_futures()


# ---- what all primitives share ----------------------------------------------------------------------------

cdef FSelf* agent_for(object task) except NULL:
    """The record of a task, or of the running thread where there is no task."""
    return task_agent(<PyObject*>task) if task is not None else thread_agent()


cdef FSelf* caller_known() noexcept:
    """The record of who is running; NULL for a task that has none, and so holds nothing."""
    cdef PyObject* task = running_task()
    return task_known(task) if task != NULL else current_agent()


cdef int order_checked(Acquisition a, FLock* L, FSelf* t, uint32_t flags) except -1:
    """The check of a lock wanted while something is held; who only tries cannot block, and who takes it back must."""
    if t.depth == 0 or a.trying:
        return 0
    if not a.again:
        return order_before(L, t, flags)
    try:
        order_before(L, t, flags | H_REACQUIRE)
    except BaseException as error:      # of a key's own comparison, or of a signal handler
        a.more().failed = error
    return 0


cdef bint is_closing(object task) except -1:
    """Whether the task's coroutine runs though the task does not: its loop is closed, and who drops it ends it."""
    cdef int links
    if task is None:
        return False
    try:
        step = task.get_coro()
        for links in range(MOST_LINKS):
            if step is None:
                return False
            if getattr(step, "cr_running", False) or getattr(step, "gi_running", False):
                return True
            step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None)
    except Exception:               # a task or an awaitable of somebody's own
        return False
    return False


cdef int tell_turn(object future) except -1:
    """Tells a waiter that it is its turn; one whose loop is closed will never run."""
    if FL_UNLIKELY(fl_future_set_true(<PyObject*>future) < 0):
        return not_told(future)
    return 0


cdef int not_told(object future) except -1:
    try:
        fl_failed()
    except RuntimeError:
        if not future.get_loop().is_closed():
            raise
    return 0


cdef bint tell_behind(object waiters) except -1:
    """Tells the first waiter that has not been told yet; False where there is none."""
    for future in waiters:
        if fl_future_state(<PyObject*>future) == FL_PENDING:
            tell_turn(future)
            return True
    return False


cdef bint has_other_queue(Primitive self) except -1:
    """Of a queue that somebody has put there."""
    return len(self._waiters) != 0


cdef bint all_cancelled(object waiters) except -1:
    for future in waiters:
        if fl_future_state(<PyObject*>future) != FL_CANCELLED:
            return False
    return True


@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Primitive:

    def __dealloc__(self):
        lock_dropped(self.rec)

    cdef int open(self, uint8_t kind) except -1:
        """The record: made in __cinit__, for a subclass may forget __init__."""
        self.rec = lock_made(kind, None)
        self.rec.marks |= M_AIO
        self.rec.obj = <PyObject*>self
        return 0

    cdef object shown(self, object state):
        """asyncio's repr, which has the state at its end."""
        if has_queue(self):
            state = f"{state}, waiters:{len(self._waiters)}"
        return f"<{repr_of(self)} [{state}]>"

    cdef int attempt(self, Acquisition a) except -1:
        raise NotImplementedError

    cdef int woken(self, Acquisition a) except -1:
        raise NotImplementedError

    cdef int given_up(self, Acquisition a) except -1:
        raise NotImplementedError

    cdef int watch_owner(self) except -1:
        return 0

    cdef bint available(self, Acquisition a) except -1:
        raise NotImplementedError

    cdef int tell_onlookers(self) except -1:
        """Called when it could be had again; each looks for itself whether that is so."""
        onlookers = self.onlookers
        self.onlookers = None
        for future in onlookers:
            if not future.done():
                tell_turn(future)
        return 0

    cdef int enqueue(self, Acquisition a) except -1:
        if FL_UNLIKELY(self._waiters is None):
            self.open_queue()
        return fl_queue_add(<PyObject*>self._waiters, <PyObject*>a.future)

    cdef int open_queue(self) except -1:
        self._waiters = deque()
        return 0

    cdef int dequeue(self, Acquisition a) except -1:
        return fl_queue_drop(<PyObject*>self._waiters, <PyObject*>a.future)

    cdef bint nobody_waits(self) except -1:
        """Whether the queue is empty but for futures that have been cancelled."""
        if not has_queue(self):
            return True
        future = fl_queue_first(<PyObject*>self._waiters)
        if FL_LIKELY(fl_future_state(<PyObject*>future) != FL_CANCELLED):
            return False
        return all_cancelled(self._waiters)

    cdef bint tell_next(self) except -1:
        """Tells the first waiter that has not been told yet; False where there is none."""
        if not has_queue(self):
            return False
        future = fl_queue_first(<PyObject*>self._waiters)
        if FL_UNLIKELY(fl_future_state(<PyObject*>future) != FL_PENDING):
            return tell_behind(self._waiters)
        tell_turn(future)
        return True

    cdef int wake_first(self) except -1:
        """Tells the first waiter that it is its turn; the cancelled ones on the way take themselves out."""
        if not has_queue(self):
            return self.tell_onlookers() if self.onlookers is not None else 0
        if FL_UNLIKELY(publishing):
            awaits_moved(self.rec)
        if self.rec.head != NULL:
            contended_refresh(self.rec)     # somebody may hold it no more
        future = fl_queue_first(<PyObject*>self._waiters)
        return tell_turn(future) if fl_future_state(<PyObject*>future) == FL_PENDING else 0

    def _get_loop(self):
        """The running loop; RuntimeError where there is none of asyncio's, or it is another than before."""
        return <object>loop_of(self)


cdef PyObject* loop_of(Primitive self) except NULL:
    """The running loop, borrowed, to which the primitive is bound from here on."""
    cdef PyObject* running = running_loop()
    if FL_UNLIKELY(running != <PyObject*>self._loop):
        if running == NULL:
            refuse(self)
        if self._loop is not None:
            raise RuntimeError(f"{self!r} is bound to a different event loop")
        self._loop = <object>running
    return running


cdef object new_future(object loop):
    """A future of a loop that is not known yet: asyncio's own from there on, where it makes those."""
    if type(loop).create_future is not plain_create_future:
        return loop.create_future()
    fl_loop_known(<PyObject*>loop)
    return fl_future_new(<PyObject*>loop)


cdef int unexpected(str name, dict unknown) except -1:
    """The TypeError of an unknown keyword, as asyncio words it."""
    if "loop" in unknown and sys.version_info < (3, 11):
        raise TypeError(f"As of 3.10, the *loop* parameter was removed from {name}() since it is no longer necessary")
    keyword = "loop" if "loop" in unknown else next(iter(unknown))
    raise TypeError(f"{name}.__init__() got an unexpected keyword argument {keyword!r}")


cdef int refuse(Primitive self) except -1:
    raise RuntimeError(f"no running event loop: fastlock.aio.{type(self).__name__} works under asyncio only")


cdef object repr_of(object self):
    """As asyncio's objects show themselves. The types have no module of their own: that would be in messages which asyncio's are not in."""
    cls = type(self)
    module = "fastlock.aio" if cls.__module__ == "builtins" else cls.__module__
    return f"{module}.{cls.__qualname__} object at {id(self):#x}"


async def entered(primitive):
    await primitive.acquire()


cdef object enter_by_acquire(object primitive):
    """async with a subclass: its own acquire() is called, as asyncio's is."""
    return entered(primitive)


# ---- the coroutine that acquires --------------------------------------------------------------------------------

cdef uint32_t site_wanted(FLock* L) noexcept:
    """The running frame's site, for somebody who may have to wait: one compare, where the lock was last taken from the same place. Somebody else may hold it, so that is not touched."""
    cdef uint64_t key
    if FL_LIKELY(notes & NOTE_SITE):
        key = fl_site_key()
        return L.site if FL_LIKELY(key == L.site_key and key != 0) else site_here(key)
    return site_here(0) if notes else 0


cdef Acquisition acquisition(Primitive what, uint8_t mode, bint entering, PyObject* task):
    """What acquire() returns: nothing is done yet, but who asked is known; NULL for a callback, and for what nobody owns."""
    cdef PyObject* kept = fl_coroutine_kept()
    cdef Acquisition self
    if kept != NULL:
        self = <Acquisition>kept
        Py_DECREF(kept)
    else:
        self = Acquisition.__new__(Acquisition)
    self.what = what
    self.mode = mode
    self.state = NEW
    self.entering = entering
    self.trying = self.looking = self.again = self.granted = False
    self.counted = NULL
    if task != NULL:
        self.owner = <object>task
    self.site = site_wanted(what.rec)
    return self


cdef void acquisition_rests(PyObject* o) noexcept:
    """It is over, and kept for the next one: what it still refers to goes."""
    cdef Acquisition self = <Acquisition>o
    self.owner = None
    self.what = None
    if FL_UNLIKELY(self.future is not None):
        self.future = None
    if FL_UNLIKELY(self.unusual is not None):
        self.unusual = None


@cython.final
cdef class Unusual:
    """What only few waits have."""


@cython.final
@cython.no_gc_clear
cdef class Acquisition:

    @property
    def __name__(self):
        if self.what.rec.kind == K_RWLOCK:
            return {WAIT_SHARED: "acquire_read", WAIT_UPGRADABLE: "acquire_upgradable"}.get(self.mode, "acquire_write")
        return "wait" if self.mode == WAIT_NOTIFY or self.mode == WAIT_FLAG else "acquire"

    @property
    def __qualname__(self):
        return f"{type(self.what).__name__}.{self.__name__}"

    @property
    def cr_await(self):
        return self.future

    @property
    def cr_running(self):
        return False

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """Runs to the next suspension."""
        return self.yielded(take_step(self, <PyObject*>value, NULL))

    def throw(self, kind, value=None, traceback=None):
        """Raises inside, as a cancellation does."""
        error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else kind() if value is None else kind(value)
        if traceback is not None:
            error.__traceback__ = traceback
        return self.yielded(take_step(self, <PyObject*>None, <PyObject*>error))

    def now(self):
        """Acquires at once or not at all; returns whether it did."""
        if self.state != NEW:
            raise RuntimeError("cannot reuse already awaited coroutine")
        self.state = OVER
        self.trying = True
        return self.what.attempt(self) != 0

    cdef object yielded(self, PyObject* step):
        if step == NULL:
            raise StopIteration(None if self.entering else True)
        value = <object>step
        Py_DECREF(step)
        return value

    def close(self):
        """Ends it; who waits behind is not forgotten."""
        if self.state == WAITS:
            self.state = OVER
            steps = self.unusual.steps if self.unusual is not None else None
            self.withdraw()
            if steps is not None:
                steps.close()
        self.state = OVER

    def __del__(self):
        self.finalised = True
        if self.state == NEW and not self.entering:
            warnings.warn(f"coroutine '{self.__qualname__}' was never awaited", RuntimeWarning, source=self)
        elif self.state == WAITS:
            self.close()

    def __repr__(self):
        return f"<coroutine object {self.__qualname__} at {id(self):#x}>"

    cdef PyObject* step(self, PyObject* value, PyObject* error) except? NULL:
        """Runs to the next suspension, and returns what is yielded; NULL without an error at the end. After an error undo() is called, for `try` is not free."""
        if self.state == WAITS:
            if FL_UNLIKELY(self.unusual is not None and self.unusual.steps is not None):
                value = self.step_inside(value, error)
                if value != NULL:
                    return value
            elif FL_UNLIKELY(error != NULL):
                raise <object>error
            else:
                fl_future_check(<PyObject*>self.future)
            self.state = ENDS
            self.finish()
            self.state = OVER
            return NULL
        if self.state != NEW:
            self.state = OVER
            raise RuntimeError("cannot reuse already awaited coroutine")
        self.state = OVER               # where what follows raises
        if error != NULL:
            raise <object>error
        return self.start()

    cdef PyObject* start_inside(self) except? NULL:
        """Begins to await a future of somebody else's."""
        self.more().steps = self.future.__await__()
        return new_reference(self.unusual.steps.send(None))

    cdef PyObject* step_inside(self, PyObject* value, PyObject* error) except? NULL:
        """The same for a future of somebody else's, whose own steps are taken."""
        steps = self.unusual.steps
        try:
            return new_reference(steps.throw(<object>error) if error != NULL else steps.send(<object>value))
        except StopIteration:
            return NULL

    cdef int undo(self) except -1:
        """Called with an error, of a step that had begun to wait or to end its wait: raises it, or what comes of that."""
        cdef bint waits = self.state == WAITS
        self.state = OVER
        try:
            fl_failed()
        except BaseException:
            if waits:
                self.withdraw()
            else:
                self.unpublish()
            raise
        return 0

    cdef PyObject* start(self) except? NULL:
        cdef PyObject* loop
        cdef PyObject* task
        if self.owner is None and running_loop() == NULL and not self.again:
            refuse(self.what)       # no task of asyncio's asked, and no loop runs; but a coroutine that is closed with its loop takes its lock back, where it can
        if self.what.available(self) if self.looking else self.what.attempt(self):
            return NULL
        loop = loop_of(self.what)       # only who waits binds it: a lock may outlive the loop that it was first used in
        task = running_task()
        self.future = fl_future_new(loop) if FL_LIKELY(fl_loop_is_known(loop)) else new_future(<object>loop)
        if FL_UNLIKELY(self.looking):
            self.look_on()
        else:
            self.what.enqueue(self)
        self.state = WAITS
        self.publish(loop, task)
        if FL_LIKELY(fl_future_is_plain(<PyObject*>self.future)):
            fl_future_yielded(<PyObject*>self.future)
            return new_reference(self.future)
        return self.start_inside()

    cdef Unusual more(self):
        if self.unusual is None:
            self.unusual = Unusual.__new__(Unusual)
        return self.unusual

    cdef int publish(self, PyObject* loop, PyObject* task) except -1:
        """Says in the table that the running task waits, and looks whether that closes a circle."""
        cdef FLock* L = self.what.rec
        cdef FSelf* t
        cdef bint acquires = self.mode != WAIT_NOTIFY and self.mode != WAIT_FLAG
        cdef int64_t limit_ns = -1
        if FL_UNLIKELY(may_be_limited(L)) and acquires and not self.again:
            limit_ns = self.limit(<object>loop)
        if task == NULL:
            return 0                    # driven by a callback: nobody stands still
        if FL_UNLIKELY(task != <PyObject*>self.owner):
            self.waiter = <object>task
        t = self.agent = task_waiting(task)
        if L.node != 0 and acquires:
            class_contended(L, t)
        self.node = task_wait_begin(t, self.asker() if L.kind == K_RWLOCK else t, L, self.mode, limit_ns, self.site)
        self.node.waiter = <void*>self
        self.node.future = <void*>self.future
        if not acquires:
            return 0
        if FL_LIKELY(looking):
            self.counted = wait_began_again(L, &self.what.delays)
        if L.kind > K_RLOCK:
            if L.kind != K_SEMAPHORE:   # whose circle is never proven
                self.look()
        elif L.word != 0:
            self.look()
            self.what.watch_owner()
        if FL_UNLIKELY(publishing):
            self.enter_graph(<object>task, <object>loop)
        return task_waits(L, self.node)

    cdef int enter_graph(self, object task, object loop) except -1:
        self.more().entry = awaits_begin(self.what.rec, task, loop)
        return 0

    cdef int look(self) except -1:
        error = look_for_task(self.what.rec, self.agent, self.node, not self.again)
        if error is not None:
            raise error
        return 0

    cdef int64_t limit(self, object loop) except? -2:
        cdef int64_t limit_ns = limit_of(self.what.rec, self.mode)
        if limit_ns >= 0:
            self.more().timer = loop.call_later(limit_ns / 1e9, self.expire)
        return limit_ns

    cdef FSelf* asker(self) noexcept:
        """In whose name the running task waits: the owner's, where that has a share of the lock already, which keeps its record its own."""
        cdef FSelf* t = task_known(<PyObject*>self.owner) if self.owner is not None else NULL
        return t if t != NULL and hold_count(t, self.what.rec, NULL) else self.agent

    cdef int look_again(self) except -1:
        """Somebody has ended: tells it, and ends the wait where a policy wants that."""
        if self.node == NULL or self.future.done():
            return 0
        error = look_for_task(self.what.rec, self.agent, self.node, not self.again)
        if error is not None and self.node != NULL and not self.future.done():
            self.future.set_exception(error)
        return 0

    def expire(self):
        """The lock's own limit is over."""
        if self.unusual is not None:
            self.unusual.timer = None
        if self.node != NULL and not self.future.done():
            self.future.set_exception(task_timed_out(self.what.rec, self.agent))

    cdef int leave_queue(self) except -1:
        if FL_UNLIKELY(self.unusual is not None):
            self.end_unusual()
        if self.future is None:
            return 0
        if FL_LIKELY(not self.looking):
            return self.what.dequeue(self)
        if self.what.onlookers is not None and self.future in self.what.onlookers:
            self.what.onlookers.remove(self.future)
        return 0

    cdef int end_unusual(self) except -1:
        cdef Unusual unusual = self.unusual
        if unusual.timer is not None:
            unusual.timer.cancel()
            unusual.timer = None
        if unusual.entry is not None:
            entry, unusual.entry = unusual.entry, None
            awaits_end(entry)
        return 0

    cdef int look_on(self) except -1:
        if self.what.onlookers is None:
            self.what.onlookers = []
        self.what.onlookers.append(self.future)
        return 0

    cdef int unpublish(self) except -1:
        """Takes the wait out of the table, whatever ended it."""
        cdef FSelf* t = self.agent
        if self.node != NULL:
            wait_ended(self.counted, self.node.since_ns)
            task_wait_pop(t, self.what.rec, self.node)
            self.node = NULL
            if t.watch == NULL:
                task_rest(t)
        self.agent = NULL
        self.future = None
        if FL_UNLIKELY(self.waiter is not None):
            self.waiter = None
        if FL_UNLIKELY(self.unusual is not None):
            self.unusual.steps = None
        return 0

    cdef int finish(self) except -1:
        self.leave_queue()
        if FL_LIKELY(not self.looking):
            self.what.woken(self)   # before the wait ends: a task that holds or waits all the time stays one agent
        self.unpublish()
        if FL_UNLIKELY(publishing):
            awaits_moved(self.what.rec)
        return 0

    cdef int withdraw(self) except -1:
        try:
            self.leave_queue()
            if not self.looking:
                self.what.given_up(self)
        finally:
            self.unpublish()
        return 0


cdef inline PyObject* new_reference(object value) noexcept:
    Py_INCREF(<PyObject*>value)
    return <PyObject*>value


cdef int acquisition_send(PyObject* self, PyObject* value, PyObject** result) noexcept:
    return fl_sent(step_of(self, value, NULL), <PyObject*>None if (<Acquisition>self).entering else <PyObject*>YES, result)


cdef PyObject* acquisition_next(PyObject* self) noexcept:
    return fl_stepped(step_of(self, <PyObject*>None, NULL), <PyObject*>None if (<Acquisition>self).entering else <PyObject*>YES, site_fast)


cdef int acquisition_is_over(PyObject* self) noexcept:
    return (<Acquisition>self).state == OVER and not (<Acquisition>self).finalised


# Slots, whose exceptions are the interpreter's.
cdef PyObject* (*step_of)(PyObject*, PyObject*, PyObject*) noexcept
cdef PyObject* (*unguarded_step)(PyObject*, PyObject*, PyObject*) noexcept

cdef PyObject* first_part(Acquisition self, PyObject* value, PyObject* error) except? NULL:
    return self.step(value, error)


cdef PyObject* take_step(Acquisition self, PyObject* value, PyObject* error) except? NULL:
    cdef PyObject* yielded = unguarded_step(<PyObject*>self, value, error)
    if yielded == NULL and FL_UNLIKELY(self.state != OVER):
        self.undo()
    return yielded


step_of = <PyObject* (*)(PyObject*, PyObject*, PyObject*) noexcept><void*>take_step
unguarded_step = <PyObject* (*)(PyObject*, PyObject*, PyObject*) noexcept><void*>first_part
fl_type_coroutine(Acquisition, <void*>acquisition_send, <void*>acquisition_next, <void*>acquisition_is_over, <void*>acquisition_rests)
