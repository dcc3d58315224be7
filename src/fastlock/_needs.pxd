# cython: language_level=3
"""What has to happen before a wait ends: see _needs.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FSelf

cdef enum:  # Node.kind
    ABSENT = 0
    RUNS = 1
    WAITS = 2
    GONE = 3           # ended or lost in a fork

cdef enum:  # Need.rule: what has to happen before its waiters go on
    FREE = 0           # nothing, or nobody knows
    ALL = 1            # all of its links let go
    ANY = 2            # any one does
    ANYBODY = 3        # nobody in particular is known to: whoever runs may

cdef enum:  # an RWLock's needs, one after the other
    RW_WRITE = 0
    RW_READ = 1
    RW_UPGRADABLE = 2
    RW_UPGRADE = 3     # to write, for who has the upgradable share: its own does not keep it waiting
    RW_NEEDS = 4

cdef struct Node:
    # An agent, by its index in the table.
    uint64_t word
    uint64_t ident             # a thread's
    uint64_t wait_number
    int64_t since_ns
    uint32_t need              # what it waits for; 0: nothing
    uint32_t next_waiter       # of the same need
    uint32_t first_link        # what it could end the wait for
    uint32_t thread            # a task's, where its loop's thread waits itself
    uint32_t first_task
    uint32_t next_task         # of the same thread
    uint32_t missing           # before it can run
    uint8_t kind
    uint8_t is_task
    uint8_t live
    uint8_t locked
    uint8_t idle               # runs, and wakes nobody: a thread of fastlock's own; the main one that waits for all others to end
    uint8_t rests              # a thread whose loop has nothing to run: it and its tasks wait for anybody else who runs

cdef struct Need:
    # What is waited for: a lock's record, of an RWLock one for each way to wait for it.
    FLock* lock
    uint64_t serial
    uint64_t proof             # of all that its links were made of
    uint32_t first_waiter
    uint32_t first_link
    uint32_t first_queued      # of a pool: of the links of those who wait for work in it
    uint32_t links
    uint32_t shares
    uint32_t missing
    uint8_t rule
    uint8_t live
    uint8_t woken              # its waiters are woken by somebody: no lock, permit or result
    uint8_t shared             # its links are shares, see copy_end()

cdef struct Link:
    # What a need waits for: an agent, or work that is queued in a pool.
    uint32_t need
    uint32_t agent             # 0: a pool
    uint32_t pool              # the need of its workers
    uint32_t next_of_agent     # of the pool, where it is one
    uint32_t next_of_need

cdef struct Share:
    uint64_t serial
    uint32_t lock
    uint32_t agent
    uint32_t count

cdef struct Copy:
    uint32_t n_nodes
    uint32_t n_needs, needs_room
    uint32_t n_links, links_room
    uint32_t n_shares, shares_room
    uint32_t at                # the next agent to be copied
    int64_t young_ns
    bint asked                 # somebody wants to know what may be: then what has been seen once says who will wake
    bint failed                # memory is out: nothing is claimed
    bint handlers              # the program has signal handlers: its main thread may run one, and wake whom it will
    Node* nodes
    Need* needs                # number 0 is none
    Link* links                # as well
    Share* shares
    uint32_t* need_of          # by lock
    uint32_t n_locks
    uint32_t* queue

cdef void* grown(void* items, uint32_t n, uint32_t* room, size_t size) noexcept nogil
cdef bint room_for_need(Copy* c) noexcept nogil
cdef bint room_for_link(Copy* c) noexcept nogil
cdef bint link(Copy* c, uint32_t number, FSelf* s) noexcept nogil
cdef int make_need(Copy* c, uint32_t number, FLock* L, uint32_t way, dict others) except? 0
cdef uint64_t proof_of(FLock* L) noexcept nogil
