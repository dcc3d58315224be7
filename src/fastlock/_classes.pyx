# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Lock classes: which locks count as one in the lock-order graph, and what is counted for each class.

A class is what `lock_class` says, else the name, else the creation site; it is asked for when a lock is first held, or
wanted, with another one, and the record keeps the answer. Sites are never forgotten, so neither are their classes; a
class by name whose locks are all gone makes room when the table gets crowded. Guard of everything here: the GIL.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, realloc
from libc.string cimport memset

from fastlock._facts cimport lock_class, lock_name, site_class
from fastlock._graph cimport FGraph, graph_drop_node, graph_lock_died, graph_new, graph_node, graph_writer
from fastlock._native cimport fl_finalizing
from fastlock._options cimport LockOptions, options_of
from fastlock._table cimport M_SIGNAL, M_WRITTEN, FLock, FSelf, agent_id, agent_of, lock_at, lock_limit, mix

cdef enum:
    MAX_NODES = 262144         # of the graph: classes, and instances that are told apart
    MAX_EDGES = 1048576
    MAX_SITES = 65536
    CROWDED = 32768            # classes by name, before those without a lock make room

cdef FGraph* graph = graph_new(MAX_NODES, MAX_EDGES)
cdef FClass* classes = NULL
cdef uint32_t classes_room = 0
cdef uint32_t* node_of_site = <uint32_t*>calloc(MAX_SITES, sizeof(uint32_t))
cdef dict node_of_label = {}
cdef uint32_t node_of_nowhere = 0
cdef uint64_t class_numbers = 0
cdef dict labels = {}           # node -> (label, name of its first lock)
cdef uint32_t crowded = CROWDED

if graph == NULL or node_of_site == NULL:
    raise MemoryError


cdef FClass* class_at(uint32_t node) noexcept nogil:
    return &classes[node]


cdef object class_label(uint32_t node):
    """Asked for anew where it is a site's: another file of the name may have come since."""
    cdef FClass c = classes[node]
    return site_class(c.created, c.kind) if c.created and node_of_site[c.created] == node else labels[node][0]


cdef object class_name(uint32_t node):
    return labels[node][1]


cdef uint32_t new_class(FLock* L, tuple label) except? 0:
    """A node for a class that is met for the first time; 0 where the graph is full."""
    global classes, classes_room, class_numbers
    cdef uint32_t node = graph_node(graph)
    cdef uint32_t room
    cdef FClass* grown
    if node == 0:
        return 0
    if node >= classes_room:
        room = node * 2 if node >= 512 else 1024
        grown = <FClass*>realloc(classes, room * sizeof(FClass))
        if grown == NULL:
            graph_drop_node(graph, node)
            raise MemoryError
        memset(grown + classes_room, 0, (room - classes_room) * sizeof(FClass))
        classes, classes_room = grown, room
    memset(&classes[node], 0, sizeof(FClass))
    class_numbers += 1
    classes[node].number = class_numbers
    classes[node].created = L.created
    classes[node].kind = L.kind
    labels[node] = label
    return node


cdef uint32_t class_of(FLock* L) except? 0:
    """The lock's class, worked out once; 0 where the graph has no room for another one, or the interpreter ends."""
    cdef LockOptions own
    cdef tuple label
    if L.node != 0:
        return L.node
    if fl_finalizing():
        return 0
    own = options_of(L)
    if own is None or own.lock_class is None:
        if L.created and node_of_site[L.created]:
            return join_class(L, node_of_site[L.created])
        label = (lock_class(L), lock_name(L))
        return join_class(L, class_by_site(L, label))
    if own.lock_class in node_of_label:
        return join_class(L, node_of_label[own.lock_class])
    if len(node_of_label) >= crowded:
        make_room()
    label = (own.lock_class, lock_name(L))
    return join_class(L, class_by_label(L, label))


# From here on no Python code runs: to make the label, a finaliser may have come in, and made a lock's class, even this one's.

cdef uint32_t class_by_site(FLock* L, tuple label) except? 0:
    global node_of_nowhere
    cdef uint32_t node = node_of_site[L.created] if L.created else node_of_nowhere
    if node == 0:
        node = new_class(L, label)
        if node and L.created:
            node_of_site[L.created] = node
        elif node:
            node_of_nowhere = node              # made by no Python code at all: nothing says that two are alike
            classes[node].by_instance = 1
    return node


cdef uint32_t class_by_label(FLock* L, tuple label) except? 0:
    cdef uint32_t node = node_of_label.get(label[0], 0)
    if node == 0:
        node = new_class(L, label)
        if node:
            node_of_label[label[0]] = node
    return node


cdef uint32_t join_class(FLock* L, uint32_t node) noexcept:
    if node != 0 and L.node == 0:
        L.node = node
        classes[node].live += 1
        set_tag(L)
        if L.marks & M_WRITTEN:
            graph_writer(graph, node)
    return L.node


cdef void set_tag(FLock* L) noexcept:
    L.tag = mix(L.serial, 2) if classes[L.node].by_instance else mix(classes[L.node].number, 1)


cdef bint class_split(uint32_t node) noexcept:
    """From here on the class's locks are told apart; False where they were already."""
    cdef uint32_t i
    cdef FLock* L
    if classes[node].by_instance:
        return False
    classes[node].by_instance = 1
    for i in range(1, lock_limit()):
        L = lock_at(i)
        if L.node == node:
            set_tag(L)
    return True


cdef int class_written(FLock* L, bint learning) except -1:
    """An RWLock has been wanted exclusively: readers of its class may come to block each other from here on.

    What is not learned now is when the lock itself is first nested; its class's other locks do without till then.
    """
    L.marks |= M_WRITTEN
    if L.node != 0:
        graph_writer(graph, L.node)
    elif learning:
        class_of(L)
    return 0


cdef int make_room() except -1:
    """Drops the classes by name that have no lock any more; what was ordered through them stays ordered."""
    global crowded
    cdef uint32_t node
    for label, node in list(node_of_label.items()):
        if classes[node].live == 0:
            graph_drop_node(graph, node)
            del node_of_label[label], labels[node]
    crowded = max(CROWDED, 2 * len(node_of_label))
    return 0


cdef void class_contended(FLock* L, FSelf* me) noexcept:
    """Counts an acquire that has to wait, and remembers who waits for whom."""
    cdef FSelf* owner = agent_of(L.word)
    if L.node == 0:
        return
    classes[L.node].contended += 1
    add_consumer(&classes[L.node], agent_id(me))
    if owner != NULL:
        add_consumer(&classes[L.node], agent_id(owner))


cdef void add_consumer(FClass* c, uint64_t agent) noexcept:
    cdef int i
    for i in range(CONSUMERS):
        if c.consumers[i] == agent:
            return
        if c.consumers[i] == 0:
            c.consumers[i] = agent
            return


cdef void class_died(FLock* L) noexcept:
    """A lock with a class is gone."""
    cdef FClass* c = &classes[L.node]
    c.live -= 1
    c.acquired += L.acquired
    pair_settle(L)
    if c.by_instance or L.marks & M_SIGNAL:
        graph_lock_died(graph, L.serial)
    L.node = L.pair_edge = 0
    L.tag = L.acquired = L.pair_key = L.pair_count = 0
