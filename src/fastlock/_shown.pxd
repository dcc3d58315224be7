# cython: language_level=3
"""Names and sites for readers outside: see _shown.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from fastlock._table cimport FLock, FNode, FSelf

cdef FNode* wait_begin(FSelf* me, FLock* L, uint8_t mode, uint8_t flags, int64_t timeout_ns, uint32_t site) except NULL
cdef void given_back(FSelf* me, FLock* L) noexcept nogil
cdef FNode* task_wait_begin(FSelf* t, FSelf* asker, FLock* L, uint8_t mode, int64_t timeout_ns, uint32_t site) except NULL
cdef int show_pool(FLock* L) except -1
