"""The sentences about one finding: what happens, why it is only possible, and what to change where."""

from __future__ import annotations

from fastlock.findings import EdgeFact, Finding, LockFact, Site
from fastlock.fingerprints import classes_of
from fastlock.lean import replace
from fastlock.reporting import Labels, duration, orders, stalls, starvation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Phrase = Callable[[Finding, Labels], str]

# The core's words for a circle that was still there when it was walked again; the report has them in its head.
CONFIRMED = "confirmed twice"

# Its words for what a task waits for whose loop's thread is blocked, and for a lock that is held across await.
ITS_LOOP = "its loop"
_ACROSS = "FL005: "

# And for a wait for the one share of an RWLock that can be upgraded.
_UPGRADABLE = "acquire_upgradable"

# And for the way into a self-deadlock; without one of them in a reason it is a direct one.
_WAYS = {
    "signal handler": ", in a signal handler",
    "finaliser": ", in a finaliser",
    "callback": ", through a callback",
}


def complete(finding: Finding) -> Finding:
    """Return the finding with its explanation, its fix, and the reason why it is only possible, if it is."""
    if not finding.edges:
        return replace(finding, explanation=f"{finding.title}: no details are known.")
    names = Labels(finding)
    inversion = finding.code == "FL010"
    says_why = inversion or finding.code == "FL031" or any("release" in reason for reason in finding.reasons)
    if finding.tier == "possible" and not says_why:
        finding = replace(finding, reasons=(_why_possible(finding, names), *finding.reasons))
    explanation = _EXPLAIN[finding.code](finding, names)
    if finding.tier == "possible" and finding.reasons:
        explanation += f" {'Only possible' if inversion else 'Possible, not proven'}: {'; '.join(reasons_of(finding))}."
    explanation = explanation[:1].upper() + explanation[1:]
    if finding.code in _TURNED:
        finding = replace(finding, turns=_TURNED[finding.code](finding, names))
    return replace(finding, explanation=explanation, fix=_FIX[finding.code](finding, names))


def turning(finding: Finding, turns: orders.Order | None) -> Finding:
    """Return the finding with a fix that turns the order of these two classes round, which was advised before."""
    finding = replace(finding, turns=turns)
    return replace(finding, fix=_FIX[finding.code](finding, Labels(finding)))


def recounted(finding: Finding) -> Finding:
    """Return an inversion whose orders have been counted anew: its fix turns the same order round, with these counts."""
    names = Labels(finding)
    turned = next((order for order in finding.orders if finding.fix.startswith(orders.turn(order, names))), None)
    return finding if turned is None else turning(finding, _order_of(finding, turned.first, turned.then))


def _order_of(finding: Finding, first: int | None, then: int | None) -> orders.Order | None:
    classes = classes_of(finding)
    return (classes[first], classes[then]) if first in classes and then in classes else None


def _turned_of_circle(finding: Finding, names: Labels) -> orders.Order | None:
    edge = _easiest(finding, names)
    return _order_of(finding, edge.holds, edge.waits)


def _turned_of_inversion(finding: Finding, names: Labels) -> orders.Order | None:
    order = orders.turned(finding, names)
    return None if order is None else _order_of(finding, order.first, order.then)


def ways_of(finding: Finding) -> list[str]:
    """Return the reasons that tell how an agent came to want what it holds."""
    if finding.code != "FL002":
        return []
    return [reason for reason in finding.reasons if reason == "direct" or any(way in reason for way in _WAYS)]


def reasons_of(finding: Finding) -> list[str]:
    """Return the reasons for the tier."""
    ways = ways_of(finding)
    return [reason for reason in finding.reasons if reason != CONFIRMED and reason not in ways]


def causes_of(finding: Finding) -> tuple[str, ...]:
    """Return the deadlock that a long wait is behind, where it is one; what a blocked loop's reasons say is its effect."""
    return finding.reasons[:1] if finding.code == "FL020" else ()


def lock_of(finding: Finding, lock_id: int | None) -> LockFact | None:
    """Return the lock with that id, or None."""
    return next((lock for lock in finding.told.locks if lock.id == lock_id), None)


def holder_of(finding: Finding, edge: EdgeFact) -> int | None:
    """Return the id of the agent that the edge's agent waits for, or None where nobody is known."""
    lock = lock_of(finding, edge.waits)
    holders = list(lock.holders) if lock is not None else []
    if edge.waits is not None:
        holders += [other.agent for other in finding.told.edges if other.holds == edge.waits]
    return next((holder for holder in holders if holder != edge.agent), None)


def held_site(finding: Finding, lock_id: int | None, agent_id: int | None) -> Site | None:
    """Return where the agent took the lock, or None where that is not known."""
    for edge in finding.told.edges:
        if edge.agent == agent_id and edge.holds == lock_id and edge.held_at is not None:
            return edge.held_at
    lock = lock_of(finding, lock_id)
    return lock.held_at if lock is not None and lock.owner == agent_id else None


def waiting_edge(finding: Finding) -> EdgeFact:
    """Return the first edge whose agent waits."""
    return next((edge for edge in finding.told.edges if edge.is_wait), finding.told.edges[0])


def way_in(finding: Finding) -> str:
    """Return how an agent came to want what it holds: "signal handler", "finaliser", "callback" or ""."""
    return next((way for way in _WAYS for reason in ways_of(finding) if way in reason), "")


def first_to_give_up(finding: Finding) -> EdgeFact | None:
    """Return the edge with the least time left, or None where nobody waits with a timeout."""
    timed = [edge for edge in finding.told.edges if edge.deadline_s is not None]
    return min(timed, key=lambda edge: edge.deadline_s or 0.0, default=None)


def wanted_name(edge: EdgeFact, names: Labels) -> str:
    """Return what the edge's agent waits for."""
    return names.lock(edge.waits, "another lock" if edge.waits is not None else edge.what or "something unknown")


def relation(lock: LockFact | None, holder: int) -> str:
    """Return how the lock and an agent that keeps others from it belong together: "held by", "read by", "behind" ..."""
    if lock is None:
        return "depends on"
    if is_result(lock):
        return "comes from"
    if lock.kind != "RWLock":
        return f"one of {len(lock.holders)} holders" if len(lock.holders) > 1 else "held by"
    if holder in lock.readers:
        return "read by"
    # A reader also waits for a writer that only stands before it in the queue.
    return "written by" if holder == lock.owner else "behind"


def is_result(lock: LockFact | None) -> bool:
    """Tell whether this is no lock, but what a task is to bring about."""
    return lock is not None and lock.kind == "Result"


def _why_possible(finding: Finding, names: Labels) -> str:
    plain = [names.lock(lock.id) for lock in finding.told.locks if lock.kind == "Lock"]
    if not plain:
        timed = first_to_give_up(finding) is not None
        return "a wait in it has a timeout" if timed else "who holds it is not certain"
    be = "is a plain Lock" if len(plain) == 1 else "are plain Locks"
    listed = " and ".join(plain[:2]) if len(plain) < 3 else f"{plain[0]} and {len(plain) - 1} others"
    return f"{listed} {be}, which any thread may release"


def _at(site: Site | None, names: Labels, word: str = "at") -> str:
    return "" if site is None else f" {word} {names.site(site)}"


def _explain_circle(finding: Finding, names: Labels) -> str:
    edges = finding.told.edges
    if len(edges) == 2:
        told = f"{_one_waits(finding, names, *edges)}; {_one_waits(finding, names, *reversed(edges))}."
    else:
        among = f"{names.agent(edges[0].agent)} among them"
        told = f"{len(finding.edges):,} agents wait in a circle, each for something that the next one has, {among}."
    soonest = first_to_give_up(finding)
    if finding.tier == "will-clear" and soonest is not None:
        return f"{told} It ends when {names.agent(soonest.agent)} gives up, in {duration(soonest.deadline_s or 0.0)}."
    return told if finding.tier != "proven" else f"{told} None of them can go on."


def _one_waits(finding: Finding, names: Labels, edge: EdgeFact, other: EdgeFact) -> str:
    agent = names.agent(other.agent)
    if edge.what == ITS_LOOP:
        return f"{names.agent(edge.agent)} stands still, for {agent} has stopped its loop"
    if edge.waits is None:
        return f"{names.agent(edge.agent)} waits for {wanted_name(edge, names)}, which needs {agent}"
    queued = relation(lock_of(finding, edge.waits), other.agent) == "behind"
    why = f"behind {agent}, which wants to write it" if queued else f"which {agent} has"
    return f"{names.agent(edge.agent)} waits for {wanted_name(edge, names)}, {why}"


def _explain_self(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    agent, lock = names.agent(edge.agent), names.lock(edge.waits)
    if is_result(lock_of(finding, edge.waits)):
        return f"{agent} waits for {lock}{_at(edge.wanted_at, names)}, and blocks the very loop that is to bring it."
    held = held_site(finding, edge.waits, edge.agent)
    again = f"asks for it again{_at(edge.wanted_at, names)}{_WAYS.get(way_in(finding), '')}"
    return f"{agent} holds {lock}{_at(held, names, 'since')} and {again}: it waits for itself."


def _explain_dead(finding: Finding, names: Labels, end: str) -> str:
    edge = waiting_edge(finding)
    holder = holder_of(finding, edge)
    if starvation.pools(finding):
        return starvation.explain_orphan(finding, names)
    taken = f"which {names.agent(holder)} took{_at(held_site(finding, edge.waits, holder), names)}"
    return f"{names.agent(edge.agent)} waits for {names.lock(edge.waits)}, {taken}; {end}."


def _explain_abandoned(finding: Finding, names: Labels) -> str:
    return _explain_dead(finding, names, f"that {_kind_of_holder(finding)} has ended and left it locked")


def _kind_of_holder(finding: Finding) -> str:
    holder = holder_of(finding, waiting_edge(finding))
    return next((agent.kind for agent in finding.told.agents if agent.id == holder), "thread")


def _explain_orphan(finding: Finding, names: Labels) -> str:
    end = "fork copied the lock into this process as taken, and did not copy that thread"
    return _explain_dead(finding, names, end)


def _explain_rwlock(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    agent, lock = names.agent(edge.agent), names.lock(edge.waits)
    reads = f"{agent} reads {lock}{_at(held_site(finding, edge.waits, edge.agent), names, 'since')}"
    again = _at(edge.wanted_at, names)
    if edge.mode == "exclusive":
        return f"{reads} and wants to write it{again}: a writer waits for all readers to end, and it is one of them."
    if edge.what == _UPGRADABLE:
        return f"{reads} and wants to read it upgradably{again}: nobody who reads already may, for two would wait for each other."
    return f"{reads} and wants to read it again{again}, behind a writer that waits for the first read to end."


def _explain_slow(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    holder = holder_of(finding, edge)
    waits = f"{names.agent(edge.agent)} has waited {duration(edge.since_s)} for {wanted_name(edge, names)}"
    if holder is None:
        return f"{waits}; who has it is not known."
    lock = lock_of(finding, edge.waits)
    others = len(lock.holders) - 1 if lock is not None else 0
    more = f" and by {others} more" if others > 0 else ""
    since = _at(held_site(finding, edge.waits, holder), names, "since")
    cause = "".join(f": behind {cause}" for cause in causes_of(finding))
    return f"{waits}, held by {names.agent(holder)}{since}{more}{cause}."


def _explain_pair(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    parts = []
    if edge.holds is not None:
        parts.append(f"holds {names.lock(edge.holds)}{_at(edge.held_at, names, 'since')}")
    if edge.is_wait:
        parts.append(f"wants {wanted_name(edge, names)}{_at(edge.wanted_at, names)}")
    return f"{names.agent(edge.agent)} {' and '.join(parts)}."


def _explain_await(finding: Finding, names: Labels) -> str:
    edge = finding.told.edges[0]
    lock = names.lock(edge.holds)
    agent = next((agent for agent in finding.told.agents if agent.id == edge.agent), None)
    loop = "the loop" if agent is None or agent.loop is None else f"the loop of {agent.loop}"
    held = f"{names.agent(edge.agent)} holds {lock}{_at(edge.held_at, names, 'since')}, and is suspended{_at(edge.wanted_at, names)}"
    return f"{held}: another task of {loop} that wants {lock} stops the whole loop, and with it the task that would release it."


def _explain_loop(finding: Finding, names: Labels) -> str:
    stopped = "".join(f"; {reason}" for reason in finding.reasons)
    return f"{_explain_slow(finding, names)[:-1]}{stopped}."


def _explain_rank(finding: Finding, names: Labels) -> str:
    pair = _explain_pair(finding, names)
    return f"{pair[:-1]}, against the order that the program declares: {'; '.join(finding.reasons)}." if finding.reasons else pair


def _easiest(finding: Finding, names: Labels) -> EdgeFact:
    """Return the edge to change: where both lines are in one function; the same one wherever the circle starts."""
    # Thousands of agents may run the same two lines: only one edge for each pair of lines is judged.
    edges = finding.told.edges
    pairs = {(id(edge.held_at), id(edge.wanted_at)): edge for edge in reversed(edges) if edge.is_wait}
    said = orders.turns_as_said(finding)

    def rank(edge: EdgeFact) -> tuple[bool, bool, bool, tuple[int, str, str]]:
        owes = is_result(lock_of(finding, edge.holds))
        return not said(edge.holds, edge.waits), edge.holds is None, owes, orders.effort(edge, names)

    return min(pairs.values(), key=rank, default=edges[0])


def _fix_order(finding: Finding, names: Labels) -> str:
    edge = _easiest(finding, names)
    held, wanted = edge.held_at, edge.wanted_at
    mine, theirs = names.lock(edge.holds), wanted_name(edge, names)
    across = _held_across(finding)
    if across is not None:
        return _keep_from_await(across, names)
    of_one_class = orders.all_of_one_class(finding, held, names)
    if of_one_class is not None:
        return of_one_class
    if is_result(lock_of(finding, edge.waits)) and edge.holds is None:
        return _await_it(edge, names)
    if is_result(lock_of(finding, edge.holds)):
        return f"do not wait in {names.site(wanted)} for {theirs}, which can only come after {mine}"
    if edge.waits is None or is_result(lock_of(finding, edge.waits)):
        return f"release {mine} before {names.site(wanted)}"
    if held is None or wanted is None:
        return f"take {theirs} and {mine} in one order everywhere"
    before = f"line {wanted.line}" if held.file == wanted.file else names.site(wanted)
    return f"in {names.site(held)} take {theirs} first, or release {mine} before {before}"


def _await_it(edge: EdgeFact, names: Labels) -> str:
    return f"in {names.site(edge.wanted_at)} await the coroutine: a loop's thread cannot wait for work of its own loop"


def _fix_self(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    lock, way = lock_of(finding, edge.waits), way_in(finding)
    if is_result(lock):
        return _await_it(edge, names)
    name, where = names.lock(edge.waits), names.site(edge.wanted_at)
    if way in ("signal handler", "finaliser"):
        instead = "let it only put into a queue.SimpleQueue, and do the work outside"
        return f"do not take {name} in the {way} ({where}): {instead}"
    made = _at(lock.created if lock is not None else None, names)
    reentrant = f", or make it an RLock{made}" if lock is not None and lock.kind == "Lock" else ""
    held = held_site(finding, edge.waits, edge.agent)
    if way == "callback":
        return f"release {name}, taken at {names.site(held)}, before the callback is called{reentrant}"
    return f"do not take {name} again in {where}{reentrant}"


def _fix_abandoned(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    held = held_site(finding, edge.waits, holder_of(finding, edge))
    name = names.lock(edge.waits)
    if held is not None and held.text.startswith(("with ", "async with ")):
        return f"let the block of {names.site(held)} end before its {_kind_of_holder(finding)} does"
    kind = _kind_of_holder(finding)
    block = "async with" if kind == "task" else "with"
    return f"in {names.site(held)} write `{block} {name}:`, which releases it however the {kind} ends"


def _fix_orphan(finding: Finding, names: Labels) -> str:
    if starvation.pools(finding):
        return starvation.fix_orphan(finding, names)
    name = names.lock(waiting_edge(finding).waits)
    hold = f"hold {name} around the fork with os.register_at_fork()"
    return f"{hold}, or start the child with multiprocessing's 'spawn'"


def _fix_rwlock(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    name, held = names.lock(edge.waits), names.site(held_site(finding, edge.waits, edge.agent))
    if edge.mode == "exclusive":
        return f"in {held} use {name}.upgradable() in place of read(), or end the read before {names.site(edge.wanted_at)}"
    if edge.what == _UPGRADABLE:
        return f"use {name}.upgradable() in {held} already, in place of read()"
    return f"in {names.site(edge.wanted_at)} do not read {name} again: pass on what was read in {held}"


def _fix_slow(finding: Finding, names: Labels) -> str:
    for cause in causes_of(finding):
        return f"solve {cause}: this wait is behind it, and ends with it"
    edge = waiting_edge(finding)
    holder = holder_of(finding, edge)
    limit = f"give the wait in {names.site(edge.wanted_at)} a timeout"
    if holder is None:
        return limit
    held = held_site(finding, edge.waits, holder)
    see = f"see what {names.agent(holder)} does{_at(held, names, 'after')}"
    return f"{see} and keep the slow part outside the lock, or {limit}"


def _fix_rank(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    reason = next(iter(finding.reasons), "")
    asked = reason[: (len(reason) - len(" wanted while  is held")) // 2]  # "rank 3", or "key" and the like, where both are equal
    if asked and reason == f"{asked} wanted while {asked} is held":
        return f"give them different {asked.partition(' ')[0]}s: equal ones have no order"
    second = f"{names.lock(edge.holds)}{_at(edge.held_at, names, 'of')}"
    one_class = len(finding.locks) > 1 and len({lock.lock_class for lock in finding.locks}) == 1
    rising = "take locks of one class in rising key: " if one_class else "take "
    return f"{rising}{wanted_name(edge, names)}{_at(edge.wanted_at, names, 'of')} before {second}"


def _held_across(finding: Finding) -> EdgeFact | None:
    """Return the edge of a task that holds a synchronous lock of the circle across an await."""
    told = [reason for reason in finding.reasons if reason.startswith(_ACROSS)]
    for edge in finding.told.edges:
        lock = lock_of(finding, edge.holds)
        if lock is not None and any(reason.startswith(f"{_ACROSS}{lock.name} is ") for reason in told):
            return edge
    return None


def _fix_await(finding: Finding, names: Labels) -> str:
    return _keep_from_await(finding.edges[0], names)


def _keep_from_await(edge: EdgeFact, names: Labels) -> str:
    lock = edge.holds if edge.holds is not None else edge.waits
    before = "the await" if edge.wanted_at is None else f"the await in {names.site(edge.wanted_at)}"
    return f"make {names.lock(lock)} a fastlock.aio.Lock, or release it before {before}"


def _fix_loop(finding: Finding, names: Labels) -> str:
    edge = waiting_edge(finding)
    away = f"move what {names.site(edge.wanted_at)} does into asyncio.to_thread()"
    holder = holder_of(finding, edge)
    agent = next((agent for agent in finding.told.agents if agent.id == holder), None)
    if agent is None or agent.kind == "thread":
        return away
    return f"make {wanted_name(edge, names)} a fastlock.aio.Lock, or {away}"


_EXPLAIN: dict[str, _Phrase] = {
    "FL001": _explain_circle,
    "FL002": _explain_self,
    "FL003": _explain_abandoned,
    "FL004": _explain_orphan,
    "FL005": _explain_await,
    "FL006": _explain_loop,
    "FL010": orders.explain,
    "FL011": _explain_rank,
    "FL012": _explain_rwlock,
    "FL020": _explain_slow,
    "FL030": starvation.explain,
    "FL031": stalls.explain,
}

_TURNED = {"FL001": _turned_of_circle, "FL010": _turned_of_inversion}

_FIX: dict[str, _Phrase] = {
    "FL001": _fix_order,
    "FL002": _fix_self,
    "FL003": _fix_abandoned,
    "FL004": _fix_orphan,
    "FL005": _fix_await,
    "FL006": _fix_loop,
    "FL010": orders.fix,
    "FL011": _fix_rank,
    "FL012": _fix_rwlock,
    "FL020": _fix_slow,
    "FL030": starvation.fix,
    "FL031": stalls.fix,
}
