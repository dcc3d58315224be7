"""executor_ping_pong.py without the starvation: what a job waits for is done in another executor.

    fastlock run --on-deadlock exit examples/aio/executor_ping_pong_fixed.py    ends with status 0 and no report
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

WORKERS = 2

all_have_begun = threading.Barrier(WORKERS)
written: list[str] = []
disk = ThreadPoolExecutor(WORKERS, thread_name_prefix="disk")  # its jobs wait for nothing


def write(name: str) -> None:
    """Write to a slow disk, in a thread."""
    written.append(name)


async def save(name: str) -> None:
    """Save without blocking the loop."""
    await asyncio.get_running_loop().run_in_executor(disk, write, name)


def store(name: str, loop: asyncio.AbstractEventLoop) -> None:
    """Work in a thread, and save in between."""
    all_have_begun.wait()
    asyncio.run_coroutine_threadsafe(save(name), loop).result()


async def serve() -> None:
    """Store two things at once."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(WORKERS))
    await asyncio.gather(*(loop.run_in_executor(None, store, name, loop) for name in ("tea", "coffee")))
    disk.shutdown()
    print(f"{len(written)} written")


if __name__ == "__main__":
    asyncio.run(serve())
