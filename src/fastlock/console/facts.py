"""What a table says of findings and circles, as findings that reports can be made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastlock.console.seen import Agent, Circle, Lock, Seen, Wait
from fastlock.findings import CODES, TIERS, AgentFact, EdgeFact, Finding, LockFact, Site
from fastlock.reporting import wording

_CIRCLES = ("FL001", "FL002", "FL012", "FL030")
Json = Mapping[str, Any]


def finding_of(told: Json, seen: Seen) -> Finding:
    """Return a finding of a table as of now: what still waits has its present age, locks that are there their present owners.

    ValueError where it is none; the bytes of a table may be torn or forged.
    """
    try:
        waiting = {(wait.agent, wait.lock): wait for wait in seen.waits}
        return Finding(
            code=_one_of(told["code"], CODES),
            title=_text(told["title"]),
            tier=_one_of(told["tier"], TIERS),
            fingerprint=_text(told["fingerprint"]),
            count=_number(told.get("count", 1)),
            detected_at=_text(told["detected_at"]),
            pid=seen.pid,
            process=_text(told["process"]),
            agents=tuple(_agent(each) for each in told["agents"]),
            locks=tuple(_lock(each, seen) for each in told["locks"]),
            edges=tuple(_edge(each, seen, waiting) for each in told["edges"]),
            clears=None if told.get("clears") is None else bool(told["clears"]),
            behind=_number(told.get("behind", 0)),
            reasons=tuple(_text(each) for each in told["reasons"]),
            explanation=_text(told["explanation"]),
            fix=_text(told["fix"]),
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"no finding: {error}") from None


def circle_finding(circle: Circle, seen: Seen) -> Finding:
    """Return what is to be told of a circle: the process's own finding with its stacks, where it has told one, else what the table alone says."""
    waits = waits_in(circle, seen)
    own = _told_of(circle, waits, seen)
    if own is not None:
        return own
    locks = {lock.id: lock for wait in waits.values() if (lock := seen.locks.get(wait.lock)) is not None}
    agents = [seen.agents[each] for each in circle.agents if each in seen.agents]
    single = len(circle.agents) == 1
    code = "FL001" if not single else "FL012" if any(lock.kind == "RWLock" for lock in locks.values()) else "FL002"
    finding = Finding(
        code=code,
        title=CODES[code],
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


def _told_of(circle: Circle, waits: Mapping[int, Wait], seen: Seen) -> Finding | None:
    """Return the newest finding that is about the same locks and about agents of the circle: of a task that has stopped its loop that has both as one."""
    wanted = {wait.lock for wait in waits.values()}
    for told in reversed(seen.findings):
        if told.get("code") not in _CIRCLES or (told.get("tier") == "will-clear") != circle.clears:
            continue
        try:
            if {each["waits"] for each in told["edges"]} - {None} == wanted and any(each["agent"] in waits for each in told["edges"]):
                return finding_of(told, seen)
        except (ValueError, LookupError, TypeError):
            continue
    return None


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


def _agent(told: Json) -> AgentFact:
    stack = tuple(frame for each in told["stack"] if (frame := site_of(each)) is not None)
    loop, native = told["loop"], told["native_id"]
    kind = _one_of(told["kind"], ("thread", "task"))
    return AgentFact(
        _number(told["id"]), kind, _text(told["name"]), None if native is None else _number(native), None if loop is None else _text(loop), stack
    )


def _lock(told: Json, seen: Seen) -> LockFact:
    created = told["created"]
    number = _number(told["id"])
    made = None if created is None else Site(_text(created["file"]), _number(created["line"]), "")
    fact = LockFact(number, _text(told["name"]), _text(told["class"]), _text(told["kind"]), made)
    now = seen.locks.get(number)
    if now is None:
        return fact
    return replace(fact, owner=now.owner, readers=now.readers, waiters=now.waiters, held_at=now.held_at)


def _edge(told: Json, seen: Seen, waiting: Mapping[tuple[int, int], Wait]) -> EdgeFact:
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
        what="" if wait is None else wait.what.rpartition(".")[2],
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
