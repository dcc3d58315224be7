"""For tests of what others see of a process: programs that go on running while they are looked at."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from support import LIMIT_S, PRELUDE, TESTS

ENDING = """
def ready(value=None):
    '''Tell the test a value, then do nothing until it closes our standard input.'''
    print(json.dumps(value), flush=True)
    sys.stdin.read()
    os._exit(0)
"""
IMPORTS = "import json, os, sys, time\n"


class Running:
    """A program that has said ready(told)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid
        self.told = self.line()

    def line(self) -> Any:
        """Return what it tells next; AssertionError where it does not in time."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):  # a byte at a time: select() does not see what a buffer has
            assert select.select([descriptor], [], [], LIMIT_S)[0], "it told nothing"
            byte = os.read(descriptor, 1)
            assert byte, f"it ended with {self.process.wait(LIMIT_S)}"
            line += byte
        return json.loads(line)


@contextlib.contextmanager
def running(
    source: str,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    prelude: str = PRELUDE,
    through: Sequence[str] = (),
    **options: Any,
) -> Iterator[Running]:
    """Run source text, which has the names of support and ready(); it is killed at the end."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FASTLOCK_")}
    clean["PYTHONPATH"] = str(TESTS)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "program.py")
        path.write_text(IMPORTS + prelude + ENDING + textwrap.dedent(source), encoding="utf-8")
        process = subprocess.Popen(
            [*through, sys.executable, str(path), *map(str, arguments)],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, **options},
            text=True,
            env={**clean, **(env or {})},
        )
        try:
            yield Running(process)
        finally:
            process.kill()
            process.wait(LIMIT_S)
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()  # not read to its end: a child of the program's may have it still


def fastlock(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FASTLOCK_")}
    command = [sys.executable, "-m", "fastlock", *map(str, arguments)]
    return subprocess.run(command, **{"env": clean, "timeout": LIMIT_S, "capture_output": True, "text": True, **options})


def complaint(*arguments: object, **options: Any) -> str:
    """Return the one line that the command refuses with."""
    done = fastlock(*arguments, **options)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def as_user(uid: int, call: Callable[[], Any]) -> Any:
    """Return what call() returns, JSON, in a child that is that user; what is loaded here need not be readable for it."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads: the child calls nothing of theirs
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(writes, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)
