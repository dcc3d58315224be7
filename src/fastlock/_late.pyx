# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Tasks' waits that last: a thread that waits times itself, a task has nobody. So fastlock's own thread looks after them.

It is told when to look only where it would look too late otherwise: EARLY_NS after the first wait of a task, and then once in `slow_wait`
as long as one waits. A wait costs a comparison; nothing is in the program's loop, which may be idle or blocked. A look costs some
nanoseconds for each agent that there is, and what it tells is told once for each wait.

Guard: the GIL. A wait is published before `due` is read, and `due` is cleared before the waits are read: one of the two sees the other.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastlock._block cimport is_kept, is_looking, raw_known, slow_after, sooner, write_raw
from fastlock._facts cimport circle_event, circle_of, class_key, found_key, wait_event
from fastlock._native cimport *
from fastlock._table cimport *
from fastlock._resolve cimport examine_all
from fastlock._found cimport NOTHING, Found, confirm, release_found, stands_still

import os

cdef enum:
    COALESCED = 16              # waits that are late within this part of slow_wait are looked at together
    MOST_EARLY = 200            # waits at a time; a crowd's others are looked at the next time

cdef int64_t due = -1
cdef object waker = None        # makes the thread that looks ask due_ns() again


cdef inline bint is_timed(FLock* L) noexcept nogil:
    """Whether somebody is known who keeps it, so that a circle may come to be; events and conditions take as long as they take."""
    return L.kind == K_LOCK or L.kind == K_RLOCK or L.kind == K_RWLOCK or L.kind == K_SEMAPHORE or L.kind == K_RESULT


cdef int task_waits_first(FLock* L, FNode* n) except -1:
    """The same where nobody looks in time yet."""
    global due
    if not is_timed(L):
        return 0
    due = n.since_ns + sooner(slow_wait_ns, EARLY_NS)
    if waker is not None:
        waker()
    return 0


cdef FLock* late_lock(FSelf* s) noexcept:
    """What a task waits for, if it can be late and has not been told; else NULL."""
    cdef FNode* n = s.top
    cdef FLock* L
    if s.task == NULL or n == NULL or s.pub.state != A_ALIVE or n.state != N_QUEUED or n.flags & F_TOLD:
        return NULL
    L = lock_at(n.lock_index)
    return L if L != NULL and L.serial == n.lock_serial and L.obj != NULL and is_timed(L) else NULL


def set_waker(new_waker):
    """waker() is called in the loop's thread when due_ns() has become earlier."""
    global waker
    waker = new_waker


def due_ns():
    """When late_waits() is to be called next, by CLOCK_MONOTONIC; -1 for never."""
    return due


def look_again():
    """Called when settings have changed: every wait is timed anew."""
    global due
    cdef uint32_t i
    for i in range(1, agent_limit()):
        if late_lock(agent_at(i)) != NULL:
            due = fl_now_ns()
            if waker is not None:
                waker()
            return


def late_waits():
    """What has to be told of tasks that have waited for so long that it is time to look, as events; for fastlock's own thread."""
    global due
    cdef int64_t now = fl_now_ns(), slow_ns = slow_after(), following = -1, at
    cdef uint32_t i, early = 0
    cdef FSelf* s
    due = -1
    fl_fence()
    events = []
    seen = set()
    if not is_looking():
        return events
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if late_lock(s) == NULL:
            continue
        if early < MOST_EARLY and not s.top.flags & F_LOOKED and s.top.since_ns + EARLY_NS <= now:
            s.top.flags |= F_LOOKED
            early += 1
            if not stands_still(s):
                add_circle(s, False, events)
            if late_lock(s) == NULL:
                continue
        at = s.top.since_ns + slow_ns if slow_ns >= 0 else -1
        if 0 <= at <= now:
            late_wait(s, seen, events)
            at = now + slow_ns
        if late_lock(s) != NULL:        # not yet late, or not held just now
            following = sooner(following, at if s.top.flags & F_LOOKED else sooner(at, s.top.since_ns + EARLY_NS))
    if following >= 0:
        following = max(following, now + sooner(slow_ns // COALESCED if slow_ns >= 0 else -1, EARLY_NS))
    due = sooner(due, following)
    return events


cdef int late_wait(FSelf* s, set seen, list events) except -1:
    """The event of one late wait, and of those like it: the circle that it is in, or who holds what it waits for."""
    cdef FNode* n = s.top
    cdef FLock* L = late_lock(s)
    cdef uint64_t number = n.wait_number, word = s.word
    keep = <object>L.obj
    if not stands_still(s) and add_circle(s, True, events):
        return 0
    if not is_kept(L):
        return 0
    n.flags |= F_TOLD
    key = (class_key(L), n.site, n.mode, L.site)
    if key in seen:
        return 0                # a finding is about lines; who else waits there is counted as behind
    seen.add(key)
    event = wait_event("FL020", s, L)
    if s.word == word and s.top == n and n.wait_number == number:
        events.append(event)
    return 0


cdef bint add_circle(FSelf* s, bint late, list events) except -1:
    """Adds the circle that a wait is in, if it has not been told; whether there is one, of which only a late wait counts without proof."""
    event = late_circle(s, late)
    if event:
        events.append(event)
    return event is not None


cdef object late_circle(FSelf* s, bint late):
    """The event of the circle that a wait is in, {} where that has been told, None where it is in none."""
    cdef Found found
    cdef bint taken
    cdef uint64_t key
    cdef uint32_t i
    if examine_all(s, &found, NULL, NULL, &taken) == NOTHING:
        return None
    if not (found.proven or late) or not confirm(&found):
        release_found(&found)
        return None
    key = found_key(&found)
    for i in range(found.n):
        if found.edges[i].wait_number and found.edges[i].agent.task != NULL and found.edges[i].agent.top != NULL:
            found.edges[i].agent.top.flags |= F_TOLD
    if s.top != NULL:
        s.top.flags |= F_TOLD
    if found.proven and raw_known(key):
        release_found(&found)
        return {}               # as it formed
    circle = circle_of(&found)
    write_raw(&found, key)
    return circle_event(circle, s)


def in_child():
    """In the child of a fork no task waits."""
    global due
    due = -1


os.register_at_fork(after_in_child=in_child)
