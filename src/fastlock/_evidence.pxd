# cython: language_level=3, binding=False
"""Witnesses: who wanted what, while holding what. What several share is kept once: sets of held locks, agents' names."""
from libc.stdint cimport uint32_t, uint64_t

from fastlock._graph_types cimport GHeld, GLink, GWant
from fastlock._pool cimport Map, Pool

cdef struct Witness:
    uint32_t next              # of the same edge, younger; also links the unused
    uint32_t edge              # 0: unused
    uint64_t agent
    uint64_t from_serial
    uint64_t to_serial
    uint64_t call              # number of the graph_learn that it is from
    double wall_s
    uint32_t job
    uint32_t clock
    uint32_t lockset
    uint32_t name
    uint32_t held_site
    uint32_t wanted_site
    uint32_t from_lock
    uint32_t to_lock
    uint32_t flags             # as in GLink
    bint fresh                 # to be judged once more when it is seen again

cdef enum:  # how a lock is held. Two agents whose modes add up to MODE_EXCLUSIVE never hold it at once
    MODE_SHARED = 0
    MODE_UPGRADABLE = 1
    MODE_EXCLUSIVE = 2

cdef struct Lockset:
    uint32_t refs              # also links the unused
    uint32_t n
    uint64_t key
    uint64_t signature         # a bit for each lock in it: sets without a common bit are disjoint
    uint64_t* items            # 4 * serial + MODE_, ascending

cdef struct Name:
    uint32_t refs
    uint64_t key
    char text[40]

cdef struct Evidence:
    Pool witnesses
    Pool locksets
    Pool names
    Map lockset_by_key
    Map name_by_key
    Lockset gathered           # scratch: the set that is looked for
    uint32_t room
    uint64_t items_bytes
    uint64_t mentioned[4096]   # bits by hash of the serials that ever were in a witness

cdef bint evidence_open(Evidence* v, uint32_t limit) noexcept nogil
cdef void evidence_close(Evidence* v) noexcept nogil
cdef uint64_t evidence_bytes(Evidence* v) noexcept nogil
cdef bint gather_begin(Evidence* v, uint32_t depth) noexcept nogil
cdef void gather(Evidence* v, uint64_t serial, uint32_t mode) noexcept nogil
cdef uint32_t gather_end(Evidence* v) noexcept nogil
cdef uint32_t witness_new(Evidence* v, GWant* want, GHeld* held, uint32_t flags) noexcept nogil
cdef uint32_t witness_copy(Evidence* v, uint32_t w) noexcept nogil
cdef void witness_free(Evidence* v, uint32_t w) noexcept nogil
cdef bint witness_forgets(Evidence* v, uint32_t w, uint64_t serial) noexcept nogil
cdef bint gated(Evidence* v, uint32_t a, uint32_t b) noexcept nogil
cdef bint was_mentioned(Evidence* v, uint64_t serial) noexcept nogil

cdef inline Witness* witness_at(Evidence* v, uint32_t i) noexcept nogil:
    return &(<Witness*>v.witnesses.chunks[i >> 8])[i & 255]

cdef inline Lockset* lockset_at(Evidence* v, uint32_t i) noexcept nogil:
    return &(<Lockset*>v.locksets.chunks[i >> 8])[i & 255]

cdef inline Name* name_at(Evidence* v, uint32_t i) noexcept nogil:
    return &(<Name*>v.names.chunks[i >> 8])[i & 255]
