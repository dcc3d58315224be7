"""Hand-made events and dumps of the lock-order graph, in the form that the core has, for tests of what is made of them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

# site id: file, line, function, first line of the function, source
SITES = {
    1: ("/srv/app/shop.py", 32, "Shop.sell", 30, "with stock_lock:"),
    2: ("/srv/app/audit.py", 47, "Audit.add", 45, "with audit_lock:"),
    3: ("/srv/app/audit.py", 55, "Audit.write", 54, "with audit_lock:"),
    4: ("/srv/app/audit.py", 56, "Audit.write", 54, "with stock_lock:"),
    5: ("/srv/app/pool.py", 31, "Pool.__init__", 30, "self._lock = fastlock.Lock()"),
}
FILTERS = ["distinct agents", "no common lock", "not ordered by start/join", "modes can block"]
FIRST_S = 1_762_290_131.5


def site(number: int) -> tuple[str, int, str, int] | None:
    """What the core says of a site."""
    return SITES[number][:4] if number in SITES else None


def provide_sources(sites: dict[int, Any] = SITES) -> None:
    """Give linecache the sources of the sites."""
    import linecache

    files: dict[str, dict[int, str]] = {}
    for file, line, _, _, text in sites.values():
        files.setdefault(file, {})[line] = text
    for file, lines in files.items():
        text = [f"    {lines.get(number, '')}\n" for number in range(1, max(lines) + 1)]
        linecache.cache[file] = (1, None, text, file)


def agent(number: int, name: str, state: str = "alive") -> dict[str, Any]:
    """An agent's facts."""
    return {"id": number, "kind": "thread", "name": name, "ident": 1, "native_id": 4100 + number, "state": state}


def lock(number: int, name: str, lock_class: str | None = None, kind: str = "Lock") -> dict[str, Any]:
    """A lock's facts."""
    return {
        "id": number, "name": name, "class": lock_class or f"{name}@shop.py", "kind": kind, "created": 5, "owner": None,
        "readers": [], "waiters": [], "held_at": 0, "signal": False,
    }  # fmt: skip


def edge(who: int, holds: int, waits: int, held_at: int, wanted_at: int, mode: str = "exclusive") -> dict[str, Any]:
    """One link of a circle of orders."""
    return {
        "agent": who, "holds": holds, "waits": waits, "mode": mode, "held_at": held_at, "wanted_at": wanted_at,
        "since_ns": 0, "deadline_ns": None, "what": "acquire",
    }  # fmt: skip


def order(raw: dict[str, Any], count: int) -> dict[str, Any]:
    """What is known of an edge's order."""
    return {
        "first": raw["holds"], "then": raw["waits"], "held_at": raw["held_at"], "wanted_at": raw["wanted_at"],
        "count": count, "first_s": FIRST_S, "agent": raw["agent"],
    }  # fmt: skip


def inversion(tier: str = "high", reasons: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """FL010: stock before audit in shop.py, audit before stock in audit.py."""
    edges = more.pop("edges", None) or [edge(1, 1, 2, 1, 2), edge(2, 2, 1, 3, 4)]
    return {
        "code": "FL010", "tier": tier, "reasons": list(reasons), "filters": FILTERS, "detected_ns": 5_000, "behind": 0,
        "wall_s": FIRST_S + 9_900, "clears": None, "closing": 2, "policy": None,
        "agents": [agent(1, "replica-1"), agent(2, "replica-2")],
        "locks": [lock(1, "stock_lock"), lock(2, "audit_lock")],
        "edges": edges, "orders": [order(raw, count) for raw, count in zip(edges, (18_204, 3))], **more,
    }  # fmt: skip


def rank(**more: Any) -> dict[str, Any]:
    """FL011: rank 20 wanted while rank 30 is held."""
    edges = [edge(2, 2, 1, 3, 4)]
    found = inversion("proven", ("rank 20 wanted while rank 30 is held",), edges=edges)
    return {**found, "code": "FL011", "filters": [], "orders": [], "agents": [agent(2, "replica-2")], **more}


# ---- the graph


def node(label: str, acquired: int = 100, contended: int = 0, consumers: int = 1, **more: Any) -> dict[str, Any]:
    """A class of the dump."""
    facts = {"class": label, "kind": "Lock", "site": 5, "live": 1, "acquired": acquired, "contended": contended}
    return {**facts, "consumers": consumers, **more}


def arrow(start: int, end: int, count: int = 1, held_at: int = 1, wanted_at: int = 2, **more: Any) -> dict[str, Any]:
    """An edge of the dump."""
    facts = {"from": start, "to": end, "count": count, "held_at": held_at, "wanted_at": wanted_at, "first_s": FIRST_S}
    return {**facts, "agent_name": "replica-1", "cyclic": False, **more}


def dump(nodes: dict[int, Any] | None = None, edges: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """The dump of a graph; without parts the inversion of stock and audit, with config before both."""
    if nodes is None:
        nodes = {1: node("stock_lock@shop.py", 18_207), 2: node("audit_lock@audit.py", 18_300), 3: node("config_lock", 7)}
        edges = [arrow(3, 1, 7, 5, 1), arrow(1, 2, 18_204, cyclic=True), arrow(2, 1, 3, 3, 4, cyclic=True)]
        more.setdefault("circles", [{"high": True, "reasons": [], "edges": [1, 2]}])
    facts = {"nodes": nodes, "edges": edges or [], "circles": [], "full": False, "bytes": 4096}
    return {**facts, "filtered": {"agents": 0, "gate": 0, "happens-before": 0, "shared": 0}, **more}


def give_graph(facts: dict[str, Any]) -> None:
    """Put a dump in the core's place, and the sites."""
    import fastlock
    from fastlock import _core

    fake = ModuleType("fastlock._order")
    fake.dump = lambda: facts  # type: ignore[attr-defined]
    sys.modules["fastlock._order"] = fake
    fastlock._order = fake  # type: ignore[attr-defined]
    _core.site = site
    provide_sources()
