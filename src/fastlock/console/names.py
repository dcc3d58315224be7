"""What the agents, locks and places of one process are called on a screen; equal names are numbered as in reports, and nothing is an address."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import cached_property
from operator import attrgetter
from typing import Any, Generic, TypeVar

from fastlock.console.seen import Agent, Lock, Seen, Wait
from fastlock.findings import Site, basename
from fastlock.reporting import is_stdlib, printable, tidy

NOBODY = "-"
_VAGUE = ("__init__.py", "__main__.py")


class Names:
    """The names of one moment of a process. What is equal is numbered when it is first asked for: that is linear, once."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def agent(self, agent_id: int | None) -> str:
        """Return for example ``exporter``, or ``refresher (task)``."""
        agent = None if agent_id is None else self._seen.agents.get(agent_id)
        if agent is None:
            return "an unknown agent"
        return self._agents.name(agent)

    def lock(self, lock_id: int | None, otherwise: str = "something") -> str:
        """Return for example ``ledger_lock``, or ``Account._lock #2`` where several have the name."""
        lock = None if lock_id is None else self._seen.locks.get(lock_id)
        return otherwise if lock is None else self._locks.name(lock)

    def wanted(self, wait: Wait) -> str:
        """Return what is waited for, as reports call it: ``Queue.put on jobs`` where the condition is one inside of a queue, else the lock's name."""
        lock = self._seen.locks.get(wait.lock)
        call = _queue_call(wait)
        return f"{call} on {_lock_name(lock)}" if call and lock is not None else self.lock(wait.lock)

    def site(self, site: Site | None) -> str:
        """Return for example ``export.py:120``, "" where it is not known."""
        return place(site)

    def kept(self, lock: Lock | None) -> str:
        """Return who keeps a lock from others, or brings a result: ``exporter``, ``4 readers``, ``from worker-1``, ``queued in pool``."""
        holders = self.holders(lock)
        if lock is None or lock.kind != "Result":
            return holders
        if holders == NOBODY:
            return NOBODY if lock.pool is None else f"queued in {self.lock(lock.pool, 'a pool')}"
        return f"from {holders}"

    def holders(self, lock: Lock | None) -> str:
        """Return who has a lock, or is to bring a result: a name, or how many of which sort."""
        if lock is None:
            return NOBODY
        if lock.owner is not None:
            return self.agent(lock.owner)
        readers = dict.fromkeys(lock.readers)
        if len(readers) == 1:
            return self.agent(next(iter(readers)))
        return f"{len(readers):,} {_SORTS.get(lock.kind, 'holders')}" if readers else NOBODY

    @cached_property
    def _agents(self) -> _Distinct[Agent]:
        return _Distinct(self._seen.agents.values(), attrgetter("name", "kind"), _agent_name)

    @cached_property
    def _locks(self) -> _Distinct[Lock]:
        return _Distinct(self._seen.locks.values(), _raw_name, _lock_name)


LOCKS = frozenset({"Lock", "RLock", "RWLock", "Semaphore"})
_NOUNS = {"ThreadPoolExecutor": "pool", "Wait": "declared wait"}


def noun(lock: Lock) -> str:
    """Return what people call what a record of this kind stands for: ``lock``, ``pool``, ``event``."""
    return "lock" if lock.kind in LOCKS else _NOUNS.get(lock.kind, lock.kind.lower())


_SORTS = {"RWLock": "readers", "ThreadPoolExecutor": "workers"}


_QUEUE_CALLS = ("put", "get", "join")


def _queue_call(wait: Wait) -> str:
    """Return ``Queue.put`` for a wait inside of that method of the standard library's, else ""."""
    site = wait.wanted_at
    if site is None or wait.what != "Condition.wait" or basename(site.file) != "queue.py" or not is_stdlib(site.file):
        return ""
    call = site.function.rpartition(".")[2]
    return f"Queue.{call}" if call in _QUEUE_CALLS else ""


def place(site: Site | None) -> str:
    """Return a place as ``export.py:120``, with its directory where the name says too little; "" for none."""
    if site is None:
        return ""
    name = basename(site.file)
    if name in _VAGUE:
        name = f"{basename(os.path.dirname(site.file))}/{name}"
    return f"{printable(name)}:{site.line}"


def place_in(site: Site | None) -> str:
    """Return a place with its function: ``export.py:120 in run``."""
    return "" if site is None else f"{place(site)} in {printable(site.function)}"


def _agent_name(agent: Agent) -> str:
    name = tidy(agent.name) or f"{agent.kind} without a name"
    return f"{name} (task)" if agent.kind == "task" else name


def _lock_name(lock: Lock) -> str:
    made = "" if lock.created is None else f"@{basename(lock.created[0])}:{lock.created[1]}"
    return tidy(lock.name) or printable(f"{lock.kind}{made}")


def _raw_name(lock: Lock) -> tuple[Any, ...]:
    return (lock.name,) if lock.name else ("", lock.kind, lock.created)


_T = TypeVar("_T", Agent, Lock)


class _Distinct(Generic[_T]):
    """Distinct names. To see which are equal takes a millisecond for ten thousand; each is made, and numbered, when it is asked for."""

    def __init__(self, items: Collection[_T], raw: Callable[[_T], tuple[Any, ...]], name: Callable[[_T], str]) -> None:
        keys: list[Any] = list(map(raw, items))  # what names are made of, the text first
        text = "".join([key[0] for key in keys])
        self._name: Callable[[_T], str] = name
        self._key: Callable[[_T], Any] = raw
        if not text.isprintable() or "0x" in text:  # names that differ may look alike
            self._key, keys = name, list(map(name, items))
        self._same: dict[Any, list[int]] = {}
        if len(set(keys)) < len(keys):
            for item, key in zip(items, keys):
                self._same.setdefault(key, []).append(item.id)
        self._numbers: dict[Any, dict[int, int]] = {}

    def name(self, item: _T) -> str:
        name, key = self._name(item), self._key(item)
        same = self._same.get(key, ())
        if len(same) < 2:
            return name
        if key not in self._numbers:
            self._numbers[key] = {number: at for at, number in enumerate(sorted(same), 1)}
        return f"{name} #{self._numbers[key].get(item.id, 0)}"
