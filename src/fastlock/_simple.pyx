# cython: language_level=3, binding=True, boundscheck=False, wraparound=False, initializedcheck=False
"""queue.SimpleQueue whose get() says that it waits, where it does.

The queue is C's own, and so is put(); get() looks for an item first, as C's does, and only where there is none is anything else paid. Who wakes it
is whoever puts, in C: nobody notes that. One record, a condition of which nothing is known, stands for all such queues; which one a thread waits for is
kept beside it, for who has been given something still waits until it gets the GIL. Guard: the GIL.
"""
from libc.stdint cimport int64_t

from fastlock._awaited cimport Awaited, await_any, await_limit, await_made
from fastlock._block cimport is_looking, slow_after, wait_is_late
from fastlock._native cimport fl_finalizing
from fastlock._park cimport wait_pop
from fastlock._sites cimport site_created
from fastlock._table cimport K_CONDITION, WAIT_NOTIFY, FNode, FSelf, current_agent
from fastlock._wakers cimport B_SIMPLE

import os

from _queue import Empty
from _queue import SimpleQueue as plain_queue

cdef object size_of = plain_queue.qsize         # C's own, whatever a subclass makes of it

cdef Awaited every = None           # made with the first wait
cdef dict queues = {}               # what a thread waits for, by its ident; of a wait within a wait, the inner one
os.register_at_fork(after_in_child=queues.clear)


def served():
    """Return the idents of the threads that wait for a queue in which something is: they can run."""
    return {ident for ident, queue in list(queues.items()) if size_of(queue)}


def followed_queue(base):
    """The class that stands in the place of queue.SimpleQueue."""
    get_now, get_slowly = base.get_nowait, base.get

    class SimpleQueue(base):
        __slots__ = ()
        __doc__ = base.__doc__

        def get(self, block=True, timeout=None):
            """Remove and return an item from the queue, waiting for one where `block` is true, at most `timeout` seconds: see queue.SimpleQueue."""
            if block is True and timeout is None:
                try:
                    return get_now(self)
                except Empty:
                    pass
            return waits(get_slowly, self, block, timeout)

    SimpleQueue.__module__, SimpleQueue.__qualname__ = base.__module__, base.__qualname__
    return SimpleQueue


cdef object waits(object get, object queue, object block, object timeout):
    global every
    cdef FSelf* me
    cdef FNode* n
    cdef int64_t limit_ns = await_limit(timeout) if block and is_looking() and not fl_finalizing() else 0
    if limit_ns == 0 or not queue.empty():
        return get(queue, block, timeout)
    if every is None:
        every = await_made(K_CONDITION, B_SIMPLE, "SimpleQueue", "SimpleQueue", [], NULL)
    me = current_agent()
    ident = me.pub.ident
    outer = queues.get(ident)
    n = await_any(me, every.rec, WAIT_NOTIFY, limit_ns, site_created())
    queues[ident] = queue
    try:
        return get_in_time(get, queue, timeout, limit_ns)
    finally:
        if outer is None:
            queues.pop(ident, None)
        else:
            queues[ident] = outer
        wait_pop(me, n)


cdef object get_in_time(object get, object queue, object timeout, int64_t limit_ns):
    """The waiter is its own timer: once it has waited for slow_wait somebody has to look at all that wait."""
    cdef int64_t slow_ns = slow_after()
    if slow_ns < 0 or 0 <= limit_ns <= slow_ns:
        return get(queue, True, timeout)
    try:
        return get(queue, True, slow_ns / 1e9)
    except Empty:
        wait_is_late()
    return get(queue, True, None if limit_ns < 0 else (limit_ns - slow_ns) / 1e9)
