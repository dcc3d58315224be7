# cython: language_level=3, binding=False
"""Records as Python objects: names, events for the reporting layer, the raw report, the table.

All of it is cold and runs under the GIL with no mutex held. The raw report is made of str and bytes only and runs no
bytecode, so that the agent that closes a circle keeps the GIL until its text is ready.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlock._native cimport fl_load64, fl_load8, fl_now_ns
from fastlock._options cimport LockOptions, options_of
from fastlock._sites cimport site_at, site_facts, site_variable
from fastlock._table cimport *
from fastlock._waits cimport FL001, FL002, FL003, FL004, FL012, Edge, Found, has_evidence, release_found

from os import getpid
from time import time

KINDS = {K_LOCK: "Lock", K_RLOCK: "RLock", K_RWLOCK: "RWLock", K_SEMAPHORE: "Semaphore", K_CONDITION: "Condition", K_EVENT: "Event"}
MODES = {WAIT_EXCLUSIVE: "exclusive", WAIT_SHARED: "shared", WAIT_PERMIT: "exclusive", WAIT_NOTIFY: "exclusive", WAIT_FLAG: "shared"}
WHATS = {WAIT_EXCLUSIVE: "acquire", WAIT_SHARED: "acquire_read", WAIT_PERMIT: "acquire", WAIT_NOTIFY: "wait", WAIT_FLAG: "wait"}
STATES = {A_FREE: "ended", A_ALIVE: "alive", A_ENDED: "ended", A_LOST: "lost-in-fork"}
TITLES = {FL001: "deadlock", FL002: "self-deadlock", FL003: "abandoned lock", FL004: "fork orphan", FL012: "read-write lock deadlock"}

cdef enum:
    RAW_EDGES = 12             # a raw report names this many agents of a long circle


cdef dict files_of_class = {}       # (name of a file, the rest of the label) -> its files, as met


cdef object base_name(object path):
    return path.rpartition("/")[2]


cdef object place(uint32_t site):
    """file:line of a site."""
    facts = site_facts(site)
    return "unknown site" if facts is None else f"{base_name(facts[0])}:{facts[1]}"


cdef object lock_name(FLock* L):
    """DESIGN section 8: the given name, else the variable, else kind@file:line."""
    cdef LockOptions own = options_of(L)
    if own is not None and own.name is not None:
        return own.name
    variable = site_variable(L.created)
    if variable is not None:
        return variable
    return f"{KINDS[L.kind]}@{place(L.created)}" if L.created else f"unnamed {KINDS[L.kind]}"


cdef object lock_class(FLock* L):
    """The given class, else the name, else the creation site by what an edit above does not change."""
    cdef LockOptions own = options_of(L)
    if own is not None and own.lock_class is not None:
        return own.lock_class
    return site_class(L.created, L.kind)


cdef object site_class(uint32_t created, uint8_t kind):
    facts = site_facts(created)
    if facts is None:
        return KINDS[kind]
    variable = site_variable(created)
    if variable is not None:
        return f"{variable}@{distinct_file(facts[0], variable)}"
    function = facts[2].rpartition('.')[2]
    return f"{KINDS[kind]}@{distinct_file(facts[0], f'{KINDS[kind]}:{function}')}:{function}"


cdef object distinct_file(object path, object rest):
    """A file's name, with as many directories as tell it from others of the name that have a class like this one."""
    cdef Py_ssize_t parts = 1
    others = files_of_class.setdefault((base_name(path), rest), {path: None})
    others[path] = None
    others = tuple(others)      # what follows allocates, and a finaliser may bring another file
    while True:
        tail = "/".join(path.split("/")[-parts:])
        if tail == path or sum([other == tail or other.endswith("/" + tail) for other in others]) == 1:
            return tail
        parts += 1


cdef object agent_name(FSelf* s):
    if fl_load8(&s.pub.state) == A_ALIVE:
        agent_refresh_name(s)
    name = (<bytes>s.pub.name).decode("utf-8", "ignore")    # cut at a byte limit
    # Without threading nobody has named a thread; the one that the process began with is known all the same.
    return name or ("MainThread" if s.pub.native_id == getpid() else f"Thread {s.pub.native_id}")


cdef object owner_or_none(FLock* L):
    """The id of who holds the lock exclusively; a signal lock has no owner."""
    cdef FSelf* s = agent_of(L.word) if not L.marks & M_SIGNAL else NULL
    return agent_id(s) if s != NULL else None


# ---- the raw report --------------------------------------------------------------------------------------

cdef uint64_t found_key(Found* found) noexcept:
    """The same for the same circle of sites, wherever it is entered."""
    cdef uint64_t key = 0, h
    cdef uint32_t i
    cdef Edge* e
    for i in range(found.n):
        e = &found.edges[i]
        h = (<uint64_t>e.held_site << 32) ^ e.wanted_site
        if e.waits != NULL:
            h ^= <uint64_t>e.waits.created << 16
        key += (h + <uint64_t>0x9E3779B97F4A7C15) * <uint64_t>0xBF58476D1CE4E5B9
    return key ^ <uint64_t>found.code


cdef object raw_line(Edge* e):
    text = "fastlock:   " + agent_name(e.agent)
    if e.agent.pub.state != A_ALIVE:
        text += " (ended)" if e.agent.pub.state == A_ENDED else " (lost in fork)"
    if e.holds != NULL:
        verb = "holds" if e.holds.kind != K_RWLOCK else "reads" if owner_bits(e.holds.word) == 0 else "writes"
        text += f" {verb} {lock_name(e.holds)} [{place(e.held_site)}]"
    if e.wait_number:
        verb = "waits for" if e.waits.kind != K_RWLOCK else "waits to read" if e.mode == WAIT_SHARED else "waits to write"
        text += f"{',' if e.holds != NULL else ''} {verb} {lock_name(e.waits)} [{place(e.wanted_site)}]"
    return text + "\n"


cdef bytes raw_report(Found* found):
    cdef uint32_t i
    tier = ", possible" if not found.proven else ", will clear" if found.timed else ""
    text = f"fastlock: FL{found.code:03d} {TITLES[found.code]}{tier}, {found.n} agent{'s' if found.n > 1 else ''} (pid {getpid()})\n"
    for i in range(min(found.n, <uint32_t>RAW_EDGES)):
        text += raw_line(&found.edges[i])
    if found.n > RAW_EDGES:
        text += f"fastlock:   and {found.n - RAW_EDGES} more\n"
    return text.encode("utf-8", "replace")


# ---- events ------------------------------------------------------------------------------------------------

cdef dict agent_facts(FSelf* s):
    return {"id": agent_id(s), "kind": "thread", "name": agent_name(s), "ident": s.pub.ident,
            "native_id": s.pub.native_id, "state": STATES[s.pub.state]}


cdef dict lock_facts(FLock* L, dict readers, dict waiters):
    return {"id": L.serial, "name": lock_name(L), "class": lock_class(L), "kind": KINDS[L.kind], "created": L.created,
            "owner": owner_or_none(L), "readers": readers.get(L.serial, []), "waiters": waiters.get(L.serial, []),
            "held_at": L.site if owner_bits(L.word) and not L.marks & M_SIGNAL else 0, "signal": bool(L.marks & M_SIGNAL)}


cdef bint is_hold(FHold* e) noexcept:
    """Whether an entry still counts: its lock exists, and holders are those who release."""
    if e.serial == 0:
        return False
    cdef FLock* L = lock_at(e.lock)
    return L.serial == e.serial and not L.marks & M_SIGNAL


cdef tuple shares_and_waits():
    """(readers by lock, waiters by lock in the order of their waits), of the whole table."""
    cdef uint32_t i
    cdef int j
    cdef FSelf* s
    cdef FHolds* h
    cdef FNode* n
    readers = {}
    queue = []
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s.pub.state == A_FREE:
            continue
        h = &s.holds
        while h != NULL:
            for j in range(8):
                if is_hold(&h.entry[j]):
                    readers.setdefault(h.entry[j].serial, []).append(agent_id(s))
            h = h.more
        n = s.top if s.pub.state == A_ALIVE else NULL
        while n != NULL:
            queue.append((n.since_ns, n.lock_serial, agent_id(s)))
            n = n.outer
    queue.sort()
    waiters = {}
    for _, serial, agent in queue:
        waiters.setdefault(serial, []).append(agent)
    return readers, waiters


cdef dict edge_facts(uint64_t agent, FLock* holds, FLock* waits, uint32_t held_site, uint32_t wanted_site, uint8_t mode,
                     int64_t since_ns, int64_t deadline_ns):
    return {"agent": agent, "holds": holds.serial if holds != NULL else None,
            "waits": waits.serial if waits != NULL else None, "mode": MODES.get(mode, "exclusive"),
            "held_at": held_site, "wanted_at": wanted_site, "since_ns": since_ns,
            "deadline_ns": deadline_ns if waits != NULL and deadline_ns >= 0 else None, "what": WHATS.get(mode, "")}


cdef dict blank_event(str code, FSelf* me):
    return {"code": code, "tier": "measured", "reasons": [], "detected_ns": fl_now_ns(), "wall_s": time(), "behind": 0,
            "clears": None, "closing": agent_id(me), "policy": None, "agents": [], "locks": [], "edges": [], "excerpt": None}


cdef list doubts(Found* found):
    """Why a finding is only possible, a sentence for each lock without evidence of ownership."""
    cdef uint32_t i
    cdef FLock* L
    reasons = []
    more = 0
    for i in range(found.n):
        L = found.edges[i].waits
        if L == NULL or has_evidence(L):
            continue
        if len(reasons) == RAW_EDGES:
            more += 1
        elif L.kind == K_SEMAPHORE:
            reasons.append(f"{lock_name(L)} is a semaphore: anybody may release it")
        else:
            reasons.append(f"{lock_name(L)} is a Lock that its owner has never released, nor taken by 'with': anybody may release it")
    return reasons + [f"anybody may release {more:,} more of the locks"] if more else reasons


@cython.final
cdef class Circle:
    """What a walk has found: the edges as they were then, and the locks alive, so that their records stay theirs.

    Facts are made of it one by one when they are looked at: of thousands, a report tells a dozen.
    """

    def __dealloc__(self):
        release_found(&self.found)

    def agent(self, uint32_t i):
        cdef Edge* e = &self.found.edges[i]
        if fl_load64(&e.agent.word) == e.agent_word:
            return agent_facts(e.agent)
        # The circle is over, the thread has ended, and its record is another's.
        return {"id": id_of(e), "kind": "thread", "name": "", "ident": 0, "native_id": None, "state": "ended"}

    def lock(self, uint32_t end):
        cdef Edge* e = &self.found.edges[end // 2]
        return lock_facts(e.waits if end % 2 else e.holds, self.readers, self.waiters)

    def edge(self, uint32_t i):
        cdef Edge* e = &self.found.edges[i]
        return edge_facts(id_of(e), e.holds, e.waits if e.wait_number else NULL, e.held_site, e.wanted_site, e.mode,
                          e.since_ns, e.deadline_ns)


@cython.final
cdef class Rows:
    """A sequence whose items are made when they are asked for."""
    cdef object make
    cdef list places

    def __cinit__(self, make, list places):
        self.make = make
        self.places = places

    def __len__(self):
        return len(self.places)

    def __getitem__(self, at):
        return self.make(self.places[at])


cdef Circle circle_of(Found* found):
    """Takes over what a walk has found."""
    cdef uint32_t i
    cdef FLock* L
    cdef Circle self = Circle.__new__(Circle)
    self.found = found[0]
    self.kept = []
    for i in range(found.n):
        L = found.edges[i].waits
        if L != NULL and L.obj != NULL:
            self.kept.append(<object>L.obj)
    return self


cdef uint64_t id_of(Edge* e) noexcept:
    return (e.agent_word >> 32 << 24) | (e.agent_word >> 8 & 0xFFFFFF)


cdef set telling(Found* found):
    """Which edges tell all about a long circle: the first ones, the last, one of each kind, the youngest, who gives up first."""
    cdef uint32_t i, youngest = 0, soonest = 0
    cdef Edge* e
    kinds = {}
    for i in range(found.n):
        e = &found.edges[i]
        kind = (e.held_site, e.wanted_site, e.mode, class_key(e.holds), class_key(e.waits))
        kinds.setdefault(kind, i)
        if e.wait_number and e.since_ns > found.edges[youngest].since_ns:
            youngest = i
        if e.wait_number and <uint64_t>e.deadline_ns < <uint64_t>found.edges[soonest].deadline_ns:     # -1 is never
            soonest = i
    return {*range(RAW_EDGES), found.n - 1, youngest, soonest, *kinds.values()}


cdef object class_key(FLock* L):
    """Differs for locks of different classes."""
    if L == NULL:
        return None
    cdef LockOptions own = options_of(L)
    return own.lock_class if own is not None and own.lock_class is not None else (L.created << 8) | L.kind


cdef dict rows_of(Circle circle, edges):
    """The facts of some of a circle's edges, and of the agents and locks in them."""
    cdef uint32_t i
    cdef Edge* e
    agents = {}
    locks = {}
    for i in edges:
        e = &circle.found.edges[i]
        agents.setdefault(id_of(e), i)
        if e.holds != NULL:
            locks.setdefault(e.holds_serial, 2 * i)
        if e.waits != NULL:
            locks.setdefault(e.waits_serial, 2 * i + 1)
    return {"agents": Rows(circle.agent, list(agents.values())), "locks": Rows(circle.lock, list(locks.values())),
            "edges": Rows(circle.edge, list(edges))}


cdef dict circle_event(Circle circle, FSelf* me):
    """The event of a circle or an orphan, for the handler."""
    cdef Found* found = &circle.found
    cdef dict event = blank_event(f"FL{found.code:03d}", me)
    circle.readers, circle.waiters = shares_and_waits()
    event.update(rows_of(circle, range(found.n)))
    if found.n > RAW_EDGES:
        event["excerpt"] = rows_of(circle, sorted(telling(found)))
    event["behind"] = behind(circle)
    event["clears"] = bool(found.timed)
    event["tier"] = "possible" if not found.proven else "will-clear" if found.timed else "proven"
    event["reasons"] = ["confirmed twice"] + doubts(found)      # examine() and then confirm() have read every record
    cdef LockOptions own = options_of(found.edges[0].waits)
    event["policy"] = own.on_deadlock if own is not None else None
    return event


cdef object behind(Circle circle):
    """How many agents wait for locks of the circle without being in it."""
    cdef uint32_t i
    cdef Found* found = &circle.found
    inside = {id_of(&found.edges[i]) for i in range(found.n)}
    outside = set()
    for i in range(found.n):
        if found.edges[i].waits != NULL:
            for agent in circle.waiters.get(found.edges[i].waits_serial, ()):
                if agent not in inside:
                    outside.add(agent)
    return len(outside)


cdef dict wait_event(str code, FSelf* me, FLock* L):
    """The event of one long or expired wait: FL020 and the lock's own timeout."""
    cdef FNode* n = me.top
    cdef dict event = blank_event(code, me)
    readers, waiters = shares_and_waits()
    owner = owner_or_none(L)
    held_by = [owner] if owner is not None else readers.get(L.serial, [])
    event["agents"] = [agent_facts(me)]
    event["locks"] = [lock_facts(L, readers, waiters)]
    event["edges"] = [edge_facts(agent_id(me), NULL, L, 0, n.site, n.mode, n.since_ns, n.deadline_ns)]
    told = {L.serial}
    for holder in held_by[:16]:
        event["edges"].append(holder_edge(holder, L))
        if holder != agent_id(me):
            event["agents"].append(agent_facts(agent_at(<uint32_t>(holder & 0xFFFFFF))))
        n = agent_at(<uint32_t>(holder & 0xFFFFFF)).top
        if n != NULL and n.lock_serial not in told:
            told.add(n.lock_serial)
            event["locks"].append(lock_facts(lock_at(n.lock_index), readers, waiters))
    event["behind"] = len(waiters.get(L.serial, [])) - 1
    event["clears"] = me.top.deadline_ns >= 0
    return event


cdef dict holder_edge(uint64_t holder, FLock* L):
    cdef FSelf* s = agent_at(<uint32_t>(holder & 0xFFFFFF))
    cdef uint32_t site = held_site(s, L)
    cdef FNode* n = s.top
    if n == NULL:
        return edge_facts(holder, L, NULL, site, 0, WAIT_EXCLUSIVE, 0, -1)
    return edge_facts(holder, L, lock_at(n.lock_index), site, n.site, n.mode, n.since_ns, n.deadline_ns)


# ---- the table -----------------------------------------------------------------------------------------------

cdef list agent_table(dict owned):
    cdef uint32_t i
    cdef int j
    cdef FSelf* s
    cdef FHolds* h
    cdef dict facts
    agents = []
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if s.pub.state == A_FREE:
            continue
        holds = owned.get(agent_id(s), [])
        h = &s.holds
        while h != NULL:
            for j in range(8):
                if is_hold(&h.entry[j]):
                    holds.append(h.entry[j].serial)
            h = h.more
        if s.pub.state != A_ALIVE and not holds:
            continue
        facts = agent_facts(s)
        facts["holds"] = holds
        facts["waits"] = s.top.lock_serial if s.pub.state == A_ALIVE and s.top != NULL else None
        agents.append(facts)
    return agents


cdef list wait_table():
    cdef uint32_t i
    cdef FSelf* s
    cdef FNode* n
    cdef FLock* L
    waits = []
    for i in range(1, agent_limit()):
        s = agent_at(i)
        n = s.top if s.pub.state == A_ALIVE else NULL
        while n != NULL:
            L = lock_at(n.lock_index)
            waits.append({"agent": agent_id(s), "lock": n.lock_serial, "what": f"{KINDS.get(L.kind)}.{WHATS[n.mode]}",
                          "mode": MODES[n.mode], "owner": owner_or_none(L), "since_ns": n.since_ns,
                          "deadline_ns": n.deadline_ns if n.deadline_ns >= 0 else None, "wanted_at": n.site})
            n = n.outer
    return waits


def table():
    """Every agent, and every lock that is held or waited for, as builtins; one moment's truth under the GIL."""
    cdef uint32_t i
    cdef FLock* L
    readers, waiters = shares_and_waits()
    locks = []
    owned = {}
    for i in range(1, lock_limit()):
        L = lock_at(i)
        if L.serial == 0:
            continue
        if owner_bits(L.word) or L.serial in readers or L.serial in waiters:
            locks.append(lock_facts(L, readers, waiters))
            owner = owner_or_none(L)
            if owner is not None:
                owned.setdefault(owner, []).append(L.serial)
    return {"agents": agent_table(owned), "locks": locks, "waits": wait_table()}


def site(uint32_t number):
    """(file, line, function, first line of the function) of an interned site, None for the unknown one."""
    return site_facts(number)
