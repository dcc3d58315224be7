"""The last readings of every process, as little of each as lints need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fastlock.console.seen import LIVE, Seen, Wait

READINGS = 24  # of each process: twelve seconds at two a second
SPAN_S = 15.0  # older ones say nothing of now


class Queue(NamedTuple):
    """A lock that somebody waited for in one reading: who had it, how many waited, and since when the oldest did."""

    owner: int | None
    readers: tuple[int, ...]
    waiters: int
    oldest_ns: int


class Reading(NamedTuple):
    """What is kept of one reading: when it was, and the locks that were waited for."""

    now_ns: int
    queues: Mapping[int, Queue]


class History:
    """The last readings; one thread uses it. A reading costs what is waited for."""

    def __init__(self) -> None:
        self._readings: dict[int, deque[Reading]] = {}

    def note(self, fleet: Iterable[Seen]) -> None:
        """Remember the newest moment of each process, and forget the processes that are gone; the same moment counts once."""
        there = {seen.pid: seen for seen in fleet if seen.state == LIVE}
        for pid in self._readings.keys() - there.keys():
            del self._readings[pid]
        for pid, seen in there.items():
            kept = self._readings.setdefault(pid, deque(maxlen=READINGS))
            if kept and seen.now_ns < kept[-1].now_ns:
                kept.clear()  # another process has the number now, or a file is looked at
            if not kept or seen.now_ns > kept[-1].now_ns:
                kept.append(Reading(seen.now_ns, _queues(seen)))
            while seen.now_ns - kept[0].now_ns > SPAN_S * 1e9:
                kept.popleft()

    def of(self, pid: int) -> Sequence[Reading]:
        """Return the readings of a process, the newest last."""
        return tuple(self._readings.get(pid, ()))


def _queues(seen: Seen) -> dict[int, Queue]:
    oldest: dict[int, Wait] = {}
    number: dict[int, int] = {}
    for wait in seen.waits:
        number[wait.lock] = number.get(wait.lock, 0) + 1
        if wait.lock not in oldest or wait.since_ns < oldest[wait.lock].since_ns:
            oldest[wait.lock] = wait
    return {
        lock_id: Queue(wait.owner, lock.readers, number[lock_id], wait.since_ns)
        for lock_id, wait in oldest.items()
        if (lock := seen.locks.get(lock_id)) is not None
    }
