"""``fastlock doctor``: an installation's facts, a process's level and who decided it, and a word for each reason why it cannot be seen or asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastlock
from fastlock import cli
from live import running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROOT = os.geteuid() == 0


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command here; return what it printed."""
    assert cli.main(["doctor", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def facts(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """The same as facts."""
    return json.loads(doctor(capsys, *arguments, "--json"))


# ---- the installation


def test_this_installation(capsys: pytest.CaptureFixture[str]) -> None:
    """Version, package, start file, extras and the way sites are read are those of the interpreter that runs it."""
    found = facts(capsys)
    assert found["version"] == fastlock.__version__ and found["python"] == sys.version.split()[0]
    assert found["package"] == str(Path(fastlock.__file__).parent)
    assert found["start_file"].endswith("fastlock.pth") and Path(found["start_file"]).exists()
    assert found["sites"] == "direct" and found["words"] in ("plain store", "compare-and-swap")
    assert set(found["refuses"]) == {"gevent", "eventlet"} and found["table"] is None
    assert "openfeature-sdk" in found["extras"]["openfeature"] and not {"test", "bench", "dev"} & found["extras"].keys()
    text = doctor(capsys)
    assert text.startswith(f"fastlock {fastlock.__version__}, CPython {found['python']}")
    for label in ("Package", "Sites", "Lock words", "Start", "Extras", "Level", "install()", "Sockets", "Table"):
        assert f"\n  {label:<14}" in text


def test_the_environment_and_what_it_means(python: Any) -> None:
    """Each variable is shown with what it means to a process, also those that mean nothing."""
    env = {"FASTLOCK_LEVEL": "order", "FASTLOCK_SLOW_WAIT": "3", "FASTLOCK_INSTALL": "1", "FASTLOCK_LEVLE": "off", "FASTLOCK_JSON": ""}
    done = python("-m", "fastlock", "doctor", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        "FASTLOCK_INSTALL=1: on",
        "FASTLOCK_JSON=: empty counts as unset",
        "FASTLOCK_LEVEL=order: level='order'",
        "FASTLOCK_LEVLE=off: fastlock has no such variable",
        "FASTLOCK_SLOW_WAIT=3: slow_wait=3.0",
    ):
        assert line in done.stdout


def test_a_bad_variable_is_the_first_thing_said(python: Any) -> None:
    """Where a variable is wrong no process with fastlock starts, so doctor says that and nothing else."""
    done = python("-m", "fastlock", "doctor", env={"FASTLOCK_LEVEL": "loud"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fastlock: FASTLOCK_LEVEL='loud': is unknown; this one has: off, detect, order\n"
    shown = python("-m", "fastlock", "doctor", env={"FASTLOCK_LEVEL": "loud", "FASTLOCK_DISABLE": "1"})
    assert "FASTLOCK_LEVEL=loud: wrong: 'loud': is unknown" in shown.stdout and "off: disabled by FASTLOCK_DISABLE" in shown.stdout


def test_python_that_reads_no_start_file(python: Any) -> None:
    """Under python -S nothing installs at the start, and doctor says so."""
    code = "import sys; sys.path[:0] = " + repr([path for path in sys.path if path]) + "; from fastlock import cli; sys.exit(cli.main(['doctor']))"
    done = python("-S", "-c", code)
    assert "fastlock.pth is in no site directory: FASTLOCK_INSTALL and `fastlock run` have no effect" in " ".join(done.stdout.split())


# ---- a process


def test_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    """The level in force, who decided it and until when, who does not decide, what is installed, and what was found."""
    source = """
    fastlock.set_level("detect")
    a, b = threading.Lock(), threading.Lock()
    ring([a, b]); found("FL001"); ready(); stay()
    """
    with running(source, env={"FASTLOCK_LEVEL": "off"}, stderr=subprocess.DEVNULL) as live:
        live.path()
        assert cli.main(["level", str(live.pid), "order", "--for", "10m"]) == 0
        capsys.readouterr()
        text = " ".join(doctor(capsys, live.pid).split())
        for words in (
            f"program.py, pid {live.pid} Process uid {os.geteuid()} ",
            "Seen its table can be read: fastlock dump",
            "Asked it answers: fastlock level",
            "Level order (fastlock level, ",
            "which outranks: the default says detect, FASTLOCK_LEVEL says off, set in code says detect",
            "Installed in threading",
            "Findings FL001",
            "Waits 2 of 3 agents, the oldest for ",
            "health: deadlocked",
        ):
            assert words in text, text
        found = facts(capsys, live.pid)
        assert found["status"]["now"]["source"] == "switch" and 0 < found["status"]["now"]["left_s"] <= 600
        assert found["unseen"] is None and found["unasked"] is None and found["table"]["deadlocked"] is True


@pytest.mark.parametrize(
    ("source", "env", "install", "words"),
    [
        ("", {"FASTLOCK_CONTROL": "0"}, True, "no socket: the process was started with FASTLOCK_CONTROL=0"),
        ("", {"FASTLOCK_DISABLE": "1"}, True, "it is disabled: the process was started with FASTLOCK_DISABLE"),
        ("", {}, False, "no socket: it has not called install() (or not imported threading yet), or has set control=False"),
        ("fastlock.configure(control=True)\n", {}, False, "Installed no: install() has not been called, or has been taken back"),
    ],
    ids=["off", "disabled", "not installed", "used without install"],
)
def test_what_is_switched_off(source: str, env: dict[str, str], install: bool, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that can be seen but not asked, or has not installed anything, is told so; that is no error."""
    with running(f"{source}ready(); stay()", env=env, install=install) as live:
        assert words in " ".join(doctor(capsys, live.pid).split())


def test_a_stopped_process(capsys: pytest.CaptureFixture[str]) -> None:
    """It cannot be asked, and is seen all the same: level and waits come from the table."""
    with running("ready(); stay()") as live:
        live.path()
        with live.stopped():
            text = " ".join(doctor(capsys, live.pid).split())
        assert "stopped, " in text and "is stopped and answers when it goes on" in text
        assert "Level detect; who decided it only the process itself can say" in text


@pytest.mark.skipif(not ROOT, reason="only root can be another user")
@pytest.mark.parametrize("other", ["foreign", "not dumpable"])
def test_a_process_that_may_not_be_looked_at(other: str) -> None:
    """Another user's process, and one of ours that is not dumpable: one line, status 2 for the one, and for the other what it answers itself."""
    source = "import ctypes, fastlock.answers\n" + (
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        + ("ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n" if other == "foreign" else "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n")
        + "from fastlock import control\nwait_until(lambda: '65534' in (control.address() or ''), 60); ready(); stay()"
    )
    uid = 65533 if other == "foreign" else 65534
    with running(source, env={"XDG_RUNTIME_DIR": ""}) as live:
        code = (
            "import os, sys; from fastlock import cli; cli.main(['doctor', '2147483647']); "  # imports what may be in root's home
            f"os.setgroups([]); os.setgid({uid}); os.setuid({uid}); sys.exit(cli.main(['doctor', '{live.pid}']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        if other == "foreign":
            assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 2
            assert "it belongs to nobody (uid 65534), and this is uid 65533; that user or root may look" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
            text = " ".join(done.stdout.split())
            assert "Seen process" in text and "it is not dumpable" in text and "Asked it answers" in text


def test_no_process_and_no_fastlock(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither is a traceback: one line and status 2."""
    with running("import sys\nprint('ready', flush=True); sys.stdin.readline()", prelude="", install=False) as live:
        for pid, words in ((live.pid, "there is no fastlock in it"), (2**31 - 1, "there is no process 2147483647")):
            assert cli.main(["doctor", str(pid)]) == 2
            out, err = capsys.readouterr()
            assert out == "" and err.startswith("fastlock doctor: ") and words in err and err.count("\n") == 1
