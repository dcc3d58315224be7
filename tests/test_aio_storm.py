"""Cancellation storms: tasks are cancelled, time out, and have their loop closed at every step, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastlock
from aio_support import nothing_left
from fastlock import aio

NAMES = ("lock", "rlock", "semaphore", "read", "write", "upgradable", "condition")  # taken in this order only, so no circle is real
SIDES = (3, 4, 5)
PLANS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, len(NAMES) - 1), st.booleans()), min_size=1, max_size=4),
        st.integers(0, 2),
    ),
    min_size=2,
    max_size=7,
)
EVENTS = st.lists(st.one_of(st.just(("step", 0)), st.tuples(st.sampled_from(["cancel", "pass"]), st.integers(0, 6))), max_size=30)


class Loop(asyncio.SelectorEventLoop):  # type: ignore[misc,valid-type]
    """A loop whose clock stands still unless it is told."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def step(self) -> None:
        """Run what is ready, once."""
        self.call_soon(self.stop)
        self.run_forever()


class World:
    """The locks, and who is inside of them: more than may be is an error at that moment."""

    def __init__(self) -> None:
        self.rw = aio.RWLock()
        self.condition = aio.Condition()
        self.guards = {
            "lock": aio.Lock(),
            "rlock": aio.RLock(),
            "semaphore": aio.Semaphore(2),
            "read": self.rw.read(),
            "write": self.rw.write(),
            "upgradable": self.rw.upgradable(),
            "condition": self.condition,
        }
        self.inside = dict.fromkeys(NAMES, 0)

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        self.inside[name] += 1
        try:
            inside = self.inside
            assert inside["lock"] <= 1 and inside["rlock"] <= 1 and inside["semaphore"] <= 2 and inside["condition"] <= 1
            assert inside["upgradable"] <= 1 and inside["write"] <= (not inside["read"] + inside["upgradable"])
            yield
        finally:
            self.inside[name] -= 1

    @contextmanager
    def outside(self, name: str) -> Iterator[None]:
        self.inside[name] -= 1
        try:
            yield
        finally:
            self.inside[name] += 1

    async def hold(self, plan: list[tuple[str, bool]], naps: int) -> None:
        """Take what the plan says, one inside the other, and nap within."""
        if not plan:
            for _ in range(naps):
                await asyncio.sleep(0)
            return
        (name, timed), rest = plan[0], plan[1:]
        guard = self.guards[name]
        if not timed:
            async with guard:
                await self.within(name, timed, rest, naps)
            return
        try:
            await asyncio.wait_for(guard.acquire(), 1)
        except asyncio.TimeoutError:
            return
        try:
            await self.within(name, timed, rest, naps)
        finally:
            guard.release()

    async def within(self, name: str, timed: bool, rest: list[tuple[str, bool]], naps: int) -> None:
        with self.counted(name):
            if name == "condition":
                with self.outside(name):
                    await self.notification(timed)
            if name == "upgradable":
                await self.upgrade(timed)
            if name == "rlock":
                async with self.guards["rlock"]:
                    await asyncio.sleep(0)
            await self.hold(rest, naps)

    async def upgrade(self, timed: bool) -> None:
        guard = self.guards["write"]
        try:
            await (asyncio.wait_for(guard.acquire(), 1) if timed else guard.acquire())
        except asyncio.TimeoutError:
            return
        try:
            with self.outside("upgradable"), self.counted("write"):
                await asyncio.sleep(0)
        finally:
            guard.release()

    async def notification(self, timed: bool) -> None:
        # Up to 3.11 wait_for() leaves its own task behind when it is cancelled while it times out: with asyncio's Condition as well.
        timed = timed and sys.version_info >= (3, 12)
        try:
            await (asyncio.wait_for(self.condition.wait(), 1) if timed else self.condition.wait())
        except asyncio.TimeoutError:
            pass

    async def notify(self) -> None:
        async with self.condition:
            self.condition.notify()

    def is_free(self) -> bool:
        locks = (*(self.guards[name] for name in ("lock", "rlock", "semaphore")), self.rw, self.condition)
        queues = [lock._waiters for lock in locks]
        return not any(lock.locked() for lock in locks) and self.guards["semaphore"]._value == 2 and not any(queues)


def plan_of(wanted: list[tuple[int, bool]]) -> list[tuple[str, bool]]:
    """Each lock once, in the one order, and one side of the RWLock."""
    chosen = dict(sorted(wanted))
    for number in [number for number in SIDES if number in chosen][1:]:
        del chosen[number]
    return [(NAMES[number], timed) for number, timed in chosen.items()]


def play(loop: Loop, tasks: list[asyncio.Task[None]], events: list[tuple[str, int]]) -> None:
    for what, number in events:
        if what == "cancel":
            tasks[number % len(tasks)].cancel()
        elif what == "pass":
            loop.now += 0.4
        loop.step()


def drain(loop: Loop, world: World, tasks: list[asyncio.Task[None]]) -> None:
    """Run and notify until all tasks are done: with a lost wakeup they never are."""
    for _ in range(60 * len(tasks)):
        if all(task.done() for task in tasks):
            break
        notifier = loop.create_task(world.notify())
        for _ in range(12):
            loop.step()
        if not notifier.done():
            notifier.cancel()
        loop.now += 0.1
    loop.step()
    loop.step()
    stuck = [task for task in tasks if not task.done()]
    for task in stuck:
        task.cancel()
    loop.step()
    assert stuck == []
    for task in tasks:
        assert task.cancelled() or task.exception() is None, task.exception()


@pytest.mark.parametrize("level", ["detect", "order"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans=PLANS, events=EVENTS)
def test_storm(level: str, plans: list[Any], events: list[tuple[str, int]]) -> None:
    """Whoever is left gets its locks, all are free at the end, and the table has no record of a task."""
    with fastlock.at_level(level), nothing_left():
        storm(plans, events)


def storm(plans: list[Any], events: list[tuple[str, int]]) -> None:
    loop, world = Loop(), World()
    asyncio.set_event_loop(loop)
    try:
        tasks = [loop.create_task(world.hold(plan_of(wanted), naps)) for wanted, naps in plans]
        play(loop, tasks, events)
        drain(loop, world, tasks)
        assert world.is_free() and set(world.inside.values()) == {0}
    finally:
        asyncio.set_event_loop(None)
        loop.close()


# Of tasks that have had no step: ours, and up to 3.11 those that wait_for() makes of what it is given.
@pytest.mark.filterwarnings(r"ignore:coroutine '(World\.hold|\w+\.acquire\w*)' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("level", ["detect", "order"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans=PLANS, events=EVENTS)
def test_storm_and_the_loop_is_closed(level: str, plans: list[Any], events: list[tuple[str, int]]) -> None:
    """With tasks pending the loop is closed and all is dropped: nothing is left, and what complains is a condition's wait.

    Its lock may be another such task's, and then it cannot come back an owner; asyncio's own complains there as well.
    """
    complaints: list[str] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: complaints.append(repr(unraisable.exc_value))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        with fastlock.at_level(level), nothing_left():
            abandon(plans, events)
            for _ in range(5):          # what the collector closes lives on until it comes again
                gc.collect()
        # The last one where the collector comes by in the middle of a coroutine's end, which is rare.
        known = ("Lock is not acquired.", "coroutine ignored GeneratorExit", "no running event loop", "Event loop is closed", "coroutine already executing")
        assert [text for text in complaints if not any(part in text for part in known)] == []
    finally:
        sys.unraisablehook = hook
        logging.getLogger("asyncio").setLevel(logging.NOTSET)


def abandon(plans: list[Any], events: list[tuple[str, int]]) -> None:
    loop, world = Loop(), World()
    tasks = [loop.create_task(world.hold(plan_of(wanted), naps)) for wanted, naps in plans]
    play(loop, tasks, events)
    loop.close()
