# cython: language_level=3, binding=False
"""A native thread that listens on a socket: it is asleep in poll(), without the GIL and without a thread state, until somebody comes.

Python does not know of it, and it is no part of `threading`. `stop` takes it down for a fork and waits until the system does not
count it any more: who forks from one thread still does so from one, and CPython's warning, which counts the system's threads, is not met.

Guards. `current` and what `listen_on` changes: the GIL. `asked` and `state` are atomic: the thread and the one who stops it agree by
`state` on who frees the record. Who wakes the thread: a connection, the end of a level, its own look at what has changed after
FIRST_LOOK_NS and then ever more rarely. Who stops it sets `asked` and connects. Signals are not delivered to it; a fork does not copy
it; at the interpreter's end it is stopped, or stays in poll() until the process is gone.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport geteuid, usleep

from fastlock._native cimport fl_cas64, fl_load32, fl_load64, fl_native_id, fl_now_ns, fl_store32

cdef extern from "_listen.h" nogil:
    ctypedef struct fl_file:
        int fd
    int fl_file_note(fl_file*, int)
    bint fl_file_is_there(fl_file*)
    bint fl_somebody_comes(int, int64_t)
    int fl_thread_new(void* (*)(void*) noexcept nogil, void*)
    void fl_thread_name(const char*)
    bint fl_thread_exists(uint32_t)

cdef enum:
    RUNS = 0                    # `state`: the thread runs and somebody may wait for it
    ENDED = 1                   # it has ended, and who stops it frees the record
    LEFT = 2                    # nobody waits any more, and it frees the record itself
    FIRST_LOOK_NS = 500000000
    LAST_LOOK_NS = 64000000000
    MORE_RARELY = 4
    NAP_US = 20

CALLED, DUE, CHANGED = 1, 2, 4  # why the handler is called: somebody has come, a time has come, the socket or the user is another

ctypedef struct Listener:
    fl_file listens
    int64_t due_ns              # -1: never
    uint64_t state
    uint32_t asked
    uint32_t native_id
    uint32_t euid

cdef Listener* current = NULL
cdef object handler = None


cdef int64_t next_look(Listener* l, int64_t patience_ns) noexcept nogil:
    cdef int64_t left_ns
    if l.due_ns < 0:
        return patience_ns
    left_ns = l.due_ns - fl_now_ns()
    return patience_ns if left_ns > patience_ns else left_ns


cdef int reasons(Listener* l, bint came) noexcept nogil:
    cdef int why = 0
    if geteuid() != l.euid or not fl_file_is_there(&l.listens):
        why = 4
    elif came:
        why = 1
    if 0 <= l.due_ns <= fl_now_ns():
        why |= 2
    return why


cdef void* run(void* argument) noexcept nogil:
    cdef Listener* l = <Listener*>argument
    cdef int64_t patience_ns = FIRST_LOOK_NS
    cdef bint came
    cdef int why
    fl_thread_name(b"fastlock-listen")
    fl_store32(&l.native_id, fl_native_id())
    while True:
        came = fl_somebody_comes(l.listens.fd, next_look(l, patience_ns))
        if fl_load32(&l.asked):
            break
        if not came and patience_ns < LAST_LOOK_NS:
            patience_ns *= MORE_RARELY
        why = reasons(l, came)
        if why:
            with gil:
                if not fl_load32(&l.asked):
                    tell(l, why)
            if fl_load32(&l.asked):
                break
    if not fl_cas64(&l.state, RUNS, ENDED):
        free(l)
    return NULL


cdef void tell(Listener* l, int why) noexcept:
    """The handler catches what can go wrong; an exception in spite of that is printed as unraisable, and no time is due any more."""
    l.due_ns = -1
    l.due_ns = handler(why)


def start(int fd, new_handler, int64_t due_ns):
    """Listen on a socket: `new_handler(reasons)` is called in the thread, first at `due_ns` if nobody comes, and returns the next such time, -1 for none.

    A thread that listens already is left, and ends by itself. OSError where there is none to be had.
    """
    global current, handler
    cdef Listener* l = <Listener*>calloc(1, sizeof(Listener))
    cdef int error
    if l == NULL:
        raise MemoryError
    if fl_file_note(&l.listens, fd) != 0:
        free(l)
        raise OSError("no such descriptor")
    l.due_ns = due_ns
    l.euid = geteuid()
    leave()
    handler = new_handler
    error = fl_thread_new(run, l)
    if error:
        free(l)
        raise OSError(error, "no thread for the socket")
    current = l


cdef void leave() noexcept:
    """Have nothing to do with the thread any more, which ends when it wakes."""
    global current
    cdef Listener* l = current
    current = NULL
    if l != NULL:
        fl_store32(&l.asked, 1)
        if not fl_cas64(&l.state, RUNS, LEFT):
            free(l)


def ask():
    """Ask the thread to end, which it does when somebody comes; tell whether there is one."""
    if current == NULL:
        return False
    fl_store32(&current.asked, 1)
    return True


def wait_for_end(double limit_s):
    """Wait until the thread that was asked is gone, for the system as well; False where it is not after that time. Lets the GIL go."""
    global current
    cdef Listener* l = current
    cdef int64_t end_ns = fl_now_ns() + <int64_t>(limit_s * 1e9)
    cdef uint32_t native_id
    cdef bint ended
    if l == NULL:
        return True
    current = NULL
    with nogil:
        while fl_load64(&l.state) == RUNS and fl_now_ns() < end_ns:
            usleep(NAP_US)
        native_id = fl_load32(&l.native_id)
        ended = not fl_cas64(&l.state, RUNS, LEFT)
        if ended:
            free(l)
            while fl_thread_exists(native_id) and fl_now_ns() < end_ns:
                usleep(NAP_US)
    return ended


def is_running():
    """Tell whether a thread listens."""
    return current != NULL


def forget():
    """In the child of a fork, which does not have the thread: its record is lost, 56 bytes."""
    global current
    current = NULL
