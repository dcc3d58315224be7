# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Keeps an order of the nodes under insertion and removal of edges, and knows which nodes share a circle.

After Pearce and Kelly, "A dynamic topological sort algorithm for directed acyclic graphs" (2006): an edge against the order
makes two searches, forward from its head and backward from its tail, bounded by each other's ranks, and the nodes found
share out the ranks that they had. Here circles may stay: nodes on one are merged into a component, which the searches enter
and leave as a whole, and which is taken apart again when edges have gone. Rejected: to keep edges against the
order aside, for then one circle that nobody minds makes every later edge search the graph.

Cost: an edge that follows the order is a few list links; another one costs what lies between its ends' ranks.
Guard: the graph's mutex.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset

from fastlock._pool cimport *


cdef bint topology_open(Topology* t, uint32_t max_nodes, uint32_t max_edges) noexcept nogil:
    memset(t, 0, sizeof(Topology))
    return (pool_open(&t.nodes, sizeof(Node), max_nodes + 1) and pool_open(&t.edges, sizeof(Edge), max_edges + 1)
            and pool_open(&t.components, sizeof(Component), max_nodes + 2))


cdef void topology_close(Topology* t) noexcept nogil:
    pool_close(&t.nodes)
    pool_close(&t.edges)
    pool_close(&t.components)
    map_close(&t.by_pair)
    list_close(&t.forward)
    list_close(&t.backward)
    list_close(&t.scratch)
    free(t.ranked)
    free(t.ranks)


cdef uint64_t topology_bytes(Topology* t) noexcept nogil:
    cdef uint64_t lists = t.forward.room + t.backward.room + t.scratch.room
    return (pool_bytes(&t.nodes) + pool_bytes(&t.edges) + pool_bytes(&t.components) + map_bytes(&t.by_pair)
            + lists * sizeof(uint32_t) + t.ranked_room * (sizeof(Ranked) + sizeof(uint64_t)))


cdef uint32_t topology_node(Topology* t) noexcept nogil:
    cdef uint32_t n = pool_take(&t.nodes)
    if n:
        t.next_rank += 1
        node_at(t, n).rank = t.next_rank
        node_at(t, n).alive = 1
    return n


cdef uint32_t topology_find(Topology* t, uint32_t tail, uint32_t head) noexcept nogil:
    return map_get(&t.by_pair, (<uint64_t>tail << 32) | head)


cdef inline uint64_t lowest(Topology* t, Node* n) noexcept nogil:
    return component_at(t, n.component).lowest if n.component else n.rank


cdef inline uint64_t highest(Topology* t, Node* n) noexcept nogil:
    return component_at(t, n.component).highest if n.component else n.rank


# ---- the two searches ---------------------------------------------------------------------------

cdef bint enter(Topology* t, List* found, uint32_t n, bint forward) noexcept nogil:
    """Adds a node, and with it its component, to what a search has found."""
    cdef uint32_t first = n
    cdef Node* node
    while True:
        node = node_at(t, n)
        if forward:
            node.forward = t.stamp
        else:
            node.backward = t.stamp
        if not list_push(found, n):
            return False
        n = node.next_member
        if node.component == 0 or n == first:
            return True


cdef bint search_forward(Topology* t, uint32_t start, uint64_t limit) noexcept nogil:
    """Finds what is reached from a node without passing a rank."""
    cdef uint32_t i = 0
    cdef uint32_t e
    cdef Node* node
    t.forward.n = 0
    if not enter(t, &t.forward, start, True):
        return False
    while i < t.forward.n:
        e = node_at(t, t.forward.items[i]).first_out
        i += 1
        while e:
            node = node_at(t, edge_at(t, e).head)
            if node.forward != t.stamp and lowest(t, node) <= limit and not enter(t, &t.forward, edge_at(t, e).head, True):
                return False
            e = edge_at(t, e).next_out
    return True


cdef bint search_backward(Topology* t, uint32_t start, uint64_t limit) noexcept nogil:
    cdef uint32_t i = 0
    cdef uint32_t e
    cdef Node* node
    t.backward.n = 0
    if not enter(t, &t.backward, start, False):
        return False
    while i < t.backward.n:
        e = node_at(t, t.backward.items[i]).first_in
        i += 1
        while e:
            node = node_at(t, edge_at(t, e).tail)
            if node.backward != t.stamp and highest(t, node) >= limit and not enter(t, &t.backward, edge_at(t, e).tail, False):
                return False
            e = edge_at(t, e).next_in
    return True


# ---- sharing out the ranks ----------------------------------------------------------------------

cdef int by_rank(const void* a, const void* b) noexcept nogil:
    cdef uint64_t x = (<Ranked*>a).rank
    cdef uint64_t y = (<Ranked*>b).rank
    return (x > y) - (x < y)


cdef int by_value(const void* a, const void* b) noexcept nogil:
    cdef uint64_t x = (<uint64_t*>a)[0]
    cdef uint64_t y = (<uint64_t*>b)[0]
    return (x > y) - (x < y)


cdef void sort(Ranked* a, uint32_t n) noexcept nogil:
    cdef uint32_t i, j
    cdef Ranked moving
    if n > 24:
        qsort(a, n, sizeof(Ranked), by_rank)
        return
    for i in range(1, n):
        moving = a[i]
        j = i
        while j > 0 and a[j - 1].rank > moving.rank:
            a[j] = a[j - 1]
            j -= 1
        a[j] = moving


cdef bint rank_room(Topology* t, uint32_t n) noexcept nogil:
    cdef uint32_t room
    if n <= t.ranked_room:
        return True
    room = 2 * n + 64
    cdef Ranked* ranked = <Ranked*>malloc(room * sizeof(Ranked))
    cdef uint64_t* ranks = <uint64_t*>malloc(room * sizeof(uint64_t))
    if ranked == NULL or ranks == NULL:
        free(ranked)
        free(ranks)
        return False
    free(t.ranked)
    free(t.ranks)
    t.ranked = ranked
    t.ranks = ranks
    t.ranked_room = room
    return True


cdef void merge_ranks(uint64_t* out, Ranked* a, uint32_t na, Ranked* b, uint32_t nb, Ranked* c, uint32_t nc) noexcept nogil:
    cdef uint32_t i = 0, j = 0, k = 0, n
    cdef uint64_t x, y, z
    cdef uint64_t none = ~<uint64_t>0
    for n in range(na + nb + nc):
        x = a[i].rank if i < na else none
        y = b[j].rank if j < nb else none
        z = c[k].rank if k < nc else none
        if x < y and x < z:
            out[n] = x
            i += 1
        elif y < z:
            out[n] = y
            j += 1
        else:
            out[n] = z
            k += 1


cdef uint32_t pick(Topology* t, List* found, Ranked* into, int kind) noexcept nogil:
    """Copies, sorted, what only the backward (0) or forward (2) search found, or both did (1)."""
    cdef uint32_t i, n = 0
    cdef Node* node
    for i in range(found.n):
        node = node_at(t, found.items[i])
        if (node.forward == t.stamp and node.backward == t.stamp) == (kind == 1):
            into[n].rank = node.rank
            into[n].node = found.items[i]
            n += 1
    sort(into, n)
    return n


cdef void refresh_bounds(Topology* t, uint32_t c) noexcept nogil:
    cdef Component* component = component_at(t, c)
    cdef uint32_t n = component.first
    component.lowest = ~<uint64_t>0
    component.highest = 0
    while True:
        component.lowest = min(component.lowest, node_at(t, n).rank)
        component.highest = max(component.highest, node_at(t, n).rank)
        n = node_at(t, n).next_member
        if n == component.first:
            return


cdef bint reorder(Topology* t, uint32_t merged) noexcept nogil:
    """Puts what reaches the new edge's tail below what its head reaches, and in between, merged, what does both."""
    cdef uint32_t i, n, before, both, after
    cdef Node* node
    if not rank_room(t, t.forward.n + t.backward.n):
        return False
    before = pick(t, &t.backward, t.ranked, 0)
    both = pick(t, &t.forward, t.ranked + before, 1)
    after = pick(t, &t.forward, t.ranked + before + both, 2)
    n = before + both + after
    merge_ranks(t.ranks, t.ranked, before, t.ranked + before, both, t.ranked + before + both, after)
    for i in range(n):
        node_at(t, t.ranked[i].node).rank = t.ranks[i]
    if both:
        merge(t, merged, t.ranked + before, both)
    for i in range(n):
        node = node_at(t, t.ranked[i].node)
        if node.component and component_at(t, node.component).first == t.ranked[i].node:
            refresh_bounds(t, node.component)
    return True


# ---- components ---------------------------------------------------------------------------------

cdef void join(Topology* t, uint32_t c, uint32_t n) noexcept nogil:
    cdef Component* component = component_at(t, c)
    cdef Node* node = node_at(t, n)
    cdef Node* first
    if component.first == 0:
        component.first = n
        node.next_member = node.prev_member = n
    else:
        first = node_at(t, component.first)
        node.next_member = component.first
        node.prev_member = first.prev_member
        node_at(t, first.prev_member).next_member = n
        first.prev_member = n
    node.component = c
    component.size += 1


cdef void leave(Topology* t, uint32_t n) noexcept nogil:
    cdef Node* node = node_at(t, n)
    cdef Component* component = component_at(t, node.component)
    if component.first == n:
        component.first = node.next_member
    node_at(t, node.next_member).prev_member = node.prev_member
    node_at(t, node.prev_member).next_member = node.next_member
    node.component = node.next_member = node.prev_member = 0
    component.size -= 1


cdef void count_edges(Topology* t, uint32_t c) noexcept nogil:
    """Counts the edges inside a component that has just been made."""
    cdef Component* component = component_at(t, c)
    cdef uint32_t n = component.first
    cdef uint32_t e
    while True:
        e = node_at(t, n).first_out
        while e:
            component.edges += node_at(t, edge_at(t, e).head).component == c
            e = edge_at(t, e).next_out
        n = node_at(t, n).next_member
        if n == component.first:
            break
    t.cyclic += component.edges


cdef void merge(Topology* t, uint32_t c, Ranked* members, uint32_t n) noexcept nogil:
    """Makes one component of the members of several and of lone nodes."""
    cdef uint32_t i, old
    for i in range(n):
        old = node_at(t, members[i].node).component
        if old:
            leave(t, members[i].node)
            if component_at(t, old).size == 0:
                t.cyclic -= component_at(t, old).edges
                pool_put(&t.components, old)
        join(t, c, members[i].node)
    count_edges(t, c)


cdef void descend(Topology* t, uint32_t c, uint32_t root, uint32_t* number, uint32_t* left) noexcept nogil:
    """Tarjan's algorithm from one node, in loops: what is found complete becomes a component, from the highest ranks down.

    The call stack is t.forward, the stack of open nodes t.backward, and t.scratch gathers what is complete."""
    cdef uint32_t n, e, head
    cdef Node* node
    t.forward.n = 0
    list_push(&t.forward, root)
    while t.forward.n:
        n = t.forward.items[t.forward.n - 1]
        node = node_at(t, n)
        if node.forward != t.stamp:
            node.forward = t.stamp
            number[0] += 1
            node.number = node.low = number[0]
            node.cursor = node.first_out
            list_push(&t.backward, n)
        e = node.cursor
        if e:
            node.cursor = edge_at(t, e).next_out
            head = edge_at(t, e).head
            if node_at(t, head).component == c:
                if node_at(t, head).forward != t.stamp:
                    list_push(&t.forward, head)
                else:
                    node.low = min(node.low, node_at(t, head).number)
            continue
        t.forward.n -= 1
        if t.forward.n:
            node_at(t, t.forward.items[t.forward.n - 1]).low = min(
                node_at(t, t.forward.items[t.forward.n - 1]).low, node.low)
        if node.low == node.number:
            split_off(t, n, left)


cdef void split_off(Topology* t, uint32_t root, uint32_t* left) noexcept nogil:
    """Takes the open nodes down to `root` out of their component and gives them the highest ranks that are left."""
    cdef uint32_t n, c = 0
    if t.backward.items[t.backward.n - 1] != root:
        c = pool_take(&t.components)
    while True:
        t.backward.n -= 1
        n = t.backward.items[t.backward.n]
        leave(t, n)
        left[0] -= 1
        node_at(t, n).rank = t.ranks[left[0]]
        if c:
            join(t, c, n)
        if n == root:
            break
    if c:
        list_push(&t.scratch, c)


cdef void settle(Topology* t, uint32_t c) noexcept nogil:
    """Takes a component apart after edges have gone; put off until that is paid for by as many as an eighth of its nodes."""
    cdef Component* component = component_at(t, c)
    cdef uint32_t i, n, left, number = 0
    if component.size and component.debt * 8 < component.size:
        return
    left = component.size
    if left and (not rank_room(t, left) or not list_room(&t.forward, left) or not list_room(&t.backward, left)
                 or not list_room(&t.scratch, left)):
        return      # it stays too large, which costs searches and nothing else
    t.cyclic -= component.edges
    component.edges = component.debt = 0
    n = component.first
    for i in range(left):
        t.ranks[i] = node_at(t, n).rank
        n = node_at(t, n).next_member
    qsort(t.ranks, left, sizeof(uint64_t), by_value)
    t.stamp += 1
    t.scratch.n = t.backward.n = 0
    while component.size:
        descend(t, c, component.first, &number, &left)
    pool_put(&t.components, c)
    for i in range(t.scratch.n):
        refresh_bounds(t, t.scratch.items[i])
        count_edges(t, t.scratch.items[i])


# ---- edges --------------------------------------------------------------------------------------

cdef void link(Topology* t, uint32_t e, uint32_t tail, uint32_t head) noexcept nogil:
    cdef Edge* edge = edge_at(t, e)
    edge.tail = tail
    edge.head = head
    edge.next_out = node_at(t, tail).first_out
    edge.next_in = node_at(t, head).first_in
    if edge.next_out:
        edge_at(t, edge.next_out).prev_out = e
    if edge.next_in:
        edge_at(t, edge.next_in).prev_in = e
    node_at(t, tail).first_out = e
    node_at(t, head).first_in = e


cdef void unlink(Topology* t, uint32_t e) noexcept nogil:
    cdef Edge* edge = edge_at(t, e)
    if edge.prev_out:
        edge_at(t, edge.prev_out).next_out = edge.next_out
    else:
        node_at(t, edge.tail).first_out = edge.next_out
    if edge.next_out:
        edge_at(t, edge.next_out).prev_out = edge.prev_out
    if edge.prev_in:
        edge_at(t, edge.prev_in).next_in = edge.next_in
    else:
        node_at(t, edge.head).first_in = edge.next_in
    if edge.next_in:
        edge_at(t, edge.next_in).prev_in = edge.prev_in


cdef bint make_way(Topology* t, uint32_t tail, uint32_t head) noexcept nogil:
    """Changes the order so that the edge follows it, or puts its ends into one component."""
    cdef uint32_t merged
    cdef bint done
    if highest(t, node_at(t, tail)) < lowest(t, node_at(t, head)) or together(t, tail, head):
        return True
    merged = pool_take(&t.components)
    if merged == 0:
        return False
    t.stamp += 1
    done = (search_forward(t, head, highest(t, node_at(t, tail))) and search_backward(t, tail, lowest(t, node_at(t, head)))
            and reorder(t, merged))
    if component_at(t, merged).size == 0:
        pool_put(&t.components, merged)
    return done


cdef uint32_t topology_insert(Topology* t, uint32_t tail, uint32_t head) noexcept nogil:
    """A new edge between two nodes that have none; 0 where there is no room."""
    cdef uint32_t e = pool_take(&t.edges)
    if e == 0:
        return 0
    if not map_put(&t.by_pair, (<uint64_t>tail << 32) | head, e) or not make_way(t, tail, head):
        map_drop(&t.by_pair, (<uint64_t>tail << 32) | head)
        pool_put(&t.edges, e)
        return 0
    link(t, e, tail, head)
    edge_begins(t, e)
    if together(t, tail, head):
        component_at(t, node_at(t, tail).component).edges += 1
        t.cyclic += 1
    return e


cdef void detach(Topology* t, uint32_t e) noexcept nogil:
    cdef Edge* edge = edge_at(t, e)
    cdef Component* component
    if together(t, edge.tail, edge.head):
        component = component_at(t, node_at(t, edge.tail).component)
        component.edges -= 1
        component.debt += 1
        t.cyclic -= 1
    map_drop(&t.by_pair, (<uint64_t>edge.tail << 32) | edge.head)
    unlink(t, e)
    edge_ends(t, e)
    pool_put(&t.edges, e)


cdef void topology_remove(Topology* t, uint32_t e) noexcept nogil:
    cdef uint32_t c = 0
    if together(t, edge_at(t, e).tail, edge_at(t, e).head):
        c = node_at(t, edge_at(t, e).tail).component
    detach(t, e)
    if c:
        settle(t, c)


cdef void topology_drop_node(Topology* t, uint32_t n) noexcept nogil:
    """Removes a node and whatever edges it still has."""
    cdef Node* node = node_at(t, n)
    cdef uint32_t c = node.component
    while node.first_out:
        detach(t, node.first_out)
    while node.first_in:
        detach(t, node.first_in)
    if c:
        leave(t, n)
        component_at(t, c).debt += 1
        settle(t, c)
    node.alive = 0
    pool_put(&t.nodes, n)


cdef bint topology_distances(Topology* t, uint32_t target, uint32_t start, uint32_t furthest, uint32_t* budget) noexcept nogil:
    """Sets Node.distance to `target` for nodes of its component (a stamp in .backward says which); has `start` been reached?

    Looks no further than that, nor at more edges than the budget, which is 0 afterwards where it did not suffice."""
    cdef uint32_t i = 0
    cdef uint32_t e
    cdef uint32_t c = node_at(t, target).component
    cdef Node* node
    t.stamp += 1
    t.backward.n = 0
    node_at(t, target).backward = t.stamp
    node_at(t, target).distance = 0
    if c == 0 or not list_push(&t.backward, target):
        return False
    while i < t.backward.n and node_at(t, t.backward.items[i]).distance < furthest:
        e = node_at(t, t.backward.items[i]).first_in
        while e:
            node = node_at(t, edge_at(t, e).tail)
            if node.component == c and node.backward != t.stamp:
                node.backward = t.stamp
                node.distance = node_at(t, t.backward.items[i]).distance + 1
                if not list_push(&t.backward, edge_at(t, e).tail):
                    return False
            budget[0] -= 1
            if budget[0] == 0:
                return node_at(t, start).backward == t.stamp
            e = edge_at(t, e).next_in
        i += 1
    return node_at(t, start).backward == t.stamp


# ---- for tests ----------------------------------------------------------------------------------

cdef const char* topology_fault(Topology* t) noexcept nogil:
    """What is wrong with the order, NULL for nothing; looks at everything."""
    cdef uint32_t e, n
    cdef uint64_t inside = 0
    cdef Edge* edge
    for n in range(1, t.nodes.used):
        if not node_at(t, n).alive:
            continue
        if node_at(t, n).rank < lowest(t, node_at(t, n)) or node_at(t, n).rank > highest(t, node_at(t, n)):
            return b"a rank outside of its component's bounds"
        e = node_at(t, n).first_out
        while e:
            edge = edge_at(t, e)
            if edge.tail != n or topology_find(t, n, edge.head) != e:
                return b"an edge that is not found by its ends"
            if together(t, n, edge.head):
                inside += 1
            elif highest(t, node_at(t, n)) >= lowest(t, node_at(t, edge.head)):
                return b"an edge against the order"
            e = edge.next_out
    if inside != t.cyclic:
        return b"a wrong count of edges in circles"
    return NULL
