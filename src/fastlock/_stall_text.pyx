# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What the watching thread says of a stall: plain memory made into text without the GIL, and written by write(2).

No Python objects are touched but by looking at their bytes, see _peek.h. Agents, nodes, locks and sites are type-stable: a line about a
wait that turns out to be over by then is taken back. One thread at a time.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from fastlock._contended cimport FContended, contended_of
from fastlock._mapping cimport A_STRINGS, record_at
from fastlock._native cimport *
from fastlock._sites cimport FSite, site_at, site_fast
from fastlock._table cimport *
from fastlock._found cimport top_of

cdef extern from "_peek.h" nogil:
    ctypedef struct fl_text:
        char* text
        size_t used
        size_t room
    int fl_peek(void*, uintptr_t, size_t)
    void fl_say(fl_text*, const char*, ...)
    void fl_say_bytes(fl_text*, const char*, size_t)
    int fl_say_place(fl_text*, uintptr_t, int, int)
    uintptr_t fl_peek_innermost(uintptr_t)
    uintptr_t fl_say_frame(fl_text*, const char*, uintptr_t, int*)
    void fl_say_doing(fl_text*, unsigned long)
    int fl_say_comm(fl_text*, unsigned long)
    unsigned long fl_holder_ident(uint64_t)
    unsigned long fl_holder_tid(uint64_t)

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int, const void*, size_t)
    int getpid()

cdef enum:
    RAW_WAITS = 12             # a report names this many waits
    RAW_FRAMES = 12            # and this many calls of who holds the GIL
    ROOM = 16384

cdef const char* kinds[11]
kinds[:] = [b"lock", b"Lock", b"RLock", b"RWLock", b"Semaphore", b"Condition", b"Event", b"Barrier", b"Result", b"ThreadPoolExecutor", b"Wait"]
cdef char room[ROOM]
cdef fl_text text


cdef void begin() noexcept nogil:
    text.text = room
    text.used = 0
    text.room = ROOM
    room[0] = 0


cdef void send() noexcept nogil:
    """Writes the text in one piece where standard error takes it so; nobody to tell where it is closed."""
    cdef size_t at = 0
    cdef ssize_t written
    while at < text.used:
        written = write(2, text.text + at, text.used - at)
        if written <= 0:
            return
        at += <size_t>written


cdef void say_duration(int64_t ns) noexcept nogil:
    cdef int64_t ms = max(ns, <int64_t>0) // 1000000
    if ms < 1000:
        fl_say(&text, "%lld ms", <long long>ms)
    elif ms < 10000:
        fl_say(&text, "%lld.%lld s", <long long>(ms // 1000), <long long>(ms % 1000 // 100))
    else:
        fl_say(&text, "%lld s", <long long>(ms // 1000))


cdef void say_agent(FSelf* s) noexcept nogil:
    cdef char name[48]
    name[0] = 0
    fl_peek(name, <uintptr_t>s.pub.name, sizeof(name))
    if name[0]:
        fl_say_bytes(&text, name, sizeof(name))
    elif fl_get32(&s.pub.native_id) == <uint32_t>getpid():
        fl_say(&text, "MainThread")
    else:
        fl_say(&text, "Thread %u", fl_get32(&s.pub.native_id))


cdef FSelf* agent_with(unsigned long ident) noexcept nogil:
    cdef uint32_t i
    cdef FSelf* s
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if fl_load8(&s.pub.state) == A_ALIVE and fl_load64(&s.task) == 0 and fl_get64(&s.pub.ident) == ident:
            return s
    return NULL


cdef void say_holder(uint64_t tstate) noexcept nogil:
    """Who holds the GIL, what the thread does, and the calls that it is in."""
    cdef unsigned long ident = fl_holder_ident(tstate), tid = fl_holder_tid(tstate)
    cdef FSelf* s = agent_with(ident)
    cdef uintptr_t frame
    cdef const char* before = "fastlock:   in "
    cdef int said, count = 0, steps = 0
    if tid == 0 and s != NULL:
        tid = fl_get32(&s.pub.native_id)
    fl_say(&text, "thread ")
    if s != NULL:
        fl_say(&text, "\"")
        say_agent(s)
        fl_say(&text, "\"")
    elif tid == 0 or not fl_say_comm(&text, tid):
        fl_say(&text, "0x%lx, which has used no lock of fastlock's", ident)
    if tid:
        fl_say(&text, " (tid %lu)", tid)
        fl_say_doing(&text, tid)
    fl_say(&text, "\n")
    frame = fl_peek_innermost(tstate) if site_fast else 0
    while frame != 0 and count < RAW_FRAMES and steps < 4 * RAW_FRAMES:
        frame = fl_say_frame(&text, before, frame, &said)
        steps += 1
        if said:
            before = "fastlock:   by "
            count += 1
            fl_say(&text, "\n")


cdef void say_site(uint32_t site) noexcept nogil:
    cdef FSite* s = site_at(site) if site != 0 else NULL
    cdef uintptr_t code = <uintptr_t>fl_load64(&s.code) if s != NULL else 0
    if code == 0 or not fl_say_place(&text, code, s.lasti, 0):
        fl_say(&text, "unknown site")


cdef void say_lock(FLock* L) noexcept nogil:
    """The lock's name as reports have it: who waits has put it into the mapping, where there was room."""
    cdef const char* kind = kinds[L.kind if L.kind <= K_OPAQUE else 0]
    cdef FContended* c = contended_of(L)
    cdef uint32_t name = fl_get32(&c.name) if c != NULL else 0
    if name != 0:
        fl_say_bytes(&text, <const char*>record_at(A_STRINGS, name + 4), fl_load32(record_at(A_STRINGS, name)))
        return
    if L.created == 0:
        fl_say(&text, "unnamed %s", kind)
        return
    fl_say(&text, "%s@", kind)
    say_site(L.created)


cdef bint say_wait(FSelf* s, int64_t now) noexcept nogil:
    """One wait, in a line; nothing where it is over by now."""
    cdef FNode* n = top_of(s)
    cdef uint64_t number = fl_get64(&n.wait_number) if n != NULL else 0
    cdef FLock* at = lock_at(fl_get32(&n.lock_index)) if n != NULL else NULL
    cdef FLock L                # a copy, for fast paths store plainly
    cdef size_t before = text.used
    cdef FSelf* owner
    if at == NULL or not fl_peek(&L, <uintptr_t>at, sizeof(FLock)):
        return False
    fl_say(&text, "fastlock:   ")
    say_agent(s)
    if L.kind != K_RWLOCK:
        fl_say(&text, " waits for ")
    elif fl_get8(&n.mode) == WAIT_SHARED:
        fl_say(&text, " waits to read ")
    elif fl_get8(&n.mode) == WAIT_UPGRADABLE:
        fl_say(&text, " waits to read upgradably ")
    else:
        fl_say(&text, " waits to write ")
    say_lock(&L)
    fl_say(&text, " [")
    say_site(fl_get32(&n.site))
    fl_say(&text, "] ")
    say_duration(now - fl_get_ns(&n.since_ns))
    owner = agent_of(L.word) if L.kind < K_RESULT and not L.marks & M_SIGNAL else NULL
    if owner != NULL and owner != s:
        fl_say(&text, ", held by ")
        say_agent(owner)
        fl_say(&text, " [")
        say_site(L.site)
        fl_say(&text, "]")
    fl_say(&text, "\n")
    if top_of(s) != n or fl_get64(&n.wait_number) != number or L.serial != fl_get64(&n.lock_serial):
        text.used = before
        return False
    return True


cdef void say_waits(int64_t now) noexcept nogil:
    cdef uint32_t i, said = 0, more = 0
    cdef FSelf* s
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if not is_parked(s):
            continue
        if said == RAW_WAITS:
            more += 1
        elif say_wait(s, now):
            said += 1
    if more:
        fl_say(&text, "fastlock:   and %u more wait\n", more)


cdef void write_stall(int64_t stalled_ns, uint64_t tstate, int64_t now) noexcept nogil:
    """Makes the report of a stall: the thread of that state holds the GIL. send() writes it."""
    begin()
    fl_say(&text, "fastlock: the GIL has not moved for ")
    say_duration(stalled_ns)
    fl_say(&text, " (pid %d): held by ", getpid())
    say_holder(tstate)
    say_waits(now)


cdef void send_end(int64_t stalled_ns) noexcept nogil:
    """Says that the stall which has been told is over."""
    begin()
    fl_say(&text, "fastlock: the GIL moved again after ")
    say_duration(stalled_ns)
    fl_say(&text, " (pid %d)\n", getpid())
    send()
