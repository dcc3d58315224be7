"""FL030 in words: which pool, who keeps its workers busy, and what to change where."""

from __future__ import annotations

from fastlock.findings import EdgeFact, Finding, LockFact
from fastlock.reporting import Labels

# The core's words for what a task awaits that no worker has begun.
QUEUED = "work that is queued in a pool"
POOL = "ThreadPoolExecutor"


def pools(finding: Finding) -> list[LockFact]:
    """Return the pools whose workers all wait."""
    return [lock for lock in finding.told.locks if lock.kind == POOL]


def size(finding: Finding, pool: LockFact) -> int:
    """Return how many workers of the pool are told."""
    return len({edge.agent for edge in finding.edges if edge.holds == pool.id})


def starved(finding: Finding) -> EdgeFact:
    """Return the first wait for something that stands in a pool's queue."""
    results = {lock.id for lock in finding.told.locks if lock.kind == "Result" and lock.owner is None}
    edges = finding.told.edges
    return next((edge for edge in edges if edge.what == QUEUED or edge.waits in results), edges[0])


def subject(finding: Finding, names: Labels) -> str:
    """Return which pools, and how large they are."""
    told = [f"{names.lock(pool.id)}, {_workers(size(finding, pool))}" for pool in pools(finding)]
    return "; ".join(told) or "a pool"


def explain(finding: Finding, names: Labels) -> str:
    """Return what happens, in two sentences."""
    edge = starved(finding)
    wants = names.lock(edge.waits) if edge.waits is not None else "work"
    of = " and ".join(names.lock(pool.id) for pool in pools(finding))
    who = f"{names.agent(edge.agent)} waits in {names.site(edge.wanted_at)} for {wants}, which stands in the queue of {of}"
    number = sum(size(finding, pool) for pool in pools(finding))
    if number == 1:
        return f"{who}: its only worker is busy with a job that cannot end before."
    return f"{who}: all {number} workers are busy with jobs that cannot end before one of them does."


def fix(finding: Finding, names: Labels) -> str:
    """Return what to change, and where."""
    edge = starved(finding)
    where = names.site(edge.wanted_at)
    away = f"do not wait in {where} for work of the same pool: give that work a pool of its own"
    held = _wanted_lock(finding, edge)
    if held is None:
        return away
    return f"release {names.lock(held.id)} before {where}: a worker of the pool wants it"


def explain_orphan(finding: Finding, names: Labels) -> str:
    """Return what has become of a pool whose workers are all gone."""
    edge, pool = starved(finding), pools(finding)[0]
    gone = {agent.state for agent in finding.told.agents if agent.id != edge.agent}
    why = "its workers stayed in the parent of the fork" if "lost-in-fork" in gone else "all its workers have ended in the middle of a job"
    at = "" if edge.wanted_at is None else f" in {names.site(edge.wanted_at)}"
    return f"{names.agent(edge.agent)} waits{at} for {names.lock(edge.waits)}, which stands in the queue of {names.lock(pool.id)}: {why}."


def fix_orphan(finding: Finding, names: Labels) -> str:
    """Return what to change where a pool's workers stayed in the parent of a fork."""
    name = names.lock(pools(finding)[0].id)
    return f"make {name} anew in the child, as with os.register_at_fork(after_in_child=…), or start the child with multiprocessing's 'spawn'"


def _wanted_lock(finding: Finding, edge: EdgeFact) -> LockFact | None:
    """Return the lock that a worker waits for and who waits for the pool holds; None where he is a worker himself."""
    locks = {lock.id: lock for lock in finding.told.locks}
    workers = {each.agent for pool in pools(finding) for each in finding.told.edges if each.holds == pool.id}
    wanted = {each.waits for each in finding.told.edges if each.agent in workers}
    if edge.agent in workers:
        return None
    held = [each.holds for each in finding.told.edges if each.agent == edge.agent and each.holds in wanted]
    mine = [locks[lock] for lock in held if lock in locks and locks[lock].kind != "Result"]
    return mine[0] if mine else None


def _workers(number: int) -> str:
    return "its only worker" if number == 1 else f"all {number} workers"
