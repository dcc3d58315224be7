# cython: language_level=3, binding=False
"""The ownership table: agents and lock records, by index and generation.

Records are type-stable: fixed size, recycled but never handed back, so that a reader without the GIL
may follow them and notice afterwards what changed. FAgent (and FContended, see _contended) hold no pointers and nothing
private to a process, for they lie in a mapping that others read; FLock and FSelf are the truth and stay here.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastlock._native cimport fl_get8, fl_get32, fl_load64, fl_mutex, fl_put32, fl_store32, fl_store64, fl_store_fence, fl_tls_get, fl_tls_set

# The lock word: generation (32) | agent index (24) | flags (8).
#
#   word                         meaning                                who may change it
#   0                            free, nobody waits or is to be told    anyone, fast path
#   CONTENDED                    free, somebody waits                   slow path (bucket mutex)
#   owner [|WITH]                held, nobody waits or is to be told    the owner, fast path; slow path
#   owner|CONTENDED [|WITH]      held, somebody waits                   slow path
#   owner|OFFERED|CONTENDED      handed to a waiter, not yet accepted   that waiter; anyone who may revoke
cdef enum:
    W_CONTENDED = 1
    W_OFFERED = 2
    W_WITH = 4
    W_FLAGS = 0xFF

cdef enum:  # FLock.kind
    K_FREE = 0
    K_LOCK = 1
    K_RLOCK = 2
    K_RWLOCK = 3
    K_SEMAPHORE = 4
    K_CONDITION = 5
    K_EVENT = 6
    K_BARRIER = 7
    K_RESULT = 8       # not a lock: what agents are to bring about, see _wakers; its word is who, where that is one
    K_POOL = 9         # not a lock: an executor, held by each of its workers while it runs a job; `limit` is how many there can be
    K_OPAQUE = 10      # not a lock: what nobody knows who brings about, as the end of a process

cdef enum:  # FLock.marks: sticky observations, written under the GIL or the bucket mutex
    M_OWNED = 1        # the owner has released it at least once: evidence of ownership
    M_SIGNAL = 2       # somebody else has released it: no owner from here on
    M_READERS = 4      # an RWLock that prefers readers
    M_POLICY = 8       # the object has options of its own
    M_WRITTEN = 32     # an RWLock that has been wanted exclusively
    M_RANKED = 16      # rank= or key=: compared with what is held at each nested acquire
    M_PLACED = 128     # taken in a thread that runs an event loop: `placed` says where
    M_AIO = 64         # asyncio's: tasks own it and wait for it, in a queue of its object's, and no bit of its word is a flag

cdef enum:  # FAgent.state
    A_FREE = 0
    A_ALIVE = 1
    A_ENDED = 2        # a tombstone: the thread is over
    A_LOST = 3         # a tombstone: the thread stayed in the parent of a fork

cdef enum:  # modes of a wait
    WAIT_NONE = 0
    WAIT_EXCLUSIVE = 1
    WAIT_SHARED = 2
    WAIT_PERMIT = 3
    WAIT_NOTIFY = 4
    WAIT_FLAG = 5
    WAIT_UPGRADABLE = 6        # a share, of which there is one at a time, whose holder may write

cdef enum:  # FNode.state, guarded by the bucket mutex of its lock
    N_IDLE = 0
    N_QUEUED = 1
    N_WOKEN = 2        # told to look again
    N_GRANTED = 3      # has been given what it waits for
    N_SUSPENDED = 4    # its thread runs Python code (signal handler, report): give it nothing

cdef enum:  # FNode.flags of a task's wait, which takes no lock with flags
    F_LOOKED = 64      # a circle has been looked for once more, a while after it began
    F_TOLD = 128       # has been reported as a long one

cdef enum:  # FNode.flags of a wait for a K_RESULT
    F_OUTER = 32       # the wait for a condition or an event inside of it is a part of it

cdef struct FAgent:
    # Public part, 160 bytes in the mapping (docs/table.md). Written by the agent itself (wait_*, outer_*, name) and by who creates, ends
    # or recycles it, between record_begin() and record_end().
    uint32_t seq               # odd: being written
    uint32_t gen
    uint32_t index
    uint8_t state
    uint8_t wait_mode          # WAIT_NONE: runs
    uint8_t wait_runs          # runs Python code inside of the wait: a signal handler, a report
    uint8_t outer_mode         # of the wait that this one interrupts; WAIT_NONE: there is none
    uint32_t native_id
    uint32_t loop              # a task's: index of its loop's thread; 0: a thread
    uint64_t ident
    uint64_t wait_number
    uint64_t wait_serial       # the lock's serial
    int64_t wait_since_ns
    int64_t wait_deadline_ns   # -1: none
    uint32_t wait_lock         # the lock's index
    uint32_t wait_site
    uint16_t depth             # nested waits
    uint16_t unused
    uint32_t outer_site
    uint64_t outer_serial
    int64_t outer_since_ns
    int64_t outer_deadline_ns
    uint32_t held              # level order, while it waits: the first FShown of what it holds, the newest first; 0: none
    uint32_t held_count        # how many of them are true
    char name[48]

cdef struct FHold:
    # One shared or permit hold of an agent. Written by the agent, read by anyone who walks.
    uint64_t serial            # 0: unused
    uint32_t lock
    uint32_t count
    uint32_t site
    uint32_t share             # its place in the lock's own list, see _shares; 0: none, the lock is a synchronous one

cdef struct FHolds:
    FHold entry[8]
    FHolds* more
    uint32_t used              # entries up to here may be in use; the agent's own

cdef enum:  # FHeld.flags, and how a lock is wanted; the graph takes them from here
    H_SHARED = 1
    H_RECURSIVE = 2    # wanted shared where readers are preferred
    H_TIMED = 4
    H_TRY = 8
    H_EVIDENCE = 16
    H_REACQUIRE = 32   # a condition's wait takes its lock again
    H_NESTED = 64      # sanctioned by nested()
    H_ONE_STEP = 512   # wanted in the very step of the task's in which everything held was taken: no other task of its thread comes between
    H_UPGRADABLE = 2048 # with H_SHARED the upgradable share; without, wanted exclusively by who has that
    H_IN_TASK = 1024   # held by a task in the name of its loop's thread, as all synchronous locks are

cdef struct FHeld:
    # One entry of an agent's held stack, at level order; the agent's own. An entry whose lock the agent does not hold
    # any more (somebody else released it) is stale, and dropped by who meets it.
    FLock* lock
    uint64_t chain             # hash of the classes and modes up to here; 0: a class is not known yet
    uint32_t flags
    uint32_t stamp             # of a task's: the upper half of what `placed` was; with H_IN_TASK, of another one the entry is stale

cdef struct FSelf

cdef struct FNode:
    # One wait. Lives in its agent's record (or, nested, in the agent's spare chain), never on a C stack:
    # a daemon thread that is cut off at finalisation leaves its node behind.
    FNode* next
    FNode* prev                # the head's: the last one
    FNode* outer               # the wait that this one interrupts
    FSelf* agent
    FSelf* asker               # in whose name: the agent, but where it runs the acquire of a task that has a share of the lock
    uint32_t lock_index
    uint8_t mode
    uint8_t state
    uint8_t flags              # word flags to take the lock with
    uint8_t queued
    uint64_t lock_serial
    uint64_t wait_number       # agent's count of waits: proves that a wait seen twice is the same
    int64_t since_ns
    int64_t deadline_ns
    void* future               # what a task waits on, borrowed: its coroutine keeps it as long as the node is published
    uint32_t site
    void* task                 # that runs in the waiting thread, and whose loop stands still; borrowed: it lives while it runs. NULL: none
    void* waiter               # a task's wait: the Acquisition that it is in; borrowed: it takes the node away before it goes

cdef struct FLock:
    uint64_t word              # see the table above
    uint64_t site_key          # the acquisition site as the interpreter names it
    uint32_t site              # the same, interned
    uint32_t node              # level order: class of the lock in the graph; 0: not known yet
    # Level order. Written by who holds the lock or is about to, under the GIL; without one, counts may miss some.
    uint64_t tag               # the class, hashed; 0 with it
    uint64_t acquired          # how often
    uint64_t pair_key          # what was held, by whom, when this lock was last wanted: known to the graph
    uint64_t pair_count        # generation of that pair's edge (24), how often since (40): what is more than 2^40 is lost with its carry
    uint32_t pair_edge         # its index; 0: none
    uint32_t index
    uint64_t serial            # unique for the process's life; 0 while unused
    int64_t count              # RLock: re-entries; RWLock: readers; Semaphore: permits; Event: flag; K_POOL: workers that run a job
    FNode* head                # waiters, oldest first; guarded by the bucket mutex
    PyObject* obj              # the Python object, borrowed: valid while serial is
    uint64_t placed            # frame (48) and context version (16) of the acquire, in a thread that runs an event loop; M_AIO: its first FShare; K_RESULT: its FWakers
    uint32_t created           # site of creation
    uint32_t limit             # Semaphore: initial permits; Barrier: parties; RWLock: number of the agent with the upgradable share, or 0, guarded by
                               # the bucket mutex; Lock, RLock: when it was last handed over, see _park.pyx; K_POOL: workers; B_* of a wait, see _wakers
    uint32_t contended         # number + 1 of its FContended: of a lock that somebody has waited for
    uint8_t kind
    uint8_t marks
    uint8_t woken              # how many waiters have been told to look and have not yet
    uint8_t passed             # Lock, RLock: contended releases since the last hand-over, as far as 255

cdef struct FSelf:
    uint64_t word              # this agent as a lock word, constant while it lives
    uint32_t depth             # of the held stack
    uint32_t room
    FHeld* held
    uint64_t salt              # the agent and its clock, hashed
    uint32_t clock             # segment of the happens-before order; 0: none yet
    uint32_t job               # of a pool; 0: none
    uint64_t nested            # serial of the lock whose acquire nested() sanctions, or 0
    FAgent* pub
    void* parker
    void* submits              # the Job that the thread is just handing to a pool, borrowed from the one who hands it
    void* owed                 # parker of a waiter that this agent has granted and not woken yet: see notify() in _park.pyx
    FNode* top                 # innermost wait, NULL while the agent runs
    FNode* spare               # nodes for nested waits, kept
    uint64_t waits             # how many waits there were
    FNode first
    FHolds holds
    uint32_t next_dead
    uint8_t named              # attempts to learn the thread's name
    uint8_t settled            # module caches may keep the pointer
    uint8_t recheck            # somebody ended: look at the owner again
    uint8_t still_owner        # scratch of the recycling sweep
    uint32_t exit_rounds
    # A task's. Guard: the GIL (_tasks' mutex, where there is none).
    void* task                 # borrowed: it lives while it holds or waits; NULL in a thread's record
    FSelf* thread              # of its loop, when it was last seen
    FSelf* next_task           # of those with the same hash; of those that are free
    void* watch                # weak reference that frees the record; NULL: freed as soon as nothing is held or waited for
    void* shown_name           # the str that `pub` has the name from, kept; NULL: it has none yet
    uint8_t tells_end          # a callback of ours is among those that asyncio calls at its end
    uint8_t started            # a thread's: threading is known to have started it; its own
    uint32_t owns              # exclusive holds, shares and permits
    uint32_t pins              # findings that tell of the task
    uint8_t loops              # a thread's: whether it runs an event loop; its own, see agent_runs_loop()
    uint64_t step              # a thread's: in which step of its loop `now` is who runs, see _loops.pxd
    FSelf* now
    # scratch of the detector, guarded by its mutex
    uint64_t mark
    uint32_t mark_index
    uint32_t told              # number + 1 of the first relation that was told of it, see _told

cdef FSelf* agent_attach() noexcept nogil
cdef FSelf* agent_for_task() noexcept nogil
cdef void agent_renew(FSelf* s) noexcept nogil
cdef FSelf* agent_attach_named() noexcept
cdef FSelf* agent_at(uint32_t index) noexcept nogil
cdef FSelf* agent_of(uint64_t word) noexcept nogil
cdef uint32_t agent_limit() noexcept nogil
cdef uint64_t agent_id(FSelf* s) noexcept nogil
cdef void agent_refresh_name(FSelf* s) noexcept
cdef void agent_waits(FSelf* me, FNode* n) noexcept nogil
cdef void agent_rests(FSelf* me) noexcept nogil
cdef void agent_runs_inside(FNode* n, bint runs) noexcept nogil
cdef void agent_runs_loop(bint runs) noexcept nogil
cdef bint loops_seen            # whether a thread of this process has ever run an event loop; never taken back
ctypedef void (*forget_fn)() noexcept nogil
cdef void agent_cached(forget_fn forget) noexcept
ctypedef void (*death_fn)(FSelf*) noexcept nogil
cdef void set_death_callback(death_fn callback) noexcept

cdef FLock* lock_new(uint8_t kind) except NULL
cdef void lock_free(FLock* L) noexcept
cdef void lock_again(FLock* L, uint8_t kind) noexcept
cdef void lock_rests(FLock* L) noexcept
cdef FLock* lock_at(uint32_t index) noexcept nogil
cdef uint32_t lock_limit() noexcept nogil

cdef fl_mutex* bucket(FLock* L) noexcept nogil
cdef fl_mutex table_mutex       # taken last, in a bucket's or alone
cdef FSelf* fork_agent             # the agent of the thread that has forked, in the child's handlers
cdef void table_renew() noexcept nogil

cdef int hold_add(FSelf* s, FLock* L, uint32_t site) except -1
cdef bint hold_drop(FSelf* s, FLock* L) noexcept nogil
cdef FHold* hold_find(FSelf* s, FLock* L) noexcept nogil
cdef uint32_t hold_count(FSelf* s, FLock* L, uint32_t* site) noexcept nogil
cdef uint32_t held_site(FSelf* s, FLock* L) noexcept nogil

cdef bint held_grow(FSelf* s) noexcept nogil
cdef void held_remove(FSelf* s, FLock* L) noexcept nogil

cdef inline uint64_t mix(uint64_t a, uint64_t b) noexcept nogil:
    """A hash of an ordered pair."""
    cdef uint64_t h = (a ^ (b >> 32) ^ (b << 32)) * <uint64_t>0x9E3779B97F4A7C15 + b
    return (h ^ (h >> 29)) * <uint64_t>0xBF58476D1CE4E5B9

cdef inline uint64_t chained(uint64_t chain, uint64_t tag) noexcept nogil:
    """The hash of what is held, with one more on top: paid for each nested acquire, and good enough, for a tag is a hash already."""
    return ((chain << 5 | chain >> 59) ^ tag) * <uint64_t>0x9E3779B97F4A7C15

cdef inline uint64_t held_tag(FLock* L, uint32_t flags) noexcept nogil:
    """What a hold adds to its chain: class and mode, 0 where the class is not known. The mode is two bits that no key's flag can undo."""
    if flags & H_SHARED and L.tag != 0:
        return L.tag ^ (<uint64_t>1 << 63) ^ (<uint64_t>(flags & H_UPGRADABLE) << 51)
    return L.tag

cdef inline FSelf* current_agent() noexcept:
    """The running thread's agent: one load, after the first times. Never from the cache where the thread runs an event loop."""
    cdef FSelf* s = <FSelf*>fl_tls_get()
    if s == NULL:
        s = agent_attach_named()
        if s.settled and not s.loops:
            fl_tls_set(s)
    return s

cdef inline FSelf* thread_agent() noexcept:
    """The same, for modules where nothing depends on whether the thread runs a loop: from the cache there too."""
    cdef FSelf* s = <FSelf*>fl_tls_get()
    if s == NULL:
        s = agent_attach_named()
        if s.settled:
            fl_tls_set(s)
    return s

cdef inline void record_begin(uint32_t* seq) noexcept nogil:
    """A record that readers outside see is about to change: they believe none whose number is odd, or has changed meanwhile."""
    fl_put32(seq, seq[0] + 1)
    fl_store_fence()

cdef inline void record_end(uint32_t* seq) noexcept nogil:
    fl_store32(seq, seq[0] + 1)

cdef inline bint upgrades(FLock* L, FSelf* s) noexcept nogil:
    """Whether the agent has the upgradable share of an RWLock: who has it is the only one that can find itself there."""
    return fl_get32(&L.limit) == <uint32_t>(s.word >> 8 & 0xFFFFFF)

cdef inline bint is_upgrade(FLock* L, FNode* n) noexcept nogil:
    """Whether this is a wait for an RWLock to write, for who has its upgradable share."""
    return fl_get8(&n.mode) == WAIT_EXCLUSIVE and L.kind == K_RWLOCK and upgrades(L, <FSelf*>fl_load64(&n.asker))

cdef inline FHold* hold_known(FSelf* s, FLock* L) noexcept nogil:
    """hold_find(), where this is mostly the only one."""
    return &s.holds.entry[0] if s.holds.entry[0].serial == L.serial else hold_find(s, L)

cdef inline void hold_end(FSelf* s, FHold* e) noexcept nogil:
    """Takes the last share of an entry off the agent's list."""
    fl_store64(&e.serial, 0)
    if e == &s.holds.entry[0] and s.holds.used == 1 and s.holds.more == NULL:
        s.holds.used = 0

cdef inline uint64_t owner_bits(uint64_t word) noexcept nogil:
    return word & ~<uint64_t>W_FLAGS

cdef inline uint64_t placed_frame(FLock* L) noexcept nogil:
    """The innermost Python frame at the acquire, its lower 48 bits; 0: not known."""
    return L.placed & ((<uint64_t>1 << 48) - 1)

cdef inline uint16_t placed_version(FLock* L) noexcept nogil:
    """The thread's context version at the acquire, its lower 16 bits."""
    return <uint16_t>(L.placed >> 48)

cdef inline bint is_held(FLock* L) noexcept nogil:
    return owner_bits(fl_load64(&L.word)) != 0
