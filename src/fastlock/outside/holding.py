"""Who holds and waits for what at one moment; of the moment before only what is new since is worked out again."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastlock.outside import circles
from fastlock.outside.circles import NUMBER
from fastlock.outside.layout import Agent, Lock, Share
from fastlock.outside.records import Records

_OWNED_ALONE = (circles.LOCK, circles.RLOCK, circles.RWLOCK)


class Held(NamedTuple):
    """An entry of what an agent held when it began to wait, as far as a level tells it."""

    lock: Lock
    share: Share


class Holding:
    """Locks by serial, with who owns, shares and awaits them, as ids; agents by number, with what they hold and wait for.

    `new_agents`, `new_locks` and `new_owners` (of locks) are not as they were `before`. Whoever has a Holding may keep it: nothing in it changes.
    """

    def __init__(self, records: Records, before: Holding | None = None) -> None:
        self._records = records
        last = before if records.is_later else None
        self.new_agents: set[int] = set(records.changed.agents)
        self.new_locks: set[int] = set(records.changed.locks)
        self.new_owners: set[int] = set()
        self.waiting: dict[int, Agent] = {} if last is None else dict(last.waiting)
        self.waiters: dict[int, tuple[tuple[int, int], ...]] = {} if last is None else dict(last.waiters)  # since when, and who
        self.held: dict[int, tuple[Held, ...]] = {} if last is None else dict(last.held)
        self.held_by: dict[int, tuple[int, ...]] = {} if last is None else dict(last.held_by)
        self.locks: dict[int, Lock] = {} if last is None else dict(last.locks)
        self.owners: dict[int, int] = {} if last is None else dict(last.owners)
        self.holders: dict[int, list[tuple[int, Share]]] = {} if last is None else dict(last.holders)
        self.holds: dict[int, tuple[int, ...]] = {} if last is None else dict(last.holds)
        self._who: dict[int, frozenset[int]] = {} if last is None else dict(last._who)
        if last is None or records.differs:
            self._find_waits()
            self._find_held()
            if last is not None:
                self._find_reborn()
            self._settle()

    # ---- what is new

    def _find_waits(self) -> None:
        over = [number for number in self._records.changed.agents if self.waiting.pop(number, None) is not None]
        agents = self._records.agents
        come = {number: agents[number] for number in self._records.changed.agents if number in agents and agents[number].waits}
        self.waiting.update(come)
        if not over and not come:
            return
        last, self.waiters = self.waiters, {}
        queue = sorted([(wait.since_ns, wait.serial, agent.id) for agent in self.waiting.values() for wait in agent.waits])
        queues: dict[int, list[tuple[int, int]]] = {}
        for since_ns, serial, waiter in queue:
            queues.setdefault(serial, []).append((since_ns, waiter))
        self.waiters = {serial: tuple(waiters) for serial, waiters in queues.items()}
        self.new_locks.update(serial for serial, waiters in self.waiters.items() if last.get(serial) != waiters)
        self.new_locks.update(serial for serial in last if serial not in self.waiters)

    def _find_held(self) -> None:
        edits = _Edits()
        over = [number for number in self.held if number not in self.waiting]
        for number in (*over, *(number for number, agent in self.waiting.items() if agent.held_count or number in self.held)):
            old = self.held.get(number, ())
            new = self._held_of(self.waiting.get(number))
            if new == old:
                continue
            self.new_agents.add(number)
            for entry in old:
                edits.remove(entry.lock.serial, number)
            for entry in new:
                edits.add(entry.lock.serial, number)
            if new:
                self.held[number] = new
            else:
                del self.held[number]
            self.new_locks.update(entry.lock.serial for entry in (*old, *new))
        edits.apply(self.held_by)

    def _held_of(self, agent: Agent | None) -> tuple[Held, ...]:
        if agent is None or not agent.held_count:
            return ()
        chain = self._records.chain(agent.held, agent.held_count)
        locks = ((self._records.lock_at(share.times - 1), share) for share in chain if share.times)
        held = [Held(lock, share) for lock, share in locks if lock is not None and lock.serial == share.who]
        return tuple(entry for entry in held if not entry.lock.marks & circles.SIGNAL)

    def _find_reborn(self) -> None:
        """Look again at the locks of agents that have come or gone: their words name somebody else now, or nobody."""
        agents = self._records.agents
        reborn = {
            number
            for number, was in self._records.changed.agents.items()
            if was is None or number not in agents or agents[number].id != was.id
        }
        for serial, lock in self._records.locks.items():
            if lock.shares or lock.owner >> 8 & NUMBER in reborn:  # a share may change without its lock
                self.new_locks.add(serial)
        self.new_locks.update(entry.lock.serial for number in reborn for entry in self.held.get(number, ()))

    # ---- what follows from it

    def _settle(self) -> None:
        edits = _Edits()
        for serial in self.new_locks:
            lock = self._shown(serial)
            was, was_owner = self.locks.get(serial), self.owners.get(serial)
            owner = self._owner_of(serial)
            holders = [] if serial not in self._records.locks else circles.holders_of(self._records.locks[serial], self._records)
            _put(self.locks, serial, lock)
            _put(self.owners, serial, owner)
            _put(self.holders, serial, holders or None)
            if owner != was_owner or was is None or lock is None or (was.kind, was.limit) != (lock.kind, lock.limit):
                self.new_owners.add(serial)
            who = {holder & NUMBER for holder, _ in holders}.union(self.held_by.get(serial, ()))
            if owner is not None:
                who.add(owner & NUMBER)
            old = self._who.get(serial, frozenset())
            if who != old:
                _put(self._who, serial, frozenset(who) or None)
                for number in old - who:
                    edits.remove(number, serial)
                for number in who - old:
                    edits.add(number, serial)
        self.new_agents |= edits.apply(self.holds)

    def _shown(self, serial: int) -> Lock | None:
        """Return the record of a lock that is waited for, or held by who waits; a stand-in where it found no room, or is being written."""
        lock = self._records.locks.get(serial)
        if lock is None and serial in self.held_by:
            lock = next(entry.lock for entry in self.held[self.held_by[serial][0]] if entry.lock.serial == serial)
        if lock is None and serial in self.waiters:
            lock = Lock(0, serial, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, circles.SIGNAL, True)
        return lock

    def _owner_of(self, serial: int) -> int | None:
        lock = self._records.locks.get(serial)
        if lock is not None:
            owner = circles.owner_of(lock, self._records.agents)
            return None if owner is None else owner.id
        for number in self.held_by.get(serial, ()):
            if any(entry.lock.serial == serial and entry.lock.kind in _OWNED_ALONE for entry in self.held[number]):
                return self._records.agents[number].id
        return None


class _Edits:
    """Items to be put into tuples, and taken out of them, by key; all of a key at once."""

    def __init__(self) -> None:
        self._gone: dict[int, set[Any]] = {}
        self._come: dict[int, list[Any]] = {}

    def remove(self, key: int, item: Any) -> None:
        self._gone.setdefault(key, set()).add(item)

    def add(self, key: int, item: Any) -> None:
        self._come.setdefault(key, []).append(item)

    def apply(self, index: dict[int, tuple[Any, ...]]) -> set[int]:
        """Change the tuples, which are sorted, and return the keys of those that are not as they were."""
        changed = set()
        for key in self._gone.keys() | self._come.keys():
            old, gone = index.get(key, ()), self._gone.get(key, ())
            new = tuple(sorted([*(item for item in old if item not in gone), *self._come.get(key, ())]))
            if new != old:
                changed.add(key)
                _put(index, key, new or None)
        return changed


def _put(index: dict[int, Any], key: int, value: Any) -> None:
    """Set what an index has of a key, None for nothing."""
    if value is None:
        index.pop(key, None)
    else:
        index[key] = value
