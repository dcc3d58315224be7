# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What asyncio's primitives that several tasks hold together have in common: shares and permits, noted with the holder and with the lock.

All of it happens under the GIL, in the thread that runs the loop. A task is let go last, when everything is as it should be: that may run anything.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastlock._aio cimport is_closing
from fastlock._contended cimport contended_shared
from fastlock._core cimport note_given
from fastlock._order cimport order_signal
from fastlock._shares cimport FShare, first_share, share_add, share_drop
from fastlock._table cimport M_SIGNAL, FLock, FSelf
from fastlock._tasks cimport task_known, task_rest

cdef extern from "Python.h":
    void Py_XDECREF(PyObject*)

cdef extern from "_asyncio.h":
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    void fl_type_traverse(object, int (*)(PyObject*, visitproc, void*) noexcept)


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Holders:
    """Shows the garbage collector the tasks that a lock keeps alive for the shares that they have of it."""


cdef int visit_holders(PyObject* self, visitproc visit, void* context) noexcept:
    cdef FShare* h = first_share((<Holders>self).rec)
    cdef int stop
    while h != NULL:
        stop = visit(h.task, context) if h.task != NULL else 0
        if stop:
            return stop
        h = h.next
    return 0


fl_type_traverse(Holders, visit_holders)


@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class SharedPrimitive(Primitive):

    def __dealloc__(self):
        if self.rec != NULL:
            self.drop_shares()

    cdef int take_share(self, object owner, FSelf* t, uint32_t site) except -1:
        """Notes one share of the agent's, which is the owner's or, for None, a thread's; the caller counts it in `owns`."""
        if self.holders is None:
            self.holders = Holders.__new__(Holders)
            self.holders.rec = self.rec
        share_add(t, <PyObject*>owner if owner is not None else NULL, self.rec, site)
        if self.rec.head != NULL:
            contended_shared(self.rec, t)
        return 0

    cdef bint drop_share(self, FSelf* t) noexcept:
        """Ends one share of the agent's; False where it has none."""
        cdef PyObject* task
        if not share_drop(t, self.rec, &task):
            return False
        if self.rec.head != NULL:
            contended_shared(self.rec, t)
        t.owns -= 1
        note_given(self.rec, t)
        if t.task != NULL and t.watch == NULL:
            task_rest(t)
        Py_XDECREF(task)
        return True

    cdef void drop_shares(self) noexcept:
        """Ends everybody's: the lock goes, or holders are no longer those who release."""
        while first_share(self.rec) != NULL:
            self.drop_share(first_share(self.rec).agent)

    cdef FSelf* closing_holder(self) except? NULL:
        """A holder whose coroutine is being closed by somebody else, NULL where there is none."""
        cdef FShare* h = first_share(self.rec)
        tasks = []
        while h != NULL:                # first the list, for asking a task may change it
            if h.task != NULL:
                tasks.append(<object>h.task)
            h = h.next
        for task in tasks:
            if is_closing(task):
                return task_known(<PyObject*>task)
        return NULL

    cdef int becomes_signal(self) except -1:
        """Who holds it is not known from here on, and not reasoned about."""
        self.drop_shares()
        self.rec.marks |= M_SIGNAL
        if self.rec.node != 0:
            order_signal(self.rec)
        return 0
