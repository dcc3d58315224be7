"""`fastlock top` on a terminal: how it ends, stops and goes on, what it draws lines of, and that it does not watch itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("textual", reason="textual is not installed (the extra `test` has it)")

import fastlock  # noqa: E402
from fastlock.console.tables import Cell, text_of  # noqa: E402
from fastlock.console.wrapping import wrap  # noqa: E402
from console_screen import LIMIT_S  # noqa: E402
from support import wait_until  # noqa: E402


# ---- what it is made of


def test_textual_is_imported_by_the_screen_alone() -> None:
    """The command, its pages and `--once` work where it is not installed; and no other module of fastlock names it."""
    code = "import sys, fastlock.cli.top, fastlock.console.save, fastlock.console.trail; sys.exit(any(name in sys.modules for name in ('textual', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=LIMIT_S, check=False).returncode == 0
    package = Path(fastlock.__file__).parent
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if re.search(r"^\s*(from|import) (textual|rich)\b", path.read_text(), re.M)}
    assert found == {f"console/{name}.py" for name in ("app", "bars", "listing", "meanings", "picture", "prompt", "terminal")}


@pytest.mark.parametrize(
    "text, columns, lines",
    [
        ("one line", 20, ["one line"]),
        ("words that are too long for it", 14, ["words that are", "  too long for", "  it"]),
        ("    further in, and on", 14, ["    further", "    in, and on"]),
        ("/a/name/without/any/space.py:12", 12, ["/a/name/with", "  out/any/sp", "  ace.py:12"]),
        ("表表表表", 5, ["表表", " 表表"]),
        ("a\tb\x1b[2Jc", 20, ["a b�[2Jc"]),
        ("", 10, [""]),
    ],
)
def test_lines_are_broken_at_spaces(text: str, columns: int, lines: list[str]) -> None:
    """No line is wider than there is room, nothing of it gets lost, and no control character reaches the terminal."""
    wrapped = [text_of(line) for line in wrap((Cell(text, "name"),), columns)]
    assert wrapped == lines


def test_meanings_stay_with_their_words() -> None:
    """A broken line keeps the meaning of each of its cells."""
    line = (Cell("Fix", "title"), Cell("  take rates_lock first, or release "), Cell("ledger_lock", "name"))
    cells = [cell for part in wrap(line, 20) for cell in part]
    assert [cell.text for cell in cells if cell.style == "title"] == ["Fix"]
    assert "".join(cell.text for cell in cells if cell.style == "name").strip() == "ledger_lock"


# ---- on a terminal


SCREEN = """
import os, sys, threading
from fastlock.cli import main
status = main(["top", *sys.argv[1:]])
assert type(threading.Lock()).__module__ == "_thread", "the console's own locks are fastlock's"
sys.exit(status)
"""


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        command = [sys.executable, "-c", SCREEN, *arguments]
        env = {**os.environ, "TERM": "xterm-256color", **environment}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
        self.theirs: int | None = theirs
        self.drawn = b""

    def until(self, what: bytes) -> None:
        """Take what is drawn until this is among it."""
        end = time.monotonic() + LIMIT_S
        while what not in self.drawn:
            assert time.monotonic() < end, self.drawn[-2000:]
            self.take(0.1)

    def take(self, wait_s: float) -> bool:
        """Take what has been drawn; whether there was any."""
        if not select.select([self.ours], [], [], wait_s)[0]:
            return False
        self.drawn += os.read(self.ours, 65536)
        return True

    def end(self) -> int:
        """The exit status, when it has ended; the terminal is as it was, and has shown no traceback."""
        limit = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < limit, "it does not end"
            self.take(0.1)
        while self.take(0):
            pass
        assert self.theirs is not None and termios.tcgetattr(self.theirs) == self.before
        assert b"Traceback" not in self.drawn
        assert self.drawn.rindex(b"\x1b[?1049l") > self.drawn.rindex(b"\x1b[?1049h") and self.drawn.rindex(b"\x1b[?25h") > self.drawn.rindex(b"\x1b[?25l")
        return self.process.returncode

    def close(self) -> None:
        """End it and let the terminal go."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self.ours, self.theirs):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def test_however_it_ends_the_terminal_is_left_whole() -> None:
    """q, Ctrl-C, SIGINT, SIGTERM, SIGHUP: the status is what a shell expects, all is put back. Of a terminal that is gone it takes notice by itself."""
    ways: list[tuple[bytes | int, int]] = [(b"q", 0), (b"\x03", 0), (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
    terminals = [Terminal(str(os.getpid())) for _ in range(len(ways) + 1)]
    try:
        for terminal, (way, status) in zip(terminals, ways):
            terminal.until(b"Waits")
            if isinstance(way, bytes):
                os.write(terminal.ours, way)
            else:
                terminal.process.send_signal(way)
            assert terminal.end() == status
        gone = terminals[-1]
        gone.until(b"Waits")
        assert gone.theirs is not None
        os.close(gone.theirs)
        os.close(gone.ours)
        assert gone.process.wait(LIMIT_S) in (129, 1)
    finally:
        for terminal in terminals:
            terminal.close()


def test_after_ctrl_z_and_fg_all_is_drawn() -> None:
    """It stops, the terminal is the shell's, and when it goes on the page is there again; then it ends as ever."""
    terminal = Terminal(str(os.getpid()))
    try:
        terminal.until(b"Waits")
        terminal.until(b"Roots")
        for _ in range(2):
            os.write(terminal.ours, b"\x1a")
            stat = Path(f"/proc/{terminal.process.pid}/stat")
            wait_until(lambda: not terminal.take(0.05) and stat.read_text().rpartition(")")[2].split()[0] == "T")
            while terminal.take(0.1):
                pass
            assert terminal.drawn.rindex(b"\x1b[?1049l") > terminal.drawn.rindex(b"\x1b[?1049h")
            terminal.drawn = b""
            terminal.process.send_signal(signal.SIGCONT)
            for word in (b"Waits", b"Roots", b"quit"):
                terminal.until(word)
        os.write(terminal.ours, b"q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_bytes_that_are_no_text_are_not_the_end() -> None:
    """Line noise, a Latin-1 key, half a character, half a command of a terminal: the keys after them still work."""
    terminal = Terminal(str(os.getpid()))
    try:
        terminal.until(b"Waits")
        for noise in (b"\xff", b"caf\xe9", b"\xe2\x82", b"\x00\x1b[?99;99z", b"\x1b]0;\x07"):
            os.write(terminal.ours, noise)
            terminal.take(0.2)
        end = time.monotonic() + LIMIT_S
        while b"Backspace" not in terminal.drawn:
            assert terminal.process.poll() is None and time.monotonic() < end, terminal.drawn[-2000:]
            os.write(terminal.ours, b"?")
            terminal.take(0.5)
        os.write(terminal.ours, b"q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_the_console_does_not_watch_itself() -> None:
    """With FASTLOCK_INSTALL in its environment it is not among the children of the process that it looks at, and its own locks are plain ones."""
    with running_program("import fastlock; fastlock.install()") as pid:
        terminal = Terminal(str(os.getpid()), "--view", "processes", FASTLOCK_INSTALL="1")
        try:
            terminal.until(str(pid).encode())
            os.write(terminal.ours, b"?")
            terminal.until(b"Backspace")
            os.write(terminal.ours, b"q")
            assert terminal.end() == 0
            assert not re.search(rb"\b%d\b" % terminal.process.pid, terminal.drawn)
        finally:
            terminal.close()


@contextlib.contextmanager
def running_program(code: str) -> Iterator[int]:
    """A process that has run this and waits; its number."""
    command = [sys.executable, "-c", f"{code}\nprint(1, flush=True)\nimport sys\nsys.stdin.read()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()
