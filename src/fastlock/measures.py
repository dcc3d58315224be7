"""metrics(): how often and how long locks were waited for, what is waited for now, and what has been found."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from fastlock import _delays, assemble, circles, config, watchdog
from fastlock.reporting import printable
from fastlock.tally import tally

OTHER = "other"


@dataclass(frozen=True)
class ClassWaits:
    """The contended waits for the locks of one class; times in seconds.

    ``contentions`` counts those that have begun, ``count`` those that are over, ``sum_s`` how long these were in all, and each
    of ``buckets`` (bound, how many) those that took no longer than its bound.
    """

    lock_class: str
    contentions: int
    count: int
    sum_s: float
    buckets: tuple[tuple[float, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins."""
        return {**vars(self), "buckets": [{"le": bound, "count": number} for bound, number in self.buckets]}


@dataclass(frozen=True)
class Metrics:
    """The numbers of one process since its start (or its fork), at one moment; see docs/metrics.md for each of them."""

    pid: int
    process: str
    level: str
    classes: tuple[ClassWaits, ...]
    oldest_wait_s: float
    waiting_agents: int
    deadlocked_agents: int
    findings: Mapping[str, int]
    dropped_findings: int
    withheld_reports: int
    missed_findings: int
    hooks_cut_off: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain builtins."""
        classes = [waits.to_dict() for waits in self.classes]
        return {**vars(self), "classes": classes, "findings": dict(self.findings)}


def metrics() -> Metrics:
    """Return the numbers as they are now; any thread; takes no lock; nanoseconds for each agent, microseconds for each class."""
    agents, oldest_ns = _delays.waiting()
    return Metrics(
        pid=os.getpid(),
        process=assemble.process_name(),
        level=config.level(),
        classes=_classes(),
        oldest_wait_s=max(0, time.monotonic_ns() - oldest_ns) / 1e9 if agents else 0.0,
        waiting_agents=agents,
        deadlocked_agents=circles.deadlocked(circles.standing()),
        findings=MappingProxyType(tally.by_code()),
        dropped_findings=watchdog.findings().dropped,
        withheld_reports=tally.withheld_reports,
        missed_findings=tally.missed_findings,
        hooks_cut_off=tally.hooks_cut_off,
    )


def _classes() -> tuple[ClassWaits, ...]:
    by_label: dict[str, ClassWaits] = {}
    for label, contentions, ended, waited_ns in _delays.delays():
        waits = class_waits(OTHER if label is None else printable(label), contentions, ended, waited_ns)
        known = by_label.get(waits.lock_class)
        # Two lines of one file may make locks of one variable's name: they are one class to who reads the label.
        by_label[waits.lock_class] = waits if known is None else _together(known, waits)
    return tuple(by_label[label] for label in sorted(by_label))


def class_waits(label: str, contentions: int, ended: tuple[int, ...], waited_ns: int) -> ClassWaits:
    """Return the waits of a class out of the core's numbers; ``ended`` has those that are over, by bucket."""
    buckets, count = [], 0
    for bound, number in zip(_delays.BOUNDS_S, ended):
        count += number
        buckets.append((bound, count))
    return ClassWaits(label, contentions, sum(ended), waited_ns / 1e9, tuple(buckets))


def _together(one: ClassWaits, other: ClassWaits) -> ClassWaits:
    return replace(
        one,
        contentions=one.contentions + other.contentions,
        count=one.count + other.count,
        sum_s=one.sum_s + other.sum_s,
        buckets=tuple((bound, a + b) for (bound, a), (_, b) in zip(one.buckets, other.buckets)),
    )
