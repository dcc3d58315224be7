"""FL006: an event loop's thread that is blocked for longer than loop_block says so itself, with its task and all that stand still."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from support import PRELUDE, answer, ask, run_program

ASYNC = """
import asyncio
from fastlock import watchdog
fastlock.configure(loop_block=0.02)
taken, end = threading.Event(), threading.Event()
def seen(code="FL006", count=1):
    watchdog.flush(90)
    return [finding for finding in fastlock.findings() if finding.code == code and finding.count >= count]
def hold(acquire, release, count=1):
    "Holds until the loop's wait has been reported."
    acquire()
    taken.set()
    wait_until(lambda: seen(count=count))
    release()
async def among(others, what, name="show"):
    "Runs a task among others that wait."
    idle = [asyncio.create_task(asyncio.sleep(60)) for _ in range(others)]
    await asyncio.create_task(what(), name=name)
"""


def ask_async(source: str, **options: Any) -> Any:
    """Run a program with the helpers above; it ends with tell()."""
    return ask(ASYNC + textwrap.dedent(source), **options)


PRIMITIVES = {
    "Lock": ("fastlock.Lock()", "what.acquire, what.release", "what.acquire(); what.release()"),
    "with": ("fastlock.Lock()", "what.acquire, what.release", "with what: pass"),
    "RLock": ("fastlock.RLock()", "what.acquire, what.release", "with what: pass"),
    "write": ("fastlock.RWLock()", "what.acquire_read, what.release_read", "with what.write(): pass"),
    "read": ("fastlock.RWLock()", "what.acquire_write, what.release_write", "with what.read(): pass"),
    "Semaphore": ("fastlock.Semaphore(1)", "what.acquire, what.release", "with what: pass"),
    "Condition": ("fastlock.Condition()", "what.acquire, what.release", "with what: pass"),
    "Event": ("fastlock.Event()", "int, what.set", "what.wait()"),
}


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_every_primitive_reports_a_blocked_loop(primitive: str) -> None:
    """After loop_block: which task, which lock, who holds it and where, how many tasks stand still; and the wait goes on."""
    make, holding, wanting = PRIMITIVES[primitive]
    finding, count, locked = ask_async(
        f"""
        what = {make}
        async def show():
            {wanting}
        holder = start(hold, {holding}, name="exporter"); taken.wait()
        asyncio.run(among(3, show))
        holder.join()
        tell([seen()[0].to_dict(), len(fastlock.findings()), repr(holder.error)])
        """
    )
    assert (finding["code"], finding["tier"], count, locked) == ("FL006", "measured", 1, "None")
    assert [(agent["kind"], agent["name"], agent["loop"]) for agent in finding["agents"][:1]] == [("task", "show", "MainThread")]
    assert finding["reasons"] == ["this loop is stopped, and 5 tasks with it"]
    wait = finding["edges"][0]
    assert wait["since_s"] >= 0.02
    assert (wait["agent"], wait["wanted_at"]["function"]) == (finding["agents"][0]["id"], "show")
    assert finding["agents"][0]["stack"][-1]["function"] == "show"
    if primitive != "Event":
        assert [agent["name"] for agent in finding["agents"][1:]] == ["exporter"]
        assert finding["edges"][1]["held_at"]["function"] == "hold"
        assert 'held by thread "exporter" since program.py:' in finding["explanation"]
    else:
        assert len(finding["agents"]) == 1 and "who has it is not known" in finding["explanation"]


def test_a_conditions_wait_counts() -> None:
    """Condition.wait in a task stops the loop as a lock does."""
    assert ask_async(
        """
        condition = fastlock.Condition()
        def notify():
            wait_until(seen)
            with condition: condition.notify()
        async def show():
            with condition:
                notifier = start(notify)
                condition.wait()
            notifier.join()
        asyncio.run(among(0, show))
        tell([[f.code, f.count] for f in fastlock.findings()])
        """
    ) == [["FL006", 1]]


def test_the_report() -> None:
    """People read what stands still, why, and that the work belongs off the loop."""
    done = run_program(
        PRELUDE
        + ASYNC
        + """
report_lock = fastlock.Lock()
async def show():
    with report_lock: pass
holder = start(hold, report_lock.acquire, report_lock.release, name="exporter"); taken.wait()
asyncio.run(among(310, show))
holder.join()
tell(0)
"""
    )
    assert answer(done) == 0
    page = done.stderr.splitlines()
    assert page[0].startswith("FL006 event loop blocked on a lock: report_lock")
    assert 'Task "show" has waited ' in page[3]
    assert "  Stopped       this loop is stopped, and 312 tasks with it" in page
    assert "  By itself?    as soon as it is released; the wait has no timeout" in page
    (line,) = [line for line in page if line.startswith("    waits  report_lock")]
    assert f"  Fix           move what {line.split()[2]} does into asyncio.to_thread()" in page


def test_one_report_for_a_fingerprint_then_a_count() -> None:
    """The second time the same lines block the loop is counted, and not told again."""
    done = run_program(
        PRELUDE
        + ASYNC
        + """
lock = fastlock.Lock()
async def show():
    with lock: pass
for count in (1, 2):
    taken.clear()
    holder = start(hold, lock.acquire, lock.release, count); taken.wait()
    asyncio.run(among(0, show))
    holder.join()
tell([[f.code, f.count] for f in fastlock.findings()])
"""
    )
    assert answer(done) == [["FL006", 2]]
    assert done.stderr.count("FL006 event loop blocked") == 1


def test_a_callback_is_the_threads() -> None:
    """Where no task runs, the thread itself is the one that waits."""
    finding = ask_async(
        """
        lock = fastlock.Lock()
        def callback():
            with lock: pass
        async def main():
            asyncio.get_running_loop().call_soon(callback)
            await asyncio.sleep(0); await asyncio.sleep(0)
        holder = start(hold, lock.acquire, lock.release); taken.wait()
        asyncio.run(main())
        holder.join()
        tell(seen()[0].to_dict())
        """
    )
    assert [(agent["kind"], agent["name"]) for agent in finding["agents"]] == [("thread", "MainThread"), ("thread", "hold")]
    assert finding["reasons"] == ["this loop is stopped, and 1 task with it"]


def test_a_long_wait_is_both() -> None:
    """The same wait is FL006 first, and FL020 once it has lasted for slow_wait."""
    assert ask_async(
        """
        fastlock.configure(slow_wait=0.06)
        lock = fastlock.Lock()
        async def show():
            with lock: pass
        def hold_longer():
            with lock:
                taken.set()
                wait_until(lambda: seen("FL020"))
        holder = start(hold_longer); taken.wait()
        asyncio.run(among(0, show))
        holder.join()
        tell([f.code for f in fastlock.findings()])
        """
    ) == ["FL006", "FL020"]


SILENT = {
    "a thread without a loop": "def wait():\n    with lock: pass\nwaiter = start(wait)",
    "level off": "fastlock.set_level('off')\nasync def show():\n    lock.acquire(timeout=0.1)\nwaiter = start(asyncio.run, among(0, show))\nwaiter.join()",
    "a longer loop_block": "fastlock.configure(loop_block=3600)\nasync def show():\n    with lock: pass\nwaiter = start(asyncio.run, among(0, show))",
    "a shorter timeout": "fastlock.configure(loop_block=20)\nasync def show():\n    lock.acquire(timeout=0.001)\nwaiter = start(asyncio.run, among(0, show))",
}


@pytest.mark.parametrize("case", SILENT)
def test_what_does_not_report(case: str) -> None:
    """Threads without a loop, other settings and waits that end in time say nothing, however long a later one waits."""
    codes = ask_async(
        f"""
lock, other = fastlock.Lock(), fastlock.Lock()
lock.acquire()
{SILENT[case]}
wait_until(lambda: fastlock.snapshot().waits or not waiter.is_alive())
fastlock.set_level("detect")
fastlock.configure(loop_block=0.02)
async def later():
    with other: pass
holder = start(hold, other.acquire, other.release, name="second"); taken.wait()
asyncio.run(among(0, later))
lock.release()
waiter.join(); holder.join()
tell([[f.code, f.edges[0].wanted_at.function] for f in fastlock.findings()])
"""
    )
    assert codes == [["FL006", "later"]]


def test_a_deadlock_is_told_as_what_it_is() -> None:
    """A loop in a circle is FL001 at once; that it is blocked is no news then."""
    assert ask_async(
        """
        one, two, other = fastlock.RLock(), fastlock.RLock(), fastlock.Lock()
        held = threading.Event()
        def thread():
            with two:
                held.set()
                with one: pass
        async def task():
            with one:
                start(thread); held.wait()
                with two: pass
        start(asyncio.run, among(0, task), name="stuck")
        found("FL001")
        async def later():
            with other: pass
        holder = start(hold, other.acquire, other.release); taken.wait()
        asyncio.run(among(0, later))
        tell([[f.code for f in fastlock.findings()], [f.edges[0].wanted_at.function for f in seen()]])
        """
    ) == [["FL001", "FL006"], ["later"]]


def test_what_all_tasks_raises_is_not_the_waiters() -> None:
    """A failure while the tasks are counted is shown, the finding goes on without, and the lock is taken as ever."""
    done = run_program(
        PRELUDE
        + ASYNC
        + """
lock = fastlock.Lock()
def broken(loop): raise ValueError("no tasks today")
async def show():
    real, asyncio.all_tasks = asyncio.all_tasks, broken
    with lock: pass
    asyncio.all_tasks = real
holder = start(hold, lock.acquire, lock.release); taken.wait()
asyncio.run(among(0, show))
holder.join()
tell([[f.code, list(f.reasons)] for f in fastlock.findings()] + [lock.locked()])
"""
    )
    assert answer(done) == [["FL006", []], False]
    assert "no tasks today" in done.stderr


def test_the_environment_sets_it() -> None:
    """FASTLOCK_LOOP_BLOCK is loop_block in seconds."""
    assert ask(
        """
        from fastlock import config
        tell(config.current().loop_block)
        """,
        env={"FASTLOCK_LOOP_BLOCK": "0.25"},
    ) == 0.25
