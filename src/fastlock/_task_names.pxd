# cython: language_level=3
"""What tasks are called. See _task_names.pyx."""
from cpython.object cimport PyObject

cdef object task_name(object task)
cdef str write_task_name(object task, char* label, size_t room)

cdef size_t name_at             # where a task has its name; 0: not known

cdef inline PyObject* name_field(PyObject* task) noexcept:
    """The name of a task that write_task_name() has had one of, only to compare it: another one is another name. NULL where it is not known."""
    return (<PyObject**>(<char*>task + name_at))[0] if name_at != 0 else NULL
