# cython: language_level=3
"""Events about event loops. See _loop_facts.pyx."""
from libc.stdint cimport uint32_t

from fastlock._table cimport FLock, FSelf

cdef dict await_event(FLock* L, object task, uint32_t site, list frames)
cdef object tell_loop(dict event, FSelf* me)
cdef list await_frames(object task)
