"""The program of test_stress.py: threads do what a seed says with locks of every kind, and cannot deadlock.

Nobody waits without a limit while holding anything that a later lock in the list could be held with: locks are taken in the
order of the list, or tried, or waited for with a timeout; whoever releases a lock of somebody else does it for one that is a signal.
"""

from __future__ import annotations

import _thread
import os
import random
import signal
import sys
import threading
import time
from typing import Any

import fastlock

THREADS = 8


class Guarded:
    """A number that only one thread at a time may change, and the lock that makes sure of it."""

    def __init__(self, take: Any, give: Any) -> None:
        self.take, self.give = take, give
        self.inside = 0
        self.total = 0

    def visit(self, random_yield: bool) -> None:
        """Change the number; say so where somebody else is inside."""
        self.inside += 1
        before = self.total
        if random_yield:
            time.sleep(0)
        self.total = before + 1
        if self.inside != 1:
            raise AssertionError("two threads inside")
        self.inside -= 1


class Stress:
    """The locks in their order, the actions, and how often each was done."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.seed = seed
        self.end = time.monotonic() + seconds
        locks: list[Any] = [fastlock.Lock(), fastlock.RLock(), fastlock.Lock(), fastlock.RLock()]
        self.guarded = [Guarded(lock.acquire, lock.release) for lock in locks]
        self.rw = fastlock.RWLock()
        self.guarded.append(Guarded(self.rw.acquire_write, self.rw.release_write))
        self.semaphore, self.users = fastlock.BoundedSemaphore(3), []
        self.token = fastlock.Lock(signal=True)
        self.condition, self.items = fastlock.Condition(), []
        self.event = fastlock.Event()
        self.done = [0] * THREADS
        self.errors: list[str] = []

    def in_order(self, rng: random.Random) -> None:
        """Take some locks in their order, each in some way."""
        held: list[Guarded] = []
        for guarded in self.guarded:
            way = rng.randrange(6)
            if way == 0 or (way == 1 and not guarded.take(False)) or (way == 2 and not guarded.take(timeout=rng.random() / 500)):
                continue
            if way > 2:
                guarded.take()
            held.append(guarded)
            guarded.visit(rng.random() < 0.1)
        rng.shuffle(held)
        for guarded in held:
            guarded.give()

    def against_order(self, rng: random.Random) -> None:
        """Take locks in any order, but wait with a timeout: what it closes will clear."""
        first, second = rng.sample(self.guarded[:4], 2)
        if first.take(timeout=0.002):
            if second.take(timeout=rng.random() / 500):
                second.visit(True)
                second.give()
            first.visit(False)
            first.give()

    def read(self, rng: random.Random) -> None:
        """Read what writers change."""
        if self.rw.acquire_read(timeout=rng.choice([-1, 0.001, 0])):
            if self.rw.readers < 1:
                raise AssertionError("a read without a reader")
            if rng.random() < 0.1:
                time.sleep(0)
            self.rw.release_read()

    def all_at_once(self, rng: random.Random) -> None:
        """Take many at once, in any order."""
        some = rng.sample([self.guarded[i] for i in (0, 1, 2, 3)], 3)
        with fastlock.acquire_all(*(guarded.take.__self__ for guarded in some)):
            for guarded in some:
                guarded.visit(False)

    def use(self, rng: random.Random) -> None:
        """Be one of at most three."""
        if self.semaphore.acquire(timeout=rng.choice([None, 0.001])):
            self.users.append(1)
            if len(self.users) > 3:
                raise AssertionError("more users than permits")
            time.sleep(0)
            self.users.pop()
            self.semaphore.release()

    def pass_token(self, rng: random.Random) -> None:
        """Take a signal lock, or release it for somebody else."""
        if rng.random() < 0.5:
            self.token.acquire(timeout=rng.choice([0, 0.001]))
        else:
            try:
                self.token.release()
            except RuntimeError:
                pass  # nobody had it

    def produce_or_consume(self, rng: random.Random) -> None:
        """Put something on a list, or wait a little for something."""
        with self.condition, self.condition:
            if rng.random() < 0.5:
                self.items.append(1)
                self.condition.notify(rng.randrange(1, 3))
            elif self.condition.wait_for(lambda: self.items, timeout=0.001):
                self.items.pop()

    def announce(self, rng: random.Random) -> None:
        """Set, clear or await the event."""
        rng.choice([self.event.set, self.event.clear, lambda: self.event.wait(0.001)])()

    def flip(self, rng: random.Random) -> None:
        """Change the level under everybody's feet."""
        fastlock.set_level(rng.choice(["off", "detect", "order"]))

    def look(self, rng: random.Random) -> None:
        """Look at the table while all of it changes."""
        fastlock.snapshot().to_dict()
        fastlock.find_deadlocks()

    def run(self, number: int) -> None:
        """Do what the seed says until the time is over; the main thread sends signals meanwhile."""
        rng = random.Random(self.seed * 1000 + number)
        actions = [self.in_order] * 8 + [self.against_order, self.read, self.read, self.all_at_once, self.use, self.pass_token,
                   self.produce_or_consume, self.announce]  # fmt: skip
        rare = [self.flip, self.look]
        try:
            while time.monotonic() < self.end:
                (rng.choice(rare) if rng.random() < 0.01 else rng.choice(actions))(rng)
                self.done[number] += 1
        except BaseException as error:
            self.errors.append(f"thread {number}: {error!r}")
            raise


def main(seed: int, seconds: float, switch_interval: float) -> None:
    """Run the threads, and take part with a timer's and other threads' signals coming in."""
    print("seed", seed, flush=True)
    sys.setswitchinterval(switch_interval)
    stress = Stress(seed, seconds)
    interrupted = [0]

    def on_alarm(*_: object) -> None:
        interrupted[0] += 1
        stress.event.wait(0.0001)

    def on_signal(*_: object) -> None:
        stress.pass_token(random.Random(interrupted[0]))

    def send() -> None:
        while not over.acquire(timeout=0.01):
            os.kill(os.getpid(), signal.SIGUSR1)

    over = _thread.allocate_lock()
    over.acquire()
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGUSR1, on_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
    threads = [threading.Thread(target=stress.run, args=(number,)) for number in range(1, THREADS)]
    sender = threading.Thread(target=send)
    for thread in (*threads, sender):
        thread.start()
    stress.run(0)
    for thread in threads:
        thread.join()
    over.release()
    sender.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    finish(stress, interrupted[0])


def finish(stress: Stress, interrupted: int) -> None:
    """Compare what is left with what must be."""
    fastlock.set_level("order")
    assert not stress.errors, stress.errors
    table = fastlock.snapshot()
    assert not table.waits, table.waits
    held = [lock for lock in table.locks if lock.owner is not None or lock.readers]
    assert not held, held
    assert stress.semaphore._value == 3 and stress.rw.readers == 0
    for guarded in stress.guarded:
        assert guarded.inside == 0 and guarded.take(False)
        guarded.give()
    wrong = [finding for finding in fastlock.findings() if finding.tier == "proven"]
    assert not wrong, wrong[0]
    assert min(stress.done) > 0 and interrupted > 0, (stress.done, interrupted)
    print(sum(stress.done), "actions,", interrupted, "signals, ok")
