# cython: language_level=3
"""The memory that readers outside look at: see _mapping.pyx, and docs/table.md for the layout."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    LAYOUT = 1                 # another number for each layout that an older reader would misread

cdef enum:  # areas
    A_STRINGS = 0              # bytes: a length (32 bits), then as many of UTF-8; found by their offset
    A_SITES = 1                # FPlace by number
    A_AGENTS = 2               # FAgent by index
    A_LOCKS = 3                # FContended by number
    A_SHARES = 4               # FShown by number
    A_FINDINGS = 5             # two halves, of which the header names the true one
    AREAS = 6

cdef struct FArea:
    uint64_t offset
    uint32_t record            # bytes
    uint32_t capacity          # records
    uint32_t used              # records up to here have ever been in use
    uint32_t hidden            # records that found no room, and are in private memory

cdef struct FHeader:
    uint64_t magic
    uint32_t layout
    uint32_t header_size
    uint64_t size              # of the file
    uint32_t pid               # as the process itself sees it
    uint32_t parent            # which process it was forked from; 0: began with fastlock
    int64_t started_ns         # CLOCK_REALTIME, when fastlock began in this process
    int64_t started_monotonic_ns
    uint32_t generation        # of the mapping: fork, and what else puts another in its place
    uint32_t python            # PY_VERSION_HEX
    uint32_t level
    uint32_t findings_seq      # odd: being written; its second bit names the half
    uint32_t findings_count
    uint32_t findings_dropped
    int64_t raw_locks          # -1: not known
    int64_t captured_ns        # of a saved copy: CLOCK_MONOTONIC; 0 in memory
    int64_t captured_wall_ns
    char program[64]
    char interpreter[64]
    FArea areas[6]

cdef struct FPlace:
    # A site. Written once, `known` last, and never changed.
    uint32_t known
    uint32_t file              # offset in strings
    uint32_t function
    uint32_t line

cdef struct FShown:
    # A share or permit of a lock that somebody waits for, or an entry of a waiting agent's held stack.
    uint64_t who               # lock word of the agent; of a held stack, serial of the lock
    uint32_t count             # shares; of a held stack, number of the lock's record
    uint32_t site
    uint32_t next              # 0: the last
    uint32_t unused

cdef FHeader* header

cdef void* record_at(int area, uint32_t number) noexcept nogil
cdef bint has_room(int area, uint32_t number) noexcept nogil
cdef void area_used(int area, uint32_t used) noexcept nogil

cdef void mapping_before_fork() noexcept nogil
cdef void mapping_after_fork() noexcept nogil
cdef void mapping_in_child() noexcept nogil
cdef void mapping_begins() noexcept nogil
cdef bint mapping_is_lost() noexcept nogil
cdef bint mapping_renew() noexcept nogil
