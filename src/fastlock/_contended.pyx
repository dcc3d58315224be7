# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""What readers outside see of locks that somebody waits for: owner, where it took the lock, and who holds it together with others.

A lock gets its record with its first waiter and keeps it until it goes. What the record says is true while somebody waits: then the
word sends every acquire and release through the slow paths, which call contended_sync(). Only while all who wait have been told that the lock is free, and are on
their way to it (see pass_to_all() in _park), it says that nobody has it. A site is known only after the take, so the slow path
notes it then (contended_taken); until it has, the record says that it is not known, never the last owner's.

Who holds shares or permits is in each holder's own list, which is private and costs nothing. With the first waiter all lists are looked through (as
the walk for circles does); while somebody waits each share that is taken or given back is noted here as well.

Guards. A record: the lock's bucket mutex. Numbers and shares: table_mutex, taken inside of it. Costs: some nanoseconds where somebody blocks.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport abort, calloc

from fastlock._mapping cimport A_LOCKS, A_SHARES, FShown, area_used, has_room, header, mapping_begins, record_at
from fastlock._native cimport *
from fastlock._shares cimport FShare, first_share, shares_lock, shares_unlock
from fastlock._table cimport *

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*)() noexcept nogil, void (*)() noexcept nogil, void (*)() noexcept nogil)

cdef enum:
    PER_CHUNK = 256
    MOST_CHUNKS = 16384
    MOST_SHARES = 64           # listed of one lock

cdef FContended* chunks[MOST_CHUNKS]   # of those that find no room in the mapping
cdef FContended* records = <FContended*>record_at(A_LOCKS, 0)      # the mapping never moves
cdef FShown* shown = <FShown*>record_at(A_SHARES, 0)
cdef uint32_t room = header.areas[A_LOCKS].capacity
cdef uint32_t used = 0
cdef uint32_t unused = 0               # list through FContended.lock
cdef uint32_t shares_used = 1          # number 0 is none
cdef uint32_t unused_share = 0         # list through FShown.next


# ---- records ------------------------------------------------------------------------------------------------------

cdef inline FContended* contended_at(uint32_t i) noexcept nogil:
    if FL_LIKELY(i < room):
        return &records[i]
    i -= room
    return &chunks[i // PER_CHUNK][i % PER_CHUNK]


cdef FContended* contended_of(FLock* L) noexcept nogil:
    """The lock's record, NULL where nobody has ever waited for it."""
    return contended_at(L.contended - 1) if L.contended else NULL


cdef bint add_chunk(uint32_t i) noexcept nogil:
    """Makes room for the record in private memory, where the mapping has none."""
    cdef uint32_t chunk
    if i < room:
        return True
    chunk = (i - room) // PER_CHUNK
    if chunk >= MOST_CHUNKS:
        return False
    if chunks[chunk] == NULL:
        chunks[chunk] = <FContended*>calloc(PER_CHUNK, sizeof(FContended))
    return chunks[chunk] != NULL


cdef uint32_t take_number() noexcept nogil:
    """Of a record, plus 1; 0 where memory is out: then readers miss this one lock."""
    global used, unused
    cdef uint32_t number
    fl_mutex_lock(&table_mutex)
    number = unused
    if number:
        unused = contended_at(number - 1).lock
    elif add_chunk(used):
        used += 1
        number = used
        area_used(A_LOCKS, used)
    fl_mutex_unlock(&table_mutex)
    return number


cdef bint open_record(FLock* L) noexcept nogil:
    cdef FContended* c
    cdef uint32_t number = take_number()
    if number == 0:
        return False
    c = contended_at(number - 1)
    record_begin(&c.seq)
    c.lock = L.index
    c.serial = L.serial
    c.created = L.created
    c.kind = L.kind
    c.owner = 0
    c.name = c.lock_class = 0
    c.shares = c.more = 0
    c.waited = c.named = 0
    record_end(&c.seq)
    L.contended = number
    return True


cdef void contended_named(FLock* L, uint32_t name, uint32_t lock_class) noexcept nogil:
    """Says what the lock is called, also before anybody waits."""
    cdef FContended* c
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    if L.contended or open_record(L):
        c = contended_of(L)
        record_begin(&c.seq)
        c.name = name
        c.lock_class = lock_class
        c.named = 1
        record_end(&c.seq)
    fl_mutex_unlock(m)


cdef void end_record(FContended* c) noexcept nogil:
    record_begin(&c.seq)
    c.serial = 0
    c.waited = 0
    drop_shares(c)
    record_end(&c.seq)


cdef void contended_rests(FLock* L) noexcept nogil:
    """The lock goes, and the next one of its record will have the same name."""
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    end_record(contended_of(L))
    fl_mutex_unlock(m)


cdef void contended_again(FLock* L) noexcept nogil:
    """That next one is there."""
    cdef fl_mutex* m = bucket(L)
    cdef FContended* c = contended_of(L)
    fl_mutex_lock(m)
    record_begin(&c.seq)
    c.serial = L.serial
    c.owner = 0
    record_end(&c.seq)
    fl_mutex_unlock(m)


cdef void contended_close(FLock* L) noexcept nogil:
    """Gives the record back: the lock goes."""
    global unused
    cdef FContended* c = contended_at(L.contended - 1)
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    end_record(c)
    fl_mutex_lock(&table_mutex)
    c.lock = unused
    unused = L.contended
    fl_mutex_unlock(&table_mutex)
    L.contended = 0
    fl_mutex_unlock(m)


cdef void write_record(FLock* L, bint waited) noexcept nogil:
    """Makes the record say what the lock says; under the bucket mutex."""
    cdef FContended* c
    cdef uint64_t owner
    if not L.contended and not (waited and open_record(L)):
        return
    c = contended_at(L.contended - 1)
    if not waited and not c.waited:
        return
    owner = fl_relaxed64(&L.word) & ~<uint64_t>W_CONTENDED
    record_begin(&c.seq)
    if not c.waited or L.marks & M_AIO or L.kind >= K_RESULT:
        c.site = L.site
    elif owner_bits(c.owner) != owner_bits(owner):
        c.site = 0              # who has taken it has yet to say where
    c.owner = owner
    c.count = L.count
    c.limit = L.limit
    c.marks = L.marks
    if waited and not c.waited:
        find_shares(L, c)
    elif not waited:
        drop_shares(c)
    c.waited = waited
    record_end(&c.seq)


cdef void contended_sync(FLock* L) noexcept nogil:
    """The same for a lock with a queue; under the bucket mutex."""
    write_record(L, L.head != NULL)


cdef void contended_overtaken(FLock* L) noexcept nogil:
    """Somebody has taken the lock by a fast path, past those who were on their way to it; under the bucket mutex."""
    cdef FContended* c = contended_of(L)
    if c == NULL or not c.waited:
        return
    record_begin(&c.seq)
    c.owner = fl_relaxed64(&L.word) & ~<uint64_t>W_CONTENDED
    c.site = L.site
    record_end(&c.seq)


cdef void contended_refresh(FLock* L) noexcept nogil:
    """The same, by itself."""
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    write_record(L, L.head != NULL)
    fl_mutex_unlock(m)


cdef void contended_watch(FLock* L) noexcept nogil:
    """The same for what is waited for without a queue, a result or a pool, until it goes or is refreshed."""
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    write_record(L, True)
    fl_mutex_unlock(m)


cdef void contended_taken(FLock* L) noexcept nogil:
    """Called by who has taken a lock by the slow path, and noted where: nobody else takes it meanwhile, and it is a single store."""
    cdef FContended* c = contended_of(L)
    if c != NULL and c.waited:
        fl_put32(&c.site, L.site)


cdef void contended_shared(FLock* L, FSelf* s) noexcept nogil:
    """The same for a share or a permit."""
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    contended_share(L, s)
    fl_mutex_unlock(m)


# ---- shares, under the bucket mutex -----------------------------------------------------------------------------------

cdef inline FShown* shown_at(uint32_t number) noexcept nogil:
    return &shown[number]


cdef uint32_t take_shown() noexcept nogil:
    """0 where there is no room."""
    global shares_used, unused_share
    cdef uint32_t number
    fl_mutex_lock(&table_mutex)
    number = unused_share
    if number:
        unused_share = shown_at(number).next
    elif has_room(A_SHARES, shares_used):
        number = shares_used
        shares_used += 1
        area_used(A_SHARES, shares_used)
    fl_mutex_unlock(&table_mutex)
    return number


cdef void give_shown(uint32_t number) noexcept nogil:
    global unused_share
    fl_mutex_lock(&table_mutex)
    shown_at(number).who = 0
    shown_at(number).next = unused_share
    unused_share = number
    fl_mutex_unlock(&table_mutex)


cdef uint32_t shown_chain(uint32_t first, uint32_t length) noexcept nogil:
    """A chain of at least that length, made of the one that begins with `first` (0: none); as long as there is room for."""
    cdef uint32_t number = first, last = 0, n = 0
    while number:
        last = number
        number = shown_at(number).next
        n += 1
    while n < length:
        number = take_shown()
        if number == 0:
            break
        shown_at(number).next = 0
        if last:
            shown_at(last).next = number
        else:
            first = number
        last = number
        n += 1
    return first


cdef void drop_shares(FContended* c) noexcept nogil:
    cdef uint32_t number = c.shares, following
    while number:
        following = shown_at(number).next
        give_shown(number)
        number = following
    c.shares = c.more = 0


cdef void put_share(FContended* c, FSelf* s, uint32_t count, uint32_t site) noexcept nogil:
    """Lists how many shares the agent has; `site` 0 leaves the one that is there."""
    cdef uint32_t* at = &c.shares
    cdef uint32_t number, n = 0
    cdef FShown* h
    while at[0]:
        h = shown_at(at[0])
        if h.who == s.word:
            if count == 0:
                number = at[0]
                at[0] = h.next
                give_shown(number)
            else:
                h.count = count
                h.site = site if site else h.site
            return
        at = &h.next
        n += 1
    if count == 0:
        return
    number = take_shown() if n < MOST_SHARES else 0
    if number == 0:
        c.more += 1
        return
    h = shown_at(number)
    h.who = s.word
    h.count = count
    h.site = site
    h.next = 0
    at[0] = number


cdef void find_shares(FLock* L, FContended* c) noexcept nogil:
    """Lists everybody who holds the lock together with others."""
    cdef uint32_t i, count, site = 0
    cdef FSelf* s
    cdef FShare* h
    if L.kind != K_RWLOCK and L.kind != K_SEMAPHORE and L.kind != K_POOL:
        return
    if L.marks & M_AIO:
        shares_lock()
        h = first_share(L)
        while h != NULL:
            count = hold_count(h.agent, L, &site)
            if count:
                put_share(c, h.agent, count, site)
            h = h.next
        shares_unlock()
        return
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s.task == NULL and fl_load8(&s.pub.state) != A_FREE:
            count = hold_count(s, L, &site)
            if count:
                put_share(c, s, count, site)


cdef void contended_share(FLock* L, FSelf* s) noexcept nogil:
    """After the agent has given shares back, or a task has taken one: lists how many it has now; under the bucket mutex."""
    cdef FHold* e
    cdef FContended* c = contended_of(L)
    if c == NULL or not c.waited:
        return
    if FL_UNLIKELY(c.more):
        contended_rescan(L)         # there is room for one that was not listed
        return
    e = hold_known(s, L)
    record_begin(&c.seq)
    c.count, c.limit = L.count, L.limit
    put_share(c, s, e.count if e != NULL else 0, e.site if e != NULL else 0)
    record_end(&c.seq)


cdef void contended_rescan(FLock* L) noexcept nogil:
    """Lists all holders anew: somebody has taken a permit past the queue; under the bucket mutex."""
    cdef FContended* c = contended_of(L)
    if c == NULL or not c.waited:
        return
    record_begin(&c.seq)
    c.count = L.count
    drop_shares(c)
    find_shares(L, c)
    record_end(&c.seq)


# ---- fork ----------------------------------------------------------------------------------------------------------

cdef void keep_own_waiters(FLock* L, FSelf* me) noexcept nogil:
    """In the child: a lock's queue without the nodes of threads that are not here."""
    cdef FNode* n = L.head
    cdef FSelf* owner
    cdef uint64_t word = L.word
    while n != NULL:                    # a share or permit that was on its way to somebody who stayed behind
        if n.agent != me and n.state == N_GRANTED:
            if n.mode == WAIT_PERMIT:
                L.count += 1
            elif n.mode == WAIT_SHARED or n.mode == WAIT_UPGRADABLE:
                L.count -= 1
                if n.mode == WAIT_UPGRADABLE:
                    L.limit = 0
        n = n.next
    L.head = NULL
    n = me.top if me != NULL else NULL
    L.woken = 0
    while n != NULL:                    # innermost first, so each is put in front
        if n.queued and n.lock_index == L.index and n.lock_serial == L.serial:
            n.next = L.head
            n.prev = L.head.prev if L.head != NULL else n
            if L.head != NULL:
                L.head.prev = n
            L.head = n
            if n.state == N_WOKEN:
                L.woken += 1
        n = n.outer
    if word & W_OFFERED:
        owner = agent_of(word)
        if owner != me:
            word = 0                    # offered to somebody who stayed behind
    if L.head == NULL:
        L.word = word & ~<uint64_t>W_CONTENDED
    else:
        L.word = word | W_CONTENDED


cdef void nothing() noexcept nogil:
    return


cdef void in_child() noexcept nogil:
    """After _table's own handler, for it was registered before."""
    cdef uint32_t i
    cdef FContended* c
    for i in range(used):
        c = contended_at(i)
        if c.serial != 0 and c.waited and lock_at(c.lock).kind < K_RESULT:      # the others have no queue
            keep_own_waiters(lock_at(c.lock), fork_agent)
            contended_sync(lock_at(c.lock))
    mapping_begins()


if sizeof(FContended) != 64:
    abort()     # the mapping has places of that size
area_used(A_SHARES, shares_used)
pthread_atfork(nothing, nothing, in_child)
