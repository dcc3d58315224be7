# cython: language_level=3
"""The options of the locks that have some. See _options.pyx."""
from libc.stdint cimport int64_t, uint32_t

from fastlock._table cimport FLock

cdef object checked_options(object name, object lock_class, object timeout, object rank, object key, object signal,
                            object on_deadlock, object on_inversion)
cdef void set_options(FLock* L, object own) except *
cdef void drop_options(FLock* L) noexcept
cdef LockOptions options_of(FLock* L)
cdef uint32_t crowded_sites

cdef class LockOptions:
    cdef readonly object name
    cdef readonly object lock_class
    cdef readonly object timeout_s
    cdef readonly object rank
    cdef readonly object key
    cdef readonly object on_deadlock
    cdef readonly object on_inversion
    cdef readonly bint signal
