# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""A stall as an event for the reporting layer: who waits for what, who has woken it so far, and what is known and what assumed.

Of thousands a few are told, the oldest victims and who could have woken them; the others are counted. Guard: the GIL. Facts are made with Python objects, so a
wait may end meanwhile: then there is no event.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastlock._facts cimport agent_facts, blank_event, edge_facts, lock_facts, lock_name, waiters_of
from fastlock._found cimport has_evidence, top_of
from fastlock._native cimport *
from fastlock._needs cimport *
from fastlock._options cimport LockOptions, options_of
from fastlock._stuck cimport Look, wakers_in
from fastlock._table cimport *
from fastlock._woken cimport Woken, woken_of

cdef enum:
    MOST_TOLD = 24             # waits of one stall
    MOST_WAYS = 6              # sentences about who has woken what


def stall_event(Look look, list group):
    """The event of a stall; None where it is over."""
    cdef FSelf* s
    cdef list told = order_of(look, group)
    cdef dict wakes = what_they_wake(look, told)
    cdef uint32_t first = told[0]
    kept = [kept_alive(<uint32_t>i) for i in told]
    event = blank_event("FL031", agent_at(first))
    event["tier"] = "proven" if look.nothing_runs and look.natives == 0 and all_waits_count(look, group) else "possible"
    event["clears"] = False
    event["behind"] = len(group) - len(told)
    locks = {}
    for number in told:
        add_wait(look, <uint32_t>number, wakes, event, locks)
    add_the_others(look, wakes, set(told), event)
    event["locks"] = list(locks.values())
    event["reasons"] = reasons_for(look, told, event["tier"])
    event["policy"] = policy_of(look, first)
    event["kept"] = kept
    return event if look.holds_still(told) else None


cdef object kept_alive(uint32_t i):
    """The task of an agent and the lock's object, so that their records stay theirs."""
    cdef FSelf* s = agent_at(i)
    cdef FNode* n = top_of(s)
    cdef FLock* L = lock_at(n.lock_index) if n != NULL else NULL
    return (<object>s.task if s.task != NULL else None, <object>L.obj if L != NULL and L.obj != NULL else None)


cdef list order_of(Look look, list group):
    """Whom to tell: victims, each followed by those who could have woken it."""
    cdef Copy* c = &look.copy
    inside = set(group)
    order = {}
    queue = [group[0]]
    rest = iter(group)
    while len(order) < MOST_TOLD:
        if not queue:
            following = next((each for each in rest if each not in order), None)
            if following is None:
                break
            queue.append(following)
        number = queue.pop(0)
        if number in order:
            continue
        order[number] = None
        queue += [each for each in wakers_in(c, c.nodes[<uint32_t>number].need)[:MOST_TOLD] if each in inside]
    return list(order)


cdef dict what_they_wake(Look look, list told):
    """By need that somebody told waits for, whose links these are: agents' indices."""
    cdef Copy* c = &look.copy
    wakes = {}
    for number in told:
        need = c.nodes[<uint32_t>number].need
        if need not in wakes:
            wakes[need] = wakers_in(c, <uint32_t>need)[:MOST_TOLD]
    return wakes


cdef int add_wait(Look look, uint32_t i, dict wakes, dict event, dict locks) except -1:
    """One who waits: an edge with what it could let go or wake in turn, and one more for each other such thing."""
    cdef Copy* c = &look.copy
    cdef FSelf* s = agent_at(i)
    cdef FNode* n = top_of(s)
    cdef FLock* L = c.needs[c.nodes[i].need].lock
    cdef FLock* H
    event["agents"].append(agent_facts(s))
    if L.serial not in locks:
        locks[L.serial] = lock_facts(L, {}, {L.serial: waiters_of(L)})
    owed = [need for need, agents in wakes.items() if i in agents]
    H = c.needs[<uint32_t>owed[0]].lock if owed else NULL
    event["edges"].append(edge_facts(agent_id(s), H, L, site_of_hold(s, H), n.site, n.mode, n.since_ns, n.deadline_ns))
    for need in owed[1:]:
        H = c.needs[<uint32_t>need].lock
        event["edges"].append(edge_facts(agent_id(s), H, NULL, site_of_hold(s, H), 0, 0, 0, -1))
    return 0


cdef uint32_t site_of_hold(FSelf* s, FLock* L) noexcept:
    return held_site(s, L) if L != NULL and (owner_bits(fl_load64(&L.word)) == s.word or hold_count(s, L, NULL)) else 0


cdef int add_the_others(Look look, dict wakes, set told, dict event) except -1:
    """Who could have woken them and has ended, runs a loop that has nothing to run, or waits as the main thread for all others; as far as its record is still its own."""
    cdef Copy* c = &look.copy
    cdef FSelf* s
    others = {}
    for need, agents in wakes.items():
        for number in agents:
            if number not in told and (c.nodes[<uint32_t>number].kind == GONE or c.nodes[<uint32_t>number].rests or c.nodes[<uint32_t>number].idle):
                others.setdefault(number, []).append(need)
    for number, needs in list(others.items())[:MOST_TOLD]:
        s = agent_at(<uint32_t>number)
        if s.word != c.nodes[<uint32_t>number].word:
            continue
        event["agents"].append(agent_facts(s))
        for need in needs:
            event["edges"].append(edge_facts(agent_id(s), c.needs[<uint32_t>need].lock, NULL, site_of_hold(s, c.needs[<uint32_t>need].lock), 0, 0, 0, -1))
    return 0


cdef bint all_waits_count(Look look, list group) except -1:
    """Whether each lock in it is known to be released by who holds it."""
    cdef Need* need
    for number in group:
        need = &look.copy.needs[look.copy.nodes[<uint32_t>number].need]
        if not need.woken and not has_evidence(need.lock):
            return False
    return True


cdef list reasons_for(Look look, list told, str tier):
    """What is known, and what has to be assumed."""
    cdef Need* need
    reasons = []
    if look.nothing_runs:
        known = "nothing in the process can run: every thread waits, none of them with a timeout"
        reasons.append(f"{known}, and no thread of C code and no signal handler is there to wake one" if tier == "proven" else known)
    if tier == "proven":
        return ["confirmed twice"] + reasons
    if look.nothing_runs and look.natives is None:
        reasons.append("assumed: no thread of C code wakes them, for it is not known whether there are any")
    seen = {}
    for number in told:
        need = &look.copy.needs[look.copy.nodes[<uint32_t>number].need]
        if need.serial in seen or len(seen) == MOST_WAYS:
            continue
        seen[need.serial] = True
        if need.woken and need.rule == ANY and not look.nothing_runs:
            reasons.append(f"assumed: nobody wakes who waits for {lock_name(need.lock)} but who has so far")
        elif not need.woken and not has_evidence(need.lock):
            reasons.append(f"assumed: only who holds {lock_name(need.lock)} releases it")
    return ["confirmed twice"] + reasons


cdef object policy_of(Look look, uint32_t first):
    cdef LockOptions own = options_of(look.copy.needs[look.copy.nodes[first].need].lock)
    return own.on_deadlock if own is not None else None
