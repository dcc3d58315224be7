# cython: language_level=3, binding=False
"""The options of the locks that have some: checked when they are given, kept beside the record, found by its serial.

Nearly every lock has none, and costs no entry. Guard: the GIL.
"""
from cpython.unicode cimport PyUnicode_FromObject
from libc.stdint cimport uint32_t, uint64_t

from fastlock._table cimport M_POLICY, M_RANKED, M_SIGNAL, FLock

from _thread import TIMEOUT_MAX

cdef enum:
    NAMES_PER_SITE = 64        # more names than this from one creation site count as the site

cdef dict options = {}
cdef dict names_by_site = {}
cdef uint32_t crowded_sites = 0     # that make up too many names: how often what a name stands for has changed


cdef class LockOptions:
    """What a lock was given on top of threading's arguments; immutable."""


cdef object checked_options(object name, object lock_class, object timeout, object rank, object key, object signal,
                            object on_deadlock, object on_inversion):
    """The options as an object, None where there are none; TypeError or ValueError names the bad one."""
    cdef LockOptions own
    if (name is None and lock_class is None and timeout is None and rank is None and key is None and not signal
            and on_deadlock is None and on_inversion is None):
        return None
    for keyword, value in (("name", name), ("lock_class", lock_class)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{keyword} must be a str, not {type(value).__name__}")
    if timeout is not None:
        check_timeout(timeout)
    if rank is not None:
        check_rank(rank)
    if not (on_deadlock is None or on_deadlock in ("report", "raise", "exit") or callable(on_deadlock)):
        raise ValueError(f"on_deadlock={on_deadlock!r}: allowed are 'report', 'raise', 'exit' and a callable")
    if on_inversion not in (None, "report", "raise"):
        raise ValueError(f"on_inversion={on_inversion!r}: allowed are 'report' and 'raise'")
    own = LockOptions.__new__(LockOptions)
    own.name, own.lock_class, own.timeout_s, own.rank, own.key = exact(name), exact(lock_class), timeout, rank, key
    own.signal, own.on_deadlock, own.on_inversion = bool(signal), on_deadlock, on_inversion
    return own


cdef object exact(object text):
    """A str and nothing but a str: an enum's member is named by its value, and comparing names runs no code of the program's."""
    return None if text is None else PyUnicode_FromObject(text)


cdef object check_timeout(object timeout):
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError("timeout must be a non-negative number of seconds")
    if timeout > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")


cdef object check_rank(object rank):
    if isinstance(rank, bool) or not isinstance(rank, (int, float)):
        raise TypeError(f"rank must be a number, not {type(rank).__name__}")
    if rank != rank:
        raise ValueError("rank must not be NaN")


cdef object name_class(FLock* L, object name):
    """The class that a name stands for, None where its site makes up too many names."""
    global crowded_sites
    names = names_by_site.setdefault(L.created, set())
    if names is None:
        return None
    names.add(name)
    if len(names) > NAMES_PER_SITE:
        names_by_site[L.created] = None
        crowded_sites += 1
        return None
    return name


cdef void set_options(FLock* L, object own) except *:
    cdef LockOptions o = own
    if o.lock_class is None and o.name is not None:
        o.lock_class = name_class(L, o.name)
    options[L.serial] = o
    L.marks |= M_POLICY
    if o.signal:
        L.marks |= M_SIGNAL
    if o.rank is not None or o.key is not None:
        L.marks |= M_RANKED


cdef void drop_options(FLock* L) noexcept:
    options.pop(L.serial, None)


cdef LockOptions options_of(FLock* L):
    return options.get(L.serial) if L.marks & M_POLICY else None
