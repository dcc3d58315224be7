# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Waits for the end of a thread or a process, which park in the interpreter and not in a lock of ours.

What wakes them, and what a signal, a timeout or the interpreter's end do, stays as it is: the original call is made, and around it the table says
what is waited for. A thread's end is brought by that thread, a process's by nobody who is known. A thread that has no agent yet is found by its number
in each walk that comes by, so a circle that it closes later is seen by itself.

A signal handler may run in the main thread while it joins, without telling; so a walk that comes to the main thread's join looks whether the innermost
call there still is that join, see _waits. Guard: the GIL.
"""
from libc.stdint cimport int64_t

from fastlock._awaited cimport Awaited, Source, await_begin, await_end, await_limit, await_unknown, end_of
from fastlock._block cimport is_looking, slow_after, wait_is_late
from fastlock._native cimport fl_finalizing
from fastlock._wakers cimport B_JOIN, B_PROCESS

from _thread import get_ident


# ---- threads ---------------------------------------------------------------------------------------------------

def join(original, is_alive, thread, timeout):
    """Joins a thread by the original method; where that is to block, the table says for what."""
    cdef Awaited wait
    cdef Source source
    cdef int64_t limit_ns = await_limit(timeout) if is_looking() and not fl_finalizing() else 0
    if limit_ns == 0 or getattr(thread, "_ident", None) in (None, get_ident()) or not is_alive(thread):
        return original(thread, timeout)
    source = end_of(thread)
    wait = await_begin([source], False, B_JOIN, source.name, source.label, limit_ns)
    try:
        return join_slowly(original, is_alive, thread, timeout, limit_ns)
    finally:
        await_end(wait)


cdef object join_slowly(object original, object is_alive, object thread, object timeout, int64_t limit_ns):
    """The waiter is its own timer: once it has waited for slow_wait somebody has to look at all that wait."""
    cdef int64_t slow_ns = slow_after()
    if slow_ns < 0 or 0 <= limit_ns <= slow_ns:
        return original(thread, timeout)
    original(thread, slow_ns / 1e9)
    if not is_alive(thread):
        return None
    wait_is_late()
    return original(thread, None if limit_ns < 0 else (limit_ns - slow_ns) / 1e9)


# ---- processes -------------------------------------------------------------------------------------------------

def wait_for_process(original, process, timeout):
    """Waits for a process's end by the original Popen._wait; what is waited for is in the table meanwhile."""
    cdef Awaited wait
    cdef int64_t limit_ns = await_limit(timeout) if is_looking() and not fl_finalizing() else 0
    if limit_ns == 0 or process.returncode is not None:
        return original(process, timeout)
    wait = await_unknown(B_PROCESS, f"process {process.pid}", "process", limit_ns)
    try:
        return original(process, timeout)
    finally:
        await_end(wait)
