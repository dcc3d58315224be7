# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""asyncio's Semaphore and BoundedSemaphore: who has a permit is known, as long as those who have one are those who release.

A permit is given when its waiter is told, and not when it runs: until then the count is without it, as asyncio's is. All state changes in the
thread that runs the loop, under the GIL.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from fastlock._aio cimport (
    Acquisition, acquirer, acquisition, agent_for, caller_known, enter_by_acquire, has_queue, ready, refused, site_of_call, unexpected)
from fastlock._aio_shared cimport SharedPrimitive
from fastlock._contended cimport contended_refresh
from fastlock._native cimport *
from fastlock._options cimport checked_options, set_options
from fastlock._table cimport *
from fastlock._tasks cimport running_task, task_agent
from fastlock._woken cimport wakes

cdef int64_t ENDLESS = 1 << 62     # permits that no program uses up


@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Semaphore(SharedPrimitive):
    """Semaphore(value=1, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA counting semaphore for tasks; asyncio.Semaphore's interface, for one loop's thread."""

    def __cinit__(self):
        self.open(K_SEMAPHORE)

    def __init__(self, value=1, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False,
                 on_deadlock=None, on_inversion=None, **unknown):
        if unknown:
            unexpected("Semaphore", unknown)
        if value < 0:
            raise ValueError("Semaphore initial value must be >= 0")
        own = checked_options(name, lock_class, timeout, rank, key, signal, on_deadlock, on_inversion)
        if own is not None:
            set_options(self.rec, own)
        self.count_from(value)
        self.rec.limit = <uint32_t>min(self.rec.count, <int64_t>0xFFFFFFFF)
        if self.rec.count == 0 or self.rec.count == ENDLESS:
            self.rec.marks |= M_SIGNAL      # it announces, it does not guard; or nobody ever waits for it

    cdef int count_from(self, object value) except -1:
        """Takes any number, as asyncio does, whose tasks wait where it is exactly zero: after 2.0 permits, but never after 2.5."""
        self.value = None
        if isinstance(value, int) and -ENDLESS < value < ENDLESS:
            self.rec.count = value
            return 0
        try:
            whole = int(value)
            self.base = whole if whole == value and -ENDLESS < whole < ENDLESS else ENDLESS
        except (OverflowError, ValueError):     # infinite, or not a number
            self.base = ENDLESS
        self.value = value
        self.rec.count = self.base
        return 0

    @property
    def _value(self):
        return self.rec.count if self.value is None else self.value + (self.rec.count - self.base)

    @_value.setter
    def _value(self, value):
        self.becomes_signal()               # somebody else counts
        self.count_from(value)

    def __repr__(self):
        return self.shown("locked" if self.locked() else f"unlocked, value:{self._value}")

    def locked(self):
        """Returns whether acquire() would have to wait."""
        return self.rec.count == 0 or not self.nobody_waits()

    def acquire(self):
        """Takes a permit when awaited, and returns True; it belongs to the calling task."""
        return acquisition(self, WAIT_PERMIT, False, running_task())

    def release(self):
        """Gives a permit back; any task may, but then the semaphore's holders are no longer known."""
        self.give()

    cdef int give(self) except -1:
        cdef FSelf* t
        if not self.rec.marks & M_SIGNAL:
            t = caller_known()
            if t == NULL or not self.drop_share(t):
                t = self.closing_holder()
                if t == NULL or not self.drop_share(t):
                    self.becomes_signal()
        if self.rec.marks & M_SIGNAL:
            wakes(self.rec, thread_agent())
        self.rec.count += 1
        if not self.wake_next() and self.onlookers is not None and not has_queue(self):
            self.tell_onlookers()
        if self.rec.head != NULL:
            contended_refresh(self.rec)
        return 0

    cdef int note(self, object owner, FSelf* t, uint32_t site) except -1:
        """Notes who has a permit."""
        if self.rec.marks & M_SIGNAL:
            return refused(t)
        if FL_UNLIKELY(self.rec.site != site):
            self.rec.site = site
            self.rec.site_key = 0
        self.take_share(owner, t, site)
        t.owns += 1
        return 0

    cdef bint available(self, Acquisition a) except -1:
        return self.rec.count != 0 and self.nobody_waits()

    cdef int attempt(self, Acquisition a) except -1:
        if not self.available(a):
            return 0
        self.rec.count -= 1
        self.note(a.owner, agent_for(a.owner), a.site)
        return 1

    cdef int woken(self, Acquisition a) except -1:
        self.note(a.owner, acquirer(a), a.site)
        return self.wake_all()              # those who came meanwhile had to queue

    cdef int given_up(self, Acquisition a) except -1:
        if a.future.done() and not a.future.cancelled() and a.future.exception() is None:
            self.rec.count += 1             # its turn had come
        return self.wake_all()

    cdef bint wake_next(self) except -1:
        """Gives a permit to the first waiter that has not been told yet; False where there is none."""
        self.rec.count -= 1
        if self.tell_next():
            return True
        self.rec.count += 1
        return False

    cdef int wake_all(self) except -1:
        while self.rec.count > 0:
            if not self.wake_next():
                break
        return self.tell_onlookers() if self.onlookers is not None and self.rec.count != 0 else 0


cdef object semaphore_aenter_method(Semaphore self, PyObject* unused):
    """Takes a permit at once where there is one; a subclass's own acquire() is heard."""
    cdef FLock* L = self.rec
    cdef FSelf* t
    cdef PyObject* task
    if type(self) is not Semaphore and type(self) is not BoundedSemaphore:
        return enter_by_acquire(self)
    task = running_task()
    if task != NULL and L.count != 0 and not has_queue(self):
        if not L.marks & M_SIGNAL:
            t = task_agent(task)
            self.take_share(<object>task, t, site_of_call(L))
            t.owns += 1
        L.count -= 1
        return ready
    return acquisition(self, WAIT_PERMIT, True, task)


cdef object semaphore_aexit_method(Semaphore self, PyObject** args, Py_ssize_t count):
    """__aexit__ with whatever arguments: none is read."""
    if type(self) is Semaphore:
        self.give()
    else:
        self.release()
    return ready


@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class BoundedSemaphore(Semaphore):
    """BoundedSemaphore(value=1, *, name=None, lock_class=None, timeout=None, rank=None, key=None, signal=False, on_deadlock=None, on_inversion=None)\n--\n\nA semaphore that may not be released more often than acquired; asyncio.BoundedSemaphore's interface."""

    cdef public object _bound_value

    def __init__(self, value=1, **options):
        if "loop" in options:
            unexpected("BoundedSemaphore", options)
        self._bound_value = value
        Semaphore.__init__(self, value, **options)

    def release(self):
        """Gives a permit back; ValueError where that is more than were taken."""
        if self._value >= self._bound_value:
            raise ValueError("BoundedSemaphore released too many times")
        self.give()


fl_type_name(Semaphore, b"Semaphore")
fl_type_name(BoundedSemaphore, b"BoundedSemaphore")
fl_type_method(Semaphore, "__aenter__", <void*>semaphore_aenter_method, METH_NOARGS,
               "__aenter__($self, /)\n--\n\nTakes a permit when awaited.")
fl_type_method(Semaphore, "__aexit__", <void*>semaphore_aexit_method, METH_FASTCALL,
               "__aexit__($self, /, *exc_info)\n--\n\nGives the permit back.")
fl_type_cheap_binding(Semaphore, b"__aenter__")
for new_type in (Semaphore, BoundedSemaphore):
    fl_type_set(new_type, "__module__", "fastlock.aio")
