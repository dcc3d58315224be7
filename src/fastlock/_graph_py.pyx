# cython: language_level=3, binding=False
"""The lock-order graph for tests, tools and benchmarks, in Python's types; what runs in a program calls _graph itself."""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset, strncpy

from fastlock._graph cimport *
from fastlock._native cimport fl_now_ns
from fastlock._topology cimport *

KNOWN, LEARNED, WATCHED, FOUND, FULL = G_KNOWN, G_LEARNED, G_WATCHED, G_FOUND, G_FULL
SHARED, RECURSIVE, TIMED, TRY, EVIDENCE = G_SHARED, G_RECURSIVE, G_TIMED, G_TRY, G_EVIDENCE
REACQUIRE, NESTED, HELD_SHARED, IMPLIED = G_REACQUIRE, G_NESTED, G_HELD_SHARED, G_IMPLIED
FILTERS = ("agents", "gate", "happens-before", "shared", "budget")
TIERS = ("filtered", "possible", "high")
DOUBTS = {GD_TIMED: "timed", GD_INSTANCES: "instances", GD_EVIDENCE: "evidence", GD_WRITER: "writer", GD_BUDGET: "budget"}


cdef dict link_dict(GLink* l):
    return {
        "edge": l.edge, "from": l.from_node, "to": l.to_node, "from_serial": l.from_serial, "to_serial": l.to_serial,
        "from_lock": l.from_lock, "to_lock": l.to_lock, "held_site": l.held_site, "wanted_site": l.wanted_site,
        "flags": l.flags, "agent": l.agent, "job": l.job, "name": (<bytes>l.name).decode("utf-8", "replace"),
        "count": l.count, "first_s": l.first_s,
    }


cdef dict circle_dict(GCircle* c):
    cdef uint32_t i
    return {
        "tier": "high" if c.high else "possible",
        "doubts": frozenset(name for bit, name in DOUBTS.items() if c.doubts & bit),
        "token": c.token,
        "links": [link_dict(&c.link[i]) for i in range(c.n)],
    }


cdef class Graph:
    """A lock-order graph of its own; its methods may be called by any thread and hold no lock of Python's meanwhile."""

    cdef FGraph* graph
    cdef readonly uint64_t direct_edge
    cdef readonly uint64_t token

    def __cinit__(self, uint32_t nodes=65536, uint32_t edges=1048576, *, uint32_t budget=20000, uint32_t witnesses=16):
        self.graph = graph_new(nodes, edges)
        if self.graph == NULL:
            raise MemoryError
        graph_tune(self.graph, budget, witnesses)

    def __dealloc__(self):
        if self.graph != NULL:
            graph_free(self.graph)

    def node(self):
        return graph_node(self.graph)

    def drop_node(self, uint32_t node):
        graph_drop_node(self.graph, node)

    def writer(self, uint32_t node):
        graph_writer(self.graph, node)

    def learn(self, uint64_t agent, want, held, *, uint32_t job=0, uint32_t clock=0, name="", double wall_s=0.0):
        """Locks are (serial, node, flags[, site[, lock]]), held ones bottom first; returns (code, circle or None)."""
        cdef GWant w
        cdef GCircle out
        cdef GHeld* stack = <GHeld*>calloc(len(held) + 1, sizeof(GHeld))
        cdef bytes text = name.encode()
        cdef int code
        if stack == NULL:
            raise MemoryError
        try:
            memset(&w, 0, sizeof(w))
            w.serial, w.node, w.flags, w.site, w.lock = (*want, 0, 0)[:5]
            for i, lock in enumerate(held):
                stack[i].serial, stack[i].node, stack[i].flags, stack[i].site, stack[i].lock = (*lock, 0, 0)[:5]
            w.agent = agent
            w.job = job
            w.clock = clock
            strncpy(w.name, PyBytes_AS_STRING(text), G_NAME - 1)
            w.wall_s = wall_s
            w.held = stack
            w.depth = <uint32_t>len(held)
            with nogil:
                code = graph_learn(self.graph, &w, &out)
        finally:
            free(stack)
        self.direct_edge = out.direct_edge
        self.token = out.token
        return code, circle_dict(&out) if code == G_FOUND else None

    def retract(self, uint64_t token):
        graph_retract(self.graph, token)

    def signal(self, uint64_t serial):
        graph_signal(self.graph, serial)

    def lock_died(self, uint64_t serial):
        graph_lock_died(self.graph, serial)

    def clock(self, uint32_t pred1=0, uint32_t pred2=0):
        """A segment after up to two others, to be given back by unclock."""
        return clock_new(self.graph, pred1, pred2)

    def unclock(self, uint32_t clock):
        clock_unref(self.graph, clock)

    def before(self, uint32_t a, uint32_t b):
        return clock_before(self.graph, a, b)

    def remember(self, uint64_t key, uint64_t edge):
        graph_remember(self.graph, key, edge)

    def seen(self, uint64_t key):
        return graph_seen(self.graph, key)

    def epoch(self):
        return graph_epoch(self.graph)

    def saturated(self, uint64_t edge):
        return graph_saturated(self.graph, edge)

    def count(self, uint64_t edge, uint64_t n):
        return graph_count(self.graph, edge, n)

    def edges(self):
        """The direct edges between classes, each with its first witness."""
        cdef GLink some[64]
        cdef uint32_t cursor = 0
        cdef uint32_t i, n
        found = []
        while True:
            n = graph_edges(self.graph, some, 64, &cursor)
            if n == 0:
                return found
            for i in range(n):
                found.append(link_dict(&some[i]))

    def circles(self, uint32_t limit=1000):
        """The circles that have been reported and still stand, shortest first."""
        cdef GCircle* some = <GCircle*>calloc(limit + 1, sizeof(GCircle))
        cdef uint32_t i, n
        cdef uint64_t cursor = 0
        if some == NULL:
            raise MemoryError
        try:
            n = graph_circles(self.graph, some, limit, &cursor)
            return [circle_dict(&some[i]) for i in range(n)]
        finally:
            free(some)

    def records(self, uint32_t limit=1000):
        """How circles were judged: (tier, filter or None, [(from class, to class, from serial, to serial), …])."""
        cdef GRecord* some = <GRecord*>calloc(limit + 1, sizeof(GRecord))
        cdef uint32_t i, k, n
        if some == NULL:
            raise MemoryError
        try:
            n = graph_records(self.graph, some, limit)
            return [
                (TIERS[some[i].tier], FILTERS[some[i].filter] if some[i].tier == 0 else None,
                 [(some[i].link[k].from_node, some[i].link[k].to_node, some[i].link[k].from_serial, some[i].link[k].to_serial)
                  for k in range(some[i].n)])
                for i in range(n)
            ]
        finally:
            free(some)

    def stats(self):
        cdef GStats s
        graph_stats(self.graph, &s)
        return {
            "nodes": s.nodes, "edges": s.edges, "witnesses": s.witnesses, "cyclic": s.cyclic, "seen": s.seen,
            "clocks": s.clocks, "bytes": s.bytes, "reported": s.reported, "full": bool(s.full),
            "filtered": {name: s.filtered[i] for i, name in enumerate(FILTERS)},
        }

    def fault(self):
        """What is wrong with the graph's order, None for nothing."""
        cdef const char* text = graph_fault(self.graph)
        return None if text == NULL else (<bytes>text).decode()

    def time_learning(self, const uint32_t[::1] pairs):
        """Learns edges, given as node after node, from one agent that holds one lock; returns the nanoseconds it took."""
        cdef GWant w
        cdef GHeld h
        cdef GCircle out
        cdef Py_ssize_t i
        cdef int64_t start
        memset(&w, 0, sizeof(w))
        memset(&h, 0, sizeof(h))
        w.agent = 1
        w.held = &h
        w.depth = 1
        h.flags = G_EVIDENCE
        with nogil:
            start = fl_now_ns()
            for i in range(0, pairs.shape[0] - 1, 2):
                h.node = pairs[i]
                h.serial = h.node
                w.node = pairs[i + 1]
                w.serial = w.node
                graph_learn(self.graph, &w, &out)
            start = fl_now_ns() - start
        return start

    def time_seen(self, const uint64_t[::1] keys, uint32_t rounds):
        """Looks all keys up again and again; returns the nanoseconds it took and how many were not there."""
        cdef Py_ssize_t i
        cdef uint32_t r
        cdef uint64_t missing = 0
        cdef int64_t start
        with nogil:
            start = fl_now_ns()
            for r in range(rounds):
                for i in range(keys.shape[0]):
                    missing += graph_seen(self.graph, keys[i]) == 0
            start = fl_now_ns() - start
        return start, missing


cdef class Order:
    """The order of nodes alone, without witnesses and judgement."""

    cdef Topology order

    def __cinit__(self, uint32_t nodes, uint32_t edges):
        if not topology_open(&self.order, nodes, edges):
            raise MemoryError

    def __dealloc__(self):
        topology_close(&self.order)

    def node(self):
        return topology_node(&self.order)

    def drop_node(self, uint32_t node):
        topology_drop_node(&self.order, node)

    def insert(self, uint32_t tail, uint32_t head):
        return topology_insert(&self.order, tail, head)

    def find(self, uint32_t tail, uint32_t head):
        return topology_find(&self.order, tail, head)

    def remove(self, uint32_t edge):
        topology_remove(&self.order, edge)

    def together(self, uint32_t a, uint32_t b):
        return together(&self.order, a, b)

    def rank(self, uint32_t node):
        return node_at(&self.order, node).rank

    def reaches(self, uint32_t start, uint32_t target):
        """Within a component."""
        cdef uint32_t budget = 0xFFFFFFFF
        return topology_distances(&self.order, target, start, budget, &budget)

    def cyclic(self):
        return self.order.cyclic

    def fault(self):
        cdef const char* text = topology_fault(&self.order)
        return None if text == NULL else (<bytes>text).decode()
