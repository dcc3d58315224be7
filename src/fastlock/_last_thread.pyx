# cython: language_level=3, binding=False
"""A thread where Python starts none any more: 3.12 refuses to from the moment on at which its main thread waits for the others to end.

Those others go on for as long as they like, and may be stuck for ever. So the thread is the system's, with a thread state as any thread of C code has it, which is
not refused. What becomes of it at the end of the interpreter is what becomes of a daemon thread: it is stopped where it wants the GIL. Guard: the GIL.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

cdef extern from "Python.h":
    void Py_DECREF(PyObject*)
    void PyErr_WriteUnraisable(object)

cdef extern from "_listen.h" nogil:
    ctypedef struct pthread_t:
        pass
    int pthread_detach(pthread_t)
    int fl_thread_new(pthread_t*, void* (*)(void*) noexcept nogil, void*)
    void fl_thread_name(const char*)


cdef void* run(void* call) noexcept nogil:
    fl_thread_name(b"fastlock")
    with gil:
        try:
            (<object>call)()
        except BaseException:
            PyErr_WriteUnraisable(<object>call)
        Py_DECREF(<PyObject*>call)
    return NULL


def start(call):
    """Run call() in such a thread; tells whether there was one to be had."""
    cdef pthread_t thread
    Py_INCREF(call)
    if fl_thread_new(&thread, run, <void*>call) != 0:
        Py_DECREF(<PyObject*>call)
        return False
    pthread_detach(thread)
    return True
