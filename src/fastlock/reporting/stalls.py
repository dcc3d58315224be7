"""The sentences about a stall: who waits for what, who has woken that so far, and what has become of them."""

from __future__ import annotations

from fastlock.findings import AgentFact, EdgeFact, Finding, LockFact
from fastlock.reporting import Labels

WOKEN = frozenset({"Condition", "Event", "Barrier"})  # kinds that somebody wakes, and nobody holds

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
}


def explain(finding: Finding, names: Labels) -> str:
    """Return a sentence for each of the first waits, and how many there are besides."""
    waits = [edge for edge in finding.told.edges if edge.waits is not None]
    told = [_one_wait(finding, edge, names) for edge in waits[:_TOLD]]
    more = len(waits) - len(told) + finding.behind
    if more > 0:
        told.append(f"{more:,} more {'waits' if more == 1 else 'wait'} with {'it' if len(told) == 1 else 'them'}.")
    return " ".join(told)


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


def _one_wait(finding: Finding, edge: EdgeFact, names: Labels) -> str:
    call, lock = call_of(edge), _lock(finding, edge.waits)
    where = "" if edge.wanted_at is None else f" at {names.site(edge.wanted_at)}"
    waits = f"{names.agent(edge.agent)} waits {'in' if call else 'for'} {wanted(edge, names)}{',' if call else ''}{where}"
    others = [other for other in finding.told.edges if other.holds == edge.waits]
    if lock is not None and lock.kind not in _HAVE:
        return f"{waits}, held by {_listed(finding, others, edge, names)}." if others else f"{waits}."
    has, does = _HAVE.get(call) or _HAVE[lock.kind if lock is not None else "Condition"]
    if not others:
        return f"{waits}, and nobody who is there any more {has}." if _had_wakers(finding) else f"{waits}, and nobody {has} so far."
    if all(other.agent == edge.agent for other in others):
        return f"{waits}, and it is the only one who {does}."
    return f"{waits}. Who {has} so far: {_listed(finding, others, edge, names)}."


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
        return "is behind it"
    return f"waits {'in' if call_of(own) else 'for'} {wanted(own, names)}"


def _lock(finding: Finding, lock_id: int | None) -> LockFact | None:
    return next((lock for lock in finding.told.locks if lock.id == lock_id), None)


# ---- what to change ---------------------------------------------------------------------------------


def fix(finding: Finding, names: Labels) -> str:
    """Return what to change where the first victim waits."""
    edge = next((edge for edge in finding.told.edges if edge.waits is not None), finding.told.edges[0])
    lock, where, call = _lock(finding, edge.waits), names.site(edge.wanted_at), call_of(edge)
    limit = f"give the wait in {where} a timeout"
    if call:
        return _fix_queue(finding, edge, call, names, limit)
    kind = lock.kind if lock is not None else ""
    name = names.lock(edge.waits)
    if kind == "Condition":
        return f"change the state that is waited for and notify {name} under its lock, and wait in {where} by wait_for(): a notification before the wait is lost; or {limit}"
    if kind == "Event":
        return f"set {name} on every way out of who is to set it (try/finally), or {limit}"
    if kind == "Barrier":
        return f"call abort() of {name} where one of its parties fails, or {limit}"
    if kind == "Semaphore":
        return f"release {name} on every way out (try/finally), or {limit}"
    return f"do not wait for others while {name} is held, or {limit}"


def _fix_queue(finding: Finding, edge: EdgeFact, call: str, names: Labels, limit: str) -> str:
    name, where = _queue(edge), names.site(edge.wanted_at)
    alone = all(other.agent == edge.agent for other in finding.told.edges if other.holds == edge.waits)
    if call == "put" and alone:
        return f"in {where} use put_nowait(), or a queue without a limit: who takes from {name} must not wait for room in it"
    if call == "put":
        return f"keep somebody who takes from {name} also when one item fails (try/except inside its loop), or {limit}"
    if call == "join":
        return f"call task_done() of {name} for each item on every way out (try/finally), and keep a worker when one item fails"
    return f"let who puts into {name} send an end marker on every way out (try/finally; Queue.shutdown() from 3.13 on), or {limit}"


def _queue(edge: EdgeFact) -> str:
    return edge.what.partition(" on ")[2].partition(", ")[0]
