"""A process's table read from outside: it says what the process would, also where that cannot say anything any more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from outside_support import fastlock, running
from support import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")

# One of everything that can be waited for, and a task; `order` shows what waiting agents hold too.
SCENE = """
    import asyncio
    fastlock.set_level(sys.argv[1])
    held, outer = fastlock.Lock(name="held", lock_class="ledger"), fastlock.RLock()
    shared, permits = fastlock.RWLock(), fastlock.Semaphore(2)
    event, condition = fastlock.Event(), fastlock.Condition()
    with held: pass
    taken = threading.Barrier(3)
    def owner():
        with held, shared.read(), permits:
            taken.wait()
            threading.Event().wait()
    def other():
        with permits:
            taken.wait()
            with outer:
                held.acquire()
    def in_condition():
        with condition: condition.wait(500)
    def impatient(): shared.acquire_write(timeout=100)
    def third(): permits.acquire()
    async def tasks():
        lock = fastlock.aio.Lock(name="of tasks")
        async def waits(): await lock.acquire()
        async with lock:
            asyncio.create_task(waits(), name="waiting task")
            await asyncio.sleep(0)
            await asyncio.sleep(1000)
    def loop(): asyncio.run(tasks())
    start(owner), start(other); taken.wait()
    start(impatient), start(third), start(event.wait, name="for_event"), start(in_condition), start(loop)
    blocked("other", "impatient", "third", "for_event", "in_condition", "waiting task")
    ready(fastlock.snapshot().to_dict())
"""
DEADLOCK = """
    a, b = fastlock.Lock(name="a"), fastlock.RLock(name="b")
    with a: pass
    ring([a, b])
    found("FL001")
"""


def dumped(pid: int) -> dict[str, Any]:
    """What fastlock dump --json prints."""
    done = fastlock("dump", pid, "--json")
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def comparable(table: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without ages, and without what nobody waits for: locks that are only held leave no trace outside."""
    waited = {lock["id"] for lock in table["locks"] if lock["waiters"]}
    holders = {lock["owner"] for lock in table["locks"] if lock["id"] in waited}
    return {
        "process": [table[key] for key in ("pid", "process", "level", "raw_locks")],
        "agents": {
            agent["id"]: {**agent, "holds": sorted(set(agent["holds"]) & waited)}
            for agent in table["agents"]
            if agent["waits"] is not None or agent["id"] in holders
        },
        "locks": {lock["id"]: {**lock, "readers": sorted(lock["readers"])} for lock in table["locks"] if lock["id"] in waited},
        "waits": sorted(({**wait, "since_s": 0, "deadline_s": wait["deadline_s"] is None} for wait in table["waits"]), key=str),
        "findings": table["findings"],
    }


@pytest.mark.parametrize("level", ["detect", "order"])
def test_it_agrees_with_the_snapshot(level: str) -> None:
    """Agents, owners, holders, waits, sites, names and classes are those that the process itself tells."""
    with running(SCENE, level) as program:
        outside = dumped(program.pid)
    assert comparable(outside) == comparable(program.told)
    threads = {agent["id"] for agent in program.told["agents"] if agent["kind"] == "thread"}
    assert threads <= {agent["id"] for agent in outside["agents"]}


def test_its_form_is_that_of_the_snapshot() -> None:
    """Each part has the keys of the contract, and every id in it leads somewhere."""
    with running(SCENE, "order") as program:
        table = dumped(program.pid)
        for part in ("agents", "locks", "waits"):
            assert {frozenset(each) for each in table[part]} == {frozenset(each) for each in program.told[part]}
        assert set(table) == set(program.told)
        agents, locks = {agent["id"] for agent in table["agents"]}, {lock["id"] for lock in table["locks"]}
        assert {wait["lock"] for wait in table["waits"]} <= locks
        assert {wait["agent"] for wait in table["waits"]} <= agents
        assert {lock["owner"] for lock in table["locks"]} - {None} <= agents
        assert {held for agent in table["agents"] for held in agent["holds"]} <= locks


def test_at_order_a_waiting_agent_shows_what_it_holds() -> None:
    """A lock that nobody else wants is in it, with its holder and site, if the holder waits for something."""
    with running(SCENE, "order") as program:
        table = dumped(program.pid)
    agents = {agent["name"]: agent for agent in table["agents"]}
    outer = next(lock for lock in table["locks"] if lock["name"] == "outer")
    assert outer["owner"] == agents["other"]["id"]
    assert outer["id"] in agents["other"]["holds"]
    inside = next(lock for lock in program.told["locks"] if lock["name"] == "outer")
    assert (outer["held_at"], outer["kind"]) == (inside["held_at"], "RLock")


def test_a_stopped_process() -> None:
    """SIGSTOP holds up nothing: ages go on, and the circle is there."""
    with running(DEADLOCK + "    ready()\n") as program:
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(lambda: open(f"/proc/{program.pid}/stat").read().rpartition(")")[2].split()[0] == "T")
        done = fastlock("dump", program.pid)
        assert "DEADLOCK: 2 agents in a circle" in done.stdout
        before, after = dumped(program.pid), dumped(program.pid)
        assert after["waits"][0]["since_s"] > before["waits"][0]["since_s"] > 0


def test_a_stopped_process_is_not_called_well() -> None:
    """Where nobody waits, that it is stopped is the one thing to know."""
    with running("ready()\n") as program:
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(lambda: open(f"/proc/{program.pid}/stat").read().rpartition(")")[2].split()[0] == "T")
        facts = next(each for each in json.loads(fastlock("ps", "--json").stdout) if each["pid"] == program.pid)
        shown = fastlock("dump", program.pid).stdout
    assert facts["health"] == "stopped"
    assert "The process is stopped: nothing in it runs until it gets SIGCONT." in shown


def test_a_process_that_hangs_in_c_with_the_gil() -> None:
    """Nothing of Python's runs there any more, and its table is read all the same."""
    source = """
        import ctypes
        lock = fastlock.Lock(name="wanted")
        lock.acquire()
        start(lock.acquire, name="waiter")
        blocked("waiter")
        print(json.dumps(None), flush=True)
        ctypes.PyDLL(None).pause()
    """
    with running(source) as program:
        done = fastlock("dump", program.pid)
        assert "waiter waits for wanted (Lock)" in done.stdout
        assert "MainThread, which waits for no lock; 1 agent waits for it in the end" in done.stdout
        assert "holds wanted (Lock), taken at program.py" in done.stdout


def test_a_deadlock_is_told_with_both_sites() -> None:
    """The text names both agents, both locks, and the four lines; the finding is below."""
    with running(DEADLOCK + "    ready()\n") as program:
        done = fastlock("dump", program.pid)
        facts = json.loads(fastlock("ps", "--json").stdout)
    assert done.returncode == 0
    head, _, rest = done.stdout.partition("DEADLOCK: 2 agents in a circle\n")
    assert f"pid {program.pid}" in head
    lines = rest.splitlines()[:4]
    assert [line.split(" at ")[0].strip() for line in lines] == [
        "t0 waits for b (RLock)", "held by t1, taken", "t1 waits for a (Lock)", "held by t0, taken",
    ]  # fmt: skip
    assert all("support.py:" in line for line in lines)
    assert re.search(r"FL001 deadlock \(proven, report [0-9a-f]{6}\)", rest)
    assert next(each for each in facts if each["pid"] == program.pid)["health"] == "deadlocked"


def test_without_evidence_a_circle_is_only_possible() -> None:
    """A Lock that a thread waits for and has itself may be released by anybody: the dump doubts, and ps calls nothing a deadlock."""
    source = """
        lock = fastlock.Lock(name="lock")
        def twice():
            lock.acquire()
            lock.acquire()
        start(twice); blocked("twice")
        ready()
    """
    with running(source) as program:
        shown = fastlock("dump", program.pid).stdout
        facts = next(each for each in json.loads(fastlock("ps", "--json").stdout) if each["pid"] == program.pid)
    assert "POSSIBLE DEADLOCK: 1 agent in a circle, if those who hold the locks are those who release them" in shown
    assert (facts["deadlocked"], facts["health"], facts["waiting"]) == (False, "ok", 1)


def test_a_circle_over_a_task_that_no_owner_shows() -> None:
    """What a process has found about asyncio stands in its findings, and counts as long as everybody in it still waits."""
    example = Path(__file__).resolve().parent.parent / "examples" / "aio" / "lock_across_await.py"
    if not example.exists():
        pytest.skip("only from a checkout")
    with subprocess.Popen([sys.executable, "-m", "fastlock", "run", str(example)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            shown = wait_until(lambda: next((text for text in [fastlock("dump", process.pid).stdout] if "DEADLOCK: FL001" in text), ""))
            facts = next(each for each in json.loads(fastlock("ps", "--json").stdout) if each["pid"] == process.pid)
        finally:
            process.kill()
    top = shown.partition("\nFindings\n")[0]
    assert "lock_across_await.py, pid" in top
    assert "DEADLOCK: FL001 deadlock, 2 agents" in top and "release it before the await" in " ".join(top.split())
    assert facts["health"] == "deadlocked"


def test_a_starved_pool_is_told_as_that(tmp_path: Path) -> None:
    """The dump, also one that is read from JSON, begins with the process's own finding, not with a worker that waits for itself."""
    source = """
        from concurrent.futures import ThreadPoolExecutor
        fastlock.install()
        pool = ThreadPoolExecutor(1)
        def job(): return pool.submit(int).result()
        pool.submit(job)
        found("FL030")
        ready()
    """
    with running(source) as program:
        shown = wait_until(lambda: next((text for text in [fastlock("dump", program.pid).stdout] if "DEADLOCK: FL030" in text), ""))
        (tmp_path / "saved.json").write_text(fastlock("dump", program.pid, "--json").stdout)
    for told in (shown, fastlock("dump", tmp_path / "saved.json").stdout):
        top = told.partition("\nFindings\n")[0]
        assert "DEADLOCK: FL030 pool starvation, 1 agent" in top and "Fix: do not wait in" in top, told


def test_who_waits_for_a_condition_does_not_hold_its_lock() -> None:
    """The lock that was held when the wait began has been given back, also that inside of a future; what was held besides still is."""
    source = """
        fastlock.install()
        from concurrent.futures import ThreadPoolExecutor
        fastlock.set_level("order")
        outer, mine = fastlock.Lock(name="outer"), fastlock.Lock(name="mine")
        own, given = fastlock.Condition(), fastlock.Condition(mine)
        def waits(condition):
            with outer_of[condition]:
                with condition, inner_of[condition]: condition.wait(500)
        outer_of = {own: outer, given: fastlock.Lock(name="other")}
        inner_of = {own: fastlock.Lock(name="inner"), given: fastlock.Lock(name="innermost")}
        pool, never = ThreadPoolExecutor(1), fastlock.Event()
        job = pool.submit(never.wait)
        start(waits, own, name="own"), start(waits, given, name="given"), start(job.result, name="future")
        blocked("own", "given", "future")
        ready()
    """
    with running(source) as program:
        dumped = json.loads(fastlock("dump", program.pid, "--json").stdout)
        shown = fastlock("dump", program.pid).stdout
    names = {lock["id"]: lock["name"] for lock in dumped["locks"]}
    held = {agent["name"]: [names[each] for each in agent["holds"]] for agent in dumped["agents"]}
    assert (held["own"], held["given"], held["future"]) == (["outer", "inner"], ["other", "innermost"], [])
    assert "future waits for result of " in shown and shown.count("future waits") == 1


def test_a_proven_stall_makes_a_process_deadlocked() -> None:
    """Nobody can wake who waits, and health() in the process says so too: it is what ps, and an alarm on it, has to say."""
    example = Path(__file__).resolve().parent.parent / "examples" / "gone_consumer.py"
    if not example.exists():
        pytest.skip("only from a checkout")
    env = {**os.environ, "FASTLOCK_SLOW_WAIT": "0.3"}
    with subprocess.Popen([sys.executable, "-m", "fastlock", "run", str(example)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env) as process:
        try:
            wait_until(lambda: "STALL: FL031" in fastlock("dump", process.pid).stdout)
            facts = next(each for each in json.loads(fastlock("ps", "--json").stdout) if each["pid"] == process.pid)
        finally:
            process.kill()
    assert (facts["deadlocked"], facts["health"], facts["waiting"]) == (True, "deadlocked", 1)


def test_a_circle_with_a_timeout_is_told_as_such() -> None:
    """It will clear, so it is no deadlock."""
    source = """
        a, b = fastlock.RLock(name="a"), fastlock.RLock(name="b")
        both = threading.Barrier(2)
        def one():
            with a:
                both.wait()
                b.acquire(timeout=600)
        def two():
            with b:
                both.wait()
                a.acquire()
        start(one), start(two); blocked("one", "two")
        ready()
    """
    with running(source) as program:
        shown = fastlock("dump", program.pid).stdout
    assert "CIRCLE that a timeout will end: 2 agents in a circle" in shown
    assert "gives up in" in shown


def test_readers_and_writers_close_circles_too() -> None:
    """A writer that waits for a reader who waits for the writer's lock: holders of shares count as owners do."""
    source = """
        shared, other = fastlock.RWLock(name="shared"), fastlock.RLock(name="other")
        both = threading.Barrier(2)
        def reader():
            with shared.read():
                both.wait()
                with other: pass
        def writer():
            with other:
                both.wait()
                with shared.write(): pass
        start(reader), start(writer); blocked("reader", "writer")
        ready()
    """
    with running(source) as program:
        shown = fastlock("dump", program.pid).stdout
    assert "DEADLOCK: 2 agents in a circle" in shown
    assert "held by reader" in shown


@pytest.mark.parametrize("prefer", ["writer", "reader"])
@pytest.mark.parametrize("case", ["upgrade and reader", "upgrade and second read", "upgrade alone", "share and share"])
def test_upgradable_shares_close_circles_too(case: str, prefer: str) -> None:
    """Who has the upgradable share waits for the other readers, not for itself; who waits for the share, for who has it."""
    first, second, stuck = {
        "upgrade and reader": ("with rw.read(), both, other: pass", "with rw.upgradable(), other, both: rw.acquire_write()", True),
        "upgrade and second read": (
            "with rw.read(), both: blocked('second'); rw.acquire_read()", "with rw.upgradable(), both: rw.acquire_write()", True,
        ),
        "upgrade alone": ("with rw.read(), both: go.wait()", "with rw.upgradable(), both: rw.acquire_write()", False),
        "share and share": ("with rw.upgradable(), both, other: pass", "with other, both: rw.acquire_upgradable()", True),
    }[case]  # fmt: skip
    source = f"""
        rw, other, go = fastlock.RWLock(name="rw", prefer="{prefer}"), fastlock.RLock(name="other"), threading.Event()
        class Both:
            met = threading.Barrier(2)
            def __enter__(self): self.met.wait()
            def __exit__(self, *exc_info): pass
        both = Both()
        def first():
            {first}
        def second():
            {second}
        start(first), start(second); blocked("second")
        if {stuck}: blocked("first")
        ready()
    """
    with running(source) as program:
        done = fastlock("dump", program.pid)
    assert ("DEADLOCK: 2 agents in a circle" in done.stdout) is stuck
    assert "rw" in done.stdout


def test_shares_come_and_go_while_somebody_waits() -> None:
    """Who shares a lock is true at every step, also for those who came after the first waiter, and for permits taken past the queue."""
    source = """
        permits = fastlock.Semaphore(2, name="permits")
        go = {name: threading.Event() for name in ("a", "b", "c")}
        def holds(name):
            with permits: go[name].wait()
        for name in ("a", "b"): start(holds, name, name=name)
        wait_until(lambda: repr(permits).endswith("value=0>") or permits._value == 0)
        start(holds, "c", name="c"); blocked("c")
        start(permits.acquire, name="last"); blocked("last")
        print(json.dumps(None), flush=True)
        sys.stdin.readline()
        go["a"].set()
        wait_until(lambda: "c" not in waiting_names())
        ready()
    """
    names = """
def waiting_names():
    table = fastlock.snapshot()
    return {agent.name for agent in table.agents if agent.waits is not None and agent.waits == lock_id(table)}
def lock_id(table):
    return next(lock.id for lock in table.locks if lock.name == "permits")
"""
    with running(names + textwrap.dedent(source)) as program:
        assert readers_of(program.pid) == {"a", "b"}
        assert program.process.stdin is not None
        program.process.stdin.write("\n")
        program.process.stdin.flush()
        program.line()
        assert readers_of(program.pid) == {"b", "c"}


def readers_of(pid: int) -> set[str]:
    """Who holds shares of the lock called permits."""
    table = dumped(pid)
    names = {agent["id"]: agent["name"] for agent in table["agents"]}
    return {names[reader] for lock in table["locks"] if lock["name"] == "permits" for reader in lock["readers"]}


def test_a_quiet_process_is_told_calmly() -> None:
    """Where nobody waits the dump says so, and ps that all is well."""
    with running("fastlock.Lock().acquire()\nready()\n") as program:
        assert "Nobody waits for a lock." in fastlock("dump", program.pid).stdout
        row = next(line for line in fastlock("ps").stdout.splitlines() if line.startswith(f"{program.pid} "))
    assert row.split()[1:] == ["program.py", "{}.{}.{}".format(*sys.version_info), "detect", "1", "0", "-", "ok"]


def test_the_site_is_the_owners_and_never_the_last_ones() -> None:
    """A lock that goes from one waiter to the next is told with the place where its owner took it."""
    source = """
        lock = fastlock.Lock()
        turns = [threading.Event() for _ in range(3)]
        def first():
            with lock: turns[0].wait()
        def second():
            with lock: turns[1].wait()
        def third():
            with lock: turns[2].wait()
        for each in (first, second, third):
            start(each); wait_until(lock.locked)
            if each is not first: blocked(each.__name__)
        ready()
        """.replace("ready()", "for turn in turns[:2]:\n            print(json.dumps(0), flush=True); sys.stdin.readline(); turn.set()\n        ready()")
    with running(source) as program:
        assert program.process.stdin is not None
        for owner, waiting in (("first", 2), ("second", 1)):
            wait_until(lambda owner=owner: held_by(program.pid) == (owner, owner))
            assert len(dumped(program.pid)["locks"][0]["waiters"]) == waiting
            program.process.stdin.write("\n")
            program.process.stdin.flush()
            program.line()


def held_by(pid: int) -> tuple[str | None, str | None]:
    """Who owns the lock that is waited for, and the function in which it was taken."""
    table = dumped(pid)
    lock = next(lock for lock in table["locks"] if lock["waiters"] and lock["kind"] == "Lock")
    names = {agent["id"]: agent["name"] for agent in table["agents"]}
    return names.get(lock["owner"]), lock["held_at"] and lock["held_at"]["function"]


def test_a_thousand_dumps_in_full_traffic() -> None:
    """Threads that take and give back without pause: no dump fails, and none shows a circle."""
    from fastlock.outside import open_table

    source = """
        locks = [fastlock.Lock() for _ in range(3)] + [fastlock.RLock()]
        shared, permits, condition = fastlock.RWLock(), fastlock.Semaphore(2), fastlock.Condition()
        def work(number):
            while True:
                with locks[number % 3], locks[3]: pass
                with shared.read(): pass
                with shared.write(): pass
                with permits:
                    if locks[0].acquire(timeout=0.0001): locks[0].release()
                with condition:
                    condition.notify()
                    condition.wait(0.0001)
        for number in range(6):
            start(work, number)
        ready()
    """
    with running(source, env={"FASTLOCK_LEVEL": "order"}) as program, open_table(program.pid) as table:
        seen = 0
        for _ in range(1000):
            view = table.view()
            snapshot = view.snapshot()
            assert (view.circles, snapshot["findings"], view.standing) == ((), [], [])
            seen += len(snapshot["waits"])
        assert seen > 0


def test_a_saved_table_and_saved_json_are_dumped(tmp_path: Path) -> None:
    """--save and --json write what can be read again, when the process is over."""
    with running(DEADLOCK + "    ready()\n") as program:
        shown = fastlock("dump", program.pid).stdout
        assert fastlock("dump", program.pid, "--save", tmp_path / "saved.table").returncode == 0
        (tmp_path / "saved.json").write_text(fastlock("dump", program.pid, "--json").stdout)
    for name in ("saved.table", "saved.json"):
        again = fastlock("dump", tmp_path / name)
        assert again.returncode == 0, again.stderr
        assert "DEADLOCK: 2 agents in a circle" in again.stdout
        assert without_ages(again.stdout) == without_ages(shown)
    table = json.loads(fastlock("dump", tmp_path / "saved.table", "--json").stdout)
    assert comparable(table) == comparable(json.loads((tmp_path / "saved.json").read_text()))


def without_ages(text: str) -> list[str]:
    return [line.partition(", for")[0] for line in text.splitlines()[1:]]


def test_nothing_secret_is_in_it() -> None:
    """No values, no arguments, no environment: the whole table is looked through."""
    source = """
        def take(password):
            secret = "hunter2-local"
            lock.acquire()
        lock = fastlock.Lock(name="door")
        lock.acquire()
        start(take, "hunter2-argument")
        blocked("take")
        ready()
    """
    with running(source, "hunter2-argv", env={"TOKEN": "hunter2-environment"}) as program:
        directory = f"/proc/{program.pid}/fd"
        table = next(name for name in os.listdir(directory) if "fastlock-table" in os.readlink(f"{directory}/{name}"))
        with open(f"{directory}/{table}", "rb") as file:
            data = file.read()
    assert b"door" in data
    assert b"hunter2" not in data
