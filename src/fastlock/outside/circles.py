"""Who can never run, worked out from who waits for whom: the rules of the process's own detector, on records alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from fastlock.outside.layout import ALIVE, Agent, Lock, Records, Share, Wait

EXCLUSIVE, SHARED, PERMIT, NOTIFY, FLAG = range(1, 6)
LOCK, RLOCK, RWLOCK, SEMAPHORE, CONDITION, EVENT, BARRIER, RESULT, POOL, OPAQUE = range(1, 11)
SIGNAL = 2  # of a lock's marks: anybody releases it
OFFERED = 2  # of a lock word: handed to a waiter that has not accepted yet
_OWNED, _AIO, _WITH = 1, 64, 4  # its owner has released it before; it is asyncio's; of a lock word: taken by `with`
_FLAGS = 0xFF


class Needs(NamedTuple):
    """Whom an agent needs: all of them, or any one."""

    agents: tuple[int, ...]
    any_one: bool = False


class Circle(NamedTuple):
    """Agents (numbers) of which each waits for the next; ``dead`` where the last one has ended and waits for nobody."""

    agents: tuple[int, ...]
    dead: bool


def wait_of(agent: Agent, locks: Mapping[int, Lock]) -> Wait | None:
    """Return what the agent waits for; a future's condition, or event, stands for the result that is waited for outside of it."""
    if len(agent.waits) == 2 and agent.waits[0].mode in (NOTIFY, FLAG):
        outer = locks.get(agent.waits[1].serial)
        if outer is not None and outer.kind == RESULT:
            return agent.waits[1]
    return agent.waits[0] if agent.waits else None


def owner_of(lock: Lock, agents: Mapping[int, Agent]) -> Agent | None:
    """Return who holds the lock exclusively, None where nobody does or that agent is gone."""
    if lock.marks & SIGNAL:
        return None
    return _of_word(lock.owner, agents)


def has_evidence(lock: Lock) -> bool:
    """Tell whether the holder is known to be the one who will release: anybody may release a Lock or a semaphore."""
    if lock.marks & SIGNAL or lock.kind == SEMAPHORE:
        return False
    return lock.kind in (RLOCK, RWLOCK, RESULT) or bool(lock.marks & (_OWNED | _AIO) or lock.owner & _WITH)


def holders_of(lock: Lock, records: Records) -> list[tuple[Agent, Share]]:
    """Return who holds shares or permits of the lock."""
    if lock.marks & SIGNAL or not lock.shares:
        return []
    found = ((_of_word(share.who, records.agents), share) for share in records.chain(lock.shares))
    return [(agent, share) for agent, share in found if agent is not None]


def _of_word(word: int, agents: Mapping[int, Agent]) -> Agent | None:
    agent = agents.get(word >> 8 & 0xFFFFFF)
    return agent if agent is not None and agent.word == word & ~_FLAGS else None


class Waiters:
    """The relation of who needs whom, in one table."""

    def __init__(self, records: Records, holders: Mapping[int, Sequence[tuple[Agent, Share]]]) -> None:
        self._records = records
        self._holders = holders
        self._writers: dict[int, tuple[int, int]] = {}  # of each lock the first writer that waits: since when, who
        for agent in records.agents.values():
            for wait in agent.waits[:1]:
                if wait.mode == EXCLUSIVE and not agent.runs:
                    first = self._writers.get(wait.serial)
                    self._writers[wait.serial] = min(first or (wait.since_ns, agent.number), (wait.since_ns, agent.number))

    def needs(self, agent: Agent) -> list[Needs]:
        """Return what has to happen before the agent runs on: each of these; [] where it runs, or nobody knows."""
        needs = []
        own = self._for_lock(agent)
        if own is not None:
            needs.append(own)
        thread = self._records.agents.get(agent.loop) if agent.loop else None
        if thread is not None and thread.waits and not thread.runs and not thread.loop:
            needs.append(Needs((thread.number,)))
        return needs

    def _for_lock(self, agent: Agent) -> Needs | None:
        wait = wait_of(agent, self._records.locks)
        lock = self._records.locks.get(wait.serial) if wait is not None else None
        if wait is None or agent.runs or lock is None or lock.marks & SIGNAL:
            return None
        if lock.kind == SEMAPHORE:
            holders = self._holders.get(lock.serial, ())
            everybody = lock.permits == 0 and sum(share.times for _, share in holders) == lock.limit > 0
            return Needs(tuple(holder.number for holder, _ in holders), any_one=True) if everybody else None
        if lock.kind == RESULT and lock.permits:
            return self._for_pool(lock.permits)
        if lock.kind not in (LOCK, RLOCK, RWLOCK, RESULT) or lock.owner & OFFERED:
            return None
        if lock.owner & ~_FLAGS:
            owner = owner_of(lock, self._records.agents)
            known = owner is not None and (lock.kind != RESULT or owner.state == ALIVE)
            return Needs((owner.number,)) if owner is not None and known else None
        return self._for_share(agent, wait, lock)

    def _for_pool(self, serial: int) -> Needs | None:
        """What work that is queued in a pool needs: any worker, where all that there can be have a job."""
        pool = self._records.locks.get(serial)
        workers = tuple(worker.number for worker, _ in self._holders.get(serial, ()))
        full = pool is not None and len(workers) >= pool.limit > 0
        return Needs(workers, any_one=True) if full else None

    def _for_share(self, agent: Agent, wait: Wait, lock: Lock) -> Needs | None:
        if lock.kind != RWLOCK:
            return None
        if wait.mode == EXCLUSIVE:
            readers = tuple(holder.number for holder, _ in self._holders.get(lock.serial, ()))
            return Needs(readers) if readers else None
        since, writer = self._writers.get(lock.serial, (wait.since_ns, agent.number))
        return Needs((writer,)) if since < wait.since_ns and writer != agent.number else None


def find(agents: Mapping[int, Agent], needs_of: Callable[[Agent], Iterable[Needs]]) -> tuple[set[int], list[Circle]]:
    """Return who can never run, and the circles among them, each once; linear in agents and needs."""
    needs = {index: [need for need in needs_of(agent) if need.agents] for index, agent in agents.items()}
    stuck = {index for index, agent in agents.items() if needs[index] or agent.state != ALIVE}
    left = {(index, number): len(need.agents) for index in stuck for number, need in enumerate(needs[index])}
    unmet = {index: len(needs[index]) for index in stuck}
    wanted_by: dict[int, list[tuple[int, int]]] = {}
    for index in stuck:
        for number, need in enumerate(needs[index]):
            for other in need.agents:
                wanted_by.setdefault(other, []).append((index, number))
    running = [index for index in set(wanted_by) | set(agents) if index not in stuck]
    while running:
        for index, number in wanted_by.get(running.pop(), ()):
            key = (index, number)
            if left[key] <= 0:
                continue
            left[key] = 0 if needs[index][number].any_one else left[key] - 1
            if left[key] == 0:
                unmet[index] -= 1
                if unmet[index] == 0 and index in stuck and agents[index].state == ALIVE:
                    stuck.discard(index)
                    running.append(index)
    return stuck, list(_circles(stuck, needs, agents))


def _circles(stuck: set[int], needs: Mapping[int, list[Needs]], agents: Mapping[int, Agent]) -> Iterable[Circle]:
    """Follow each stuck agent to the first stuck one that it needs: every walk ends in a circle or at a dead agent."""
    following = {}
    for index in stuck:
        others = [other for need in needs[index] for other in need.agents if other in stuck]
        following[index] = others[0] if others else None
    seen: dict[int, int] = {}  # agent -> which walk came by
    for start in sorted(stuck):
        path: list[int] = []
        at: int | None = start
        while at is not None and at not in seen:
            seen[at] = start
            path.append(at)
            at = following[at]
        if at is not None and seen[at] == start:
            yield Circle(tuple(path[path.index(at) :]), dead=False)
    for index, other in sorted(following.items()):
        if other is not None and agents[other].state != ALIVE:
            yield Circle((index, other), dead=True)
