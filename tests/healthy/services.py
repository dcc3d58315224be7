"""Event loops beside threads: work in executors, calls from threads into a loop, servers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import queue
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from .programs import Pace, joined, program, started, together


@program()
def run_in_executor(pace: Pace) -> None:
    """A service hands blocking work to the loop's own executor, more than that has workers."""

    def work(number: int) -> int:
        pace.maybe_long(0.3)
        return number * number

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        assert await asyncio.gather(*(loop.run_in_executor(None, work, n) for n in range(8))) == [n * n for n in range(8)]
        await loop.shutdown_default_executor()

    asyncio.run(main())


@program()
def to_thread(pace: Pace) -> None:
    """asyncio.to_thread by many tasks, with a context variable."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    def work() -> str:
        pace.maybe_long(0.3)
        return name.get()

    async def ask(word: str) -> None:
        name.set(word)
        assert await asyncio.to_thread(work) == word

    async def main() -> None:
        await asyncio.gather(*(ask(word) for word in "abcdef"))

    asyncio.run(main())


@program()
def woken_from_a_thread(pace: Pace) -> None:
    """A thread sets an asyncio event by call_soon_threadsafe, and the only task waits for that."""

    async def main() -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        threads = started(pace.late(loop.call_soon_threadsafe, event.set))
        assert await event.wait()
        joined(threads)

    asyncio.run(main())


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own for the block."""
    loop = asyncio.new_event_loop()
    (thread,) = started(loop.run_forever)
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@program()
def coroutines_from_threads(pace: Pace) -> None:
    """Threads give coroutines to a loop in another thread, and wait for the results."""

    async def double(number: int) -> int:
        await asyncio.sleep(pace.long_s() / 2)
        return 2 * number

    with loop_in_a_thread() as loop:

        def ask() -> None:
            for number in range(3):
                assert asyncio.run_coroutine_threadsafe(double(number), loop).result() == 2 * number

        together(*[ask] * 3)


@program()
def two_loops(pace: Pace) -> None:
    """Two loops ask each other, and neither of them blocks for it."""
    with loop_in_a_thread() as left, loop_in_a_thread() as right:

        async def add(a: int, b: int) -> int:
            await asyncio.sleep(pace.long_s() / 3)
            return a + b

        async def ask(other: asyncio.AbstractEventLoop) -> int:
            return sum([await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(add(n, n), other)) for n in range(3)])

        futures = [asyncio.run_coroutine_threadsafe(ask(b), a) for a, b in ((left, right), (right, left))]
        assert [future.result() for future in futures] == [6, 6]


@program()
def a_thread_asks_back(pace: Pace) -> None:
    """Work in a thread asks the loop which has given it the work; the loop is not blocked by that."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def answer() -> int:
            await asyncio.sleep(pace.long_s())
            return 5

        def work() -> int:
            return asyncio.run_coroutine_threadsafe(answer(), loop).result() + 1

        assert await asyncio.gather(*(loop.run_in_executor(None, work) for _ in range(2))) == [6, 6]

    asyncio.run(main())


@program()
def a_queue_into_the_loop(pace: Pace) -> None:
    """Threads feed an asyncio queue, consumers of the loop feed a queue of threads: both ends wait for each other."""
    out: Any = queue.Queue()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        jobs: asyncio.Queue[int | None] = asyncio.Queue(2)

        def produce() -> None:
            for number in range(6):
                pace.maybe_long(0.3)
                asyncio.run_coroutine_threadsafe(jobs.put(number), loop).result()
            asyncio.run_coroutine_threadsafe(jobs.put(None), loop).result()

        threads = started(produce)
        while (job := await jobs.get()) is not None:
            out.put(job)
        out.put(None)
        await asyncio.to_thread(joined, threads)

    seen: list[int] = []
    (reader,) = started(lambda: seen.extend(iter(out.get, None)))
    asyncio.run(main())
    reader.join()
    assert seen == list(range(6))


@program()
def blocking_get_in_a_thread(pace: Pace) -> None:
    """A task waits in an executor's thread for a queue that another task fills."""

    async def main() -> None:
        things: Any = queue.Queue()

        async def fill() -> None:
            for number in range(4):
                await asyncio.sleep(pace.long_s())
                things.put(number)

        filler = asyncio.create_task(fill())
        assert [await asyncio.to_thread(things.get) for _ in range(4)] == [0, 1, 2, 3]
        await filler

    asyncio.run(main())


@program()
def stream_server(pace: Pace) -> None:
    """A server of asyncio's streams with clients in the same loop and in threads."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(pace.long_s() / 4)
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def main(path: str) -> None:
        server = await asyncio.start_unix_server(serve, path)

        async def ask() -> None:
            reader, writer = await asyncio.open_unix_connection(path)
            for word in (b"one\n", b"two\n"):
                writer.write(word)
                assert await reader.readline() == word.upper()
            writer.close()
            await writer.wait_closed()

        def ask_from_a_thread() -> None:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"three\n")
                assert client.recv(100) == b"THREE\n"

        await asyncio.gather(ask(), ask(), asyncio.to_thread(ask_from_a_thread))
        server.close()
        await server.wait_closed()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(os.path.join(directory, "s")))


@program()
def child_process(pace: Pace) -> None:
    """A child process with pipes, of asyncio's."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", f"read word; sleep {pace.long_s():.3f}; echo $word",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate(b"word\n")
        assert (out, process.returncode) == (b"word\n", 0)

    asyncio.run(main())


@program(alone=True)
def handler_of_the_loop(pace: Pace) -> None:
    """A signal handler that belongs to the loop sets the event that ends the service."""

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, stop.set)
        loop.call_later(pace.long_s(), os.kill, os.getpid(), signal.SIGUSR1)
        await stop.wait()
        loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(main())


@program()
def reader_callback(pace: Pace) -> None:
    """add_reader: a callback, and no task, completes the future that the only task awaits."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        future: asyncio.Future[bytes] = loop.create_future()

        def readable() -> None:
            loop.remove_reader(ours)
            future.set_result(ours.recv(10))

        loop.add_reader(ours, readable)
        threads = started(pace.late(theirs.sendall, b"word"))
        assert await future == b"word"
        joined(threads)
        ours.close()
        theirs.close()

    asyncio.run(main())


@program()
def facade(pace: Pace) -> None:
    """A synchronous client in front of an asynchronous one, with a lock around its calls, used by threads."""
    lock = threading.Lock()

    async def fetch(number: int) -> int:
        await asyncio.sleep(pace.long_s() / 3)
        return number + 1

    with loop_in_a_thread() as loop:

        def call(number: int) -> int:
            with lock:
                return asyncio.run_coroutine_threadsafe(fetch(number), loop).result()

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(call, range(6))) == [1, 2, 3, 4, 5, 6]


@program()
def thread_local_loops(pace: Pace) -> None:
    """Each worker of a pool runs a loop of its own for each piece of work."""

    async def work(number: int) -> int:
        lock = asyncio.Lock()

        async def step() -> int:
            async with lock:
                await asyncio.sleep(pace.long_s() / 5)
                return number

        return sum(await asyncio.gather(*(step() for _ in range(3))))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda n: asyncio.run(work(n)), range(6))) == [3 * n for n in range(6)]


@program()
def future_by_hand(pace: Pace) -> None:
    """A thread completes a future of concurrent's that a task has wrapped; the loop has nothing else to do."""

    async def main() -> None:
        future: concurrent.futures.Future[int] = concurrent.futures.Future()
        threads = started(pace.late(future.set_result, 3))
        assert await asyncio.wrap_future(future) == 3
        joined(threads)

    asyncio.run(main())


@program()
def synchronous_section(pace: Pace) -> None:
    """Threads and tasks share a lock of threading's, which nobody holds across an await."""
    lock = threading.Lock()
    count = [0]

    def add() -> None:
        with lock:
            count[0] += 1

    async def main() -> None:
        async def work() -> None:
            for _ in range(10):
                add()
                await asyncio.sleep(0)

        threads = started(*[lambda: [(add(), pace.moment()) for _ in range(10)]] * 2)
        await asyncio.gather(*(work() for _ in range(4)))
        await asyncio.to_thread(joined, threads)

    asyncio.run(main())
    assert count == [60]


@program()
def actor_in_a_loop(pace: Pace) -> None:
    """A thread waits for a loop's task that takes requests out of an asyncio queue; the requests carry concurrent futures."""
    with loop_in_a_thread() as loop:
        inbox: Any = asyncio.run_coroutine_threadsafe(made(lambda: asyncio.Queue()), loop).result()

        async def act() -> None:
            while (request := await inbox.get()) is not None:
                number, future = request
                await asyncio.sleep(pace.long_s() / 3)
                future.set_result(-number)

        ended = asyncio.run_coroutine_threadsafe(act(), loop)

        def ask(number: int) -> None:
            future: concurrent.futures.Future[int] = concurrent.futures.Future()
            loop.call_soon_threadsafe(inbox.put_nowait, (number, future))
            assert future.result() == -number

        together(*(lambda n=n: ask(n) for n in range(4)))
        loop.call_soon_threadsafe(inbox.put_nowait, None)
        ended.result()


async def made(make: Callable[[], Any]) -> Any:
    """Make something inside of a loop, which older versions bind to the one that runs."""
    return make()
