# cython: language_level=3, binding=False
"""A native thread that listens on a socket: it is asleep, without the GIL and without a thread state, until somebody comes.

Python does not know of it, and it is no part of `threading`. It is taken down for a fork, until the system does not count it any
more: who forks from one thread still does so from one, and CPython's warning, which counts the system's threads, is not met.

It begins without a socket, and its handler makes one with the first look: a process that lives shorter makes none, and one that gives
up being root just after a fork makes it as who it is then.

The child of a fork by another thread than the main one ends with its last thread, and the interpreter does not: there this thread has
to see for itself that it is the only one left, and ends too. It looks more often there, for the process is still there until then.

Who stops it keeps the GIL: another thread that got it in the middle of a fork could end the interpreter there, which a plain `os.fork()` does
not let it do. So the two have to know of each other that the thread will not want the GIL any more, as in Dekker's algorithm: the thread
says that it calls, and then looks whether it is asked to end; who stops it asks, and then looks whether it calls. Only where it
does is the GIL let go, for the call must end, and where nothing wakes the thread.

Guards. `current`, `listens` and `name`: the GIL, and the thread reads the latter two itself, which only its own handler changes. `asked`, `calls` and
`state` are atomic: by `state` the thread and the one who stops it agree on who frees the record. Who wakes the thread: a connection, the end of a
level, its own looks, which come ever more rarely. Who stops it sets `asked`, rings, and connects. Signals are not delivered to
it; a fork does not copy it; at the interpreter's end it is stopped, or stays asleep until the process is gone.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport geteuid, getpid

from fastlock._native cimport fl_cas64, fl_fence, fl_frame, fl_frame_current, fl_load32, fl_native_id, fl_now_ns, fl_store32

cdef extern from "Python.h":
    int PY_VERSION_HEX
    int Py_AddPendingCall(int (*)(void*) noexcept, void*)

cdef extern from "_listen.h" nogil:
    ctypedef struct fl_file:
        int fd
    int fl_file_note(fl_file*, int)
    bint fl_file_is_there(fl_file*)
    ctypedef struct fl_name:
        pass
    void fl_name_note(fl_name*, const char*, size_t)
    bint fl_name_is_gone(const fl_name*)
    bint fl_knock(const fl_name*)
    bint fl_somebody_comes(int, int64_t)
    ctypedef struct fl_bell:
        pass
    void fl_bell_init(fl_bell*)
    void fl_bell_ring(fl_bell*)
    void fl_bell_wait(fl_bell*, int64_t)
    void fl_bell_free(fl_bell*)
    void fl_turn_away(int)
    ctypedef struct pthread_t:
        pass
    int pthread_detach(pthread_t)
    int sched_yield()
    int fl_thread_new(pthread_t*, void* (*)(void*) noexcept nogil, void*)
    bint fl_thread_ends(pthread_t, int64_t)
    void fl_thread_name(const char*)
    bint fl_thread_exists(uint32_t)
    bint fl_python_has_threads()

cdef enum:
    KEPT = 0                    # `state`: the thread's record is freed by who stops it
    LEFT = 1                    # nobody waits for the thread any more, and it frees the record itself
    ENDED = 2                   # it did not see to its record any more when it ended
    IS_CALLED = 1               # reasons for calling the handler, in Python CALLED and CHANGED; a time that has come is none of its own
    IS_CHANGED = 2
    FIRST_LOOK_NS = 250000000
    LAST_LOOK_NS = 64000000000
    LAST_LOOK_IF_LEFT_NS = 1000000000
    MORE_RARELY = 4
    MOST_LOOKS = 1000           # for a frame that has ended meanwhile
    STOP_LIMIT_NS = 500000000   # that a fork waits for a call which is being answered, or for a machine that does not run the thread

CALLED, CHANGED = IS_CALLED, IS_CHANGED
FIRST_LOOK = FIRST_LOOK_NS

ctypedef struct Listener:
    fl_file listens             # fd -1: on nothing
    fl_name name
    fl_bell bell
    pthread_t thread
    int64_t due_ns              # -1: never
    int64_t look_ns             # from the start to the first look
    bint may_be_left            # no end of the interpreter stops the thread
    uint64_t state
    uint32_t asked
    uint32_t calls              # it has the GIL, or waits for it
    uint32_t native_id
    uint32_t euid

cdef Listener* current = NULL
cdef object handler = None
cdef object resume = None       # what after_fork_in_parent() calls
cdef fl_frame* forks = NULL     # the frame that has forked
cdef int looks_left = 0


cdef void free_listener(Listener* l) noexcept nogil:
    fl_bell_free(&l.bell)
    free(l)


cdef bint wait(Listener* l, int64_t patience_ns) noexcept nogil:
    """Sleep until somebody comes (then true), a time has come, or it is time to look."""
    cdef int64_t left_ns
    if l.due_ns >= 0:
        left_ns = l.due_ns - fl_now_ns()
        if left_ns < patience_ns:
            patience_ns = left_ns
    if l.listens.fd < 0:
        fl_bell_wait(&l.bell, patience_ns)
        return False
    return fl_somebody_comes(l.listens.fd, patience_ns)


cdef void* run(void* argument) noexcept nogil:
    cdef Listener* l = <Listener*>argument
    cdef int64_t patience_ns = l.look_ns
    cdef int64_t most_ns = LAST_LOOK_IF_LEFT_NS if l.may_be_left else LAST_LOOK_NS
    cdef bint came, is_due
    cdef int why
    fl_thread_name(b"fastlock-listen")
    fl_store32(&l.native_id, fl_native_id())
    while True:
        came = wait(l, patience_ns)
        if fl_load32(&l.asked) or not fl_python_has_threads():
            break
        if geteuid() != l.euid or not fl_file_is_there(&l.listens) or (not came and fl_name_is_gone(&l.name)):
            why = IS_CHANGED
        else:
            why = IS_CALLED if came else 0
        is_due = 0 <= l.due_ns <= fl_now_ns()
        if not came and not is_due and patience_ns < most_ns:
            patience_ns = max(patience_ns, <int64_t>FIRST_LOOK_NS) * MORE_RARELY
        if why or is_due:
            call(l, why)
        if fl_load32(&l.asked):
            break
        if l.listens.fd >= 0 and not fl_file_is_there(&l.listens):
            l.listens.fd = -1           # no other socket was to be had; the handler is asked again with the next look
    if not fl_cas64(&l.state, KEPT, ENDED):
        free_listener(l)
    return NULL


cdef void call(Listener* l, int why) noexcept nogil:
    fl_store32(&l.calls, 1)
    fl_fence()                          # pairs with the one in stop()
    if not fl_load32(&l.asked):
        with gil:
            if not fl_load32(&l.asked):
                tell(l, why)
    fl_store32(&l.calls, 0)


cdef void tell(Listener* l, int why) noexcept:
    """The handler catches what can go wrong; an exception in spite of that is printed as unraisable, and no time is due any more."""
    l.due_ns = -1
    l.due_ns = handler(why)


cdef void set_socket(Listener* l, int fd, bytes address) noexcept:
    l.euid = geteuid()
    if fd < 0 or fl_file_note(&l.listens, fd) != 0:
        l.listens.fd = -1
    fl_name_note(&l.name, address, len(address))


def start(int fd, bytes address, new_handler, int64_t due_ns, int64_t look_ns, bint may_be_left):
    """Begin to listen on a socket and its address, or with -1 without one: `new_handler(reason)` is called in the thread.

    With CALLED when somebody has come, with CHANGED where the socket or the user is another, with 0 at `due_ns`; it returns when that is next, -1
    for never. An abstract address begins with a zero. The first look comes after `look_ns`. `may_be_left`: the process may end without the interpreter's ending.
    A thread that listens already is left, and ends when it wakes. Keeps the GIL.
    OSError where there is none to be had.
    """
    global current, handler
    cdef Listener* l = <Listener*>calloc(1, sizeof(Listener))
    cdef int error
    if l == NULL:
        raise MemoryError
    fl_bell_init(&l.bell)
    set_socket(l, fd, address)
    l.due_ns = due_ns
    l.look_ns = look_ns
    l.may_be_left = may_be_left
    leave()
    handler = new_handler
    error = fl_thread_new(&l.thread, run, l)
    if error:
        free_listener(l)
        raise OSError(error, "no thread can be started")
    current = l


def listen_on(int fd, bytes address):
    """In the handler: go on with another socket, as the user that there is now."""
    if current != NULL:
        set_socket(current, fd, address)


cdef void let_go(Listener* l) noexcept nogil:
    """Leave a thread to itself; the last one of it and us frees the record."""
    pthread_detach(l.thread)
    if not fl_cas64(&l.state, KEPT, LEFT):
        free_listener(l)


cdef void leave() noexcept:
    """Have nothing to do with the thread any more, which ends when it wakes."""
    global current
    cdef Listener* l = current
    current = NULL
    if l != NULL:
        fl_store32(&l.asked, 1)
        fl_bell_ring(&l.bell)
        let_go(l)


def stop():
    """Take the thread down, as far as it comes in time; a hook for os.register_at_fork. Keeps the GIL, unless the thread is in a call.

    One that could not be waked, or does not come to its end, is left, and ends when it wakes.
    """
    global current
    cdef Listener* l = current
    cdef bint waked
    if l == NULL:
        return
    current = NULL
    fl_store32(&l.asked, 1)
    fl_fence()                          # pairs with the one in call()
    fl_bell_ring(&l.bell)
    waked = l.listens.fd < 0 or fl_knock(&l.name)
    if waked and not fl_load32(&l.calls):
        end(l)
    else:
        with nogil:
            end(l)


cdef void end(Listener* l) noexcept nogil:
    """Wait until the thread that was asked is gone, for the system as well; leave it where that takes too long."""
    cdef int64_t end_ns = fl_now_ns() + STOP_LIMIT_NS
    cdef uint32_t native_id
    if not fl_thread_ends(l.thread, STOP_LIMIT_NS):
        let_go(l)
        return
    if l.listens.fd >= 0 and fl_file_is_there(&l.listens):
        fl_turn_away(l.listens.fd)      # our own knock, which the next thread would take for a call
    native_id = fl_load32(&l.native_id)
    free_listener(l)
    while fl_thread_exists(native_id) and fl_now_ns() < end_ns:
        sched_yield()


def is_running():
    """Tell whether a thread listens."""
    return current != NULL


def set_resume(new_resume):
    """resume() goes on in the parent of a fork."""
    global resume
    resume = new_resume


cdef int resume_later(void* unused) noexcept:
    """Goes on once the frame that has forked runs again; an exception is printed as unraisable."""
    global looks_left
    looks_left -= 1
    if fl_frame_current() == forks or looks_left < 0 or Py_AddPendingCall(resume_later, NULL) != 0:
        resume()
    return 0


def after_fork_in_parent():
    """The hook for os.register_at_fork.

    3.13 alone counts the threads that its warning of a fork is about after these hooks. So there the main thread goes on a moment later, when
    it is out of them: by a pending call, which a hook in Python that comes after this one would run too early, and puts off.
    """
    global forks, looks_left
    if 0x030D0000 <= PY_VERSION_HEX < 0x030E0000 and fl_native_id() == <uint32_t>getpid():
        forks = fl_frame_current()
        looks_left = MOST_LOOKS
        if Py_AddPendingCall(resume_later, NULL) == 0:
            return
    resume()


def forget():
    """In the child of a fork, which does not have the thread: its record is lost."""
    global current
    current = NULL
