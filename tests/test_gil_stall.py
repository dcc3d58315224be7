"""A GIL that does not move: a thread without it says who holds it, and is silent about everything else.

What holds the GIL here is read(2) by ctypes.PyDLL, which keeps it: until the test, which has seen what it wanted, writes a byte.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from fastlock import _stall
from support import LIMIT_S, TESTS, answer, ask, run_program

pytestmark = pytest.mark.skipif(not _stall.works(), reason=f"the GIL cannot be watched here: {_stall.trouble()}")

HEAD = """
import ctypes, os, signal, sys, threading, time, warnings
import fastlock
from fastlock import _stall
from support import *

fastlock.configure(gil_stall=0.2)
keeping_the_gil = ctypes.PyDLL(None)
letting_it_go = ctypes.CDLL(None)
ledger_lock = fastlock.Lock()
rates_lock = fastlock.Lock(name="rates")
over = fastlock.Event()

def hog():
    keeping_the_gil.read(0, ctypes.create_string_buffer(1), 1)

def waiter():
    with ledger_lock:
        pass

def timed():
    while not over.is_set():
        rates_lock.acquire(timeout=0.01)    # wants the GIL each time

def tasks():
    '''The threads as the kernel knows them: id and name.'''
    found = {}
    for tid in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{tid}/comm") as file:
                found[int(tid)] = file.read().strip()
        except OSError:
            pass        # it has ended
    return found

def looked(times):
    '''Wait until the thread has looked so often from here on.'''
    before = _stall.counts()[0]
    wait_until(lambda: _stall.counts()[0] >= before + times)
"""


class Running:
    """A program whose standard error is read as it comes."""

    def __init__(self, path: Path, source: str, options: Sequence[str] = (), env: dict[str, str] | None = None) -> None:
        path.write_text(HEAD + textwrap.dedent(source), encoding="utf-8")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
        self.process = subprocess.Popen(
            [sys.executable, *options, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, "PYTHONPATH": str(TESTS), **(env or {})},
        )
        self.error = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until standard error matches."""
        end = time.monotonic() + LIMIT_S
        stream = self.process.stderr
        assert stream is not None
        while True:
            found = re.search(pattern, self.error)
            if found:
                return found
            ready = select.select([stream], [], [], max(0.0, end - time.monotonic()))[0]
            data = os.read(stream.fileno(), 65536) if ready else b""
            assert data, f"{pattern!r} is not in what came:\n{self.error}"
            self.error += data.decode("utf-8")

    def let_go(self) -> None:
        """Have one hog() return."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"x")
        self.process.stdin.flush()

    def end(self) -> str:
        """Wait for the program's end, which has to be good; return all of its standard error."""
        out, error = self.process.communicate(timeout=LIMIT_S)
        self.error += error.decode("utf-8")
        assert self.process.returncode == 0, f"{out!r}\n{self.error}"
        return self.error


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts a program; none outlives the test."""
    started: list[Running] = []

    def start(source: str, options: Sequence[str] = (), env: dict[str, str] | None = None) -> Running:
        started.append(Running(tmp_path / f"program{len(started)}.py", source, options, env))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.communicate()


def line_of(source: str, text: str) -> int:
    """The number that a line of a program has."""
    return next(number for number, line in enumerate((HEAD + textwrap.dedent(source)).splitlines(), 1) if text in line)


EMBRACED = """
    def keeper():
        with ledger_lock, rates_lock:
            start(waiter), start(timed)
            blocked("waiter", "timed")
            hog()       # at once: nobody gets the GIL again to start anything
        over.set()
    start(keeper).join()
    """


# ---- what is told -----------------------------------------------------------------------------------


def test_the_report_names_the_holder_and_who_waits(program: Any) -> None:
    """Thread, its id, what it does, the calls it is in; each wait with its lock, its line, its age and who holds the lock."""
    running = program(EMBRACED)
    running.until(r"timed waits for .*\n")
    head, *lines = running.error.splitlines()
    assert re.fullmatch(
        rf'fastlock: the GIL has not moved for \d+(\.\d)? m?s \(pid {running.process.pid}\): held by thread "keeper" '
        r"\(tid \d+\), which sleeps in the kernel( \(\w+\))?",
        head,
    )
    assert re.fullmatch(rf"fastlock:   in \S*program0.py:{line_of(EMBRACED, 'keeping_the_gil.read')} in hog", lines[0])
    assert re.fullmatch(rf"fastlock:   by \S*program0.py:{line_of(EMBRACED, 'hog()  ')} in keeper", lines[1])
    taken = line_of(EMBRACED, "with ledger_lock, rates_lock")
    wanted = line_of(EMBRACED, "with ledger_lock:"), line_of(EMBRACED, "rates_lock.acquire(")
    waits = sorted(line for line in lines if " waits for " in line)
    held = rf", held by keeper \[program0.py:{taken}\]"
    assert len(waits) == 2
    assert re.fullmatch(rf"fastlock:   timed waits for rates \[program0.py:{wanted[1]}\] \d+(\.\d)? m?s{held}", waits[0])
    assert re.fullmatch(rf"fastlock:   waiter waits for ledger_lock \[program0.py:{wanted[0]}\] \d+(\.\d)? m?s{held}", waits[1])
    running.let_go()
    running.end()


def test_once_for_a_stall_and_a_line_when_it_is_over(program: Any) -> None:
    """One report however long it lasts, how long it lasted, and the next stall is told again."""
    running = program("""
        with ledger_lock, rates_lock:
            start(waiter), start(timed)
            for _ in range(2):
                hog()
                looked(3)
            over.set()
        """)
    for _ in range(2):
        told = running.until(r"has not moved for")
        assert told
        running.error = running.error.replace("has not moved for", "HAS NOT MOVED FOR")
        time_line = r"fastlock: the GIL moved again after \d+(\.\d)? m?s"
        assert not re.search(time_line, running.error)
        running.let_go()
        running.until(time_line)
        running.error = running.error.replace("moved again", "MOVED AGAIN")
    error = running.end()
    assert error.upper().count("HAS NOT MOVED FOR") == error.upper().count("MOVED AGAIN") == 2


def test_a_regular_expression_that_never_ends(program: Any) -> None:
    """It computes, in a call of the standard library's, in a line of the program's."""
    source = """
        import re
        with ledger_lock, rates_lock:
            start(waiter), start(timed)
            re.match("(a+)+$", "a" * 64 + "b")
        """
    running = program(source)
    running.until(r"waits for .*\n")
    assert re.search(r'held by thread "MainThread" \(tid \d+\), which (computes|sleeps)', running.error)
    assert re.search(r"fastlock:   in \S*re\S*\.py:\d+ in (match|prefixmatch)\n", running.error)
    assert f"program0.py:{line_of(source, 're.match')} in <module>\n" in running.error


def test_a_thread_that_no_lock_of_ours_knows(program: Any) -> None:
    """It is told by what the kernel calls it, from 3.11 on, and by its calls."""
    running = program("""
        import _thread
        with ledger_lock, rates_lock:
            start(waiter), start(timed)
            blocked("waiter", "timed")
            _thread.start_new_thread(hog, ())
            looked(3)
            over.set()
        """)
    running.until(r"waits for .*\n")
    who = r'"[^"\n]+" \(tid \d+\), which sleeps' if sys.version_info >= (3, 11) else r"0x[0-9a-f]+, which has used no lock of fastlock's"
    assert re.search(rf"held by thread {who}.*\nfastlock:   in \S*program0.py:\d+ in hog\n", running.error)
    running.let_go()
    running.end()


def test_names_in_any_script(program: Any) -> None:
    """Names of locks, functions and threads are UTF-8, and end no line."""
    running = program("""
        key = fastlock.Lock(name="\\N{LOCK} schloß\\nб")
        def größe():
            hog()
        def prüfer():
            with key: pass
        def käse():
            with key:
                start(prüfer, name="wärter\\n1")
                while not fastlock.snapshot().waits: time.sleep(0)
                start(timed)
                start(waiter)
                größe()
                over.set()
        with ledger_lock:
            start(käse).join()
        """)
    running.until(r"waiter waits for .*\n")
    assert 'held by thread "käse" (tid' in running.error
    assert re.search(r"in größe\nfastlock:   by \S+ in käse\n", running.error)
    assert re.search(r"fastlock:   wärter\?1 waits for \N{LOCK} schloß\?б \[program0.py:\d+\]", running.error)
    running.let_go()
    running.end()


def test_of_many_waits_a_dozen_are_told(program: Any) -> None:
    """The others are counted."""
    running = program("""
        with ledger_lock, rates_lock:
            for number in range(20):
                start(waiter, name=f"w{number}")
            start(timed)
            blocked(*[f"w{number}" for number in range(20)])
            hog()
            over.set()
        """)
    running.until(r"and \d+ more wait\n")
    assert len(re.findall(" waits for ", running.error)) == 12
    assert "fastlock:   and 9 more wait\n" in running.error or "fastlock:   and 8 more wait\n" in running.error
    running.let_go()
    running.end()


# ---- what is not told ---------------------------------------------------------------------------------

SILENT = {
    "threads that hammer": """
        def hammer():
            while not over.is_set():
                with rates_lock:
                    pass
        threads = [start(hammer, name=f"h{number}") for number in range(8)]
        """,
    "a long call that lets the GIL go": """
        def call():
            while not over.is_set():
                letting_it_go.usleep(500_000)
        threads = [start(call), start(timed)]
        """,
    "one thread that computes, and others that want the GIL": """
        def compute():
            while not over.is_set():
                sum(range(1000))
        threads = [start(compute), start(timed)]
        """,
    "nothing at all": "threads = []",
}


@pytest.mark.parametrize("what", SILENT)
def test_silent(what: str) -> None:
    """A GIL that moves, or is free, is not stalled, while somebody waits for ever."""
    source = f"{HEAD}\n{textwrap.dedent(SILENT[what])}\n" + textwrap.dedent("""
        with ledger_lock:
            start(waiter)
            wait_until(_stall.watches)
            looked(8)
            over.set()
            for thread in threads:
                thread.join()
        tell(_stall.counts()[1])
        """)
    done = run_program(source)
    assert answer(done) == 0 and done.stderr == ""


def test_silent_where_nobody_wants_it() -> None:
    """One thread keeps the GIL for long, the others are parked."""
    source = HEAD + textwrap.dedent("""
        with ledger_lock:
            start(waiter)
            wait_until(_stall.watches)
            before = _stall.counts()[0]
            for _ in range(100):
                keeping_the_gil.usleep(800_000)
                if _stall.counts()[0] >= before + 6:
                    break
                before = _stall.counts()[0]
            else:
                raise AssertionError("it does not look")
        tell(_stall.counts()[1])
        """)
    done = run_program(source)
    assert answer(done) == 0 and done.stderr == ""


def test_a_process_that_was_stopped_is_not_stalled(program: Any) -> None:
    """The GIL held for three seconds, with five in them in which nothing ran, is less than a stall of four."""
    running = program("""
        import functools, operator
        fastlock.configure(gil_stall=4)
        with ledger_lock, rates_lock:
            start(waiter), start(timed)
            wait_until(_stall.watches)
            began = time.monotonic()
            doze = functools.partial(keeping_the_gil.usleep, 500_000)
            longer = functools.partial(keeping_the_gil.usleep, 2_300_000)       # it looks each two seconds
            stop = functools.partial(keeping_the_gil.kill, os.getpid(), signal.SIGSTOP)
            list(map(operator.methodcaller("__call__"), [longer, stop, doze]))    # no bytecode between them
            lasted = time.monotonic() - began
            over.set()
        print(lasted, _stall.counts()[1])
        """)
    os.waitid(os.P_PID, running.process.pid, os.WSTOPPED | os.WNOWAIT)
    time.sleep(5)  # that it is stopped for longer than a stall is what is tested
    running.process.send_signal(signal.SIGCONT)
    out, error = running.process.communicate(timeout=LIMIT_S)
    lasted, told = out.split()
    if float(lasted) > 5 + 3.8:
        pytest.skip("this machine is too slow: the GIL was really held for about as long as a stall")
    assert float(lasted) > 5 and int(told) == 0 and error == b""


@pytest.mark.parametrize("how", ["gil_stall=None", 'level="off"'])
def test_switched_off(how: str, program: Any) -> None:
    """No thread, nothing told; what is switched on while somebody waits works at once."""
    running = program(f"""
        fastlock.configure({how})
        with ledger_lock, rates_lock:
            start(waiter), start(timed)
            blocked("waiter", "timed")
            for _ in range(3):
                keeping_the_gil.usleep(300_000)
            os.write(2, b"watches: %d\\n" % _stall.watches())
            fastlock.configure(gil_stall=0.1, level="detect")
            hog()
            over.set()
        """)
    running.until(r"has not moved for")
    assert running.error.startswith("watches: 0\nfastlock: the GIL has not moved for ")
    running.let_go()
    running.end()


def test_from_the_environment(program: Any) -> None:
    """FASTLOCK_GIL_STALL is gil_stall in seconds, "none" for never."""
    for text, kept in (("7.5", 7.5), ("none", None)):
        assert ask("from fastlock import config\ntell(config.current().gil_stall)", env={"FASTLOCK_GIL_STALL": text}) == kept
    done = run_program("import fastlock", env={"FASTLOCK_GIL_STALL": "soon"})
    assert done.returncode != 0 and "FASTLOCK_GIL_STALL='soon': must be a number of seconds" in done.stderr


# ---- the thread's life --------------------------------------------------------------------------------


def test_who_does_not_wait_has_no_thread() -> None:
    """None at the start, one while a wait is long, none after it."""
    told = ask(
        HEAD + textwrap.dedent("""
        def there():
            return "fastlock" in tasks().values()
        with ledger_lock, rates_lock:
            seen = [there()]
        with ledger_lock:
            thread = start(waiter)
            wait_until(there)
            seen.append(_stall.watches())
        thread.join()
        wait_until(lambda: not there())
        seen.append(_stall.watches())
        tell(seen)
        """)
    )
    assert told == [False, True, False]


def test_it_takes_no_signal() -> None:
    """All signals are blocked in it: none is delivered where no handler of Python's could run."""
    mask = ask(
        HEAD + textwrap.dedent("""
        def mask():
            for tid, name in tasks().items():
                if name == "fastlock":
                    with open(f"/proc/self/task/{tid}/status") as file:
                        return int(file.read().partition("SigBlk:")[2].split()[0], 16)
        with ledger_lock:
            start(waiter)
            tell(wait_until(mask))
        """)
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE):
        assert mask >> (number - 1) & 1


def test_a_forked_child_has_one_of_its_own(program: Any) -> None:
    """By the same rule: not before a wait is long; in the parent it goes on."""
    running = program("""
        warnings.simplefilter("ignore", DeprecationWarning)
        with ledger_lock:
            start(waiter)
            wait_until(_stall.watches)
            pid = os.fork()
            if pid == 0:
                ledger_lock.release()
                assert not _stall.watches()
                with ledger_lock, rates_lock:
                    start(waiter), start(timed)
                    blocked("waiter", "timed")
                    hog()
                    looked(3)
                    over.set()
                os._exit(0)
            assert _stall.watches()
            looked(3)
            assert os.waitpid(pid, 0)[1] == 0
            assert _stall.watches() and _stall.counts()[1] == 0
        """)
    found = running.until(r"has not moved for \d+(?:\.\d)? m?s \(pid (\d+)\): held by thread \"MainThread\"")
    assert int(found[1]) != running.process.pid
    running.let_go()
    running.until(r"moved again after \d+(?:\.\d)? m?s \(pid " + found[1])
    running.end()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="nothing is warned of there")
def test_fork_is_not_warned_of_our_thread() -> None:
    """It is gone before the process is counted: a fork after the last wait is one of a process with one thread."""
    told = ask(
        HEAD + textwrap.dedent("""
        warnings.simplefilter("error")
        forks = 0
        for _ in range(5):
            with ledger_lock:
                thread = start(waiter)
                wait_until(_stall.watches)
            thread.join()
            wait_until(lambda: {name for tid, name in tasks().items() if tid != os.getpid()} <= {"fastlock"})
            forks += _stall.watches()
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        tell(forks)
        """)
    )
    assert told > 0  # it was there at the fork at least once


EXITS = {
    "while it looks": "sys.exit()",
    "in a second life": "os._exit(0) if os.fork() == 0 else os.wait(); sys.exit()",
    "while others hammer": "[start(timed, name=f't{i}') for i in range(4)]; looked(2); sys.exit()",
    "after a stall": "keeping_the_gil.usleep(100_000); sys.exit()",
}


@pytest.mark.parametrize("how", EXITS)
def test_exit_while_it_runs(how: str, program: Any) -> None:
    """The interpreter ends as it would without it, many times."""
    source = f"""
        warnings.simplefilter("ignore", DeprecationWarning)
        fastlock.configure(gil_stall=0.01)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2) if {how == "after a stall"} else None
        ledger_lock.acquire()
        start(waiter)
        wait_until(_stall.watches)
        {EXITS[how]}
        """
    for _ in range(3):
        for running in [program(source), program(source)]:
            error = running.end()
            assert "Fatal" not in error and "Traceback" not in error


def test_standard_error_that_takes_no_more_holds_up_nobody(program: Any) -> None:
    """The report blocks in write(2): fork and exit wait for it a moment, and go on."""
    running = program("""
        warnings.simplefilter("ignore", DeprecationWarning)
        reads, writes = os.pipe()
        os.dup2(writes, 2)
        os.set_blocking(writes, False)
        try:
            while True:
                os.write(writes, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writes, True)
        with ledger_lock, rates_lock:
            start(waiter), start(timed)
            blocked("waiter", "timed")
            while _stall.counts()[1] == 0:
                keeping_the_gil.usleep(500_000)
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            over.set()
        os.write(1, b"went on")
        sys.exit()
        """)
    out, _ = running.process.communicate(timeout=LIMIT_S)
    assert out == b"went on" and running.process.returncode == 0


# ---- what is read of the interpreter's ------------------------------------------------------------------

def test_an_interpreter_that_is_not_what_it_was_built_for() -> None:
    """Where what is found does not agree with what is known nothing is watched, and why is one sentence."""
    done = run_program("""
        import sys
        sys.getswitchinterval = lambda: 1.0     # what the fields are compared with
        import fastlock
        from fastlock import _stall
        from support import *
        fastlock.configure(gil_stall=0.01)
        assert not fastlock.Event().wait(0.1)
        tell([_stall.works(), _stall.trouble(), _stall.watches(), _stall.counts()])
        """)
    assert answer(done) == [False, "the interpreter's GIL is not where this build of fastlock expects it", False, [0, 0]]
    assert done.stderr == ""


PEEK = """
#include "_peek.h"
static char room[65536];
const char *place(PyObject *code, int lasti) {
    fl_text t = {room, 0, sizeof room};
    room[0] = 0;
    return fl_say_place(&t, (uintptr_t)code, lasti, 1) ? room : "none";
}
"""


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A code object and those in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a compiler")
def test_lines_are_those_of_the_interpreter(tmp_path: Path) -> None:
    """Of each instruction of some large modules, as co_lines() has it."""
    headers = TESTS.parent / "src" / "fastlock"
    if not (headers / "_peek.h").exists():
        pytest.skip("only from a checkout")
    (tmp_path / "peek.c").write_text(PEEK)
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-D_GNU_SOURCE", f"-I{headers}", f"-I{sysconfig.get_path('include')}"]
    subprocess.run([*command, str(tmp_path / "peek.c"), "-o", str(tmp_path / "peek.so")], check=True, timeout=100)
    source = textwrap.dedent("""
        import ctypes, argparse, subprocess, typing
        from test_gil_stall import codes_in
        place = ctypes.PyDLL(sys.argv[1]).place
        place.argtypes, place.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_char_p
        wrong, right = [], 0
        for module in (argparse, subprocess, typing):
            with open(module.__file__) as file:
                code = compile(file.read(), module.__file__, "exec")
            for code in codes_in(code):
                for begin, end, line in code.co_lines():
                    for lasti in range(begin, end, 2):
                        told = place(code, lasti).decode()
                        want = f"{code.co_filename}:{line} in {code.co_name}" if line else f"{code.co_filename} in {code.co_name}"
                        right += told == want
                        if told != want:
                            wrong.append((told, want))
        assert place(17, 0) == b"none"
        tell([right, wrong[:5]])
        """)
    right, wrong = ask("import sys\n" + source, tmp_path / "peek.so", timeout_s=120)
    assert wrong == [] and right > 10_000
