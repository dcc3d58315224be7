"""The table over a process's life: forks, daemons, closed descriptors, limits, another user; and what cannot be seen says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastlock.outside import Unseen, open_table, processes
from outside_support import as_user, complaint, fastlock, running
from support import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
NOBODY = 65534


def names_of(pid: int) -> dict[str, str]:
    """The name of the lock that each waiting agent waits for, by the agent's name."""
    with open_table(pid) as table:
        snapshot = table.snapshot()
    assert snapshot["pid"] == pid
    locks = {lock["id"]: lock["name"] for lock in snapshot["locks"]}
    agents = {agent["id"]: agent["name"] for agent in snapshot["agents"]}
    return {agents[wait["agent"]]: locks[wait["lock"]] for wait in snapshot["waits"]}


# ---- fork -----------------------------------------------------------------------------------------------------

FORK = """
    lock, other, orphaned = fastlock.Lock(name="lock"), fastlock.Lock(name="other"), fastlock.RLock(name="orphaned")
    lock.acquire()
    held = threading.Event()
    def keeper():
        with orphaned:
            held.set()
            threading.Event().wait()
    start(keeper, name="keeper"); held.wait()
    start(lock.acquire, name="waits in parent")
    blocked("waits in parent")
    child = os.fork()
    if child == 0:
        other.acquire()
        start(other.acquire, name="waits in child")
        start(orphaned.acquire, name="waits for an orphan")
        blocked("waits in child", "waits for an orphan")
        os.write(1, b'"child"\\n')
        threading.Event().wait()
    threads = [start(lock.acquire, name=f"later {n}") for n in range(3)]
    blocked(*[thread.name for thread in threads])
    os.write(1, b"%d\\n" % child)
    sys.stdin.read()
    os.kill(child, 9)
"""


def test_parent_and_child_have_a_truth_each() -> None:
    """Both are read at once; neither shows what happens in the other, and the child says whose lock was lost in the fork."""
    with running(FORK) as program:
        child = next(answer for answer in (program.told, program.line()) if answer != "child")
        try:
            for _ in range(20):
                parents, childs = names_of(program.pid), names_of(child)
                assert {name for name, lock in parents.items() if lock == "lock"} == {"waits in parent", "later 0", "later 1", "later 2"}
                assert "other" not in parents.values()
                assert (childs["waits in child"], childs["waits for an orphan"]) == ("other", "orphaned")
                assert "lock" not in childs.values()
            shown = fastlock("dump", child).stdout
            assert "ABANDONED: keeper, which is not in this process: lost in fork; 1 agent waits for it in the end" in shown
            assert "holds orphaned (RLock), taken at program.py" in shown
            assert set(processes()) >= {program.pid, child}
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_child_of_a_thread_that_waited_shows_nothing_of_it() -> None:
    """Who forks while others wait gets a table in which nobody waits."""
    source = """
        lock = fastlock.Lock(name="lock")
        lock.acquire()
        for n in range(5): start(lock.acquire, name=f"t{n}")
        blocked(*[f"t{n}" for n in range(5)])
        child = os.fork()
        if child == 0:
            import signal
            print(json.dumps(os.getpid()), flush=True)
            signal.pause()
        sys.stdin.read()
    """
    with running(source) as program:
        try:
            assert names_of(program.told) == {}
            assert set(names_of(program.pid).values()) == {"lock"}
        finally:
            os.kill(program.told, signal.SIGKILL)


def test_a_fork_without_descriptors_left_keeps_both_apart() -> None:
    """Where no file can be made for the child, its table is in memory of its own: the parent's stays true, and the child works."""
    source = """
        import resource
        lock = fastlock.Lock(name="lock")
        lock.acquire()
        start(lock.acquire, name="waiter"); blocked("waiter")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        child = os.fork()
        if child == 0:
            mine = fastlock.Lock(name="mine")
            mine.acquire()
            start(mine.acquire, name="in child"); blocked("in child")
            os.write(1, json.dumps([os.getpid(), sorted(lock.name for lock in fastlock.snapshot().locks)]).encode() + b"\\n")
            threading.Event().wait()
        sys.stdin.read()
    """
    with running(source) as program:
        child, names = program.told
        try:
            assert "mine" in names
            assert names_of(program.pid) == {"waiter": "lock"}
            with pytest.raises(Unseen, match="descriptor"):
                open_table(child)
        finally:
            os.kill(child, signal.SIGKILL)


# ---- descriptors and limits ----------------------------------------------------------------------------------------

DAEMON = """
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
    out = os.dup(1)
    os.dup2(out, 3)
    os.closerange(4, 4096)
    lock = fastlock.Lock(name="daemon's")
    lock.acquire()
    start(lock.acquire, name="waiter"); blocked("waiter")
    os.write(3, json.dumps(os.getpid()).encode() + b"\\n")
    threading.Event().wait()
"""


def test_a_daemon_is_seen() -> None:
    """After two forks and a close of everything, who waits puts the table where it can be found."""
    with running(DAEMON) as program:
        try:
            assert names_of(program.told) == {"waiter": "daemon's"}
        finally:
            os.kill(program.told, signal.SIGKILL)


CLOSED = """
    lock = fastlock.Lock(name="lock")
    lock.acquire()
    start(lock.acquire, name="before"); blocked("before")
    os.closerange(3, 4096)
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1200)] if len(sys.argv) > 1 else []
    print(json.dumps(None), flush=True)
    sys.stdin.readline()
    wait_until(lambda: time.monotonic() > began + 1.01)
    start(lock.acquire, name="after"); blocked("after")
    assert all(os.fstat(file).st_rdev == os.stat(os.devnull).st_rdev for file in files)
    ready()
"""


@pytest.mark.parametrize("reused", [(), ("reused",)], ids=["closed", "reused"])
def test_descriptors_closed_in_bulk(reused: tuple[str, ...]) -> None:
    """Root reads on by map_files, others are told why not; the next one who waits mends it, and touches nobody's descriptor."""
    with running("    began = time.monotonic()\n" + CLOSED, *reused) as program:
        try:
            assert names_of(program.pid) == {"before": "lock"}
        except Unseen as error:
            assert "no descriptor any more" in str(error)
        assert program.pid in processes()
        assert program.process.stdin is not None
        program.process.stdin.write("\n")
        program.process.stdin.flush()
        program.line()
        assert names_of(program.pid) == {"before": "lock", "after": "lock"}


def test_no_descriptors_at_the_start() -> None:
    """Without any left fastlock works all the same; the table is there as soon as one can be had and somebody waits."""
    # What is imported needs descriptors itself, so the limit is set by the last audit event before the mapping is made.
    source = """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        def exhaust(event, arguments):
            if event == "import" and arguments[0] == "fastlock._mapping" and not exhaust.done:
                exhaust.done = True
                extension = importlib.machinery.ExtensionFileLoader
                create = extension.create_module
                def with_none_left(self, spec):
                    module = create(self, spec)
                    if spec.name == "fastlock._mapping":
                        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
                    return module
                execute = extension.exec_module
                def then_again(self, module):
                    try:
                        execute(self, module)
                    finally:
                        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                extension.create_module, extension.exec_module = with_none_left, then_again
        exhaust.done = False
        import importlib.machinery
        sys.addaudithook(exhaust)
        import threading, fastlock
        from support import *
        lock = fastlock.Lock(name="lock")
        with lock: pass
        print(json.dumps(None), flush=True)
        sys.stdin.readline()
        lock.acquire()
        start(lock.acquire, name="waiter"); blocked("waiter")
        ready()
    """
    with running(source, prelude="") as program:
        assert "had no descriptor left to make a table with" in complaint("dump", program.pid)
        assert program.process.stdin is not None
        program.process.stdin.write("\n")
        program.process.stdin.flush()
        program.line()
        assert names_of(program.pid) == {"waiter": "lock"}


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_FSIZE"])
def test_small_limits_of_memory_and_files(limit: str) -> None:
    """Where address space or file size is limited, fastlock works; with little address space it is seen as well."""
    set_limit = f"""
import resource
resource.setrlimit(resource.{limit}, ({'1 << 30' if limit == 'RLIMIT_AS' else '1 << 20'},) * 2)
import threading, fastlock
from support import *
"""
    source = """
        lock = fastlock.Lock(name="lock")
        lock.acquire()
        start(lock.acquire, name="waiter"); blocked("waiter")
        ready()
    """
    with running(source, prelude=set_limit) as program:
        if limit == "RLIMIT_AS":
            assert names_of(program.pid) == {"waiter": "lock"}
        else:
            assert "fastlock is in it" in complaint("dump", program.pid)


# ---- another user -------------------------------------------------------------------------------------------------

def reason(pid: int) -> str:
    try:
        open_table(pid).close()
    except Unseen as error:
        return str(error)
    return "seen"


@root
def test_a_process_of_another_user() -> None:
    """It is said whose the process is and who looks; and ps does not list it."""
    with running("ready()\n") as program:
        said = as_user(NOBODY, lambda: reason(program.pid))
        assert said.startswith(f"process {program.pid}: it belongs to root (uid 0), and this is ")
        assert said.endswith("that user or root may look")
        assert program.pid not in as_user(NOBODY, processes)


@root
def test_a_process_that_has_changed_its_user() -> None:
    """It is not dumpable: its own new user is told so, root sees it."""
    source = f"""
        lock = fastlock.Lock(name="lock")
        os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); os.setresuid(*[{NOBODY}] * 3)
        lock.acquire()
        start(lock.acquire, name="waiter"); blocked("waiter")
        ready()
    """
    with running(source) as program:
        assert names_of(program.pid) == {"waiter": "lock"}
        assert "it is not dumpable (it has changed its user" in as_user(NOBODY, lambda: reason(program.pid))
        assert next(each for each in json.loads(fastlock("ps", "--json").stdout) if each["pid"] == program.pid)["uid"] == NOBODY


@root
def test_a_process_in_a_pid_namespace_of_its_own() -> None:
    """It knows itself by another number than we do; its table is found by ours, and ps shows ours."""
    source = """
        lock = fastlock.Lock(name="lock")
        lock.acquire()
        start(lock.acquire, name="waiter"); blocked("waiter")
        ready(os.getpid())
    """
    try:
        subprocess.run(["unshare", "--pid", "--fork", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no PID namespace can be made here")
    with running(source, through=("unshare", "--pid", "--fork", "--kill-child")) as program:
        inner = next(int(name) for name in open(f"/proc/{program.pid}/task/{program.pid}/children").read().split())
        try:
            assert program.told == 1
            with open_table(inner) as table:
                assert [wait["owner"] is not None for wait in table.snapshot()["waits"]] == [True]
                assert (table.snapshot()["pid"], table.facts()["pid"]) == (1, inner)
            assert inner in processes()
        finally:
            os.kill(inner, signal.SIGKILL)


# ---- what is printed -----------------------------------------------------------------------------------------------

NAME = "\x1b[31m\x9bx\u202e\n\u2028é漢"
HELD = f"""
    from fastlock import control
    lock = fastlock.RLock(name={NAME!a})
    fastlock.install()
    lock.acquire()
    start(lock.acquire, name={NAME!a})
    wait_until(lambda: fastlock.snapshot().waits)
    wait_until(control.address)
    ready()
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_foreign_names_do_no_harm(encoding: str) -> None:
    """What a process calls things gets no control character to the terminal, and none that the output cannot express is a traceback."""
    with running(HELD) as program:
        for words in (["ps"], ["dump", program.pid], ["level", program.pid], ["doctor", program.pid]):
            clean = {key: value for key, value in os.environ.items() if not key.startswith("FASTLOCK_")}
            done = fastlock(*words, env={**clean, "PYTHONIOENCODING": encoding}, text=False)
            assert (done.returncode, done.stderr) == (0, b""), done
            assert all(line.isprintable() for line in done.stdout.decode(encoding).splitlines()), done.stdout


def test_without_standard_output() -> None:
    """Where standard output is closed nothing is said, and nothing else is wrong."""
    with running("ready()") as program:
        for words in (["ps"], ["explain", "FL001"], ["doctor"], ["dump", str(program.pid)], ["doctor", str(program.pid)]):
            command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "fastlock", *words]
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (0, ""), words


# ---- what cannot be seen -------------------------------------------------------------------------------------------

def free_pid() -> int:
    """A number that no process has."""
    with open("/proc/sys/kernel/pid_max") as file:
        return int(file.read()) - 1


@root
def test_without_proc() -> None:
    """Where /proc is not mounted that is what is said, and not that there is no process."""
    for words in (["ps"], ["dump", "1"], ["level", "1"], ["doctor", "1"]):
        hidden = ["unshare", "--mount", "sh", "-c", 'umount -l /proc && exec "$@"', "sh", sys.executable, "-m", "fastlock", *words]
        done = subprocess.run(hidden, capture_output=True, text=True, timeout=60)
        if "unshare" in done.stderr or "umount" in done.stderr:
            pytest.skip("may not hide /proc")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"fastlock {words[0]}: processes are seen in /proc, which is not mounted here\n"


def test_wrong_numbers(tmp_path: Path) -> None:
    """No such process, no number, no file, a thread, one without fastlock: a line each, and exit status 2."""
    missing = free_pid()
    assert complaint("dump", missing) == f"fastlock dump: there is no process {missing}"
    assert complaint("dump", 0) == "fastlock dump: 0 is no process's number"
    assert "there is no process" in complaint("dump", "9" * 40)
    assert complaint("dump", "no-such-file") == "fastlock dump: no-such-file: No such file or directory"
    os.mkfifo(tmp_path / "pipe")
    for place in ("/", tmp_path / "pipe", "/dev/zero"):
        assert complaint("dump", place) == f"fastlock dump: {place}: this is no regular file"
    assert complaint("dump", __file__) == f"fastlock dump: {__file__}: this is no table of fastlock"
    with subprocess.Popen(["sleep", "60"]) as sleep:
        assert complaint("dump", sleep.pid) == f"fastlock dump: process {sleep.pid}: there is no fastlock in it"
        sleep.kill()


def test_a_thread_is_no_process() -> None:
    """The number of a thread leads to the line that says whose it is."""
    with running("start(threading.Event().wait)\nready([thread.native_id for thread in threading.enumerate()])\n") as program:
        tid = max(program.told)
        assert complaint("dump", tid) == f"fastlock dump: {tid} is a thread of process {program.pid}"


def test_a_zombie_and_a_process_that_ends() -> None:
    """Who has ended is said to have; so is one that ends while its table is open."""
    with running("ready()\n") as program:
        table = open_table(program.pid)
        program.process.kill()
        wait_until(lambda: open(f"/proc/{program.pid}/stat").read().rpartition(")")[2].split()[0] == "Z")
        assert "has ended" in complaint("dump", program.pid)
    with pytest.raises(Unseen, match="has ended"):
        table.snapshot()
    table.close()


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[Any]:
    """A function that writes a saved table after changing its bytes."""
    with running("lock = fastlock.Lock()\nlock.acquire()\nstart(lock.acquire, name='waiter'); blocked('waiter')\nready()\n") as program:
        path = tmp_path / "table"
        assert fastlock("dump", program.pid, "--save", path).returncode == 0
    data = path.read_bytes()

    def write(change: Any) -> Path:
        path.write_bytes(bytes(change(bytearray(data))))
        return path

    yield write


def test_other_layouts_and_damage(saved: Any) -> None:
    """Another version's table, a cut one and one that points outside of itself have a line each."""

    def layout(data: bytearray) -> bytearray:
        data[8] = 9
        return data

    def outside(data: bytearray) -> bytearray:
        data[224:232] = b"\xff" * 8
        return data

    assert "has layout 9, written by another version of fastlock; this one reads layout 1" in complaint("dump", saved(layout))
    assert "its header is cut off" in complaint("dump", saved(lambda data: data[:100]))
    assert "are cut off" in complaint("dump", saved(lambda data: data[:-1])) or "is cut off" in complaint("dump", saved(lambda data: data[:-1]))
    assert "outside of it" in complaint("dump", saved(outside))


def test_another_layout_in_a_live_process() -> None:
    """A process with a newer fastlock is told as such, by dump and in its line of ps."""
    source = """
import struct
file = os.memfd_create("fastlock-table")
os.write(file, b"FSTLOCK1" + struct.pack("<II", 7, 4096) + bytes(8192))
"""
    with running("ready()\n", prelude=source) as program:
        said = complaint("dump", program.pid)
        assert said.startswith(f"fastlock dump: process {program.pid}: the table has layout 7")
        row = next(line for line in fastlock("ps").stdout.splitlines() if line.startswith(f"{program.pid} "))
        assert "unseen: the table has layout 7" in row


def test_a_table_that_is_anothers() -> None:
    """A copy of a process that no fork handler has seen does not pass as the child's own table."""
    source = """
        import ctypes
        child = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0) if os.uname().machine == "x86_64" else 0
        if child == 0 and os.uname().machine == "x86_64":
            import signal
            while True: signal.pause()
        ready(child)
    """
    with running(source) as program:
        if not program.told:
            pytest.skip("the system call's number is x86-64's")
        try:
            assert f"the table is that of process {program.pid}" in complaint("dump", program.told)
        finally:
            os.kill(program.told, signal.SIGKILL)


def test_nothing_is_written_anywhere(tmp_path: Path) -> None:
    """A dump needs no place to write to: neither a temporary directory nor the current one."""
    with running("ready()\n") as program:
        before = sorted(os.listdir(tmp_path))
        done = fastlock("dump", program.pid, cwd=tmp_path, env={**os.environ, "TMPDIR": "/nowhere", "HOME": "/nowhere"})
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(os.listdir(tmp_path)) == before
        assert "cannot write" in complaint("dump", program.pid, "--save", "/nowhere/file")


def test_a_pipe_that_closes() -> None:
    """Whoever stops reading gets no traceback."""
    with running("ready()\n") as program:
        reads, writes = os.pipe()
        os.close(reads)
        done = subprocess.run([sys.executable, "-m", "fastlock", "dump", str(program.pid)], stdout=writes, stderr=subprocess.PIPE, text=True)
        os.close(writes)
        assert done.returncode == 128 + signal.SIGPIPE
        assert done.stderr == ""
