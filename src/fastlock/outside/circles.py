"""Who waits for what and who holds it, read from records: the rules of the process's own detector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastlock.outside.layout import Agent, Lock, Share, Wait
from fastlock.outside.records import Records

EXCLUSIVE, SHARED, PERMIT, NOTIFY, FLAG, UPGRADABLE = range(1, 7)
LOCK, RLOCK, RWLOCK, SEMAPHORE, CONDITION, EVENT, BARRIER, RESULT, POOL, OPAQUE = range(1, 11)
SIGNAL = 2  # of a lock's marks: anybody releases it
READERS = 4  # of an RWLock's: readers are preferred
OFFERED = 2  # of a lock word: handed to a waiter that has not accepted yet
_OWNED, _AIO, _WITH = 1, 64, 4  # its owner has released it before; it is asyncio's; of a lock word: taken by `with`
NUMBER = 0xFFFFFF  # of an id, the agent's number


def wait_of(agent: Agent, locks: Mapping[int, Lock]) -> Wait | None:
    """Return what the agent waits for; a future's condition, or event, stands for the result that is waited for outside of it."""
    if len(agent.waits) == 2 and agent.waits[0].mode in (NOTIFY, FLAG):
        outer = locks.get(agent.waits[1].serial)
        if outer is not None and outer.kind == RESULT:
            return agent.waits[1]
    return agent.waits[0] if agent.waits else None


def owner_of(lock: Lock, agents: Mapping[int, Agent]) -> Agent | None:
    """Return who holds the lock exclusively, None where nobody does, it is only offered to a waiter, or that agent is gone."""
    if lock.marks & SIGNAL or lock.owner & OFFERED:
        return None
    return _of_word(lock.owner, agents)


def has_evidence(lock: Lock) -> bool:
    """Tell whether the holder is known to be the one who will release: anybody may release a Lock or a semaphore."""
    if lock.marks & SIGNAL or lock.kind == SEMAPHORE:
        return False
    return lock.kind in (RLOCK, RWLOCK, RESULT) or bool(lock.marks & (_OWNED | _AIO) or lock.owner & _WITH)


def holders_of(lock: Lock, records: Records) -> list[tuple[int, Share]]:
    """Return who holds shares or permits of the lock, by id."""
    if lock.marks & SIGNAL or not lock.shares:
        return []
    found = ((_of_word(share.who, records.agents), share) for share in records.chain(lock.shares))
    return [(agent.id, share) for agent, share in found if agent is not None]


def _of_word(word: int, agents: Mapping[int, Agent]) -> Agent | None:
    agent = agents.get(word >> 8 & NUMBER)
    return agent if agent is not None and agent.id == word >> 8 else None


def is_open(lock: Lock, holders: Iterable[tuple[int, Share]]) -> bool:
    """Tell whether a semaphore has permits left, or some whose holder is not known, so somebody else may let it go; whether a pool has idle workers."""
    held = sum(share.times for _, share in holders)
    if lock.kind == POOL:
        return held < lock.limit
    return lock.kind == SEMAPHORE and not lock.permits == 0 < lock.limit == held
