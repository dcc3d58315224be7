"""asyncio figures: each row's time against asyncio's own primitive (or a rival's), with the contract's limit beside it.

    python benchmarks/aio.py [--level off|detect|order] [--rounds 60] [--processes 3] [--json]

A row's body is compiled once for each side into an `async def` that repeats it, and both run in one loop in many short rounds that
take turns; the ratio is the median of the rounds' own, and the row shown is the median process. In "100 tasks" rows as many tasks
want the primitive at once, and one repetition is one acquisition. "bare loop" and "echo server" have no lock of the program's own: what is measured
there is what install() costs a program that does not use it, its processor time under install() over that without.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter_ns
from typing import Any

import fastlock
import fastlock.aio

ROUND_NS = 1_000_000
TASKS = 100
Body = Callable[[int], Awaitable[None]]
Names = dict[str, Any]

#             3.10  3.11  3.12  3.13  3.14  3.15
LIMITS = {
    "with":   (0.45, 0.45, 0.55, 0.55, 0.45, 0.45),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What is compared: the same body on both modules' primitives, or two bodies."""

    title: str
    body: str
    make: Callable[[Any], Names]
    limit: str | None = None
    tasks: int = 1
    theirs: Any = asyncio
    rival_body: str | None = None


def rows() -> list[Row]:
    lock = "async with lock:\n    pass"
    calls = "await lock.acquire()\nlock.release()"
    nested = "async with a:\n    async with b:\n        pass"
    busy = "async with lock:\n    await sleep(0)"
    return [
        Row("async with Lock", lock, lambda m: {"lock": m.Lock()}, "with"),
        Row("two nested async with Lock", nested, lambda m: {"a": m.Lock(), "b": m.Lock()}),
        Row("await Lock.acquire(); release()", calls, lambda m: {"lock": m.Lock()}),
        Row("await Semaphore.acquire(); release()", calls, lambda m: {"lock": m.Semaphore(2)}),
        Row("await Condition.acquire(); release()", calls, lambda m: {"lock": m.Condition()}),
        Row("async with Semaphore", lock, lambda m: {"lock": m.Semaphore(2)}),
        Row("Event set(); wait(); clear()", "event.set()\nawait event.wait()\nevent.clear()", lambda m: {"event": m.Event()}),
        Row("await Event.wait() of a set one", "await event.wait()", set_event),
        Row("async with Condition, notify()", "async with cond:\n    cond.notify()", lambda m: {"cond": m.Condition()}),
        Row("Queue put(); get(); task_done()", "await queue.put(1)\nawait queue.get()\nqueue.task_done()", queue),
        Row("Lock, 100 tasks", busy, lambda m: {"lock": m.Lock(), "sleep": asyncio.sleep}, None, TASKS),
        Row("Semaphore(10), 100 tasks", busy, lambda m: {"lock": m.Semaphore(10), "sleep": asyncio.sleep}, None, TASKS),
        *rivals(),
    ]


def set_event(module: Any) -> Names:
    event = module.Event()
    event.set()
    return {"event": event}


def queue(module: Any) -> Names:
    """Return asyncio's queue, as it is and as it is made under install(), with an Event of fastlock's in it."""
    if module is asyncio:
        return {"queue": asyncio.Queue()}
    fastlock.install(threading=False, asyncio=True)
    try:
        return {"queue": asyncio.Queue()}
    finally:
        fastlock.uninstall()


def rivals() -> list[Row]:
    """Return the rows against aiorwlock, where it is installed."""
    if importlib.util.find_spec("aiorwlock") is None:
        return []
    import aiorwlock

    def ours_or_theirs(module: Any) -> Names:
        return {"rw": module.RWLock()}

    return [
        Row(
            f"RWLock {ours}, aiorwlock", f"async with rw.{ours}():\n    pass", ours_or_theirs,
            theirs=aiorwlock, rival_body=f"async with rw.{theirs}:\n    pass",
        )
        for ours, theirs in (("read", "reader"), ("write", "writer"))
    ]  # fmt: skip


def compiled(body: str, names: Names) -> Body:
    """Return run(n), a coroutine function that repeats the body with ``names`` as fast locals."""
    text = "".join(f"        {line}\n" for line in body.splitlines())
    scope: Names = {"repeat": repeat}
    source = f"async def run(n, {', '.join(names)}):\n    for _ in repeat(None, n):\n{text}"
    exec(compile(source, f"<{body.splitlines()[0]}>", "exec"), scope)
    run = scope["run"]
    values = tuple(names.values())
    return lambda n: run(n, *values)


def side(row: Row, module: Any) -> Body:
    body = row.rival_body if row.rival_body and module is row.theirs else row.body
    run = compiled(body, row.make(module))
    if row.tasks == 1:
        return run

    async def crowd(n: int) -> None:
        await asyncio.gather(*(run(max(n // row.tasks, 1)) for _ in range(row.tasks)))

    return crowd


async def timed(run: Body, n: int) -> int:
    start = perf_counter_ns()
    await run(n)
    return perf_counter_ns() - start


async def repetitions(run: Body, at_least: int) -> int:
    """Return how often a body fits into a round, after it has warmed up."""
    n = at_least
    while True:
        taken = await timed(run, n)
        if taken >= ROUND_NS // 4:
            return max(n * ROUND_NS // taken, at_least)
        n *= 2


async def measure(row: Row, rounds: int) -> dict[str, Any]:
    """Time a pair in turns."""
    theirs, ours = side(row, row.theirs), side(row, fastlock.aio)
    n = await repetitions(theirs, row.tasks)
    await repetitions(ours, row.tasks)
    times: dict[Body, list[int]] = {theirs: [], ours: []}
    for i in range(rounds):
        for run in (theirs, ours) if i % 2 else (ours, theirs):
            times[run].append(await timed(run, n))
    limit = None if row.limit is None else LIMITS[row.limit][min(max(sys.version_info[1] - 10, 0), 5)]
    return {
        "row": row.title,
        "theirs_ns": statistics.median(times[theirs]) / n,
        "ours_ns": statistics.median(times[ours]) / n,
        "ratio": statistics.median(o / t for o, t in zip(times[ours], times[theirs])),
        "limit": limit,
    }


async def measure_all(rounds: int) -> list[dict[str, Any]]:
    gc.collect()
    gc.disable()
    return [await measure(row, rounds) for row in rows()]


# ---- programs that use no lock -------------------------------------------------------------------------------------

BARE_LOOP = """
async def tick(n):
    for _ in range(n):
        await asyncio.sleep(0)
async def main():
    await asyncio.gather(*(tick(4000) for _ in range(20)))
"""

ECHO_SERVER = """
async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()
async def talk(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(500):
        writer.write(b"hello\\n")
        await reader.readline()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(talk(port) for _ in range(8)))
    server.close()
"""

PROGRAM = """
import asyncio, sys, time
if sys.argv[1] == "ours":
    import fastlock
    fastlock.configure(level=sys.argv[2])
    fastlock.install()
{body}
asyncio.run(main())
start = time.process_time_ns()
asyncio.run(main())
print(time.process_time_ns() - start)
"""


def program(name: str, body: str, level: str, pairs: int) -> dict[str, Any]:
    """Return the row of a program that is run with and without install(), in turns; start-up is not counted."""
    source = PROGRAM.format(body=body)
    times: dict[str, list[int]] = {"theirs": [], "ours": []}
    for i in range(pairs):
        for which in ("theirs", "ours") if i % 2 else ("ours", "theirs"):
            output = subprocess.check_output([sys.executable, "-c", source, which, level])
            times[which].append(int(output))
    return {
        "row": name,
        "theirs_ns": statistics.median(times["theirs"]),
        "ours_ns": statistics.median(times["ours"]),
        "ratio": statistics.median(o / t for o, t in zip(times["ours"], times["theirs"])),
        "limit": 1.02,
    }


def in_processes(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run this script several times and keep, of each row, the process with the median ratio."""
    command = [sys.executable, __file__, "--processes", "1", "--json", "--rounds", str(arguments.rounds)]
    command += ["--level", arguments.level]
    runs = [json.loads(subprocess.check_output(command))["rows"] for _ in range(arguments.processes)]
    return [sorted(each, key=lambda row: row["ratio"])[len(each) // 2] for each in zip(*runs)]


def print_table(level: str, measured: list[dict[str, Any]]) -> None:
    print(f"Python {platform.python_version()} ({sys.executable}), fastlock {fastlock.__version__}, level {level}")
    print(f"{'':36} {'theirs ns':>12} {'ours ns':>12} {'ratio':>7}  limit")
    for row in measured:
        missed = row["limit"] is not None and row["ratio"] > row["limit"]
        limit = "" if row["limit"] is None else f"<= {row['limit']:.3g}{'  MISSED' if missed else ''}"
        print(f"{row['row']:36} {row['theirs_ns']:12.1f} {row['ours_ns']:12.1f} {row['ratio']:7.3f}  {limit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--level", choices=("off", "detect", "order"), default="order")
    parser.add_argument("--rounds", type=int, default=60, help="rounds of a row in each process (default 60)")
    parser.add_argument("--processes", type=int, default=3, help="processes whose median is shown (default 3)")
    parser.add_argument("--pairs", type=int, default=15, help="runs of each program on each side (default 15)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.processes > 1:
        measured = in_processes(arguments)
        programs = (("bare loop", BARE_LOOP), ("echo server", ECHO_SERVER))
        measured += [program(name, body, arguments.level, arguments.pairs) for name, body in programs]
    else:
        fastlock.set_level(arguments.level)
        measured = asyncio.run(measure_all(arguments.rounds))
    if arguments.json:
        json.dump({"python": platform.python_version(), "level": arguments.level, "rows": measured}, sys.stdout, indent=1)
    else:
        print_table(arguments.level, measured)


if __name__ == "__main__":
    main()
