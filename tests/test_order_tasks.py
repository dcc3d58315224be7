"""Lock order among tasks: what a task holds is its own, asyncio's locks and threading's alike, and one step of it is atomic.

A line names the locks that are taken under each other: capital letters are synchronous locks, small ones asyncio's; a dot is a
suspension. Nothing here ever blocks: the tasks run one after the other.
"""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from support import ask

STAGE = """
import asyncio, fastlock.aio
from fastlock import watchdog
fastlock.set_level("order")
locks = {}
def lock_of(name):
    if name not in locks:
        locks[name] = fastlock.Lock(name=name) if name.isupper() else fastlock.aio.Lock(name=name)
    return locks[name]
async def take(steps):
    if not steps:
        return
    step, *rest = steps
    if step == ".":
        await asyncio.sleep(0)
        await take(rest)
    elif step.isupper():
        with lock_of(step):
            await take(rest)
    else:
        async with lock_of(step):
            await take(rest)
async def each(*lines):
    for number, line in enumerate(lines):
        await asyncio.create_task(take(line.split()), name=f"task{number}")
def inversions():
    watchdog.flush(90)
    return [finding for finding in fastlock.findings() if finding.code == "FL010"]
def told():
    return [[finding.tier for finding in inversions()], {name: n for name, n in fastlock.order_graph().filtered.items() if n}]
asyncio.run(each("L"))                  # asyncio and the stage itself are warm
"""


def stage(source: str, **options: Any) -> Any:
    """Run a program with the stage above; it ends with tell()."""
    return ask(STAGE + textwrap.dedent(source), **options)


CIRCLES = {
    "asyncio's": ("a b", "b a"),
    "threading's, suspended under them": ("A . B", "B . A"),
    "threading's, one task suspended": ("A B", "B . A"),
    "asyncio's under threading's": ("A b", "b A"),
    "suspended in the middle": ("a . B", "B . a"),
    "three": ("a B", "B . C", "C a"),
    "after a hundred others": (*["a B"] * 100, "B a"),
}


@pytest.mark.parametrize("name", CIRCLES)
def test_two_tasks_with_two_orders(name: str) -> None:
    """Tasks of one thread are different agents: two orders are an inversion, whichever kind of lock it is."""
    assert stage(f"asyncio.run(each(*{CIRCLES[name]!r}))\ntell(told())") == [["high"], {}]


FILTERED = {
    "one task": ("async def both():\n    await take('a . b'.split()); await take('b . a'.split())\n"
                 "asyncio.run(both())", {"agents": 1}),
    "one task, threading's": ("async def both():\n    await take('A . B'.split()); await take('B . A'.split())\nasyncio.run(both())",
                              {"agents": 1}),
    "one task, one order in one step": ("async def both():\n    await take('A B'.split()); await take('B . A'.split())\nasyncio.run(both())",
                                        {"agents": 1}),
    "one step each": ("asyncio.run(each('A B', 'B A'))", {"agents": 1}),
    "one step, and the thread itself": ("with lock_of('A'):\n    with lock_of('B'): pass\nasyncio.run(each('B A'))", {"agents": 1}),
    "a suspended task, and the thread before it": ("with lock_of('A'):\n    with lock_of('B'): pass\nasyncio.run(each('B . A'))", {"agents": 1}),
    "suspended tasks, and the thread after them": ("asyncio.run(each(*['B . A'] * 9))\nwith lock_of('A'):\n    with lock_of('B'): pass", {"agents": 1}),
    "a gate of threading's": ("asyncio.run(each('G . A . B', 'G . B . A'))", {"gate": 1}),
    "a gate of asyncio's": ("asyncio.run(each('g . A . b', 'g . b . A'))", {"gate": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERED)
def test_what_cannot_happen_is_only_counted(name: str) -> None:
    """One task, one thread's steps, and a common gate keep two orders apart: silence, and the filter's name."""
    source, filters = FILTERED[name]
    assert stage(source + "\ntell(told())") == [[], filters]


REOPENED = {
    "another task": ("async def both():\n    await take('A . B'.split()); await take('B . A'.split())\nasyncio.run(both())", "asyncio.run(each('B . A'))"),
    "a suspension": ("asyncio.run(each('A B', 'B A'))", "asyncio.run(each('B . A'))"),
    "another loop": ("asyncio.run(each('A B', 'B A'))", "start(asyncio.run, each('A B')).join()"),
    "a plain thread": ("asyncio.run(each('A B', 'B A'))", "def plain():\n    with lock_of('A'):\n        with lock_of('B'): pass\nstart(plain).join()"),
}  # fmt: skip


@pytest.mark.parametrize("name", REOPENED)
def test_what_breaks_the_filter(name: str) -> None:
    """The witness that was missing opens the circle again."""
    before, after = REOPENED[name]
    assert stage(f"{before}\nbefore = told()\n{after}\ntell([before, told()])") == [[[], {"agents": 1}], [["high"], {}]]


def test_many_tasks_do_not_stand_for_a_thread() -> None:
    """However many tasks of a thread have shown an order, it stays news from another thread, which the thread's own code can meet."""
    told = stage(
        """
        go = threading.Event()
        def plain():
            go.wait()
            with lock_of('B'):
                with lock_of('A'): pass
        thread = start(plain)
        with lock_of('A'):
            with lock_of('B'): pass
        asyncio.run(each(*['B . A'] * 40))
        before = told()
        go.set()
        thread.join()
        tell([before, told()])
        """
    )
    assert told == [[[], {"agents": 1}], [["high"], {}]]


def test_a_task_of_another_thread_takes_no_turns_with_this_one() -> None:
    """A thread's own code and a task of another thread's loop can meet, and that is told."""
    told = stage(
        """
        go = threading.Event()
        def elsewhere():
            go.wait()
            asyncio.run(each('B . A'))
        thread = start(elsewhere)
        with lock_of('A'):
            with lock_of('B'): pass
        go.set()
        thread.join()
        tell(told())
        """
    )
    assert told == [["high"], {}]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_each_time_of_a_known_pair_counts(kind: str) -> None:
    """Nested in one step, again and again at the same lines: every time is counted, and nothing is left on the task's stack."""
    told = stage(
        f"""
        a, b, c = [fastlock.{kind}(name=name) for name in "abc"]
        async def main():
            for _ in range(100):
                with a:
                    with b: pass
            for _ in range(50):
                with a:
                    with b:
                        with c: pass
            with c: pass
            with b: pass
        asyncio.run(main())
        tell([sorted([edge.first, edge.then, edge.count] for edge in fastlock.order_graph().edges()), inversions()])
        """
    )
    assert told == [[["a", "b", 150], ["b", "c", 50]], []]


def test_levels_change_between_an_acquire_and_its_release() -> None:
    """What was taken at one level is let go at another, in a loop's thread too: no stack keeps it."""
    told = stage(
        """
        async def main():
            for number in range(40):
                with lock_of('A'):
                    fastlock.set_level(("off", "detect", "order")[number % 3])
                    with lock_of('B'):
                        fastlock.set_level(("order", "off", "detect", "order")[number % 4])
                if number % 5 == 0:
                    await asyncio.sleep(0)
            fastlock.set_level("order")
            with lock_of('B'): pass
            with lock_of('A'): pass
        asyncio.run(main())
        tell([told(), [lock_of(name).locked() for name in "AB"], {(e.first, e.then) for e in fastlock.order_graph().edges()} <= {("A", "B")}])
        """
    )
    assert told == [[[], {}], [False, False], True]


def test_who_is_told() -> None:
    """The finding's agents are the two tasks, one of which has ended, and its lines those of both kinds of lock."""
    finding = stage("asyncio.run(each('a . B', 'B . a'))\ntell(inversions()[0].to_dict())")
    assert [(agent["kind"], agent["name"]) for agent in finding["agents"]] == [("task", "task1"), ("task", "task0")]
    assert {lock["name"] for lock in finding["locks"]} == {"a", "B"}


def test_raising_leaves_the_lock_free() -> None:
    """LockOrderError comes out of the acquire inside the task; nothing is taken, and the loop goes on."""
    assert stage(
        """
        fastlock.configure(on_inversion="raise")
        async def main():
            await each("A . B")
            for _ in range(2):
                try:
                    await asyncio.create_task(take("B . A".split()))
                except fastlock.LockOrderError as error:
                    refused = type(error).__name__
            await each("A . B")
            tell([refused, [lock.locked() for lock in locks.values()]])
        asyncio.run(main())
        """
    ) == ["LockOrderError", [False, False, False]]


def test_a_lock_that_another_task_released_is_not_held() -> None:
    """The first task's entry is stale though the lock's word names the same thread again: no order comes from it."""
    assert stage(
        """
        A, B = lock_of("A"), lock_of("B")
        async def first(turn):
            A.acquire()
            await turn.wait()
            with B: pass                    # holds nothing any more
        async def main():
            turn = asyncio.Event()
            task = asyncio.create_task(first(turn))
            await asyncio.sleep(0)
            A.release()
            A.acquire()                     # now this task's
            turn.set()
            await task
            A.release()
            await each("B . A")
            tell([told()[0], sorted([edge.first, edge.then] for edge in fastlock.order_graph().edges() if edge.first in "AB")])
        asyncio.run(main())
        """
    ) == [[], [["B", "A"]]]


@pytest.mark.parametrize("other", ["detect", "off"])
def test_levels_change_while_locks_are_held(other: str) -> None:
    """Taken on one level and released on another, by tasks: no order is made up, and the stacks are empty after."""
    assert stage(
        f"""
        A, B, C = map(lock_of, "ABC")
        async def down():
            A.acquire(); B.acquire()
            fastlock.set_level("{other}")
            await asyncio.sleep(0)
            A.release(); B.release()
            fastlock.set_level("order")
            with C: pass
        async def up():
            fastlock.set_level("{other}")
            A.acquire()
            fastlock.set_level("order")
            await asyncio.sleep(0)
            with B:
                A.release()
            with C: pass
        async def main():
            await asyncio.create_task(down())
            await asyncio.create_task(up())
            tell([told(), sorted([edge.first, edge.then] for edge in fastlock.order_graph().edges()),
                  [lock.locked() for lock in (A, B, C)]])
        asyncio.run(main())
        """
    ) == [[[], {}], [["A", "B"]], [False, False, False]]


def test_ranks_count_across_both_kinds() -> None:
    """A task that holds asyncio's lock of a higher rank wants a synchronous one of a lower: FL011."""
    assert stage(
        """
        high, low = fastlock.aio.Lock(rank=2, name="high"), fastlock.Lock(rank=1, name="low")
        async def main():
            async with high:
                with low: pass
        asyncio.run(main())
        watchdog.flush(90)
        tell([[f.code, [lock.name for lock in f.locks]] for f in fastlock.findings()])
        """
    ) == [["FL011", ["high", "low"]]]


def test_nested_sanctions_in_a_task_too() -> None:
    """Locks of one class under a parent's: nested() is heard where the stack is the task's."""
    assert stage(
        """
        parent, one, two = fastlock.Lock(name="parent"), *[fastlock.Lock(lock_class="child") for _ in range(2)]
        async def main():
            for first, second in ((one, two), (two, one)):
                async def take_both():
                    with parent:
                        with fastlock.nested(first, under=parent):
                            await asyncio.sleep(0)
                            with fastlock.nested(second, under=parent): pass
                await asyncio.create_task(take_both())
        asyncio.run(main())
        tell(told()[0])
        """
    ) == []


def test_conditions_rlocks_and_shares() -> None:
    """What is taken by a condition, re-entrantly or shared is on the task's stack as well, and leaves it."""
    assert stage(
        """
        import itertools
        guards = {
            "rlock": fastlock.RLock(name="rlock"), "condition": fastlock.Condition(fastlock.Lock(name="condition")),
            "read": None, "write": None,
        }
        rw = fastlock.RWLock(name="rw")
        guards["read"], guards["write"] = rw.read(), rw.write()
        inner = fastlock.Lock(name="inner")
        async def main():
            for name, guard in guards.items():
                async def under():
                    with guard:
                        await asyncio.sleep(0)
                        if name == "rlock":
                            with guard: pass
                        with inner: pass
                    with lock_of("Z"): pass
                await asyncio.create_task(under())
            tell([told()[0], sorted([edge.first, edge.then] for edge in fastlock.order_graph().edges())])
        asyncio.run(main())
        """
    ) == [[], [["condition", "inner"], ["rlock", "inner"], ["rw", "inner"]]]


def test_records_go_with_their_tasks() -> None:
    """Ten thousand tasks that took locks inside others leave no agents behind, and one order."""
    agents, edges = stage(
        """
        async def main():
            for _ in range(100):
                await asyncio.gather(*[asyncio.create_task(take(["A", "B"])) for _ in range(100)])
        asyncio.run(main())
        tell([len([agent for agent in fastlock.snapshot().agents if agent.kind == "task"]),
              [[edge.first, edge.then, edge.count] for edge in fastlock.order_graph().edges()]])
        """
    )
    assert agents == 0
    assert edges == [["A", "B", 10_000]]
