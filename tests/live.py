"""Processes that live while a test looks at them from outside, each with a directory of its own for sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastlock import sockets
from support import TESTS, wait_until

READY = "ready"
PRELUDE = f"""
import os, sys, threading, time
from support import *
import fastlock
def ready(*words):
    print("{READY}", *words, flush=True)
def stay():
    sys.stdin.readline()
"""


class Live:
    """A running program: what it printed after "ready", its socket, and what it is told."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process, self.pid, self.directory = process, process.pid, directory
        line = self.line()
        assert line.startswith(READY), f"{line!r} {process.poll()}"
        self.words = line.split()[1:]

    def line(self) -> str:
        """Return the next line of its standard output."""
        return self.process.stdout.readline()  # type: ignore[union-attr]

    def go_on(self) -> None:
        """Let it return from stay()."""
        self.process.stdin.write("\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def path(self, pid: int | None = None) -> str:
        """Wait for the socket of the process, or of a child of it, and return its path."""
        path = self.directory / "fastlock" / sockets.file_name(pid or self.pid)
        wait_until(path.exists)
        return str(path)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process for the block; inside, each of its threads stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            tasks = Path(f"/proc/{self.pid}/task")
            wait_until(lambda: {path.read_text().rpartition(")")[2].split()[0] for path in tasks.glob("*/stat")} == {"T"})
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def connected(self) -> socket.socket:
        """Return a connection to its socket."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(self.path())
        return connection


@contextlib.contextmanager
def socket_directory() -> Iterator[Path]:
    """A private directory with a short name, for a socket's path has little room."""
    path = tempfile.mkdtemp(prefix="fl", dir="/tmp")
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(
    source: str, *, env: Mapping[str, str] | None = None, prelude: str = PRELUDE, install: bool = True, **options: Any
) -> Iterator[Live]:
    """Run a program that prints "ready", and end it with the block."""
    with socket_directory() as directory, tempfile.TemporaryDirectory() as home:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FASTLOCK_")}
        clean |= {"PYTHONPATH": str(TESTS), "XDG_RUNTIME_DIR": str(directory), "FASTLOCK_INSTALL": "1" if install else "0"}
        path = Path(home, "program.py")
        path.write_text(prelude + textwrap.dedent(source), encoding="utf-8")
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen([sys.executable, str(path)], env={**clean, **(env or {})}, **options)
        try:
            yield Live(process, directory)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
