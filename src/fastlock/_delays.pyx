# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""How long locks were waited for, by class: a histogram each; and what is waited for at this moment.

Counted only where somebody has to wait, so that an uncontended acquire costs nothing and a lock needs no room. Its class is told by a number, made of the
creation site or the given name; the label is worked out by who asks. The first `room` classes get a record each, all others share the
first record. Records stay where they are: a wait keeps the pointer that it began with, and its end cannot fail.
Guard: the GIL.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fastlock._facts cimport site_class
from fastlock._native cimport fl_load8, fl_now_ns
from fastlock._options cimport LockOptions, options_of
from fastlock._pool cimport CHUNK, Map, Pool, map_get, map_put, pool_open, pool_take
from fastlock._table cimport *

import os

cdef extern from "Python.h":
    void Py_INCREF(object)
    Py_hash_t PyObject_Hash(object) except? -1

cdef enum:
    MOST_CLASSES = 10000

# Two a decade, and the last one is what people call a hang.
cdef int64_t[11] bounds = [1000000, 3000000, 10000000, 30000000, 100000000, 300000000, 1000000000, 3000000000, 10000000000,
                           30000000000, 60000000000]
cdef Pool records
cdef Map numbers                # class -> record
cdef FWaited others
cdef uint32_t room = 100

BOUNDS_S = tuple([bound / 1e9 for bound in bounds])

if not pool_open(&records, sizeof(FWaited), MOST_CLASSES + 1):
    raise MemoryError


cdef inline FWaited* record_at(uint32_t i) noexcept:
    return <FWaited*>(records.chunks[i // CHUNK] + <uint64_t>(i % CHUNK) * records.size)


cdef FWaited* record_of(FLock* L) except NULL:
    """The record of the lock's class: made where there is room, else the one that all others share."""
    cdef LockOptions own = options_of(L) if L.marks & M_POLICY else None
    cdef object label = own.lock_class if own is not None else None
    cdef uint64_t number = mix(<uint64_t>PyObject_Hash(label), 1) | 1 if label is not None else (<uint64_t>L.created << 9) | (<uint64_t>L.kind << 1) | <uint64_t>2 << 60
    cdef uint32_t i = map_get(&numbers, number)
    cdef FWaited* w
    if i != 0:
        return record_at(i)
    if numbers.live >= room:
        return &others
    i = pool_take(&records)
    if i == 0 or not map_put(&numbers, number, i):
        return &others          # no memory: it is counted all the same
    w = record_at(i)
    if label is not None:
        Py_INCREF(label)        # for ever: there are few
        w.label = <void*>label
    w.created, w.kind = L.created, L.kind
    return w


cdef bint is_for_lock(FNode* n) noexcept:
    """Whether somebody waits for a lock or permit; what events, conditions and results bring is no contention."""
    return n.mode != WAIT_NOTIFY and n.mode != WAIT_FLAG and lock_at(n.lock_index).kind < K_RESULT


cdef FWaited* wait_began(FLock* L, FNode* n) except? NULL:
    """Counts a wait for a lock; where to count its end, NULL for a wait for something else."""
    cdef FWaited* w
    if not is_for_lock(n):
        return NULL
    w = record_of(L)
    w.contentions += 1
    return w


cdef FWaited* wait_began_again(FLock* L, FWaited** known) except NULL:
    """The same for a lock that remembers its record, once it has one; NULL before."""
    cdef FWaited* w = known[0]
    if w == NULL:
        w = record_of(L)
        if w != &others:
            known[0] = w
    w.contentions += 1
    return w


cdef void wait_ended(FWaited* w, int64_t since_ns) noexcept:
    """Counts how long it was, whatever ended it; one that began uncounted (NULL) stays so."""
    cdef int64_t took
    cdef int i = 0
    if w == NULL:
        return
    took = fl_now_ns() - since_ns
    while i < BUCKETS - 1 and took > bounds[i]:
        i += 1
    w.ended[i] += 1
    w.waited_ns += took


# ---- what the Python layer sets and asks ------------------------------------------------------------------------

def set_room(uint32_t classes):
    """How many classes get a record of their own; those that have one keep it."""
    global room
    room = min(classes, <uint32_t>MOST_CLASSES)


cdef tuple facts_of(FWaited* w, label):
    return (label, w.contentions, tuple([w.ended[i] for i in range(BUCKETS)]), w.waited_ns)


def delays():
    """(class, waits begun, waits ended by bucket, nanoseconds waited) of each class; class None for those that share a record."""
    cdef uint32_t i
    cdef FWaited* w
    rows = []
    for i in range(1, records.used):
        w = record_at(i)
        if w.contentions:
            rows.append(facts_of(w, <object>w.label if w.label != NULL else site_class(w.created, w.kind)))
    if others.contentions:
        rows.append(facts_of(&others, None))
    return rows


def delays_from(uint32_t start, uint32_t most):
    """([(key, and the same numbers as delays() has)] of so many records from `start` on, where to go on: 0 at the end).

    A key is (class, kind) of a class by name, else a number, and None for those that share a record.
    """
    cdef uint32_t i
    cdef FWaited* w
    rows = []
    for i in range(start, min(records.used, start + most)):
        w = record_at(i) if i else &others
        if w.contentions:
            key = None if i == 0 else (<object>w.label, w.kind) if w.label != NULL else key_of_site(w.created, w.kind)
            rows.append(facts_of(w, key))
    return rows, start + most if start + most < records.used else 0


def waiting():
    """(how many agents wait for a lock, since when the oldest does by CLOCK_MONOTONIC, 0 where none does); about a nanosecond an agent."""
    cdef uint32_t i
    cdef FSelf* s
    cdef FNode* n
    cdef int64_t oldest = 0
    cdef uint64_t agents = 0
    for i in range(1, agent_limit()):
        s = agent_at(i)
        n = s.top if fl_load8(&s.pub.state) == A_ALIVE else NULL
        while n != NULL and not is_for_lock(n):
            n = n.outer
        if n == NULL:
            continue
        agents += 1
        while n != NULL:
            if is_for_lock(n) and (oldest == 0 or n.since_ns < oldest):
                oldest = n.since_ns
            n = n.outer
    return agents, oldest


def waits():
    """(serial of the lock, since when) of all waits there are: together they tell one wait from any other."""
    cdef uint32_t i
    cdef FSelf* s
    cdef FNode* n
    pairs = set()
    for i in range(1, agent_limit()):
        s = agent_at(i)
        n = s.top if fl_load8(&s.pub.state) == A_ALIVE else NULL
        while n != NULL:
            serial, since = n.lock_serial, n.since_ns
            n = n.outer
            pairs.add((serial, since))
    return pairs


def in_child():
    """A child of a fork counts its own: whoever adds up processes would have the parent's twice."""
    cdef uint32_t i, j
    cdef FWaited* w
    for i in range(records.used):
        w = record_at(i) if i else &others
        w.contentions = 0
        w.waited_ns = 0
        for j in range(BUCKETS):
            w.ended[j] = 0


os.register_at_fork(after_in_child=in_child)
