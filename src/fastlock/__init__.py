"""Locks for threading that know their owner: deadlocks found as they form, at less than the cost of threading's locks."""

from __future__ import annotations

from fastlock import config as _config
from fastlock import control as _control
from fastlock import look as _look
from fastlock import loops as _loops_followed
from fastlock import serving as _serving
from fastlock import watchdog as _watchdog
from fastlock._core import Lock, RLock
from fastlock._sync import Barrier, BoundedSemaphore, Condition, Event, Semaphore
from fastlock.config import at_level, configure, level, set_level
from fastlock.errors import ConfigError, DeadlockError, FastlockError, LockOrderError, LockTimeout
from fastlock.findings import Finding, Snapshot
from fastlock.hooks import on_finding
from fastlock.look import find_deadlocks, snapshot
from fastlock.patching import install, uninstall
from fastlock.suppression import suppressed
from fastlock.watchdog import findings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastlock._declared import waiting_for
    from fastlock._nesting import nested
    from fastlock._rwlock import RWLock
    from fastlock.advising import Advice, advice
    from fastlock.measures import ClassWaits, Metrics, metrics
    from fastlock.multiple import acquire_all
    from fastlock.order import OrderCycle, OrderEdge, OrderGraph, order_graph
    from fastlock.vitals import Health, health

__version__ = "0.1.0"
__all__ = [
    "Advice",
    "Barrier",
    "BoundedSemaphore",
    "ClassWaits",
    "Condition",
    "ConfigError",
    "DeadlockError",
    "Event",
    "FastlockError",
    "Finding",
    "Health",
    "Lock",
    "LockOrderError",
    "LockTimeout",
    "Metrics",
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
    "health",
    "install",
    "level",
    "metrics",
    "nested",
    "on_finding",
    "order_graph",
    "set_level",
    "snapshot",
    "suppressed",
    "uninstall",
    "waiting_for",
]

# What only a caller asks for is imported when it is asked for: every process that inherits FASTLOCK_INSTALL pays for this
# module, and most of them are short. What a report needs is imported at once: a report is no place for a first import.
_LATER = {"RWLock": "_rwlock", "nested": "_nesting", "waiting_for": "_declared", "acquire_all": "multiple"}
_LATER.update(dict.fromkeys(("Advice", "advice"), "advising"))
_LATER.update(dict.fromkeys(("OrderCycle", "OrderEdge", "OrderGraph", "order_graph"), "order"))
_LATER.update(dict.fromkeys(("ClassWaits", "Metrics", "metrics"), "measures"))
_LATER.update(dict.fromkeys(("Health", "health"), "vitals"))

if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _LATER and name != "aio":  # which needs asyncio
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = __import__(f"{__name__}.{_LATER.get(name, name)}", fromlist=["*"])
        value = globals()[name] = module if name == "aio" else getattr(module, name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})


_watchdog.start()
_control.start()
_serving.start()
_config.start()
_loops_followed.start()
_look.start()
if _config.ending().summary:
    from fastlock import summary as _summary

    _summary.start()
