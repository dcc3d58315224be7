# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""The ownership table: agents and lock records.

Guards. Allocation, and recycling: the GIL, and `table_mutex` as well where a native
thread without the GIL can come (its start and end). A record's fields: see the comments in _table.pxd.
Costs: a lock record is a list pop (a few ns); an agent is made once per thread.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport abort, calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strncpy

from fastlock._mapping cimport (
    A_AGENTS, area_used, has_room, mapping_after_fork, mapping_before_fork, mapping_in_child, mapping_renew, record_at)
from fastlock._native cimport *
from fastlock._task_names cimport name_field, write_task_name

import sys

cdef extern from "pthread.h" nogil:
    ctypedef unsigned int pthread_key_t
    int pthread_key_create(pthread_key_t*, void (*)(void*) noexcept nogil)
    int pthread_setspecific(pthread_key_t, const void*)
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil
    object PyObject_GenericGetAttr(object, object)
    void Py_INCREF(PyObject*)
    void Py_XDECREF(PyObject*)
    const char* PyUnicode_AsUTF8(object) except NULL

# ---- chunked arrays -----------------------------------------------------------------------------

cdef enum:
    AGENTS_PER_CHUNK = 256
    LOCKS_PER_CHUNK = 1024
    BUCKETS = 64
    # Recycle dead agents in batches: one sweep over all locks tells which of them still own one.
    DEAD_BATCH = 256
    MAX_CACHES = 8
    MOST_OF_A_NAME = 48        # bytes, the end included: FAgent.name

cdef FSelf* agent_chunks[65536]
cdef FAgent* public_chunks[65536]      # of those that find no room in the mapping
cdef FLock* lock_chunks[262144]

cdef uint32_t agents_used = 1          # index 0 is nobody
cdef uint32_t locks_used = 1
cdef uint32_t free_lock = 0            # list through FLock.site
cdef uint32_t free_agent = 0           # list through FSelf.next_dead
cdef uint32_t dead_first = 0
cdef uint32_t dead_last = 0
cdef uint32_t dead_count = 0
cdef uint64_t next_serial = 1

cdef dict modules = sys.modules
cdef fl_mutex table_mutex
cdef fl_mutex buckets[BUCKETS]
cdef pthread_key_t exit_key
cdef death_fn on_death = NULL
cdef forget_fn caches[MAX_CACHES]      # written at import only
cdef int n_caches = 0
cdef FSelf* fork_agent = NULL


cdef fl_mutex* bucket(FLock* L) noexcept nogil:
    return &buckets[L.index % BUCKETS]


# ---- agents -------------------------------------------------------------------------------------

cdef FSelf* agent_at(uint32_t index) noexcept nogil:
    if index == 0 or index >= fl_load32(&agents_used):
        return NULL
    return &agent_chunks[index // AGENTS_PER_CHUNK][index % AGENTS_PER_CHUNK]


cdef FSelf* agent_of(uint64_t word) noexcept nogil:
    """The agent in a lock word, NULL where nobody is or the agent's record serves another one now."""
    cdef FSelf* s = agent_at(<uint32_t>((word >> 8) & 0xFFFFFF))
    if s == NULL or fl_load64(&s.word) != owner_bits(word):
        return NULL
    return s


cdef uint32_t agent_limit() noexcept nogil:
    return fl_load32(&agents_used)


cdef uint64_t agent_id(FSelf* s) noexcept nogil:
    """What reports call it: stable while it lives, never reused, small."""
    return (<uint64_t>s.pub.gen << 24) | s.pub.index


cdef bint has_holds(FSelf* s) noexcept nogil:
    cdef FHolds* h = &s.holds
    cdef FLock* L
    cdef int i
    while h != NULL:
        for i in range(8):
            if h.entry[i].serial != 0:
                L = lock_at(h.entry[i].lock)
                if L != NULL and L.serial == h.entry[i].serial and not L.marks & M_SIGNAL:
                    return True
        h = h.more
    return False


cdef void recycle_dead() noexcept nogil:
    """Frees the tombstones that own nothing; called under table_mutex, amortised over DEAD_BATCH ends."""
    global dead_first, dead_last, dead_count, free_agent
    cdef uint32_t i, following, kept_first = 0, kept_last = 0, kept = 0
    cdef FSelf* s
    cdef FLock* L
    for i in range(1, locks_used):
        L = &lock_chunks[i // LOCKS_PER_CHUNK][i % LOCKS_PER_CHUNK]
        if owner_bits(fl_load64(&L.word)) != 0:
            s = agent_of(fl_load64(&L.word))
            if s != NULL:
                s.still_owner = 1
    i = dead_first
    while i != 0:
        s = agent_at(i)
        following = s.next_dead
        if s.still_owner or has_holds(s):
            s.next_dead = 0
            if kept_last:
                agent_at(kept_last).next_dead = i
            else:
                kept_first = i
            kept_last = i
            kept += 1
        else:
            fl_store8(&s.pub.state, A_FREE)
            s.next_dead = free_agent
            free_agent = i
        i = following
    for i in range(1, agents_used):
        agent_at(i).still_owner = 0
    dead_first = kept_first
    dead_last = kept_last
    dead_count = kept


cdef uint32_t dead_allowed() noexcept nogil:
    # The sweep costs a look at every lock; it is paid for by as many ends as keep that negligible.
    return DEAD_BATCH + locks_used // 64


cdef FSelf* agent_grow() noexcept nogil:
    global agents_used
    cdef uint32_t index = agents_used
    cdef uint32_t chunk = index // AGENTS_PER_CHUNK
    if chunk >= 65536:
        abort()
    if agent_chunks[chunk] == NULL:
        agent_chunks[chunk] = <FSelf*>calloc(AGENTS_PER_CHUNK, sizeof(FSelf))
        if agent_chunks[chunk] == NULL:
            abort()     # a thread without identity could take no lock at all
    cdef FSelf* s = &agent_chunks[chunk][index % AGENTS_PER_CHUNK]
    if has_room(A_AGENTS, index):
        s.pub = <FAgent*>record_at(A_AGENTS, index)
    else:
        if public_chunks[chunk] == NULL:
            public_chunks[chunk] = <FAgent*>calloc(AGENTS_PER_CHUNK, sizeof(FAgent))
            if public_chunks[chunk] == NULL:
                abort()
        s.pub = &public_chunks[chunk][index % AGENTS_PER_CHUNK]
    s.pub.index = index
    area_used(A_AGENTS, index + 1)
    fl_store32(&agents_used, index + 1)
    return s


cdef void agent_renew(FSelf* s) noexcept nogil:
    """Makes a free record a new agent's: another generation, nothing held, nothing waited for."""
    record_begin(&s.pub.seq)
    s.pub.gen += 1
    s.pub.loop = 0
    fl_put8(&s.pub.wait_mode, WAIT_NONE)      # a thread that ends may be looking for its waiters
    s.pub.outer_mode = WAIT_NONE
    s.pub.name[0] = 0
    s.top = NULL
    s.submits = NULL
    s.owed = NULL
    s.depth = 0
    s.clock = 0
    s.job = 0
    s.nested = 0
    s.named = 0
    s.settled = 0
    s.recheck = 0
    s.exit_rounds = 0
    s.next_dead = 0
    s.owns = 0
    s.pins = 0
    s.loops = 0
    s.tells_end = 0
    s.started = 0
    s.step = 0
    fl_store64(&s.word, (<uint64_t>s.pub.gen << 32) | (<uint64_t>s.pub.index << 8))
    s.salt = mix(s.word, 0)
    fl_store8(&s.pub.state, A_ALIVE)
    record_end(&s.pub.seq)


cdef FSelf* agent_attach() noexcept nogil:
    """The calling thread's agent, made on first use; needs no GIL."""
    global free_agent
    cdef FSelf* s = <FSelf*>fl_tls_get()
    if s != NULL:
        return s
    fl_mutex_lock(&table_mutex)
    if free_agent == 0 and dead_count > dead_allowed():
        recycle_dead()
    if free_agent != 0:
        s = agent_at(free_agent)
        free_agent = s.next_dead
    else:
        s = agent_grow()
        s.parker = fl_parker_new()
        if s.parker == NULL:
            abort()
        fl_parker_wait(s.parker, 0, False)     # a parker rests taken
    s.pub.ident = PyThread_get_thread_ident()
    s.pub.native_id = fl_native_id()
    agent_renew(s)
    fl_mutex_unlock(&table_mutex)
    fl_tls_set(s)
    pthread_setspecific(exit_key, s)
    return s


cdef FSelf* agent_for_task() noexcept nogil:
    """A record that never was one's: a task's for ever, for only threads need a parker."""
    cdef FSelf* s
    fl_mutex_lock(&table_mutex)
    s = agent_grow()
    fl_mutex_unlock(&table_mutex)
    return s


cdef void agent_refresh_name(FSelf* s) noexcept:
    """Copies the thread's current name from threading; takes no lock and runs no code of the user."""
    cdef char[MOST_OF_A_NAME] label
    cdef const char* text
    if fl_finalizing() or fl_load8(&s.pub.state) != A_ALIVE:
        return      # modules are being taken apart; or its ident may be another thread's by now, and it writes its record without the GIL
    if s.task != NULL:
        task_refresh_name(s)
        return
    threading = modules.get("threading")
    if threading is None:
        return
    try:
        thread = threading._active.get(s.pub.ident)
        if thread is None:
            return
        name = PyObject_GenericGetAttr(thread, "_name")
        if type(name) is not str:
            return
        text = PyUnicode_AsUTF8(name)
    except (AttributeError, UnicodeEncodeError):
        return      # threading is half imported, or the name has lone surrogates: report by number
    memset(label, 0, MOST_OF_A_NAME)
    strncpy(label, text, MOST_OF_A_NAME - 1)
    put_name(s.pub, label)
    s.settled = 1


cdef void task_refresh_name(FSelf* s) noexcept:
    """The same for a task, while it lives: nothing is done where the name is the one that is shown already."""
    if s.shown_name == NULL or s.shown_name != name_field(<PyObject*>s.task):
        task_put_name(s)


cdef void task_put_name(FSelf* s) noexcept:
    cdef char[MOST_OF_A_NAME] label
    try:
        memset(label, 0, MOST_OF_A_NAME)
        name = write_task_name(<object>s.task, label, MOST_OF_A_NAME)
    except Exception:
        return      # a name with lone surrogates: report by number
    if name is not None:
        Py_INCREF(<PyObject*>name)      # or another one might come to have its address
        Py_XDECREF(<PyObject*>s.shown_name)
        s.shown_name = <void*>name
        put_name(s.pub, label)


cdef void put_name(FAgent* p, const char* label) noexcept nogil:
    """Of a name with nulls up to its room."""
    if memcmp(p.name, label, MOST_OF_A_NAME) != 0:
        record_begin(&p.seq)
        memcpy(p.name, label, MOST_OF_A_NAME)
        record_end(&p.seq)


cdef FSelf* agent_attach_named() noexcept:
    """As agent_attach; module caches stay empty until threading knows the thread's name, or never will."""
    cdef FSelf* s = agent_attach()
    if not s.settled:
        agent_refresh_name(s)
        s.named += 1
        if s.named >= 64:
            s.settled = 1
    return s


cdef void agent_waits(FSelf* me, FNode* n) noexcept nogil:
    """Publishes the agent's innermost wait."""
    cdef FAgent* p = me.pub
    cdef FNode* outer = n.outer
    record_begin(&p.seq)
    fl_put32(&p.wait_lock, n.lock_index)
    fl_put64(&p.wait_serial, n.lock_serial)
    fl_put32(&p.wait_site, n.site)
    fl_put_ns(&p.wait_since_ns, n.since_ns)
    fl_put_ns(&p.wait_deadline_ns, n.deadline_ns)
    p.wait_number = n.wait_number
    p.wait_runs = n.state == N_SUSPENDED
    p.outer_mode = WAIT_NONE
    if outer != NULL:
        p.outer_mode = outer.mode
        p.outer_serial = outer.lock_serial
        p.outer_site = outer.site
        p.outer_since_ns = outer.since_ns
        p.outer_deadline_ns = outer.deadline_ns
    if me.task != NULL:
        p.loop = me.thread.pub.index
    fl_store8(&p.wait_mode, n.mode)
    record_end(&p.seq)


cdef void agent_rests(FSelf* me) noexcept nogil:
    cdef FAgent* p = me.pub
    record_begin(&p.seq)
    fl_store8(&p.wait_mode, WAIT_NONE)
    p.outer_mode = WAIT_NONE
    p.held_count = 0
    record_end(&p.seq)


cdef void agent_runs_inside(FNode* n, bint runs) noexcept nogil:
    """Says whether Python code runs inside of the wait."""
    cdef FAgent* p = n.agent.pub
    if n.agent.top == n:
        record_begin(&p.seq)
        p.wait_runs = runs
        record_end(&p.seq)


cdef void agent_cached(forget_fn forget) noexcept:
    """Registers how a module's cache of the running agent is emptied: what it does otherwise in a loop's thread depends on that."""
    global n_caches
    if n_caches == MAX_CACHES:
        abort()
    caches[n_caches] = forget
    n_caches += 1


cdef void agent_runs_loop(bint runs) noexcept nogil:
    """The calling thread begins or ends to run an event loop: from its next acquire on everything of its goes the longer way, or not."""
    global loops_seen
    cdef int i
    agent_attach().loops = runs
    loops_seen = loops_seen or runs
    for i in range(n_caches):
        caches[i]()


cdef void set_death_callback(death_fn callback) noexcept:
    global on_death
    on_death = callback


cdef void put_state(FAgent* p, uint8_t state) noexcept nogil:
    record_begin(&p.seq)
    fl_store8(&p.state, state)
    record_end(&p.seq)


cdef void on_thread_exit(void* record) noexcept nogil:
    """The thread's end, without the GIL, as late as pthreads allows: others' destructors may still lock."""
    global dead_first, dead_last, dead_count
    cdef FSelf* s = <FSelf*>record
    s.exit_rounds += 1
    if s.exit_rounds < 3:
        pthread_setspecific(exit_key, s)
        return
    if s.owed != NULL:
        fl_parker_post(s.owed)      # its lock is abandoned: let the waiter find that out
        s.owed = NULL
    fl_tls_set(NULL)
    put_state(s.pub, A_ENDED)
    fl_fence()          # pairs with the fence of a waiter between publishing and looking at its owner
    if on_death != NULL:
        on_death(s)
    fl_mutex_lock(&table_mutex)
    put_state(s.pub, A_ENDED)   # again: a copy of the mapping may have been made without it, see table_renew()
    s.next_dead = 0
    if dead_last:
        agent_at(dead_last).next_dead = s.pub.index
    else:
        dead_first = s.pub.index
    dead_last = s.pub.index
    dead_count += 1
    fl_mutex_unlock(&table_mutex)


# ---- locks --------------------------------------------------------------------------------------

cdef FLock* lock_at(uint32_t index) noexcept nogil:
    if index == 0 or index >= fl_load32(&locks_used):
        return NULL
    return &lock_chunks[index // LOCKS_PER_CHUNK][index % LOCKS_PER_CHUNK]


cdef uint32_t lock_limit() noexcept nogil:
    return fl_load32(&locks_used)


cdef FLock* lock_grow() noexcept nogil:
    global locks_used
    cdef uint32_t index = locks_used
    cdef uint32_t chunk = index // LOCKS_PER_CHUNK
    if chunk >= 262144:
        return NULL
    if lock_chunks[chunk] == NULL:
        lock_chunks[chunk] = <FLock*>calloc(LOCKS_PER_CHUNK, sizeof(FLock))
        if lock_chunks[chunk] == NULL:
            return NULL
    cdef FLock* L = &lock_chunks[chunk][index % LOCKS_PER_CHUNK]
    L.index = index
    fl_store32(&locks_used, index + 1)
    return L


cdef FLock* lock_new(uint8_t kind) except NULL:
    """A fresh record: free, unmarked, with a serial that no other lock of this process ever has."""
    global free_lock
    cdef FLock* L
    if FL_CAS_WORDS:
        fl_mutex_lock(&table_mutex)
    if free_lock != 0:
        L = &lock_chunks[free_lock // LOCKS_PER_CHUNK][free_lock % LOCKS_PER_CHUNK]
        free_lock = L.site
    else:
        L = lock_grow()
    if L != NULL:
        begin_lock(L, kind)
    if FL_CAS_WORDS:
        fl_mutex_unlock(&table_mutex)
    if L == NULL:
        raise MemoryError("no room for another lock record")
    return L


cdef void begin_lock(FLock* L, uint8_t kind) noexcept:
    global next_serial
    L.site = 0
    L.kind = kind
    L.marks = 0
    fl_store64(&L.serial, next_serial)
    next_serial += 1


cdef void lock_again(FLock* L, uint8_t kind) noexcept:
    """Makes a record that rests another lock, with a serial of its own."""
    if FL_CAS_WORDS:
        fl_mutex_lock(&table_mutex)
    begin_lock(L, kind)
    if FL_CAS_WORDS:
        fl_mutex_unlock(&table_mutex)


cdef void lock_rests(FLock* L) noexcept:
    """Ends the lock, and leaves the record to who has it: nobody else is given it."""
    if FL_CAS_WORDS:
        fl_mutex_lock(&table_mutex)
    end_lock(L)
    if FL_CAS_WORDS:
        fl_mutex_unlock(&table_mutex)


cdef void end_lock(FLock* L) noexcept:
    fl_store64(&L.serial, 0)
    fl_store64(&L.word, 0)
    L.kind = K_FREE
    L.site_key = 0
    L.acquired = 0
    L.placed = 0  # the next one's may be a list
    L.count = 0
    L.obj = NULL
    L.head = NULL
    L.woken = 0
    L.limit = 0
    L.passed = 0


cdef void lock_free(FLock* L) noexcept:
    global free_lock
    if FL_CAS_WORDS:
        fl_mutex_lock(&table_mutex)
    end_lock(L)
    L.site = free_lock
    free_lock = L.index
    if FL_CAS_WORDS:
        fl_mutex_unlock(&table_mutex)


# ---- fork -------------------------------------------------------------------------------------------

cdef void lock_all() noexcept nogil:
    cdef int i
    for i in range(BUCKETS):
        fl_mutex_lock(&buckets[i])
    fl_mutex_lock(&table_mutex)


cdef void unlock_all() noexcept nogil:
    cdef int i
    fl_mutex_unlock(&table_mutex)
    for i in range(BUCKETS):
        fl_mutex_unlock(&buckets[i])


cdef void before_fork() noexcept nogil:
    global fork_agent
    fork_agent = <FSelf*>fl_tls_get()
    lock_all()
    mapping_before_fork()


cdef void after_fork_parent() noexcept nogil:
    mapping_after_fork()
    unlock_all()


cdef void after_fork_child() noexcept nogil:
    """In the child: who stayed in the parent is lost. The locks' queues are put right by _contended's handler, which comes next."""
    cdef uint32_t i
    cdef FSelf* s
    cdef FNode* n
    mapping_in_child()
    for i in range(BUCKETS):
        fl_mutex_init(&buckets[i])
    fl_mutex_init(&table_mutex)
    for i in range(1, agents_used):
        s = agent_at(i)
        s.pub.seq += s.pub.seq & 1          # a thread without the GIL may have been writing it
        if s != fork_agent and s.pub.state == A_ALIVE:
            record_begin(&s.pub.seq)
            s.pub.state = A_LOST
            s.pub.wait_mode = WAIT_NONE
            s.pub.outer_mode = WAIT_NONE
            record_end(&s.pub.seq)
            n = s.top
            while n != NULL:        # a task's coroutine may still end its wait here, and must find no queue
                n.queued = 0
                n = n.outer
            s.top = NULL
    if fork_agent != NULL:
        fork_agent.pub.native_id = fl_native_id()
        fork_agent.owed = NULL             # whoever was to be woken stayed behind
        fork_agent.loops = 0               # asyncio says the same of the child


cdef void table_renew() noexcept nogil:
    """Gives the mapping a descriptor again; called with the GIL, which keeps everybody from writing who holds no mutex."""
    lock_all()
    mapping_renew()
    unlock_all()


# ---- shared holds -----------------------------------------------------------------------------------

cdef void holds_tidy(FSelf* s) noexcept nogil:
    """Drops entries of locks that are gone or have become signals."""
    cdef FHolds* h = &s.holds
    cdef FLock* L
    cdef int i
    while h != NULL:
        for i in range(8):
            if h.entry[i].serial != 0:
                L = lock_at(h.entry[i].lock)
                if L.serial != h.entry[i].serial or L.marks & M_SIGNAL:
                    fl_store64(&h.entry[i].serial, 0)
        h = h.more


cdef FHold* hold_find(FSelf* s, FLock* L) noexcept nogil:
    cdef FHolds* h = &s.holds
    cdef int i
    while h != NULL:
        for i in range(8):
            if h.entry[i].serial == L.serial:
                return &h.entry[i]
        h = h.more
    return NULL


cdef int hold_add(FSelf* s, FLock* L, uint32_t site) except -1:
    """Notes that the agent has taken one share or permit; the running thread's own list only."""
    cdef FHolds* h = &s.holds
    if h.used == 0:                 # nearly always: nothing else is held
        h.used = 1
        hold_fill(&h.entry[0], L, site)
        return 0
    return hold_add_among(s, L, site)


cdef void hold_fill(FHold* e, FLock* L, uint32_t site) noexcept nogil:
    e.lock = L.index
    e.count = 1
    e.site = site
    e.share = 0
    fl_store64(&e.serial, L.serial)


cdef FHold* hold_vacant(FSelf* s) noexcept nogil:
    cdef FHolds* h = &s.holds
    cdef uint32_t i
    while h != NULL:
        for i in range(8):
            if h.entry[i].serial == 0:
                if i >= h.used:
                    h.used = i + 1
                return &h.entry[i]
        h = h.more
    return NULL


cdef int hold_add_among(FSelf* s, FLock* L, uint32_t site) except -1:
    cdef FHolds* h = &s.holds
    cdef FHold* e = hold_find(s, L)
    if e != NULL:
        e.count += 1
        e.site = site
        return 0
    e = hold_vacant(s)
    if e == NULL:
        holds_tidy(s)
        e = hold_vacant(s)
    if e == NULL:
        while h.more != NULL:
            h = h.more
        h.more = <FHolds*>calloc(1, sizeof(FHolds))
        if h.more == NULL:
            raise MemoryError
        e = hold_vacant(s)
    hold_fill(e, L, site)
    return 0


cdef bint hold_drop(FSelf* s, FLock* L) noexcept nogil:
    """Takes one share or permit off the agent's list; False where it has none of this lock."""
    cdef FHold* e = hold_find(s, L)
    if e == NULL:
        return False
    e.count -= 1
    if e.count == 0:
        hold_end(s, e)
    return True


cdef uint32_t hold_count(FSelf* s, FLock* L, uint32_t* site) noexcept nogil:
    cdef FHold* e = hold_find(s, L)
    if e == NULL:
        return 0
    if site != NULL:
        site[0] = e.site
    return e.count


cdef uint32_t held_site(FSelf* s, FLock* L) noexcept nogil:
    """Where the agent took a lock that it holds; a share's site is in the agent's own list, for others take shares too."""
    cdef uint32_t site = L.site
    if owner_bits(fl_load64(&L.word)) == 0:
        hold_count(s, L, &site)
    return site


# ---- held stacks --------------------------------------------------------------------------------------

cdef bint held_grow(FSelf* s) noexcept nogil:
    """Makes room for one more entry; False where memory is out, and the hold is not seen."""
    cdef uint32_t room = s.room * 2 if s.room else 8
    cdef FHeld* held = <FHeld*>realloc(s.held, room * sizeof(FHeld))
    if held == NULL:
        return False
    s.held = held
    s.room = room
    return True


cdef void held_remove(FSelf* s, FLock* L) noexcept nogil:
    """Takes the lock's newest entry out, wherever it is; the entries above it have another past from here on."""
    cdef uint32_t i = s.depth
    while i > 0:
        i -= 1
        if s.held[i].lock == L:
            s.depth -= 1
            while i < s.depth:
                s.held[i] = s.held[i + 1]
                s.held[i].chain = 0
                i += 1
            return


# ---- start ------------------------------------------------------------------------------------------

cdef void start() noexcept:
    cdef int i
    if sizeof(FAgent) != 160:
        abort()     # the mapping has places of that size
    fl_mutex_init(&table_mutex)
    for i in range(BUCKETS):
        fl_mutex_init(&buckets[i])
    pthread_key_create(&exit_key, on_thread_exit)
    pthread_atfork(before_fork, after_fork_parent, after_fork_child)


start()
