# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What a process tells of itself when it is asked, in slices: who asks lets others have the GIL between two of them, however much there is.

What comes and goes between two slices may be missed or be there still; each slice is one moment's truth. Guard: the GIL, and the graph's mutex inside the
graph. Nothing here is called but by who is asked, and nothing is kept between two questions.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset

from fastlock._classes cimport graph, pair_settle
from fastlock._delays cimport KIND_BITS, key_of_site
from fastlock._facts cimport agent_facts, is_made_for_one, lock_name, site_class
from fastlock._graph cimport *
from fastlock._native cimport fl_now_ns
from fastlock._options cimport LockOptions, options_of
from fastlock._order_facts cimport circle_facts, edge_facts, graph_facts
from fastlock._table cimport *
from fastlock._tasks cimport task_known

from fastlock._facts import KINDS

cdef enum:
    SLOTS = 256                # of a tally
    LOOKS = 512                # records between two looks at the clock
    LINKS = 256                # edges that are copied at once
    MOST_LABELS = 65536        # classes by name that are counted apart

cdef struct Tally:
    # Counts by key, the newest keys at hand: locks of one class lie together.
    uint64_t key[256]
    uint64_t number[256]


cdef int add_up(Tally* t, uint64_t key, uint64_t number, dict sums) except -1:
    cdef uint32_t i = (key ^ key >> KIND_BITS) % SLOTS
    if t.key[i] != key:
        settle_slot(t, i, sums)
        t.key[i] = key
    t.number[i] += number
    return 0


cdef int settle_slot(Tally* t, uint32_t i, dict sums) except -1:
    if t.number[i]:
        sums[t.key[i]] = sums.get(t.key[i], 0) + t.number[i]
        t.number[i] = 0
    return 0


cdef int settle(Tally* t, dict sums) except -1:
    cdef uint32_t i
    for i in range(SLOTS):
        settle_slot(t, i, sums)
    return 0


cdef bint is_lock(FLock* L) noexcept:
    """Whether the program has made it, and it is in use."""
    return L.serial != 0 and K_FREE < L.kind < K_RESULT and not is_made_for_one(L)


cdef class Slices:
    """What goes through all records, a while at a time."""
    cdef uint32_t at           # the next record
    cdef Tally tally

    def __cinit__(self):
        self.at = 1
        memset(&self.tally, 0, sizeof(Tally))

    cdef bint locks(self, int64_t end_ns, dict sums) except -1:
        """Go through some lock records, and more until that time; False where none is left."""
        cdef uint32_t last
        cdef FLock* L
        while self.at < lock_limit():
            last = min(self.at + <uint32_t>LOOKS, lock_limit())
            while self.at < last:
                L = lock_at(self.at)
                self.at += 1
                if is_lock(L):
                    self.look_at(L, sums)
            if fl_now_ns() >= end_ns:
                break
        settle(&self.tally, sums)
        return self.at < lock_limit()

    cdef int look_at(self, FLock* L, dict sums) except -1:
        raise NotImplementedError


@cython.final
cdef class Instances(Slices):
    """How many locks of each class live: go_on() until it returns False, then `by_key`.

    A class's key is as in delays_from(); what is more than 65,536 classes by name is counted under None.
    """
    cdef readonly dict by_key

    def __cinit__(self):
        self.by_key = {}

    def go_on(self, int64_t most_ns):
        return self.locks(fl_now_ns() + most_ns, self.by_key)

    cdef int look_at(self, FLock* L, dict sums) except -1:
        cdef LockOptions own = options_of(L)
        if own is None or own.lock_class is None:
            add_up(&self.tally, key_of_site(L.created, L.kind), 1, sums)
            return 0
        key = (own.lock_class, L.kind)
        if key not in sums and len(sums) >= MOST_LABELS:
            key = None
        sums[key] = sums.get(key, 0) + 1
        return 0


def class_of_key(key):
    """(class, kind) of a key that is not None."""
    cdef uint64_t number
    if isinstance(key, tuple):
        return key[0], KINDS[key[1]]
    number = key
    return site_class(<uint32_t>(number >> KIND_BITS), <uint8_t>number), KINDS[<uint8_t>number]


# ---- the order graph ------------------------------------------------------------------------------------------------

cdef int rarer(const void* one, const void* other) noexcept nogil:
    cdef uint64_t a = (<GLink*>one).count
    cdef uint64_t b = (<GLink*>other).count
    return (a < b) - (a > b)


@cython.final
cdef class Orders(Slices):
    """An excerpt of the order graph: go_on() until it returns False, or not to the end, then facts().

    First the circles, then what the locks have counted is given to their edges, then the edges are gone through for the most frequent ones.
    """
    cdef list circles
    cdef uint32_t most_circles, most_edges, n
    cdef GLink* links          # twice as many as are wanted: the rarer half makes room
    cdef uint64_t circle_cursor
    cdef uint32_t edge_cursor
    cdef bint all_circles, all_edges
    cdef object seen           # edges gone through
    cdef dict acquired

    def __cinit__(self, uint32_t circles, uint32_t edges):
        self.circles, self.acquired, self.seen = [], {}, 0
        self.most_circles, self.most_edges = circles, max(edges, <uint32_t>LINKS)
        self.links = <GLink*>malloc(2 * self.most_edges * sizeof(GLink))
        if self.links == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.links)

    def go_on(self, int64_t most_ns):
        cdef int64_t end_ns = fl_now_ns() + most_ns
        while not self.all_circles:
            self.next_circle()
            if fl_now_ns() >= end_ns:
                return True
        if self.locks(end_ns, self.acquired):
            return True
        while not self.all_edges:
            self.next_edges()
            if fl_now_ns() >= end_ns:
                break
        return not self.all_edges

    cdef int look_at(self, FLock* L, dict sums) except -1:
        if L.node:
            pair_settle(L)
            add_up(&self.tally, L.node, L.acquired, sums)
        return 0

    cdef int next_circle(self) except -1:
        cdef GCircle circle
        if len(self.circles) >= self.most_circles or graph_circles(graph, &circle, 1, &self.circle_cursor) == 0:
            self.all_circles = True
        else:
            self.circles.append(circle_facts(&circle))
        return 0

    cdef int next_edges(self) except -1:
        cdef uint32_t n
        if self.n + LINKS > 2 * self.most_edges:
            qsort(self.links, self.n, sizeof(GLink), rarer)
            self.n = self.most_edges
        n = graph_edges(graph, self.links + self.n, LINKS, &self.edge_cursor)
        self.n += n
        self.seen += n
        self.all_edges = n == 0
        return 0

    def facts(self):
        """The form of _order_facts.dump(), with "cut": how many edges and circles there are besides, and "whole": whether all has been gone through."""
        cdef uint32_t i
        cdef GStats stats
        qsort(self.links, self.n, sizeof(GLink), rarer)
        self.n = min(self.n, self.most_edges)
        cyclic = {part[0] for _, _, parts in self.circles for part in parts}
        at = {self.links[i].edge: i for i in range(self.n)}
        told = graph_facts(self.circles, [edge_facts(&self.links[i], cyclic) for i in range(self.n)], at, self.acquired)
        graph_stats(graph, &stats)
        told["cut"] = {"edges": self.seen - self.n, "circles": max(0, <int64_t>stats.reported - len(self.circles))}
        told["whole"] = self.all_circles and self.all_edges
        return told


# ---- agents --------------------------------------------------------------------------------------------------------

def agent(uint64_t number):
    """The facts of an agent by its id, None where there is none (any more); `thread` is the id of a task's loop's thread, a thread's own."""
    cdef FSelf* s = agent_at(<uint32_t>(number & 0xFFFFFF))
    cdef FSelf* thread
    if s == NULL or agent_id(s) != number or s.pub.state == A_FREE:
        return None
    thread = s if s.task == NULL else s.thread
    facts = agent_facts(s)
    facts["thread"] = agent_id(thread) if thread != NULL else None
    return facts


def name_of_lock(uint32_t index):
    """The name of the lock, or pool, with that record."""
    cdef FLock* L = lock_at(index)
    return lock_name(L) if L != NULL and L.serial != 0 else ""


def id_of_task(task):
    """The id of a task's agent, None where it has none: it neither holds nor waits for something here."""
    cdef FSelf* s = task_known(<PyObject*>task)
    return agent_id(s) if s != NULL and s.pub.state != A_FREE else None
