# cython: language_level=3
"""Condition and Event: see _sync.pyx."""

cdef int expect(object primitive, object what) except -1
