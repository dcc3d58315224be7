# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Remembers how circles have been judged, so that each is told once in a tier, and says which edges are to be watched.

A record that is not as bad as can be has its edges watched: what they are shown is never taken for known, so that a later
witness can open the circle. Guard: the graph's mutex.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fastlock._pool cimport *
from fastlock._topology cimport *

cdef enum:
    MOST_RECORDS = 16384


cdef bint records_open(Records* a, Topology* order) noexcept nogil:
    memset(a, 0, sizeof(Records))
    a.order = order
    return pool_open(&a.pool, sizeof(Record), MOST_RECORDS + 1)


cdef void records_close(Records* a) noexcept nogil:
    pool_close(&a.pool)
    map_close(&a.by_key)


cdef uint64_t records_bytes(Records* a) noexcept nogil:
    return pool_bytes(&a.pool) + map_bytes(&a.by_key)


cdef void rotate(uint32_t* edges, uint32_t n, uint32_t* out) noexcept nogil:
    """A circle's edges with the smallest first, so that equal circles are equal."""
    cdef uint32_t i, smallest = 0
    for i in range(1, n):
        if edges[i] < edges[smallest]:
            smallest = i
    for i in range(n):
        out[i] = edges[(smallest + i) % n]


cdef uint32_t look_up(Records* a, uint32_t* rotated, uint32_t n, uint64_t* key) noexcept nogil:
    """The record of a circle, or 0 and the key to put it under."""
    cdef uint32_t i, found
    key[0] = mix(~<uint64_t>n)
    for i in range(n):
        key[0] = mix(key[0] ^ rotated[i])
    key[0] += key[0] == 0
    while True:
        found = map_get(&a.by_key, key[0])
        if found == 0:
            return 0
        if record_at(a, found).n == n:
            for i in range(n):
                if record_at(a, found).edges[i] != rotated[i]:
                    break
            else:
                return found
        key[0] += 1 + (key[0] == ~<uint64_t>0)


cdef uint32_t record_find(Records* a, uint32_t* edges, uint32_t n) noexcept nogil:
    cdef uint32_t rotated[16]
    cdef uint64_t key
    rotate(edges, n, rotated)
    return look_up(a, rotated, n, &key)


cdef void tally(Records* a, Record* r, int by) noexcept nogil:
    """Counts a record in or out. Its edges are watched while there is something better that it could become."""
    cdef uint32_t i
    if r.tier == T_FILTERED:
        a.filtered[r.filter] += by
    else:
        a.reported += by
    if r.tier != T_HIGH:
        for i in range(r.n):
            a.news |= edge_at(a.order, r.edges[i]).watched == 0
            edge_at(a.order, r.edges[i]).watched += by


cdef bint record_set(Records* a, uint32_t* edges, uint32_t n, int tier, int filter, uint64_t call) noexcept nogil:
    """Notes how a circle has been judged; False where there is no room to, and it will be told again."""
    cdef uint32_t rotated[16]
    cdef uint64_t key
    cdef uint32_t i, k
    cdef Record* r
    rotate(edges, n, rotated)
    i = look_up(a, rotated, n, &key)
    if i == 0:
        i = pool_take(&a.pool)
        if i and not map_put(&a.by_key, key, i):
            pool_put(&a.pool, i)
            i = 0
        if i == 0:
            return False
        r = record_at(a, i)
        r.n = n
        r.key = key
        for k in range(n):
            r.edges[k] = rotated[k]
            edge_at(a.order, rotated[k]).recorded = 1
    else:
        r = record_at(a, i)
        if r.call != call:
            r.existed = True
            r.tier_before = r.tier
            r.filter_before = r.filter
        tally(a, r, -1)
    r.call = call
    r.tier = tier
    r.filter = filter
    tally(a, r, 1)
    return True


cdef void record_drop(Records* a, uint32_t i) noexcept nogil:
    cdef Record* r = record_at(a, i)
    tally(a, r, -1)
    map_drop(&a.by_key, r.key)
    r.key = 0
    pool_put(&a.pool, i)


cdef void records_forget_edge(Records* a, uint32_t edge) noexcept nogil:
    """Drops the records of all circles that an edge is part of. Costs a look at all records, where there is one."""
    cdef uint32_t i, k
    cdef Record* r
    if not edge_at(a.order, edge).recorded:
        return
    for i in range(1, a.pool.used):
        r = record_at(a, i)
        if r.key:
            for k in range(r.n):
                if r.edges[k] == edge:
                    record_drop(a, i)
                    break


cdef void records_restore(Records* a, uint64_t call) noexcept nogil:
    """Takes back what one call has noted."""
    cdef uint32_t i
    cdef Record* r
    for i in range(1, a.pool.used):
        r = record_at(a, i)
        if r.key == 0 or r.call != call:
            continue
        if not r.existed:
            record_drop(a, i)
            continue
        tally(a, r, -1)
        r.tier = r.tier_before
        r.filter = r.filter_before
        r.call = 0
        tally(a, r, 1)
