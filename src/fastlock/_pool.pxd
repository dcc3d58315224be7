# cython: language_level=3, binding=False
"""Plain memory for the lock-order graph: records by index, a hash map, and a list. Guarded by whoever owns them.

Indices are 32 bits and 0 is nobody. Records stay where they are, so that a thread may look at one without the mutex. Whatever
can run out of memory says so and leaves things as they were.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastlock._native cimport fl_put64

cdef enum:
    CHUNK = 256        # records

cdef struct Pool:
    char** chunks      # as many as the limit asks for, allocated when needed
    uint32_t size      # bytes of a record
    uint32_t used      # indices ever handed out
    uint32_t unused    # the first of those given back, linked through the record's first word
    uint32_t live
    uint32_t limit

cdef struct MapSlot:
    uint64_t key       # 0: empty
    uint32_t value

cdef struct Map:
    MapSlot* slots
    uint64_t mask
    uint64_t live

cdef struct List:
    uint32_t* items
    uint32_t n
    uint32_t room


cdef inline bint pool_open(Pool* p, uint32_t size, uint32_t limit) noexcept nogil:
    memset(p, 0, sizeof(Pool))
    p.size = size
    p.limit = limit
    p.used = 1
    p.chunks = <char**>calloc(limit // CHUNK + 1, sizeof(char*))
    return p.chunks != NULL


cdef inline void pool_close(Pool* p) noexcept nogil:
    cdef uint32_t i
    if p.chunks != NULL:
        for i in range((p.used - 1) // CHUNK + 1):
            free(p.chunks[i])
        free(p.chunks)
    p.chunks = NULL


cdef inline void record_clear(uint64_t* record, uint32_t size) noexcept nogil:
    """Fills a record with zeros word by word: somebody who knew it before it was given back may still be counting in it."""
    cdef uint32_t i
    for i in range(size // 8):
        fl_put64(&record[i], 0)
    memset(<char*>record + size // 8 * 8, 0, size % 8)


cdef inline uint32_t pool_take(Pool* p) noexcept nogil:
    """A record full of zeros; 0 where the limit is reached or memory is short."""
    cdef uint32_t i = p.unused
    if i:
        p.unused = (<uint32_t*>(p.chunks[i // CHUNK] + <uint64_t>(i % CHUNK) * p.size))[0]
        record_clear(<uint64_t*>(p.chunks[i // CHUNK] + <uint64_t>(i % CHUNK) * p.size), p.size)
    else:
        i = p.used
        if i >= p.limit:
            return 0
        if p.chunks[i // CHUNK] == NULL:
            p.chunks[i // CHUNK] = <char*>calloc(CHUNK, p.size)
            if p.chunks[i // CHUNK] == NULL:
                return 0
        p.used += 1
    p.live += 1
    return i


cdef inline void pool_put(Pool* p, uint32_t i) noexcept nogil:
    (<uint32_t*>(p.chunks[i // CHUNK] + <uint64_t>(i % CHUNK) * p.size))[0] = p.unused
    p.unused = i
    p.live -= 1


cdef inline uint64_t pool_bytes(Pool* p) noexcept nogil:
    cdef uint64_t chunks = (p.used - 1) // CHUNK + 1 if p.used > 1 else 0
    return chunks * CHUNK * p.size + (p.limit // CHUNK + 1) * sizeof(char*)


cdef inline uint64_t mix(uint64_t key) noexcept nogil:
    key *= <uint64_t>0x9E3779B97F4A7C15
    key ^= key >> 29
    key *= <uint64_t>0xBF58476D1CE4E5B9
    return key ^ (key >> 32)


cdef inline uint32_t map_get(Map* m, uint64_t key) noexcept nogil:
    cdef uint64_t i
    if m.live == 0:
        return 0
    i = mix(key) & m.mask
    while m.slots[i].key:
        if m.slots[i].key == key:
            return m.slots[i].value
        i = (i + 1) & m.mask
    return 0


cdef inline void map_place(Map* m, uint64_t key, uint32_t value) noexcept nogil:
    cdef uint64_t i = mix(key) & m.mask
    while m.slots[i].key and m.slots[i].key != key:
        i = (i + 1) & m.mask
    m.live += m.slots[i].key == 0
    m.slots[i].key = key
    m.slots[i].value = value


cdef inline bint map_put(Map* m, uint64_t key, uint32_t value) noexcept nogil:
    cdef Map bigger
    cdef uint64_t i
    if m.slots == NULL or (m.live + 1) * 3 > (m.mask + 1) * 2:
        bigger.live = 0
        bigger.mask = (m.mask + 1) * 2 - 1 if m.slots != NULL else 15
        bigger.slots = <MapSlot*>calloc(bigger.mask + 1, sizeof(MapSlot))
        if bigger.slots == NULL:
            return False
        if m.slots != NULL:
            for i in range(m.mask + 1):
                if m.slots[i].key:
                    map_place(&bigger, m.slots[i].key, m.slots[i].value)
            free(m.slots)
        m[0] = bigger
    map_place(m, key, value)
    return True


cdef inline void map_drop(Map* m, uint64_t key) noexcept nogil:
    """Closes the gap by moving back what follows, so that no tombstones gather."""
    cdef uint64_t i, j, home
    if m.live == 0:
        return
    i = mix(key) & m.mask
    while m.slots[i].key != key:
        if m.slots[i].key == 0:
            return
        i = (i + 1) & m.mask
    j = i
    while True:
        j = (j + 1) & m.mask
        if m.slots[j].key == 0:
            break
        home = mix(m.slots[j].key) & m.mask
        if ((j - home) & m.mask) >= ((j - i) & m.mask):
            m.slots[i] = m.slots[j]
            i = j
    m.slots[i].key = 0
    m.live -= 1


cdef inline void map_close(Map* m) noexcept nogil:
    free(m.slots)
    m.slots = NULL


cdef inline uint64_t map_bytes(Map* m) noexcept nogil:
    return (m.mask + 1) * sizeof(MapSlot) if m.slots != NULL else 0


cdef inline bint list_room(List* l, uint32_t room) noexcept nogil:
    cdef void* p
    cdef uint32_t wanted
    if room <= l.room:
        return True
    wanted = 2 * l.room if 2 * l.room > room else room + 16
    p = realloc(l.items, <uint64_t>wanted * sizeof(uint32_t))
    if p == NULL:
        return False
    l.items = <uint32_t*>p
    l.room = wanted
    return True


cdef inline bint list_push(List* l, uint32_t item) noexcept nogil:
    if l.n == l.room and not list_room(l, l.n + 1):
        return False
    l.items[l.n] = item
    l.n += 1
    return True


cdef inline void list_close(List* l) noexcept nogil:
    free(l.items)
    l.items = NULL
    l.n = l.room = 0
