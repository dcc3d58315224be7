# cython: language_level=3
"""Walks whose loose ends are asked of asyncio: see _resolve.pyx."""
from fastlock._table cimport FLock, FNode, FSelf
from fastlock._found cimport Found

cdef int examine_all(FSelf* me, Found* found, FLock* L, FNode* n, bint* taken) except -1
cdef bint leads_nowhere(FSelf* me, FSelf* owner) except -1
cdef tuple placed_by(FLock* L)
