# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""asyncio's Lock and RLock: tasks own them, and wait as asyncio's waiters do, each on a future in the lock's queue.

The word of such a lock is its owner's, and no bit of it is a flag: all of its state changes in the thread that runs its loop. Who is woken takes
the lock when it runs; until then nobody can overtake it, for others queue while somebody waits. The lock belongs to the task that
called acquire(), whichever task runs the coroutine. A strong reference keeps the owner, so that its record cannot come to mean another task.

`async with` takes a free lock in __aenter__ and returns an awaitable that is ready: nothing is suspended, and no coroutine made.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._awaits cimport awaits_begin, awaits_end, awaits_moved, publishing
from fastlock._block cimport is_looking, limit_of, look_for_task, site_now, task_timed_out
from fastlock._classes cimport class_contended
from fastlock._delays cimport wait_began_again, wait_ended
from fastlock._contended cimport contended_refresh
from fastlock._core cimport NOTE_ORDER, NOTE_SITE, lock_dropped, lock_made, note_given, notes, order_before
from fastlock._late cimport task_waits
from fastlock._native cimport *
from fastlock._options cimport checked_options, set_options
from fastlock._order cimport order_signal
from fastlock._park cimport task_wait_pop, task_wait_push
from fastlock._shown cimport show_wait
from fastlock._sites cimport site_fast, site_here
from fastlock._table cimport *
from fastlock._tasks cimport (
    fl_type_ready_next, running_loop, running_task, task_agent, task_keep, task_known, task_rest, task_waits_again)

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
    void fl_type_coroutine(object, void*, void*, void*)

cdef enum:
    MOST_LINKS = 4096          # of an await chain

cdef enum:  # Acquisition.state
    NEW = 0
    WAITS = 1
    OVER = 2


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
cdef object plain_future = Future
cdef object plain_create_future = BaseEventLoop.create_future
fl_type_ready_next(Ready)


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
        a.failed = error
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
    try:
        future.set_result(True)
    except RuntimeError:
        if not future.get_loop().is_closed():
            raise
    return 0


cdef uint32_t site_of_call(FLock* L) noexcept:
    """The running frame's site: one compare, where the lock was last taken from the same place."""
    cdef uint64_t key
    if FL_LIKELY(notes & NOTE_SITE):
        key = fl_site_key()
        if key != L.site_key:
            L.site_key = key
            L.site = site_here(key)
        return L.site
    return site_here(0) if notes else 0


cdef int taken_by(FLock* L, FSelf* t, uint32_t site, uint32_t flags) except -1:
    """Notes a hold of the agent's: the site, and at level order an entry of its stack."""
    cdef FHeld* h
    cdef uint64_t tag
    if L.site != site:
        L.site = site
        L.site_key = 0
    t.owns += 1
    if notes & NOTE_ORDER:
        L.acquired += 1
        if t.depth == t.room and not held_grow(t):
            return 0
        h = &t.held[t.depth]
        h.lock = L
        h.flags = flags
        h.stamp = <uint32_t>fl_context_version() << 16
        tag = held_tag(L, flags)
        if t.depth == 0:
            h.chain = tag
        else:
            h.chain = chained((h - 1).chain, tag) if (h - 1).chain != 0 and tag != 0 else 0
        t.depth += 1
    return 0


cdef void given_by(FLock* L, FSelf* t) noexcept:
    """Ends a hold of the agent's; the word, or the list of shares, is the caller's to clear."""
    t.owns -= 1
    note_given(L, t)
    if t.task != NULL:
        task_rest(t)


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
        if self._waiters:
            state = f"{state}, waiters:{len(self._waiters)}"
        return f"<{repr_of(self)} [{state}]>"

    cdef int attempt(self, Acquisition a) except -1:
        raise NotImplementedError

    cdef int woken(self, Acquisition a) except -1:
        raise NotImplementedError

    cdef int given_up(self, Acquisition a) except -1:
        raise NotImplementedError

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
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(a.future)
        return 0

    cdef int dequeue(self, Acquisition a) except -1:
        waiters = self._waiters
        if waiters:
            if waiters[0] is a.future:
                waiters.popleft()
            elif a.future in waiters:
                waiters.remove(a.future)
        return 0

    cdef bint nobody_waits(self) except -1:
        """Whether the queue is empty but for futures that have been cancelled."""
        waiters = self._waiters
        if not waiters:
            return True
        if not waiters[0].cancelled():
            return False
        for future in waiters:
            if not future.cancelled():
                return False
        return True

    cdef int wake_first(self) except -1:
        """Tells the first waiter that it is its turn; the cancelled ones on the way take themselves out."""
        if not self._waiters:
            return self.tell_onlookers() if self.onlookers is not None else 0
        if publishing:
            awaits_moved(self.rec)
        if self.rec.head != NULL:
            contended_refresh(self.rec)     # somebody may hold it no more
        future = self._waiters[0]
        return tell_turn(future) if not future.done() else 0

    def _get_loop(self):
        """The running loop; RuntimeError where there is none of asyncio's, or it is another than before."""
        return loop_of(self)


cdef object loop_of(Primitive self):
    """The running loop, to which the primitive is bound from here on."""
    cdef PyObject* running = running_loop()
    if running == NULL:
        refuse(self)
    loop = <object>running
    if self._loop is None:
        self._loop = loop
    if loop is not self._loop:
        raise RuntimeError(f"{self!r} is bound to a different event loop")
    return loop


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


# ---- the coroutine that acquires --------------------------------------------------------------------------------

cdef Acquisition acquisition(Primitive what, uint8_t mode, bint entering):
    """What acquire() returns: nothing is done yet, but who asked is known, unless it is for a flag, which nobody owns."""
    cdef PyObject* task = running_task() if mode != WAIT_FLAG else NULL
    cdef Acquisition self = Acquisition.__new__(Acquisition)
    self.what = what
    self.mode = mode
    self.entering = entering
    self.timeout_ns = -1
    self.owner = <object>task if task != NULL else None
    self.site = site_now()          # not the lock's yet: somebody else may hold it
    return self


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
        return self.yielded(self.step(value, None))

    def throw(self, kind, value=None, traceback=None):
        """Raises inside, as a cancellation does."""
        error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else kind() if value is None else kind(value)
        if traceback is not None:
            error.__traceback__ = traceback
        return self.yielded(self.step(None, error))

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
            steps = self.steps
            self.withdraw()
            if steps is not None:
                steps.close()
        self.state = OVER

    def __del__(self):
        if self.state == NEW and not self.entering:
            warnings.warn(f"coroutine '{self.__qualname__}' was never awaited", RuntimeWarning, source=self)
        elif self.state == WAITS:
            self.close()

    def __repr__(self):
        return f"<coroutine object {self.__qualname__} at {id(self):#x}>"

    cdef PyObject* step(self, object value, object error) except? NULL:
        """Runs to the next suspension, and returns what is yielded; NULL without an error at the end."""
        if self.state == NEW:
            if error is not None:
                self.state = OVER
                raise error
            return self.start()
        if self.state == OVER:
            raise RuntimeError("cannot reuse already awaited coroutine")
        try:
            if self.steps is not None:
                return new_reference(self.steps.throw(error) if error is not None else self.steps.send(value))
            if error is not None:
                raise error
            self.future.result()
        except StopIteration:
            pass
        except BaseException:
            self.state = OVER
            self.withdraw()
            raise
        self.state = OVER
        self.finish()
        return NULL

    cdef PyObject* start(self) except? NULL:
        self.state = OVER               # where what follows raises
        if self.owner is None and running_loop() == NULL and not self.again:
            refuse(self.what)       # no task of asyncio's asked, and no loop runs; but a coroutine that is closed with its loop takes its lock back, where it can
        if self.what.available(self) if self.looking else self.what.attempt(self):
            return NULL
        loop = loop_of(self.what)       # only who waits binds it: a lock may outlive the loop that it was first used in
        self.future = plain_future(loop=loop) if type(loop).create_future is plain_create_future else loop.create_future()
        self.join_queue()
        self.state = WAITS
        try:
            self.publish(loop)
            if type(self.future) is plain_future:
                self.future._asyncio_future_blocking = True     # all that `await` does with it
                return new_reference(self.future)
            self.steps = self.future.__await__()
            return new_reference(self.steps.send(None))
        except BaseException:
            self.state = OVER
            self.withdraw()
            raise

    cdef int publish(self, object loop) except -1:
        """Says in the table that the running task waits, and looks whether that closes a circle."""
        cdef FLock* L = self.what.rec
        cdef PyObject* task = running_task()
        cdef bint acquires = self.mode != WAIT_NOTIFY and self.mode != WAIT_FLAG
        cdef int64_t limit_ns = limit_of(L, self.mode) if acquires and not self.again else -1
        if limit_ns >= 0:
            self.timer = loop.call_later(limit_ns / 1e9, self.expire)
        if task == NULL:
            return 0                    # driven by a callback: nobody stands still
        self.waiter = <object>task
        self.agent = task_agent(task)
        task_waits_again(self.agent)
        agent_refresh_name(self.agent)
        self.agent.thread = thread_agent()
        if acquires:
            class_contended(L, self.agent)
        show_wait(L, self.agent, self.site)
        self.node = task_wait_push(self.agent, self.asker(), L, self.mode, limit_ns, self.site)
        self.node.waiter = <void*>self
        self.node.future = <void*>self.future
        if not acquires:
            return 0
        self.counted = wait_began_again(L, &self.what.delays) if is_looking() else NULL
        error = look_for_task(L, self.agent, self.node, not self.again)
        if error is not None:
            raise error
        if isinstance(self.what, Lock):
            (<Lock>self.what).watch_owner()
        if publishing:
            self.entry = awaits_begin(L, self.waiter, loop)
        return task_waits(L, self.node)

    cdef FSelf* asker(self) noexcept:
        """In whose name the running task waits: the owner's, where that has a share of the lock already, which keeps its record its own."""
        cdef FSelf* t = task_known(<PyObject*>self.owner) if self.owner is not None and self.what.rec.kind == K_RWLOCK else NULL
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
        self.timer = None
        if self.node != NULL and not self.future.done():
            self.future.set_exception(task_timed_out(self.what.rec, self.agent))

    cdef int leave_queue(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.entry is not None:
            entry, self.entry = self.entry, None
            awaits_end(entry)
        if self.future is None:
            return 0
        if not self.looking:
            return self.what.dequeue(self)
        if self.what.onlookers is not None and self.future in self.what.onlookers:
            self.what.onlookers.remove(self.future)
        return 0

    cdef int join_queue(self) except -1:
        if not self.looking:
            return self.what.enqueue(self)
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
            self.agent = NULL
            task_rest(t)
        self.steps = self.waiter = self.future = None
        return 0

    cdef int finish(self) except -1:
        try:
            self.leave_queue()
            if not self.looking:
                self.what.woken(self)   # before the wait ends: a task that holds or waits all the time stays one agent
        finally:
            self.unpublish()
        if publishing:
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
    return fl_sent(step_of(self, value), <PyObject*>None if (<Acquisition>self).entering else <PyObject*>YES, result)


cdef PyObject* acquisition_next(PyObject* self) noexcept:
    return fl_stepped(step_of(self, <PyObject*>None), <PyObject*>None if (<Acquisition>self).entering else <PyObject*>YES, site_fast)


cdef int acquisition_is_over(PyObject* self) noexcept:
    return (<Acquisition>self).state == OVER


cdef PyObject* (*step_of)(PyObject*, PyObject*) noexcept
cdef PyObject* take_step(Acquisition self, PyObject* value) except? NULL:
    return self.step(<object>value, None)


step_of = <PyObject* (*)(PyObject*, PyObject*) noexcept><void*>take_step     # its exceptions are the slot's
fl_type_coroutine(Acquisition, <void*>acquisition_send, <void*>acquisition_next, <void*>acquisition_is_over)


# ---- Lock -------------------------------------------------------------------------------------------------

@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Lock(Primitive):
    """Lock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA mutual exclusion lock for tasks that knows its owner; asyncio.Lock's interface, for one loop's thread."""

    def __cinit__(self):
        self.open(K_RLOCK if isinstance(self, RLock) else K_LOCK)

    def __init__(self, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False,
                 on_deadlock=None, on_inversion=None, **unknown):
        if unknown:
            unexpected("Lock", unknown)
        own = checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion)
        if own is not None:
            set_options(self.rec, own)

    def __dealloc__(self):
        cdef FSelf* t
        if self.rec != NULL and self.rec.word != 0:
            t = agent_of(self.rec.word)
            if t != NULL:
                given_by(self.rec, t)

    def __repr__(self):
        return self.shown("locked" if self.locked() else "unlocked")

    def locked(self):
        """Returns whether somebody holds the lock."""
        return self.rec.word != 0

    def acquire(self):
        """Acquires the lock when awaited, and returns True; it belongs to the calling task."""
        return acquisition(self, WAIT_EXCLUSIVE, False)

    def release(self):
        """Releases the lock; any task may. RuntimeError where nobody holds it."""
        cdef PyObject* task = running_task()
        if self.rec.word == 0:
            raise RuntimeError("Lock is not acquired.")
        if task != <PyObject*>self.owner and not (task == NULL and self.owner is None):
            self.rec.marks |= M_SIGNAL      # no owner from here on: it leaves all reasoning
            if self.rec.node != 0:
                order_signal(self.rec)
        self.free()
        self.wake_first()

    cdef bint available(self, Acquisition a) except -1:
        return self.rec.word == 0 and self.nobody_waits()

    cdef int attempt(self, Acquisition a) except -1:
        cdef FSelf* t = agent_for(a.owner)
        order_checked(a, self.rec, t, 0)
        if not Lock.available(self, a):
            return refused(t)
        return self.take(a.owner, t, a.site, H_TRY if a.trying else 0)

    cdef int woken(self, Acquisition a) except -1:
        return self.take(a.owner, agent_for(a.owner), a.site, 0)

    cdef int given_up(self, Acquisition a) except -1:
        return self.wake_first() if self.rec.word == 0 else 0

    cdef int take(self, object owner, FSelf* t, uint32_t site, uint32_t flags) except -1:
        self.rec.word = t.word
        self.owner = owner
        taken_by(self.rec, t, site, flags)
        if self._waiters:
            self.watch_owner()
        return 1

    cdef int watch_owner(self) except -1:
        """Has the owner say when it ends, for who waits for what it still owns would wait for ever: a task says so once for all locks."""
        cdef FSelf* t = agent_of(self.rec.word) if self.owner is not None and not self.rec.marks & M_SIGNAL else NULL
        if t == NULL or t.tells_end or self.owner.done():
            return 0
        task_keep(t)
        self.owner.add_done_callback(tell_end)
        t.tells_end = True
        return 0

    cdef int free(self) except -1:
        cdef FSelf* t = agent_of(self.rec.word)
        self.rec.word = 0
        if t != NULL:
            given_by(self.rec, t)
        self.owner = None
        return 0


def owner_ended(task):
    """Called when a task has ended that has owned what others waited for: tells those who wait for what it still owns."""
    cdef FSelf* t = task_known(<PyObject*>task)
    cdef FNode* n
    cdef uint32_t i
    if t == NULL or t.owns == 0:
        return
    fl_store8(&t.pub.state, A_ENDED)
    waiting = []
    for i in range(1, agent_limit()):
        n = agent_at(i).top
        while n != NULL:
            if n.waiter != NULL and lock_at(n.lock_index).word == t.word:
                waiting.append(<object>n.waiter)
            n = n.outer
    for acquisition in waiting:
        (<Acquisition>acquisition).look_again()


cdef object tell_end = owner_ended


cdef object lock_aenter_method(Lock self, PyObject* unused):
    """Takes a free lock at once; a subclass's own acquire() is heard."""
    if type(self) is not Lock:
        return enter_by_acquire(self)
    return lock_enter(self, running_task())


cdef object lock_enter(Lock self, PyObject* task):
    cdef FLock* L = self.rec
    cdef FSelf* t
    if task != NULL and L.word == 0 and not self._waiters:
        t = task_agent(task)
        if FL_UNLIKELY(t.depth != 0):
            order_before(L, t, 0)
        self.take(<object>task, t, site_of_call(L), 0)
        return ready
    return acquisition(self, WAIT_EXCLUSIVE, True)


cdef object lock_aexit_method(Lock self, PyObject** args, Py_ssize_t count):
    """__aexit__ with whatever arguments: none is read."""
    if type(self) is not Lock:
        self.release()
        return ready
    if self.rec.word == 0:
        raise RuntimeError("Lock is not acquired.")
    self.free()
    if self._waiters or self.onlookers is not None:
        self.wake_first()
    return ready


async def entered(primitive):
    await primitive.acquire()


cdef object enter_by_acquire(object primitive):
    """async with a subclass: its own acquire() is called, as asyncio's is."""
    return entered(primitive)


# ---- RLock ------------------------------------------------------------------------------------------------

@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class RLock(Lock):
    """RLock(*, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA lock that the task which owns it may acquire again; asyncio has none, its interface is Lock's."""

    def release(self):
        """Releases the lock once; RuntimeError where the calling task does not own it."""
        if not self.owned_by(running_task()) and (self.rec.word == 0 or not is_closing(self.owner)):
            raise RuntimeError("cannot release un-acquired lock")
        self.leave()

    def _is_owned(self):
        """Returns whether the calling task holds the lock."""
        return self.owned_by(running_task())

    cdef bint owned_by(self, PyObject* task) noexcept:
        if self.rec.word == 0:
            return False
        if task == NULL:
            return self.owner is None and self.rec.word == thread_agent().word
        return task == <PyObject*>self.owner

    cdef int leave(self) except -1:
        if self.count > 0:
            self.count -= 1
            return 0
        self.free()
        return self.wake_first()

    cdef bint available(self, Acquisition a) except -1:
        return self.owned_by(<PyObject*>a.owner if a.owner is not None else NULL) or Lock.available(self, a)

    cdef int attempt(self, Acquisition a) except -1:
        if self.owned_by(<PyObject*>a.owner if a.owner is not None else NULL):
            self.count += 1
            return 1
        return Lock.attempt(self, a)


cdef object rlock_aenter_method(RLock self, PyObject* unused):
    if type(self) is not RLock:
        return enter_by_acquire(self)
    return rlock_enter(self)


cdef object rlock_enter(RLock self):
    cdef PyObject* task = running_task()
    if task != NULL and self.owned_by(task):
        self.count += 1
        return ready
    return lock_enter(self, task)


cdef object rlock_aexit_method(RLock self, PyObject** args, Py_ssize_t count):
    """Ends what __aenter__ began, whoever runs the coroutine to its end: an abandoned one is closed by another task, or by none."""
    if type(self) is not RLock or self.rec.word == 0:
        self.release()
    else:
        self.leave()
    return ready


# ---- the methods without parsing ----------------------------------------------------------------------------------

fl_type_name(Lock, b"Lock")
fl_type_name(RLock, b"RLock")
cdef const char* AENTER_DOC = "__aenter__($self, /)\n--\n\nAcquires the lock when awaited."
cdef const char* AEXIT_DOC = "__aexit__($self, /, *exc_info)\n--\n\nReleases the lock."
fl_type_method(Lock, "__aenter__", <void*>lock_aenter_method, METH_NOARGS, AENTER_DOC)
fl_type_method(Lock, "__aexit__", <void*>lock_aexit_method, METH_FASTCALL, AEXIT_DOC)
fl_type_method(RLock, "__aenter__", <void*>rlock_aenter_method, METH_NOARGS, AENTER_DOC)
fl_type_method(RLock, "__aexit__", <void*>rlock_aexit_method, METH_FASTCALL, AEXIT_DOC)
for lock_type in (Lock, RLock):
    # Not __aexit__: a suspended coroutine keeps it, and the collector does not see through such a binding.
    fl_type_cheap_binding(lock_type, b"__aenter__")
    fl_type_set(lock_type, "__module__", "fastlock.aio")
