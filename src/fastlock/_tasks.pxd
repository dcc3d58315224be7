# cython: language_level=3
"""Tasks as agents: see _tasks.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastlock._table cimport FLock, FSelf

cdef extern from "_asyncio.h":
    void fl_type_ready(object)

cdef PyObject* running_task() noexcept
cdef PyObject* running_loop() noexcept
cdef FSelf* task_known(PyObject* task) noexcept
cdef FSelf* task_agent(PyObject* task) except NULL
cdef FSelf* task_agent_in(PyObject* task, FSelf* thread) except NULL
cdef FSelf* caller() except NULL
cdef void task_rest(FSelf* t) noexcept
cdef void task_unpin(FSelf* t) noexcept
cdef FSelf* task_waiting(PyObject* task) except NULL
cdef int task_keep(FSelf* t) except -1
