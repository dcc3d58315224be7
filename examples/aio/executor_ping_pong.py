"""Ping-pong between a loop and its executor: a job waits for a coroutine that waits for a job in the same full executor.

store() runs in a thread and asks the loop to write; the loop hands the writing to the executor, whose threads all stand in store():

    python examples/aio/executor_ping_pong.py                                hangs
    fastlock run --on-deadlock exit examples/aio/executor_ping_pong.py       names executor, jobs and tasks, ends with status 3
    fastlock run --on-deadlock raise examples/aio/executor_ping_pong.py      one job fails with a RuntimeError, ends with 0
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

WORKERS = 2

# As many jobs as threads have begun; without it the program would hang on some days only.
all_have_begun = threading.Barrier(WORKERS)
written: list[str] = []


def write(name: str) -> None:
    """Write to a slow disk, in a thread."""
    written.append(name)


async def save(name: str) -> None:
    """Save without blocking the loop."""
    await asyncio.get_running_loop().run_in_executor(None, write, name)


def store(name: str, loop: asyncio.AbstractEventLoop) -> None:
    """Work in a thread, and save in between: the bug is here, for this thread is one of those that save() needs."""
    all_have_begun.wait()
    asyncio.run_coroutine_threadsafe(save(name), loop).result()


async def serve() -> None:
    """Store two things at once."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(WORKERS, thread_name_prefix="disk"))
    jobs = [loop.run_in_executor(None, store, name, loop) for name in ("tea", "coffee")]
    for end in await asyncio.gather(*jobs, return_exceptions=True):
        if end is not None:
            print(f"a job failed with {type(end).__name__}")
    print(f"{len(written)} written")


if __name__ == "__main__":
    asyncio.run(serve())
