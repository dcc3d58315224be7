# cython: language_level=3, binding=False
"""Waits for locks in asyncio's own graph of who awaits whom, for `python -m asyncio pstree PID`; opt-in, from 3.14 on.

That tree puts what is awaited under who awaits it. A lock's owner is entered as awaiting its waiters, so that they stand under it: the queue
under its head, and a circle of locks is a circle there too, which the tool names. Where the owner awaits that very task as well, asyncio's own entry is
left alone. An entry follows the lock to its next owner, and ends with the wait.

Guard: the GIL; a lock's entries are touched by its loop's thread alone, or by who switches it off.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastlock._table cimport *

cdef bint publishing = False
cdef dict entries = {}          # by serial of the lock: a dict of its entries, in the order of their coming
cdef object add = None
cdef object discard = None


@cython.final
cdef class Entry:
    cdef object waiter
    cdef object owner           # under whom it has been entered, None while it is not
    cdef object loop
    cdef object serial


cdef object owner_of(FLock* L):
    """The task that holds the lock, None where nobody does, or no task, or anybody may release it."""
    cdef FSelf* s = agent_of(L.word) if not L.marks & M_SIGNAL else NULL
    return <object><PyObject*>s.task if s != NULL and s.task != NULL else None


cdef int enter(Entry entry, object owner) except -1:
    if owner is entry.owner:
        return 0
    if entry.owner is not None:
        previous, entry.owner = entry.owner, None
        discard(entry.waiter, previous)
    if owner is None or owner is entry.waiter or owner.get_loop() is not entry.loop:
        return 0
    known = getattr(entry.waiter, "_asyncio_awaited_by", None)
    if known is not None and owner in known:
        return 0
    add(entry.waiter, owner)
    entry.owner = owner
    return 0


cdef object awaits_begin(FLock* L, object waiter, object loop):
    """Enters a wait that begins; what it returns is for awaits_end()."""
    global add, discard
    if add is None:
        import asyncio
        add, discard = asyncio.future_add_to_awaited_by, asyncio.future_discard_from_awaited_by
    cdef Entry entry = Entry.__new__(Entry)
    entry.waiter, entry.loop, entry.serial = waiter, loop, L.serial
    entries.setdefault(entry.serial, {})[entry] = None
    enter(entry, owner_of(L))
    return entry


cdef int awaits_moved(FLock* L) except -1:
    """Called when a lock that is waited for has another owner, or none."""
    owner = owner_of(L)
    for entry in list(entries.get(L.serial, ())):
        enter(entry, owner)
    return 0


cdef int awaits_end(object ended) except -1:
    """Takes the entry of a wait back."""
    cdef Entry entry = ended
    of_lock = entries.get(entry.serial)
    if of_lock is not None:
        of_lock.pop(entry, None)
        if not of_lock:
            entries.pop(entry.serial, None)
    return enter(entry, None)


def set_publishing(bint on):
    """Whether waits are entered from here on; switched off, all entries end."""
    global publishing
    publishing = on
    if not on:
        for of_lock in list(entries.values()):
            for entry in list(of_lock):
                awaits_end(entry)
