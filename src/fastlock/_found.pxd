# cython: language_level=3
"""What a walk has found: see _found.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._table cimport FLock, FNode, FSelf

cdef enum:
    NOTHING = 0
    FL001 = 1
    FL002 = 2
    FL003 = 3
    FL004 = 4
    FL012 = 12
    FL030 = 30

cdef struct Edge:
    # One agent of a finding: what it holds that the one before it wants, and what it waits for.
    FSelf* agent
    uint64_t agent_word
    FSelf* shown               # the task that this blocked thread runs, told in its place; a record once somebody tells it
    void* runs                 # that task, borrowed; NULL: none
    FSelf* holder              # of `holds`: the agent, or the task that it runs
    uint64_t holder_word
    uint64_t placed            # of `holds`, where its word is the thread and the holder a task of its loop
    uint64_t token             # of what was told: see _told
    uint64_t wait_number       # 0: does not wait
    FLock* holds
    uint64_t holds_serial
    FLock* waits
    uint64_t waits_serial
    FLock* pool                # in which what it waits for is queued; NULL: it is not
    uint64_t pool_serial
    int64_t since_ns
    int64_t deadline_ns
    uint32_t held_site
    uint32_t wanted_site
    uint8_t mode
    uint8_t how                # it depends on the next one: BY_* of _told

cdef struct Found:
    int code
    uint32_t n
    bint proven                # evidence of ownership for every lock in it
    bint timed                 # somebody in it gives up by itself
    Edge* edges
    PyObject* asked            # what it rests on beside the table, kept alive; NULL: nothing

cdef bint fill(Found* found, uint32_t n) noexcept nogil
cdef bint more(Found* found) noexcept nogil
cdef void fill_agent(Edge* e, FSelf* s) noexcept nogil
cdef void fill_wait(Edge* e, FSelf* following) noexcept nogil
cdef void fill_hold(Edge* e, FLock* L) noexcept nogil
cdef void join_running(Found* found) noexcept nogil
cdef void pin(Found* found) noexcept nogil
cdef bint confirm(Found* found) noexcept nogil
cdef void release_found(Found* found) noexcept nogil
cdef uint64_t found_proof(Found* found) noexcept nogil
cdef bint split_unknown(Found* found) noexcept
cdef void weigh(Found* found) noexcept nogil
cdef bint has_evidence(FLock* L) noexcept nogil
cdef FSelf* writer_before(FLock* L, FNode* n) noexcept nogil
cdef bint stands_still(FSelf* s) noexcept nogil
cdef bint does_run(FSelf* s) noexcept nogil
cdef FNode* top_of(FSelf* s) noexcept nogil
