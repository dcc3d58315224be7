"""Unfinished queue, in tasks: a worker ends between get() and task_done(), and join() waits for the rest for ever.

The loop is healthy, and idle: nothing is on any stack, and asyncio will say that the worker failed only when nobody refers to its task any more.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/aio/unfinished_queue.py    names the queue and the worker, ends with status 3
    fastlock run examples/aio/unfinished_queue.py --fixed                                    every item is done, ends with 0
"""

from __future__ import annotations

import asyncio
import sys

NAMES = ["ada", "grace", "edsger", "", "barbara", "donald"]


async def send(name: str) -> None:
    """Send a mail; there is none for nobody."""
    if not name:
        raise ValueError("no name")
    await asyncio.sleep(0)


async def work(mails: asyncio.Queue[str]) -> None:
    """Send mails; what send() raises ends the task."""
    while True:
        name = await mails.get()
        await send(name)
        mails.task_done()


async def work_fixed(mails: asyncio.Queue[str]) -> None:
    """Send mails, and say of each that it is done, however that went."""
    while True:
        name = await mails.get()
        try:
            await send(name)
        except ValueError as error:
            print(f"not sent: {error}")
        finally:
            mails.task_done()


async def main() -> None:
    """Queue all mails and wait until they are sent."""
    mails: asyncio.Queue[str] = asyncio.Queue()
    for name in NAMES:
        mails.put_nowait(name)
    worker = asyncio.create_task((work_fixed if "--fixed" in sys.argv else work)(mails), name="sender")
    await mails.join()
    print(f"{len(NAMES)} mails dealt with")
    worker.cancel()


if __name__ == "__main__":
    asyncio.run(main())
