# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Who waits for a lock, and who gets it next: queues, wakes, offers, cancellation.

No Python here, and no GIL needed: every function takes the lock's bucket mutex for its whole length, except where it
says so. In a build with the GIL the callers hold the GIL as well, which is what lets the fast paths be plain stores.

A wait ends in one of four ways, and each passes on what it was given and did not use:

    taken       settle() found the lock free, or handed over
    timed out   leave() takes it at the last moment if it can, else unlinks
    signal      suspend() before the handler runs, resume() after; an exception then leads to leave()
    cut off     a daemon thread at finalisation, or a fork: its node stays linked and is passed over, for the
                releaser wakes everybody while finalising, and the child of a fork drops what is not its own

Fairness. A releaser leaves the lock free and wakes the oldest waiter, so that a running thread may take it again: no convoy. A
waiter that has waited HAND_OVER_NS is handed the lock instead: no starvation. From 3.14 on that is one who has looked and found the lock
taken, see pass_to_all(). Up to 3.13, and where many wait, it may also be one who is awake without the GIL yet; and as once every waiter is that old each release would force a switch of
threads, hand-overs must be paid for there: by sections that are long beside a switch (HAND_OVER_GAP each, on average),
or by time, of which each round through the whole queue is given hand_over_round().
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport abort, calloc

from fastlock._contended cimport contended_overtaken, contended_rescan, contended_share, contended_sync
from fastlock._native cimport *
from fastlock._table cimport *

cdef extern from "Python.h" nogil:
    int PY_VERSION_HEX

cdef enum:
    HAND_OVER_NS = 1000000
    HAND_OVER_GAP = 96         # units of 1024 ns: some ten times what a switch costs
    MANY = 24                  # waiters of a mutex
    LOOK_EVERY = 4             # releases; a power of two


# ---- publishing a wait ------------------------------------------------------------------------------

cdef FNode* nested_node(FSelf* me) noexcept nogil:
    cdef FNode* n = me.spare
    if n != NULL:
        me.spare = n.outer
        return n
    n = <FNode*>calloc(1, sizeof(FNode))
    if n == NULL:
        abort()     # inside a signal handler inside a wait, with no memory at all
    return n


cdef FNode* wait_push(FSelf* me, FLock* L, uint8_t mode, uint8_t flags, int64_t timeout_ns, uint32_t site) noexcept nogil:
    """Publishes that the running thread waits; no mutex, for the record is its own."""
    return wait_push_at(me, L, mode, flags, timeout_ns, site, fl_now_ns())


cdef inline FNode* wait_push_at(FSelf* me, FLock* L, uint8_t mode, uint8_t flags, int64_t timeout_ns, uint32_t site, int64_t now) noexcept nogil:
    cdef FNode* n = &me.first if me.top == NULL else nested_node(me)
    n.agent = me
    fl_store64(&n.asker, <uint64_t>me)
    fl_store64(&n.outer, <uint64_t>me.top)
    n.next = n.prev = NULL
    fl_store64(&n.task, 0)
    n.waiter = NULL
    fl_put32(&n.lock_index, L.index)
    fl_put64(&n.lock_serial, L.serial)
    fl_put8(&n.mode, mode)
    n.flags = flags
    n.queued = 0
    fl_put8(&n.state, N_QUEUED)
    fl_put32(&n.site, site)
    fl_put_ns(&n.since_ns, now)
    fl_put_ns(&n.deadline_ns, -1 if timeout_ns < 0 else now + timeout_ns)
    n.future = NULL
    me.waits += 1
    fl_put64(&n.wait_number, me.waits)
    fl_store64(&me.top, <uint64_t>n)
    me.pub.depth += 1
    agent_waits(me, n)
    fl_fence()          # pairs with the fence of an ending thread, and of the other closer of a circle
    return n


cdef void pay(FSelf* me) noexcept nogil:
    """Wakes the waiter whose wake this agent has put off."""
    cdef void* parker = <void*>fl_load64(&me.owed)
    if parker != NULL:
        fl_store64(&me.owed, 0)     # two may pay at once, the agent as it parks and who releases its lock: one post too many
        fl_parker_post(parker)


cdef void wait_pop(FSelf* me, FNode* n) noexcept nogil:
    pay(me)
    fl_store64(&me.top, <uint64_t>n.outer)
    me.pub.depth -= 1
    fl_put8(&n.state, N_IDLE)
    if n.outer == NULL:
        agent_rests(me)
    else:
        me.pub.held_count = 0       # what a handler held is let go by the time that the outer wait goes on
        agent_waits(me, n.outer)
        fl_parker_post(me.parker)   # a wake meant for the outer wait may have come to this one
    if n != &me.first:
        fl_store64(&n.outer, <uint64_t>me.spare)
        me.spare = n


cdef FNode* task_wait_push(FSelf* t, FSelf* asker, FLock* L, uint8_t mode, int64_t timeout_ns, uint32_t site, int64_t now) noexcept nogil:
    """Publishes that a task waits. Its turn is told to it by a future; the queue is for those who look."""
    cdef FNode* n = wait_push_at(t, L, mode, 0, timeout_ns, site, now)
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    fl_store64(&n.asker, <uint64_t>asker)
    link(L, n)
    if n == L.head:
        contended_sync(L)           # of another waiter it says nothing
    fl_mutex_unlock(m)
    return n


cdef void task_wait_pop(FSelf* t, FLock* L, FNode* n) noexcept nogil:
    """Ends it, in any order: one task may drive several coroutines that acquire."""
    cdef FNode** at = &t.top
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    unlink(L, n)
    fl_mutex_unlock(m)
    while at[0] != NULL and at[0] != n:
        at = &at[0].outer
    if at[0] == NULL:
        return                      # this is the child of a fork, and the task stayed behind
    fl_store64(at, <uint64_t>n.outer)
    t.pub.depth -= 1
    fl_put8(&n.state, N_IDLE)
    if t.top == NULL:
        agent_rests(t)
    else:
        agent_waits(t, t.top)
    if n != &t.first:
        fl_store64(&n.outer, <uint64_t>t.spare)
        t.spare = n


# ---- queue links, under the bucket mutex -------------------------------------------------------------


cdef void link(FLock* L, FNode* n) noexcept nogil:
    """At the end; an upgrade at the front, for nobody who writes can come before it, and who reads would keep it waiting."""
    n.next = NULL
    if L.head == NULL:
        L.head = n.prev = n
    elif is_upgrade(L, n):
        n.prev = L.head.prev
        n.next = L.head
        L.head.prev = n
        L.head = n
    else:
        n.prev = L.head.prev
        n.prev.next = n
        L.head.prev = n
    n.queued = 1


cdef void unlink(FLock* L, FNode* n) noexcept nogil:
    if not n.queued:
        return
    if n == L.head:
        L.head = n.next
    else:
        n.prev.next = n.next
    if n.next != NULL:
        n.next.prev = n.prev        # of a new head that is the last of all, as it was of the old one
    elif L.head != NULL:
        L.head.prev = n.prev
    n.next = n.prev = NULL
    n.queued = 0
    if n.state == N_WOKEN:
        has_looked(L)
    if L.head == NULL:
        mark_uncontended(L)
    contended_sync(L)


cdef void has_looked(FLock* L) noexcept nogil:
    """One who had been told to look has done so: the next release may tell another one."""
    if L.woken > 0:             # 0 where everybody was woken at the interpreter's end
        L.woken -= 1
    mark_contended(L)


cdef bint mark_contended(FLock* L) noexcept nogil:
    """Whether it was not: then whoever has the lock took it by a fast path."""
    cdef uint64_t word = fl_load64(&L.word)
    while not word & W_CONTENDED:
        if fl_cas64(&L.word, word, word | W_CONTENDED):
            return True
        word = fl_load64(&L.word)
    return False


cdef void mark_uncontended(FLock* L) noexcept nogil:
    # Nobody else changes a contended word without this mutex.
    cdef FSelf* owner = agent_of(fl_load64(&L.word))
    if owner != NULL and fl_load64(&owner.owed) != 0:
        return              # it must release by the slow path
    fl_store64(&L.word, fl_load64(&L.word) & ~<uint64_t>W_CONTENDED)


# ---- taking, under the bucket mutex --------------------------------------------------------------------

cdef bint revocable(uint64_t word) noexcept nogil:
    """Whether an offer may be taken back: its waiter is gone, or nobody may get the GIL any more."""
    cdef FSelf* s
    if not word & W_OFFERED:
        return False
    s = agent_of(word)
    return s == NULL or fl_load8(&s.pub.state) != A_ALIVE or fl_finalizing()


cdef int64_t shares_beside(FLock* L, FSelf* me) noexcept nogil:
    """How many shares of an RWLock leave room for this writer: its own, where one of them is the upgradable one."""
    return hold_count(me, L, NULL) if upgrades(L, me) else 0


cdef bint take_word(FLock* L, FSelf* me, uint8_t flags) noexcept nogil:
    cdef uint64_t word, mine
    while True:
        word = fl_load64(&L.word)
        mine = me.word | flags
        if owner_bits(word) != 0 and not (word & W_OFFERED and (owner_bits(word) == me.word or revocable(word))):
            return False
        if L.kind == K_RWLOCK and L.count != shares_beside(L, me):
            return False
        if word == 0:
            if fl_word_take(&L.word, mine):
                if L.head != NULL:
                    mark_contended(L)
                return True
            continue        # a fast path was quicker
        fl_store64(&L.word, mine | (W_CONTENDED if L.head != NULL else 0))
        return True


cdef bint writer_ahead(FLock* L, FNode* n) noexcept nogil:
    """Whether a writer queues before this reader (before everybody who is not queued yet). Where readers are preferred only an upgrade holds them back."""
    cdef FNode* m = L.head
    while m != NULL and m != n:
        if L.marks & M_READERS and not is_upgrade(L, m):
            return False                # upgrades queue first
        if m.mode == WAIT_EXCLUSIVE and m.state != N_SUSPENDED and fl_load8(&m.agent.pub.state) == A_ALIVE:
            return True
        m = m.next
    return False


cdef bint has_no_share(FLock* L, FSelf* s) noexcept nogil:
    """Whether the upgradable share is to be had for this agent. One that reads already could not be let in safely: two such would wait for each other."""
    return fl_get32(&L.limit) == 0 and hold_count(s, L, NULL) == 0


cdef bint take_share(FLock* L, FSelf* me, uint8_t mode, FNode* n) noexcept nogil:
    cdef uint64_t word = fl_load64(&L.word)
    if owner_bits(word) != 0 and not revocable(word):
        return False
    if mode == WAIT_UPGRADABLE and not has_no_share(L, me):
        return False
    if (n == NULL or n.state != N_WOKEN) and not upgrades(L, me) and writer_ahead(L, n):
        return False
    if owner_bits(word) != 0:
        fl_store64(&L.word, W_CONTENDED if L.head != NULL else 0)
    add_share(L, me, mode)
    return True


cdef void add_share(FLock* L, FSelf* s, uint8_t mode) noexcept nogil:
    L.count += 1
    if mode == WAIT_UPGRADABLE:
        fl_put32(&L.limit, s.pub.index)


cdef bint take(FLock* L, FSelf* me, uint8_t mode, uint8_t flags, FNode* n) noexcept nogil:
    if mode == WAIT_EXCLUSIVE:
        return take_word(L, me, flags)
    if mode == WAIT_SHARED or mode == WAIT_UPGRADABLE:
        return take_share(L, me, mode, n)
    if mode == WAIT_PERMIT:
        if L.count <= 0:
            return False
        L.count -= 1
        return True
    if mode == WAIT_FLAG:
        return L.count != 0
    return False


# ---- passing on, under the bucket mutex ----------------------------------------------------------------

cdef void wake(FNode* n, uint8_t state) noexcept nogil:
    fl_put8(&n.state, state)
    fl_parker_post(n.agent.parker)


cdef bint wake_all_when_finalizing(FLock* L) noexcept nogil:
    cdef FNode* n
    if not fl_finalizing():
        return False
    n = L.head
    while n != NULL:
        if n.state == N_QUEUED:
            wake(n, N_WOKEN)
        n = n.next
    L.woken = 0
    return True


cdef FNode* oldest(FLock* L) noexcept nogil:
    cdef FNode* n = L.head
    while n != NULL and not (fl_load8(&n.agent.pub.state) == A_ALIVE and (n.state == N_QUEUED or n.state == N_WOKEN)):
        n = n.next
    return n


cdef bint has_aged(FNode* n, int64_t now) noexcept nogil:
    return now - n.since_ns >= HAND_OVER_NS


cdef bint queue_reaches(FLock* L, uint32_t length) noexcept nogil:
    cdef FNode* n = L.head
    while n != NULL and length > 0:
        length -= 1
        n = n.next
    return length == 0


cdef uint32_t hand_over_round() noexcept nogil:
    """How long a round of hand-overs to all waiters may take, in units of 1024 ns: as long as they wait for threading's own lock."""
    return 6000 if PY_VERSION_HEX >= 0x030E0000 else 1000


cdef bint is_paid_for(FLock* L, FNode* n, int64_t now) noexcept nogil:
    """Whether the waiter has waited long enough, and the switch that a hand-over forces is paid for."""
    cdef uint32_t tick = <uint32_t>(now >> 10)
    cdef uint32_t elapsed = tick - L.limit      # modulo 73 minutes: one may come some microseconds late then
    if not has_aged(n, now) or elapsed < HAND_OVER_GAP:
        return False
    if elapsed < HAND_OVER_GAP * <uint32_t>L.passed and not queue_reaches(L, hand_over_round() // elapsed):
        return False
    L.limit = tick
    L.passed = 0
    return True


cdef void hand_over(FLock* L, FNode* n) noexcept nogil:
    fl_store64(&L.word, n.agent.word | W_OFFERED | W_CONTENDED)
    if n.state == N_WOKEN:
        L.woken -= 1
        fl_put8(&n.state, N_GRANTED)            # has been posted already
    else:
        wake(n, N_GRANTED)


cdef void pass_to_one(FLock* L) noexcept nogil:
    """Up to 3.13, and where many wait: one waiter is on its way at a time, and may be handed the lock also while it is awake and has no GIL yet."""
    cdef FNode* n
    L.passed += 1 if L.passed < 255 else 1 - LOOK_EVERY
    if L.woken and L.passed & (LOOK_EVERY - 1):
        return      # somebody is on the way already, and reading the clock would cost as much as all the rest of this
    n = oldest(L)
    if n == NULL:
        return
    if is_paid_for(L, n, fl_now_ns()):
        hand_over(L, n)
    elif not L.woken:
        L.woken = 1
        wake(n, N_WOKEN)


cdef FNode* asleep(FNode* n) noexcept nogil:
    """The next waiter from there on who has not been told anything."""
    while n != NULL and not (n.state == N_QUEUED and fl_load8(&n.agent.pub.state) == A_ALIVE):
        n = n.next
    return n


cdef void pass_to_all(FLock* L) noexcept nogil:
    """From 3.14 on: one more waiter is told with each release; when all are on their way a release owes them nothing, and the word has no flag."""
    cdef FNode* n = asleep(L.head)
    if n != NULL and has_aged(n, fl_now_ns()):
        hand_over(L, n)
        return
    if n != NULL:
        L.woken += 1
        wake(n, N_WOKEN)
        n = asleep(n.next)
    if n == NULL:
        fl_store64(&L.word, 0)


cdef void pass_mutex(FLock* L) noexcept nogil:
    if owner_bits(fl_load64(&L.word)) != 0 or wake_all_when_finalizing(L):
        return
    # As threading's own lock does. Up to 3.13 that one changes hands at nearly each release, and its waits are as short as that; from
    # 3.14 on it leaves who is awake to the GIL's own turns, and keeps a thread running at full speed meanwhile.
    # Where very many wait that would be too many that are awake and want the GIL, its own included.
    if PY_VERSION_HEX >= 0x030E0000 and not queue_reaches(L, MANY):
        pass_to_all(L)
    else:
        pass_to_one(L)


cdef void pass_rwlock(FLock* L) noexcept nogil:
    """Lets in the oldest writer, or the readers before the next writer (all readers where they are preferred). One of them at most may upgrade."""
    cdef FNode* n
    cdef FNode* following
    cdef bint let_in = False
    cdef bint upgradable = False        # somebody is on the way to that share
    cdef int64_t now
    if owner_bits(fl_load64(&L.word)) != 0 or wake_all_when_finalizing(L):
        return
    now = fl_now_ns()
    n = L.head
    while n != NULL:
        following = n.next
        if fl_load8(&n.agent.pub.state) == A_ALIVE and (n.state == N_QUEUED or n.state == N_WOKEN):
            if n.mode == WAIT_EXCLUSIVE:
                if L.count == shares_beside(L, n.agent) and not let_in and n.state == N_QUEUED:
                    if has_aged(n, now):
                        fl_store64(&L.word, n.agent.word | W_OFFERED | W_CONTENDED)
                        wake(n, N_GRANTED)
                    else:
                        wake(n, N_WOKEN)
                    return
                if not L.marks & M_READERS or is_upgrade(L, n):
                    return
            elif n.mode == WAIT_UPGRADABLE and (upgradable or not has_no_share(L, n.agent)):
                pass                    # its turn is another time; who reads may pass it
            else:
                upgradable |= n.mode == WAIT_UPGRADABLE
                if n.state == N_QUEUED:
                    let_in = True
                    let_share(L, n, now)
        n = following


cdef void let_share(FLock* L, FNode* n, int64_t now) noexcept nogil:
    if has_aged(n, now):
        add_share(L, n.agent, n.mode)
        wake(n, N_GRANTED)
    else:
        wake(n, N_WOKEN)


cdef void pass_permits(FLock* L) noexcept nogil:
    cdef FNode* n
    cdef int64_t free_permits = L.count
    cdef int64_t now
    if wake_all_when_finalizing(L):
        return
    now = fl_now_ns()
    n = L.head
    while n != NULL and free_permits > 0:
        if fl_load8(&n.agent.pub.state) == A_ALIVE:
            if n.state == N_WOKEN:
                free_permits -= 1
            elif n.state == N_QUEUED:
                free_permits -= 1
                if has_aged(n, now):
                    L.count -= 1
                    wake(n, N_GRANTED)
                else:
                    wake(n, N_WOKEN)
        n = n.next


cdef void pass_on(FLock* L) noexcept nogil:
    if L.head == NULL:
        return
    if L.kind == K_RWLOCK:
        pass_rwlock(L)
    elif L.kind == K_SEMAPHORE:
        pass_permits(L)
    elif L.kind != K_CONDITION and L.kind != K_EVENT and L.kind != K_BARRIER:
        pass_mutex(L)
    contended_sync(L)


# ---- a wait's life --------------------------------------------------------------------------------------

cdef int enter(FLock* L, FNode* n) noexcept nogil:
    """Takes the lock if it can be had now, else joins its queue."""
    cdef fl_mutex* m = bucket(L)
    cdef int got = WAITING
    cdef bint overtaken
    fl_mutex_lock(m)
    if take(L, n.agent, n.mode, n.flags, NULL):
        got = TAKEN
    else:
        link(L, n)
        overtaken = mark_contended(L)
        if owner_bits(fl_load64(&L.word)) == 0 and take(L, n.agent, n.mode, n.flags, n):
            unlink(L, n)        # released between the look and the mark
            got = TAKEN
        else:
            contended_sync(L)
            if overtaken:
                contended_overtaken(L)
    fl_mutex_unlock(m)
    return got


cdef int collect(FLock* L, FNode* n) noexcept nogil:
    """Accepts what was handed over, or takes what is free; under the bucket mutex."""
    cdef bint granted = n.state == N_GRANTED
    if n.state == N_IDLE:
        return WAITING          # taken before, and handed on by an exception since: not a second time
    # A share, a permit, a notification is ours by the grant; an offered word has to be accepted, and may have been revoked.
    if not (granted and n.mode != WAIT_EXCLUSIVE) and not take(L, n.agent, n.mode, n.flags, n):
        if n.state == N_WOKEN:
            has_looked(L)
        if granted or n.state == N_WOKEN:
            fl_put8(&n.state, N_QUEUED)
        if n.queued and mark_contended(L):
            contended_overtaken(L)
        if L.kind == K_SEMAPHORE:
            contended_rescan(L)         # fast paths look at the count alone
        # Released between the look and the mark, where there is no GIL.
        if n.mode != WAIT_EXCLUSIVE or owner_bits(fl_load64(&L.word)) != 0 or not take(L, n.agent, n.mode, n.flags, n):
            return WAITING
    unlink(L, n)
    fl_put8(&n.state, N_IDLE)   # who looks at this agent from now on sees one that runs
    if not granted and n.mode != WAIT_EXCLUSIVE:
        pass_on(L)              # there may be room for the next one too
    return TAKEN


cdef int settle(FLock* L, FNode* n) noexcept nogil:
    """After a wake: TAKEN, or WAITING to park again."""
    cdef fl_mutex* m = bucket(L)
    cdef int got
    fl_mutex_lock(m)
    got = collect(L, n)
    fl_mutex_unlock(m)
    return got


cdef int leave(FLock* L, FNode* n) noexcept nogil:
    """Ends the wait without the lock, unless it can be had at the last moment."""
    cdef fl_mutex* m = bucket(L)
    cdef int got
    fl_mutex_lock(m)
    got = collect(L, n)
    if got == WAITING:
        unlink(L, n)
        pass_on(L)              # a wake that came for us is the next one's; a gone writer lets readers in
    fl_mutex_unlock(m)
    return got


cdef int suspend(FLock* L, FNode* n) noexcept nogil:
    """Before Python code runs inside the wait: take what is there, and accept nothing meanwhile."""
    cdef fl_mutex* m = bucket(L)
    cdef int got
    cdef bint was_woken
    pay(n.agent)
    fl_mutex_lock(m)
    was_woken = n.state == N_WOKEN
    got = collect(L, n)
    if got == WAITING:
        fl_put8(&n.state, N_SUSPENDED)
        agent_runs_inside(n, True)
        if was_woken:
            pass_on(L)
    fl_mutex_unlock(m)
    return got


cdef int resume(FLock* L, FNode* n) noexcept nogil:
    """After Python code ran inside the wait."""
    cdef fl_mutex* m = bucket(L)
    cdef int got
    fl_mutex_lock(m)
    if n.state == N_SUSPENDED:
        fl_put8(&n.state, N_QUEUED)
        agent_runs_inside(n, False)
    got = collect(L, n)
    fl_mutex_unlock(m)
    return got


# ---- single steps -----------------------------------------------------------------------------------------

cdef int try_take(FLock* L, FSelf* me, uint8_t mode, uint8_t flags) noexcept nogil:
    """A non-blocking attempt."""
    cdef fl_mutex* m = bucket(L)
    cdef int got
    fl_mutex_lock(m)
    got = TAKEN if take(L, me, mode, flags, NULL) else WAITING
    if got == TAKEN:
        contended_sync(L)
    fl_mutex_unlock(m)
    return got


cdef bint give_back(FLock* L) noexcept nogil:
    """Frees an exclusively held lock and passes it on; False where nobody holds it."""
    cdef fl_mutex* m = bucket(L)
    cdef bint held
    cdef FSelf* owner
    fl_mutex_lock(m)
    held = owner_bits(fl_load64(&L.word)) != 0
    owner = agent_of(fl_load64(&L.word))
    if held:
        fl_store64(&L.word, W_CONTENDED if L.head != NULL else 0)
        pass_on(L)
    fl_mutex_unlock(m)
    if owner != NULL:
        pay(owner)
    return held


cdef void give_read(FLock* L, FSelf* me) noexcept nogil:
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    L.count -= 1
    contended_share(L, me)
    pass_on(L)
    fl_mutex_unlock(m)


cdef void give_upgradable(FLock* L, FSelf* me) noexcept nogil:
    """The same for the upgradable share, which the next one may have then, also where others still read."""
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    fl_put32(&L.limit, 0)
    L.count -= 1
    contended_share(L, me)
    pass_on(L)
    fl_mutex_unlock(m)


cdef void give_permits(FLock* L, int64_t permits, FSelf* me) noexcept nogil:
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    L.count += permits
    contended_share(L, me)
    pass_on(L)
    fl_mutex_unlock(m)


cdef uint32_t notify(FLock* L, int64_t count, FSelf* me, FLock* guard) noexcept nogil:
    """Grants the `count` oldest waiters of a condition, all of them where it is negative.

    A waiter needs `guard`, the condition's lock, before it can go on, and the GIL before that. So where `me` owns the guard the
    last waiter's wake is put off until `me` releases it or parks: woken now, it would only fall asleep again at the GIL, and
    two threads that wake each other in turn would switch twice as often. NULL for both: wake at once.
    """
    cdef fl_mutex* m = bucket(L)
    cdef FNode* n
    cdef FNode* following
    cdef uint32_t notified = 0
    cdef bint put_off = not FL_CAS_WORDS and guard != NULL and owner_bits(fl_load64(&guard.word)) == me.word
    fl_mutex_lock(m)
    n = L.head
    while n != NULL and count != 0:
        following = n.next
        if fl_load8(&n.agent.pub.state) == A_ALIVE:
            unlink(L, n)
            if put_off:
                pay(me)             # the one before
                fl_put8(&n.state, N_GRANTED)
                fl_store64(&me.owed, <uint64_t>n.agent.parker)
            else:
                wake(n, N_GRANTED)
            notified += 1
            count -= 1
        n = following
    fl_mutex_unlock(m)
    if put_off and notified:
        mark_contended(guard)       # so that releasing it goes by give_back()
    return notified


cdef void set_flag(FLock* L) noexcept nogil:
    """Sets an event and grants all its waiters."""
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    L.count = 1
    while L.head != NULL:
        n = L.head
        unlink(L, n)
        wake(n, N_GRANTED)
    fl_mutex_unlock(m)


cdef void forget(FLock* L) noexcept nogil:
    """Frees a lock in the child of a fork, whoever held or wanted it (_at_fork_reinit)."""
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    while L.head != NULL:
        unlink(L, L.head)
    fl_store64(&L.word, 0)
    L.woken = 0
    if L.kind == K_RLOCK or L.kind == K_RWLOCK:
        L.count = 0
    if L.kind == K_RWLOCK:
        fl_put32(&L.limit, 0)
    fl_mutex_unlock(m)
