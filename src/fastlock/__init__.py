"""Locks for threading that know their owner: deadlocks found as they form, at less than the cost of threading's locks."""

from __future__ import annotations

from fastlock import config as _config
from fastlock import summary as _summary
from fastlock import watchdog as _watchdog
from fastlock._core import Lock, RLock
from fastlock._nesting import nested
from fastlock._rwlock import RWLock
from fastlock._sync import Barrier, BoundedSemaphore, Condition, Event, Semaphore
from fastlock.advice import Advice, advice
from fastlock.config import at_level, configure, level, set_level
from fastlock.errors import ConfigError, DeadlockError, FastlockError, LockOrderError, LockTimeout
from fastlock.findings import Finding, Snapshot
from fastlock.look import find_deadlocks, snapshot
from fastlock.multiple import acquire_all
from fastlock.order import OrderCycle, OrderEdge, OrderGraph, order_graph
from fastlock.patching import install, uninstall
from fastlock.suppression import suppressed
from fastlock.watchdog import findings, on_finding

__version__ = "0.1.0"
__all__ = [
    "Advice",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "ConfigError",
    "DeadlockError",
    "Event",
    "FastlockError",
    "Finding",
    "Lock",
    "LockOrderError",
    "LockTimeout",
    "OrderCycle",
    "OrderEdge",
    "OrderGraph",
    "RLock",
    "RWLock",
    "Semaphore",
    "Snapshot",
    "acquire_all",
    "advice",
    "at_level",
    "configure",
    "find_deadlocks",
    "findings",
    "install",
    "level",
    "nested",
    "on_finding",
    "order_graph",
    "set_level",
    "snapshot",
    "suppressed",
    "uninstall",
]


def __getattr__(name: str) -> Any:
    if name != "aio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import fastlock.aio  # not before somebody asks for it: it needs asyncio

    return fastlock.aio


_watchdog.start()
_config.start()
_summary.start()
