"""What a table says of findings and circles, as findings that reports can be made of."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from fastlock.console.names import LOCKS
from fastlock.console.seen import Agent, Circle, Lock, Seen, Wait
from fastlock.findings import CODES, TIERS, AgentFact, EdgeFact, Finding, LockFact, Site
from fastlock.reporting import wording

_CALLS = {"not_empty": "get", "not_full": "put", "all_tasks_done": "join"}  # a queue's conditions, and which call waits for each
_FILLING = r"(?:\d+ of \d+|full at \d+|\d+ unfinished|empty)"
Json = Mapping[str, Any]


def finding_of(told: Json, seen: Seen) -> Finding:
    """Return a finding of a table as of now: what still waits has its present age, locks that are there their present owners.

    ValueError where it is none; the bytes of a table may be torn or forged.
    """
    try:
        waiting = {(wait.agent, wait.lock): wait for wait in seen.waits}
        stopped = _stopped(told, seen)
        waiting |= {(task, wait.lock): wait for wait in seen.waits for task in stopped.get(wait.agent, ())}
        still = {each["id"] for each in told["agents"] if each["kind"] == "task" and each["loop"] is not None} if stopped else set()
        return Finding(
            code=_one_of(told["code"], CODES),
            title=_text(told["title"]),
            tier=_one_of(told["tier"], TIERS),
            fingerprint=_text(told["fingerprint"]),
            count=_number(told.get("count", 1)),
            detected_at=_text(told["detected_at"]),
            pid=seen.pid,
            process=_text(told["process"]),
            agents=tuple(_agent(each, seen) for each in told["agents"]),
            locks=tuple(_lock(each, seen) for each in told["locks"]),
            edges=tuple(_edge(each, seen, waiting, still, _queue_calls(told)) for each in told["edges"]),
            clears=None if told.get("clears") is None else bool(told["clears"]),
            behind=_number(told.get("behind", 0)),
            reasons=tuple(_text(each) for each in told["reasons"]),
            explanation=_text(told["explanation"]),
            fix=_text(told["fix"]),
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"no finding: {error}") from None


def _stopped(told: Json, seen: Seen) -> dict[int, list[int]]:
    """Return by thread the tasks of a finding that wait in it synchronously, so that their loop is stopped."""
    threads = {agent.native_id: agent.id for agent in seen.agents.values() if agent.kind == "thread" and agent.waits is not None}
    waits = {edge["agent"] for edge in told["edges"] if edge["waits"] is not None}
    stopped: dict[int, list[int]] = {}
    for each in told["agents"]:
        thread = threads.get(each["native_id"]) if each["kind"] == "task" and each["native_id"] is not None else None
        if thread is not None and each["id"] in waits and each["id"] not in seen.agents:
            stopped.setdefault(thread, []).append(each["id"])
    return stopped


def circle_finding(circle: Circle, seen: Seen) -> Finding | None:
    """Return what is to be told of a circle: the process's own finding with its stacks, else what the table proves; None where that is no report.

    What keeps an agent may be the work of a pool, a loop, or a task that stands still: who that is, and what is to be changed, the process alone knows.
    """
    told = seen.told_of(circle)
    if told is not None:
        try:
            return finding_of(told.finding, seen)
        except ValueError:
            pass  # what the table proves is told instead
    waits = waits_in(circle, seen)
    if not _is_over_locks(circle, waits, seen):
        return None
    locks = {lock.id: lock for wait in waits.values() if (lock := seen.locks.get(wait.lock)) is not None}
    agents = [seen.agents[each] for each in circle.agents if each in seen.agents]
    finding = Finding(
        code="FL001",
        title=CODES["FL001"],
        tier="will-clear" if circle.clears else "proven" if circle.proven else "possible",
        fingerprint="",
        count=1,
        detected_at=seen.captured_at,
        pid=seen.pid,
        process=seen.process,
        agents=tuple(_of_agent(agent) for agent in agents),
        locks=tuple(_of_lock(lock) for lock in locks.values()),
        edges=tuple(_edge_of(each, waits.get(each), seen, locks) for each in circle.agents),
        clears=circle.clears,
        behind=0,
        reasons=(),
    )
    return wording.complete(finding)


def _is_over_locks(circle: Circle, waits: Mapping[int, Wait], seen: Seen) -> bool:
    """Tell whether each of several agents waits for a lock that the next one has, or stands before it for, and none of them runs tasks."""
    if len(circle.agents) < 2 or len(waits) < len(circle.agents):
        return False
    for agent, then in zip(circle.agents, (*circle.agents[1:], circle.agents[0])):
        lock = seen.locks.get(waits[agent].lock)
        if lock is None or lock.kind not in LOCKS or seen.runs_tasks(agent):
            return False
        if lock.kind != "RWLock" and then != lock.owner and then not in lock.readers:
            return False
    return True


def waits_in(circle: Circle, seen: Seen) -> dict[int, Wait]:
    """Return by agent the waits that make a circle, in its order; a task whose loop is stopped has none."""
    inside = set(circle.agents)
    waits: dict[int, Wait] = {}
    for wait in seen.waits:
        if wait.agent in inside and (wait.agent not in waits or wait.lock == _waited_by(wait.agent, seen)):
            waits[wait.agent] = wait
    return {each: waits[each] for each in circle.agents if each in waits}


def _waited_by(agent: int, seen: Seen) -> int | None:
    return seen.agents[agent].waits if agent in seen.agents else None


# ---- out of what is seen now ---------------------------------------------------------------------------------------


def _of_agent(agent: Agent) -> AgentFact:
    return AgentFact(agent.id, agent.kind, agent.name, agent.native_id, agent.loop)


def _of_lock(lock: Lock) -> LockFact:
    created = None if lock.created is None else Site(lock.created[0], lock.created[1], "")
    return LockFact(lock.id, lock.name, lock.lock_class, lock.kind, created, lock.owner, lock.readers, lock.waiters, lock.held_at)


def _edge_of(agent: int, wait: Wait | None, seen: Seen, locks: Mapping[int, Lock]) -> EdgeFact:
    """Return what an agent of a circle waits for, and what it has of what the others want."""
    held = next((lock for lock in locks.values() if agent == lock.owner or agent in lock.readers), None)
    edge = EdgeFact(
        agent=agent,
        holds=None if held is None else held.id,
        waits=None,
        held_at=None if held is None or held.owner != agent else held.held_at,
        what=wording.ITS_LOOP,
    )
    if wait is None:
        return edge
    return replace(
        edge,
        waits=wait.lock,
        mode=wait.mode,
        wanted_at=wait.wanted_at,
        what=wait.what.rpartition(".")[2],
        since_s=_age_s(wait, seen),
        deadline_s=_left_s(wait, seen),
    )


def _age_s(wait: Wait, seen: Seen) -> float:
    return max(0, seen.now_ns - wait.since_ns) / 1e9


def _left_s(wait: Wait, seen: Seen) -> float | None:
    return None if wait.deadline_ns is None else max(0, wait.deadline_ns - seen.now_ns) / 1e9


# ---- out of a finding's JSON ---------------------------------------------------------------------------------------


def _agent(told: Json, seen: Seen) -> AgentFact:
    stack = tuple(frame for each in told["stack"] if (frame := site_of(each)) is not None)
    loop, native = told["loop"], told["native_id"]
    kind = _one_of(told["kind"], ("thread", "task"))
    number, native = _number(told["id"]), None if native is None else _number(native)
    now = seen.agents.get(number)
    state = "alive" if now is None else now.state
    if now is None and kind == "thread" and seen.view is not None:  # every thread that lives is in the table
        state = "ended"
    return AgentFact(number, kind, _text(told["name"]), native, None if loop is None else _text(loop), stack, state)


def _lock(told: Json, seen: Seen) -> LockFact:
    created = told["created"]
    number = _number(told["id"])
    made = None if created is None else Site(_text(created["file"]), _number(created["line"]), "")
    fact = LockFact(number, _text(told["name"]), _text(told["class"]), _text(told["kind"]), made)
    now = seen.locks.get(number)
    if now is None:
        return fact
    return replace(fact, owner=now.owner, readers=now.readers, waiters=now.waiters, held_at=now.held_at)


def _queue_calls(told: Json) -> Mapping[int, str]:
    """Return by lock the call inside of a queue that a stall is about, as its sentences have it: ``Queue.put on jobs, 4 of 4``; JSON has the condition alone."""
    if told["code"] != "FL031":
        return {}
    calls: dict[int, str] = {}
    for lock in told["locks"]:
        queue, _, condition = _text(lock["name"]).rpartition(".")
        call = _CALLS.get(condition)
        found = call and re.search(rf"\b\w+\.{call} on {re.escape(queue)}, {_FILLING}", _text(told["explanation"]))
        if found:
            calls[_number(lock["id"])] = found[0]
    return calls


def _edge(told: Json, seen: Seen, waiting: Mapping[tuple[int, int], Wait], still: Collection[int], calls: Mapping[int, str]) -> EdgeFact:
    agent, waits, holds = _number(told["agent"]), told["waits"], told["holds"]
    lock = None if waits is None else _number(waits)
    wait = None if lock is None else waiting.get((agent, lock))
    return EdgeFact(
        agent=agent,
        holds=None if holds is None else _number(holds),
        waits=lock,
        mode=_text(told["mode"]),
        held_at=site_of(told["held_at"]),
        wanted_at=site_of(told["wanted_at"]),
        since_s=float(_number(told["since_s"])) if wait is None else _age_s(wait, seen),
        deadline_s=None if wait is None else _left_s(wait, seen),
        what=wording.ITS_LOOP if lock is None and agent in still else calls.get(lock or 0) or ("" if wait is None else wait.what.rpartition(".")[2]),
    )


def site_of(told: Any) -> Site | None:
    """Return a place of JSON, None for none; TypeError and the like where it is no place."""
    if told is None:
        return None
    return Site(_text(told["file"]), _number(told["line"]), _text(told["function"]), _text(told.get("text", "")))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > 2**64:
        raise TypeError(f"{value!r:.40} is no number")
    return value


def _one_of(value: Any, known: Any) -> str:
    if value not in known:
        raise TypeError(f"{value!r:.40} is not known")
    return str(value)
