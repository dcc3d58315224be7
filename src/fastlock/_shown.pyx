# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Names, sites and findings for readers outside, who can ask nobody: put into the mapping when somebody is about to block.

Each name and each site is written once, and what is shown of a lock is kept as long as the lock; so all but the first wait at a place costs
some comparisons. What is told is of a lock: its name, class, kind and sites; of a waiting agent at level order what it holds. No values, no
arguments, nothing of the program's data. All of it runs under the GIL with no mutex held, and before the wait is published: while a name is
made up, a finaliser may run.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strncpy

from fastlock._contended cimport FContended, contended_named, contended_of, contended_watch, shown_chain
from fastlock._facts cimport labels_changed, lock_class, lock_name
from fastlock._mapping cimport (
    A_FINDINGS, A_SHARES, A_SITES, A_STRINGS, FArea, FPlace, FShown, area_used, header, mapping_is_lost, record_at)
from fastlock._native cimport *
from fastlock._park cimport task_wait_push, wait_push
from fastlock._sites cimport site_facts
from fastlock._table cimport *

cdef extern from "Python.h":
    void PyErr_WriteUnraisable(object)

cdef enum:
    MOST_BYTES = 1000          # of a string; of a longer path the end tells more
    MOST_NAMES = 64            # of one class, of what is made for a single wait
    MOST_HELD = 16             # entries shown of a held stack, the newest
    CHECK_NS = 1000000000      # how often somebody who blocks sees after the mapping
    LABELS = 256               # kept, by creation site and kind

cdef struct FLabel:
    # What locks without options are called that are made at one place.
    uint64_t key               # creation site and kind; 0: none
    uint32_t changed           # labels_changed of then
    uint32_t name              # offsets in strings
    uint32_t lock_class

cdef FPlace* places = <FPlace*>record_at(A_SITES, 0)        # the mapping never moves
cdef uint32_t rooms = header.areas[A_SITES].capacity
cdef dict strings = {}          # text -> its offset
cdef dict names_of = {}         # class -> how many names of its have been put there, of what is made for a single wait
cdef FLabel[LABELS] labels
cdef object refresher = None
cdef int64_t checked_ns = 0


# ---- strings and sites --------------------------------------------------------------------------------------------

cdef uint32_t put_string(const char* text, uint32_t length) noexcept nogil:
    """Appends a string; its offset, 0 where there is no room."""
    cdef FArea* a = &header.areas[A_STRINGS]
    cdef uint32_t offset, end
    cdef char* at
    fl_mutex_lock(&table_mutex)
    offset = a.used
    end = (offset + 4 + length + 3) // 4 * 4
    if end > a.capacity:
        a.hidden += 1
        offset = 0
    else:
        at = <char*>record_at(A_STRINGS, offset)
        memcpy(at + 4, text, length)
        fl_store32(at, length)
        area_used(A_STRINGS, end)
    fl_mutex_unlock(&table_mutex)
    return offset


cdef uint32_t string_out(str text) except? 0:
    """The offset of a text in the mapping, put there once; 0 where there is no room."""
    known = strings.get(text)
    if known is not None:
        return known
    cdef bytes raw = text.encode("utf-8", "backslashreplace")
    raw = raw[len(raw) - MOST_BYTES:] if len(raw) > MOST_BYTES else raw
    cdef uint32_t offset = put_string(raw, <uint32_t>len(raw))
    if offset:
        strings[text] = offset
    return offset


cdef int site_out(uint32_t site) except -1:
    """Makes a site readable: file, line and function, once."""
    cdef FPlace* p = &places[site]
    if site == 0 or site >= rooms or p.known:
        return 0
    facts = site_facts(site)
    if facts is None:
        return 0
    p.file = string_out(facts[0])
    p.function = string_out(facts[2])
    p.line = facts[1] or 0
    fl_store32(&p.known, 1)
    if site >= header.areas[A_SITES].used:
        area_used(A_SITES, site + 1)
    return 0


# ---- locks and agents ---------------------------------------------------------------------------------------------

cdef str one_of_few(str name, str label):
    """The name of what is made for a single wait, as "process 4711"; of very many only the class, for strings stay for ever."""
    if name in strings:
        return name
    count = names_of.get(label, 0)
    if count >= MOST_NAMES:
        return label
    names_of[label] = count + 1
    return name


cdef FLabel label_of(FLock* L) except *:
    """What a lock is called: of one that has no options it is kept by its creation site, for programs make the like of it again and again."""
    cdef FLabel made
    cdef FLabel* known
    made.key = (<uint64_t>L.created << 8) | L.kind if not L.marks & M_POLICY else 0
    known = &labels[(made.key ^ made.key >> 8) % LABELS]
    if made.key != 0 and known.key == made.key and known.changed == labels_changed:
        return known[0]
    site_out(L.created)
    name = lock_name(L)
    made.name = string_out(name if L.kind < K_RESULT else one_of_few(name, lock_class(L)))
    made.lock_class = string_out(lock_class(L))
    made.changed = labels_changed
    if not FL_CAS_WORDS and made.key != 0 and made.name and made.lock_class:
        known[0] = made
    return made


cdef int lock_out(FLock* L) except -1:
    """Makes a lock's name, class and creation site readable, once."""
    cdef FContended* c = contended_of(L)
    cdef FLabel label
    if c != NULL and c.named:
        return 0
    label = label_of(L)
    contended_named(L, label.name, label.lock_class)
    return 0


cdef bint still_has(FSelf* me, FHeld* h) noexcept nogil:
    if h.flags & H_SHARED:
        return hold_count(me, h.lock, NULL) != 0
    return owner_bits(h.lock.word) == me.word and h.lock.serial != 0


cdef int show_held(FSelf* me) except -1:
    """Shows what a waiting agent holds, at level order, where its stack is at hand."""
    cdef uint32_t i, n = 0, number
    cdef FHeld* h
    cdef FShown* e
    cdef uint32_t length = min(me.depth, <uint32_t>MOST_HELD)
    for i in range(length):
        h = &me.held[me.depth - 1 - i]
        if still_has(me, h):
            site_out(held_site(me, h.lock))
            lock_out(h.lock)
        if me.depth < length:
            return 0                # a finaliser has changed it
    number = me.pub.held = shown_chain(me.pub.held, length)
    for i in range(length):
        h = &me.held[me.depth - 1 - i]
        if number == 0 or not still_has(me, h):
            continue
        e = <FShown*>record_at(A_SHARES, number)
        e.who = h.lock.serial
        e.count = h.lock.contended
        e.site = held_site(me, h.lock)
        number = e.next
        n += 1
    record_begin(&me.pub.seq)
    me.pub.held_count = n
    record_end(&me.pub.seq)
    return 0


cdef void given_back(FSelf* me, FLock* L) noexcept nogil:
    """Shows that a waiting agent holds a lock no more: the condition's that it waits for, which it has let go within the wait."""
    cdef uint32_t i, left = me.pub.held_count, number = me.pub.held
    cdef FShown* e
    cdef FShown* following
    while left > 0 and (<FShown*>record_at(A_SHARES, number)).who != L.serial:
        number = (<FShown*>record_at(A_SHARES, number)).next
        left -= 1
    if left == 0:
        return
    record_begin(&me.pub.seq)
    for i in range(left - 1):
        e = <FShown*>record_at(A_SHARES, number)
        number = e.next
        following = <FShown*>record_at(A_SHARES, number)
        e.who = following.who
        e.count = following.count
        e.site = following.site
    me.pub.held_count -= 1
    record_end(&me.pub.seq)


cdef int show(FLock* L, FSelf* me, uint32_t site) except -1:
    cdef FSelf* owner
    cdef FContended* c
    c = contended_of(L)
    if c == NULL or not c.named:
        lock_out(L)
    site_out(site)
    site_out(L.site)
    owner = agent_of(fl_load64(&L.word))
    if owner != NULL and owner.pub.name[0] == 0:
        agent_refresh_name(owner)
    if me.depth != 0:
        show_held(me)
    return 0


cdef int show_pool(FLock* L) except -1:
    """Makes a pool readable, and which of its workers have a job from where; until contended_refresh()."""
    cdef uint32_t i, site = 0
    cdef FSelf* s
    if fl_finalizing():
        return 0
    lock_out(L)
    contended_watch(L)
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if fl_load8(&s.pub.state) == A_ALIVE and hold_count(s, L, &site):
            site_out(site)
            if s.pub.name[0] == 0:
                agent_refresh_name(s)
    return 0


cdef int look_after(int64_t now) except -1:
    """Sees to it, once in a while, that readers find the table, and that its header is true."""
    global checked_ns
    checked_ns = now
    if mapping_is_lost():
        table_renew()
    if refresher is not None:
        refresher()
    return 0


cdef int show_wait(FLock* L, FSelf* me, uint32_t site) except -1:
    """Called before a wait is published: writes what a reader outside needs of it. Raises what a signal handler does."""
    cdef int64_t now = fl_about_now_ns()
    if fl_finalizing():
        return 0                    # modules are being taken apart
    if now - checked_ns >= CHECK_NS:
        look_after(now)
    try:
        show(L, me, site)
    except MemoryError as error:        # readers miss a name; the wait itself is to go on
        PyErr_WriteUnraisable(error)
    return 0


cdef FNode* wait_begin(FSelf* me, FLock* L, uint8_t mode, uint8_t flags, int64_t timeout_ns, uint32_t site) except NULL:
    """Publishes that the running thread waits, and what readers outside need of it."""
    show_wait(L, me, site)
    return wait_push(me, L, mode, flags, timeout_ns, site)


cdef inline bint is_out(uint32_t site) noexcept nogil:
    return site == 0 or site >= rooms or places[site].known


cdef inline bint is_shown(FLock* L, uint32_t site) noexcept nogil:
    """Whether show() would find nothing to do for somebody who holds nothing."""
    cdef FContended* c = contended_of(L)
    cdef FSelf* owner
    if c == NULL or not c.named or not is_out(site) or not is_out(L.site):
        return False
    owner = agent_of(L.word)
    return owner == NULL or owner.pub.name[0] != 0


cdef FNode* task_wait_begin(FSelf* t, FSelf* asker, FLock* L, uint8_t mode, int64_t timeout_ns, uint32_t site) except NULL:
    """The same for a task, as task_wait_push() does it."""
    cdef int64_t now = fl_now_ns()
    if t.depth != 0 or now - checked_ns >= CHECK_NS or not is_shown(L, site):
        show_wait(L, t, site)
    return task_wait_push(t, asker, L, mode, timeout_ns, site, now)


# ---- what the Python layer tells ----------------------------------------------------------------------------------

cdef int set_text(char* field, str text) except -1:
    raw = text.encode("utf-8", "backslashreplace")[:63]
    strncpy(field, raw, 63)
    return 0


def set_program(str program, str interpreter, int64_t raw_locks):
    """What the header says of the process: base names, and how many locks nobody sees."""
    set_text(header.program, program)
    set_text(header.interpreter, interpreter)
    header.raw_locks = raw_locks


def set_refresher(new_refresher):
    """refresher() is called by who blocks, at most once a second, before its wait begins."""
    global refresher
    refresher = new_refresher


def put_findings(findings, uint32_t dropped):
    """Shows the findings, (count, JSON) each, oldest first: as many of the newest as there is room for."""
    cdef uint32_t half = header.areas[A_FINDINGS].capacity // 2
    cdef uint32_t room = half, length, shown = 0
    cdef uint32_t seq = header.findings_seq
    cdef char* at
    cdef bytes text
    kept = []
    for count, text in reversed(findings):
        length = (8 + len(text) + 3) // 4 * 4
        if length > room:
            break
        room -= length
        kept.append((count, text))
    if half == 0:
        return
    at = <char*>record_at(A_FINDINGS, half if not seq & 2 else 0)
    kept.reverse()
    fl_store32(&header.findings_seq, seq + 1)
    fl_fence()
    for count, text in kept:
        length = <uint32_t>len(text)
        (<uint32_t*>at)[0] = length
        (<uint32_t*>at)[1] = <uint32_t>(<uint64_t>count & 0xFFFFFFFF)
        memcpy(at + 8, <const char*>text, length)
        at += (8 + length + 3) // 4 * 4
        shown += 1
    header.findings_count = shown
    header.findings_dropped = dropped + <uint32_t>(len(findings) - shown)
    area_used(A_FINDINGS, 2 * half)
    fl_store32(&header.findings_seq, seq + 2)
