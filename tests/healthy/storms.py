"""Everything at full speed: thousands of waits that last for microseconds, so that a look meets what is just about to change.

Who has been woken but has not run yet still looks like one who waits; who woke it may wait for it already.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import Any

import fastlock

from .programs import Pace, joined, program, started, together


@program()
def set_and_join(pace: Pace) -> None:
    """An event is set, and the thread that waited for it is joined at once."""
    for _ in range(150):
        event = threading.Event()
        (waiter,) = started(event.wait)
        event.set()
        waiter.join()


@program()
def put_and_join(pace: Pace) -> None:
    """The end's mark is put, and the consumer is joined at once; so is the queue."""
    for _ in range(100):
        things: Any = queue.Queue(1)

        def consume(things: Any = things) -> None:
            while things.get() is not None:
                things.task_done()

        (consumer,) = started(consume)
        things.put(1)
        things.join()
        things.put(None)
        consumer.join()


@program()
def quick_ping_pong(pace: Pace) -> None:
    """A ball goes to and fro between two queues with room for one."""
    there: Any = queue.Queue(1)
    back: Any = queue.Queue(1)

    def pong() -> None:
        while (ball := there.get()) is not None:
            back.put(ball + 1)

    (player,) = started(pong)
    ball = 0
    for _ in range(1000):
        there.put(ball)
        ball = back.get()
    there.put(None)
    player.join()
    assert ball == 1000


@program()
def quick_events(pace: Pace) -> None:
    """Two threads wake each other by two events; each is the other one's only waker."""
    ask, answer = threading.Event(), threading.Event()

    def serve() -> None:
        for _ in range(1000):
            ask.wait()
            ask.clear()
            answer.set()

    (server,) = started(serve)
    for _ in range(1000):
        ask.set()
        answer.wait()
        answer.clear()
    server.join()


@program()
def quick_semaphores(pace: Pace) -> None:
    """A token goes round between semaphores, of which each is only released by the thread before."""
    seats = [threading.Semaphore(0) for _ in range(4)]
    rounds = [0]

    def sit(number: int) -> None:
        for _ in range(200):
            seats[number].acquire()
            rounds[0] += 1
            seats[(number + 1) % 4].release()

    threads = started(*(lambda n=n: sit(n) for n in range(4)))
    seats[0].release()
    joined(threads)
    assert rounds == [800]


@program()
def quick_barrier(pace: Pace) -> None:
    """A barrier is passed hundreds of times; who made it full last time is often the first to wait again."""
    barrier = threading.Barrier(3)
    together(*[lambda: [barrier.wait() for _ in range(300)]] * 3)


@program()
def quick_turns(pace: Pace) -> None:
    """Three threads take turns on one condition, notifying all."""
    turn = threading.Condition()
    count = [0]

    def play(number: int) -> None:
        for step in range(200):
            with turn:
                turn.wait_for(lambda: count[0] == 3 * step + number)
                count[0] += 1
                turn.notify_all()

    together(*(lambda n=n: play(n) for n in range(3)))
    assert count == [600]


@program()
def quick_futures(pace: Pace) -> None:
    """A thread completes futures by hand, others wait for them, each for the next one's sake."""
    futures: list[Future[int]] = [Future() for _ in range(300)]

    def pass_on(first: int) -> None:
        for number in range(first, 299, 2):
            futures[number + 1].set_result(futures[number].result() + 1)

    threads = started(lambda: pass_on(0), lambda: pass_on(1))
    futures[0].set_result(0)
    assert futures[-1].result() == 299
    joined(threads)


@program()
def quick_pool(pace: Pace) -> None:
    """Hundreds of pieces of work, many of which submit another one and wait for it, in a pool that is just large enough."""
    with ThreadPoolExecutor(4) as pool:

        def outer(number: int) -> int:
            return pool.submit(abs, -number).result()

        with ThreadPoolExecutor(3) as callers:
            direct = list(callers.map(lambda n: pool.submit(abs, -n).result(), range(300)))
            nested = list(callers.map(outer, range(300)))
        for number in range(100):
            assert [each.result() for each in [pool.submit(outer, number) for _ in range(3)]] == [number] * 3
    assert direct == nested == list(range(300))


@program()
def quick_single_worker(pace: Pace) -> None:
    """One worker, whose work submits to it and leaves the waiting to others, which are woken in the middle of the next piece."""
    with ThreadPoolExecutor(1) as pool:

        def ask() -> None:
            for number in range(100):
                assert pool.submit(lambda n=number: pool.submit(abs, -n)).result().result() == number

        together(*[ask] * 3)


@program()
def quick_waits(pace: Pace) -> None:
    """wait() and as_completed() over small crowds, again and again."""
    with ThreadPoolExecutor(3) as pool:
        for number in range(100):
            futures = [pool.submit(abs, n) for n in range(4)]
            if number % 2:
                done, _ = wait(futures, return_when=FIRST_COMPLETED)
                assert done
            assert sum(future.result() for future in as_completed(futures)) == 6


@program()
def quick_pools(pace: Pace) -> None:
    """Pools are made, used and shut down."""
    for number in range(40):
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(abs, (-number, number))) == [number, number]


@program()
def quick_lives(pace: Pace) -> None:
    """Threads start threads and join them; numbers of threads are used again at once."""

    def live(depth: int) -> None:
        if depth:
            together(*[lambda: live(depth - 1)] * 2)

    for _ in range(10):
        live(4)


@program()
def quick_locks(pace: Pace) -> None:
    """Locks of every kind are taken in their order by threads that also wait for each other's ends."""
    locks = [threading.Lock(), threading.RLock(), threading.Semaphore(2)]
    shared = fastlock.RWLock()
    count = [0]

    def work() -> None:
        for _ in range(60):
            with locks[0], locks[1], locks[2], shared.write():
                count[0] += 1
            with shared.read():
                pass

    for _ in range(3):
        together(*[work] * 4)
    assert count == [720]


@program()
def quick_loop(pace: Pace) -> None:
    """A loop's tasks and the threads of its executor wait for each other's results, one right after the other."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def answer(number: int) -> int:
            await asyncio.sleep(0)
            return number

        def work(number: int) -> int:
            return asyncio.run_coroutine_threadsafe(answer(number), loop).result() + 1

        async def ask() -> None:
            for number in range(50):
                assert await loop.run_in_executor(None, work, number) == number + 1

        await asyncio.gather(*(ask() for _ in range(3)))

    asyncio.run(main())


@program()
def quick_tasks(pace: Pace) -> None:
    """Tasks pass a token by locks, events, conditions and queues of the loop."""

    async def main() -> None:
        lock, condition, things, count = asyncio.Lock(), asyncio.Condition(), asyncio.Queue[int](1), [0]

        async def produce() -> None:
            for number in range(200):
                async with lock:
                    await things.put(number)

        async def consume() -> None:
            for _ in range(200):
                await things.get()
                async with condition:
                    count[0] += 1
                    condition.notify_all()

        async def watch() -> None:
            async with condition:
                await condition.wait_for(lambda: count[0] == 400)

        await asyncio.gather(produce(), produce(), consume(), consume(), watch())

    asyncio.run(main())
