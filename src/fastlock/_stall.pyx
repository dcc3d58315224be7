# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""A thread without the GIL that says who holds it, when it does not move for too long while somebody waits.

Life. The thread is there as long as a thread of the program's is parked in one of our waits, and no longer: a program that does
not block has none, and nobody who forks is warned of a thread that is not the program's. A waiter starts it, without the GIL, when it has
been parked for long_after(); the thread ends by itself when it looks and nobody is parked. It is stopped before a fork, for then
there is nothing of it to mend in the child, where the next long wait starts another; in the parent it goes on if somebody else
is parked. It is stopped for good when the interpreter ends. All signals are blocked in it, and it never attaches to Python.

Stalled. Who waits for the GIL longer than the switch interval asks the holder to let it go, and the request stands until somebody
else has taken it. So where two looks see the same holder, the same number of switches and a request, the GIL has not been
let go in between, and has been wanted all the time. A GIL that is free, that changes hands, or that nobody else wants, is never
stalled. Time during which this thread did not run itself (a stopped process, a machine that slept) does not count.

Guards. `gate`: started, ended, quits, barred, thread. `watching` and `limit_ns` are single words, read without it. `seen`, `since_ns`, `told`
and the text are the thread's own. What is read of the interpreter's is peeked at, see _peek.h; agents, nodes and sites are
type-stable, and read twice where they have to agree.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._native cimport *
from fastlock._stall_text cimport is_parked, send, send_end, write_stall
from fastlock._table cimport *

import atexit
import sys

cdef extern from "_gil.h" nogil:
    ctypedef struct fl_gil:
        uint64_t holder
        uint64_t switches
        int locked
        int wanted
    int fl_gil_read(fl_gil*)
    const char* fl_gil_open(unsigned long)

cdef extern from "_watcher.h" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct fl_gate:
        pass
    void fl_gate_init(fl_gate*)
    void fl_gate_enter(fl_gate*)
    void fl_gate_leave(fl_gate*)
    void fl_gate_signal(fl_gate*)
    void fl_gate_rest(fl_gate*, int64_t)
    int fl_thread_start(pthread_t*, void* (*)(void*) noexcept nogil)
    void fl_thread_name(const char*)
    int fl_thread_join(pthread_t, int64_t)

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)

cdef enum:
    TIMED_OUT = 0              # PyLockStatus

cdef int64_t SECOND = 1000000000
cdef int64_t MOST_LONG_NS = SECOND          # after which a wait is long, at the latest
cdef int64_t MOST_PERIOD_NS = 5 * SECOND    # from one look to the next, at the most
cdef int64_t TOLD_PERIOD_NS = SECOND // 2   # the same while the GIL is stalled, to see when it moves again
cdef int64_t LATE_NS = SECOND // 5          # a look that is later than this, and half a period, says that nothing ran
cdef int64_t FORK_LIMIT_NS = SECOND // 10   # for the thread to end: it is late only where standard error takes no more
cdef int64_t EXIT_LIMIT_NS = SECOND

cdef const char* why_not = NULL             # written at import
cdef fl_gate gate
cdef pthread_t thread
cdef bint started = False
cdef bint ended = False                     # it has, or will without looking again
cdef bint quits = False
cdef bint goes_on = False                   # after the fork
cdef int barred = 0                         # forks that go on, and the end of the interpreter
cdef uint32_t watching = 0                  # the thread will look again
cdef int64_t limit_ns = -1
cdef uint64_t looks = 0                      # `looks` and `stalls_told` are counted by the thread alone
cdef uint64_t stalls_told = 0

cdef fl_gil seen
cdef int64_t since_ns = 0                   # when `seen` was first seen with a request
cdef bint told = False
cdef uint32_t last_waiter = 0               # where a waiter was found last


# ---- in the waiter ------------------------------------------------------------------------------------------------

cdef int park(FSelf* me, int64_t timeout_ns) noexcept nogil:
    """Parks as fl_parker_wait() does; a long wait has the GIL watched. The wait is published already, with a fence."""
    cdef int64_t stall_ns = fl_get_ns(&limit_ns)
    cdef int64_t long_ns = long_after(stall_ns)
    cdef int64_t began
    cdef int rc
    if stall_ns < 0 or fl_load32(&watching) or 0 <= timeout_ns <= long_ns:
        return fl_parker_wait(me.parker, timeout_ns, True)
    began = fl_now_ns()
    rc = fl_parker_wait(me.parker, long_ns, True)
    if rc != TIMED_OUT:
        return rc
    watch()
    if timeout_ns >= 0:
        timeout_ns = max(began + timeout_ns - fl_now_ns(), <int64_t>0)
    return fl_parker_wait(me.parker, timeout_ns, True)


cdef int64_t long_after(int64_t stall_ns) noexcept nogil:
    return min(stall_ns // 2, MOST_LONG_NS)


cdef bint somebody_waits(uint32_t but_tid) noexcept nogil:
    """Whether a thread, other than one, is in a wait of ours: where one was last time, or anywhere in the table."""
    global last_waiter
    cdef uint32_t i
    cdef FSelf* s = agent_at(fl_get32(&last_waiter))
    if s != NULL and is_parked(s) and fl_get32(&s.pub.native_id) != but_tid:
        return True
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if is_parked(s) and fl_get32(&s.pub.native_id) != but_tid:
            fl_put32(&last_waiter, i)
            return True
    return False


# ---- the thread's life ----------------------------------------------------------------------------------------------

cdef void watch() noexcept nogil:
    """Starts the thread, unless it is there; where none is to be had, the next long wait tries again."""
    global started, ended, quits
    fl_gate_enter(&gate)
    if not barred:
        if started and ended:
            fl_thread_join(thread, SECOND)      # it does nothing any more but end
            started = False
        if not started:
            ended = quits = False
            fl_store32(&watching, 1)
            started = fl_thread_start(&thread, run) == 0
            if not started:
                fl_store32(&watching, 0)
    fl_gate_leave(&gate)


cdef bint stays() noexcept nogil:
    """Whether the thread is still needed; under the gate."""
    if quits:
        fl_store32(&watching, 0)
        return False
    if told:
        return True
    fl_store32(&watching, 0)
    fl_fence()          # pairs with the fence of a waiter between publishing its wait and reading `watching`
    if fl_get_ns(&limit_ns) >= 0 and somebody_waits(0):
        fl_store32(&watching, 1)
        return True
    return False


cdef void* run(void* nothing) noexcept nogil:
    global ended, told
    cdef int64_t due_ns = fl_now_ns(), now = due_ns, looked_ns = due_ns
    fl_thread_name("fastlock")
    told = False
    seen.wanted = 0
    fl_gate_enter(&gate)
    while stays():
        if now < due_ns:
            fl_gate_rest(&gate, due_ns)
        if quits:
            continue
        fl_gate_leave(&gate)
        now = fl_now_ns()
        look(now, now > due_ns + (due_ns - looked_ns) // 2 + LATE_NS)
        looked_ns = now
        now = fl_now_ns()
        due_ns = now + pause_ns(now)
        fl_gate_enter(&gate)
    ended = True
    fl_gate_leave(&gate)
    return NULL


cdef bint stop(int64_t within_ns) noexcept nogil:
    """Ends the thread, and lets none start; whether there was one. One that is held up in write(2) ends later, or goes on."""
    global started, quits, barred
    cdef pthread_t mine
    cdef bint was_there
    fl_gate_enter(&gate)
    barred += 1
    quits = True
    was_there = started
    started = False             # so that who else stops it does not wait for the same thread
    mine = thread
    fl_gate_signal(&gate)
    fl_gate_leave(&gate)
    if was_there and not fl_thread_join(mine, within_ns):
        fl_gate_enter(&gate)
        started = True
        fl_gate_leave(&gate)
    return was_there


cdef void before_fork() noexcept nogil:
    global goes_on
    cdef bint was_there = stop(FORK_LIMIT_NS)
    fl_gate_enter(&gate)
    goes_on = was_there


cdef void after_fork_parent() noexcept nogil:
    global barred, quits
    cdef bint again
    barred -= 1
    if barred == 0:
        quits = False           # where it was held up, and has not seen it
    again = goes_on and barred == 0 and (ended or not started) and fl_get_ns(&limit_ns) >= 0 and somebody_waits(fl_native_id())
    fl_gate_leave(&gate)
    if again:
        watch()


cdef void after_fork_child() noexcept nogil:
    global started, ended, quits, barred
    barred -= 1
    started = ended = quits = False
    fl_store32(&watching, 0)
    fl_gate_init(&gate)


def at_exit():
    """Ends the thread for good: what it looks at is about to be taken apart."""
    with nogil:
        stop(EXIT_LIMIT_NS)


# ---- looking ----------------------------------------------------------------------------------------------------------

cdef void look(int64_t now, bint late) noexcept nogil:
    """Compares the GIL with what it was at the last look; reports a stall, and its end."""
    global seen, since_ns, told
    cdef fl_gil gil
    cdef bint read = fl_gil_read(&gil)
    fl_add64(&looks, 1)
    if not read or not gil.wanted or not seen.wanted or gil.holder != seen.holder or gil.switches != seen.switches:
        if told:
            send_end(now - since_ns)
        told = False
        seen = gil
        seen.wanted = read and gil.wanted
        since_ns = now
    elif late and not told:
        since_ns = now
    elif not told and 0 <= fl_get_ns(&limit_ns) <= now - since_ns:
        told = tell(now)


cdef int64_t pause_ns(int64_t now) noexcept nogil:
    """How long to rest until the next look: not past the moment at which a stall would be told."""
    cdef int64_t stall_ns = fl_get_ns(&limit_ns)
    cdef int64_t period_ns = max(min(stall_ns // 2, MOST_PERIOD_NS), SECOND // 1000)
    if told:
        return min(period_ns, TOLD_PERIOD_NS)
    if seen.wanted:
        return max(min(period_ns, since_ns + stall_ns - now), SECOND // 1000)
    return period_ns


# ---- telling ------------------------------------------------------------------------------------------------------------

cdef bint tell(int64_t now) noexcept nogil:
    """Writes the report, unless the GIL has moved while it was made: then part of it may be about something else."""
    global stalls_told
    cdef fl_gil gil
    write_stall(now - since_ns, seen.holder, now)
    if not fl_gil_read(&gil) or not gil.wanted or gil.holder != seen.holder or gil.switches != seen.switches:
        return False
    fl_add64(&stalls_told, 1)
    send()
    return True


# ---- for Python -------------------------------------------------------------------------------------------------------

def set_limit(int64_t stall_ns):
    """Nanoseconds after which a GIL that does not move is told, -1 for never; never where works() is false."""
    global limit_ns
    cdef int64_t before = limit_ns
    if why_not != NULL:
        return
    fl_put_ns(&limit_ns, stall_ns)
    if stall_ns < 0 or stall_ns == before:
        return
    with nogil:
        fl_fence()
        if fl_load32(&watching):
            fl_gate_enter(&gate)
            fl_gate_signal(&gate)
            fl_gate_leave(&gate)
        elif somebody_waits(0):
            watch()


def works():
    """Whether a GIL that does not move can be seen here."""
    return why_not == NULL


def trouble():
    """Why it cannot, None where it can."""
    return None if why_not == NULL else (<bytes>why_not).decode()


def watches():
    """Whether the thread is there, because somebody waits."""
    return fl_load32(&watching) != 0


def counts():
    """How often the thread has looked, and how many stalls it has told, in this process and those that it was forked from."""
    return fl_relaxed64(&looks), fl_relaxed64(&stalls_told)


why_not = fl_gil_open(round(sys.getswitchinterval() * 1e6))
fl_gate_init(&gate)
pthread_atfork(before_fork, after_fork_parent, after_fork_child)
atexit.register(at_exit)
