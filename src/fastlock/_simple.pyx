# cython: language_level=3, binding=True, boundscheck=False, wraparound=False, initializedcheck=False
"""queue.SimpleQueue whose get() says that it waits, where it does.

The queue is C's own, and so is put(); get() looks for an item first, as C's does, and only where there is none is anything else paid. Who wakes it
is whoever puts, in C: nobody notes that. Guard: none, nothing is kept.
"""
from libc.stdint cimport int64_t

from fastlock._awaited cimport Awaited, await_end, await_unknown
from fastlock._block cimport is_looking, slow_after, wait_is_late
from fastlock._joins cimport limit_of
from fastlock._native cimport fl_finalizing
from fastlock._table cimport K_CONDITION, WAIT_NOTIFY
from fastlock._wakers cimport B_SIMPLE

from _queue import Empty


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
    cdef Awaited wait
    cdef int64_t limit_ns = limit_of(timeout) if block and is_looking() and not fl_finalizing() else 0
    if limit_ns == 0 or not queue.empty():
        return get(queue, block, timeout)
    wait = await_unknown(K_CONDITION, WAIT_NOTIFY, B_SIMPLE, "SimpleQueue", "SimpleQueue", limit_ns)
    try:
        return get_in_time(get, queue, timeout, limit_ns)
    finally:
        await_end(wait)


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
