# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
"""nested: locks of one class that may be taken under each other, because another lock makes it safe.

In C, so that the line of the program's that enters it is the one that reports name.
"""
cimport cython

from fastlock._core import begin_nested, end_nested


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
        begin_nested(self.lock, self.under)
        try:
            self.lock.acquire()
        finally:
            end_nested()
        return self.lock

    def __exit__(self, *exc_info):
        self.lock.release()
