"""The command line: ``fastlock run`` is plain python with fastlock installed, and wrong use is one clear line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Completed = subprocess.CompletedProcess
SHOW = """
import sys, os
import threading
print(__name__, __file__ if "__file__" in globals() else None, __package__, __spec__ and __spec__.name)
print(sys.argv, sys.path, sys.flags, os.getcwd(), sys.stdin.read())
print(sorted(name for name in globals()))
"""


@pytest.fixture
def run(python, tmp_path: Path) -> Callable[..., Completed[str]]:
    """Return a function that calls ``fastlock run`` in an empty directory."""

    def run(*words: object, flags: tuple[str, ...] = (), **options: object) -> Completed[str]:
        return python(*flags, "-m", "fastlock", "run", *words, **{"cwd": tmp_path, **options})

    return run


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a file and gives its name."""

    def write(text: str, name: str = "program.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return name

    return write


def outcome(done: Completed[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


# ---- as plain python

SAME = {
    "script": ["program.py", "a", "--level", "off", "--", "-m"],
    "script in a directory": ["pkg/inner.py", "x"],
    "module": ["-m", "program", "-v", "--json", "x"],
    "module in a package": ["-m", "pkg.inner"],
    "module in one word": ["-mprogram", "y"],
    "package": ["-m", "pkg"],
    "directory": ["pkg", "z"],
    "zip": ["program.zip", "z"],
    "standard input": ["-", "a"],
    "no such module": ["-m", "no_such_module"],
    "directory without main": ["./empty"],
}


@pytest.mark.parametrize("words", SAME.values(), ids=SAME)
def test_same_as_python(words: list[str], run, script, python, tmp_path: Path) -> None:
    """__main__, argv, sys.path, flags, standard input and output are python's."""
    for name in ("program.py", "pkg/inner.py", "pkg/__main__.py"):
        script(SHOW, name)
    script("", "pkg/__init__.py")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    text = "print('from standard input')" if words[0] == "-" else "some text\n"
    assert outcome(run(*words, input=text)) == outcome(python(*words, input=text, cwd=tmp_path))


ENDINGS = {
    "end": "pass",
    "exit 0": "raise SystemExit",
    "exit 7": "raise SystemExit(7)",
    "exit text": "raise SystemExit('text')",
    "error": "def f():\n    return 1 / 0\nf()",
    "syntax error": "def",
    "_exit": "import os\nos._exit(9)",
    "interrupt": "raise KeyboardInterrupt",
    "signal": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "error in a thread": "import threading\nt = threading.Thread(target=int, args=('x',), name='t')\nt.start()\nt.join()",
    "atexit": "import atexit\natexit.register(print, 'bye')\nraise SystemExit(4)",
}


@pytest.mark.parametrize("text", ENDINGS.values(), ids=ENDINGS)
def test_same_end(text: str, run, script, python, tmp_path: Path) -> None:
    """Exit statuses, deaths by signal and tracebacks are python's."""
    name = script(text)
    assert outcome(run(name)) == outcome(python(name, cwd=tmp_path))


def test_signals_reach_the_program(run, script, tmp_path: Path) -> None:
    """The program is the very process that was started: what is sent to it arrives, Ctrl-C too."""
    name = script(
        "import os, signal, time\n"
        "try:\n"
        "    print(os.getpid(), signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)\n"
        "    while True:  # a signal just before one long sleep would not end it\n        time.sleep(0.01)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "fastlock", "run", name], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == f"{process.pid} True\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
        assert process.returncode == 0
    finally:
        process.kill()


def test_interpreter_flags_are_kept(run, script) -> None:
    """python -X dev -W error -m fastlock run x.py is python -X dev -W error x.py."""
    name = script("import sys\nprint(sys.flags.dev_mode, 'error' in sys.warnoptions, sys.flags.isolated)")
    assert run(name, flags=("-X", "dev", "-W", "error")).stdout == "True True 0\n"
    assert run(name, flags=("-I",)).stdout == "False False 1\n"


def test_program_is_instrumented(run, script) -> None:
    """threading's locks are ours from the first line, and those of spawn workers as well."""
    name = script(
        "import threading, multiprocessing\n"
        "import fastlock\n"
        "def ours(q):\n    q.put(threading.Lock is fastlock.Lock)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    q = context.SimpleQueue()\n"
        "    worker = context.Process(target=ours, args=(q,))\n"
        "    worker.start()\n"
        "    print(threading.Lock is fastlock.Lock, q.get())\n"
        "    worker.join()\n"
    )
    assert outcome(run(name)) == (0, "True True\n", "")


def test_options_reach_the_program(run, script, tmp_path: Path) -> None:
    """Each option is a setting of the started program; the file's name is made absolute."""
    name = script("from fastlock import config\nprint(config.current())")
    options = ["--level", "off", "--on-deadlock=exit", "--acquire-timeout", "1.5", "--json", "f.jsonl"]
    done = run(*options, "--", name)
    settings = f"Settings(level='off', on_deadlock='exit', on_inversion='report', acquire_timeout=1.5, slow_wait=10.0, loop_block=0.1, json={str(tmp_path / 'f.jsonl')!r}, suppress=(), suppress_file=None, publish_awaits=False)\n"
    assert outcome(done) == (0, settings, "")
    assert (tmp_path / "f.jsonl").exists()


def test_options_go_before_the_environment(run, script) -> None:
    """An option wins over an inherited variable, which counts where there is no option."""
    name = script("from fastlock import config\nprint(config.level(), config.current().on_deadlock)")
    environ = {"FASTLOCK_LEVEL": "off", "FASTLOCK_ON_DEADLOCK": "exit"}
    assert run("--level", "detect", name, env=environ).stdout == "detect exit\n"


def test_verbose_counts_raw_locks(run, script) -> None:
    """-v says once, on standard error, what cannot be seen."""
    done = run("-v", script("print('out')"))
    assert done.stdout == "out\n"
    words = done.stderr.split(": ", 2)
    assert words[0] == "fastlock" and words[1].startswith("pid ")
    assert words[2].startswith("level detect, ") and words[2].endswith(" raw locks existed before and cannot be seen\n")


def test_disabled_run_is_plain(run, script) -> None:
    """FASTLOCK_DISABLE=1 wins over fastlock run."""
    name = script("import threading, _thread\nprint(threading._CRLock is _thread.RLock)")
    assert outcome(run(name, env={"FASTLOCK_DISABLE": "1"})) == (0, "True\n", "")


# ---- console scripts

PYTHON_SCRIPTS = {
    "plain": f"#!{sys.executable}\n",
    "env": "#!/usr/bin/env python3\n",
    "long path": f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n' '''\n",
}


def console_script(directory: Path, name: str, text: str) -> dict[str, str]:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("start", PYTHON_SCRIPTS.values(), ids=PYTHON_SCRIPTS)
def test_console_script(start: str, run, tmp_path: Path) -> None:
    """A console script is found on the path and runs as if called by its name."""
    environ = console_script(tmp_path / "bin", "probe-tool", start + "import sys\nprint(__name__, sys.argv, sys.path[0])")
    done = run("probe-tool", "--level", "x", env=environ)
    bin_ = str(tmp_path / "bin")
    assert outcome(done) == (0, f"__main__ {[bin_ + '/probe-tool', '--level', 'x']} {bin_}\n", "")


def test_console_script_flags(run, tmp_path: Path) -> None:
    """What the first line passes to python is passed."""
    environ = console_script(tmp_path / "bin", "probe-tool", f"#!{sys.executable} -I\nimport sys\nprint(sys.flags.isolated)")
    assert run("probe-tool", env=environ).stdout == "1\n"


def test_directory_of_that_name_is_no_program(run, tmp_path: Path) -> None:
    """A source directory with a console script's name does not hide it."""
    environ = console_script(tmp_path / "bin", "probe-tool", f"#!{sys.executable}\nprint('script')")
    (tmp_path / "probe-tool").mkdir()
    assert run("probe-tool", env=environ).stdout == "script\n"


def test_console_script_of_another_language(run, tmp_path: Path) -> None:
    """A shell script cannot be run by python, and that is said at once."""
    environ = console_script(tmp_path / "bin", "probe-tool", "#!/bin/sh\necho x\n")
    done = run("probe-tool", env=environ)
    assert outcome(done) == (2, "", f"fastlock run: not a Python script: {tmp_path}/bin/probe-tool\n")


# ---- wrong use

REFUSED = {
    "missing script": (["x.py"], "no such file: x.py"),
    "missing path": (["dir/x"], "no such file: dir/x"),
    "missing name": (["no-such-tool", "a"], "no such file or console script: no-such-tool"),
    "empty name": ([""], "neither a script, -m and a module, nor a console script: ''"),
    "option as script": (["--", "-c", "pass"], "neither a script, -m and a module, nor a console script: '-c'"),
    "no module": (["-m"], "-m needs the name of a module"),
    "level": (["--level", "x", "ok.py"], "--level='x': is unknown; this one has: off, detect, order"),
    "later level": (["--level", "trace", "ok.py"], "--level='trace': comes with a later version; this one has: off, detect, order"),
    "policy": (["--on-deadlock", "x", "ok.py"], "--on-deadlock='x': must be 'report', 'raise', 'exit' or, in Python, a callable"),
    "not a number": (["--acquire-timeout", "x", "ok.py"], "--acquire-timeout='x': must be a number of seconds"),
    "negative": (["--acquire-timeout", "-1", "ok.py"], "--acquire-timeout='-1': must be a number of seconds"),
    "no directory": (["--json", "no/x", "ok.py"], "--json='no/x': cannot be appended to: No such file or directory"),
    "empty json": (["--json=", "ok.py"], "--json='': cannot be appended to"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line(words: list[str], message: str, run, script) -> None:
    """One line on standard error, status 2, and nothing was run."""
    script("print('ran')", "ok.py")
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fastlock run: {message}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--"], ["--level"], ["--levle", "off", "ok.py"], ["--lev", "off", "ok.py"]])
def test_usage_errors(words: list[str], run, script) -> None:
    """Misspelt, abbreviated or missing words get the usage and status 2."""
    script("print('ran')", "ok.py")
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: fastlock run ") and "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_script(run, script, tmp_path: Path) -> None:
    """A script without read permission is refused with the system's reason."""
    (tmp_path / script("")).chmod(0)
    assert outcome(run("program.py")) == (2, "", "fastlock run: cannot read program.py: Permission denied\n")


def test_pipe_as_script(run, tmp_path: Path) -> None:
    """A script that can be read once only, such as a shell's <(…), is not consumed by the check."""
    read, write = os.pipe()
    os.write(write, b"print('from a pipe')")
    os.close(write)
    done = run(f"/dev/fd/{read}", pass_fds=(read,))
    os.close(read)
    assert outcome(done) == (0, "from a pipe\n", "")


def test_without_site_packages(run, python, script, tmp_path: Path) -> None:
    """Where the .pth cannot act, fastlock run does not pretend."""
    package = Path(sys.modules["fastlock"].__file__).parents[1]
    done = run(script("print('ran')"), flags=("-S",), env={"PYTHONPATH": str(package)})
    line = "fastlock run: python -S does not read fastlock.pth, so the program would run without fastlock\n"
    assert outcome(done) == (2, "", line)
    code = "import site, fastlock.cli\nsite.getsitepackages = site.getusersitepackages = lambda: []\n" \
        "site.ENABLE_USER_SITE = False\nraise SystemExit(fastlock.cli.main(['run', 'program.py']))"  # fmt: skip
    done = python("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastlock run: fastlock.pth is in no site directory of ") and done.stderr.count("\n") == 1


# ---- the start file

START_ERRORS = [
    ({"FASTLOCK_LEVEL": "x"}, "FASTLOCK_LEVEL='x': is unknown; this one has: off, detect, order"),
    ({"FASTLOCK_INSTALL": "maybe"}, "FASTLOCK_INSTALL='maybe': must be 1 or 0"),
    ({"FASTLOCK_DISABLE": "x"}, "FASTLOCK_DISABLE='x': must be 1 or 0"),
    ({"FASTLOCK_JSON": "/no/such/file"}, "FASTLOCK_JSON='/no/such/file': cannot be appended to: No such file or directory"),
]


@pytest.mark.parametrize(("environ", "message"), START_ERRORS)
def test_bad_variable_ends_the_start(environ: dict[str, str], message: str, python) -> None:
    """A bad value is one line and status 2 before the program's first line."""
    done = python("-c", "print('ran')", env={"FASTLOCK_INSTALL": "1", **environ})
    assert outcome(done) == (2, "", f"fastlock: {message}\n")


@pytest.mark.parametrize("install", ["", "1"])
def test_bad_variable_and_the_command(install: str, run, script) -> None:
    """Our own command says the same line, whether or not fastlock was installed in it."""
    done = run(script("print('ran')"), env={"FASTLOCK_INSTALL": install, "FASTLOCK_SLOW_WAIT": "x"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastlock: FASTLOCK_SLOW_WAIT='x': must be") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("value", [None, "", "0", "off"])
def test_not_asked_not_installed(value: str | None, python) -> None:
    """Without FASTLOCK_INSTALL nothing is patched."""
    code = "import sys, threading, _thread\nprint(threading._CRLock is _thread.RLock, 'fastlock.auto' in sys.modules)"
    assert python("-c", code, env={} if value is None else {"FASTLOCK_INSTALL": value}).stdout == "True False\n"


def test_idle_start_file_imports_nothing(python) -> None:
    """The .pth costs a look into the environment: no module of ours is imported for it."""
    code = "import sys\nprint([name for name in sys.modules if 'fastlock' in name])"
    assert python("-c", code).stdout == python("-c", code, env={"FASTLOCK_INSTALL": "0"}).stdout == "[]\n"


def test_broken_package_does_not_stop_python(python, tmp_path: Path) -> None:
    """Where the extension cannot be imported, the program runs uninstrumented after one line."""
    (tmp_path / "fastlock").mkdir()
    (tmp_path / "fastlock" / "__init__.py").write_text("raise ImportError('no\\nextension')")
    done = python("-c", "print('ran')", env={"FASTLOCK_INSTALL": "1", "PYTHONPATH": str(tmp_path)})
    assert outcome(done) == (0, "ran\n", "fastlock: not installed in this process: ImportError: no extension\n")


def test_subinterpreters_start_in_silence(python) -> None:
    """site.py runs in subinterpreters as well; they stay as they are, and the main one is ours."""
    code = """
import threading, warnings
import fastlock
warnings.simplefilter("ignore")
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
inner = interpreters.create()
run = getattr(interpreters, "exec", None) or interpreters.run_string
run(inner, "import threading, _thread\\nprint(threading._CRLock is _thread.RLock, flush=True)")
interpreters.destroy(inner)
print(threading.Lock is fastlock.Lock)
"""
    assert outcome(python("-c", code, env={"FASTLOCK_INSTALL": "1"})) == (0, "True\nTrue\n", "")


# ---- the other words


def test_top_level(python) -> None:
    """Help and version are fine, nothing and unknown words are wrong use."""
    for words, status in ((["--help"], 0), (["--version"], 0), ([], 2), (["nonsense"], 2), (["--nonsense"], 2)):
        done = python("-m", "fastlock", *words)
        assert done.returncode == status and "Traceback" not in done.stderr
        assert bool(done.stdout) == (status == 0) and bool(done.stderr) == (status == 2)
    assert python("-m", "fastlock", "--version").stdout.startswith("fastlock 0.")
    assert "explain" in python("-m", "fastlock", "--help").stdout
    assert "--on-deadlock" in python("-m", "fastlock", "run", "--help").stdout


def test_explain(python) -> None:
    """A code in any case of letters is explained; an unknown one gets the list."""
    done = python("-m", "fastlock", "explain", "fl001", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "FL001" in done.stdout and done.stderr == ""
    done = python("-m", "fastlock", "explain", "FL999")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastlock explain: there is no code 'FL999', only FL001, ") and done.stderr.count("\n") == 1
    assert python("-m", "fastlock", "explain").returncode == 2


@pytest.mark.parametrize("words", [["--help"], ["explain", "FL001"], ["run", "--help"]])
def test_closed_pipe_is_quiet(words: list[str], python) -> None:
    """A reader that has gone, as in "| head", gets no traceback from us."""
    read, write = os.pipe()
    os.close(read)
    done = python("-m", "fastlock", *words, stdout=write)
    os.close(write)
    # Where output is unbuffered argparse has swallowed the error by itself.
    assert done.returncode in (128 + signal.SIGPIPE, 0) and done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_full_disk_is_one_line(python) -> None:
    """Output that cannot be written is an error of one line."""
    with open("/dev/full", "w") as full:
        done = python("-m", "fastlock", "explain", "FL001", stdout=full)
    assert (done.returncode, done.stderr) == (2, "fastlock: cannot write: No space left on device\n")
