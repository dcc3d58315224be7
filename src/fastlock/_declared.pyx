# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
"""Waits that a program declares: for a database's lock, a socket, another process; what fastlock cannot see by itself.

Guard: the GIL. A wait is its agent's, so one object may be entered by many, and again inside of itself. It is taken out of the table by __exit__,
however the block is left; also where a block is left by another thread than has entered it.
"""
from fastlock._awaited cimport Awaited, Source, await_begin, await_end, await_in_task, await_inside, await_unknown, end_of, thread_of
from fastlock._block cimport is_looking
from fastlock._native cimport fl_finalizing
from fastlock._table cimport FSelf
from fastlock._tasks cimport caller
from fastlock._wakers cimport B_DECLARED, S_DONE

import sys


cdef class TaskEnd(Source):
    """What a task is to bring."""

    cdef int wanted(self) except -1:
        if self.task.done():
            self.s.state = S_DONE
            return 0
        return self.by_task(self.task, thread_of(self.task.get_loop()))


cdef bint is_of(object thing, str module, str name):
    """Whether it is an instance of a class of a module, which need not be loaded."""
    cls = getattr(sys.modules.get(module), name, None)
    return isinstance(cls, type) and isinstance(thing, cls)


cdef object checked_wakers(object wakers):
    wakers = tuple(wakers) if wakers is not None else ()
    for waker in wakers:
        if not is_of(waker, "threading", "Thread") and not is_of(waker, "asyncio", "Task"):
            raise TypeError(f"wakers must be threads or asyncio tasks, not {type(waker).__name__}")
    return wakers


cdef Source end_for(object waker):
    cdef Source source
    if is_of(waker, "threading", "Thread"):
        return end_of(waker) if waker.ident is not None else None     # one that has not been started may be at any time
    source = TaskEnd.__new__(TaskEnd)
    source.task = waker
    return source


cdef class waiting_for:
    """waiting_for(what, *, wakers=None)\n--\n\nA context, for `with` and `async with`, in which the running task, else thread, is shown to wait for `what`, a name.

    `wakers` are the threads and asyncio tasks any one of which can end the wait: with them it is part of deadlocks as any lock, by the program's own
    word, and DeadlockError is raised as it is entered where on_deadlock says so; without them nobody knows who ends it. TypeError where `what` is no str or a
    waker is neither. Changes nothing else; any thread, may be nested and used again; 2 to 4 us.
    """
    cdef str what
    cdef tuple wakers
    cdef list entered

    def __init__(self, what, *, wakers=None):
        if type(what) is not str:
            raise TypeError(f"what must be a str, not {type(what).__name__}")
        self.what = what
        self.wakers = checked_wakers(wakers)
        self.entered = []

    def __enter__(self):
        """Begins the wait."""
        self.entered.append(begin(self))
        return self

    def __exit__(self, kind=None, error=None, trace=None):
        """Ends it; what the block has raised goes on."""
        end(self)

    async def __aenter__(self):
        """Begins the wait of the running task."""
        self.entered.append(begin(self))
        return self

    async def __aexit__(self, kind=None, error=None, trace=None):
        """Ends it; what the block has raised goes on."""
        end(self)

    def __repr__(self):
        return f"<waiting_for {self.what!r}>"


cdef Awaited begin(waiting_for self):
    cdef FSelf* me
    cdef Awaited wait
    cdef list sources
    if not is_looking() or fl_finalizing():
        return None
    me = caller()
    sources = [end_for(waker) for waker in self.wakers]
    if me.task != NULL:
        wait = await_in_task(me, sources, B_DECLARED, self.what, self.what)
    elif sources:
        wait = await_begin(sources, True, B_DECLARED, self.what, self.what, -1)
    else:
        return await_unknown(B_DECLARED, self.what, self.what, -1)
    if sources:
        await_inside(wait)
    return wait


cdef int end(waiting_for self) except -1:
    """Ends the last wait of the caller's own; where it has none, the last one of anybody's."""
    cdef FSelf* me = caller()
    cdef Awaited wait
    cdef Py_ssize_t i
    for i in range(len(self.entered) - 1, -1, -1):
        wait = self.entered[i]
        if wait is None or wait.waiter == me:
            break
    else:
        i = len(self.entered) - 1
    if i < 0:
        raise RuntimeError("waiting_for() has not been entered")
    wait = self.entered.pop(i)
    if wait is not None:
        await_end(wait)
    return 0
