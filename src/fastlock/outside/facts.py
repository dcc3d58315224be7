"""What records say, as plain facts with the names and ids of a snapshot's JSON form; nothing of them changes.

Times are nanoseconds of CLOCK_MONOTONIC, as tables have them: an age is the moment's minus a wait's `since_ns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastlock.findings import Site


class Agent(NamedTuple):
    """A thread or a task; ``loop`` is the name of the thread that runs a task's loop, ``native_id`` that thread's.

    Snapshots do not tell its ``state`` ("alive", "ended", "lost-in-fork"), and whether it ``runs`` inside of its wait, as in a signal handler.
    """

    id: int
    kind: str
    name: str
    native_id: int | None
    loop: str | None
    holds: tuple[int, ...]
    waits: int | None
    state: str = "alive"
    runs: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return what snapshots have of it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "native_id": self.native_id,
            "loop": self.loop,
            "holds": list(self.holds),
            "waits": self.waits,
        }


class Lock(NamedTuple):
    """A lock that somebody waits for, or that a waiting agent holds; ``created`` is a file and a line.

    Snapshots do not tell whether a semaphore or pool is ``open``, for somebody else may let it go; out of the queue of which ``pool`` a result comes; whose
    share may be ``upgraded``; whether a read-write lock ``lets_readers_in`` before its writers; whether there is ``evidence`` that its holder alone releases it.
    """

    id: int
    name: str
    lock_class: str
    kind: str
    created: tuple[str, int] | None
    owner: int | None
    readers: tuple[int, ...]
    waiters: tuple[int, ...]
    held_at: Site | None
    open: bool = False
    pool: int | None = None
    upgrader: int | None = None
    lets_readers_in: bool = False
    evidence: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return what snapshots have of it."""
        return {
            "id": self.id,
            "name": self.name,
            "class": self.lock_class,
            "kind": self.kind,
            "created": None if self.created is None else {"file": self.created[0], "line": self.created[1]},
            "owner": self.owner,
            "readers": list(self.readers),
            "waiters": list(self.waiters),
            "held_at": None if self.held_at is None else self.held_at.to_dict(),
        }


class Wait(NamedTuple):
    """A wait of an agent; ``deadline_ns`` is None where it has no timeout."""

    agent: int
    lock: int
    what: str
    mode: str
    owner: int | None
    since_ns: int
    deadline_ns: int | None
    wanted_at: Site | None

    @property
    def is_for_a_lock(self) -> bool:
        """Whether it is for a lock or permit: a wait for an event, a condition or a result may last."""
        return self.what.rpartition(".")[2].startswith("acquire")

    def age_s(self, now_ns: int) -> float:
        """Return for how many seconds it has lasted."""
        return max(0, now_ns - self.since_ns) / 1e9

    def left_s(self, now_ns: int) -> float | None:
        """Return in how many seconds it gives up, None for never."""
        return None if self.deadline_ns is None else max(0, self.deadline_ns - now_ns) / 1e9

    def to_dict(self, now_ns: int) -> dict[str, Any]:
        """Return what snapshots of that time have of it."""
        return {
            "agent": self.agent,
            "lock": self.lock,
            "what": self.what,
            "mode": self.mode,
            "owner": self.owner,
            "since_s": self.age_s(now_ns),
            "deadline_s": self.left_s(now_ns),
            "wanted_at": None if self.wanted_at is None else self.wanted_at.to_dict(),
        }


_PARTS = frozenset({"Condition.wait", "Event.wait", "Lock.wait"})  # the last of something that has found no room in the table


def is_part(what: str, lock: int | None, whole: int | None, kind: str) -> bool:
    """Tell whether a wait for `lock` is but how its agent waits for the `whole` of that kind, which its record names: for a result, by a condition or event."""
    return kind == "Result" and lock != whole and what in _PARTS


def whole_waits(waits: Iterable[Wait], agents: Mapping[int, Agent], locks: Mapping[int, Lock]) -> list[Wait]:
    """Return the waits as people mean them: a wait for a result is one, however it is made; linear in waits."""
    return [wait for wait in waits if not _is_part(wait, agents.get(wait.agent), locks)]


def _is_part(wait: Wait, agent: Agent | None, locks: Mapping[int, Lock]) -> bool:
    whole = None if agent is None or agent.waits in (None, wait.lock) else locks.get(agent.waits or 0)
    return whole is not None and is_part(wait.what, wait.lock, whole.id, whole.kind)
