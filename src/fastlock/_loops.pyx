# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Synchronous locks in a thread that runs an event loop.

Such a thread never finds itself in the modules' caches, so that each acquire and release of its goes the longer way; others pay nothing.
What the longer way adds: where the lock was taken, `FLock.placed`; at level order the held stack is the running task's; and
whether the task was suspended meanwhile (FL005).

FL005. Each step of a task changes the thread's context version twice, so a lock that is released in another version than it was taken
in may have been held over a suspension; Context.run and eagerly started tasks do the same to it. It arms one exact look at the
next acquire in the same place (site, and creation site of the lock): a callback of the loop's, run when the task has returned to
the loop, sees whether that very acquire still stands. Each look at a place doubles how many such releases it takes until the next one.

Guard: the GIL. Where there is none, a lost update of the table of places makes a look come early, late or not at all.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fastlock._block cimport call_handler, show_ignored
from fastlock._loop_facts cimport await_event
from fastlock._native cimport *
from fastlock._sites cimport site_created, site_fast, site_here
from fastlock._table cimport *
from fastlock._tasks cimport running_loop, running_task, task_agent, task_keep, task_known, task_rest
from fastlock._found cimport has_evidence

import os
import sys

from _thread import get_ident

cdef extern from "Python.h":
    void PyErr_WriteUnraisable(object)

cdef extern from "_frames.h":
    int64_t fl_context_of(unsigned long)

cdef enum:
    PLACES = 1024              # a power of two
    PROBES = 4
    MOST_LOOKS = 10            # the rarest: one look in 1,024 releases
    QUIET = 0
    ARMED = 1
    LOOKING = 2
    IN_COROUTINE = 0x80 | 0x100 | 0x200     # code flags: coroutine, iterable coroutine, async generator

cdef struct Place:
    uint64_t key               # site and creation site; 0: unused
    uint32_t skip              # releases that are let pass until it is armed again
    uint8_t looks
    uint8_t state
    PyObject* look             # borrowed, while LOOKING

cdef Place places[PLACES]
cdef int armed = 0
cdef int looked_at = 0
cdef bint stacks = False
cdef dict loops_running = {}    # ident of a thread to the loop that it runs
cdef object on_loop = None
memset(places, 0, sizeof(places))


# ---- level order: whose stack it is -----------------------------------------------------------------------------

cdef FSelf* find_owner(FSelf* me, bint make) noexcept:
    """The running task's record, or the thread's; a task that has none gets one where `make` says so."""
    global stacks
    cdef PyObject* task = running_task()
    cdef FSelf* t = task_known(task) if task != NULL else NULL
    if task == NULL or not make:
        return t if t != NULL else me
    try:
        t = task_agent(task)
        task_keep(t)
    except Exception as error:      # no memory, or what runs as a task cannot be referred to weakly
        if not isinstance(error, TypeError):
            show_ignored(error, <object>task)
        if t != NULL:
            task_rest(t)
        return me
    t.thread = me
    stacks = True
    me.now = t
    me.step = fl_step()
    return t


# ---- FL005 ------------------------------------------------------------------------------------------------------

cdef Place* place_at(uint64_t key, bint make) noexcept:
    """The place's entry; an unused one, or one that nobody waits for, is made one where it is asked for."""
    cdef Place* p
    cdef Place* vacant = NULL
    cdef uint32_t i, at = <uint32_t>(mix(key, 0) >> 40)
    for i in range(PROBES):
        p = &places[(at + i) & (PLACES - 1)]
        if p.key == key:
            return p
        if p.state == QUIET and (vacant == NULL or p.key == 0 and vacant.key != 0):
            vacant = p
    if make and vacant != NULL:
        memset(vacant, 0, sizeof(Place))
        vacant.key = key
        return vacant
    return NULL


cdef void arm(uint64_t key) noexcept:
    """A lock that was taken in this place has been released in another context version."""
    global armed
    cdef Place* p = place_at(key, True)
    if p == NULL or p.state != QUIET:
        return
    if p.skip != 0:
        p.skip -= 1
        return
    p.state = ARMED
    armed += 1


cdef int look_at(FLock* L) except -1:
    """Called before an acquire, for what it does may raise: has the loop look at it where its place is armed."""
    global armed, looked_at
    cdef PyObject* task = running_task()
    cdef PyObject* loop = running_loop()
    cdef uint64_t key = fl_site_key() if site_fast else 0
    cdef uint32_t site = L.site if key != 0 and key == L.site_key else site_here(key)
    cdef Place* p = place_at(<uint64_t>L.created << 32 | site, False)
    cdef Look look
    if p == NULL or p.state != ARMED or task == NULL or loop == NULL or L.obj == NULL:
        return 0
    look = Look.__new__(Look)
    look.rec, look.lock, look.task, look.key = L, <object>L.obj, <object>task, p.key
    p.state = LOOKING
    p.look = <PyObject*>look
    armed -= 1
    looked_at += 1
    look.site = site_created()
    look.frames = coroutines_here()
    (<object>loop).call_soon(look)      # where that fails, nobody has the look, and it ends
    return 0


cdef void is_looked_at(FLock* L) noexcept:
    """Called after an acquire: the look at it, where there is one, learns which it is."""
    cdef Place* p = place_at(<uint64_t>L.created << 32 | L.site, False)
    cdef Look look
    if p != NULL and p.state == LOOKING:
        look = <Look>p.look
        if look.rec == L and look.placed == 0 and <PyObject*>look.task == running_task():
            look.placed = L.placed


cdef list coroutines_here():
    """The frames of the coroutines that run now, the innermost first."""
    frames = []
    frame = sys._getframe(0)
    while frame is not None:
        if frame.f_code.co_flags & IN_COROUTINE:
            frames.append(frame)
        frame = frame.f_back
    return frames


cdef class Look:
    """What the loop calls when the task has returned to it: is the lock still held from that acquire?"""
    cdef FLock* rec
    cdef object lock            # keeps the record its own
    cdef object task
    cdef list frames
    cdef uint64_t key           # of the place
    cdef uint64_t placed        # of the acquire; 0: the lock was not taken
    cdef uint32_t site          # the nearest line of the program's

    def __dealloc__(self):
        self.end(False)         # a loop that is closed calls nothing

    def __call__(self):
        cdef bint proven
        proven = self.is_held() and not self.task.done() and not is_running(self.task)
        event = await_event(self.rec, self.task, self.site, self.frames) if proven else None
        self.end(self.placed != 0)
        self.frames = None
        if event is not None:
            call_handler(event)

    cdef bint is_held(self) noexcept:
        cdef FLock* L = self.rec
        return (self.placed != 0 and L.marks & M_PLACED and L.placed == self.placed and has_evidence(L)
                and owner_bits(fl_load64(&L.word)) == current_agent().word)

    cdef void end(self, bint looked) noexcept:
        """Opens the place again; once."""
        global looked_at
        cdef Place* p = place_at(self.key, False) if self.key != 0 else NULL
        if p == NULL:
            return
        self.key = 0
        looked_at -= 1
        p.state = QUIET
        p.look = NULL
        if looked:
            p.looks += p.looks < MOST_LOOKS
            p.skip = (1 << p.looks) - 1


cdef bint is_running(object task) except -1:
    """Whether the task runs now: where loops are nested, callbacks run inside its steps."""
    coro = task.get_coro()
    return any([getattr(coro, name, False) for name in ("cr_running", "gi_running", "ag_running")])


# ---- which threads run a loop ---------------------------------------------------------------------------------------

cdef class Follower:
    """In the place of asyncio's _set_running_loop: sets it, and notes for the running thread whether it runs a loop now."""
    cdef readonly object __wrapped__

    def __call__(self, loop):
        self.__wrapped__(loop)
        agent_runs_loop(loop is not None)
        if loop is not None:
            loops_running[get_ident()] = loop
            if on_loop is not None:
                on_loop()
        else:
            loops_running.pop(get_ident(), None)


def loop_of(ident):
    """The event loop that the thread of this ident runs, None where it runs none or none is known."""
    return loops_running.get(ident)


def loops_of_threads():
    """The event loops that run, by the ident of their thread."""
    return dict(loops_running)


def step_of(ident):
    """A number that is another one as soon as the loop of that thread has run something."""
    return fl_context_of(ident)


def set_loop_hook(hook):
    """hook() is called in each thread that begins to run an event loop."""
    global on_loop
    on_loop = hook


def ident_of(loop):
    """The ident of the thread that runs this event loop, None where none is known to."""
    for ident, other in list(loops_running.items()):
        if other is loop:
            return ident
    return None


def runs_loop():
    """Whether the calling thread runs an event loop, as far as is known."""
    return current_agent().loops != 0


def follow_loops(asyncio_module):
    """Knows from here on which threads run an event loop of asyncio's; a second call does nothing.

    What has copied _set_running_loop before, as uvloop does when it is imported, is not seen; of the loops that run already, only the
    calling thread's.
    """
    cdef Follower follower
    original = asyncio_module.events._set_running_loop
    if isinstance(original, Follower):
        return
    follower = Follower.__new__(Follower)
    follower.__wrapped__ = original
    asyncio_module.events._set_running_loop = asyncio_module._set_running_loop = follower
    loop = asyncio_module._get_running_loop()
    if loop is not None:
        agent_runs_loop(True)
        loops_running[get_ident()] = loop


os.register_at_fork(after_in_child=loops_running.clear)       # asyncio says the same of the child
