# cython: language_level=3
"""Tasks' waits that last too long: see _late.pyx."""
from libc.stdint cimport int64_t

from fastlock._block cimport slow_wait_ns, sooner
from fastlock._table cimport FLock, FNode

cdef enum:
    EARLY_NS = 200000000        # after which a circle is looked for once more: what a task awaits is in no table, so it may have closed one unseen

cdef int64_t due                # when to look; -1: there is nothing to look for
cdef int task_waits_first(FLock* L, FNode* n) except -1

cdef inline int task_waits(FLock* L, FNode* n) except -1:
    """Called with each wait that a task has published: sees to it that somebody looks in time."""
    return 0 if 0 <= due <= n.since_ns + sooner(slow_wait_ns, EARLY_NS) else task_waits_first(L, n)
