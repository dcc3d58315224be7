"""Hand-made events of waits and circles, in the form that the core has, for tests of what is made of them."""

from __future__ import annotations

from fastlock.findings import CODES

SECOND = 10**9
NOW = 5_000 * SECOND

# site id: file, line, function, first line of the function, source
SITES = {
    1: ("/srv/app/rates.py", 88, "Rates.refresh", 80, "with rates_lock:"),
    2: ("/srv/app/ledger.py", 41, "Ledger.post", 40, "with ledger_lock:"),
    3: ("/srv/app/export.py", 120, "export_all", 110, "with ledger_lock:"),
    4: ("/srv/app/export.py", 131, "export_all", 110, "rates_lock.acquire()"),
    5: ("/srv/app/pool.py", 31, "Pool.__init__", 30, "self._lock = fastlock.Lock()"),
}


def agent(number, name="worker", state="alive"):
    """A raw agent as the core describes it."""
    return {"id": number, "kind": "thread", "name": name, "ident": 1, "native_id": 4100 + number, "state": state}


def lock(number, name, kind="Lock", owner=None, readers=(), held_at=0, created=5, lock_class=None):
    """A raw lock as the core describes it."""
    return {
        "id": number,
        "name": name,
        "class": lock_class or name,
        "kind": kind,
        "created": created,
        "owner": owner,
        "readers": list(readers),
        "waiters": [],
        "held_at": held_at,
        "signal": False,
    }


def edge(who, holds, waits, held_at=0, wanted_at=0, age_s=4.0, left_s=None, mode="exclusive"):
    """A raw edge as the core describes it."""
    return {
        "agent": who,
        "holds": holds,
        "waits": waits,
        "mode": mode,
        "held_at": held_at,
        "wanted_at": wanted_at,
        "since_ns": NOW - int(age_s * SECOND) if waits is not None else 0,
        "deadline_ns": None if left_s is None else NOW + int(left_s * SECOND),
        "what": "acquire",
    }


def event(code="FL001", tier="proven", agents=None, locks=None, edges=None, **more):
    """A raw event; without parts the deadly embrace of two threads."""
    return {
        "code": code,
        "tier": tier,
        "reasons": [],
        "detected_ns": NOW,
        "wall_s": 1_762_300_032.5,
        "behind": 0,
        "clears": False,
        "closing": 1,
        "policy": None,
        "agents": agents or [agent(1, "Thread-4 (refresh)"), agent(2, "exporter")],
        "locks": locks or [lock(1, "rates_lock", owner=1, held_at=1), lock(2, "ledger_lock", owner=2, held_at=3)],
        "edges": edges or [edge(1, 1, 2, 1, 2), edge(2, 2, 1, 3, 4, age_s=3.5)],
        **more,
    }


def orphan(code):
    """A raw event of a dead owner."""
    state = "ended" if code == "FL003" else "lost-in-fork"
    return event(
        code,
        agents=[agent(1), agent(2, "gone", state)],
        locks=[lock(2, "ledger_lock", owner=2, held_at=3)],
        edges=[edge(1, None, 2, 0, 2), edge(2, 2, None, 3, 0)],
    )


def self_wait(code, **lock_facts):
    """A raw event of an agent that waits for what it holds."""
    return event(code, agents=[agent(1)], locks=[lock(1, "table_lock", **lock_facts)], edges=[edge(1, 1, 1, 3, 4)])


EVENTS = {
    **{code: event(code, tier="high" if code == "FL010" else "proven") for code in CODES},
    "FL002": self_wait("FL002", owner=1, held_at=3),
    "FL003": orphan("FL003"),
    "FL004": orphan("FL004"),
    "FL012": self_wait("FL012", kind="RWLock", readers=[1, 2]),
    "FL020": event("FL020", tier="measured", clears=None),
}
