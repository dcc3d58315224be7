# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
"""nested: locks of one class that may be taken under each other, because another lock makes it safe.

In C, so that the line of the program's that enters it is the one that reports name.
"""
cimport cython

from fastlock._core cimport LockType, RLock
from fastlock._native cimport fl_load64
from fastlock._table cimport FLock, FSelf, current_agent, owner_bits


@cython.final
@cython.auto_pickle(False)
cdef class nested:
    """nested(lock, *, under)\n--\n\nContext manager that acquires `lock` while the caller holds `under`, without a rule for locks of one class.

    For locks of one class where the structure says who comes first, such as a parent and its child, or where `under` keeps
    everybody else out; the order of other classes counts as ever. RuntimeError where this thread does not hold `under`; TypeError
    for anything but a Lock, an RLock or a Condition of fastlock's. Any thread; about a microsecond.
    """
    cdef object lock, under

    def __init__(self, lock, *, under):
        self.lock = lock
        self.under = under

    def __enter__(self):
        cdef FSelf* me = current_agent()
        cdef FLock* outer = record_of(self.under)
        if owner_bits(fl_load64(&outer.word)) != me.word:
            raise RuntimeError("nested: the lock given as under= is not held by this thread")
        me.nested = record_of(self.lock).serial
        try:
            self.lock.acquire()
        finally:
            me.nested = 0
        return self.lock

    def __exit__(self, *exc_info):
        self.lock.release()


cdef FLock* record_of(object lock) except NULL:
    lock = getattr(lock, "_lock", lock)         # a condition's
    if type(lock) is LockType:
        return (<LockType>lock).rec
    if isinstance(lock, RLock):
        return (<RLock>lock).rec
    raise TypeError(f"nested takes a Lock, an RLock or a Condition of fastlock's, not {type(lock).__name__}")
