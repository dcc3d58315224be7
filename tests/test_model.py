"""Each primitive against a model of itself: hypothesis chooses the steps, threads take them one at a time.

A step is over when every thread either has its answer or waits in the table, so that the model knows the outcome: who
waited longest comes first. Steps that would wait for ever by design (taking what one holds) are not taken.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

import fastlock
from machine import WHO, Machine, as_test
from workers import wait_until

class LockMachine(Machine):
    """Lock: anybody releases; the oldest waiter is next."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = fastlock.Lock()
        self.owner: int | None = None

    @rule(who=WHO, blocking=st.booleans(), with_statement=st.booleans())
    def acquire(self, who: int, blocking: bool, with_statement: bool) -> None:
        """Take the lock, try to, or wait for it."""
        if self.busy(who):
            return
        call = self.lock.__enter__ if with_statement else self.lock.acquire
        if self.owner is None:
            assert self.crew[who].do(call) is True
            self.owner = who
        elif blocking and who != self.owner:
            self.wait(who, "lock", call)
        else:
            assert self.crew[who].do(self.lock.acquire, False) is False

    @rule(who=WHO)
    def give_up(self, who: int) -> None:
        """A short timed acquire of a held lock fails and changes nothing."""
        if not self.busy(who) and self.owner is not None:
            assert self.crew[who].do(self.lock.acquire, True, 0.001) is False

    @rule(who=WHO)
    def release(self, who: int) -> None:
        """Anybody who runs may release."""
        if self.busy(who):
            return
        if self.owner is None:
            self.fails(who, self.lock.release, RuntimeError)
        else:
            self.crew[who].do(self.lock.release)
            self.owner = self.served(self.queue[0]) if self.queue else None

    @invariant()
    def locked(self) -> None:
        """The lock is locked while somebody owns it."""
        assert self.lock.locked() is (self.owner is not None)

    def release_all(self) -> None:
        """Release until nobody is left."""
        while self.owner is not None:
            self.release(self.owner)


class RLockMachine(Machine):
    """RLock: depth, and releases by the owner alone."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = fastlock.RLock()
        self.owner: int | None = None
        self.depth = 0

    @rule(who=WHO, blocking=st.booleans())
    def acquire(self, who: int, blocking: bool) -> None:
        """Take the lock, once more, or wait for it."""
        if self.busy(who):
            return
        if self.owner in (None, who):
            assert self.crew[who].do(self.lock.acquire, blocking) is True
            self.owner, self.depth = who, self.depth + 1
        elif blocking:
            self.wait(who, "lock", self.lock.acquire)
        else:
            assert self.crew[who].do(self.lock.acquire, False) is False

    @rule(who=WHO)
    def release(self, who: int) -> None:
        """Release once; by anybody else it is an error."""
        if self.busy(who):
            return
        if who != self.owner:
            self.fails(who, self.lock.release, RuntimeError)
            return
        self.crew[who].do(self.lock.release)
        self.depth -= 1
        if self.depth == 0:
            self.owner = self.served(self.queue[0]) if self.queue else None
            self.depth = int(self.owner is not None)

    @rule(who=WHO)
    def save_and_restore(self, who: int) -> None:
        """Release entirely and take it back as deep, where nobody waits."""
        if who == self.owner and not self.queue:
            self.crew[who].do(lambda: self.lock._acquire_restore(self.lock._release_save()))

    @invariant()
    def depth_is_known(self) -> None:
        """Each thread knows its own depth."""
        for who in range(4):
            if not self.busy(who):
                expected = self.depth if who == self.owner else 0
                assert self.crew[who].do(self.lock._recursion_count) == expected

    def release_all(self) -> None:
        """Release until nobody is left."""
        while self.owner is not None:
            self.release(self.owner)


class SemaphoreMachine(Machine):
    """Semaphore and BoundedSemaphore: permits, oldest waiter first."""

    @initialize(initial=st.integers(0, 3), bounded=st.booleans())
    def make(self, initial: int, bounded: bool) -> None:
        """Choose the kind and the number of permits."""
        self.semaphore = (fastlock.BoundedSemaphore if bounded else fastlock.Semaphore)(initial)
        self.bound = initial if bounded else None
        self.permits = initial

    @rule(who=WHO, blocking=st.booleans())
    def acquire(self, who: int, blocking: bool) -> None:
        """Take a permit, or wait for one."""
        if self.busy(who):
            return
        if self.permits:
            assert self.crew[who].do(self.semaphore.acquire, blocking) is True
            self.permits -= 1
        elif blocking:
            self.wait(who, "permit", self.semaphore.acquire)
        else:
            assert self.crew[who].do(self.semaphore.acquire, True, 0.001) is False

    @rule(who=WHO, count=st.integers(1, 3))
    def release(self, who: int, count: int) -> None:
        """Give permits back; too many are refused by the bounded kind."""
        if self.busy(who):
            return
        if self.bound is not None and self.permits + count > self.bound:
            self.fails(who, self.semaphore.release, ValueError, count)
            return
        self.crew[who].do(self.semaphore.release, count)
        self.permits += count
        while self.queue and self.permits:
            self.served(self.queue[0])
            self.permits -= 1

    @invariant()
    def permits_are_known(self) -> None:
        """The value is the number of free permits."""
        if hasattr(self, "semaphore"):
            assert self.semaphore._value == self.permits

    def release_all(self) -> None:
        """Give permits, past the bound too, until nobody waits."""
        while self.queue:
            fastlock.Semaphore.release(self.semaphore)
            self.served(self.queue[0])


class EventMachine(Machine):
    """Event: a flag, and all its waiters at once."""

    def __init__(self) -> None:
        super().__init__()
        self.event = fastlock.Event()
        self.flag = False

    @rule(who=WHO, timed=st.booleans())
    def wait_for_it(self, who: int, timed: bool) -> None:
        """Wait for the flag."""
        if self.busy(who):
            return
        if self.flag or timed:
            assert self.crew[who].do(self.event.wait, 0.001 if timed else None) is self.flag
        else:
            self.wait(who, "flag", self.event.wait)

    @rule(who=WHO, clear_too=st.booleans())
    def set(self, who: int, clear_too: bool) -> None:
        """Set the flag, and perhaps clear it at once: who waited goes all the same."""
        if self.busy(who):
            return
        self.crew[who].do(lambda: (self.event.set(), clear_too and self.event.clear()))
        self.flag = not clear_too
        while self.queue:
            self.served(self.queue[0])

    @invariant()
    def flag_is_known(self) -> None:
        """The event knows its flag."""
        assert self.event.is_set() is self.flag

    def release_all(self) -> None:
        """Let everybody go."""
        self.event.set()
        while self.queue:
            self.served(self.queue[0])


class RWLockMachine(Machine):
    """RWLock: shares, one of them upgradable, one writer, a queue, and a preference."""

    @initialize(prefer=st.sampled_from(["writer", "reader"]))
    def make(self, prefer: str) -> None:
        """Choose the preference."""
        self.rw = fastlock.RWLock(prefer=prefer)
        self.prefers_writers = prefer == "writer"
        self.shares: Counter[int] = Counter()  # the upgradable one too
        self.upgrader: int | None = None
        self.writer: int | None = None

    def may_read(self, who: int) -> bool:
        """Tell whether a newcomer may read now: past writers where readers are preferred, past an upgrade never."""
        ahead = {"write", "upgrade"} if self.prefers_writers else {"upgrade"}
        return self.writer is None and (who == self.upgrader or not any(what in ahead for _, what in self.queue))

    def is_alone(self, who: int) -> bool:
        """Tell whether no share keeps this thread from writing."""
        return not any(count for reader, count in self.shares.items() if reader != who or who != self.upgrader)

    @rule(who=WHO, blocking=st.booleans())
    def read(self, who: int, blocking: bool) -> None:
        """Take a share, or wait for one."""
        if self.busy(who):
            return
        if self.may_read(who):
            assert self.crew[who].do(self.rw.acquire_read, blocking) is True
            self.shares[who] += 1
        elif blocking and who != self.writer and not self.shares[who]:
            self.wait(who, "read", self.rw.acquire_read)
        else:
            assert self.crew[who].do(self.rw.acquire_read, True, 0.001) is False

    @rule(who=WHO, blocking=st.booleans())
    def upgradable(self, who: int, blocking: bool) -> None:
        """Take the upgradable share, or wait for it; who reads already does not get it."""
        if self.busy(who):
            return
        if self.may_read(who) and self.upgrader is None and not self.shares[who]:
            assert self.crew[who].do(self.rw.acquire_upgradable, blocking) is True
            self.shares[who] += 1
            self.upgrader = who
        elif blocking and who != self.writer and not self.shares[who]:
            self.wait(who, "upgradable", self.rw.acquire_upgradable)
        else:
            assert self.crew[who].do(self.rw.acquire_upgradable, True, 0.001) is False

    @rule(who=WHO, blocking=st.booleans())
    def write(self, who: int, blocking: bool) -> None:
        """Take the lock exclusively, or wait for it, in front of everybody where it is an upgrade."""
        if self.busy(who):
            return
        if self.writer is None and self.is_alone(who):
            assert self.crew[who].do(self.rw.acquire_write, blocking) is True
            self.writer = who
        elif blocking and who != self.writer and who == self.upgrader:
            self.wait(who, "upgrade", self.rw.acquire_write)
            self.queue.insert(0, self.queue.pop())
        elif blocking and who != self.writer and not self.shares[who]:
            self.wait(who, "write", self.rw.acquire_write)
        else:
            assert self.crew[who].do(self.rw.acquire_write, True, 0.001) is False

    def has(self, who: int, mode: str) -> bool:
        """Tell whether a thread may release in this mode."""
        if mode == "write":
            return self.writer == who
        if mode == "upgradable":
            return self.upgrader == who and self.writer != who
        return self.shares[who] > (self.upgrader == who)

    @rule(who=WHO, mode=st.sampled_from(["read", "write", "upgradable"]))
    def release(self, who: int, mode: str) -> None:
        """Release in one mode; who does not hold it so gets an error."""
        if self.busy(who):
            return
        call = getattr(self.rw, f"release_{mode}")
        if not self.has(who, mode):
            self.fails(who, call, RuntimeError)
            return
        self.crew[who].do(call)
        if mode == "write":
            self.writer = None
        else:
            self.shares[who] -= 1
            self.upgrader = None if mode == "upgradable" else self.upgrader
        self.admit()

    def admit(self) -> None:
        """Let in who is next: a writer that is alone, else readers, all of them where they are preferred, one upgradably."""
        for entry in list(self.queue) if self.writer is None else []:
            who, what = entry
            if what in ("write", "upgrade"):
                if self.is_alone(who):
                    self.writer = self.served(entry)
                    return
                if self.prefers_writers or what == "upgrade":
                    return
            elif what == "read" or self.upgrader is None:
                self.shares[self.served(entry)] += 1
                self.upgrader = who if what == "upgradable" else self.upgrader

    @invariant()
    def holds_are_known(self) -> None:
        """Shares and lockedness are those of the model."""
        if hasattr(self, "rw"):
            assert self.rw.readers == sum(self.shares.values())
            assert self.rw.locked() is (self.writer is not None or bool(+self.shares))
            assert ("upgradable" in repr(self.rw)) is (self.upgrader is not None)

    def release_all(self) -> None:
        """Release until nobody is left."""
        while self.writer is not None or +self.shares:
            if self.writer is not None:
                self.release(self.writer, "write")
            for who in list((+self.shares).elements()):
                self.release(who, "read" if self.has(who, "read") else "upgradable")


class ConditionMachine(Machine):
    """Condition: notified waiters come back with the lock, in any order among those that one step notified."""

    @initialize(kind=st.sampled_from([fastlock.RLock, fastlock.Lock]))
    def make(self, kind: Any) -> None:
        """Choose the lock."""
        self.condition = fastlock.Condition(kind())
        self.owner: int | None = None
        self.notified: set[int] = set()

    @rule(who=WHO)
    def acquire(self, who: int) -> None:
        """Take the lock where it is free."""
        if not self.busy(who) and self.owner is None:
            assert self.crew[who].do(self.condition.__enter__) is True
            self.owner = who

    @rule(who=WHO)
    def release(self, who: int) -> None:
        """Release the lock; a notified waiter comes back with it."""
        if who == self.owner:
            self.crew[who].do(self.condition.release)
            self.owner = None
            self.come_back()

    @rule(who=WHO, timeout=st.sampled_from([None, 0, 0.001]))
    def wait_for_it(self, who: int, timeout: float | None) -> None:
        """Wait: the lock is others' meanwhile; a timed wait comes back where nobody takes the lock for good."""
        if who != self.owner or (timeout is not None and self.notified):
            return
        if timeout is not None:
            assert self.crew[who].do(self.condition.wait, timeout) is False
            return
        self.wait(who, "notification", self.condition.wait)
        self.owner = None
        self.come_back()

    @rule(who=WHO, count=st.integers(0, 3))
    def notify(self, who: int, count: int) -> None:
        """Notify the oldest waiters, 0 meaning all."""
        if who != self.owner:
            return
        self.crew[who].do(*([self.condition.notify, count] if count else [self.condition.notify_all]))
        waiting = [waiter for waiter, _ in self.queue if waiter not in self.notified]
        self.notified.update(waiting[: count or None])

    def come_back(self) -> None:
        """One of the notified has the lock now."""
        if not self.notified:
            return

        def back() -> list[int]:
            return [who for who in self.notified if self.crew[who]._done.locked() is False]

        (who,) = wait_until(back)
        self.notified.remove(who)
        self.owner = self.served((who, "notification"))

    @invariant()
    def waiters_are_known(self) -> None:
        """The condition counts those that nobody has notified."""
        if hasattr(self, "condition"):
            assert len(self.condition._waiters) == len(self.queue) - len(self.notified)
            assert self.condition._lock.locked() is (self.owner is not None)

    def release_all(self) -> None:
        """Notify and release until nobody is left."""
        while self.queue or self.owner is not None:
            if self.owner is None:
                self.acquire(next(who for who in range(5) if not self.busy(who)))
            self.notify(self.owner, 0)
            self.release(self.owner)


TestLock = as_test(LockMachine)
TestRLock = as_test(RLockMachine)
TestSemaphore = as_test(SemaphoreMachine)
TestEvent = as_test(EventMachine)
TestRWLock = as_test(RWLockMachine)
TestCondition = as_test(ConditionMachine)
