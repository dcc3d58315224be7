# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What tasks are called: by their name, and with a name that nobody has chosen by what they run as well, as Task-47 (refresh_rates).

Each wait of a task writes it where readers outside see it, so there it is put together without making a string. No code of the program
runs: its methods are not called, where a subclass of asyncio's task has some. Guard: the GIL.
"""
from cpython.object cimport PyObject
from libc.string cimport memcpy, strlen, strncmp, strstr

import sys

from types import CoroutineType as coroutine_type

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8(object) except NULL
    bint PyUnicode_IS_ASCII(object)

cdef dict modules = sys.modules
cdef object task_type = None        # asyncio's, once it has been imported
cdef object get_name = None
cdef object get_coro = None
cdef size_t name_at = 0


cdef bint learn_task_type() except -1:
    """Finds asyncio's type of tasks, which is there before any of them; False where there is none in C."""
    global task_type, get_name, get_coro
    found = getattr(modules.get("_asyncio"), "Task", None)
    if found is None:
        return False
    task_type, get_name, get_coro = found, found.get_name, found.get_coro
    return True


cdef bint is_given_by_asyncio(str name) except -1:
    """Whether it is Task-1, Task-2 and so on."""
    cdef const char* text
    if not PyUnicode_IS_ASCII(name):
        return False
    text = PyUnicode_AsUTF8(name)
    if strncmp(text, b"Task-", 5) != 0 or text[5] == 0:
        return False
    text += 5
    while c'0' <= text[0] <= c'9':
        text += 1
    return text[0] == 0


cdef str name_of(object task):
    """What asyncio calls it; None where it is no task of asyncio's own."""
    if (task_type is None and not learn_task_type()) or not isinstance(task, task_type):
        return None
    name = get_name(task)
    if name_at == 0:
        find_field(<PyObject*>task, <PyObject*>name)
    return name if type(name) is str else None


cdef int find_field(PyObject* task, PyObject* name) except -1:
    """Looks for the name in the task's own words."""
    global name_at
    cdef size_t at
    for at in range(sizeof(PyObject), <size_t>task_type.__basicsize__, sizeof(PyObject*)):
        if (<PyObject**>(<char*>task + at))[0] == name:
            name_at = at
            break
    return 0


cdef str function_of(object task, str name):
    """What a task runs that has no name but the one that asyncio gave it; else None."""
    if not is_given_by_asyncio(name):
        return None
    runs = get_coro(task)
    return runs.__qualname__ if type(runs) is coroutine_type else None


cdef object task_name(object task):
    """What the task is called, None where it is none of asyncio's own."""
    name = name_of(task)
    function = function_of(task, name) if name is not None else None
    return f"{name} ({function.rpartition('<locals>.')[2]})" if function else name


cdef str write_task_name(object task, char* label, size_t room):
    """Writes the same into a room of nulls, of which one is left; returns the name alone. An error where UTF-8 has no word for it."""
    cdef size_t length
    name = name_of(task)
    if name is None:
        return None
    function = function_of(task, name)
    length = add_text(label, 0, room, PyUnicode_AsUTF8(name))
    if function:
        length = add_text(label, length, room, b" (")
        length = add_text(label, length, room, after_locals(PyUnicode_AsUTF8(function)))
        length = add_text(label, length, room, b")")
    return name


cdef size_t add_text(char* label, size_t length, size_t room, const char* text) noexcept nogil:
    cdef size_t more = strlen(text)
    if more > room - 1 - length:
        more = room - 1 - length
    memcpy(label + length, text, more)
    return length + more


cdef const char* after_locals(const char* text) noexcept nogil:
    """A function's name without those of the functions that it is defined in."""
    cdef const char* found = strstr(text, b"<locals>.")
    while found != NULL:
        text = found + 9
        found = strstr(text, b"<locals>.")
    return text
