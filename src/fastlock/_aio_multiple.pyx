# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
"""acquire_all for tasks: many locks at once, without an order of theirs that anybody must know. In Cython, so that reports name the line that enters it."""
cimport cython

from fastlock._aio cimport Acquisition
from fastlock._aio_locks cimport Lock
from fastlock._aio_rwlock cimport RWLock
from fastlock._aio_semaphores cimport Semaphore
from fastlock._native cimport fl_type_name, fl_type_set


cdef int queueing = 0      # how many queue for one of their locks once more, the first time having led to nothing


@cython.auto_pickle(False)
cdef class acquire_all:
    """acquire_all(*locks)\n--\n\nAsynchronous context manager that holds all the given locks; any order of the arguments, and no deadlock through them.

    It never waits for one lock while it holds another of them, as fastlock.acquire_all does not. Takes fastlock.aio's locks, semaphores and
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
        """Queues for one that cannot be had, and takes the others if they can be had then.

        Tasks run in turns: those that want the same locks could go on like that for ever, each with one of them in its hand. So after the
        first time only one task queues again; others look on until they could have what they miss, and take all at once or nothing.
        """
        global queueing
        held = -1
        missing = self.missing(-1)
        again = False
        while missing >= 0:
            if again and queueing:
                await looking_on(self.locks[missing])
                missing = self.missing(-1)
                continue
            queueing += again
            try:
                await self.locks[missing].acquire()
            finally:
                queueing -= again
            held = missing
            try:
                missing = self.missing(held)
            finally:
                if missing >= 0:
                    self.locks[held].release()
                    held = -1
            again = True
        self.take_but(held)
        return self.locks

    async def __aexit__(self, *exc_info):
        let_go(list(self.locks))

    cdef Py_ssize_t missing(self, Py_ssize_t held) except -2:
        """The number of one, other than the one held, that cannot be had now; -1 where all can."""
        cdef Py_ssize_t number
        cdef Acquisition a
        for number in range(len(self.locks)):
            if number != held:
                a = asked(self.locks[number])
                a.close()
                if not a.what.available(a):
                    return number
        return -1

    cdef int take_but(self, Py_ssize_t held) except -1:
        """Takes all but the one held, which can be had: nothing has run since they were looked at."""
        cdef Py_ssize_t number
        taken = [self.locks[held]] if held >= 0 else []
        try:
            for number in range(len(self.locks)):
                if number != held:
                    if not asked(self.locks[number]).now():
                        raise RuntimeError("acquire_all: a lock was taken in the middle of it")
                    taken.append(self.locks[number])
        except BaseException:
            let_go(taken)
            raise
        return 0


cdef Acquisition asked(object lock):
    """What the lock's acquire() returns, where it is ours: only that can be tried."""
    a = lock.acquire()
    if type(a) is not Acquisition:
        a.close()
        raise TypeError(f"acquire_all cannot try a {type(lock).__name__} whose acquire() is its own")
    return a


cdef object looking_on(object lock):
    """Waits until the lock could be had, and does not take it."""
    cdef Acquisition a = asked(lock)
    a.looking = True
    return a


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
