# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Who has woken a condition, an event, a barrier or a signal semaphore so far: what is known of who will.

These records are in no lock-order graph, so what a lock has for it is free: `tag` is the word of who woke last, `acquired` how often it
has, `pair_edge` the number of a list, made for the second one. A task that wakes keeps its record; one that has none, and wakes nobody just now, does so in the name of its loop's thread.
A list has room for a dozen; who has ended makes room for who comes.

Guard: the GIL; the lock's bucket mutex where there is none. Nothing here allocates a Python object or runs code of the program's.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport getpid

from fastlock._native cimport *
from fastlock._pool cimport CHUNK, Pool, pool_open, pool_put, pool_take
from fastlock._table cimport *

import sys

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(object, object) except? NULL

cdef enum:
    MOST_LISTS = 1 << 20

cdef dict modules = sys.modules
cdef Pool pool
if not pool_open(&pool, sizeof(Woken), MOST_LISTS):
    raise MemoryError


cdef Woken* woken_of(FLock* L) noexcept nogil:
    """The list, NULL where one agent alone, or nobody, has woken it."""
    cdef uint32_t number = L.pair_edge
    return <Woken*>(pool.chunks[number // CHUNK] + <uint64_t>(number % CHUNK) * pool.size) if number else NULL


cdef bint is_strange(FSelf* me) noexcept:
    """Whether threading has not started the running thread: C code may own it, and nobody knows what that waits for. Asked until it has."""
    cdef PyObject* thread
    if me.started:
        return False
    threading = modules.get("threading")
    if threading is None:
        return me.pub.native_id != <uint32_t>getpid()
    try:
        thread = PyDict_GetItemWithError(threading._active, <object>me.pub.ident)
        me.started = thread != NULL and type(<object>thread) is not threading._DummyThread
    except Exception:       # threading is half imported, or taken apart
        return True
    return not me.started


cdef bint has_ended(uint64_t word) noexcept nogil:
    cdef FSelf* s = agent_of(word)
    return s == NULL or fl_load8(&s.pub.state) != A_ALIVE


cdef void another_wakes(FLock* L, FSelf* me) noexcept:
    """Another one than the last time: it is noted, if it is new."""
    cdef Woken* w = woken_of(L)
    cdef bint strange = (w == NULL or find(w, me.word) < 0) and is_strange(me if me.task == NULL else me.thread)
    if FL_CAS_WORDS:
        fl_mutex_lock(bucket(L))
    note(L, me, strange)
    if FL_CAS_WORDS:
        fl_mutex_unlock(bucket(L))


cdef int find(Woken* w, uint64_t word) noexcept nogil:
    cdef uint32_t i
    for i in range(w.n):
        if w.words[i] == word:
            return <int>i
    return -1


cdef void note(FLock* L, FSelf* me, bint strange) noexcept nogil:
    cdef Woken* w = woken_of(L)
    cdef int at
    if w == NULL and (L.tag != 0 or strange):
        w = list_made(L)
    if w != NULL:
        at = find(w, L.tag) if L.tag != 0 else -1
        if at >= 0:
            w.counts[at] = L.acquired
        at = find(w, me.word)
        if at < 0:
            at = add(w, me.word, strange)
        L.acquired = w.counts[at] + 1 if at >= 0 else 1
    else:
        L.acquired = 1
    fl_store64(&L.tag, me.word)


cdef Woken* list_made(FLock* L) noexcept nogil:
    """A list with the one that has woken it so far; NULL where memory is out: then the last one alone is known, and the others forgotten."""
    cdef uint32_t number = pool_take(&pool)
    cdef Woken* w
    if number == 0:
        return NULL
    L.pair_edge = number
    w = woken_of(L)
    if L.tag != 0:
        w.words[0] = L.tag
        w.counts[0] = L.acquired
        w.n = 1
    return w


cdef int add(Woken* w, uint64_t word, bint strange) noexcept nogil:
    """The place of a new one, -1 where there is none."""
    cdef uint32_t i, kept = 0
    for i in range(w.n):
        if has_ended(w.words[i]):
            w.flags |= BY_TURNS
    if strange:
        w.flags |= BY_STRANGER
    if w.n == MOST_WAKERS:
        for i in range(w.n):
            if has_ended(w.words[i]):
                w.forgotten += 1
                continue
            w.words[kept] = w.words[i]
            w.counts[kept] = w.counts[i]
            kept += 1
        w.n = kept
    if w.n == MOST_WAKERS:
        w.flags |= BY_MANY
        return -1
    w.words[w.n] = word
    w.counts[w.n] = 0
    w.n += 1
    return <int>(w.n - 1)


cdef void woken_drop(FLock* L) noexcept:
    """The lock is gone."""
    if L.pair_edge != 0:
        pool_put(&pool, L.pair_edge)
    L.pair_edge = 0
    L.tag = L.acquired = 0
