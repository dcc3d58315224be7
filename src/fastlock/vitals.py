"""health(): whether the process is in a deadlock that will not end by itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from fastlock import assemble, circles, config


@dataclass(frozen=True)
class Health:
    """Whether all is well, and if not why, in one line; ``deadlocks`` are the fingerprints of what stands."""

    ok: bool
    reason: str
    pid: int
    process: str
    level: str
    checked_at: str
    deadlocks: tuple[str, ...]
    deadlocked_agents: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins."""
        return {**vars(self), "deadlocks": list(self.deadlocks)}


def health() -> Health:
    """Return whether a confirmed (`proven`) deadlock stands, the oldest one being the reason; any thread.

    Takes no lock and imports nothing; microseconds, and nanoseconds for each agent where a deadlock has been reported.
    """
    return of(proven())


def proven() -> tuple[circles.Circle, ...]:
    """Return the confirmed deadlocks that stand now, oldest first."""
    return tuple(circle for circle in circles.standing() if circle.tier == "proven")


def of(deadlocks: tuple[circles.Circle, ...]) -> Health:
    """Return the health of a process with these confirmed deadlocks."""
    return Health(
        ok=not deadlocks,
        reason=_reason(deadlocks),
        pid=os.getpid(),
        process=assemble.process_name(),
        level=config.level(),
        checked_at=assemble.iso(None),
        deadlocks=tuple(dict.fromkeys(circle.fingerprint for circle in deadlocks)),
        deadlocked_agents=circles.deadlocked(deadlocks),
    )


def _reason(deadlocks: tuple[circles.Circle, ...]) -> str:
    if not deadlocks:
        return "ok"
    more = f"; and {len(deadlocks) - 1:,} more" if len(deadlocks) > 1 else ""
    return f"{deadlocks[0].reason}, since {deadlocks[0].detected_at}{more}"
