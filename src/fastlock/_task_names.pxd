# cython: language_level=3
"""What tasks are called. See _task_names.pyx."""
from cpython.object cimport PyObject

cdef object task_name(object task)
cdef PyObject* name_field(PyObject* task) noexcept
cdef str write_task_name(object task, char* label, size_t room)
