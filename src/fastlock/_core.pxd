# cython: language_level=3
"""The lock types' C side, for the other primitives: see _core.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastlock._loops cimport armed, in_one_step, is_looked_at, look_at, looked_at, stack_owner, stacks
from fastlock._native cimport FL_LIKELY, FL_UNLIKELY, PyThreadState, fl_context_version, fl_load64, fl_place, fl_place_in, fl_put64
from fastlock._native cimport fl_site_key, fl_site_key_in, fl_step_in, fl_tstate_uncalled, fl_word_drop, fl_word_take
from fastlock._order cimport order_epoch
from fastlock._sites cimport site_here
from fastlock._table cimport H_IN_TASK, H_ONE_STEP, H_SHARED, H_TIMED, H_TRY, M_PLACED
from fastlock._table cimport FHeld, FLock, FSelf, chained, held_grow, held_remove, held_tag, owner_bits

# What each acquire notes, from the level: a static of _core, so that its own fast paths read it directly.
cdef enum:
    NOTE_SITE = 1              # the site, from the frame
    NOTE_PUBLIC = 2            # the site, by the public interface
    NOTE_ORDER = 4             # the held stack, and at depth the pair

cdef int notes
cdef int order_wanted(FLock* L, FSelf* me, uint32_t flags) except -1
cdef object take_again(FLock* L, FSelf* me, uint8_t flags)
cdef int64_t parse_timeout(object blocking, object timeout) except? -2
cdef FLock* lock_made(uint8_t kind, object own) except NULL
cdef void lock_dropped(FLock* L) noexcept

cdef inline void note_site(FLock* L) noexcept:
    """Stores where the running thread takes the lock: one compare, where it was last taken from the same place."""
    cdef uint64_t key
    if FL_LIKELY(notes & NOTE_SITE):
        key = fl_site_key()
        if key != L.site_key:
            L.site_key = key
            L.site = site_here(key)
    elif notes == 0:
        L.site_key = 0
        L.site = 0
    else:
        L.site = site_here(0)

cdef inline void note_taken(FLock* L, FSelf* me, uint32_t flags) noexcept:
    """What is stored about a lock just taken: its site, and at level order an entry of the held stack."""
    cdef FHeld* h
    cdef uint32_t depth
    cdef uint64_t tag
    note_site(L)
    if FL_UNLIKELY(notes & NOTE_ORDER):
        L.acquired += 1
        depth = me.depth
        if FL_UNLIKELY(depth == me.room) and not held_grow(me):
            return
        h = &me.held[depth]
        h.lock = L
        h.flags = flags
        tag = held_tag(L, flags)
        if depth == 0:
            h.chain = tag
        else:
            h.chain = chained((h - 1).chain, tag) if (h - 1).chain != 0 and tag != 0 else 0
        me.depth = depth + 1


cdef inline void note_given(FLock* L, FSelf* me) noexcept:
    """Takes a lock that is being released off the held stack: also below level order, where it may be from before."""
    if FL_UNLIKELY(me.depth != 0):
        if FL_LIKELY(me.held[me.depth - 1].lock == L):
            me.depth -= 1
        else:
            held_remove(me, L)


cdef inline bint pair_is_known(FLock* L, FSelf* me, uint32_t depth, uint32_t flags) noexcept:
    """Whether this lock was last wanted under the same classes, in the same way, by this agent or by enough others."""
    cdef FHeld* top = &me.held[depth - 1]
    cdef uint64_t key = top.chain ^ order_epoch ^ flags
    if L.pair_key != key ^ me.salt and L.pair_key != key:
        return False
    # A lock that somebody else has released is not held, whatever the stack says; what is not seen here, tidy() sees.
    return top.chain != 0 and (owner_bits(top.lock.word) == me.word or (top.flags & (H_SHARED | H_IN_TASK)) != 0)


cdef inline int order_before(FLock* L, FSelf* me, uint32_t flags) except -1:
    """The check of a lock wanted while something is held: two compares, where this lock was last wanted in the same way."""
    if FL_LIKELY(pair_is_known(L, me, me.depth, flags)):
        L.pair_count += 1
        return 0
    return order_wanted(L, me, flags)


cdef inline int before(FLock* L, FSelf* me, int64_t timeout_ns, uint32_t flags) except -1:
    """The check before an acquire that may have a limit: who only tries cannot block, and is in no circle by that."""
    if me.depth != 0 and timeout_ns != 0:
        return order_before(L, me, flags | (H_TIMED if timeout_ns > 0 else 0))
    return 0


cdef inline uint32_t how_held(int64_t timeout_ns) noexcept:
    return H_TRY if timeout_ns == 0 else 0


# ---- the same in a thread that runs an event loop; see _loops.pyx

cdef inline int order_in_loop(FLock* L, FSelf* who, uint32_t flags) except -1:
    """order_before, where a task may show what any other one of its thread could not come between."""
    cdef uint64_t chain
    if who.task == NULL or not in_one_step(who, fl_context_version()):
        return order_before(L, who, flags)
    flags |= H_ONE_STEP
    chain = who.held[who.depth - 1].chain
    if chain != 0 and L.pair_key == chain ^ order_epoch ^ flags ^ who.thread.salt:
        L.pair_count += 1
        return 0
    return order_wanted(L, who, flags)


cdef inline FSelf* before_in_loop(FLock* L, FSelf* me, int64_t timeout_ns, uint32_t flags) except NULL:
    """What comes before an acquire; returns whose stack is to hold the lock."""
    cdef FSelf* who = me
    if FL_UNLIKELY(armed != 0) and not flags & H_SHARED:
        look_at(L)
    if notes & NOTE_ORDER:
        who = stack_owner(me)
        if who.depth != 0 and timeout_ns != 0:
            order_in_loop(L, who, flags | (H_TIMED if timeout_ns > 0 else 0))
    return who


cdef inline void taken_in_loop(FLock* L, FSelf* who, uint32_t flags) noexcept:
    """What note_taken stores, and where in the loop's work it was."""
    cdef uint64_t placed = fl_place()
    cdef FHeld* h
    if flags & H_SHARED == 0:
        fl_put64(&L.placed, placed)
        L.marks = L.marks | M_PLACED if notes else L.marks & ~<uint8_t>M_PLACED
    note_taken(L, who, flags | (H_IN_TASK if who.task != NULL else 0))
    if who.task != NULL and who.depth != 0:
        h = &who.held[who.depth - 1]
        if h.lock == L:         # there was room
            h.stamp = <uint32_t>(placed >> 32)
    if FL_UNLIKELY(looked_at != 0) and flags & H_SHARED == 0:
        is_looked_at(L)


cdef inline bint known_in_step(FLock* L, FSelf* who, uint16_t now) noexcept:
    """Whether order_in_loop has nothing to learn: all was taken in this step, and this lock was last wanted so under the same classes."""
    cdef uint64_t chain = who.held[who.depth - 1].chain
    return (chain != 0 and L.tag != 0 and L.pair_key == chain ^ order_epoch ^ H_ONE_STEP ^ who.thread.salt
            and in_one_step(who, now))


cdef inline bint usually_taken_in_loop(FLock* L, FSelf* me, uint8_t flags) noexcept:
    """All of an acquire where nothing need be called for it: at the same site as before, and what else the task holds is of this step."""
    cdef PyThreadState* ts = fl_tstate_uncalled()
    cdef FSelf* who = me
    cdef FHeld* h
    cdef uint64_t placed
    if FL_UNLIKELY(ts == NULL or armed != 0 or looked_at != 0 or not notes & NOTE_SITE or fl_site_key_in(ts) != L.site_key):
        return False
    if notes & NOTE_ORDER:
        who = me.now
        if FL_UNLIKELY(me.step != fl_step_in(ts) or who.depth == who.room):
            return False
        if who.depth != 0 and not known_in_step(L, who, <uint16_t>me.step):
            return False
    if FL_UNLIKELY(not fl_word_take(&L.word, me.word | flags)):
        return False
    placed = fl_place_in(ts)
    fl_put64(&L.placed, placed)
    L.marks |= M_PLACED
    if notes & NOTE_ORDER:
        L.acquired += 1
        h = &who.held[who.depth]
        h.lock = L
        h.flags = H_IN_TASK
        h.chain = L.tag
        h.stamp = <uint32_t>(placed >> 32)
        if who.depth != 0:
            L.pair_count += 1
            h.chain = chained((h - 1).chain, L.tag)
        who.depth += 1
    return True


cdef inline bint usually_given_in_loop(FLock* L, FSelf* me, uint8_t flags, uint8_t marks) noexcept:
    """All of a release with these marks, in the step of the acquire, of what is the last on the task's stack."""
    cdef PyThreadState* ts = fl_tstate_uncalled()
    cdef FSelf* who
    cdef uint64_t step
    if FL_UNLIKELY(ts == NULL or L.marks & marks != marks or me.depth != 0 or fl_load64(&L.word) != me.word | flags):
        return False
    step = fl_step_in(ts)
    if FL_UNLIKELY(<uint16_t>(L.placed >> 48) != <uint16_t>step):
        return False
    if stacks:
        who = me.now
        if FL_UNLIKELY(me.step != step):
            return False
        if who.depth != 0:
            if FL_UNLIKELY(who.held[who.depth - 1].lock != L):
                return False
            who.depth -= 1
    L.marks &= ~<uint8_t>M_PLACED
    return fl_word_drop(&L.word, me.word | flags)   # where it fails, for somebody has come to wait, the longer way finds the rest done


cdef class LockType:
    cdef FLock* rec
    cdef object __weakref__

cdef class RLock:
    cdef FLock* rec
    cdef object __weakref__

cdef LockType new_lock()
cdef int lock_take(LockType self) except -1
cdef int lock_release(LockType self) except -1
cdef int rlock_take(RLock self) except -1
cdef int rlock_release(RLock self) except -1
cdef object rlock_save(RLock self)
cdef int rlock_restore(RLock self, int64_t depth) except -1
cdef bint rlock_owned(RLock self) noexcept
