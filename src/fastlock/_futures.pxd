# cython: language_level=3
"""Cython's view of _futures.h: what asyncio's futures and a deque of them are asked."""
from cpython.object cimport PyObject

cdef extern from "_futures.h":
    int FL_PENDING, FL_CANCELLED, FL_DONE
    void* fl_futures_learn(object, object, object, object)
    object fl_future_new(PyObject*)
    bint fl_future_is_plain(PyObject*)
    int fl_future_state(PyObject*) except -1
    int fl_future_set_true(PyObject*) noexcept
    int fl_future_check(PyObject*) except -1
    int fl_future_yielded(PyObject*) except -1
    bint fl_loop_is_known(PyObject*)
    void fl_loop_known(PyObject*)
    object fl_queue_first(PyObject*)
    int fl_queue_add(PyObject*, PyObject*) except -1
    int fl_queue_drop(PyObject*, PyObject*) except -1
