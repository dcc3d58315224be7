# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Keeps witnesses, the sets of locks that were held, and the names of agents, each set and each name once.

Guard: the graph's mutex. Cost: a witness is some 100 bytes; a set of d locks costs 8 d more, once for all its witnesses.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from fastlock._graph_types cimport *
from fastlock._pool cimport *


cdef bint evidence_open(Evidence* v, uint32_t limit) noexcept nogil:
    memset(v, 0, sizeof(Evidence))
    return (pool_open(&v.witnesses, sizeof(Witness), limit + 1) and pool_open(&v.locksets, sizeof(Lockset), limit + 1)
            and pool_open(&v.names, sizeof(Name), limit + 1))


cdef void evidence_close(Evidence* v) noexcept nogil:
    cdef uint32_t i
    if v.locksets.chunks != NULL:
        for i in range(1, v.locksets.used):
            free(lockset_at(v, i).items)
    free(v.gathered.items)
    pool_close(&v.witnesses)
    pool_close(&v.locksets)
    pool_close(&v.names)
    map_close(&v.lockset_by_key)
    map_close(&v.name_by_key)


cdef uint64_t evidence_bytes(Evidence* v) noexcept nogil:
    return (pool_bytes(&v.witnesses) + pool_bytes(&v.locksets) + pool_bytes(&v.names) + map_bytes(&v.lockset_by_key)
            + map_bytes(&v.name_by_key) + v.items_bytes + v.room * sizeof(uint64_t))


# ---- sets of held locks -------------------------------------------------------------------------

cdef bint gather_begin(Evidence* v, uint32_t depth) noexcept nogil:
    cdef void* p
    v.gathered.n = 0
    if depth <= v.room:
        return True
    p = realloc(v.gathered.items, <uint64_t>(depth + 16) * sizeof(uint64_t))
    if p == NULL:
        return False
    v.gathered.items = <uint64_t*>p
    v.room = depth + 16
    return True


cdef void gather(Evidence* v, uint64_t serial, uint32_t mode) noexcept nogil:
    """Adds a lock to the set that is being gathered; of two modes the one that keeps out more counts."""
    cdef uint32_t k
    cdef uint32_t i = v.gathered.n
    cdef uint64_t* items = v.gathered.items
    while i > 0 and items[i - 1] >> 2 > serial:
        i -= 1
    if i > 0 and items[i - 1] >> 2 == serial:
        items[i - 1] = max(items[i - 1], serial << 2 | mode)
        return
    k = v.gathered.n
    while k > i:
        items[k] = items[k - 1]
        k -= 1
    items[i] = serial << 2 | mode
    v.gathered.n += 1


cdef bint is_gathered(Evidence* v, Lockset* s) noexcept nogil:
    return s.n == v.gathered.n and memcmp(s.items, v.gathered.items, s.n * sizeof(uint64_t)) == 0


cdef uint32_t gather_end(Evidence* v) noexcept nogil:
    """The set gathered, as far as it is known; 0: it is new."""
    cdef uint32_t i, known
    v.gathered.key = mix(~<uint64_t>v.gathered.n)      # mixed, for small numbers would make equal keys with the first items
    v.gathered.signature = 0
    for i in range(v.gathered.n):
        v.gathered.key = mix(v.gathered.key ^ v.gathered.items[i])
        v.gathered.signature |= <uint64_t>1 << (mix(v.gathered.items[i] >> 2) & 63)
    v.gathered.key += v.gathered.key == 0
    while True:
        known = map_get(&v.lockset_by_key, v.gathered.key)
        if known == 0 or is_gathered(v, lockset_at(v, known)):
            return known
        v.gathered.key += 1 + (v.gathered.key == ~<uint64_t>0)      # another set has this key


cdef uint32_t lockset_keep(Evidence* v) noexcept nogil:
    """The set gathered, with a reference; 0 where memory is short."""
    cdef uint32_t k
    cdef uint32_t i = map_get(&v.lockset_by_key, v.gathered.key)
    cdef Lockset* s
    if i:
        lockset_at(v, i).refs += 1
        return i
    i = pool_take(&v.locksets)
    if i == 0:
        return 0
    s = lockset_at(v, i)
    s.items = <uint64_t*>malloc((v.gathered.n + 1) * sizeof(uint64_t))
    if s.items == NULL or not map_put(&v.lockset_by_key, v.gathered.key, i):
        free(s.items)
        s.items = NULL
        pool_put(&v.locksets, i)
        return 0
    memcpy(s.items, v.gathered.items, v.gathered.n * sizeof(uint64_t))
    s.n = v.gathered.n
    s.key = v.gathered.key
    s.signature = v.gathered.signature
    s.refs = 1
    v.items_bytes += (s.n + 1) * sizeof(uint64_t)
    for k in range(s.n):
        mention(v, s.items[k] >> 2)
    return i


cdef void lockset_drop(Evidence* v, uint32_t i) noexcept nogil:
    cdef Lockset* s = lockset_at(v, i)
    s.refs -= 1
    if s.refs == 0:
        map_drop(&v.lockset_by_key, s.key)
        v.items_bytes -= (s.n + 1) * sizeof(uint64_t)
        free(s.items)
        s.items = NULL
        pool_put(&v.locksets, i)


cdef bint gated(Evidence* v, uint32_t a, uint32_t b) noexcept nogil:
    """Whether two sets have a lock in common in modes that keep each other out: then their holders never overlap."""
    cdef Lockset* x = lockset_at(v, a)
    cdef Lockset* y = lockset_at(v, b)
    cdef uint32_t i = 0, j = 0
    if x.signature & y.signature == 0:
        return False
    while i < x.n and j < y.n:
        if x.items[i] >> 2 == y.items[j] >> 2:
            if (x.items[i] & 3) + (y.items[j] & 3) >= MODE_EXCLUSIVE:
                return True
            i += 1
            j += 1
        elif x.items[i] < y.items[j]:
            i += 1
        else:
            j += 1
    return False


# ---- names --------------------------------------------------------------------------------------

cdef uint32_t name_keep(Evidence* v, const char* text) noexcept nogil:
    cdef uint64_t words[5]
    cdef uint64_t key = 1
    cdef uint32_t i
    memset(words, 0, sizeof(words))
    for i in range(G_NAME - 1):
        if text[i] == 0:
            break
        (<char*>words)[i] = text[i]
    for i in range(5):
        key = mix(key ^ words[i])
    key += key == 0
    while True:
        i = map_get(&v.name_by_key, key)
        if i == 0:
            break
        if memcmp(name_at(v, i).text, words, G_NAME) == 0:
            name_at(v, i).refs += 1
            return i
        key += 1 + (key == ~<uint64_t>0)
    i = pool_take(&v.names)
    if i and not map_put(&v.name_by_key, key, i):
        pool_put(&v.names, i)
        return 0
    if i:
        memcpy(name_at(v, i).text, words, G_NAME)
        name_at(v, i).key = key
        name_at(v, i).refs = 1
    return i


cdef void name_drop(Evidence* v, uint32_t i) noexcept nogil:
    name_at(v, i).refs -= 1
    if name_at(v, i).refs == 0:
        map_drop(&v.name_by_key, name_at(v, i).key)
        pool_put(&v.names, i)


# ---- witnesses ----------------------------------------------------------------------------------

cdef inline void mention(Evidence* v, uint64_t serial) noexcept nogil:
    cdef uint64_t bit = mix(serial) & 0x3FFFF
    v.mentioned[bit >> 6] |= <uint64_t>1 << (bit & 63)


cdef bint was_mentioned(Evidence* v, uint64_t serial) noexcept nogil:
    """False where no witness can have the lock in it."""
    cdef uint64_t bit = mix(serial) & 0x3FFFF
    return (v.mentioned[bit >> 6] >> (bit & 63)) & 1


cdef uint32_t witness_new(Evidence* v, GWant* want, GHeld* held, uint32_t flags) noexcept nogil:
    """A witness with the set that was gathered last; 0 where there is no room."""
    cdef uint32_t i = pool_take(&v.witnesses)
    cdef uint32_t lockset, name
    cdef Witness* w
    if i == 0:
        return 0
    lockset = lockset_keep(v)
    name = name_keep(v, want.name) if lockset else 0
    if name == 0:
        if lockset:
            lockset_drop(v, lockset)
        pool_put(&v.witnesses, i)
        return 0
    w = witness_at(v, i)
    w.agent = want.agent
    w.job = want.job
    w.clock = want.clock
    w.from_serial = held.serial
    w.to_serial = want.serial
    w.wall_s = want.wall_s
    w.lockset = lockset
    w.name = name
    w.held_site = held.site
    w.wanted_site = want.site
    w.from_lock = held.lock
    w.to_lock = want.lock
    w.flags = flags
    mention(v, want.serial)
    return i


cdef uint32_t witness_copy(Evidence* v, uint32_t w) noexcept nogil:
    """The same witness once more, belonging to no edge yet."""
    cdef uint32_t i = pool_take(&v.witnesses)
    if i:
        witness_at(v, i)[0] = witness_at(v, w)[0]
        witness_at(v, i).next = 0
        lockset_at(v, witness_at(v, i).lockset).refs += 1
        name_at(v, witness_at(v, i).name).refs += 1
    return i


cdef void witness_free(Evidence* v, uint32_t w) noexcept nogil:
    lockset_drop(v, witness_at(v, w).lockset)
    name_drop(v, witness_at(v, w).name)
    witness_at(v, w).edge = 0
    pool_put(&v.witnesses, w)


cdef bint witness_forgets(Evidence* v, uint32_t w, uint64_t serial) noexcept nogil:
    """Takes a lock out of the set that a witness held; was it in there?"""
    cdef uint32_t old = witness_at(v, w).lockset
    cdef Lockset* s = lockset_at(v, old)
    cdef uint32_t i, reduced
    cdef bint there = False
    for i in range(s.n):
        there |= s.items[i] >> 2 == serial
    if not there or not gather_begin(v, s.n):
        return False
    for i in range(s.n):
        if s.items[i] >> 2 != serial:
            gather(v, s.items[i] >> 2, s.items[i] & 3)
    gather_end(v)
    reduced = lockset_keep(v)
    if reduced == 0:
        return False
    witness_at(v, w).lockset = reduced
    lockset_drop(v, old)
    return True
