"""Steps that event loops take: a loop of its own in the thread that comes by, its tasks, and threads that work for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .maker import Maker, Step, together

Work = Callable[[int], Coroutine[Any, Any, None]]


def loop(maker: Maker) -> Step:
    """Tasks that meet in one of the usual ways, each with its part done by a thread or in the loop's own."""
    way = maker.rng.choice(list(WAYS))
    parts = maker.parts(maker.number(2, 4))
    places = [maker.rng.choice(["executor", "to_thread", "here"]) for _ in parts]
    pause_s = maker.pace().long_s() / 20

    async def work(number: int) -> None:
        if places[number] == "executor":
            await asyncio.get_running_loop().run_in_executor(None, parts[number])
        elif places[number] == "to_thread":
            await asyncio.to_thread(parts[number])
        else:
            parts[number]()
        await asyncio.sleep(pause_s)

    # Who comes by may be the thread of another loop.
    return Step(f"loop, {way}", lambda: together([lambda: asyncio.run(WAYS[way](work, len(parts)))], "loop"), parts)


async def _gathered(work: Work, count: int) -> None:
    await asyncio.gather(*(work(number) for number in range(count)))


async def _queued(work: Work, count: int) -> None:
    numbers: asyncio.Queue[int] = asyncio.Queue(1)

    async def worker() -> None:
        while (number := await numbers.get()) < count:
            await work(number)
            numbers.task_done()

    tasks = [asyncio.create_task(worker()) for _ in range(2)]
    for number in range(count):
        await numbers.put(number)
    await numbers.join()
    for _ in tasks:
        await numbers.put(count)
    await asyncio.gather(*tasks)


async def _locked(work: Work, count: int) -> None:
    lock, permits = asyncio.Lock(), asyncio.Semaphore(2)

    async def member(number: int) -> None:
        async with permits, lock:
            await work(number)

    await asyncio.gather(*(member(number) for number in range(count)))


async def _in_turns(work: Work, count: int) -> None:
    condition, turn = asyncio.Condition(), [0]

    async def member(number: int) -> None:
        async with condition:
            await condition.wait_for(lambda: turn[0] == number)
        await work(number)
        async with condition:
            turn[0] += 1
            condition.notify_all()

    await asyncio.gather(*(member(number) for number in range(count)))


async def _promised(work: Work, count: int) -> None:
    ready, promise = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def member(number: int) -> None:
        if number == 0:
            await work(number)
            ready.set()
            promise.set_result(1)
            return
        await ready.wait()
        await work(number)
        await promise

    await asyncio.wait([asyncio.create_task(member(number)) for number in range(count)])


async def _limited(work: Work, count: int) -> None:
    done = asyncio.Event()

    async def all_of_it() -> None:
        for number in range(count):
            await work(number)
        done.set()

    task = asyncio.create_task(all_of_it())
    try:
        await asyncio.wait_for(done.wait(), 0.002)
    except asyncio.TimeoutError:
        await done.wait()
    await task


WAYS: dict[str, Callable[[Work, int], Coroutine[Any, Any, None]]] = {
    "gathered": _gathered,
    "queued": _queued,
    "locked": _locked,
    "in turns": _in_turns,
    "promised": _promised,
    "limited": _limited,
}
KINDS = ((4, loop),)
