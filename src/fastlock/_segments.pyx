# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Happens-before as a graph of segments: one is before another where the other's predecessors lead to it.

A segment that nobody refers to can be asked for no more: it serves as a bridge at most. Without a successor it goes, and
with a single predecessor its successors take that one instead. So a thread that starts a million short ones keeps a few.

Cost: a walk back over segments that are younger than the earlier one; a pair's answer never changes and is kept.
Guard: the graph's mutex.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fastlock._pool cimport *


cdef bint segments_open(Segments* s, uint32_t limit) noexcept nogil:
    memset(s, 0, sizeof(Segments))
    return pool_open(&s.pool, sizeof(Segment), limit + 1)


cdef void segments_close(Segments* s) noexcept nogil:
    pool_close(&s.pool)
    list_close(&s.walk)
    list_close(&s.loose)


cdef inline void use(Segments* s, uint32_t slot, uint32_t pred) noexcept nogil:
    """Enters a slot into a predecessor's list."""
    cdef Segment* p = segment_at(s, pred)
    cdef Segment* i = segment_at(s, slot >> 1)
    i.pred[slot & 1] = pred
    i.next_use[slot & 1] = p.first_use
    i.prev_use[slot & 1] = 0
    if p.first_use:
        segment_at(s, p.first_use >> 1).prev_use[p.first_use & 1] = slot
    p.first_use = slot


cdef inline void unuse(Segments* s, uint32_t slot) noexcept nogil:
    cdef Segment* i = segment_at(s, slot >> 1)
    cdef uint32_t following = i.next_use[slot & 1]
    cdef uint32_t previous = i.prev_use[slot & 1]
    if previous:
        segment_at(s, previous >> 1).next_use[previous & 1] = following
    else:
        segment_at(s, i.pred[slot & 1]).first_use = following
    if following:
        segment_at(s, following >> 1).prev_use[following & 1] = previous
    i.pred[slot & 1] = 0


cdef uint32_t segment_new(Segments* s, uint32_t pred1, uint32_t pred2) noexcept nogil:
    """A segment after one or two others, with one reference; 0 where memory is short, which orders nothing."""
    cdef uint32_t i
    # Room on the list of loose ends for every segment there is: letting go must not fail.
    if not list_room(&s.loose, s.pool.live + 2):
        return 0
    i = pool_take(&s.pool)
    if i == 0:
        return 0
    s.number += 1
    segment_at(s, i).number = s.number
    segment_at(s, i).refs = 1
    if pred1 == 0 or pred1 == pred2:
        pred1, pred2 = pred2, 0
    if pred1:
        use(s, 2 * i, pred1)
    if pred2:
        use(s, 2 * i + 1, pred2)
    return i


cdef void segment_ref(Segments* s, uint32_t i) noexcept nogil:
    if i:
        segment_at(s, i).refs += 1


cdef void segment_unref(Segments* s, uint32_t i) noexcept nogil:
    if i == 0:
        return
    segment_at(s, i).refs -= 1
    if segment_at(s, i).refs == 0:
        s.loose.n = 0
        list_push(&s.loose, i)
        while s.loose.n:
            s.loose.n -= 1
            tidy(s, s.loose.items[s.loose.n])


cdef void tidy(Segments* s, uint32_t i) noexcept nogil:
    """Lets a segment go that nobody refers to, unless it joins two predecessors to a successor."""
    cdef Segment* segment = segment_at(s, i)
    cdef uint32_t pred = segment.pred[0]
    cdef uint32_t slot
    segment.loose = 0
    if segment.refs or segment.number == 0 or (segment.first_use and segment.pred[1]):
        return
    while segment.first_use:
        slot = segment.first_use
        unuse(s, slot)
        replace(s, slot, pred)
        loosen(s, slot >> 1)      # it may have come down to one predecessor
    if segment.pred[1]:
        pred = segment.pred[1]
        unuse(s, 2 * i + 1)
        loosen(s, pred)
    if segment.pred[0]:
        pred = segment.pred[0]
        unuse(s, 2 * i)
        loosen(s, pred)
    segment.number = 0
    pool_put(&s.pool, i)


cdef void replace(Segments* s, uint32_t slot, uint32_t pred) noexcept nogil:
    """Puts a predecessor (0: none) into an empty slot; the first slot is filled first and the second one differs."""
    cdef uint32_t i = slot & ~<uint32_t>1
    cdef uint32_t other = segment_at(s, i >> 1).pred[1 - (slot & 1)]
    if pred and pred != other:
        use(s, slot, pred)
    elif other and slot == i:
        unuse(s, i + 1)
        use(s, i, other)


cdef void loosen(Segments* s, uint32_t i) noexcept nogil:
    if segment_at(s, i).refs == 0 and not segment_at(s, i).loose:
        segment_at(s, i).loose = 1
        list_push(&s.loose, i)


cdef bint segment_before(Segments* s, uint32_t a, uint32_t b) noexcept nogil:
    """Whether all of `a` is over when `b` begins."""
    cdef Segment* first
    cdef Segment* then
    cdef Verdict* kept
    if a == 0 or b == 0 or a == b:
        return False
    first = segment_at(s, a)
    then = segment_at(s, b)
    if first.number >= then.number:
        return False
    kept = &s.verdicts[mix((first.number << 32) ^ then.number) & 255]
    if kept.a != first.number or kept.b != then.number:
        kept.before = reaches(s, b, a)
        kept.a = first.number
        kept.b = then.number
    return kept.before


cdef bint reaches(Segments* s, uint32_t start, uint32_t target) noexcept nogil:
    cdef uint64_t oldest = segment_at(s, target).number
    cdef Segment* segment
    cdef int k
    s.stamp += 1
    s.walk.n = 0
    if not list_push(&s.walk, start):
        return False
    while s.walk.n:
        s.walk.n -= 1
        segment = segment_at(s, s.walk.items[s.walk.n])
        for k in range(2):
            if segment.pred[k] == target:
                return True
            if segment.pred[k] and segment_at(s, segment.pred[k]).number > oldest \
                    and segment_at(s, segment.pred[k]).stamp != s.stamp:
                segment_at(s, segment.pred[k]).stamp = s.stamp
                if not list_push(&s.walk, segment.pred[k]):
                    return False
    return False
