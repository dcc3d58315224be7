"""Tasks of one loop that wait for each other's queues, events, locks and results."""

from __future__ import annotations

import asyncio
from typing import Any

from fastlock import aio

from .programs import Pace, program


async def maybe_long(pace: Pace, chance: float = 0.2) -> None:
    """Await for no time at all, or for long."""
    await asyncio.sleep(pace.long_s() if pace.number(0, 99) < 100 * chance else 0)


@program()
def queue_of_tasks(pace: Pace) -> None:
    """A bounded queue with slow consumers, which are cancelled in the end."""

    async def main() -> None:
        jobs: asyncio.Queue[int] = asyncio.Queue(2)
        done: list[int] = []

        async def consume() -> None:
            while True:
                job = await jobs.get()
                await maybe_long(pace)
                done.append(job)
                jobs.task_done()

        consumers = [asyncio.create_task(consume()) for _ in range(3)]
        for job in range(12):
            await jobs.put(job)
        await jobs.join()
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        assert sorted(done) == list(range(12))

    asyncio.run(main())


@program()
def pipeline_of_tasks(pace: Pace) -> None:
    """Three stages with an end's mark."""

    async def main() -> None:
        queues: list[Any] = [asyncio.Queue(1) for _ in range(4)]

        async def stage(source: Any, target: Any) -> None:
            while (thing := await source.get()) is not None:
                await maybe_long(pace, 0.1)
                await target.put(thing + 1)
            await target.put(None)

        stages = [asyncio.create_task(stage(a, b)) for a, b in zip(queues, queues[1:])]

        async def feed() -> None:
            for thing in (*range(5), None):
                await queues[0].put(thing)

        feeder = asyncio.create_task(feed())
        out = []
        while (thing := await queues[-1].get()) is not None:
            out.append(thing)
        await asyncio.gather(feeder, *stages)
        assert out == [3, 4, 5, 6, 7]

    asyncio.run(main())


@program()
def events_of_tasks(pace: Pace) -> None:
    """Many tasks wait for an event which a timer of the loop sets, and for one that a task sets."""

    async def main() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().call_later(pace.long_s(), first.set)

        async def both() -> None:
            await first.wait()
            await maybe_long(pace, 0.5)
            second.set()

        await asyncio.gather(*(first.wait() for _ in range(5)), second.wait(), both())

    asyncio.run(main())


@program()
def conditions_of_tasks(pace: Pace) -> None:
    """Tasks take turns on a condition."""

    async def main() -> None:
        turn = asyncio.Condition()
        log: list[int] = []

        async def play(number: int) -> None:
            for step in range(3):
                async with turn:
                    await turn.wait_for(lambda: len(log) == 3 * step + number)
                    log.append(number)
                    turn.notify_all()
                await maybe_long(pace)

        await asyncio.gather(*(play(n) for n in range(3)))
        assert log == [0, 1, 2] * 3

    asyncio.run(main())


@program()
def semaphores_of_tasks(pace: Pace) -> None:
    """A semaphore limits how many do something at a time."""

    async def main() -> None:
        limit = asyncio.Semaphore(2)
        inside, most = [0], [0]

        async def use() -> None:
            async with limit:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                await maybe_long(pace, 0.5)
                inside[0] -= 1

        await asyncio.gather(*(use() for _ in range(8)))
        assert most[0] <= 2 and inside == [0]

    asyncio.run(main())


@program()
def locks_of_tasks(pace: Pace) -> None:
    """Two locks, always in the same order, held across awaits."""

    async def main() -> None:
        first, second = asyncio.Lock(), asyncio.Lock()
        count = [0]

        async def use() -> None:
            for _ in range(2):
                async with first:
                    await maybe_long(pace, 0.1)
                    async with second:
                        await maybe_long(pace, 0.1)
                        count[0] += 1

        await asyncio.gather(*(use() for _ in range(4)))
        assert count == [8]

    asyncio.run(main())


@program()
def read_write_lock_of_tasks(pace: Pace) -> None:
    """Readers hold it together, a writer alone."""

    async def main() -> None:
        lock = aio.RWLock()
        value = [0]

        async def read() -> None:
            for _ in range(3):
                async with lock.read():
                    before = value[0]
                    await maybe_long(pace, 0.2)
                    assert value[0] == before

        async def write() -> None:
            for _ in range(3):
                async with lock.write():
                    await maybe_long(pace, 0.2)
                    value[0] += 1

        await asyncio.gather(read(), read(), write(), read())
        assert value == [3]

    asyncio.run(main())


@program()
def waited_for_by_tasks(pace: Pace) -> None:
    """gather, wait for the first, as_completed, shield and wait_for with a limit."""

    async def main() -> None:
        async def work(number: int) -> int:
            await maybe_long(pace, 0.7)
            return number

        done, rest = await asyncio.wait([asyncio.create_task(work(n)) for n in range(3)], return_when=asyncio.FIRST_COMPLETED)
        assert done
        await asyncio.gather(*rest)
        assert sorted([await each for each in asyncio.as_completed([work(n) for n in range(4)])]) == [0, 1, 2, 3]
        inner: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(asyncio.shield(inner), pace.long_s())
        except asyncio.TimeoutError:
            asyncio.get_running_loop().call_later(pace.long_s(), inner.set_result, 9)
        assert await inner == 9

    asyncio.run(main())


@program(since=(3, 11))
def group(pace: Pace) -> None:
    """A group whose tasks wait for each other's results and for a barrier, within a limit."""

    async def main() -> None:
        barrier = asyncio.Barrier(3)

        async def work(number: int) -> int:
            await maybe_long(pace, 0.5)
            await barrier.wait()
            return number

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            first, second = tasks.create_task(work(1)), tasks.create_task(work(2))

            async def add() -> int:
                await barrier.wait()
                return await first + await second

            total = tasks.create_task(add())
        assert total.result() == 3

    asyncio.run(main())


@program()
def chain_of_tasks(pace: Pace) -> None:
    """Each task awaits the one before it."""

    async def main() -> None:
        async def follow(before: asyncio.Task[int] | None) -> int:
            if before is None:
                await asyncio.sleep(pace.long_s())
                return 0
            return await before + 1

        task = None
        for _ in range(8):
            task = asyncio.create_task(follow(task))
        assert task is not None and await task == 7

    asyncio.run(main())


@program()
def cancelled_tasks(pace: Pace) -> None:
    """Tasks that wait for what never comes are cancelled, and clean up under a lock."""

    async def main() -> None:
        never, lock = asyncio.Event(), asyncio.Lock()
        cleaned: list[int] = []

        async def wait() -> None:
            try:
                await never.wait()
            finally:
                async with lock:
                    await asyncio.sleep(0.001)
                    cleaned.append(1)

        tasks = [asyncio.create_task(wait()) for _ in range(4)]
        await asyncio.sleep(pace.long_s())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(cleaned) == 4

    asyncio.run(main())


@program()
def future_of_the_loop(pace: Pace) -> None:
    """A future that nobody but a timer of the loop completes."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        loop.call_later(pace.long_s(), future.set_result, 4)
        assert await future == 4

    asyncio.run(main())


@program()
def idle_tasks(pace: Pace) -> None:
    """Tasks sit in get() and wait() for nothing until the loop ends, and the service does other things."""

    async def main() -> None:
        never, jobs = asyncio.Event(), asyncio.Queue[int]()
        idle = [asyncio.create_task(each) for each in (never.wait(), jobs.get(), asyncio.Semaphore(0).acquire())]
        for _ in range(2):
            await asyncio.sleep(pace.long_s())
        assert not any(task.done() for task in idle)

    asyncio.run(main())


@program()
def once_for_all_tasks(pace: Pace) -> None:
    """A cache whose first asker computes, while the others await that one's future."""

    async def main() -> None:
        known: dict[str, asyncio.Future[int]] = {}
        computed: list[str] = []

        async def get(key: str) -> int:
            if key in known:
                return await known[key]
            known[key] = asyncio.get_running_loop().create_future()
            await asyncio.sleep(pace.long_s())
            computed.append(key)
            known[key].set_result(len(key))
            return len(key)

        keys = pace.shuffled(["a", "bb", "ccc"] * 3)
        assert await asyncio.gather(*map(get, keys)) == list(map(len, keys))
        assert sorted(computed) == ["a", "bb", "ccc"]

    asyncio.run(main())


@program()
def generators_of_tasks(pace: Pace) -> None:
    """Asynchronous generators, each fed by a task behind it."""

    async def prefetched(things: Any) -> Any:
        ahead: Any = asyncio.Queue(1)

        async def fetch() -> None:
            async for thing in things:
                await ahead.put(thing)
            await ahead.put(None)

        fetcher = asyncio.create_task(fetch())
        while (thing := await ahead.get()) is not None:
            yield thing
        await fetcher

    async def numbers() -> Any:
        for number in range(1, 6):
            await maybe_long(pace)
            yield number

    async def main() -> None:
        assert [thing async for thing in prefetched(prefetched(numbers()))] == [1, 2, 3, 4, 5]

    asyncio.run(main())
