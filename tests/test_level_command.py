"""``fastlock level``: what it prints, and one line with status 2 for everything that cannot be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fastlock import calling, cli
from fastlock.cli.level import seconds
from live import Live, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the credentials of who connects")
ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def idle() -> Iterator[Live]:
    """A process that does nothing."""
    with running("ready(); stay()", env={"FASTLOCK_LEVEL": "off"}) as live:
        yield live


def level(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command here; return its status and what it wrote."""
    try:
        status = cli.main(["level", *map(str, arguments)])
    except SystemExit as exc:
        status = int(str(exc.code))
    out, err = capsys.readouterr()
    return status, out, err


def test_the_words(idle: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what the level is, until when, who decides, and what it was before; one line each."""
    told = [
        ([], r"level off \(FASTLOCK_LEVEL\)"),
        (["order", "--for", "10m"], r"level order for 10m 00s, until \d\d:\d\d:\d\dZ; before: level off \(FASTLOCK_LEVEL\)"),
        ([], r"level order \(fastlock level, (10m 00s|9m 5\ds) left, until \d\d:\d\d:\d\dZ\)"),
        (["detect"], r"level detect until it is set again; before: level order \(fastlock level, .* left, until .*Z\)"),
        (["--reset"], r"level off \(FASTLOCK_LEVEL\) again; before: level detect \(fastlock level\)"),
        (["order", "--for=90"], r"level order for 1m 30s, until \d\d:\d\d:\d\dZ; before: .*"),
        (["--reset"], r"level off .*"),
    ]
    for arguments, pattern in told:
        status, out, err = level(capsys, idle.pid, *arguments)
        assert (status, err) == (0, "") and re.fullmatch(f"pid {idle.pid}: {pattern}\n", out), out


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0.5s", 0.5), ("1.5h", 5400)]
)
def test_times(text: str, expected: float) -> None:
    """Plain seconds, and a number with a unit."""
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "10 m", "m", "10x", "1e3", "nan", "inf", "١٠", "9" * 30, "1h30m"])
def test_bad_times(text: str) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(ValueError, match="must be a time such as 90s, 10m or 2h"):
        seconds(text)


def test_wrong_use(idle: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """Each wrong use is status 2 and one line, and changes nothing."""
    wrong = [
        ([idle.pid, "loud"], f"fastlock level: process {idle.pid} refuses: level 'loud' is unknown; this one has: off, detect, order"),
        ([idle.pid, "trace"], f"fastlock level: process {idle.pid} refuses: level 'trace' comes with a later version"),
        ([idle.pid, "order", "--for", "soon"], "fastlock level: --for='soon': must be a time"),
        ([idle.pid, "order", "--for", "9999d"], f"fastlock level: process {idle.pid} refuses: for_s is"),
        ([idle.pid, "--for", "5"], "fastlock level: --for needs a level"),
        ([idle.pid, "off", "--reset"], "fastlock level: --reset goes with neither"),
    ]
    for arguments, words in wrong:
        status, out, err = level(capsys, *arguments)
        assert (status, out) == (2, "") and err.startswith(words) and err.count("\n") == 1, err
    for arguments in ([], ["x"], ["-5"], [0], [idle.pid, "off", "more"], ["1" * 30]):
        status, out, err = level(capsys, *arguments)
        assert (status, out) == (2, "") and err.splitlines()[-1].startswith("fastlock level: error: "), err
    assert level(capsys, idle.pid)[1] == f"pid {idle.pid}: level off (FASTLOCK_LEVEL)\n"


def refused(capsys: pytest.CaptureFixture[str], pid: int) -> str:
    """The one line about a process that cannot be asked."""
    status, out, err = level(capsys, pid, "order")
    assert (status, out) == (2, "") and err.count("\n") == 1 and err.startswith("fastlock level: "), err
    return err


def test_no_process(capsys: pytest.CaptureFixture[str]) -> None:
    """A number that no process has, one that has ended and was not waited for, and that of a thread."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert f"process {process.pid} has ended" in refused(capsys, process.pid)
        process.wait()
        assert f"there is no process {process.pid}" in refused(capsys, process.pid)


def test_a_thread_is_no_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Who takes the number of a thread for a process's is told whose it is."""
    with running("number = []; start(lambda: (number.append(threading.get_native_id()), stay()))\nready(wait_until(lambda: number)[0]); time.sleep(600)") as live:
        assert f"{live.words[0]} is a thread of process {live.pid}" in refused(capsys, int(live.words[0]))


def test_no_fastlock(capsys: pytest.CaptureFixture[str]) -> None:
    """A process without fastlock is told from one that has it and does not listen."""
    with running("import sys\nprint('ready', flush=True); sys.stdin.readline()", prelude="", install=False) as live:
        assert f"process {live.pid}: there is no fastlock in it" in refused(capsys, live.pid)


@pytest.mark.parametrize(
    ("env", "install", "reason"),
    [
        ({}, False, "no socket: it has not called install() (or not imported threading yet), or has set control=False"),
        ({"FASTLOCK_CONTROL": "0"}, True, "no socket: the process was started with FASTLOCK_CONTROL=0"),
        ({"FASTLOCK_DISABLE": "1"}, True, "it is disabled: the process was started with FASTLOCK_DISABLE"),
    ],
)
def test_no_socket(
    env: dict[str, str], install: bool, reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why a process with fastlock does not listen is said."""
    monkeypatch.setattr(calling, "YOUNG_S", 0.0)  # nobody is about to make one
    with running("ready(); stay()", env=env, install=install) as live:
        assert f"process {live.pid} has fastlock, but {reason}" in refused(capsys, live.pid)


@pytest.mark.skipif(not ROOT, reason="only root can be another user")
def test_another_users_process() -> None:
    """Another user's process is refused with both names, and nothing about it."""
    with running("ready(); stay()") as live:
        live.path()
        code = (
            "import os, sys; from fastlock import cli; cli.main(['level', '2147483647']); "  # imports what may be in root's home
            f"os.setgid(65534); os.setuid(65534); sys.exit(cli.main(['level', '{live.pid}', 'order']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 2
        assert f"process {live.pid}: it belongs to root (uid 0), and this is nobody (uid 65534)" in done.stderr
        assert calling.call(live.pid, {"do": "level"}, 30)["now"]["level"] == "detect"


def test_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The command is in the list, and has a help of its own."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "  level " in capsys.readouterr().out
    assert level(capsys, "--help")[0] == 0
