# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, embedsignature=True, embedsignature.format=clinic
"""Lock and RLock, and how a thread blocks: the hot path. Every line above "blocking" is paid per acquire.

The core knows an integer level and one handler. It decides nothing: what was found goes to the handler as a dict, and an
exception that comes back is raised in the waiting agent.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._facts cimport (
    circle_event, circle_of, drop_options, found_key, options_of, raw_report, set_options, wait_event)
from fastlock._native cimport *
from fastlock._park cimport *
from fastlock._sites cimport site_created, site_here, site_mode, sites_on
from fastlock._table cimport *
from fastlock._waits cimport NOTHING, Found, confirm, examine, release_found

import sys
import warnings

from _thread import allocate_lock as raw_lock
from fastlock._facts import site, table

cdef extern from "Python.h":
    object PyObject_Vectorcall(object, PyObject**, size_t, PyObject*)
    int Py_MakePendingCalls() except -1
    void PyErr_WriteUnraisable(object)

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int, const void*, size_t)

cdef enum:
    LOCK_INTR = 2              # PyLockStatus: a signal arrived
    RAW_SEEN_MAX = 4096
    SLOW = 20                  # what a wait has reported: itself, where it is not the key of a circle

cdef int level = 1
cdef int64_t slow_wait_ns = 10000000000
cdef int64_t acquire_timeout_ns = -1
cdef object handler = None
cdef set raw_seen = set()
sites_on(True)


# ---- Lock -----------------------------------------------------------------------------------------------

@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class LockType:
    """lock(*, name=None, lock_class=None, timeout=None, signal=False, on_deadlock=None)\n--\n\nA mutual exclusion lock that knows its owner; threading.Lock's interface, thread-safe."""

    def __cinit__(self, *, name=None, lock_class=None, timeout=None, signal=False, on_deadlock=None):
        self.rec = lock_new(K_LOCK)
        self.rec.obj = <PyObject*>self
        self.rec.created = site_created()
        if name is not None or lock_class is not None or timeout is not None or signal is not False or on_deadlock is not None:
            set_checked_options(self.rec, name, lock_class, timeout, signal, on_deadlock)

    def __dealloc__(self):
        lock_dropped(self.rec)

    def __enter__(self):
        """Acquires the lock; about half the cost of threading's."""
        if fl_word_take(&self.rec.word, current_agent().word | W_WITH):
            note_site(self.rec)
            return True
        lock_wait(self.rec, W_WITH)
        return True

    def acquire(self, blocking=True, timeout=-1):
        cdef int64_t timeout_ns = parse_timeout(blocking, timeout)
        if fl_word_take(&self.rec.word, current_agent().word):
            note_site(self.rec)
            return True
        return lock_acquire(self.rec, current_agent(), 0, timeout_ns) != 0

    def release(self):
        """Releases the lock; any thread may. RuntimeError where nobody holds it."""
        if fl_word_drop(&self.rec.word, current_agent().word):
            self.rec.marks |= M_OWNED
            return None
        lock_release(self)

    def locked(self):
        """Returns whether somebody holds the lock."""
        return is_held(self.rec)

    def _at_fork_reinit(self):
        """Frees the lock in the child of a fork, whoever held it."""
        forget(self.rec)

    def __repr__(self):
        return f"<{'locked' if is_held(self.rec) else 'unlocked'} _thread.lock object at {id(self):#x}>"


cdef object lock_acquire_method(LockType self, PyObject** args, Py_ssize_t count, PyObject* names):
    """acquire() without arguments, which is nearly all of them; the rest goes to the method that parses."""
    if count == 0 and names == NULL:
        if fl_word_take(&self.rec.word, current_agent().word):
            note_site(self.rec)
            return True
        return lock_wait(self.rec, 0) != 0
    return call_parsing(lock_acquire_parsing, <PyObject*>self, args, count, names)


cdef object lock_exit_method(LockType self, PyObject** args, Py_ssize_t count):
    """__exit__ with whatever arguments: none is read."""
    if fl_word_drop(&self.rec.word, current_agent().word | W_WITH):
        self.rec.marks |= M_OWNED
        return None
    lock_release(self)


cdef object call_parsing(object method, PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names):
    """Calls a method of Cython's making with arguments as the interpreter passed them."""
    cdef PyObject* values[4]
    cdef Py_ssize_t i, keywords = len(<tuple>names) if names != NULL else 0
    if count + keywords > 3:
        raise TypeError(f"acquire() takes at most 2 arguments ({count + keywords} given)")
    values[0] = self
    for i in range(count + keywords):
        values[i + 1] = args[i]
    return PyObject_Vectorcall(method, values, count + 1, names)


cdef int lock_wait(FLock* L, uint8_t flags) except -1:
    """A blocking acquire without a timeout argument, after the fast path failed."""
    return lock_acquire(L, current_agent(), flags, -1)


cdef int lock_acquire(FLock* L, FSelf* me, uint8_t flags, int64_t timeout_ns) except -1:
    """Takes an exclusive lock by the slow path: 1 taken, 0 not in time."""
    cdef int got
    flags &= W_WITH
    got = try_take(L, me, WAIT_EXCLUSIVE, flags)
    if not got and timeout_ns != 0:
        got = acquire_blocking(L, me, WAIT_EXCLUSIVE, flags, timeout_ns)
    if got:
        note_site(L)
    return got


cdef int lock_release(LockType self) except -1:
    """Releases by the slow path: somebody waits, or the caller is not the owner."""
    cdef FLock* L = self.rec
    cdef uint64_t word = fl_load64(&L.word)
    if owner_bits(word) == current_agent().word:
        L.marks |= M_OWNED
    elif owner_bits(word) != 0:
        L.marks |= M_SIGNAL     # no owner from here on: it leaves all reasoning
    if not give_back(L):
        raise RuntimeError("release unlocked lock")
    return 0


cdef bint lock_take(LockType self) except -1:
    """with self, for the other primitives."""
    if fl_word_take(&self.rec.word, current_agent().word | W_WITH):
        note_site(self.rec)
        return True
    return lock_wait(self.rec, W_WITH)


cdef bint is_held(FLock* L) noexcept:
    return owner_bits(fl_load64(&L.word)) != 0


# ---- RLock -----------------------------------------------------------------------------------------------

@cython.auto_pickle(False)
cdef class RLock:
    """RLock(*, name=None, lock_class=None, timeout=None, signal=False, on_deadlock=None)\n--\n\nA re-entrant lock that knows its owner; threading.RLock's interface, thread-safe."""

    def __cinit__(self, *args, name=None, lock_class=None, timeout=None, signal=False, on_deadlock=None, **kwargs):
        if (args or kwargs) and type(self).__init__ is object.__init__:
            refuse_rlock_arguments(type(self), args, kwargs)
        self.rec = lock_made(K_RLOCK, name, lock_class, timeout, signal, on_deadlock)
        self.rec.obj = <PyObject*>self

    def __dealloc__(self):
        lock_dropped(self.rec)

    def __enter__(self):
        """Acquires the lock, once more where the caller holds it."""
        if fl_word_take(&self.rec.word, current_agent().word):
            note_site(self.rec)
            return True
        rlock_acquire(self, -1)
        return True

    def acquire(self, blocking=True, timeout=-1):
        cdef int64_t timeout_ns = parse_timeout(blocking, timeout)
        if fl_word_take(&self.rec.word, current_agent().word):
            note_site(self.rec)
            return True
        return rlock_acquire(self, timeout_ns) != 0

    def release(self):
        """Releases the lock once; RuntimeError where the caller does not hold it."""
        rlock_release(self)

    def locked(self):
        """Returns whether somebody holds the lock."""
        return is_held(self.rec)

    def _is_owned(self):
        """Returns whether the calling thread holds the lock."""
        return rlock_owned(self)

    def _recursion_count(self):
        """How often the calling thread holds the lock."""
        return self.rec.count + 1 if rlock_owned(self) else 0

    def _release_save(self):
        """Releases the lock entirely; returns what _acquire_restore takes."""
        return rlock_save(self)

    def _acquire_restore(self, state):
        """Acquires the lock to the depth that _release_save returned."""
        count, _ = state
        rlock_restore(self, count)

    def _at_fork_reinit(self):
        """Frees the lock in the child of a fork, whoever held it."""
        forget(self.rec)

    def __repr__(self):
        cdef FSelf* owner = agent_of(self.rec.word)
        cdef uint64_t ident = owner.pub.ident if owner != NULL else 0
        cdef int64_t count = self.rec.count + 1 if is_held(self.rec) else 0
        kind = "_thread.RLock" if type(self) is RLock else type(self).__name__
        return (f"<{'locked' if is_held(self.rec) else 'unlocked'} {kind} object "
                f"owner={ident} count={count} at {id(self):#x}>")


cdef object refuse_rlock_arguments(object cls, tuple args, dict kwargs):
    """What the running version says of arguments to RLock; an unknown keyword to RLock itself is an error where it may be."""
    if kwargs and cls is RLock and not (3, 13) <= sys.version_info < (3, 15):
        raise TypeError(f"RLock() got an unexpected keyword argument {next(iter(kwargs))!r}")
    if sys.version_info >= (3, 15):
        raise TypeError("RLock() takes no positional arguments")
    if sys.version_info >= (3, 13):
        warnings.warn("Passing arguments to RLock is deprecated and will be removed in 3.15", DeprecationWarning, stacklevel=2)


cdef object rlock_acquire_method(RLock self, PyObject** args, Py_ssize_t count, PyObject* names):
    if count == 0 and names == NULL:
        return rlock_take(self) != 0
    return call_parsing(rlock_acquire_parsing, <PyObject*>self, args, count, names)


cdef object rlock_exit_method(RLock self, PyObject** args, Py_ssize_t count):
    rlock_release(self)


cdef bint rlock_owned(RLock self) noexcept:
    cdef uint64_t word = fl_load64(&self.rec.word)
    return owner_bits(word) == current_agent().word and not word & W_OFFERED


cdef int rlock_take(RLock self) except -1:
    if fl_word_take(&self.rec.word, current_agent().word):
        note_site(self.rec)
        return 1
    return rlock_acquire(self, -1)


cdef int rlock_acquire(RLock self, int64_t timeout_ns) except -1:
    """By the slow path: re-entry, or somebody else holds it."""
    if rlock_owned(self):
        self.rec.count += 1
        return 1
    return lock_acquire(self.rec, current_agent(), 0, timeout_ns)


cdef int rlock_release(RLock self) except -1:
    cdef FLock* L = self.rec
    if L.count == 0 and fl_word_drop(&L.word, current_agent().word):
        return 0
    if not rlock_owned(self):
        raise RuntimeError("cannot release un-acquired lock")
    if L.count > 0:
        L.count -= 1
    else:
        give_back(L)
    return 0


cdef object rlock_save(RLock self):
    cdef FLock* L = self.rec
    cdef int64_t depth
    cdef FSelf* owner = agent_of(L.word)
    if owner == NULL:
        raise RuntimeError("cannot release un-acquired lock")
    depth = L.count + 1
    L.count = 0
    ident = owner.pub.ident
    give_back(L)
    return (depth, ident)


cdef int rlock_restore(RLock self, int64_t depth) except -1:
    """Re-acquires after a condition's wait: no policy and no timeout ever acts on it."""
    cdef FLock* L = self.rec
    cdef FSelf* me = current_agent()
    error = None
    if not fl_word_take(&L.word, me.word) and not try_take(L, me, WAIT_EXCLUSIVE, 0):
        error = block_to_the_end(L, me, 0)
    note_site(L)
    L.count = depth - 1
    if error is not None:
        raise error
    return 0


# ---- making and dropping -----------------------------------------------------------------------------------

cdef LockType new_lock():
    return LockType.__new__(LockType)


def Lock(*, name=None, lock_class=None, timeout=None, signal=False, on_deadlock=None):
    """A mutual exclusion lock that knows its owner; threading.Lock's interface, thread-safe."""
    cdef LockType self = LockType.__new__(LockType)
    if name is not None or lock_class is not None or timeout is not None or signal or on_deadlock is not None:
        set_checked_options(self.rec, name, lock_class, timeout, signal, on_deadlock)
    return self


cdef FLock* lock_made(uint8_t kind, object name, object lock_class, object timeout, bint signal, object on_deadlock) except NULL:
    """A record with its creation site and options, for the constructors."""
    cdef FLock* L = lock_new(kind)
    L.created = site_created()
    if name is not None or lock_class is not None or timeout is not None or signal or on_deadlock is not None:
        try:
            set_checked_options(L, name, lock_class, timeout, signal, on_deadlock)
        except BaseException:
            lock_free(L)
            raise
    return L


cdef object set_checked_options(FLock* L, object name, object lock_class, object timeout, bint signal, object on_deadlock):
    for key, value in (("name", name), ("lock_class", lock_class)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{key} must be a str, not {type(value).__name__}")
    if timeout is not None:
        parse_timeout(True, timeout)
        if timeout < 0:
            raise ValueError("timeout must be a non-negative number of seconds")
    if not (on_deadlock is None or on_deadlock in ("report", "raise", "exit") or callable(on_deadlock)):
        raise ValueError(f"on_deadlock={on_deadlock!r}: allowed are 'report', 'raise', 'exit' and a callable")
    if signal:
        L.marks |= M_SIGNAL
    set_options(L, name, lock_class, timeout, on_deadlock)


cdef void lock_dropped(FLock* L) noexcept:
    if L == NULL:
        return
    if L.marks & M_POLICY:
        drop_options(L)
    lock_free(L)


cdef object MINUS_ONE = -1
cdef object lock_acquire_parsing, rlock_acquire_parsing


cdef int64_t parse_timeout(object blocking, object timeout) except? -2:
    """Nanoseconds to wait: -1 for ever, 0 not at all. What is wrong with the arguments, the stdlib's own lock says."""
    cdef double seconds
    if timeout is MINUS_ONE:
        if blocking is True:
            return -1
        if blocking is False:
            return 0
    elif blocking is True and type(timeout) is float:
        seconds = timeout
        if 0 <= seconds < 1e8:
            return to_ns(seconds)
    raw_lock().acquire(blocking, timeout)
    if not blocking:
        return 0
    seconds = timeout
    return -1 if seconds == -1 else to_ns(seconds)


cdef int64_t to_ns(double seconds) noexcept:
    cdef double exact = seconds * 1e9
    cdef int64_t ns = <int64_t>exact
    return ns + 1 if ns < exact else ns


# ---- blocking ------------------------------------------------------------------------------------------------

cdef int acquire_blocking(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns) except -1:
    """Blocks with the lock's own limit, or the process's, where the call has none: LockTimeout when it is over."""
    cdef int64_t limit_ns = -1
    if timeout_ns < 0:
        own = options_of(L)
        if own is not None and own[2] is not None:
            limit_ns = to_ns(own[2])
        elif mode != WAIT_PERMIT and not L.marks & M_SIGNAL:
            limit_ns = acquire_timeout_ns
    if limit_ns < 0:
        return block(L, me, mode, flags, timeout_ns, True)
    return block_for(L, me, mode, flags, limit_ns, True, True)


cdef int block(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns, bint policy) except -1:
    """Waits until taken (1) or timed out (0); an exception of a signal handler or a policy leaves no trace."""
    return block_for(L, me, mode, flags, timeout_ns, policy, False)


cdef object block_to_the_end(FLock* L, FSelf* me, uint8_t flags):
    """Takes the lock whatever signal handlers raise, and returns the first of it: whoever re-acquires must come back an owner."""
    first = None
    while True:
        try:
            block(L, me, WAIT_EXCLUSIVE, flags, -1, False)
            return first
        except BaseException as error:
            if fl_finalizing():
                raise
            if first is None:
                first = error


cdef int block_for(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns, bint policy, bint limited) except -1:
    cdef FNode* n = wait_push(me, L, mode, flags, timeout_ns, site_now())
    if enter(L, n) == TAKEN:
        wait_pop(me, n)
        return TAKEN
    return wait_out(L, me, n, policy, limited)


cdef uint32_t site_now() noexcept:
    return site_here(fl_site_key()) if site_mode else 0


cdef int wait_out(FLock* L, FSelf* me, FNode* n, bint policy, bint limited) except -1:
    """Waits in the queue that `n` has entered, and takes it out of the table whatever happens."""
    cdef int got = WAITING
    try:
        got = wait(L, me, n, policy)
        if got == WAITING and limited:
            error = None if fl_finalizing() else call_handler(wait_event("timeout", me, L))
            raise error or TimeoutError("lock timeout")
    except BaseException:
        if leave(L, n) == TAKEN:
            hand_back(L, n.mode)
        raise
    finally:
        wait_pop(me, n)
    return got


cdef void hand_back(FLock* L, uint8_t mode) noexcept:
    """Passes on what an interrupted waiter had been given."""
    if mode == WAIT_EXCLUSIVE:
        give_back(L)
    elif mode == WAIT_SHARED:
        give_read(L)
    elif mode == WAIT_PERMIT:
        give_permits(L, 1)
    elif mode == WAIT_NOTIFY:
        notify(L, 1, NULL, NULL)


cdef int wait(FLock* L, FSelf* me, FNode* n, bint policy) except -1:
    """Parks until the lock is taken or the deadline is over; looks for circles when it starts and when things change."""
    cdef int64_t now, until, slow_at = -1
    cdef uint64_t reported = 0
    cdef bint late = False
    cdef int rc
    if fl_finalizing():
        fl_refuse_at_exit()
    elif look(L, me, n, policy, False, &reported) == TAKEN:
        return TAKEN
    if slow_wait_ns >= 0:
        slow_at = n.since_ns + slow_wait_ns
    while True:
        now = fl_now_ns()
        if n.deadline_ns >= 0 and now >= n.deadline_ns:
            return leave(L, n)
        until = n.deadline_ns
        if slow_at >= 0 and (until < 0 or slow_at < until):
            until = slow_at
        with nogil:
            pay(me)         # with the GIL gone, so that who wakes can take it
            rc = fl_parker_wait(me.parker, until - now if until >= 0 and until > now else 0 if until >= 0 else -1, True)
        if rc == LOCK_INTR:
            if suspend(L, n) == TAKEN:
                return TAKEN        # the handler runs as soon as bytecode does
            Py_MakePendingCalls()
            if resume(L, n) == TAKEN or look(L, me, n, policy, late, &reported) == TAKEN:
                return TAKEN
            continue
        if settle(L, n) == TAKEN:
            return TAKEN
        if fl_load8(&me.recheck):
            fl_store8(&me.recheck, 0)
            if look(L, me, n, policy, late, &reported) == TAKEN:
                return TAKEN
        if slow_at >= 0 and fl_now_ns() >= slow_at:
            slow_at = -1
            late = True
            if look(L, me, n, policy, late, &reported) == TAKEN:
                return TAKEN


cdef int look(FLock* L, FSelf* me, FNode* n, bint policy, bint late, uint64_t* reported) except -1:
    """Looks for a circle or a dead owner and reports it once; TAKEN where the lock came meanwhile."""
    cdef Found found
    cdef int code, got = WAITING
    cdef uint64_t key
    if not level or fl_finalizing():
        return WAITING          # at the end nothing is looked for: what reports need is being taken apart
    while got == WAITING:
        code = examine(me, &found)
        if code == NOTHING:
            if not late or reported[0] != 0 or not is_kept(L):
                return WAITING
            reported[0] = SLOW
            got = tell(L, n, wait_event("FL020", me, L), False)
            continue        # whoever closed a circle meanwhile took this agent for one that runs
        key = found_key(&found)
        if key == reported[0] or not (found.proven or late) or not confirm(&found):
            release_found(&found)
            return WAITING
        reported[0] = key
        circle = circle_of(&found)      # write(2) lets the GIL go: no record may come to mean another lock
        write_raw(&found, key)
        event = circle_event(circle, me)
        if not policy:
            event["policy"] = "report"
        got = tell(L, n, event, policy)
    return got


cdef bint is_kept(FLock* L) noexcept:
    """Whether what is waited for is held by somebody, as far as is known."""
    if L.marks & M_SIGNAL:
        return False
    return is_held(L) or (L.kind == K_RWLOCK and L.count > 0) or L.kind == K_SEMAPHORE


cdef int tell(FLock* L, FNode* n, dict event, bint policy) except -1:
    """Hands an event to the reporting layer; raises what it answers where a policy may act on this wait."""
    if suspend(L, n) == TAKEN:
        event["policy"] = "report"      # it was so, and is over
        try:
            call_handler(event)
        except BaseException:
            hand_back(L, n.mode)
            raise
        return TAKEN
    answer = call_handler(event)
    if answer is not None and policy:
        raise answer
    return resume(L, n)


cdef object call_handler(dict event):
    if handler is None:
        return None
    try:
        return handler(event)
    except Exception:           # not what a signal handler raises to end the program
        PyErr_WriteUnraisable(handler)
        return None


cdef object write_raw(Found* found, uint64_t key):
    """The raw report, by write(2) with the GIL released, once per circle of sites."""
    cdef const char* text
    cdef size_t size
    cdef ssize_t written
    if key in raw_seen or len(raw_seen) >= RAW_SEEN_MAX:
        return
    raw_seen.add(key)
    report = raw_report(found)
    text = report
    size = len(report)
    with nogil:
        written = write(2, text, size)      # nobody to tell where standard error is closed


# ---- what the Python layer sets and asks ------------------------------------------------------------------------

def set_level(int new_level):
    """0 off, 1 detect; takes effect at the next acquire and the next wait of every thread."""
    global level
    level = new_level
    sites_on(new_level > 0)


def get_level():
    """The level in force, as a number."""
    return level


def set_limits(int64_t slow_wait, int64_t acquire_timeout):
    """Nanoseconds after which a wait is slow, and after which an acquire without limit fails; -1 for never."""
    global slow_wait_ns, acquire_timeout_ns
    slow_wait_ns = slow_wait
    acquire_timeout_ns = acquire_timeout


def find_circles():
    """Every circle and orphaned lock there is now, as events, each once; cost: a walk for each waiting agent."""
    cdef uint32_t i
    cdef FSelf* s
    cdef Found found
    events = []
    told = set()            # who is in a circle that has been found: it would be found from each of its agents
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s.pub.state != A_ALIVE or s.top == NULL or s.word in told or examine(s, &found) == NOTHING:
            continue
        circle = circle_of(&found)
        if confirm(&found):
            told.update([found.edges[j].agent_word for j in range(found.n)])
            event = circle_event(circle, s)
            event["closing"] = None
            events.append(event)
    return events


def set_handler(new_handler):
    """The one callback: handler(event) in the waiting agent, with the GIL and no mutex held."""
    global handler
    handler = new_handler


# ---- the stdlib's names, and the methods without parsing ---------------------------------------------------------

lock_acquire_parsing = LockType.__dict__["acquire"]
rlock_acquire_parsing = RLock.__dict__["acquire"]
fl_type_method(LockType, "acquire", <void*>lock_acquire_method, METH_FASTCALL | METH_KEYWORDS,
           "acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
           "Acquires the lock, waiting at most `timeout` seconds; returns whether it was acquired.")
fl_type_method(LockType, "__exit__", <void*>lock_exit_method, METH_FASTCALL,
           "__exit__($self, /, *exc_info)\n--\n\nReleases the lock.")
fl_type_method(RLock, "acquire", <void*>rlock_acquire_method, METH_FASTCALL | METH_KEYWORDS,
           "acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
           "Acquires the lock, once more where the caller holds it; returns whether it was acquired.")
fl_type_method(RLock, "__exit__", <void*>rlock_exit_method, METH_FASTCALL,
           "__exit__($self, /, *exc_info)\n--\n\nReleases the lock once.")
fl_type_name(LockType, b"_thread.lock")
fl_type_set(LockType, "__doc__", Lock.__doc__)     # under its first name the interpreter took the signature for text
fl_type_name(RLock, b"_thread.RLock")
for alias, method in (("acquire_lock", "acquire"), ("release_lock", "release"), ("locked_lock", "locked")):
    fl_type_set(LockType, alias, LockType.__dict__[method])
for new_type in (LockType, RLock):
    fl_type_set(new_type, "__module__", "_thread")
    fl_type_cheap_binding(new_type, b"__enter__")
    fl_type_cheap_binding(new_type, b"__exit__")
# threading.Lock is a function up to 3.12, and the type itself from 3.13 on. By name it is pickled.
if sys.version_info < (3, 13):
    Lock.__module__ = "threading"
    fl_type_no_new(LockType)
else:
    Lock = LockType
