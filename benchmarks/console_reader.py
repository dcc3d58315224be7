"""What the console's reader costs, and what it costs the process: 100,000 locks, 10,000 agents, 2,000 waits, read twice a second.

    python benchmarks/console_reader.py [--locks 100000] [--agents 10000] [--waits 2000] [--rounds 20] [--json]

All locks have been waited for, so each has a record. Half of the waiters stand behind 20 locks, the others in chains of ten. `still`: nothing changes; `moving`:
a tenth of the waits is new at each look; `new`: all of them are. The contract is 10 % of a core for the whole console, 50 ms for each look: the reader may have half of it. The
process must not be slower: its acquires for its processor time while it is read, over those without, in a program with the same records.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time

from fastlock.console.readers import Reading
from subjects import acquired, program

MOST_MS = 25
PERIOD_S = 0.5
KINDS = {"still": 0.0, "moving": 0.1, "new": 1.0}  # how many of the waits are new at each look
PROGRAM = """
import asyncio, os, sys, threading, time, fastlock
count, agents, waits, share = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
fastlock.configure(slow_wait=1e9)
locks = [fastlock.Lock(name="row") for _ in range(count)]
def late():
    for lock in locks: lock.acquire(timeout=1e-9)
for lock in locks: lock.acquire()
other = threading.Thread(target=late); other.start(); other.join()
for lock in locks: lock.release()
fastlock.set_level("order")
done = 0
def work():
    global done
    while True:
        for lock in locks[:1000]:
            with lock: done += 1
async def hold(lock):
    async with lock: await asyncio.sleep(1e6)
async def wait(number, held, own):
    async with own[number]:
        wanted = held[number % 20] if number < waits // 2 else own[number - 1] if number % 10 else held[number]
        while True:
            # One after another gives up, and waits anew.
            limit_s = 0.5 / share * (0.5 + number * 7919 % waits / waits) if share else None
            try: await asyncio.wait_for(wanted.acquire(), limit_s)
            except asyncio.TimeoutError: pass
async def main():
    held = [fastlock.aio.Lock(name="page") for _ in range(agents - waits)]
    own = [fastlock.aio.Lock(name="own") for _ in range(waits)]
    tasks = [asyncio.create_task(hold(lock)) for lock in held]
    await asyncio.sleep(0.1)
    for number in range(waits):
        tasks.append(asyncio.create_task(wait(number, held, own)))
        if not number % 100: await asyncio.sleep(0.001)
    await asyncio.sleep(0.5)
    print(os.getpid(), flush=True)
    await asyncio.sleep(1e6)
def answers():
    for line in sys.stdin:
        if line.startswith("work"): threading.Thread(target=work, daemon=True).start()
        print(done, time.process_time(), flush=True)
    os._exit(0)
threading.Thread(target=answers, daemon=True).start()
asyncio.run(main())
"""


def looks(pid: int, rounds: int) -> dict[str, float]:
    """Processor time of each look in ms, with who is behind whom, as the first view shows it; and how many waits were seen."""
    reading = Reading(pid)
    times, waits = [], []
    for number in range(rounds + 2):
        time.sleep(PERIOD_S)
        began = time.process_time()
        seen = reading.refresh()
        for wait in seen.waits[:50]:
            seen.behind(wait.agent)
        if number > 1:
            times.append((time.process_time() - began) * 1000)
            waits.append(len(seen.waits))
    reading.close()
    return {"median": statistics.median(times), "least": min(times), "most": max(times), "waits": statistics.median(waits)}


def rate(process: subprocess.Popen[str], reading: Reading | None) -> float:
    """Acquires in a second of the program's processor time, while it is read twice a second or not."""
    (before, cpu_before), end = acquired(process), time.perf_counter() + 4 * PERIOD_S
    while time.perf_counter() < end:
        if reading is not None:
            reading.refresh()
        time.sleep(PERIOD_S)
    after, cpu_after = acquired(process)
    return (after - before) / (cpu_after - cpu_before)


def slowdown(arguments: argparse.Namespace) -> float:
    """Acquires while it is read over acquires without, median of pairs."""
    with program(PROGRAM, arguments.locks, arguments.agents, arguments.waits, 0) as process:
        acquired(process, "work")
        reading = Reading(process.pid)
        return statistics.median(rate(process, reading) / rate(process, None) for _ in range(max(3, arguments.rounds // 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--locks", type=int, default=100_000)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--waits", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {}
    for kind, share in KINDS.items():
        with program(PROGRAM, arguments.locks, arguments.agents, arguments.waits, share) as process:
            figures[kind] = looks(process.pid, arguments.rounds)
    ratio = slowdown(arguments)
    if arguments.json:
        json.dump({"python": platform.python_version(), "ms": figures, "throughput": ratio}, sys.stdout, indent=1)
        return
    print(f"Python {platform.python_version()} ({sys.executable}), {arguments.locks:,} locks, {arguments.agents:,} agents, {arguments.waits:,} waits")
    for kind, ms in figures.items():
        missed = "" if ms["median"] <= MOST_MS else "  MISSED"
        print(f"{kind:7} {ms['median']:6.1f} ms for a look ({ms['least']:.1f} to {ms['most']:.1f}; {ms['waits']:,.0f} waits seen)  <= {MOST_MS}{missed}")
    print(f"acquires for its processor time while it is read, over those without: {ratio:.3f}")


if __name__ == "__main__":
    main()
