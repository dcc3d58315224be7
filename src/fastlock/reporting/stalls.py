"""The sentences about a stall: who waits for what, who has woken that so far, and what has become of them."""

from __future__ import annotations

from fastlock.findings import AgentFact, EdgeFact, Finding, LockFact
from fastlock.reporting import Labels

WOKEN = frozenset({"Condition", "Event", "Barrier"})  # kinds that somebody wakes, and nobody holds

_INSIDE = {  # what becomes of a thread that waits for nothing of ours, by a function that it is in
    "_shutdown": "has come to its end and waits for all other threads to",
    "_run_once": "has nothing to run in its loop",
}

_TOLD = 3  # waits in a sentence each; the sections have them all
_NAMED = 3  # agents in one sentence
_HAVE = {
    "put": ("has taken from it", "takes from it"),
    "get": ("has put into it", "puts into it"),
    "join": ("has taken from it", "calls task_done()"),
    "Condition": ("has notified it", "notifies it"),
    "Event": ("has set it", "sets it"),
    "Barrier": ("has come to it", "comes to it"),
    "Semaphore": ("has released it", "releases it"),
    "Future": ("has completed it", "completes it"),
}


def explain(finding: Finding, names: Labels) -> str:
    """Return a sentence for each of the first things that are waited for, and how many agents wait besides."""
    waits: dict[int | None, list[EdgeFact]] = {}
    for edge in finding.told.edges:
        if edge.waits is not None:
            waits.setdefault(edge.waits, []).append(edge)
    told = [_one_need(finding, edges, names) for edges in list(waits.values())[:_TOLD]]
    more = sum(map(len, list(waits.values())[_TOLD:])) + finding.behind
    if more > 0:
        told.append(f"{more:,} more {'waits' if more == 1 else 'wait'} with them.")
    return " ".join(f"{each[:1].upper()}{each[1:]}" for each in told)


def wanted(edge: EdgeFact, names: Labels) -> str:
    """Return what a wait of a stall is for: a queue's call with its filling, else the name."""
    return edge.what if call_of(edge) else names.lock(edge.waits)


def call_of(edge: EdgeFact) -> str:
    """Return "put", "get" or "join" for a wait in a queue's method, else ""."""
    call, on, _ = edge.what.partition(" on ")
    return call.rpartition(".")[2] if on else ""


def is_woken(lock: LockFact | None, edge: EdgeFact) -> bool:
    """Tell whether the edge's agent does not hold the lock, but has woken those who wait for it."""
    return lock is not None and (lock.kind in WOKEN or (lock.kind == "Semaphore" and edge.held_at is None))


def _one_need(finding: Finding, edges: list[EdgeFact], names: Labels) -> str:
    edge = edges[0]
    call, lock = call_of(edge), _lock(finding, edge.waits)
    where = "" if edge.wanted_at is None else f" at {names.site(edge.wanted_at)}"
    who = names.agent(edge.agent) + (f" and {len(edges) - 1:,} more wait" if len(edges) > 1 else " waits")
    waits = f"{who} {'in' if call else 'for'} {wanted(edge, names)}{',' if call else ''}{where}"
    inside = {each.agent for each in edges}
    others = [other for other in finding.told.edges if other.holds == edge.waits]
    outside = [other for other in others if other.agent not in inside]
    if lock is not None and lock.kind not in _HAVE and not call:
        comes = "which comes from" if lock.kind == "Result" else "held by"
        nobody = ", and who would bring it is not known" if lock.kind == "Result" else ""
        return f"{waits}, {comes} {_listed(finding, others, edge, names)}." if others else f"{waits}{nobody}."
    has, does = _HAVE.get(call) or _HAVE[lock.kind if lock is not None else "Condition"]
    if edge.what == "SimpleQueue.get":
        return f"{waits}, and who puts into it is not known."
    if not others and (call or edge.what.startswith(("await", "asyncio."))) and _is_task(finding, edge.agent):
        return f"{waits}, and who {does} is not known."
    if not others:
        return f"{waits}, and nobody who is there any more {has}." if _had_wakers(finding) else f"{waits}, and nobody {has} so far."
    if not outside:
        if len(others) > 1:
            return f"{waits}, and nobody else {has} so far."
        one = "it" if len(edges) == 1 else f"{names.agent(others[0].agent)}, one of them,"
        return f"{waits}, and {one} is the only one who {does}."
    beside = ", beside them" if len(outside) < len(others) else ""
    return f"{waits}. Who {has} so far{beside}: {_listed(finding, outside, edge, names)}."


def _is_task(finding: Finding, agent_id: int) -> bool:
    return any(agent.id == agent_id and agent.kind == "task" for agent in finding.told.agents)


def _had_wakers(finding: Finding) -> bool:
    return any(reason.startswith("assumed: nobody wakes") for reason in finding.reasons)


def _listed(finding: Finding, others: list[EdgeFact], edge: EdgeFact, names: Labels) -> str:
    agents = {agent.id: agent for agent in finding.told.agents}
    told = [f"{names.agent(other.agent)}, which {_fate(finding, agents.get(other.agent), edge, names)}" for other in others[:_NAMED]]
    more = len(others) - len(told)
    return "; ".join([*told, f"{more:,} more"] if more else told)


def _fate(finding: Finding, agent: AgentFact | None, edge: EdgeFact, names: Labels) -> str:
    if agent is None:
        return "is not known any more"
    if agent.state != "alive":
        return "has ended" if agent.state == "ended" else "stayed in the parent of a fork"
    if agent.id == edge.agent:
        return "waits here itself"
    own = next((other for other in finding.told.edges if other.agent == agent.id and other.waits is not None), None)
    if own is None:
        functions = {frame.function.rpartition(".")[2] for frame in agent.stack}
        return next((words for function, words in _INSIDE.items() if function in functions), "is behind it")
    return f"waits {'in' if call_of(own) else 'for'} {wanted(own, names)}"


def _lock(finding: Finding, lock_id: int | None) -> LockFact | None:
    return next((lock for lock in finding.told.locks if lock.id == lock_id), None)


_FIX = {
    "Condition": "change the state and notify {name} under its lock, and wait in {where} by wait_for(): a notification before the wait is lost",
    "Event": "set {name} on every way out of who is to set it (try/finally)",
    "Barrier": "call abort() of {name} where one of its parties fails",
    "Semaphore": "release {name} on every way out (try/finally)",
    "Future": "complete {name} on every way out of who is to do it (try/finally)",
    "Result": "complete the future on every way out of who is to (set_result(), and set_exception() where that fails)",
}

# ---- what to change ---------------------------------------------------------------------------------


def fix(finding: Finding, names: Labels) -> str:
    """Return what to change: where somebody waits whom nobody can wake, else where a lock of the ring is held."""
    waits = [edge for edge in finding.told.edges if edge.waits is not None] or list(finding.told.edges)
    edge = next((edge for edge in waits if _is_root(finding, edge)), None)
    if edge is None:
        edge = next((edge for edge in waits if _holds_a_lock(finding, edge)), None)
        if edge is not None:
            return f"release {names.lock(edge.holds)} before the wait in {names.site(edge.wanted_at)}"
    edge = edge or waits[0]
    lock, where, call = _lock(finding, edge.waits), names.site(edge.wanted_at), call_of(edge)
    limit = f"give the wait in {where} a timeout"
    if call:
        return _fix_queue(finding, edge, call, names, limit)
    name = names.lock(edge.waits)
    holder = next((other.agent for other in finding.told.edges if other.holds == edge.waits and other.waits is None and other.held_at is not None), None)
    if holder is not None:
        return f"release {name} before {names.agent(holder)} ends, or {limit}"
    brought = lock is not None and lock.kind == "Result" and any(other.holds == edge.waits for other in finding.told.edges)
    return _FIX.get("" if lock is None or brought else lock.kind, "do not wait for others while {name} is held").format(name=name, where=where) + f", or {limit}"


def _is_root(finding: Finding, edge: EdgeFact) -> bool:
    """Tell whether all who could wake the edge's agent have ended, or wait for the same."""
    states = {agent.id: agent.state for agent in finding.told.agents}
    same = {other.agent for other in finding.told.edges if other.waits == edge.waits}
    return all(states.get(other.agent) != "alive" or other.agent in same for other in finding.told.edges if other.holds == edge.waits)


def _holds_a_lock(finding: Finding, edge: EdgeFact) -> bool:
    lock = _lock(finding, edge.holds)
    return lock is not None and lock.kind in ("Lock", "RLock", "RWLock") and edge.waits != edge.holds


def _fix_queue(finding: Finding, edge: EdgeFact, call: str, names: Labels, limit: str) -> str:
    name, where = _queue(edge), names.site(edge.wanted_at)
    own = [other.agent for other in finding.told.edges if other.holds == edge.waits]
    alone = edge.agent in own and set(own) == {edge.agent}
    if call == "put" and alone:
        return f"in {where} use put_nowait(), or a queue without a limit: who takes from {name} must not wait for room in it"
    if call == "put":
        return f"keep somebody who takes from {name} also when one item fails (try/except inside its loop), or {limit}"
    if call == "join":
        return f"call task_done() of {name} for each item on every way out (try/finally), and keep a worker when one item fails"
    return f"let who puts into {name} send an end marker on every way out (try/finally; Queue.shutdown() from 3.13 on), or {limit}"


def _queue(edge: EdgeFact) -> str:
    return edge.what.partition(" on ")[2].partition(", ")[0]
