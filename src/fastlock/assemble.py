"""Findings and snapshots out of what the core reports: raw ids and clock values become names, lines and seconds."""

from __future__ import annotations

import os
import sys
import time

from fastlock import sources
from fastlock.errors import LockTimeout
from fastlock.findings import (
    CODES,
    AgentFact,
    AgentState,
    EdgeFact,
    Excerpt,
    Facts,
    Finding,
    LockFact,
    LockState,
    OrderFact,
    Site,
    Snapshot,
    WaitState,
)
from fastlock.fingerprints import fingerprint
from fastlock.reporting import Labels, duration, wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import CodeType, FrameType
    from typing import Any

    SiteLookup = Callable[[int], tuple[str, int, str, int] | None]

_OUR_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep
_BESIDE = ("open", "wakers", "pools", "any", "upgrader", "lets_readers_in")  # what a snapshot's locks have for roots alone


def finding_from_event(
    event: Mapping[str, Any],
    *,
    site: SiteLookup,
    stacks: Mapping[int, Sequence[Site]] | None = None,
    count: int = 1,
    now_ns: int | None = None,
) -> Finding:
    """Return the finding of a core event; ages are taken at ``now_ns`` (CLOCK_MONOTONIC), else at its detection.

    Safe in any thread; takes no lock, but reads source files; linear in agents, locks and edges.
    """
    return draft_from_event(event, site=site, stacks=stacks, count=count, now_ns=now_ns).whole()


def draft_from_event(
    event: Mapping[str, Any],
    *,
    site: SiteLookup,
    stacks: Mapping[int, Sequence[Site]] | None = None,
    count: int = 1,
    now_ns: int | None = None,
) -> Finding:
    """As finding_from_event, for the text alone: what only whole() needs is made there; linear in the event's excerpt."""
    sites = Sites(site)
    now = event["detected_ns"] if now_ns is None else now_ns
    excerpt = event.get("excerpt")
    stands = event.get("stands", {})
    told = _facts(excerpt or event, sites, stacks or {}, now, stands).made()
    everything = told if excerpt is None else _facts(event, sites, stacks or {}, now, stands)
    draft = Finding(
        code=event["code"],
        title=CODES[event["code"]],
        tier=event["tier"],
        fingerprint=fingerprint(event["code"], told.locks, told.edges),
        count=count,
        detected_at=iso(event.get("wall_s")),
        pid=os.getpid(),
        process=process_name(),
        agents=everything.agents,
        locks=everything.locks,
        edges=everything.edges,
        clears=event.get("clears"),
        behind=event.get("behind", 0),
        reasons=tuple(event.get("reasons", ())),
        orders=tuple(_order(order, sites) for order in event.get("orders", ())),
        filters=tuple(event.get("filters", ())),
        excerpt=None if excerpt is None else told,
    )
    return wording.complete(draft)


def _facts(
    raw: Mapping[str, Any], sites: Sites, stacks: Mapping[int, Sequence[Site]], now_ns: int, stands: Mapping[int, int]
) -> Excerpt:
    return Excerpt(
        agents=Facts(raw["agents"], lambda agent: _agent(agent, stacks.get(agent["id"], ()), stands.get(agent["id"]))),
        locks=Facts(raw["locks"], lambda lock: LockFact(**_lock_fields(lock, sites))),
        edges=Facts(raw["edges"], lambda edge: _edge(edge, sites, now_ns)),
    )


def snapshot_from_table(
    table: Mapping[str, Any],
    *,
    site: SiteLookup,
    level: str,
    raw_locks: int | None,
    findings: Iterable[Finding] = (),
    now_ns: int | None = None,
) -> Snapshot:
    """Return the snapshot of the core's table; ages are measured at ``now_ns`` (CLOCK_MONOTONIC), else now."""
    sites = Sites(site)
    now = time.monotonic_ns() if now_ns is None else now_ns
    return Snapshot(
        pid=os.getpid(),
        process=process_name(),
        level=level,
        captured_at=iso(None),
        raw_locks=raw_locks,
        agents=tuple(_agent_state(agent) for agent in table["agents"]),
        locks=tuple(LockState(**_lock_fields(lock, sites), **{name: lock[name] for name in _BESIDE if name in lock}) for lock in table["locks"]),
        waits=tuple(_wait(wait, sites, now) for wait in table["waits"]),
        findings=tuple(findings),
    )


def lock_timeout_from_event(
    event: Mapping[str, Any], *, site: SiteLookup, timeout_s: float | None = None
) -> LockTimeout:
    """Return the LockTimeout for a core event of code "timeout", naming the owner and its acquisition site."""
    draft = finding_from_event({**event, "code": "FL020", "tier": "measured"}, site=site)
    names = Labels(draft)
    edge = next(edge for edge in draft.edges if edge.is_wait)
    raw = next(raw for raw in event["edges"] if raw["agent"] == edge.agent and raw["waits"] == edge.waits)
    if timeout_s is None and raw["deadline_ns"] is not None:
        timeout_s = (raw["deadline_ns"] - raw["since_ns"]) / 1e9
    lock = names.lock(edge.waits)
    holder = wording.holder_of(draft, edge)
    owner = None if holder is None else names.agent(holder)
    held_at = wording.held_site(draft, edge.waits, holder)
    limit = "" if timeout_s is None else f" within {duration(timeout_s)}"
    source = f" ({held_at.text})" if held_at is not None and held_at.text else ""
    held = "its owner is not known" if owner is None else f"held by {owner} since {names.site(held_at)}{source}"
    return LockTimeout(
        f"{lock} not acquired{limit}: {held}", lock=lock, owner=owner, held_at=held_at, timeout_s=timeout_s
    )


def source_site(file: str, line: int, function: str) -> Site:
    """Return a Site with its line of source, which is "" where the source cannot be read."""
    return Site(file, line, function, sources.line(file, line))


def stack_from_frame(frame: FrameType | None, limit: int = 40) -> tuple[Site, ...]:
    """Return at most ``limit`` innermost frames, the innermost last; frames of fastlock itself are left out."""
    places: list[tuple[CodeType, int]] = []
    while frame is not None and len(places) < limit:
        if not frame.f_code.co_filename.startswith(_OUR_DIRECTORY):
            places.append((frame.f_code, frame.f_lineno or 0))
        frame = frame.f_back
    # The sources afterwards: meanwhile a thread that runs goes on.
    return tuple(source_site(code.co_filename, line, getattr(code, "co_qualname", code.co_name)) for code, line in reversed(places))


def stack_of_awaits(sites: Iterable[Site], limit: int = 40) -> tuple[Site, ...]:
    """Return at most ``limit`` innermost lines of a suspended task, with their source."""
    kept = [site for site in sites if not site.file.startswith(_OUR_DIRECTORY)][-limit:]
    return tuple(source_site(site.file, site.line, site.function) for site in kept)


def failure() -> str:
    """Return the exception that is being handled as Python shows it, those that led to it first.

    Not by the module traceback: it is imported by few programs, and takes up to 25 ms of each process's start.
    """
    error = sys.exc_info()[1]
    chain: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        lines = ["Traceback (most recent call last):"]
        entry = error.__traceback__
        while entry is not None:
            code = entry.tb_frame.f_code
            site = source_site(code.co_filename, entry.tb_lineno or 0, code.co_name)
            lines.append(f'  File "{site.file}", line {site.line}, in {site.function}\n    {site.text}')
            entry = entry.tb_next
        chain.insert(0, "\n".join([*lines, f"{type(error).__qualname__}: {_text_of(error)}"]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich led to\n".join(chain) + "\n"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as worse:  # a class of the user's
        return f"<its text cannot be had: {type(worse).__qualname__}>"


def stacks_in(event: Mapping[str, Any]) -> dict[int, tuple[Site, ...]]:
    """Return the stacks that the core has read itself, by agent: a suspended task's is its await chain."""
    stacks = event.get("stacks", {})
    return {agent: tuple(source_site(*place) for place in places) for agent, places in stacks.items()}


def process_name() -> str:
    """Return the name people know this process by: its script, else its main module, else its interpreter."""
    script: str = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    if script and script != "__main__.py" and not script.startswith("-"):
        return script
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    module = str(spec.name).removesuffix(".__main__") if spec is not None else ""
    if module and module != "__main__":
        return module
    # A directory or archive that is run has __main__.py as its script: its own name says more.
    parent = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0]))) if script == "__main__.py" else ""
    return parent or os.path.basename(sys.executable or "") or "python"


class Sites:
    """Resolves site ids, each only once: a circle of thousands has a handful of different sites."""

    def __init__(self, lookup: SiteLookup) -> None:
        self._lookup = lookup
        self._known: dict[int | tuple[str, int, str], Site | None] = {0: None}

    def __call__(self, site_id: int | tuple[str, int, str] | None) -> Site | None:
        """Return the Site of an id, None for 0, None and unknown ones; or of (file, line, function), which no acquire has interned."""
        number = site_id or 0
        if number not in self._known:
            raw = number if isinstance(number, tuple) else self._lookup(number)
            self._known[number] = None if raw is None else source_site(raw[0], raw[1], raw[2])
        return self._known[number]


def _agent(raw: Mapping[str, Any], stack: Sequence[Site], stands: int | None) -> AgentFact:
    return AgentFact(
        id=raw["id"],
        kind=raw["kind"],
        name=raw["name"],
        native_id=raw.get("native_id") or None,
        loop=raw.get("loop"),
        stack=tuple(stack),
        state=raw.get("state", "alive"),
        stands=stands,
    )


def _agent_state(raw: Mapping[str, Any]) -> AgentState:
    return AgentState(
        id=raw["id"],
        kind=raw["kind"],
        name=raw["name"],
        native_id=raw.get("native_id") or None,
        loop=raw.get("loop"),
        holds=tuple(raw["holds"]),
        waits=raw["waits"],
        state=raw.get("state", "alive"),
    )


def _lock_fields(raw: Mapping[str, Any], sites: Sites) -> dict[str, Any]:
    return {
        "id": raw["id"],
        "name": raw["name"],
        "lock_class": raw["class"],
        "kind": raw["kind"],
        "created": sites(raw["created"]),
        "owner": raw["owner"],
        "readers": tuple(dict.fromkeys(raw["readers"])),
        "waiters": tuple(raw["waiters"]),
        "held_at": sites(raw["held_at"]),
    }


def _edge(raw: Mapping[str, Any], sites: Sites, now_ns: int) -> EdgeFact:
    return EdgeFact(
        agent=raw["agent"],
        holds=raw["holds"],
        waits=raw["waits"],
        mode=raw["mode"],
        held_at=sites(raw["held_at"]),
        wanted_at=sites(raw["wanted_at"]),
        since_s=_age_s(raw["since_ns"], now_ns),
        deadline_s=_left_s(raw["deadline_ns"], now_ns),
        what=raw.get("what", ""),
    )


def _order(raw: Mapping[str, Any], sites: Sites) -> OrderFact:
    return OrderFact(
        first=raw["first"],
        then=raw["then"],
        held_at=sites(raw["held_at"]),
        wanted_at=sites(raw["wanted_at"]),
        count=raw["count"],
        first_seen=iso(raw["first_s"]),
        agent=raw["agent"],
    )


def _wait(raw: Mapping[str, Any], sites: Sites, now_ns: int) -> WaitState:
    return WaitState(
        agent=raw["agent"],
        lock=raw["lock"],
        what=raw["what"],
        mode=raw["mode"],
        owner=raw["owner"],
        since_s=_age_s(raw["since_ns"], now_ns),
        deadline_s=_left_s(raw["deadline_ns"], now_ns),
        wanted_at=sites(raw["wanted_at"]),
    )


def _age_s(since_ns: int | None, now_ns: int) -> float:
    # 0 or None: the edge of an owner that does not wait.
    return max(0, now_ns - since_ns) / 1e9 if since_ns else 0.0


def _left_s(deadline_ns: int | None, now_ns: int) -> float | None:
    return None if deadline_ns is None else max(0, deadline_ns - now_ns) / 1e9


def iso(wall_s: float | None) -> str:
    """Return wall-clock seconds (None: now) as ISO 8601 in UTC, with milliseconds."""
    # "+00:00" and not "Z": datetime.fromisoformat() of 3.10 reads only the former.
    seconds, fraction_us = divmod(round((time.time() if wall_s is None else wall_s) * 1e6), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction_us // 1000:03}+00:00"
