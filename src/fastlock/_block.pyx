# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""How a thread blocks: limits, looking for circles as the wait begins and when things change, telling of what is found.

Cold beside the wait itself. The handler is called in the waiting agent, with the GIL and no mutex held; the wait counts as
interrupted meanwhile, and is given nothing.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._classes cimport class_contended
from fastlock._delays cimport FWaited, wait_began, wait_ended
from fastlock._facts cimport circle_event, circle_of, found_key, raw_report, wait_event
from fastlock._loop_facts cimport tell_loop
from fastlock._native cimport *
from fastlock._options cimport LockOptions, options_of
from fastlock._order cimport order_forget_pairs
from fastlock._park cimport *
from fastlock._shown cimport wait_begin
from fastlock._sites cimport site_here
from fastlock._stall cimport park
from fastlock._resolve cimport examine_all, leads_nowhere
from fastlock._table cimport *
from fastlock._tasks cimport running_task
from fastlock._found cimport NOTHING, Found, confirm, release_found, stands_still, top_of

cdef extern from "Python.h":
    int Py_MakePendingCalls() except -1
    void PyErr_SetObject(object, object)
    void PyErr_WriteUnraisable(object)

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int, const void*, size_t)

cdef enum:
    LOCK_INTR = 2              # PyLockStatus: a signal arrived
    RAW_SEEN_MAX = 4096
    AGAIN_NS = 2000000          # after which a wait for what a task may hold looks again, and then after four times as long each
    MOST_AGAIN_NS = 10000000000
    SLOW = 20                  # what a wait has reported: itself, where it is not the key of a circle

cdef bint looking = True
cdef int64_t slow_wait_ns = 10000000000
cdef int64_t acquire_timeout_ns = -1
cdef int64_t loop_block_ns = 100000000
cdef object handler = None
cdef object late_waker = None
cdef set raw_seen = set()
cdef str tell_loop_name = "counting the tasks of a loop"


cdef int acquire_blocking(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, int64_t timeout_ns) except -1:
    """Blocks with the lock's own limit, or the process's, where the call has none: LockTimeout when it is over."""
    cdef int64_t limit_ns = -1
    class_contended(L, me)
    if timeout_ns < 0:
        limit_ns = limit_of(L, mode)
    if limit_ns < 0:
        return block(L, me, mode, flags, timeout_ns, True)
    return block_for(L, me, mode, flags, limit_ns, True, True)


cdef int64_t limit_of(FLock* L, uint8_t mode) except? -2:
    """The limit of an acquire that was given none, -1 where it may last."""
    cdef LockOptions own = options_of(L) if L.marks & M_POLICY else None
    if own is not None and own.timeout_s is not None:
        return to_ns(own.timeout_s)
    return acquire_timeout_ns if mode != WAIT_PERMIT and not L.marks & M_SIGNAL else -1


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
    cdef FNode* n = wait_begin(me, L, mode, flags, timeout_ns, site_now())
    if enter(L, n) == TAKEN:
        wait_pop(me, n)
        return TAKEN
    return wait_out(L, me, n, policy, limited)


cdef uint32_t site_now() noexcept:
    return site_here(fl_site_key()) if looking else 0


cdef int wait_out(FLock* L, FSelf* me, FNode* n, bint policy, bint limited) except -1:
    """Waits in the queue that `n` has entered, and takes it out of the table whatever happens."""
    cdef int got = WAITING
    cdef FWaited* counted = NULL
    try:
        counted = wait_began(L, n) if looking else NULL
        got = wait(L, me, n, policy)
        if got == WAITING and limited:
            error = None if fl_finalizing() else call_handler(wait_event("timeout", me, L))
            raise error or TimeoutError("lock timeout")
    except BaseException:
        if leave(L, n) == TAKEN:
            hand_back(L, n.mode)
        raise
    finally:
        wait_ended(counted, n.since_ns)
        wait_pop(me, n)
    return got


cdef void hand_back(FLock* L, uint8_t mode) noexcept:
    """Passes on what an interrupted waiter had been given."""
    if mode == WAIT_EXCLUSIVE:
        give_back(L)
    elif mode == WAIT_SHARED:
        give_read(L, current_agent())
    elif mode == WAIT_UPGRADABLE:
        give_upgradable(L, current_agent())
    elif mode == WAIT_PERMIT:
        give_permits(L, 1, current_agent())
    elif mode == WAIT_NOTIFY:
        notify(L, 1, NULL, NULL)


cdef int wait(FLock* L, FSelf* me, FNode* n, bint policy) except -1:
    """Parks until the lock is taken or the deadline is over; looks for circles when it starts and when things change."""
    cdef int64_t now, until, slow_at = -1, loop_at = -1, again_at = -1, again_ns = AGAIN_NS
    cdef uint64_t reported = 0
    cdef bint wakes, looks, blocks, says, late = False
    cdef int rc
    if me.loops != 0:
        fl_store64(&n.task, <uint64_t>running_task())
    policy = policy or top_of(me) != n      # a condition or event inside of the wait for a result may be left by an exception
    if fl_finalizing():
        fl_refuse_at_exit()
    elif top_of(me) == n and look(L, me, n, policy, False, &reported) == TAKEN:     # else who waits outside of this has looked
        return TAKEN
    if slow_wait_ns >= 0:
        slow_at = n.since_ns + slow_wait_ns
    if me.loops and loop_block_ns >= 0 and top_of(me) == n:     # the condition inside a future is no lock of the program's
        loop_at = n.since_ns + loop_block_ns
    if loops_seen and n.mode != WAIT_FLAG and (n.mode != WAIT_NOTIFY or top_of(me) != n):
        again_at = n.since_ns + again_ns
    while True:
        now = fl_now_ns()
        if n.deadline_ns >= 0 and now >= n.deadline_ns:
            return leave(L, n)
        until = sooner(sooner(sooner(n.deadline_ns, slow_at), loop_at), again_at)
        with nogil:
            pay(me)         # with the GIL gone, so that who wakes can take it
            rc = park(me, until - now if until >= 0 and until > now else 0 if until >= 0 else -1)
        wakes = looks = rc == LOCK_INTR
        says = False
        if not wakes and again_at >= 0 and fl_load8(&n.state) == N_QUEUED and again_at <= fl_now_ns():
            # Who has only come to look again leaves a free lock to the one who has been told that it is free, and is on the way.
            if L.woken:
                again_at = fl_now_ns() + AGAIN_NS
                continue
            again_ns = min(4 * again_ns, <int64_t>MOST_AGAIN_NS)
            again_at = fl_now_ns() + again_ns
            wakes = True
            looks = may_suspend_holder(L)
        elif not wakes and settle(L, n) == TAKEN:
            return TAKEN
        now = fl_now_ns()
        blocks = 0 <= loop_at <= now
        if 0 <= slow_at <= now:
            slow_at = -1
            late = looks = says = True
        if fl_load8(&me.recheck):
            fl_store8(&me.recheck, 0)
            looks = True
            says = late
        if not (wakes or looks or blocks):
            continue                # told that the lock is free, and somebody was faster
        # Also where no park was interrupted: a signal may have come while this thread was awake, or waited for the GIL.
        if run_handlers(L, n) == TAKEN:
            return TAKEN
        if blocks:
            loop_at = -1
            looks = True
            if tell_of_loop(L, me, n, reported) == TAKEN:
                return TAKEN
        if looks and look(L, me, n, policy, late, &reported) == TAKEN:
            return TAKEN
        if says and say_late(L, n) == TAKEN:
            return TAKEN


cdef int say_late(FLock* L, FNode* n) except -1:
    """Has stalls looked for; TAKEN where the lock came meanwhile."""
    cdef int got
    if late_waker is None or not looking or fl_finalizing():
        return WAITING
    got = suspend(L, n)
    wait_is_late()
    return TAKEN if got == TAKEN else resume(L, n)


cdef int run_handlers(FLock* L, FNode* n) except -1:
    """Runs the signal handlers that are due; TAKEN where the lock came meanwhile."""
    if suspend(L, n) == TAKEN:
        return TAKEN                # they run as soon as bytecode does
    Py_MakePendingCalls()
    return resume(L, n)


cdef bint may_suspend_holder(FLock* L) noexcept:
    """Whether a task may hold the lock: what that one awaits is in no table, so it may close a circle unseen, after this wait has begun."""
    cdef FSelf* owner = agent_of(fl_load64(&L.word))
    return owner == NULL or owner.task != NULL or owner.loops != 0


cdef int tell_of_loop(FLock* L, FSelf* me, FNode* n, uint64_t reported) except -1:
    """Reports that an event loop's thread is blocked (FL006), unless a circle says why; TAKEN where the lock came meanwhile."""
    cdef int got
    if not looking or reported != 0 or fl_finalizing():
        return WAITING
    event = wait_event("FL006", me, L)
    got = suspend(L, n)
    try:
        try:
            tell_loop(event, me)
        except Exception as error:      # of a task's or a loop's own methods
            show_ignored(error, tell_loop_name)
        call_handler(event)
    except BaseException:
        if got == TAKEN:
            hand_back(L, n.mode)
        raise
    return TAKEN if got == TAKEN else resume(L, n)


cdef int look(FLock* L, FSelf* me, FNode* n, bint policy, bint late, uint64_t* reported) except -1:
    """Looks for a circle or a dead owner and reports it once; TAKEN where the lock came meanwhile."""
    cdef Found found
    cdef int code, got = WAITING
    cdef uint64_t key
    cdef bint taken
    if not looking or fl_finalizing():
        return WAITING          # at the end nothing is looked for: what reports need is being taken apart
    if L.kind == K_SEMAPHORE and not late:
        return WAITING          # what is never proven is told when it lasts
    while got == WAITING:
        code = examine_all(me, &found, L, n, &taken)
        if taken:
            return TAKEN
        if code == NOTHING:
            if not late or reported[0] != 0 or not is_kept(L):
                return WAITING
            reported[0] = SLOW
            got = tell(L, n, wait_event("FL020", me, L), False)
            continue        # whoever closed a circle meanwhile took this agent for one that runs
        key = found_key(&found)
        if (key == reported[0] or not (found.proven or late) or (top_of(me) != n and key in raw_seen)
                or not confirm(&found)):
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


cdef object look_for_task(FLock* L, FSelf* me, FNode* n, bint policy):
    """The same for a task that is about to wait: returns what a policy wants raised, None where it may wait."""
    cdef Found found
    cdef bint taken
    if not looking or fl_finalizing() or L.kind == K_SEMAPHORE:
        return None             # a semaphore's circle is never proven, and told when it lasts
    if L.kind <= K_RLOCK and (L.word == 0 or leads_nowhere(me, agent_of(L.word))):
        return None             # somebody is on the way to the lock, or it is held by who can go on; of other kinds the word does not say that
    if examine_all(me, &found, L, NULL, &taken) == NOTHING:
        return None
    if not found.proven or not confirm(&found):
        release_found(&found)
        return None
    circle = circle_of(&found)
    write_raw(&found, found_key(&found))
    event = circle_event(circle, me)
    if not policy:
        event["policy"] = "report"
    answer = call_handler(event)
    return answer if policy else None


cdef void wait_is_late() noexcept:
    """Called by a thread once its wait has lasted for slow_wait, by itself where it parks in the interpreter's own lock and not in wait(); waits go on."""
    if late_waker is None or not looking or fl_finalizing():
        return
    try:
        late_waker()
    except Exception as error:
        show_ignored(error, late_waker)


cdef object task_timed_out(FLock* L, FSelf* me):
    """The exception of a task whose wait has outlasted the lock's own limit."""
    return call_handler(wait_event("timeout", me, L)) or TimeoutError("lock timeout")


cdef bint is_kept(FLock* L) noexcept:
    """Whether what is waited for is held by somebody, as far as is known."""
    if L.marks & M_SIGNAL or L.kind >= K_RESULT:
        return False        # work may last
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
    except Exception as error:  # not what a signal handler raises to end the program
        show_ignored(error, handler)
        return None


cdef void show_ignored(object error, object where) noexcept:
    """Shows an error that nobody can be given, as the interpreter does it."""
    PyErr_SetObject(type(error), error)
    PyErr_WriteUnraisable(where)


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

cdef void look_for_circles(bint on) noexcept:
    global looking
    looking = on


cdef bint is_looking() noexcept:
    return looking


cdef int64_t slow_after() noexcept nogil:
    """Nanoseconds after which a wait is slow, -1 for never."""
    return slow_wait_ns


cdef bint raw_known(uint64_t key):
    """Whether a circle of these sites has had its raw report."""
    return key in raw_seen


def set_limits(int64_t slow_wait, int64_t acquire_timeout, int64_t loop_block):
    """Nanoseconds after which a wait is slow, an acquire without limit fails, and a wait blocks a loop for too long; -1 for never."""
    global slow_wait_ns, acquire_timeout_ns, loop_block_ns
    loop_block_ns = loop_block
    slow_wait_ns = slow_wait
    acquire_timeout_ns = acquire_timeout
    order_forget_pairs()        # whether an acquire can last for ever is part of what the graph was told


def find_circles():
    """Every circle and orphaned lock there is now, as events, each once; cost: a walk for each waiting agent."""
    cdef uint32_t i
    cdef FSelf* s
    cdef Found found
    cdef bint taken
    events = []
    told = set()            # who is in a circle that has been found: it would be found from each of its agents
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if fl_load8(&s.pub.state) != A_ALIVE or s.top == NULL or s.word in told or stands_still(s) or examine_all(s, &found, NULL, NULL, &taken) == NOTHING:
            continue
        circle = circle_of(&found)
        if confirm(&found):
            told.update([found.edges[j].agent_word for j in range(found.n)])
            event = circle_event(circle, s)
            event["closing"] = None
            events.append(event)
    return events


def set_late_waker(waker):
    """waker() is called in a thread whose wait has lasted for slow_wait and is looked after by nobody else: it makes somebody look at all that wait."""
    global late_waker
    late_waker = waker


def set_handler(new_handler):
    """The one callback: handler(event) in the waiting agent, with the GIL and no mutex held."""
    global handler
    handler = new_handler
