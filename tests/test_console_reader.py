"""The console's reader: what it takes over from the last moment is what a dump of this moment says, and each end of a process is a calm line."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastlock.console.readers import Reading
from fastlock.console.seen import ENDED, LIVE, STOPPED, UNSEEN
from fastlock.outside import open_table
from fastlock.outside.layout import AGENTS, FINDINGS, SHARES, Image, image_of
from fastlock.outside.records import Records
from fastlock.outside.view import View
from outside_support import as_user, fastlock, running
from support import wait_until
from test_outside import DEADLOCK, SCENE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")

# Threads and tasks that come, wait for everything there is, hold several, give up, and end; some end with what they hold.
STORM = """
    import asyncio, random
    fastlock.set_level("order")
    luck = random.Random(int(sys.argv[1]))
    locks = [fastlock.Lock(name=f"lock {number}") for number in range(6)] + [fastlock.RLock(name="again") for _ in range(3)]
    shared = [fastlock.RWLock(name="shared"), fastlock.RWLock(name="readers", prefer="reader")]
    permits, condition = fastlock.Semaphore(3, name="permits"), fastlock.Condition()
    def nap(): time.sleep(luck.random() / 300)
    def one():
        first, second = luck.choice(locks), luck.choice(locks)
        if first.acquire(timeout=0.02):
            nap()
            if second.acquire(timeout=luck.random() / 200): second.release()
            first.release()
    def several():
        with permits:
            rw, way = luck.choice(shared), luck.choice(("read", "read", "write", "upgradable"))
            with getattr(rw, way)():
                nap()
                if way == "upgradable" and luck.random() < 0.5 and rw.acquire_write(timeout=0.002): rw.release_write()
                nap()
                luck.choice(locks[:6]).acquire(timeout=0.001)  # and it is not given back, until somebody does in free()
    def told():
        with condition:
            condition.notify()
            condition.wait(luck.random() / 200)
    def free():
        for lock in locks:
            try: lock.release()
            except RuntimeError: pass
    def work():
        for _ in range(luck.randrange(5, 60)): luck.choice((one, one, several, told, free))()
    def keep_up():
        while True:
            thread = threading.Thread(target=work, name=f"worker {luck.randrange(100)}", daemon=True)
            thread.start()
            if luck.random() < 0.5: thread.join()
    async def tasks():
        gates = [fastlock.aio.Lock(name=f"gate {number}") for number in range(4)] + [fastlock.aio.Semaphore(2)]
        async def passes():
            async with luck.choice(gates):
                await asyncio.sleep(luck.random() / 300)
                try: await asyncio.wait_for(luck.choice(gates).acquire(), luck.random() / 200)
                except asyncio.TimeoutError: return
        while True:
            await asyncio.gather(*[asyncio.create_task(passes(), name=f"task {number}") for number in range(luck.randrange(1, 12))])
    for _ in range(4): threading.Thread(target=keep_up, daemon=True).start()
    threading.Thread(target=lambda: asyncio.run(tasks()), daemon=True).start()
    ready()
"""
NOW_NS, WALL_S = 10**13, 1.7e9


def said(view: View) -> dict[str, Any]:
    """All that a dump, ps and a console say of a moment."""
    moment = view.moment
    return {
        "snapshot": view.snapshot(),
        "facts": view.facts(),
        "circles": [(circle, view.clears(circle), view.is_proven(circle)) for circle in view.circles],
        "roots": [(root, str(root)) for root in moment.roots()],
        "behind": dict(moment.behind),
    }


def read_on(first: Image, second: Image, before: View | None, where: str = "") -> View:
    """Read a moment after another, and see to it that it is what it is when it is read alone."""
    alone = View(Records(first, second), NOW_NS, WALL_S)
    view = View(Records(first, second, None if before is None else before.records), NOW_NS, WALL_S, before)
    assert said(view) == said(alone), where
    assert (list(view.agents), list(view.locks)) == (list(alone.agents), list(alone.locks))
    return view


@pytest.mark.parametrize("seed", [1, 2])
def test_a_moment_after_others_is_what_it_is_alone(seed: int) -> None:
    """Of a program in full traffic: names, owners, queues, what is held, sites, circles, roots and counts, for many moments."""
    view, waits, luck = None, 0, random.Random(seed)
    with running(STORM, seed) as program, open_table(program.pid) as table:
        for _ in range(80):
            view = read_on(table._live.read(), table._live.read(), view)
            waits += len(view.waits)
            time.sleep(luck.choice((0, 0.001, 0.004)))  # for other differences, not to wait for anything
    assert waits > 40


def test_what_is_followed_is_what_is_read_at_once() -> None:
    """A live table that is compared where it lies: each moment is what its two copies say alone."""
    with running(STORM, 3) as program, open_table(program.pid) as table:
        live = table._live
        last, view = live.read(), None
        for _ in range(80):
            first, second = live.read_on(last), live.read_on(last)
            flat = [Image(each.header, [each.whole(area)[:] for area in range(6)]) for each in (first, second)]
            alone = View(Records(*flat), NOW_NS, WALL_S)
            view = View(Records(first, second, None if view is None else view.records), NOW_NS, WALL_S, view)
            assert said(view) == said(alone)
            second.settle()
            last = second
            time.sleep(0.001)  # for other differences, not to wait for anything


def test_a_table_that_turns_into_anothers(saved: list[bytes]) -> None:
    """Of another process, in the same place: nothing of the one before is left."""
    last = image_of(saved[0])
    view = read_on(last, last, None)
    block = {0: bytearray(len(last.block(AGENTS, 0)))}
    header = last.header._replace(generation=last.header.generation + 1)
    patched = Image(header, last.areas, {AGENTS: block})
    changed = View(Records(patched, patched, view.records), NOW_NS, WALL_S, view)
    assert (dict(changed.agents), list(changed.waits)) == ({}, [])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Saved tables of real processes: one of everything, and a deadlock with its findings."""
    directory = tmp_path_factory.mktemp("tables")
    tables = []
    for source, arguments in ((SCENE, ["order"]), (DEADLOCK + "    ready()\n", [])):
        with running(source, *arguments) as program, open_table(program.pid) as table:
            (directory / "saved").write_bytes(table.saved())
            tables.append((directory / "saved").read_bytes())
    return tables


def test_damaged_moments_leave_nothing_behind(saved: list[bytes]) -> None:
    """After records that are torn or forged the next good moment is read as if they had never been; the seed is in the failure."""
    seed = random.randrange(1 << 30)
    luck = random.Random(seed)
    for table in saved:
        good, view = image_of(table), None
        begin, end = good.header.areas[AGENTS].offset, good.header.areas[FINDINGS].offset  # strings and sites never change
        for _ in range(40):
            data = bytearray(table)
            for _ in range(luck.choice((1, 4, 30))):
                data[luck.randrange(begin, end)] ^= 1 << luck.randrange(8)
            torn = image_of(bytes(data))
            first, second = luck.choice(((good, torn), (torn, good), (torn, torn)))
            view = View(Records(first, second, None if view is None else view.records), NOW_NS, WALL_S, view)
            said(view)
            view = read_on(good, good, view, f"seed {seed}")


def test_a_share_that_named_nobody_for_a_moment(saved: list[bytes]) -> None:
    """It changes without its lock's record, there and back."""
    good = image_of(saved[0])
    area, at = good.header.areas[SHARES], good.header.areas[SHARES].offset
    data = bytearray(saved[0])
    for number in range(1, area.used):
        data[at + number * area.record + 1 : at + number * area.record + 8] = b"\xee" * 7
    torn = image_of(bytes(data))
    view = read_on(good, good, None)
    assert any(lock.readers for lock in view.locks.values())
    view = read_on(torn, torn, view)
    assert not any(lock.readers for lock in view.locks.values())
    read_on(good, good, view)


def test_what_holds_is_the_same_object() -> None:
    """Facts, findings and who waits for whom are taken over while nothing changes; the age of a wait goes on."""
    with running(SCENE, "order") as program, open_table(program.pid) as table:
        stop(program.pid)
        before = table.follow()
        assert before.moment.forest.parent
        later = table.follow()
        assert (later.agents, later.locks) == (before.agents, before.locks)
        for part in ("agents", "locks"):
            assert all(getattr(later, part)[key] is fact for key, fact in getattr(before, part).items())
        assert all(one is other for one, other in zip(before.waits, later.waits, strict=True))
        assert later.moment.forest is before.moment.forest
        assert later.moment.roots()[0].oldest_s > before.moment.roots()[0].oldest_s


# ---- one process, whatever becomes of it -----------------------------------------------------------------------------


def state_in_proc(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_in_proc(pid) == "T")


def without_ages(table: dict[str, Any]) -> dict[str, Any]:
    waits = [{**wait, "since_s": 0, "deadline_s": wait["deadline_s"] is None} for wait in table["waits"]]
    return {**table, "waits": waits, "captured_at": ""}


@pytest.mark.parametrize("source", [SCENE, DEADLOCK + "    ready()\n"], ids=["scene", "deadlock"])
def test_it_sees_what_a_dump_says(source: str) -> None:
    """Of a process that stands still: the same agents, locks, waits, findings and circles as `fastlock dump --json`, the health of `fastlock ps`."""
    with running(source, "order") as program:
        reading = Reading(program.pid)
        reading.refresh()
        stop(program.pid)
        seen = reading.refresh()
        told = json.loads(fastlock("dump", program.pid, "--json").stdout)
        line = next(each for each in json.loads(fastlock("ps", "--json").stdout) if each["pid"] == program.pid)
        reading.close()
    assert seen.view is not None
    assert without_ages(json.loads(json.dumps(seen.view.snapshot()))) == without_ages(told)
    assert [agent.to_dict() for agent in seen.agents.values()] == told["agents"]
    assert [lock.to_dict() for lock in seen.locks.values()] == told["locks"]
    assert [wait.to_dict(seen.now_ns)["wanted_at"] for wait in seen.waits] == [wait["wanted_at"] for wait in told["waits"]]
    assert (seen.state, seen.findings) == (STOPPED, told["findings"])
    assert {**seen.facts, "oldest_wait_s": 0} == {**line, "oldest_wait_s": 0}
    assert seen.health == line["health"] == ("deadlocked" if "FL001" in source else "stopped")
    assert [(len(circle.agents), circle.clears, circle.proven) for circle in seen.circles] == ([(2, False, True)] if "FL001" in source else [])
    assert {link.agent: link.behind for root in seen.roots for link in (*root.agents, *root.waiters) if link.behind} == {
        agent: seen.behind(agent) for agent in seen.agents if seen.behind(agent)
    }


def test_a_stopped_process_grows_older() -> None:
    """It is said to be stopped, and its waits go on; so does it when it goes on."""
    with running(DEADLOCK + "    ready()\n") as program:
        reading = Reading(program.pid)
        stop(program.pid)
        before, after = reading.refresh(), reading.refresh()
        assert (after.state, after.health) == (STOPPED, "deadlocked")
        assert after.why == "it is stopped: nothing in it runs until it gets SIGCONT"
        assert after.now_ns > before.now_ns
        os.kill(program.pid, signal.SIGCONT)
        wait_until(lambda: reading.refresh().state == LIVE)
        reading.close()


def test_what_was_seen_last_stays() -> None:
    """A process that has ended is told as such, also before its parent takes notice, with its last facts and when that was."""
    with running(DEADLOCK + "    ready()\n") as program:
        reading = Reading(program.pid)
        live = reading.refresh()
        program.process.kill()
        wait_until(lambda: state_in_proc(program.pid) == "Z")
        zombie = reading.refresh()
        program.process.wait()
        ended = reading.refresh()
    assert (zombie.state, ended.state) == (ENDED, ENDED)
    assert zombie.why == f"it has ended, and its parent has not taken notice yet; this is how it was at {live.captured_at[11:19]}Z"
    assert ended.why == f"it has ended; this is how it was at {live.captured_at[11:19]}Z"
    assert [each.is_deadlocked for each in (live, zombie, ended)] == [True, False, False]
    assert (ended.agents, ended.waits, ended.now_ns, len(ended.circles)) == (live.agents, live.waits, live.now_ns, 1)
    assert reading.refresh() is ended and reading.is_over


EXEC = """
    lock = fastlock.Lock(name="before")
    lock.acquire()
    start(lock.acquire, name="waiter"); blocked("waiter")
    print(json.dumps(None), flush=True)
    sys.stdin.readline()
    os.execv(sys.argv[1], sys.argv[1:])
"""


def told_to_go_on(program: Any) -> None:
    program.process.stdin.write("\n")
    program.process.stdin.flush()


def test_a_process_that_executes_another_program() -> None:
    """The table that was open is not believed any more; what was seen last stays, and it is said why."""
    sleeper = shutil.which("sleep")
    with running(EXEC, sleeper, 1000) as program:
        reading = Reading(program.pid)
        assert [lock.name for lock in reading.refresh().locks.values()] == ["before"]
        told_to_go_on(program)
        seen = wait_until(lambda: (seen := reading.refresh()).state == ENDED and seen)
        reading.close()
    assert seen.why.startswith("it executes another program now: there is no fastlock in it; this is how it was at ")
    assert [lock.name for lock in seen.locks.values()] == ["before"]


def test_a_process_that_restarts() -> None:
    """A program that is executed in its place, and has a table too, is seen as soon as it has one."""
    again = "import fastlock, threading; lock = fastlock.Lock(name='after'); lock.acquire(); threading.Thread(target=lock.acquire).start()"
    with running(EXEC, sys.executable, "-c", again) as program:
        reading = Reading(program.pid)
        assert [lock.name for lock in reading.refresh().locks.values()] == ["before"]
        told_to_go_on(program)
        wait_until(lambda: [lock.name for lock in reading.refresh().locks.values()] == ["after"])
        assert (reading.seen.state, reading.seen.why) == (LIVE, "")
        reading.close()


def test_a_table_that_moves() -> None:
    """A process that closes its descriptors in bulk is seen all the time: by the table that is open here, then by the one in a new file."""
    source = """
        lock = fastlock.Lock(name="lock")
        lock.acquire()
        start(lock.acquire, name="first"); blocked("first")
        print(json.dumps(None), flush=True)
        sys.stdin.readline()
        os.closerange(3, 70000)
        print(json.dumps(None), flush=True)
        sys.stdin.readline()
        start(lock.acquire, name="second"); blocked("second")
        ready()
    """
    with running(source) as program:
        reading = Reading(program.pid)
        names = lambda: (reading.refresh().state, {agent.name for agent in reading.seen.agents.values() if agent.waits})  # noqa: E731
        assert names() == (LIVE, {"first"})
        told_to_go_on(program)
        program.line()
        assert names() == (LIVE, {"first"})
        told_to_go_on(program)
        program.line()
        wait_until(lambda: names() == (LIVE, {"first", "second"}))
        reading.close()


@pytest.mark.parametrize(
    "name, source, why",
    [
        ("none", "", "there is no fastlock in it"),
        ("newer", "FSTLOCK1" + "\\7\\0\\0\\0\\0\\20\\0\\0", "the table has layout 7, written by another version of fastlock; this one reads layout 1"),
        ("noise", "noise", "this is no table of fastlock"),
    ],
    ids=["none", "newer", "noise"],
)
def test_what_is_no_table_of_ours(name: str, source: str, why: str) -> None:
    """A process without one, with a newer one, and with bytes that are none, have a line each, again and again."""
    prelude = f"file = os.memfd_create('fastlock-table'); os.write(file, b'{source}' + bytes(8192))\n" if source else ""
    with running("ready()\n", prelude=prelude) as program:
        reading = Reading(program.pid)
        for _ in range(3):
            seen = reading.refresh()
            assert (seen.state, seen.why, seen.health, len(seen.agents)) == (UNSEEN, why, "", 0)
        reading.close()


COPY = """
    import random, struct
    table = bytearray(open(sys.argv[1], "rb").read())
    struct.pack_into("<I", table, 24, os.getpid())
    file = os.memfd_create("fastlock-table")
    os.write(file, table)
    luck = random.Random(int(sys.argv[2]))
    print(json.dumps(None), flush=True)
    for _ in range(40):
        sys.stdin.readline()
        for _ in range(40): os.pwrite(file, luck.randbytes(8), luck.randrange(400, len(table)))
        print(json.dumps(None), flush=True)
    sys.stdin.readline()
    os.pwrite(file, luck.randbytes(400), 0)
    ready()
"""


def test_a_table_that_turns_into_garbage(saved: list[bytes], tmp_path: Path) -> None:
    """What is written over a table costs what was in it, and nothing is raised; at last there is a line, and what was seen last. The seed is in the failure."""
    seed = random.randrange(1 << 30)
    (tmp_path / "saved").write_bytes(saved[0])
    with running(COPY, tmp_path / "saved", seed, prelude="") as program:
        reading = Reading(program.pid)
        assert len(reading.refresh().waits) > 5
        for _ in range(41):
            told_to_go_on(program)
            program.line()
            seen = reading.refresh()
            assert "\n" not in seen.why, seed
            list(seen.circles), list(seen.roots)
        assert (seen.state, seen.why.partition(";")[0]) == (UNSEEN, "this is no table of fastlock"), seed
        assert seen.view is not None
        reading.close()


def test_the_child_of_a_fork() -> None:
    """It is never taken for its parent: until its table is its own it is not seen, then with what it is itself."""
    source = """
        lock = fastlock.Lock(name="lock")
        lock.acquire()
        start(lock.acquire, name="waits in parent"); blocked("waits in parent")
        child = os.fork()
        if child == 0:
            start(lock.acquire, name="waits in child"); blocked("waits in child")
            os.write(1, b"0\\n")
            threading.Event().wait()
        os.write(1, b"%d\\n" % child)
        sys.stdin.read()
    """
    with running(source) as program:
        child = program.told or program.line()
        reading = Reading(child)

        def waiting() -> set[str]:
            seen = reading.refresh()
            assert seen.state == UNSEEN or seen.facts["pid"] == child
            return {seen.agents[wait.agent].name for wait in seen.waits}

        try:
            wait_until(lambda: waiting() == {"waits in child"})
        finally:
            os.kill(child, signal.SIGKILL)
        reading.close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_a_foreign_process() -> None:
    """It is said whose it is, and who may look."""
    with running("ready()\n") as program:

        def look() -> list[str]:
            seen = Reading(program.pid).refresh()
            return [seen.state, seen.why]

        state, why = as_user(65534, look)
    assert state == UNSEEN
    assert why.startswith("it belongs to root (uid 0), and this is ") and why.endswith("that user or root may look")


def test_numbers_of_no_process() -> None:
    """A process that is not there, and a thread, have a line."""
    assert Reading(2**22 + 1).refresh().why == f"there is no process {2**22 + 1}"
    with running("ready(start(time.sleep, 1000).native_id)\n") as program:
        assert Reading(program.told).refresh().why == f"{program.told} is a thread of process {program.pid}"
