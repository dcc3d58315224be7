# cython: language_level=3
"""What is wanted meets what is held: the slow side of level order. See _order.pyx."""
from libc.stdint cimport uint32_t, uint64_t

from fastlock._table cimport FLock, FSelf

cdef uint64_t order_epoch       # part of every pair's key: pairs become unknown when it changes
cdef dict order_judge(FLock* L, FSelf* me, uint32_t flags, bint timed)
cdef void order_take_back(dict event) noexcept
cdef void order_signal(FLock* L) noexcept
cdef void order_forget_pairs() noexcept
