"""The console's fleet: processes that come and go, those that are named with their children, and what they say when they are asked, or why not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastlock.console import fleet as fleets
from fastlock.console.asking import OLDER
from fastlock.console.fleet import Fleet
from fastlock.console.seen import ENDED, LIVE, UNSEEN, Asked, Seen
from fastlock.outside.find import processes
from live import running
from support import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")
QUIET = "ready()\nstay()\n"
WAITS = """
    lock = fastlock.Lock(name="lock", lock_class="ledger")
    lock.acquire()
    start(lock.acquire, name="waiter"); blocked("waiter")
    ready()
    stay()
"""


def seen(fleet: Fleet, pid: int) -> Seen | None:
    fleet.refresh()
    return fleet.of(pid)


def is_seen(fleet: Fleet, pid: int, state: str = LIVE) -> bool:
    found = seen(fleet, pid)
    return found is not None and found.state == state


def answered(fleet: Fleet, pid: int, part: str, agent: int = 0) -> Asked:
    """Ask until there is an answer, or a reason why there is none."""
    return wait_until(lambda: (asked := fleet.asked(pid, part, agent)).why != "it is being asked" and asked)


def test_processes_come_and_go() -> None:
    """One that starts is found, and one that ends stays for a while, with what was seen last, among them this user's others but not this one."""
    with Fleet() as fleet, running(WAITS) as early:
        assert is_seen(fleet, early.pid)  # the first look is at all
        with running(QUIET) as late:
            wait_until(lambda: is_seen(fleet, late.pid))
            assert [each.pid for each in fleet.seen] == sorted(each.pid for each in fleet.seen)
            assert os.getpid() not in {each.pid for each in fleet.seen}
            os.kill(early.pid, signal.SIGKILL)
            wait_until(lambda: is_seen(fleet, early.pid, ENDED))
            assert [wait.what for wait in fleet.of(early.pid).waits] == ["Lock.acquire"]  # type: ignore[union-attr]
            assert is_seen(fleet, late.pid)


def test_the_ended_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, or as soon as there are many; one that was named stays."""
    monkeypatch.setattr(fleets, "LINGER_S", 0.05)
    with running(QUIET) as one, running(QUIET) as named, Fleet([named.pid]) as few, Fleet() as all_of_them:
        assert is_seen(all_of_them, one.pid) and is_seen(few, named.pid) and few.of(one.pid) is None
        for program in (one, named):
            program.process.kill()
            program.process.wait()
        wait_until(lambda: seen(all_of_them, one.pid) is None)
        assert is_seen(few, named.pid, ENDED)
    monkeypatch.setattr(fleets, "LINGER_S", 60)
    monkeypatch.setattr(fleets, "MOST_ENDED", 0)
    with running(QUIET) as one, Fleet() as fleet:
        assert is_seen(fleet, one.pid)
        one.process.kill()
        wait_until(lambda: seen(fleet, one.pid) is None)


def test_children_of_those_that_are_named() -> None:
    """As gunicorn's workers: they come to their master, their own children too, and programs without a table never."""
    source = """
        child = os.fork()
        if child == 0:
            grandchild = os.fork()
            if grandchild == 0: time.sleep(1000)
            time.sleep(1000)
        import subprocess
        subprocess.Popen(["sleep", "1000"])
        ready(child)
        stay()
        os.kill(child, 9)
        os.waitpid(child, 0)
        ready()
        stay()
    """
    with running(source, start_new_session=True) as master, running(QUIET) as other, Fleet([master.pid]) as fleet:
        child = int(master.words[0])
        try:
            wait_until(lambda: is_seen(fleet, child) and len(fleet.seen) == 3)
            assert all(each.facts["process"] == "program.py" for each in fleet.seen)
            assert fleet.of(other.pid) is None
            master.go_on()
            master.line()
            wait_until(lambda: is_seen(fleet, child, ENDED))
            assert is_seen(fleet, master.pid)
        finally:
            os.killpg(master.pid, signal.SIGKILL)


ONLOOKER = """
    from fastlock.outside import open_table
    from fastlock.outside.find import looking_on
    pid = int(sys.stdin.readline())
    table = open_table(pid)
    table.follow(); table.follow()
    with looking_on():
        print("looks", flush=True)
        stay()
    print("is like any other", flush=True)
    stay()
"""


def test_who_only_looks_on_is_not_listed() -> None:
    """What has another's table open, and mapped, is not taken for that; a command that looks at processes has no line, in no list."""
    with running(QUIET) as program, running("ready()\n" + textwrap.dedent(ONLOOKER)) as onlooker, Fleet() as fleet:
        onlooker.process.stdin.write(f"{program.pid}\n")  # type: ignore[union-attr]
        onlooker.process.stdin.flush()  # type: ignore[union-attr]
        assert onlooker.line() == "looks\n"
        assert is_seen(fleet, program.pid) and fleet.of(onlooker.pid) is None
        assert program.pid in processes() and onlooker.pid not in processes()
        onlooker.go_on()
        assert onlooker.line() == "is like any other\n"
        wait_until(lambda: is_seen(fleet, onlooker.pid))
        assert fleet.of(onlooker.pid).facts["pid"] == onlooker.pid  # type: ignore[union-attr]
        assert onlooker.pid in processes()


def test_numbers_that_are_named_have_a_line() -> None:
    """No process, and one without fastlock: a line each, and nothing is raised."""
    with subprocess.Popen(["sleep", "1000"]) as sleeper, Fleet([sleeper.pid, 2**22 + 5]) as fleet:
        fleet.refresh()
        assert [(each.pid, each.state, each.why) for each in fleet.seen] == [
            (sleeper.pid, UNSEEN, "there is no fastlock in it"),
            (2**22 + 5, UNSEEN, f"there is no process {2**22 + 5}"),
        ]
        sleeper.kill()


def test_short_programs_do_not_flicker() -> None:
    """A process that is copied to execute another program has a table for a moment, and never has a line."""
    source = """
        import subprocess
        ready()
        while True: subprocess.run(["true"])
    """
    with running(source) as program, Fleet([program.pid]) as fleet:
        for _ in range(30):
            assert [each.pid for each in fleet.refresh()] == [program.pid]


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_a_level_is_told_and_set() -> None:
    """What the process says of its level, and the switch with a limit; a refusal is a line."""
    with running(WAITS) as program, Fleet([program.pid]) as fleet:
        program.path()
        asked = answered(fleet, program.pid, "level")
        assert (asked.why, asked.level) == ("", {"level": "detect", "source": "default", "left_s": None})
        assert asked.at_ns <= time.monotonic_ns()
        done = fleet.set_level(program.pid, "order", 600)
        assert done == (True, "level order for 10m 00s; before: detect")
        assert fleet.set_level(program.pid, "detect", None) == (True, "level detect until it is set again; before: order")
        refused = fleet.set_level(program.pid, "louder", None)
        assert not refused.done and refused.text.startswith("nothing was changed: refuses: ") and "louder" in refused.text
        wait_until(lambda: is_seen(fleet, program.pid) and fleet.of(program.pid).level == "detect")  # type: ignore[union-attr]


def test_what_only_the_process_knows() -> None:
    """Its classes, its order graph, and an agent's stack: told by a process of this version."""
    with running(WAITS) as program, Fleet([program.pid]) as fleet:
        program.path()
        fleet.refresh()
        waiter = fleet.of(program.pid).waits[0].agent  # type: ignore[union-attr]
        classes, order, agent = (answered(fleet, program.pid, part, waiter) for part in ("classes", "order", "agent"))
        if classes.why == OLDER:
            pytest.skip("this version of fastlock does not tell them")
        assert classes.classes["ledger"].kind == "Lock" and classes.classes["ledger"].instances == 1
        assert order.order is not None and order.order["cycles"] == []
        assert agent.agent is not None and agent.agent["id"] == waiter and agent.agent["stack"]
        gone = answered(fleet, program.pid, "agent", 99)
        assert (gone.agent, gone.why) == (None, "it has no such agent any more")


class Answering:
    """A process of another version: a socket in its place that answers each request with the same line."""

    def __init__(self, path: str, answer: bytes | None) -> None:
        os.unlink(path)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        self.answer, self.asked = answer, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        kept = []
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.asked += 1
            if self.answer is None:
                kept.append(connection)  # silent: neither an answer nor an end
                continue
            with connection:
                connection.recv(4096)
                connection.sendall(self.answer)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put something else at a process's socket; whose it is, is not looked at."""
    monkeypatch.setattr("fastlock.calling._require_peer", lambda connection, found: None)
    servers = []

    def put(path: str, answer: bytes | None) -> Answering:
        servers.append(Answering(path, answer))
        return servers[-1]

    yield put
    for server in servers:
        server.listening.shutdown(socket.SHUT_RDWR)
        server.listening.close()


@pytest.mark.parametrize(
    "answer, why",
    [
        (b'{"fastlock": 1, "ok": false, "error": "there is no request \'classes\', only level, status"}\n', OLDER),
        (b'{"fastlock": 1, "ok": true}\n', "its answer makes no sense here (KeyError: 'classes')"),
        (b'{"fastlock": 1, "ok": true, "classes": [7], "cut": 0}\n', "its answer makes no sense here (TypeError: 'int' object is not subscriptable)"),
        (
            b'{"fastlock": 1, "ok": true, "cut": 0, "classes": [{"name": "a", "kind": "", "instances": 1, "contentions": 0, "waits": 0, "waited_s": 1e999, "buckets": []}]}\n',
            "its answer makes no sense here (ValueError: no time)",
        ),
        (b"noise\n", "answers what is no answer of fastlock's"),
    ],
    ids=["older", "empty", "odd", "endless", "noise"],
)
def test_answers_that_are_none(answering: Any, answer: bytes, why: str) -> None:
    """An older process, and one that answers nonsense: a line each, and the next answer is asked for all the same."""
    with running(WAITS) as program, Fleet([program.pid]) as fleet:
        answering(program.path(), answer)
        asked = answered(fleet, program.pid, "classes")
        assert (asked.why, asked.at_ns, asked.classes) == (why, 0, {})


def test_a_silent_process_holds_up_nobody(answering: Any) -> None:
    """It is read as ever, asked more and more seldom, and others are answered meanwhile; what it has said before stays, with its age."""
    with running(WAITS) as silent, running(WAITS) as other, Fleet([silent.pid, other.pid]) as fleet:
        path = silent.path()
        other.path()
        before = answered(fleet, silent.pid, "level")
        server = answering(path, None)
        wait_until(lambda: fleet.asked(silent.pid, "order").why.startswith("does not answer within 1 s"))
        assert is_seen(fleet, silent.pid)
        assert answered(fleet, other.pid, "level").level is not None
        assert server.asked < 4
        assert fleet.asked(silent.pid, "level").level == before.level


def test_a_stopped_process_is_not_asked() -> None:
    """It would not answer, and that is said at once."""
    with running(WAITS) as program, Fleet([program.pid]) as fleet:
        program.path()
        with program.stopped():
            assert answered(fleet, program.pid, "classes").why == "it is stopped, and answers when it goes on"
            refused = fleet.set_level(program.pid, "order", 600)
            assert refused == (False, "nothing was changed: it is stopped, and takes a level when it goes on")
        assert fleet.set_level(program.pid, "detect", None).text.endswith("before: detect")


def test_who_looks_once_waits_for_the_answers() -> None:
    """After settle() everything that was wanted has an answer, or a reason why not; with nothing to wait for it returns at once."""
    with running(QUIET) as program, running(QUIET, env={"FASTLOCK_CONTROL": "0"}) as deaf, Fleet() as fleet:
        program.path()
        fleet.settle(30)
        for pid in (program.pid, deaf.pid):
            fleet.asked(pid, "level")
        fleet.settle(30)
        assert fleet.asked(program.pid, "level").level is not None
        assert fleet.asked(deaf.pid, "level").why == "has fastlock, but no socket: the process was started with FASTLOCK_CONTROL=0"


def test_after_the_end_nobody_is_asked() -> None:
    """close() twice does no harm; what was seen stays, and a wish has no thread any more."""
    with running(QUIET) as program:
        fleet = Fleet([program.pid])
        fleet.refresh()
        fleet.close()
        fleet.close()
        assert [each.pid for each in fleet.seen] == [program.pid]
        assert fleet.asked(program.pid).at_ns == 0


def test_where_processes_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and an empty fleet."""
    monkeypatch.setattr(sys, "platform", "plan9")
    with Fleet() as fleet:
        assert (list(fleet.refresh()), fleet.why) == ([], "processes are seen in /proc, which this system does not have")
    assert Path("/proc").exists()
