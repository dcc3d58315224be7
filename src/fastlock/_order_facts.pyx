# cython: language_level=3, binding=False
"""The order graph and its circles as Python objects: events for the reporting layer, and the whole for order_graph().

Cold; under the GIL, with no mutex held. What a circle was made of may be gone by now, threads and locks: then the name is
the one that the witness kept, and the class's.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fastlock._classes cimport CONSUMERS, FClass, class_at, class_label, class_name, graph, pair_settle
from fastlock._facts cimport agent_facts, blank_event, lock_facts, lock_name
from fastlock._graph cimport *
from fastlock._native cimport fl_site_key
from fastlock._options cimport LockOptions, options_of
from fastlock._sites cimport site_here
from fastlock._table cimport *

from fastlock._facts import KINDS

cdef enum:
    CIRCLES = 256              # that a dump lists

PASSED = ["distinct agents", "no common lock", "not ordered by start/join", "modes can block"]
FILTERS = ("agents", "gate", "happens-before", "shared", "budget")


# ---- events --------------------------------------------------------------------------------------------------

cdef dict link_agent(GLink* link):
    cdef FSelf* s = agent_at(<uint32_t>(link.agent & 0xFFFFFF))
    if s != NULL and agent_id(s) == link.agent and s.pub.state != A_FREE:
        return agent_facts(s)
    name = (<bytes>link.name).decode("utf-8", "ignore")
    # A record that was a task's once is one of tasks for ever, and only threads park.
    kind = "task" if s != NULL and s.parker == NULL else "thread"
    return {"id": link.agent, "kind": kind, "name": name or kind, "ident": 0, "native_id": 0, "state": "ended"}


cdef dict link_lock(uint32_t index, uint64_t serial, uint32_t node):
    cdef FLock* L = lock_at(index)
    cdef FClass c
    if L != NULL and L.serial == serial:
        facts = lock_facts(L, {}, {})
        facts.update(owner=None, held_at=0)
        return facts
    c = class_at(node)[0]
    return {"id": serial, "name": class_name(node), "class": class_label(node), "kind": KINDS[c.kind], "created": c.created,
            "owner": None, "readers": [], "waiters": [], "held_at": 0, "signal": False}


cdef dict link_edge(GLink* link):
    return {"agent": link.agent, "holds": link.from_serial, "waits": link.to_serial,
            "mode": "shared" if link.flags & G_SHARED else "exclusive", "held_at": link.held_site,
            "wanted_at": link.wanted_site, "since_ns": 0, "deadline_ns": None,
            "what": "acquire_upgradable" if link.flags & G_SHARED and link.flags & G_UPGRADABLE else "acquire_read" if link.flags & G_SHARED else "acquire"}


cdef list doubts(GCircle* circle):
    """Why an inversion is only possible."""
    reasons = []
    if circle.doubts & GD_INSTANCES:
        reasons.append("seen with different locks of one class, never with one and the same")
    if circle.doubts & GD_TIMED:
        reasons.append("one of the acquires gives up after a time")
    if circle.doubts & GD_EVIDENCE:
        reasons.append("one of the locks is a Lock that its owner has never released, nor taken by 'with': anybody may release it")
    if circle.doubts & GD_WRITER:
        reasons.append("it takes a writer that waits between the two readers, and nobody has written yet")
    if circle.doubts & GD_BUDGET:
        reasons.append("the search was cut short: not every combination of witnesses has been compared")
    return reasons


cdef dict inversion_event(GCircle* circle, FLock* L, FSelf* me):
    """FL010, for the handler."""
    cdef uint32_t i
    cdef GLink* link
    cdef LockOptions own = options_of(L)
    cdef dict event = blank_event("FL010", me)
    event["orders"] = []
    _, given = flush_counts()           # the circle was copied out before
    agents, locks = {}, {}
    for i in range(circle.n):
        link = &circle.link[i]
        agents.setdefault(link.agent, link_agent(link))
        for facts in (link_lock(link.from_lock, link.from_serial, link.from_node),
                      link_lock(link.to_lock, link.to_serial, link.to_node)):
            locks.setdefault(facts["id"], facts)
        event["edges"].append(link_edge(link))
        event["orders"].append({"first": link.from_serial, "then": link.to_serial, "held_at": link.held_site,
                                "wanted_at": link.wanted_site, "count": link.count + given.get(link.edge, 0),
                                "first_s": link.first_s, "agent": link.agent})
    event["agents"], event["locks"] = list(agents.values()), list(locks.values())
    event["tier"] = "high" if circle.high else "possible"
    event["reasons"] = doubts(circle)
    event["filters"] = PASSED
    event["policy"] = own.on_inversion if own is not None else None
    event["token"] = circle.token
    return event


cdef dict rank_event(FLock* L, FSelf* me):
    """FL011 where a held lock's rank, or the key of one of its class, is not below; None where all is in order."""
    cdef uint32_t i
    cdef FLock* held
    cdef LockOptions own = options_of(L), other
    if own is None:
        return None
    for i in range(me.depth):
        held = me.held[i].lock
        other = options_of(held)
        if other is None or held == L:
            continue
        what = None
        if own.rank is not None and other.rank is not None and not own.rank > other.rank:
            what = f"rank {own.rank} wanted while rank {other.rank} is held"
        elif held.node == L.node and own.key is not None and other.key is not None and not is_above(own.key, other.key):
            what = f"key {own.key!r} wanted while key {other.key!r} is held"
        if what is not None:
            return violation(what, L, held, held_site(me.thread if me.held[i].flags & H_IN_TASK else me, held), me, own)
    return None


cdef bint is_above(object key, object other) except -1:
    try:
        return bool(key > other)
    except TypeError:           # of two kinds, so there is no telling: for the report, and not for the program
        return False


cdef dict violation(str what, FLock* L, FLock* held, uint32_t held_at, FSelf* me, LockOptions own):
    cdef dict event = blank_event("FL011", me)
    cdef uint32_t site = site_here(fl_site_key())
    event["tier"] = "proven"
    event["reasons"] = [what]
    event["filters"], event["orders"] = [], []
    event["agents"] = [agent_facts(me)]
    event["locks"] = [link_lock(held.index, held.serial, held.node), link_lock(L.index, L.serial, L.node)]
    event["edges"] = [{"agent": agent_id(me), "holds": held.serial, "waits": L.serial, "mode": "exclusive", "held_at": held_at,
                       "wanted_at": site, "since_ns": 0, "deadline_ns": None, "what": "acquire"}]
    event["policy"] = own.on_inversion
    return event


# ---- the whole -------------------------------------------------------------------------------------------------

cdef dict node_facts(uint32_t node, dict acquired):
    cdef FClass c = class_at(node)[0]       # a copy: a finaliser may make classes meanwhile, and the table move
    cdef int i
    cdef int consumers = 0
    for i in range(CONSUMERS):
        if c.consumers[i]:
            consumers += 1
    return {"class": class_label(node), "name": class_name(node), "kind": KINDS[c.kind], "site": c.created, "live": c.live,
            "acquired": c.acquired + acquired.get(node, 0), "contended": c.contended, "consumers": consumers}


cdef tuple flush_counts():
    """Adds what the locks have counted to their edges: (how often each class's locks were acquired, what each edge was given)."""
    cdef uint32_t i
    cdef uint64_t edge, n
    cdef FLock* L
    acquired, given = {}, {}
    for i in range(1, lock_limit()):
        L = lock_at(i)
        if L.serial and L.node:
            acquired[L.node] = acquired.get(L.node, 0) + L.acquired
            edge = L.pair_count >> G_EDGE_BITS << G_EDGE_BITS | L.pair_edge
            n = pair_settle(L)
            if n:
                given[edge] = given.get(edge, 0) + n
    return acquired, given


cdef dict edge_facts(GLink* link, set cyclic):
    return {"from": link.from_node, "to": link.to_node, "count": link.count, "held_at": link.held_site,
            "wanted_at": link.wanted_site, "first_s": link.first_s, "agent_name": (<bytes>link.name).decode("utf-8", "ignore"),
            "cyclic": link.edge in cyclic}


cdef list all_circles():
    """(high, reasons, [(edge, class held, class wanted, facts of the edge)]) of each circle that stands."""
    cdef GCircle* found = <GCircle*>malloc(CIRCLES * sizeof(GCircle))
    cdef uint32_t i, n
    cdef uint64_t cursor = 0
    if found == NULL:
        raise MemoryError
    try:
        n = graph_circles(graph, found, CIRCLES, &cursor)
        return [circle_facts(&found[i]) for i in range(n)]
    finally:
        free(found)


cdef tuple circle_facts(GCircle* circle):
    cdef uint32_t i
    return bool(circle.high), doubts(circle), [circle_part(&circle.link[i]) for i in range(circle.n)]


cdef tuple circle_part(GLink* link):
    return (link.edge, link.from_node, link.to_node, edge_facts(link, {link.edge}))


cdef void add_edges_of_circles(list circles, list edges, dict at) except *:
    """Lists what a circle is made of and the graph's listing leaves out: orders between instances, one for all of a class,
    and orders over a lock in between."""
    known = {(edge["from"], edge["to"]): number for number, edge in enumerate(edges)}
    for _, _, parts in circles:
        for number, held, wanted, facts in parts:
            if number not in at:
                at[number] = known.setdefault((held, wanted), len(edges))
                if at[number] == len(edges):
                    edges.append(facts)


def dump():
    """The graph as builtins: classes, orders, circles, what was filtered; linear in all locks and edges."""
    cdef GLink* links = <GLink*>malloc(1024 * sizeof(GLink))
    cdef uint32_t cursor = 0, i, n
    if links == NULL:
        raise MemoryError
    acquired, _ = flush_counts()
    circles = all_circles()
    cyclic = {part[0] for _, _, parts in circles for part in parts}
    edges, at = [], {}
    try:
        while True:
            n = graph_edges(graph, links, 1024, &cursor)
            if n == 0:
                break
            for i in range(n):
                at[links[i].edge] = len(edges)
                edges.append(edge_facts(&links[i], cyclic))
    finally:
        free(links)
    return graph_facts(circles, edges, at, acquired)


cdef dict graph_facts(list circles, list edges, dict at, dict acquired):
    """The form of a dump: of circles, of edges and where each stands among them, of how often each class's locks were acquired."""
    cdef GStats stats
    nodes = {}
    add_edges_of_circles(circles, edges, at)
    for edge in edges:
        for node in (edge["from"], edge["to"]):
            if node not in nodes:
                nodes[node] = node_facts(node, acquired)
    graph_stats(graph, &stats)
    return {"nodes": nodes, "edges": edges,
            "circles": [{"high": high, "reasons": reasons, "edges": [at[part[0]] for part in parts],
                         "nodes": [part[1] for part in parts]}
                        for high, reasons, parts in circles],
            "filtered": {name: stats.filtered[i] for i, name in enumerate(FILTERS)}, "full": bool(stats.full), "bytes": stats.bytes}
