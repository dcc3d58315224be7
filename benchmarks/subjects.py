"""Programs that benchmarks look at from outside: started, asked how far they have come, and ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def program(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that runs this code, when it has written its first line: it is ready then."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("the program that is to be looked at has ended")
        yield process
    finally:
        process.kill()
        process.communicate()


def acquired(process: subprocess.Popen[str], word: str = "") -> tuple[int, float]:
    """Say a word to such a program, and return how often it has acquired so far, and its processor time in seconds."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    acquires, cpu_s = process.stdout.readline().split()
    return int(acquires), float(cpu_s)
