# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Records of waits that are over, kept for the next ones that are called the same.

A program waits for the results of one function again and again. Such a wait is another one each time, with a serial of its own; but its name, its
options and its place in the table that others read are as before, and to make them anew would cost more than all the rest of the wait. A record
rests only when nobody has the wait's object any more, so no report tells of it. While it rests its serial is 0, as that of a free one.

Guard: the GIL; where there is none, none is kept.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastlock._contended cimport contended_again, contended_rests
from fastlock._core cimport lock_dropped
from fastlock._native cimport FL_CAS_WORDS, fl_finalizing
from fastlock._options cimport LockOptions, crowded_sites, drop_options, options_of, set_options
from fastlock._sites cimport site_created
from fastlock._table cimport K_RESULT, FLock, lock_again, lock_rests

cdef extern from "Python.h":
    void Py_INCREF(PyObject*)
    void Py_DECREF(PyObject*)

cdef enum:
    MOST_RESTING = 8

cdef struct Resting:
    FLock* rec
    PyObject* options          # a LockOptions, owned
    uint32_t crowded           # crowded_sites of then: what a name stands for may be another class since

cdef Resting[MOST_RESTING] resting
cdef int resting_n = 0
cdef int oldest = 0


cdef bint record_rests(FLock* L) noexcept:
    """Keeps the record of a wait that is over for the next one that is called the same, if it is worth it."""
    global resting_n, oldest
    cdef LockOptions own
    cdef Resting* r
    if FL_CAS_WORDS or L.kind != K_RESULT or not L.contended or L.node != 0 or L.tag != 0 or fl_finalizing():
        return False
    own = options_of(L)
    if own is None:
        return False
    drop_options(L)
    contended_rests(L)
    lock_rests(L)
    if resting_n < MOST_RESTING:
        r = &resting[resting_n]
        resting_n += 1
    else:                           # those whose name is not waited for any more make room, each in its turn
        r = &resting[oldest]
        oldest = (oldest + 1) % MOST_RESTING
        lock_dropped(r.rec)
        Py_DECREF(r.options)        # has strings, and runs no code
    r.rec = L
    r.options = <PyObject*>own
    r.crowded = crowded_sites
    Py_INCREF(r.options)
    return True


cdef FLock* record_again(str name, str label) except? NULL:
    """A resting record for a wait of this name, ordered at the same place; NULL where there is none."""
    global resting_n
    cdef uint32_t created = site_created()
    cdef LockOptions own
    cdef Resting* r
    cdef FLock* L
    cdef int i
    for i in range(resting_n):
        r = &resting[i]
        own = <LockOptions>r.options
        if own.name is not name or r.rec.created != created or r.crowded != crowded_sites:
            continue
        if own.lock_class is not label if label is not None else own.lock_class is not None and own.lock_class is not name:
            continue
        L = r.rec
        resting_n -= 1
        r[0] = resting[resting_n]
        lock_again(L, K_RESULT)
        contended_again(L)
        Py_DECREF(<PyObject*>own)
        try:
            set_options(L, own)
        except BaseException:
            lock_dropped(L)
            raise
        return L
    return NULL
