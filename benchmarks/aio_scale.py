"""Scale: 100,000 tasks that wait on 1,000 locks, and what finding a circle among them costs.

    python benchmarks/aio_scale.py [--tasks 100000] [--locks 1000]

Prints the resident memory of a waiting task beyond asyncio's own, what a snapshot takes, how long closing a circle of two takes beside so
many waiters and without them, and what is left of it all when the tasks have ended.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import statistics
import time
from typing import Any

import fastlock
import fastlock.aio


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def wait_for_lock(lock: Any) -> None:
    async with lock:
        pass


async def crowd(module: Any, tasks: int, locks: int) -> tuple[float, list[Any], list[asyncio.Task[None]]]:
    """Return bytes a waiting task, the held locks, and the tasks."""
    held = [module.Lock() for _ in range(locks)]
    for lock in held:
        await lock.acquire()
    gc.collect()
    before = resident()
    waiting = [asyncio.create_task(wait_for_lock(held[number % locks])) for number in range(tasks)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return (resident() - before) / tasks, held, waiting


async def release(held: list[Any], waiting: list[asyncio.Task[None]]) -> None:
    for lock in held:
        lock.release()
    await asyncio.gather(*waiting)


async def closing(times: int) -> float:
    """Return microseconds from the acquire that closes a circle of two to the DeadlockError, the median."""
    taken = []
    for _ in range(times):
        a, b = fastlock.aio.Lock(on_deadlock="raise"), fastlock.aio.Lock(on_deadlock="raise")
        await a.acquire()

        async def other(a: Any = a, b: Any = b) -> None:
            async with b:
                async with a:
                    pass

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        start = time.perf_counter()
        try:
            await b.acquire()
        except RuntimeError:
            taken.append(time.perf_counter() - start)
        a.release()
        await task
    return statistics.median(taken) * 1e6


async def measure(tasks: int, locks: int) -> None:
    fastlock.on_finding(lambda finding: None)
    print(f"circle of two closed, nobody else waits   {await closing(20):10.0f} us")
    theirs, held, waiting = await crowd(asyncio, tasks, locks)
    await release(held, waiting)
    del held, waiting
    ours, held, waiting = await crowd(fastlock.aio, tasks, locks)
    print(f"bytes a waiting task: asyncio {theirs:.0f}, fastlock {ours:.0f}")
    print(f"circle of two closed beside {tasks:,} waiters {await closing(20):7.0f} us")
    start = time.perf_counter()
    agents = len(fastlock.snapshot().agents)
    print(f"snapshot of {agents:,} agents                 {(time.perf_counter() - start) * 1e3:10.0f} ms")
    start = time.perf_counter()
    await release(held, waiting)
    print(f"all released and ended                    {(time.perf_counter() - start) * 1e3:10.0f} ms")
    del held, waiting
    gc.collect()
    left = [agent for agent in fastlock.snapshot().agents if agent.kind == "task"]
    print(f"agents of tasks left: {len(left)}, locks left: {len(fastlock.snapshot().locks)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--locks", type=int, default=1_000)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, level {fastlock.level()}")
    asyncio.run(measure(arguments.tasks, arguments.locks))


if __name__ == "__main__":
    main()
