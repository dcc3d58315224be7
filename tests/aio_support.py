"""For the tests of fastlock.aio: letting tasks run until nothing happens any more, and what the table says of tasks."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fastlock


async def settle(steps: int = 12) -> None:
    """Let every task run as far as it can without a timer."""
    for _ in range(steps):
        await asyncio.sleep(0)


async def started(coroutine: Any, name: str | None = None) -> asyncio.Task[Any]:
    """Return a task of the coroutine that has run as far as it can."""
    task = asyncio.ensure_future(coroutine)
    if name is not None:
        task.set_name(name)
    await settle()
    return task


async def cancelled(task: asyncio.Task[Any]) -> bool:
    """Cancel a task and return whether it ended by that."""
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


def tasks_in_table() -> list[str]:
    """The names of the tasks that the ownership table has records of."""
    gc.collect()
    return sorted(agent.name for agent in fastlock.snapshot().agents if agent.kind == "task")


def waits_of(name: str) -> list[str]:
    """What the task of this name waits for, as the table has it."""
    table = fastlock.snapshot()
    agents = {agent.id: agent.name for agent in table.agents if agent.kind == "task"}
    return [wait.what for wait in table.waits if agents.get(wait.agent) == name]


def holders_of(lock_name: str) -> list[str]:
    """The names of the tasks that hold the lock of this name, alone or together."""
    table = fastlock.snapshot()
    ids = {lock.id for lock in table.locks if lock.name == lock_name}
    return sorted(agent.name for agent in table.agents if ids & set(agent.holds))


def findings_now() -> list[str]:
    """The codes and tiers of the circles that there are at this moment."""
    return sorted(f"{finding.code} {finding.tier}" for finding in fastlock.find_deadlocks())


@contextmanager
def nothing_left() -> Iterator[None]:
    """What is inside leaves no record of a task, no wait, and no finding."""
    before = len(list(fastlock.findings()))
    yield
    assert tasks_in_table() == []
    assert fastlock.snapshot().waits == ()
    assert len(list(fastlock.findings())) == before
