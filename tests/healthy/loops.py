"""Event loops that have nothing to run for a while, and are given something by what they wait for: sockets, pipes, processes, timers, signals, other threads."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from typing import Any

from .programs import Pace, joined, program, started


@program()
def idle_server(pace: Pace) -> None:
    """A server that nobody calls for long, in a loop of its own thread; then somebody does."""
    ports: list[int] = []
    listening = threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def serve() -> None:
        over = asyncio.Event()

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answer(reader, writer)
            over.set()

        server = await asyncio.start_server(once, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        listening.set()
        await over.wait()
        server.close()

    async def call() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        writer.close()

    (server,) = started(lambda: asyncio.run(serve()))
    listening.wait()
    pace.long()
    asyncio.run(call())
    joined([server])


@program()
def given_by_another_thread(pace: Pace) -> None:
    """A task waits for a future, another for a queue; a thread that takes its time brings both, through the loop's own door."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        jobs: asyncio.Queue[int] = asyncio.Queue()

        def bring() -> None:
            pace.long()
            loop.call_soon_threadsafe(future.set_result, 1)
            pace.long()
            loop.call_soon_threadsafe(jobs.put_nowait, 2)

        threads = started(bring)
        assert await future + await jobs.get() == 3
        joined(threads)

    asyncio.run(main())


@program()
def long_jobs_of_an_executor(pace: Pace) -> None:
    """Nothing is in the loop but what its threads are to bring."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(None, pace.long) for _ in range(3)]
        await asyncio.gather(*calls)
        await asyncio.to_thread(pace.long)

    asyncio.run(main())


@program()
def pipe_in_a_loop(pace: Pace) -> None:
    """A reader of the loop's, whose writer is slow."""

    async def main() -> None:
        loop, reading, writing = asyncio.get_running_loop(), *os.pipe()
        came = asyncio.Event()
        loop.add_reader(reading, came.set)
        threads = started(pace.late(os.write, writing, b"x"))
        await came.wait()
        loop.remove_reader(reading)
        joined(threads)
        os.close(reading)
        os.close(writing)

    asyncio.run(main())


@program(alone=True)
def process_of_a_loop(pace: Pace) -> None:
    """A process whose output is awaited, and its end."""

    async def main() -> None:
        code = f"import time; time.sleep({pace.long_s()}); print('over')"
        process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert (out, process.returncode) == (b"over\n", 0)

    asyncio.run(main())


@program(alone=True)
def signals_of_a_loop(pace: Pace) -> None:
    """An event that a handler of the loop's sets, when the process is sent a signal by another thread or process."""

    async def main() -> None:
        loop, reload = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, reload.set)
        threads = started(pace.late(os.kill, os.getpid(), signal.SIGUSR1))
        await reload.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        joined(threads)

    asyncio.run(main())


@program()
def timers_that_come_and_go(pace: Pace) -> None:
    """Timers are cancelled and made anew; workers are idle meanwhile."""

    async def main() -> None:
        loop, jobs = asyncio.get_running_loop(), asyncio.Queue[int]()
        done: list[int] = []

        async def work() -> None:
            while True:
                done.append(await jobs.get())

        workers = [asyncio.create_task(work()) for _ in range(3)]
        for number in range(4):
            loop.call_later(60, jobs.put_nowait, 100).cancel()
            loop.call_later(pace.long_s() / 2, jobs.put_nowait, number)
            while len(done) <= number:
                await asyncio.sleep(pace.long_s() / 4)
        for worker in workers:
            worker.cancel()
        assert done == list(range(4))

    asyncio.run(main())


@program()
def loop_that_waits_to_be_used(pace: Pace) -> None:
    """A loop in a thread of its own without any task, as libraries keep one; now and then the main thread gives it a coroutine."""
    loop = asyncio.new_event_loop()

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    threads = started(loop.run_forever)
    for number in range(3):
        pace.long()
        assert asyncio.run_coroutine_threadsafe(double(number), loop).result() == 2 * number
    loop.call_soon_threadsafe(loop.stop)
    joined(threads)
    loop.close()


@program()
def two_loops_that_talk(pace: Pace) -> None:
    """Two loops that have nothing but each other: each awaits what a job of the other's brings."""

    def bring(loop: Any, future: Any) -> None:
        loop.call_soon_threadsafe(future.set_result, time.monotonic())

    async def ask(other: Any) -> float:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()
        other.call_soon_threadsafe(other.call_later, pace.long_s(), bring, loop, future)
        return await future

    loops = [asyncio.new_event_loop() for _ in range(2)]
    threads = started(*[loop.run_forever for loop in loops])
    asked = [asyncio.run_coroutine_threadsafe(ask(loops[1 - number]), loops[number]) for number in range(2)]
    assert all(each.result() > 0 for each in asked)
    for loop in loops:
        loop.call_soon_threadsafe(loop.stop)
    joined(threads)
    for loop in loops:
        loop.close()
