# cython: language_level=3, binding=False
"""What goes into the lock-order graph and what comes out of it."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlock._table cimport H_EVIDENCE, H_IN_TASK, H_NESTED, H_ONE_STEP, H_REACQUIRE, H_RECURSIVE, H_SHARED, H_TIMED, H_TRY, H_UPGRADABLE

cdef enum:  # flags of what is held (h) and wanted (w): those of the held stack, and two more
    G_SHARED = H_SHARED         # h w: not exclusively
    G_RECURSIVE = H_RECURSIVE   # w: a share that is granted past waiting writers
    G_TIMED = H_TIMED           # w: gives up by itself
    G_TRY = H_TRY               # h: was taken by a try-lock
    G_EVIDENCE = H_EVIDENCE     # h: holders are known to be the ones that release
    G_REACQUIRE = H_REACQUIRE   # w: the end of a Condition.wait
    G_NESTED = H_NESTED         # w: a second lock of the same class is sanctioned
    G_HELD_SHARED = 128         # only in GLink.flags, where G_SHARED speaks of what is wanted
    G_IN_TASK = H_IN_TASK       # w: by a task, whose thread is told by `job`
    G_ONE_STEP = H_ONE_STEP     # w: with it, within one step of the task
    G_UPGRADABLE = H_UPGRADABLE # h w, with G_SHARED: the upgradable share; w, without: exclusively, by who holds that
    G_HELD_UPGRADABLE = 4096    # only in GLink.flags
    G_IMPLIED = 256             # only in GLink.flags: the edge passes over a later blocking acquire

cdef enum:  # what graph_learn answers
    G_KNOWN = 0            # nothing new; may be cached
    G_LEARNED = 1          # new, and no circle; may be cached
    G_WATCHED = 2          # part of a circle that a later witness may open: not to be cached
    G_FOUND = 3            # a circle to report, which has not been reported in this tier; not to be cached
    G_FULL = 4             # checked, but there was no room to learn: not to be cached

cdef enum:  # GCircle.doubts: why a circle is only possible
    GD_TIMED = 1           # somebody in it gives up by himself
    GD_INSTANCES = 2       # a lock wanted and the lock held are of one class, but two
    GD_EVIDENCE = 4        # a lock in it may be released by others than its holder
    GD_WRITER = 8          # readers block each other only behind a writer, and there has been none
    GD_BUDGET = 16         # the search for a better one was cut off

cdef enum:  # indices of GStats.filtered
    GF_AGENTS = 0
    GF_GATE = 1
    GF_HAPPENS_BEFORE = 2
    GF_SHARED = 3
    GF_BUDGET = 4

cdef enum:
    G_LONGEST = 16         # links; longer circles are not searched for
    G_NAME = 40

cdef enum:
    # An edge by reference: generation (24) | index (40). Edges are used again; the generation is 0 in no reference, and the same
    # for one place again after 16 million edges.
    G_EDGE_BITS = 40

cdef inline uint32_t job_of_thread(uint64_t agent) noexcept nogil:
    """What stands for a thread in the place of a job."""
    return <uint32_t>((agent * <uint64_t>0x9E3779B97F4A7C15) >> 32)

cdef struct GHeld:
    uint64_t serial
    uint32_t lock
    uint32_t node
    uint32_t site
    uint32_t flags

cdef struct GWant:
    uint64_t serial
    uint32_t lock
    uint32_t node
    uint32_t site
    uint32_t flags
    uint64_t agent
    uint32_t job               # 0: none; one agent in two jobs counts as two. With G_IN_TASK job_of_thread() of the task's thread
    uint32_t clock             # segment of clock_new; 0: unordered
    char name[40]
    double wall_s
    GHeld* held                # bottom first
    uint32_t depth

cdef struct GLink:
    # One edge with one witness of it.
    uint64_t edge              # by reference
    uint32_t from_node         # class nodes, for edges between instances too
    uint32_t to_node
    uint32_t held_site
    uint32_t wanted_site
    uint32_t from_lock
    uint32_t to_lock
    uint32_t flags
    uint64_t from_serial
    uint64_t to_serial
    uint64_t agent
    uint32_t job
    char name[40]
    uint64_t count
    double first_s             # wall time of the edge's first witness

cdef struct GCircle:
    uint32_t n                 # 0: none
    uint8_t high
    uint32_t doubts
    uint64_t token             # of what this call has learned, for graph_retract; 0: nothing
    uint64_t direct_edge       # set by every graph_learn: the edge from the lock on top of the stack, by reference; 0: none
    GLink link[16]             # link[0] is the edge just learned

cdef struct GRecord:
    # A circle as it was judged last, by any of its edges' witnesses.
    uint32_t n
    uint8_t tier               # 0 filtered, 1 possible, 2 high
    uint8_t filter             # GF_
    GLink link[16]

cdef struct GStats:
    uint64_t nodes             # classes and instances
    uint64_t edges
    uint64_t witnesses
    uint64_t cyclic            # edges within circles of classes or instances
    uint64_t seen
    uint64_t clocks
    uint64_t bytes
    uint64_t filtered[5]       # circles that are filtered now, by filter
    uint64_t reported          # circles that have been reported and still stand
    bint full
