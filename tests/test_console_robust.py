"""The console and what is hostile, damaged, stopped, foreign or gone: always a calm word, never a traceback, and nothing is kept of what has gone.

FASTLOCK_FUZZ sets how many corrupted tables there are; the console gets a fiftieth of what the reader gets, 80 where it is not set.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from console_fuzz import Frozen, moment, said, show_all, spoilt
from fastlock.console import asking
from fastlock.console.fleet import Fleet
from fastlock.console.readers import Reading, seen_of
from fastlock.console.seen import ENDED, LIVE, STOPPED, UNSEEN, Target
from fastlock.outside import Unseen, open_table
from fastlock.outside.layout import SHARES, image_of
from fuzz_program import corrupted
from outside_support import fastlock, running
from support import wait_until
from test_outside import DEADLOCK, SCENE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")
COUNT = int(os.environ.get("FASTLOCK_FUZZ", "4000")) // 50
ROOT = os.geteuid() == 0

WAITER = """
    fastlock.install()
    lock = fastlock.Lock(name="the lock"); lock.acquire()
    start(lock.acquire, name="waiter"); blocked("waiter")
"""
SITE = {"file": "/srv/shop/b.py", "line": 3, "function": "f", "text": "with lock:"}
EDGE = {"first": "a", "then": "b", "count": 3, "held_at": SITE, "wanted_at": None, "first_seen": "2026-11-30T18:41:21.685+00:00", "agent": "T"}
ANSWERS: dict[str, dict[str, Any]] = {
    "classes": {
        "classes": [{"name": "ledger", "kind": "Lock", "instances": 2, "contentions": 4, "waits": 3, "waited_s": 1.5, "buckets": [[0.001, 1], [60.0, 3]]}],
        "cut": 3,
    },
    "order": {
        "level": "order",
        "cycles": [{"classes": ["a", "b"], "tier": "high", "reasons": ["r"], "edges": [EDGE, {**EDGE, "first": "b", "then": "a"}]}],
        "edges": [EDGE],
        "classes": [{"name": "a", "kind": "Lock", "live": 1, "acquired": 2, "contended": 3}],
        "filtered": {"agents": 1},
        "full": False,
        "size_bytes": 10,
        "whole": True,
        "cut": {"edges": 0, "cycles": 0},
    },
    "level": {"now": {"level": "order", "source": "switch", "left_s": 3.0}},
    "agent": {
        "agents": [
            {
                "id": 16777217, "kind": "task", "name": "x", "native_id": 4, "loop": "l", "state": "alive", "doing": "suspended", "stack": [SITE],
                "awaits": [{"who": {"id": 1, "kind": "task", "name": "a"}, "whom": {"id": None, "kind": "pool", "name": "p"}, "how": "gather()"}],
                "loop_does": {"thread": 1, "running": "x", "ready": 1, "timers": 2, "stack": [SITE]}, "why": "",
            }
        ],
        "unknown": [],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> list[bytes]:
    """Tables of real processes: one of everything, and a deadlock with its findings."""
    kept = []
    for source, arguments in ((SCENE, ["order"]), (DEADLOCK + "    ready()\n", [])):
        with running(source, *arguments) as program, open_table(program.pid) as table:
            kept.append(table.saved())
    return kept


# ---- what is damaged or hostile


def test_damaged_tables(tables: list[bytes]) -> None:
    """Between two good moments a damaged one is shown or refused, on every page, and leaves no trace in the next; the seed is in the failure."""
    seed = random.randrange(1 << 30)
    luck = random.Random(seed)
    shown = refused = 0
    good = {table: moment(table, table) for table in tables}
    for table in tables:
        for data, again in corrupted([table], COUNT // 2, luck):
            try:
                damaged = moment(data, data if again is None else again, good[table])
            except Unseen as error:
                assert str(error) and "\n" not in str(error), f"seed {seed}"
                refused += 1
                continue
            after = moment(table, table, damaged)
            assert not _records_alone(table, data) or said(after) == said(good[table]), f"seed {seed}"
            shown += show_all(Frozen([seen_of(damaged, 41, 0, False), seen_of(after, 42, None, True)])) > 0
    assert shown > COUNT // 10 and refused > COUNT // 100


def _records_alone(table: bytes, data: bytes) -> bool:
    """Whether what differs are records alone: a string and a site never change under a number, so a reader may keep what it has read."""
    if len(data) != len(table):
        return False
    first = image_of(table).header.areas[2].offset
    return data[:first] == table[:first]


def test_a_share_that_names_nobody_for_a_moment(tables: list[bytes]) -> None:
    """The reader of a lock is its reader again when its record is right again, though the lock's own record has not changed."""
    table = tables[0]
    area = image_of(table).header.areas[SHARES]
    good = moment(table, table)
    readers = {lock["name"]: lock["readers"] for lock in good.snapshot()["locks"]}
    assert readers["shared"]
    for number in range(1, area.used):
        at = area.offset + number * area.record
        damaged = table[:at] + b"\xff" * 8 + table[at + 8 :]
        assert said(moment(table, table, moment(damaged, damaged, good))) == said(good), number


@pytest.mark.parametrize("part", ANSWERS)
def test_hostile_answers(tables: list[bytes], part: str) -> None:
    """A process may answer anything over its socket: the asker refuses it, or every page shows it."""
    seen = seen_of(moment(tables[0], tables[0]), 41, 0, False)
    parse = asking._PARTS[part]
    agent = Target("agent", 41, next(iter(seen.agents)))
    assert show_all(Frozen([seen], {part: parse(ANSWERS[part])}), [agent]) > 8
    luck = random.Random(part)
    answers = list(spoilt(ANSWERS[part]))
    shown = 0
    for answer in luck.sample(answers, min(25, len(answers))):
        try:
            told = parse(answer)
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            continue  # which the asker's thread says in a line
        shown += show_all(Frozen([seen], {part: told}), [agent]) > 0
    assert shown > 0


# ---- what becomes of a process


def until(reading: Reading, state: str) -> None:
    """Read until the process is in a state."""
    wait_until(lambda: reading.refresh().state == state)


def test_a_process_is_stopped_goes_on_and_ends() -> None:
    """Each is a state with a line; what was seen last stays."""
    with running(WAITER + "    ready()\n") as program:
        reading = Reading(program.pid)
        until(reading, LIVE)
        os.kill(program.pid, signal.SIGSTOP)
        until(reading, STOPPED)
        assert reading.seen.why and "\n" not in reading.seen.why and len(reading.seen.waits) == 1
        assert "stopped" in fastlock("top", "--once", program.pid).stdout
        os.kill(program.pid, signal.SIGCONT)
        until(reading, LIVE)
        os.kill(program.pid, signal.SIGKILL)
        until(reading, ENDED)
        assert [agent.name for agent in reading.seen.agents.values() if agent.waits] == ["waiter"]
    assert reading.refresh().state == ENDED
    done = fastlock("top", "--once", program.pid)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    reading.close()


def test_a_process_that_executes_others() -> None:
    """Under one number: a program with fastlock, another one with it, and one without. Each time what is there now is shown, or that it has ended."""
    source = """
    fastlock.install()
    lock = fastlock.Lock(name=sys.argv[1]); lock.acquire()
    start(lock.acquire, name="waits for " + sys.argv[1]); blocked("waits for " + sys.argv[1])
    print(json.dumps(sys.argv[1]), flush=True)
    sys.stdin.readline()
    again = [sys.executable, *sys.argv] if sys.argv[1] == "first" else ["/bin/sleep", "600"]
    if sys.argv[1] == "first": again[-1] = "second"
    os.execv(again[0], again)
    """
    with running(source, "first") as program, Fleet([program.pid]) as fleet:

        def names() -> list[str]:
            fleet.refresh()
            seen = fleet.of(program.pid)
            return [] if seen is None or seen.state != LIVE else [lock.name for lock in seen.locks.values()]

        for name in ("first", "second"):
            wait_until(lambda: names() == [name])
            program.process.stdin.write("\n")  # type: ignore[union-attr]
            program.process.stdin.flush()  # type: ignore[union-attr]
        wait_until(lambda: fleet.refresh() and fleet.seen[0].state in (ENDED, UNSEEN))
        assert fleet.seen[0].why and "\n" not in fleet.seen[0].why
        assert show_all(Frozen(fleet.seen)) >= 8


FORKS = """
    import random
    fastlock.install()
    luck, alive = random.Random(1), set()
    def child(number):
        lock = fastlock.Lock(name=f"of {number}"); lock.acquire()
        start(lock.acquire, name="waits")
        time.sleep(luck.random() / 20)
        if number % 5 == 1: os.execv("/bin/true", ["true"])
        if number % 5 == 2: os.kill(os.getpid(), 9)
        if number % 5 == 3: os.closerange(3, 5000)
        os._exit(0)
    print("1", flush=True)
    for number in range(int(sys.argv[1])):
        pid = os.fork()
        if pid == 0: child(number)
        alive.add(pid)
        while len(alive) > 8: alive.discard(os.waitpid(-1, 0)[0])
    while alive: alive.discard(os.waitpid(-1, 0)[0])
    ready("over")
"""


def test_processes_that_come_and_go() -> None:
    """Children that live for milliseconds, execute others, are killed, close everything: no error, and no descriptor stays with those that are gone."""
    before = len(os.listdir("/proc/self/fd"))
    with running(FORKS, 150) as program:
        with Fleet([program.pid]) as fleet:
            over: list[str] = []
            threading.Thread(target=lambda: over.append(program.line()), daemon=True).start()
            while not over:
                for seen in fleet.refresh():
                    assert "\n" not in seen.why
                show_all(Frozen(list(fleet.seen)[:3]))
            wait_until(lambda: [seen.pid for seen in fleet.refresh() if seen.state != ENDED] == [program.pid])
            assert len(os.listdir("/proc/self/fd")) <= before + 6  # the program's pipes, and one table
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


# ---- who may not look


AS_NOBODY = """
import gettext, locale, os, pwd, shutil, sys
import fastlock.cli.top
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(fastlock.cli.top.main(sys.argv[1:]))
"""


def as_nobody(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `fastlock top` as a user who may look at nobody else's; what that user may not read has been imported before."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
    command = [sys.executable, "-c", AS_NOBODY, *map(str, arguments)]
    return subprocess.run(command, env=clean, cwd="/", capture_output=True, text=True, timeout=90)


@pytest.mark.skipif(not ROOT, reason="only root may be somebody else")
def test_who_may_not_look_is_told_why() -> None:
    """Another user's process, by number and among all: a line that names both users, and no row."""
    with running(WAITER + "    ready()\n") as program:
        done = as_nobody("--once", program.pid)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert f"process {program.pid}" in done.stderr and "uid 0" in done.stderr and "uid 65534" in done.stderr
        among_all = as_nobody("--once", "--view", "processes", "--json")
        assert among_all.returncode == 0, among_all.stderr
        rows = [row for view in json.loads(among_all.stdout)["views"] for section in view["sections"] for row in section.get("rows", ())]
        assert str(program.pid) not in json.dumps(rows)


@pytest.mark.skipif(not ROOT, reason="only root may give that up")
def test_a_process_that_has_changed_its_user() -> None:
    """Root sees it; its new user does not, and is told why."""
    source = """
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    """
    with running(source + WAITER + "    ready()\n") as program:
        assert "waiter" in fastlock("top", "--once", "--view", "waits", program.pid).stdout
        done = as_nobody("--once", program.pid)
        assert done.returncode == 2 and "root may look" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("pid", ["0", "-1", "99999999999999999999", "1e3", "a\x1b[31m"])
def test_what_is_no_process_id(pid: str) -> None:
    """Is refused by the command line, without a traceback and without what a terminal would obey."""
    done = fastlock("top", "--once", pid)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "\x1b" not in done.stderr
