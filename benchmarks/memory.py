"""Resident bytes per lock, of a million locks that exist at once, against threading's, at level order.

    python benchmarks/memory.py [--count 1000000] [--json]

Each kind is measured in a process of its own, as the growth of its resident set less the list that holds the locks. The
contract is at most 160 bytes for a Lock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import fastlock

MOST_BYTES = 160
KINDS: dict[str, Callable[[], Any]] = {
    "threading.Lock": threading.Lock,
    "fastlock.Lock": fastlock.Lock,
    "threading.RLock": threading.RLock,
    "fastlock.RLock": fastlock.RLock,
}


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(kind: str, count: int) -> float:
    """Make the locks, take each once under another one, so that at level order all of it is in use, and see what that has cost."""
    fastlock.set_level("order")
    make = KINDS[kind]
    outer = make()
    with outer, make():
        pass
    locks: list[Any] = [None] * count
    before = resident_bytes()
    for i in range(count):
        locks[i] = make()
        with outer, locks[i]:
            pass
    return (resident_bytes() - before) / count


def in_process(kind: str, count: int) -> float:
    command = [sys.executable, __file__, "--kind", kind, "--count", str(count)]
    return float(subprocess.check_output(command))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=tuple(KINDS), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.kind:
        print(measure(arguments.kind, arguments.count))
        return
    figures = {kind: in_process(kind, arguments.count) for kind in KINDS}
    if arguments.json:
        json.dump({"python": platform.python_version(), "count": arguments.count, "bytes": figures}, sys.stdout, indent=1)
        return
    print(f"Python {platform.python_version()} ({sys.executable}), {arguments.count:,} locks")
    for kind, size in figures.items():
        limit = f"<= {MOST_BYTES}" + ("" if size <= MOST_BYTES else "  MISSED") if kind == "fastlock.Lock" else ""
        print(f"{kind:20} {size:8.1f} bytes  {limit}")


if __name__ == "__main__":
    main()
