"""Missing sentinel: who reads a queue until an end marker waits for ever where the writers end without one.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/missing_sentinel.py    names the queue and the writers that are gone, ends with status 3
    fastlock run examples/missing_sentinel.py --fixed                                    the marker comes on every way out, ends with 0
"""

from __future__ import annotations

import queue
import sys
import threading

FILES = {"monday.log": ["ok", "ok"], "tuesday.log": ["ok", "\x00", "ok"]}

lines: queue.Queue[str | None] = queue.Queue()


def read(file: str) -> None:
    """Put the lines of a file into the queue, and an end marker after the last one: not where a line is broken."""
    try:
        for line in FILES[file]:
            if not line.isprintable():
                print(f"{file} is broken")
                return
            lines.put(line)
        if "--fixed" not in sys.argv:
            lines.put(None)
    finally:
        if "--fixed" in sys.argv:
            lines.put(None)


def main() -> None:
    """Count the lines of all files, read at once."""
    for file in FILES:
        threading.Thread(target=read, args=(file,), name=file).start()
    count = ends = 0
    while ends < len(FILES):
        if lines.get() is None:
            ends += 1
        else:
            count += 1
    print(f"{count} lines")


if __name__ == "__main__":
    main()
