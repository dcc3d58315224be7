# cython: language_level=3
"""What is said of a stall. See _stall_text.pyx."""
from libc.stdint cimport int64_t, uint64_t

from fastlock._native cimport fl_load8, fl_load64
from fastlock._table cimport A_ALIVE, FSelf

cdef void write_stall(int64_t stalled_ns, uint64_t tstate, int64_t now) noexcept nogil
cdef void send() noexcept nogil
cdef void send_end(int64_t stalled_ns) noexcept nogil

cdef inline bint is_parked(FSelf* s) noexcept nogil:
    """Whether the agent is a thread in a wait of ours."""
    return fl_load8(&s.pub.state) == A_ALIVE and fl_load64(&s.task) == 0 and fl_load64(&s.top) != 0
