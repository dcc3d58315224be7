# cython: language_level=3, binding=False
"""Records as Python objects: names, events for the reporting layer, the raw report, the table.

All of it is cold and runs under the GIL with no mutex held. The raw report is made of str and bytes only and runs no
bytecode, so that the agent that closes a circle keeps the GIL until its text is ready.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fastlock._native cimport fl_load64, fl_load8, fl_mutex, fl_mutex_lock, fl_mutex_unlock, fl_now_ns
from fastlock._options cimport LockOptions, options_of
from fastlock._sites cimport site_at, site_facts, site_variable
from fastlock._table cimport *
from fastlock._task_names cimport task_name
from fastlock._resolve cimport placed_by
from fastlock._tasks cimport task_agent_in, task_rest
from fastlock._wakers cimport B_AWAIT, B_COMPLETED, B_DECLARED, B_FUTURE, B_JOIN, B_PROCESS, B_SIMPLE, B_WAIT, FWakers, source_agent, source_pool, wakers_of
from fastlock._told cimport BY_GATHER, BY_GROUP, BY_JOB, BY_LOOP, BY_POOL, BY_TASK, BY_WAIT
from fastlock._found cimport FL001, FL002, FL003, FL004, FL012, FL030, Edge, Found, has_evidence, release_found, top_of

from os import getpid
from time import time

HOWS = {BY_LOOP: "its loop", BY_TASK: "the end of a task", BY_GATHER: "gather()", BY_GROUP: "a task group", BY_WAIT: "asyncio.wait()",
        BY_JOB: "work in a thread", BY_POOL: "work that is queued in a pool"}
KINDS = {K_LOCK: "Lock", K_RLOCK: "RLock", K_RWLOCK: "RWLock", K_SEMAPHORE: "Semaphore", K_CONDITION: "Condition", K_EVENT: "Event", K_RESULT: "Result", K_BARRIER: "Barrier",
         K_POOL: "ThreadPoolExecutor", K_OPAQUE: "Wait"}
MODES = {WAIT_EXCLUSIVE: "exclusive", WAIT_SHARED: "shared", WAIT_PERMIT: "exclusive", WAIT_NOTIFY: "exclusive", WAIT_FLAG: "shared", WAIT_UPGRADABLE: "shared"}
WHATS = {WAIT_EXCLUSIVE: "acquire", WAIT_SHARED: "acquire_read", WAIT_PERMIT: "acquire", WAIT_NOTIFY: "wait", WAIT_FLAG: "wait",
         WAIT_UPGRADABLE: "acquire_upgradable"}
RW_VERBS = {WAIT_SHARED: "waits to read", WAIT_EXCLUSIVE: "waits to write", WAIT_UPGRADABLE: "waits to read upgradably"}
STATES = {A_FREE: "ended", A_ALIVE: "alive", A_ENDED: "ended", A_LOST: "lost-in-fork"}
TITLES = {FL001: "deadlock", FL002: "self-deadlock", FL003: "abandoned lock", FL004: "fork orphan", FL012: "read-write lock deadlock",
          FL030: "pool starvation"}
CALLS = {B_FUTURE: "Future.result", B_JOIN: "Thread.join", B_WAIT: "concurrent.futures.wait", B_COMPLETED: "concurrent.futures.as_completed",
         B_DECLARED: "waiting_for", B_PROCESS: "Popen.wait", B_SIMPLE: "SimpleQueue.get", B_AWAIT: "await"}

cdef enum:
    RAW_EDGES = 12             # a raw report names this many agents of a long circle


cdef dict files_of_class = {}       # (name of a file, the rest of the label) -> its files, as met
cdef uint32_t labels_changed = 1    # how often labels of classes by site have become others: who keeps one, asks anew then


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
    global labels_changed
    others = files_of_class.setdefault((base_name(path), rest), {path: None})
    if path not in others:
        others[path] = None
        labels_changed += 1
    others = tuple(others)      # what follows allocates, and a finaliser may bring another file
    while True:
        tail = "/".join(path.split("/")[-parts:])
        if tail == path or sum([other == tail or other.endswith("/" + tail) for other in others]) == 1:
            return tail
        parts += 1


cdef object agent_name(FSelf* s):
    if s.task != NULL:
        name = task_name(<object>s.task)
        if name is not None:
            return name             # all of it
    elif fl_load8(&s.pub.state) == A_ALIVE:
        agent_refresh_name(s)
    name = (<bytes>s.pub.name).decode("utf-8", "ignore")    # cut at a byte limit
    if s.task != NULL:
        return name or "Task"
    # Without threading nobody has named a thread; the one that the process began with is known all the same.
    return name or ("MainThread" if s.pub.native_id == getpid() else f"Thread {s.pub.native_id}")


cdef object owner_or_none(FLock* L):
    """The id of who holds the lock exclusively, or is to bring the result; a signal lock has no owner, nor has one that is offered to a waiter."""
    cdef FSelf* s = agent_of(L.word) if not L.marks & M_SIGNAL and not L.word & W_OFFERED else NULL
    cdef FWakers* w = wakers_of(L)
    if w != NULL:
        s = source_agent(w.source[0]) if w.n == 1 else NULL
    return agent_id(s) if s != NULL else None


# ---- the raw report --------------------------------------------------------------------------------------

cdef uint64_t found_key(Found* found) noexcept:
    """The same for the same circle of sites, wherever it is entered."""
    cdef uint64_t key = 0, h
    cdef uint32_t i
    cdef Edge* e
    for i in range(found.n):
        e = &found.edges[i]
        h = (<uint64_t>e.held_site << 32) ^ e.wanted_site ^ e.how
        if e.waits != NULL:
            h ^= <uint64_t>e.waits.created << 16
        key += (h + <uint64_t>0x9E3779B97F4A7C15) * <uint64_t>0xBF58476D1CE4E5B9
    return key ^ <uint64_t>found.code


cdef object raw_line(Edge* e):
    cdef FSelf* s = teller(e)
    text = "fastlock:   " + agent_name(s)
    if s.task != NULL:
        text += f" (loop of {agent_name(s.thread)}{', which it has stopped' if s == e.shown else ''})"
    if s.pub.state != A_ALIVE:
        text += " (ended)" if s.pub.state == A_ENDED else " (lost in fork)"
    if e.holds != NULL:
        verb = "owes" if e.holds.kind == K_RESULT else "runs a job of" if e.holds.kind == K_POOL else "holds" if e.holds.kind != K_RWLOCK else "reads" if owner_bits(e.holds.word) == 0 else "writes"
        text += f" {verb} {lock_name(e.holds)}" + (f" [{place(e.held_site)}]" if e.held_site or e.holds.kind != K_RESULT else "")
    if e.wait_number:
        verb = RW_VERBS[e.mode] if e.waits.kind == K_RWLOCK else "waits for"
        text += f"{',' if e.holds != NULL else ''} {verb} {lock_name(e.waits)} [{place(e.wanted_site)}]"
    elif e.how:
        where = f" [{place(e.wanted_site)}]" if e.wanted_site else ""
        text += f"{',' if e.holds != NULL else ''} waits for {HOWS[e.how]}{where}"
    if e.pool != NULL:
        text += f", queued in {lock_name(e.pool)}"
    return one_line(text) + "\n"


cdef object one_line(object text):
    """The text without what would begin a line, or tell a terminal something: the program may make its names of what it is sent."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text])


cdef bytes raw_report(Found* found):
    cdef uint32_t i
    agents = len({found.edges[i].agent_word for i in range(found.n)})
    tier = ", possible" if not found.proven else ", will clear" if found.timed else ""
    text = f"fastlock: FL{found.code:03d} {TITLES[found.code]}{tier}, {agents} agent{'s' if agents > 1 else ''} (pid {getpid()})\n"
    for i in range(min(found.n, <uint32_t>RAW_EDGES)):
        text += raw_line(&found.edges[i])
    if found.n > RAW_EDGES:
        text += f"fastlock:   and {found.n - RAW_EDGES} more\n"
    return text.encode("utf-8", "replace")


# ---- events ------------------------------------------------------------------------------------------------

cdef FSelf* teller(Edge* e) noexcept:
    """Who is told of: the task that a blocked thread runs, in its place."""
    return e.shown if e.shown != NULL else e.agent


cdef dict agent_facts(FSelf* s):
    cdef FSelf* thread = s if s.task == NULL else s.thread
    return {"id": agent_id(s), "kind": "thread" if s.task == NULL else "task", "name": agent_name(s),
            "ident": thread.pub.ident, "native_id": thread.pub.native_id,
            "loop": agent_name(thread) if s.task != NULL else None, "state": STATES[s.pub.state],
            "stops": s.task != NULL and thread.top != NULL and thread.top.task == s.task}


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


cdef list waiters_of(FLock* L):
    """Who waits for a lock, the oldest first; the rest of the table is not looked at."""
    cdef uint64_t* ids = NULL
    cdef FNode* n
    cdef size_t count = 0, i
    cdef fl_mutex* m = bucket(L)
    fl_mutex_lock(m)
    n = L.head
    while n != NULL:
        count += 1
        n = n.next
    if count:
        ids = <uint64_t*>malloc(count * sizeof(uint64_t))
    n = L.head
    for i in range(count if ids != NULL else 0):
        ids[i] = agent_id(n.agent)
        n = n.next
    fl_mutex_unlock(m)
    waiters = [ids[i] for i in range(count if ids != NULL else 0)]
    free(ids)
    return waiters


cdef dict readers_of(list serials):
    """Who holds shares of these locks: one pass over the agents, where there is a lock that can be shared at all."""
    return {serial: shares for serial, shares in shares_and_waits()[0].items() if serial in serials} if serials else {}


cdef bint is_shared(FLock* L) noexcept:
    return L != NULL and (L.kind == K_RWLOCK or L.kind == K_SEMAPHORE or L.kind == K_POOL)


cdef tuple shares_and_waits():
    """(readers by lock, waiters by lock in the order of their waits, permits by lock that these hold), of the whole table."""
    cdef uint32_t i
    cdef int j
    cdef FSelf* s
    cdef FHolds* h
    cdef FNode* n
    readers = {}
    permits = {}
    queue = []
    for i in range(1, agent_limit()):
        s = agent_at(i)
        if fl_load8(&s.pub.state) == A_FREE:
            continue
        h = &s.holds
        while h != NULL:
            for j in range(8):
                if is_hold(&h.entry[j]):
                    readers.setdefault(h.entry[j].serial, []).append(agent_id(s))
                    permits[h.entry[j].serial] = permits.get(h.entry[j].serial, 0) + h.entry[j].count
            h = h.more
        n = s.top if fl_load8(&s.pub.state) == A_ALIVE else NULL
        while n != NULL:
            queue.append((n.since_ns, n.lock_serial, agent_id(s)))
            n = n.outer
    queue.sort()
    waiters = {}
    for _, serial, agent in queue:
        waiters.setdefault(serial, []).append(agent)
    return readers, waiters, permits


cdef object what_of(FLock* L, uint8_t mode):
    """The call that waits."""
    return CALLS.get(L.limit, "") if L != NULL and is_made_for_one(L) else WHATS.get(mode, "")


cdef bint is_made_for_one(FLock* L) noexcept:
    """Whether the record is there for a single wait, and `limit` says which call that is."""
    return L.kind == K_RESULT or L.kind == K_OPAQUE or (L.kind == K_CONDITION and L.limit != 0)


cdef dict edge_facts(uint64_t agent, FLock* holds, FLock* waits, uint32_t held_site, uint32_t wanted_site, uint8_t mode,
                     int64_t since_ns, int64_t deadline_ns):
    return {"agent": agent, "holds": holds.serial if holds != NULL else None,
            "waits": waits.serial if waits != NULL else None, "mode": MODES.get(mode, "exclusive"),
            "held_at": held_site, "wanted_at": wanted_site, "since_ns": since_ns,
            "deadline_ns": deadline_ns if waits != NULL and deadline_ns >= 0 else None, "what": what_of(waits, mode)}


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


cdef list across(Found* found):
    """Which synchronous locks in it are held by a task that is suspended."""
    cdef uint32_t i
    cdef Edge* e
    reasons = []
    for i in range(found.n):
        e = &found.edges[i]
        if e.holds != NULL and (e.placed or (e.how == BY_LOOP and e.agent.task == NULL)):
            reasons.append(f"FL005: {lock_name(e.holds)} is a synchronous lock that is held across await")
    return reasons


@cython.final
@cython.no_gc_clear
cdef class Circle:
    """What a walk has found: the edges as they were then, and the locks and tasks alive, so that their records stay theirs.

    Facts are made of it one by one when they are looked at: of thousands, a report tells a dozen.
    """

    def __dealloc__(self):
        release_found(&self.found)

    def agent(self, uint32_t i):
        cdef Edge* e = &self.found.edges[i]
        if fl_load64(&e.agent.word) == e.agent_word:
            return agent_facts(teller(e))
        # The circle is over, the thread has ended, and its record is another's.
        return {"id": id_of(e), "kind": "thread", "name": "", "ident": 0, "native_id": None, "state": "ended", "stops": False}

    def lock(self, uint32_t end):
        """The facts of what an edge's agent waits for (odd) or holds; its owner is who is told of, where the word is a loop's thread."""
        cdef uint32_t i = end // 2
        cdef Edge* e = &self.found.edges[i]
        cdef Edge* holder = &self.found.edges[(i + 1) % self.found.n] if end % 2 else e
        cdef FLock* L = e.waits if end % 2 else e.holds
        facts = lock_facts(L, self.readers, self.waiters)
        if facts["owner"] is not None and holder.holds == L:
            facts["owner"] = id_of(holder)
        return facts

    def edge(self, uint32_t i):
        cdef Edge* e = &self.found.edges[i]
        facts = edge_facts(id_of(e), e.holds, e.waits if e.wait_number else NULL, e.held_site, e.wanted_site, e.mode,
                           e.since_ns, e.deadline_ns)
        if e.how or e.pool != NULL:
            facts["what"] = HOWS[e.how if e.how else <uint8_t>BY_POOL]
            facts["deadline_ns"] = e.deadline_ns if e.deadline_ns >= 0 else None
        return facts


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
    cdef Edge* e
    cdef Circle self = Circle.__new__(Circle)
    self.found = found[0]
    self.kept = []
    for i in range(found.n):
        e = &found.edges[i]
        keep(self.kept, e.waits)
        keep(self.kept, e.pool)     # which is the hold of its workers
        if e.agent.task != NULL:
            self.kept.append(<object>e.agent.task)
        if e.runs != NULL:
            self.kept.append(<object>e.runs)
            if e.shown == NULL:
                e.shown = task_agent_in(<PyObject*>e.runs, e.agent)
                e.shown.pins += 1
    return self


cdef int keep(list kept, FLock* L) except -1:
    if L != NULL and L.obj != NULL:
        kept.append(<object>L.obj)
    return 0


cdef uint64_t id_of(Edge* e) noexcept:
    cdef uint64_t word = e.shown.word if e.shown != NULL else e.agent_word
    return (word >> 32 << 24) | (word >> 8 & 0xFFFFFF)


def task_of(uint64_t number):
    """The task of an agent's id, None where it is a thread's or over."""
    cdef FSelf* s = agent_at(<uint32_t>(number & 0xFFFFFF))
    return <object>s.task if s != NULL and s.task != NULL and agent_id(s) == number and s.pub.state != A_FREE else None


cdef set telling(Found* found):
    """Which edges tell all about a long circle: the first ones, the last, one of each kind, the youngest, who gives up first."""
    cdef uint32_t i, youngest = 0, soonest = 0
    cdef Edge* e
    kinds = {}
    for i in range(found.n):
        e = &found.edges[i]
        kind = (e.held_site, e.wanted_site, e.mode, e.how, class_key(e.holds), class_key(e.waits))
        kinds.setdefault(kind, i)
        if e.since_ns > found.edges[youngest].since_ns:
            youngest = i
        if <uint64_t>e.deadline_ns < <uint64_t>found.edges[soonest].deadline_ns:     # -1 is never
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
    rows = {"agents": Rows(circle.agent, list(agents.values())), "locks": Rows(circle.lock, list(locks.values())),
            "edges": Rows(circle.edge, list(edges))}
    if len(agents) <= 2 * RAW_EDGES:    # at once: a task's record is another's as soon as it holds nothing any more
        rows["agents"] = list(rows["agents"])
    return rows


cdef dict circle_event(Circle circle, FSelf* me):
    """The event of a circle or an orphan, for the handler."""
    cdef uint32_t i
    cdef Found* found = &circle.found
    cdef dict event = blank_event(f"FL{found.code:03d}", me)
    circle.readers = readers_of([found.edges[i].waits_serial for i in range(found.n) if is_shared(found.edges[i].waits)]
                                + [found.edges[i].pool_serial for i in range(found.n) if found.edges[i].pool != NULL])
    circle.waiters = {found.edges[i].waits_serial: waiters_of(found.edges[i].waits)
                      for i in range(found.n) if found.edges[i].waits != NULL}
    event.update(rows_of(circle, range(found.n)))
    if found.n > RAW_EDGES:
        event["excerpt"] = rows_of(circle, sorted(telling(found)))
    event["closing"] = id_of(&found.edges[0])
    event["behind"] = behind(circle) if found.code != FL030 else queued(circle)
    event["clears"] = bool(found.timed)
    event["tier"] = "possible" if not found.proven else "will-clear" if found.timed else "proven"
    event["reasons"] = ["confirmed twice"] + doubts(found) + across(found)      # examine() and then confirm() have read every record
    cdef LockOptions own = options_of(found.edges[0].waits)
    event["policy"] = own.on_deadlock if own is not None else None
    return event


cdef object behind(Circle circle):
    """How many agents wait for locks of the circle without being in it."""
    cdef uint32_t i
    cdef Found* found = &circle.found
    inside = {id_of(&found.edges[i]) for i in range(found.n)}
    inside.update([agent_id(found.edges[i].agent) for i in range(found.n)])
    outside = set()
    for i in range(found.n):
        if found.edges[i].waits != NULL:
            for agent in circle.waiters.get(found.edges[i].waits_serial, ()):
                if agent not in inside:
                    outside.add(agent)
    return len(outside)


cdef object queued(Circle circle):
    """How many jobs stand in the queues of a circle's pools."""
    cdef uint32_t i
    cdef Found* found = &circle.found
    pools = {found.edges[i].pool_serial: <object>found.edges[i].pool.obj for i in range(found.n)
             if found.edges[i].pool != NULL and found.edges[i].pool.obj != NULL}
    return sum([pool.queued for pool in pools.values()])


cdef dict wait_event(str code, FSelf* me, FLock* L):
    """The event of one long or expired wait: FL020 and the lock's own timeout."""
    cdef FNode* mine = me.top       # of a task it may end while this is made; the record stays
    cdef FNode* n
    cdef dict event = blank_event(code, me)
    readers = readers_of([L.serial] if is_shared(L) else [])
    waiters = {L.serial: waiters_of(L)}
    owner = owner_or_none(L)
    held_by = [owner] if owner is not None else readers.get(L.serial, [])
    event["agents"] = [agent_facts(me)]
    event["locks"] = [lock_facts(L, readers, waiters)]
    event["edges"] = [edge_facts(agent_id(me), NULL, L, 0, mine.site, mine.mode, mine.since_ns, mine.deadline_ns)]
    told = {L.serial}
    for holder in held_by[:16]:
        event["edges"].append(holder_edge(holder, L))
        if holder != agent_id(me):
            event["agents"].append(agent_facts(agent_at(<uint32_t>(holder & 0xFFFFFF))))
        n = top_of(agent_at(<uint32_t>(holder & 0xFFFFFF)))
        if n != NULL and n.lock_serial not in told:
            told.add(n.lock_serial)
            waiters[n.lock_serial] = waiters_of(lock_at(n.lock_index))
            event["locks"].append(lock_facts(lock_at(n.lock_index), readers, waiters))
    event["behind"] = len(waiters.get(L.serial, [])) - 1
    event["clears"] = mine.deadline_ns >= 0
    event["placed"] = placed_by(L)
    return event


def suspended_holder(task, uint32_t index, uint64_t serial, uint64_t placed):
    """The facts of a task that has been found to hold a lock in the name of its loop's thread, None where the lock has been let go since."""
    cdef FLock* L = lock_at(index)
    cdef FSelf* thread = agent_of(L.word)
    cdef FSelf* t
    if L.serial != serial or L.placed != placed or not L.marks & M_PLACED or thread == NULL:
        return None
    t = task_agent_in(<PyObject*>task, thread)
    facts = agent_facts(t)
    task_rest(t)
    return facts


cdef dict holder_edge(uint64_t holder, FLock* L):
    cdef FSelf* s = agent_at(<uint32_t>(holder & 0xFFFFFF))
    cdef uint32_t site = held_site(s, L)
    cdef FNode* n = top_of(s)
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
        if fl_load8(&s.pub.state) == A_FREE:
            continue
        holds = owned.get(agent_id(s), [])
        h = &s.holds
        while h != NULL:
            for j in range(8):
                if is_hold(&h.entry[j]) and h.entry[j].serial not in holds:     # who writes by its upgradable share has both
                    holds.append(h.entry[j].serial)
            h = h.more
        if not holds and (fl_load8(&s.pub.state) != A_ALIVE or (s.task != NULL and s.top == NULL)):    # such a task is only remembered
            continue
        facts = agent_facts(s)
        facts["holds"] = holds
        facts["waits"] = top_of(s).lock_serial if fl_load8(&s.pub.state) == A_ALIVE and s.top != NULL else None
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
        n = s.top if fl_load8(&s.pub.state) == A_ALIVE else NULL
        while n != NULL:
            L = lock_at(n.lock_index)
            waits.append({"agent": agent_id(s), "lock": n.lock_serial, "what": f"{KINDS.get(L.kind)}.{WHATS[n.mode]}" if not is_made_for_one(L) else what_of(L, n.mode),
                          "mode": MODES[n.mode], "owner": owner_or_none(L), "since_ns": n.since_ns,
                          "deadline_ns": n.deadline_ns if n.deadline_ns >= 0 else None, "wanted_at": n.site})
            n = n.outer
    return waits


cdef tuple brought_by(FLock* L):
    """(ids of agents, serials of pools, whether one is enough) of those who are to bring what a result stands for; none where nobody knows."""
    cdef uint32_t i
    cdef FSelf* s
    cdef FLock* pool
    cdef FWakers* w = wakers_of(L)
    agents = {}
    pools = {}
    for i in range(w.n if w != NULL else 0):
        s = source_agent(w.source[i])
        pool = source_pool(w.source[i])
        if s != NULL:
            agents[agent_id(s)] = None
        elif pool != NULL:
            pools[pool.serial] = None
        elif w.any:
            return (), (), True         # there already, or anybody brings it
    return tuple(agents), tuple(pools), w != NULL and w.any


cdef dict beside(FLock* L, dict permits):
    """What else decides who may have a lock."""
    cdef FSelf* upgrader = agent_at(L.limit) if L.kind == K_RWLOCK and L.limit != 0 else NULL
    agents, pools, any_of = brought_by(L)
    return {"open": permits.get(L.serial, 0) != L.limit or L.count != 0 if L.kind == K_SEMAPHORE else L.kind == K_POOL and L.count < L.limit,
            "wakers": agents, "pools": pools, "any": any_of, "upgrader": agent_id(upgrader) if upgrader != NULL else None,
            "lets_readers_in": L.kind == K_RWLOCK and L.marks & M_READERS != 0}


def table():
    """Every agent, and every lock that is held or waited for, as builtins; one moment's truth under the GIL."""
    cdef uint32_t i
    cdef FLock* L
    readers, waiters, permits = shares_and_waits()
    locks = []
    owned = {}
    for i in range(1, lock_limit()):
        L = lock_at(i)
        if L.serial == 0:
            continue
        if owner_bits(L.word) or L.serial in readers or L.serial in waiters:
            locks.append(lock_facts(L, readers, waiters))
            locks[-1].update(beside(L, permits))
            owner = owner_or_none(L)
            if owner is not None:
                owned.setdefault(owner, []).append(L.serial)
    return {"agents": agent_table(owned), "locks": locks, "waits": wait_table()}


def site(uint32_t number):
    """(file, line, function, first line of the function) of an interned site, None for the unknown one."""
    return site_facts(number)
