# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
"""acquire_all for tasks: many locks at once, without an order of theirs that anybody must know. In Cython, so that reports name the line that enters it."""
cimport cython

from fastlock._aio cimport Acquisition, Lock, Primitive
from fastlock._aio_rwlock cimport RWLock
from fastlock._aio_semaphores cimport Semaphore
from fastlock._native cimport fl_type_name, fl_type_set


cdef enum:
    MOST_ROUNDS = 8            # of giving way to others


def age(lock):
    """The order that acquire_all takes locks in, if it has to hold some while it waits for others."""
    return (<Primitive>getattr(lock, "_lock", lock)).rec.serial


@cython.auto_pickle(False)
cdef class acquire_all:
    """acquire_all(*locks)\n--\n\nAsynchronous context manager that holds all the given locks; any order of the arguments, and no deadlock through them.

    It does not wait for one lock while it holds another of them, as fastlock.acquire_all does not, unless others have been in its way for
    long: then it takes them in the order of their making. Takes fastlock.aio's locks, semaphores and
    conditions, and an RWLock's read() and write(). ValueError where a lock is named twice. Who is cancelled on the way holds none.
    """

    cdef tuple locks
    cdef object __weakref__

    def __init__(self, *locks):
        # A condition and the two sides of an RWLock have their lock in _lock; waiting for one side would never end.
        bases = [getattr(lock, "_lock", lock) for lock in locks]
        if len({id(base) for base in bases}) != len(locks):
            raise ValueError("acquire_all: the same lock is named twice (the two sides of an RWLock are one lock)")
        for lock, base in zip(locks, bases):
            if not isinstance(base, (Lock, Semaphore, RWLock)) or isinstance(lock, RWLock):
                raise TypeError(f"acquire_all takes fastlock.aio's locks, not {type(lock).__name__}")
        self.locks = locks

    async def __aenter__(self):
        first = missing = 0
        for _ in range(MOST_ROUNDS if self.locks else 0):
            await self.locks[first].acquire()
            missing = self.try_others(first)
            if missing < 0:
                break
            first = missing             # is waited for alone
        if missing >= 0 and self.locks:
            await self.in_order()
        return self.locks

    async def in_order(self):
        """One after the other. Tasks run in turns: those that want the same locks can go on giving way to each other for ever."""
        held = []
        try:
            for lock in sorted(self.locks, key=age):
                await lock.acquire()
                held.append(lock)
        except BaseException:
            let_go(held)
            raise

    async def __aexit__(self, *exc_info):
        let_go(list(self.locks))

    cdef Py_ssize_t try_others(self, Py_ssize_t first) except -2:
        """Tries all but the first, which is held; returns the number of one that could not be had, holding none, or -1."""
        held = [self.locks[first]]
        try:
            for number in [*range(first + 1, len(self.locks)), *range(first)]:
                if not taken_now(self.locks[number]):
                    let_go(held)
                    return number
                held.append(self.locks[number])
        except BaseException:
            let_go(held)
            raise
        return -1


cdef bint taken_now(object lock) except -1:
    asked = lock.acquire()
    if type(asked) is not Acquisition:
        asked.close()
        raise TypeError(f"acquire_all cannot try a {type(lock).__name__} whose acquire() is its own")
    return (<Acquisition>asked).now()


cdef int let_go(list locks) except -1:
    try:
        while locks:
            locks.pop().release()
    finally:
        if locks:                       # one could not be released: the others are all the same
            let_go(locks)
    return 0


fl_type_name(acquire_all, b"fastlock.aio.acquire_all")
fl_type_set(acquire_all, "__module__", "fastlock.aio")
