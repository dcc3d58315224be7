"""What `fastlock top` costs while it looks at a large process twice a second, and what that costs the process.

    python benchmarks/console.py [--seconds 30] [--view waits] [--locks 100000] [--agents 10000] [--waits 2000] [--json]

The contract is 10 % of a core in the Waits view, for 100,000 locks that each have a record, 10,000 agents and 2,000 waits. The console runs in a terminal of
its own making (80 x 24), as a user's does; counted is its processor time with all its threads, once it has shown the first page.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from subjects import program

MOST_SHARE = 0.10
WARM_UP_S = 5.0
TICKS = os.sysconf("SC_CLK_TCK")
PROGRAM = """
import asyncio, os, sys, threading, fastlock
fastlock.configure(slow_wait=1e9)  # else the reports of waits that last are counted as ours
locks_number, agents, waits = map(int, sys.argv[1:])
locks = [fastlock.Lock() for _ in range(locks_number)]
def late():  # each is waited for once, which gives it its record
    for lock in locks:
        lock.acquire(timeout=1e-9)
for lock in locks: lock.acquire()
other = threading.Thread(target=late); other.start(); other.join()
for lock in locks: lock.release()
async def hold(lock, ready):
    async with lock:
        ready.release()
        await asyncio.get_running_loop().create_future()
async def want(lock):
    async with lock: pass
async def main():
    ready = asyncio.Semaphore(0)
    held = [fastlock.aio.Lock(name=f"table-{number % 50}") for number in range(agents - waits)]
    tasks = [asyncio.create_task(hold(lock, ready), name=f"holder-{number}") for number, lock in enumerate(held)]
    for _ in held: await ready.acquire()
    tasks += [asyncio.create_task(want(held[number % 100]), name=f"waiter-{number}") for number in range(waits)]
    await asyncio.sleep(0.5)
    print(os.getpid(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)
asyncio.run(main())
"""
CONSOLE = """
import sys
from fastlock.console.app import run
from fastlock.console.fleet import Fleet
sys.exit(run(Fleet([int(sys.argv[1])]), view=sys.argv[2]))
"""


@contextmanager
def console(pid: int, view: str) -> Iterator[tuple[int, int]]:
    """The console on a terminal: its process number, and the terminal's other end."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", CONSOLE, str(pid), view])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        yield child, terminal
    finally:
        os.write(terminal, b"q")
        drain(terminal, 2.0)
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)


def drain(terminal: int, seconds: float) -> int:
    """Take what the console draws for a while, as a terminal does; how many bytes those were."""
    end, taken = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                taken += len(os.read(terminal, 65536))
            except OSError:  # it has ended
                break
    return taken


def processor_s(pid: int) -> float:
    """The processor time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """The shares of a core that the console takes, and the process with and without it."""
    with program(PROGRAM, arguments.locks, arguments.agents, arguments.waits) as process:
        pid = process.pid
        time.sleep(1.0)
        before = processor_s(pid)
        time.sleep(arguments.seconds / 3)
        alone = (processor_s(pid) - before) / (arguments.seconds / 3)
        with console(pid, arguments.view) as (child, terminal):
            drain(terminal, WARM_UP_S)
            ours, theirs = processor_s(child), processor_s(pid)
            taken = drain(terminal, arguments.seconds)
            ours, theirs = processor_s(child) - ours, processor_s(pid) - theirs
    return {
        "console_share": ours / arguments.seconds,
        "process_share": theirs / arguments.seconds,
        "process_share_alone": alone,
        "bytes_per_s": taken / arguments.seconds,
    }


def main() -> int:
    """Measure and say; 1 where the contract is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--view", default="waits")
    parser.add_argument("--locks", type=int, default=100_000)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--waits", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments)
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "view": arguments.view, **result}))
    else:
        print(f"Python {platform.python_version()}, view {arguments.view}: the console takes {result['console_share']:.1%} of a core, "
              f"{result['bytes_per_s']:,.0f} bytes a second to its terminal; the process {result['process_share']:.2%}, alone {result['process_share_alone']:.2%}")  # fmt: skip
    return int(arguments.view == "waits" and result["console_share"] > MOST_SHARE)


if __name__ == "__main__":
    raise SystemExit(main())
