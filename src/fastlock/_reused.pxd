# cython: language_level=3
"""Records of waits that are over, kept for the next ones that are called the same: see _reused.pyx."""
from fastlock._table cimport FLock

cdef bint record_rests(FLock* L) noexcept
cdef FLock* record_again(str name, str label) except? NULL
