"""The socket of a process: who may ask, what it survives, and that it costs a program that is not asked nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastlock import calling, sockets
from fastlock.processes import Unreachable
from live import Live, running, socket_directory
from support import answer, run_program, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the credentials of who connects")
ROOT = os.geteuid() == 0
IDLE = "ready(); stay()"


def ask(live: Live, **request: Any) -> dict[str, Any]:
    """Ask a process by its own number, as the command does."""
    live.path()
    return calling.call(live.pid, request, 30)


def told(connection: socket.socket, line: bytes) -> dict[str, Any]:
    """Send bytes and return the answer to them."""
    connection.sendall(line)
    with connection, connection.makefile("rb") as file:
        return json.loads(file.readline())


# ---- asking


def test_level_is_told_and_set_and_taken_back() -> None:
    """A process says its level and who decided it; the switch changes it at once, and reset takes it back."""
    with running(IDLE, env={"FASTLOCK_LEVEL": "off"}) as live:
        environment = {"level": "off", "source": "environment", "left_s": None}
        switched = {"level": "order", "source": "switch", "left_s": None}
        shown = ask(live, do="level")
        assert (shown["now"], set(shown["said"])) == (environment, {"default", "environment"})
        changed = ask(live, do="level", level="order")
        assert (changed["before"], changed["now"]) == (environment, switched)
        assert ask(live, do="level")["now"] == switched
        back = ask(live, do="level", reset=True)
        assert (back["before"], back["now"]) == (switched, environment)


def test_status_and_deadlocks() -> None:
    """A process that is stuck in a circle answers: it says how much there is, and the circle as findings."""
    source = "a, b = threading.Lock(), threading.Lock(); ring([a, b]); found('FL001'); ready(); stay()"
    with running(source, stderr=subprocess.DEVNULL) as live:
        status = ask(live, do="status")
        assert status["installed"]["threading"] and status["waits"] == 2 and status["disabled"] is False
        assert "FL001" in status["findings"][0]
        assert [finding["code"] for finding in ask(live, do="deadlocks")["findings"]] == ["FL001"]


def test_main_thread_blocked_in_a_lock() -> None:
    """The switch works while the main thread waits for itself, which no code that runs in it could."""
    source = "lock = threading.Lock(); lock.acquire(); ready(); lock.acquire()"
    with running(source, stderr=subprocess.DEVNULL) as live:
        assert ask(live, do="level", level="order")["now"]["level"] == "order"
        assert ask(live, do="level")["now"]["source"] == "switch"


def test_a_level_goes_back_by_itself() -> None:
    """When the time is over the core has the old level again, without anybody asking."""
    source = """
    from fastlock import _core
    ready(); stay()
    wait_until(lambda: _core.get_level() == 1)
    print("back", fastlock.level(), flush=True); stay()
    """
    with running(source) as live:
        assert ask(live, do="level", level="order", for_s=0.3)["now"]["level"] == "order"
        live.go_on()
        assert live.line() == "back detect\n"


def test_the_level_returns_though_the_client_was_killed() -> None:
    """A client that is killed with -9 right after its request has no part in the end of the level."""
    source = """
    from fastlock import _core
    ready()
    wait_until(lambda: _core.get_level() == 2)
    print("order", flush=True)
    wait_until(lambda: _core.get_level() == 1)
    print("detect", flush=True); stay()
    """
    client = """
    import os, signal, socket, sys
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    s.sendall(b'{"fastlock": 1, "do": "level", "level": "order", "for_s": 0.5}\\n')
    os.kill(os.getpid(), signal.SIGKILL)
    """
    with running(source) as live:
        assert run_program(client, live.path()).returncode == -signal.SIGKILL
        assert (live.line(), live.line()) == ("order\n", "detect\n")


def test_a_stopped_client_changes_nothing() -> None:
    """The time runs in the process, also while the client that asked for it is suspended in the middle of the answer."""
    with running(IDLE) as live:
        connection = live.connected()
        connection.sendall(b'{"fastlock": 1, "do": "level", "level": "order", "for_s": 0.2}\n')
        wait_until(lambda: ask(live, do="level")["now"]["source"] == "default")  # the first connection is still open, its answer unread
        assert json.loads(connection.makefile().readline())["now"]["level"] == "order"


def test_what_is_heard_too_late_is_not_done() -> None:
    """A stopped process does not do, when it goes on, what its client has given up."""
    with running(IDLE) as live:
        live.path()
        words = f"process {live.pid} is stopped and answers when it goes on; `fastlock dump"
        with live.stopped(), pytest.raises(Unreachable, match=words):
            calling.call(live.pid, {"do": "level", "level": "order"}, 0.3)
        assert ask(live, do="level")["now"]["source"] == "default"


def test_a_process_that_cannot_answer_is_not_said_to_be_stuck() -> None:
    """Who has given up the user that may read fastlock's files hangs up each time, which is what is said."""
    with running("sys.modules['fastlock.answers'] = None; ready(); stay()", stderr=subprocess.DEVNULL) as live:
        live.path()
        for _ in range(3):
            with pytest.raises(Unreachable, match="hangs up without an answer"):
                calling.call(live.pid, {"do": "level"}, 0.5)


def test_a_stuck_gil_is_said() -> None:
    """Where C code keeps the GIL nobody can answer; the client says so after its limit and points at what does not need it."""
    source = """
    import ctypes
    ready(); stay()
    ctypes.PyDLL(None).sleep(600)
    """
    with running(source) as live:
        live.path()
        live.go_on()
        with pytest.raises(Unreachable, match="something keeps its GIL; `fastlock dump"):
            while True:  # until it has come so far
                calling.call(live.pid, {"do": "level"}, 1.0)


# ---- hostile requests


HOSTILE = [
    b"\n",
    b"{}\n",
    b"null\n",
    b"[" * 4000 + b"\n",
    b'{"fastlock":1,"do":' + b'[' * 3000 + b"\n",
    b"\xff\xfe\x00\n",
    b"x" * 100_000,
    b'{"fastlock": 2, "do": "level"}\n',
    b'{"fastlock": true, "do": "level"}\n',
    b'{"fastlock": 1}\n',
    b'{"fastlock": 1, "do": "__class__"}\n',
    b'{"fastlock": 1, "do": ["level"]}\n',
    b'{"fastlock": 1, "do": "level", "level": "loud"}\n',
    b'{"fastlock": 1, "do": "level", "level": {"a": 1}}\n',
    b'{"fastlock": 1, "do": "level", "level": "order", "for_s": -1}\n',
    b'{"fastlock": 1, "do": "level", "level": "order", "for_s": NaN}\n',
    b'{"fastlock": 1, "do": "level", "level": "order", "for_s": 1e999}\n',
    b'{"fastlock": 1, "do": "level", "level": "order", "for_s": true}\n',
    b'{"fastlock": 1, "do": "level", "level": "order", "for_s": 99999999999999999999999}\n',
    b'{"fastlock": 1, "do": "level", "for_s": 1}\n',
    b'{"fastlock": 1, "do": "level", "reset": 1}\n',
    b'{"fastlock": 1, "do": "level", "reset": true, "level": "off"}\n',
    b'{"fastlock": 1, "do": "level", "surprise": 1}\n',
    b'{"fastlock": 1, "do": "level", "level": "\\ud800"}\n',
]


@pytest.fixture(scope="module")
def idle() -> Any:
    """A process that does nothing, for many questions."""
    with running(IDLE) as live:
        live.path()
        yield live


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_requests_are_refused(idle: Live, line: bytes) -> None:
    """Each is refused in one short line, and the level is what it was."""
    with idle.connected() as connection:
        try:
            connection.sendall(line)
        except BrokenPipeError:
            pass  # refused before all of it was sent
        try:
            answered = connection.makefile("rb").readline()
        except ConnectionResetError:
            answered = b""
    if line != b"\n" and len(line) < 4096:
        refused = json.loads(answered)
        assert refused["ok"] is False and len(refused["error"]) < 200 and "\n" not in refused["error"]
    assert ask(idle, do="level")["now"] == {"level": "detect", "source": "default", "left_s": None}


def test_fuzzed_requests(idle: Live) -> None:
    """2,000 requests with bytes changed, cut and repeated: the process answers as before, or refuses, and lives on."""
    chance = random.Random(7)
    seeds = [line for line in HOSTILE if len(line) < 200] + [b'{"fastlock": 1, "do": "status"}\n']
    for _ in range(2000):
        line = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(0, 6)):
            line[chance.randrange(len(line))] = chance.randrange(256)
        cut = bytes(line[: chance.randint(1, len(line))]) * chance.choice((1, 1, 3))
        with idle.connected() as connection:
            connection.sendall(cut)
            connection.shutdown(socket.SHUT_WR)
            answered = connection.makefile("rb").read()
        assert answered == b"" or json.loads(answered)["ok"] in (True, False)
    ask(idle, do="level", reset=True)
    assert idle.process.poll() is None


def test_who_only_connects_holds_nobody_up_for_ever(idle: Live) -> None:
    """A client that says nothing is hung up on, and the next one is served."""
    with idle.connected() as silent:
        assert ask(idle, do="level")["ok"]
        assert silent.recv(1) == b""


def test_many_at_once(idle: Live) -> None:
    """Twenty clients that come together are all answered."""
    connections = [idle.connected() for _ in range(20)]
    for connection in connections:
        connection.sendall(b'{"fastlock": 1, "do": "level"}\n')
    answers = [json.loads(connection.makefile("rb").readline()) for connection in connections]
    assert all(each["pid"] == idle.pid for each in answers)
    for connection in connections:
        connection.close()


# ---- who may


def test_file_and_directory_are_private(idle: Live) -> None:
    """Nobody but the user can enter the directory, and the socket itself says the same."""
    path = Path(idle.path())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700 and path.stat().st_uid == os.geteuid()


@pytest.mark.skipif(not ROOT, reason="only root can be another user")
def test_another_user_is_refused() -> None:
    """With an abstract name anybody can connect, and who is neither this user nor root is told no."""
    with running(IDLE, env={"XDG_RUNTIME_DIR": "/no/such/place", "TMPDIR": "/proc"}, preexec_fn=no_tmp) as live:
        address = sockets.abstract_address(live.pid, 0)
        wait_until(lambda: address[1:] in Path("/proc/net/unix").read_text())
        client = """
        import os, socket, sys
        os.setegid(65534); os.seteuid(65534)
        s = socket.socket(socket.AF_UNIX); s.connect("\\0" + sys.argv[1]); s.settimeout(20)
        print(s.makefile().readline())
        """
        done = run_program(client, address[1:])
        refused = json.loads(done.stdout)
        assert refused["ok"] is False and refused["error"] == "uid 65534 may not: this process belongs to uid 0"
        assert calling.call(live.pid, {"do": "level"}, 30)["ok"]


def no_tmp() -> None:
    """Make /tmp read-only for this process and its children, in a mount namespace of their own."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, private, bind_again = 0x20000, 0x44000, 0x1021
    steps = [
        lambda: libc.unshare(new_namespace),
        lambda: libc.mount(b"none", b"/", None, private, None),
        lambda: libc.mount(b"/tmp", b"/tmp", None, 0x1000, None),
        lambda: libc.mount(b"none", b"/tmp", None, bind_again, None),
    ]
    for step in steps:
        if step() != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@pytest.mark.skipif(not ROOT, reason="only root can be another user")
def test_another_users_directory_is_not_used() -> None:
    """A directory of our name that somebody else made, a link, or one that others can enter is passed over with its reason."""
    with socket_directory() as base:
        for name in ("link", "foreign", "open", "fine"):
            (base / name).mkdir(mode=0o700)
        os.symlink(base / "fine", base / "link" / "fastlock")
        for name, mode in (("foreign", 0o700), ("open", 0o755), ("fine", 0o700)):
            (base / name / "fastlock").mkdir(mode=mode)
            (base / name / "fastlock").chmod(mode)
        os.chown(base / "foreign" / "fastlock", 65534, 65534)
        reasons = {name: sockets.why_not_private(str(base / name / "fastlock"), 0) for name in ("link", "foreign", "open", "fine")}
        assert "is no directory" in reasons["link"] and "belongs to uid 65534" in reasons["foreign"]
        assert "can be entered by others" in reasons["open"] and reasons["fine"] == ""
        (base / "fine").chmod(0o777)
        assert "lets others exchange" in sockets.why_not_private(str(base / "fine" / "fastlock"), 0)


def test_without_a_runtime_directory_the_temporary_one_serves() -> None:
    """The directory then has the user's number, for others have theirs beside it."""
    with socket_directory() as base:
        base.chmod(0o1777)
        with running(IDLE, env={"XDG_RUNTIME_DIR": "", "TMPDIR": str(base)}) as live:
            assert calling.call(live.pid, {"do": "level"}, 30)["ok"]
            assert [entry.name for entry in base.iterdir()] == [f"fastlock-{os.geteuid()}"]


@pytest.mark.skipif(not ROOT, reason="only root can make a process namespace")
def test_a_process_in_a_container_of_its_own() -> None:
    """A process that has another number for itself, and a disk of its own, is reached by the number that we have for it."""
    source = """
    import ctypes, fastlock
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x20000000 | 0x20000) == 0
    assert libc.mount(b"none", b"/", None, 0x44000, None) == 0
    child = os.fork()
    if not child:
        fastlock.configure(control=False)   # no socket before there is the disk that it is to lie on
        assert libc.mount(b"tmpfs", os.environ["XDG_RUNTIME_DIR"].encode(), b"tmpfs", 0, b"mode=0700") == 0
        fastlock.configure(control=True)
        assert os.getpid() == 1
        sys.stdin.read()
        os._exit(0)
    ready(child); os.waitpid(child, 0)
    """
    with running(source, stderr=subprocess.PIPE) as live:
        child = int(live.words[0])
        assert calling.call(child, {"do": "level", "level": "order"}, 30)["pid"] == 1
        assert not (live.directory / "fastlock" / sockets.file_name(1)).exists()
        # The system starts no more threads in a process whose children are to have a namespace of their own: one word says so.
        with pytest.raises(Unreachable, match="has fastlock, but no socket"):
            calling.call(live.pid, {"do": "level"}, 0.1)
    assert live.process.stderr.read() == "fastlock: this process cannot be reached by `fastlock level`: no thread can be started\n"  # type: ignore[union-attr]


# ---- what it survives


def test_the_file_goes_with_the_process() -> None:
    """At a normal end nothing is left; after a kill the next who looks removes what is."""
    with socket_directory() as base:
        source = "ready(); stay()"
        with running(source, env={"XDG_RUNTIME_DIR": str(base)}) as live:
            path = base / "fastlock" / sockets.file_name(live.pid)
            wait_until(path.exists)
            live.go_on()
            assert live.process.wait(30) == 0
            assert not path.exists()
        with running(source, env={"XDG_RUNTIME_DIR": str(base)}) as live:
            killed = base / "fastlock" / sockets.file_name(live.pid)
            wait_until(killed.exists)
            live.process.kill()
            live.process.wait()
        assert killed.exists()
        with running(source, env={"XDG_RUNTIME_DIR": str(base)}) as live:
            wait_until((base / "fastlock" / sockets.file_name(live.pid)).exists)
            wait_until(lambda: not killed.exists())


def test_a_fork_child_has_its_own_socket_and_the_rest_of_the_time() -> None:
    """The child keeps the switch with the time that is left, answers for itself, and goes back by itself."""
    source = """
    ready(); stay()
    child = os.fork()
    if not child:
        sys.stdin.close()
        wait_until(lambda: fastlock.level() == "detect", 60)
        os._exit(7)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True); stay()
    """
    with running(source) as live:
        ask(live, do="level", level="order", for_s=2)
        live.go_on()
        child = int(live.line())
        live.path(child)
        of_child = calling.call(child, {"do": "level"}, 30)
        assert of_child["pid"] == child and ask(live, do="level")["pid"] == live.pid
        assert of_child["now"]["source"] == "switch" and 0 < of_child["now"]["left_s"] < 2
        calling.call(live.pid, {"do": "level", "level": "off"}, 30)
        assert live.line() == "7\n"
        assert ask(live, do="level")["now"]["level"] == "off"


def test_the_child_of_another_thread_ends_with_its_last_thread() -> None:
    """No thread of ours keeps such a child: neither one that returns at once, nor one that has its socket, nor its own child."""
    source = """
    import os, threading, fastlock
    from fastlock import control
    from support import tell, wait_until
    fastlock.install()
    def here():
        pass
    def reached():
        wait_until(control.address)
    def generation():
        if not os.fork():
            return
        os._exit(os.wait()[1] != 0)
    def fork(then):
        child = os.fork()
        if not child:
            then()
            return              # and the process with the thread
        children.append(child)
    children = []
    for then in (here, reached, generation):
        thread = threading.Thread(target=fork, args=(then,))
        thread.start()
        thread.join()
    tell([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    """
    assert answer(run_program(source)) == [0, 0, 0]


def test_the_parents_descriptor_is_not_in_the_child() -> None:
    """Neither a fork nor a program that is started keeps a listening socket of ours."""
    source = """
    import os, subprocess, sys, fastlock
    from fastlock import control
    from support import tell, wait_until
    fastlock.install()
    wait_until(control.address)
    COUNT = "import os; print(sum(os.path.exists(f'/proc/self/fd/{n}') and os.readlink(f'/proc/self/fd/{n}').startswith('socket:') for n in range(100)))"
    read, write = os.pipe()
    if not os.fork():
        os.dup2(write, 1)
        exec(COUNT)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    environment = {**os.environ, "FASTLOCK_INSTALL": "0"}
    command = [sys.executable, "-c", COUNT]
    started = subprocess.run(command, close_fds=False, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment).stdout
    tell([int(os.read(read, 100)), int(started)])
    """
    assert answer(run_program(source)) == [0, 0]


def test_a_file_that_was_cleaned_away_comes_back() -> None:
    """Who tidies temporary directories may take the socket's file; a look, which is never far off in a young process, makes it anew."""
    with running(IDLE) as live:
        os.unlink(live.path())
        assert calling.call(live.pid, {"do": "level"}, 60)["ok"]
        assert Path(live.path()).exists()


def test_a_process_that_forks_all_the_time_has_a_socket() -> None:
    """Forks in closer order than the listening thread's first look do not put the socket off for ever."""
    source = """
    from fastlock import control
    def fork():
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        fork()
    fork()
    ready(control.address() is not None); stay()
    """
    with running(source) as live:
        assert live.words == ["True"] and calling.call(live.pid, {"do": "level"}, 30)["ok"]


FORKS = """
import os, sys, warnings
import threading
import fastlock
from fastlock import _listen, control
from support import tell, wait_until
fastlock.install()
assert _listen.is_running() and threading.active_count() == 1
kinds = []
for settled in (False, True):
    if settled:
        wait_until(control.address)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(50):
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
    kinds.append([str(each.message) for each in caught])
tell([kinds, _listen.is_running()])
"""


def test_a_fork_is_still_one_of_a_process_with_one_thread() -> None:
    """CPython 3.12 and later warn of a fork from several threads, as the system counts them: not because of ours, before and after it has a socket."""
    assert answer(run_program(FORKS)) == [[[], []], True]


TURNS = """
import os, sys, threading, time, warnings
from support import tell
warnings.simplefilter("ignore")  # of a fork while there are threads: the child does nothing
def fork():
    before = turns[0]
    child = os.fork()
    if not child:
        os._exit(turns[0] != before)
    between = turns[0] - before
    return between + os.waitpid(child, 0)[1]
turns = [0]
if sys.argv[1] != "plain":
    import fastlock
    from fastlock import _listen, control
    from support import wait_until
    if sys.argv[1] == "without a socket":
        control._put_off_socket = lambda: None
        control._socket_due_ns = 1 << 62
    fastlock.install()
    if sys.argv[1] == "with a socket":
        wait_until(control.address)
        fork()  # it waits until the socket is all there
def take_turns():
    while True:
        turns[0] += 1
        time.sleep(0)  # lets the GIL go, and waits for it
threading.Thread(target=take_turns, daemon=True).start()
while not turns[0]:
    time.sleep(0)
sys.setswitchinterval(1000)  # from here on nobody gets the GIL who is not given it
seen = turns[0]
while turns[0] == seen:  # nor who was waiting: he would have asked for it after the interval that there was
    time.sleep(0)
lost, listeners = 0, 0
for _ in range(50):
    lost += fork()
    listeners += sys.argv[1] != "plain" and _listen.is_running()
tell([lost, listeners])
"""


@pytest.mark.parametrize("how", ["plain", "without a socket", "with a socket"])
def test_nobody_gets_the_gil_in_a_fork(how: str) -> None:
    """A fork with fastlock is one step as a plain one is: who waits for the GIL does not get it before, nor until os.fork() is back."""
    assert answer(run_program(TURNS, how)) == [0, 0 if how == "plain" else 50]


def test_importing_fastlock_starts_nothing() -> None:
    """A process has one thread and no socket until install(), and control=False takes both away again."""
    source = """
    import os, fastlock, threading
    from fastlock import control
    from support import tell, wait_until
    def threads(): return len(os.listdir("/proc/self/task"))
    seen = [threads(), control.address()]
    fastlock.install()
    seen += [threads(), threading.active_count()]
    path = wait_until(control.address)
    seen.append(os.path.exists(path))
    fastlock.configure(control=False)
    wait_until(lambda: threads() == 1)
    seen += [control.address(), os.path.exists(path)]
    fastlock.configure(control=True)
    seen.append(os.path.exists(wait_until(control.address)))
    tell(seen)
    """
    assert answer(run_program(source)) == [1, None, 2, 1, True, None, False, True]


def test_the_switch_goes_with_the_socket() -> None:
    """Where a program takes its socket away nobody could end the switch any more, so it ends then."""
    source = """
    ready(); stay()
    fastlock.configure(control=False)
    print(fastlock.level(), flush=True); stay()
    """
    with running(source) as live:
        assert ask(live, do="level", level="order", for_s=600)["now"]["level"] == "order"
        live.go_on()
        assert live.line() == "detect\n"


def test_no_descriptor_left() -> None:
    """A program that has used up its descriptors forks as ever, and answers as soon as it has some again."""
    source = """
    import resource
    from fastlock import control
    wait_until(control.address)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    ready(); stay()
    child = os.fork()
    if not child: os._exit(0)
    os.waitpid(child, 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print("again", flush=True); stay()
    """
    with running(source, stderr=subprocess.PIPE) as live:
        connection = live.connected()
        connection.sendall(b'{"fastlock": 1, "do": "level"}\n')
        live.go_on()
        assert live.line() == "again\n"
        assert calling.call(live.pid, {"do": "level"}, 30)["ok"]
        connection.close()
        live.go_on()
        assert (live.process.wait(30), live.process.stderr.read()) == (0, "")  # type: ignore[union-attr]


def test_descriptors_closed_in_bulk() -> None:
    """A program that closes all descriptors, and uses the numbers for its own, gets a new socket, and loses none of its own."""
    source = """
    import socket
    from fastlock import control
    wait_until(control.address)
    number = control._listening.fileno()
    os.closerange(3, number); os.closerange(number + 1, 1000)
    mine = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    os.dup2(mine[0].fileno(), number)       # in one step: the thread looks after its socket, and would take the number again
    mine.append(socket.socket(fileno=number))
    mine.pop(0).close()
    for at, each in enumerate(mine):
        each.bind(f"\\0test-{os.getpid()}-{at}"); each.listen()
    ready(); stay()
    for at, each in enumerate(mine):
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(f"\\0test-{os.getpid()}-{at}")
            each.accept()[0].close()
    print("all mine", flush=True); stay()
    """
    with running(source) as live:
        assert wait_until(lambda: calling.call(live.pid, {"do": "level"}, 30))["pid"] == live.pid
        live.go_on()
        assert live.line() == "all mine\n"
        assert calling.call(live.pid, {"do": "level"}, 30)["ok"]


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_a_change_of_user() -> None:
    """Who gives up being root gets a socket of the new user's, and root can still ask."""
    with socket_directory() as base:
        base.chmod(0o1777)
        source = """
        from fastlock import control
        import fastlock.answers
        wait_until(control.address)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        wait_until(lambda: "65534" in (control.address() or ""), 60)
        ready(); stay()
        """
        with running(source, env={"XDG_RUNTIME_DIR": "", "TMPDIR": str(base)}) as live:
            assert calling.call(live.pid, {"do": "level"}, 30)["pid"] == live.pid
            path = base / "fastlock-65534" / sockets.file_name(live.pid)
            assert path.stat().st_uid == 65534


def test_signals_go_to_the_programs_threads() -> None:
    """A signal that the program blocks to wait for it is not delivered to our thread, where it would end the process."""
    source = """
    import signal
    from fastlock import _listen
    assert _listen.is_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    ready()
    print(signal.sigwait([signal.SIGUSR1]).name, flush=True); stay()
    """
    with running(source) as live:
        live.path()
        os.kill(live.pid, signal.SIGUSR1)
        assert live.line() == "SIGUSR1\n"


def test_exit_while_somebody_asks() -> None:
    """A process that ends in the middle of many questions ends, with its own status and without a word."""
    source = "ready(); stay(); sys.exit(5)"
    with running(source, stderr=subprocess.PIPE) as live:
        path = live.path()
        live.go_on()
        while live.process.poll() is None:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(5)
                    connection.connect(path)
                    connection.sendall(b'{"fastlock": 1, "do": "status"}\n')
                    connection.recv(1000)
            except OSError:
                time.sleep(0)
        assert (live.process.returncode, live.process.stderr.read()) == (5, "")  # type: ignore[union-attr]


# ---- flips under load


FLIPS = """
import gc, itertools, sys, threading, time, tracemalloc
import fastlock
from fastlock import _core, config
from support import tell, start
fastlock.install()
locks = [threading.Lock() for _ in range(4)]
rlock, rw = threading.RLock(), fastlock.RWLock()
over, done = [], itertools.count()
def work(number):
    for round in itertools.count(number):
        a, b = sorted((round % 4, (round * 3 + 1) % 4))
        with locks[a]:
            if a != b:
                with locks[b], rlock: next(done)
        with rw.read() if round % 5 else rw.write(): pass
        if over: return
threads = [start(work, number, name=f"w{number}") for number in range(4)]
def flips(number):
    for at, level in zip(range(number), itertools.cycle(("order", "off", "detect"))):
        if at % 3: config.set_level(level)
        else: config.say("switch", level, time.monotonic_ns() + 10**6)
        assert _core.get_level() == config.LEVELS[config.level()]
        time.sleep(0.0005)
sys.setswitchinterval(0.0002)      # else each flip waits 20 ms for its turn among four threads that compute
flips(1000)
gc.collect(); tracemalloc.start(); before = tracemalloc.get_traced_memory()[0]
flips(3000)
gc.collect(); grown = tracemalloc.get_traced_memory()[0] - before
over.append(True)
for thread in threads: thread.join(30)
tell([[str(thread.error) for thread in threads if thread.error or thread.is_alive()], [f.code for f in fastlock.findings()], grown < 200_000, next(done) > 1000])
"""


def test_flips_under_load() -> None:
    """4,000 flips between all levels, by code and by the switch, while four threads lock: no error, no growth, no false finding."""
    assert answer(run_program(FLIPS, timeout_s=120)) == [[], [], True, True]


def test_flips_over_the_socket_under_load() -> None:
    """A thousand flips by clients while four threads lock: each is answered, and nothing is found."""
    source = """
    lock, other = threading.Lock(), threading.RLock()
    def work():
        while True:
            with lock, other: pass
    threads = [start(work, name=f"w{n}") for n in range(4)]
    ready(); stay()
    print([f.code for f in fastlock.findings()], [t for t in threads if not t.is_alive()], flush=True); stay()
    """
    with running(source) as live:
        for number in range(1000):
            level = ("order", "off", "detect")[number % 3]
            limit = {"for_s": 0.01} if number % 2 else {}
            assert told(live.connected(), json.dumps({"fastlock": 1, "do": "level", "level": level, **limit}).encode() + b"\n")["now"]["level"] == level
        live.go_on()
        assert live.line() == "[] []\n"
        assert len(os.listdir(f"/proc/{live.pid}/fd")) < 20
