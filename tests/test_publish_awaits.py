"""publish_awaits: a task that waits for an aio lock stands under its owner in asyncio's own graph, and nowhere once it has it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastlock
from support import answer, run_program

NEW = sys.version_info >= (3, 14)
new_only = pytest.mark.skipif(not NEW, reason="asyncio shows who awaits whom from 3.14 on")

PRELUDE = """
import asyncio
import fastlock
from fastlock import aio
from support import *

def above(task):
    "Names of the tasks that asyncio has as awaiting this one."
    return sorted(other.get_name() for other in task._asyncio_awaited_by or ())

async def wants(lock):
    async with lock:
        await asyncio.sleep(0)

async def turns(number=3):
    for _ in range(number):
        await asyncio.sleep(0)
"""


def ask(source: str, **options: object) -> object:
    """Run a program behind PRELUDE with publish_awaits; return what it told."""
    return answer(run_program(PRELUDE + source, env={"FASTLOCK_PUBLISH_AWAITS": "1"}, **options))


# ---- the setting


@pytest.mark.skipif(NEW, reason="refused below 3.14 only")
def test_refused_below_3_14() -> None:
    """On an older Python it is a ConfigError that says why, from every source, and nothing has changed."""
    with pytest.raises(fastlock.ConfigError, match="^publish_awaits=True: needs Python 3.14 or later"):
        fastlock.configure(publish_awaits=True)
    done = run_program("import fastlock.auto", env={"FASTLOCK_PUBLISH_AWAITS": "1"})
    assert done.returncode == 1 and "FASTLOCK_PUBLISH_AWAITS='1': needs Python 3.14 or later" in done.stderr
    fastlock.configure(publish_awaits=False)


@pytest.mark.parametrize("value", ["maybe", 1, None])
def test_only_yes_or_no(value: object) -> None:
    """Anything else is a ConfigError."""
    with pytest.raises(fastlock.ConfigError, match="publish_awaits=.* must be True or False"):
        fastlock.configure(publish_awaits=value)  # type: ignore[arg-type]


# ---- what is published


@new_only
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_waiters_stand_under_the_owner(kind: str) -> None:
    """A waiter is entered under who holds the lock, follows it to the next owner, and is taken out as it gets it."""
    told = ask(
        f"""
async def main():
    lock = aio.{kind}()
    said = []
    async with lock:
        tasks = [asyncio.create_task(wants(lock), name=name) for name in "abc"]
        await asyncio.sleep(0)
        said.append([above(task) for task in tasks])
    said.append([above(task) for task in tasks])        # free, and nobody has taken it yet
    await asyncio.sleep(0)
    said.append([above(task) for task in tasks])        # a has it
    await asyncio.gather(*tasks)
    said.append([above(task) for task in tasks])
    return said
tell(asyncio.run(main()))
"""
    )
    owner = ["Task-1"]
    assert told == [[owner, owner, owner], [[], [], []], [[], ["a"], ["a"]], [[], [], []]]


@new_only
def test_without_the_setting_nothing_is_published() -> None:
    """It is opt-in: asyncio's graph has nothing of ours by default, and nothing any more once it is switched off."""
    told = ask(
        """
fastlock.configure(publish_awaits=False)
async def main():
    lock = aio.Lock()
    async with lock:
        task = asyncio.create_task(wants(lock))
        await asyncio.sleep(0)
        before = above(task)
        fastlock.configure(publish_awaits=True)
        other = asyncio.create_task(wants(lock))
        await asyncio.sleep(0)
        on = above(other)
        fastlock.configure(publish_awaits=False)
        off = above(other)
    await asyncio.gather(task, other)
    return before, on, off
tell(asyncio.run(main()))
"""
    )
    assert told == [[], ["Task-1"], []]


@new_only
def test_every_way_out_withdraws() -> None:
    """Cancellation, a timeout around the wait, the lock's own limit, a refused wait and a closed coroutine leave no entry."""
    told = ask(
        """
fastlock.configure(on_deadlock="raise")
async def within(lock, seconds):
    async with asyncio.timeout(seconds):
        async with lock: pass
async def other_way(first, second):
    async with second:
        await turns()
        async with first: pass
async def main():
    lock, limited = aio.Lock(), aio.Lock(timeout=0.01)
    said = []
    async with lock, limited:
        cancelled = asyncio.create_task(wants(lock))
        timed = asyncio.create_task(within(lock, 0.01))
        refused = asyncio.create_task(wants(limited))
        await asyncio.sleep(0)
        tasks = [cancelled, timed, refused]
        said.append([above(task) for task in tasks])
        cancelled.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        said.append([type(end).__name__ for end in ends])
        said.append([[name for name in above(task) if name != "Task-1"] + above(task) for task in tasks])
        second = aio.Lock()
        crossing = asyncio.create_task(other_way(lock, second))
        await turns(5)
        try:
            async with second: pass
        except fastlock.DeadlockError:
            said.append([above(asyncio.current_task()), above(crossing)])
    await crossing
    acquire = lock.acquire()
    said.append([above(crossing)])
    acquire.close()
    return said
tell(asyncio.run(main()))
"""
    )
    owner = ["Task-1"]
    assert told == [[owner] * 3, ["CancelledError", "TimeoutError", "LockTimeout"], [[], [], []], [[], owner], [[]]]


@new_only
def test_what_asyncio_knows_itself_is_left_alone() -> None:
    """Where the owner awaits the waiting task as well, asyncio's own entry stays until that await ends."""
    told = ask(
        """
async def main():
    lock = aio.Lock()
    async with lock:
        task = asyncio.create_task(wants(lock))
        try:
            async with asyncio.timeout(0.01):
                await asyncio.gather(task, return_exceptions=True)
        except TimeoutError:
            pass
        return above(task), task.cancelled()
async def awaited():
    lock = aio.Lock()
    said = []
    async def owner():
        async with lock:
            task = asyncio.create_task(wants(lock), name="waiter")
            asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(lambda: (said.append(above(task)), task.cancel())))
            try:
                await task
            except asyncio.CancelledError:
                said.append(above(task))
    await asyncio.create_task(owner(), name="owner")
    return said
tell([asyncio.run(main()), asyncio.run(awaited())])
"""
    )
    assert told == [[[], True], [["owner"], []]]


@new_only
def test_other_loops_are_not_mixed() -> None:
    """An owner in another loop is not entered: asyncio's graph is one loop's."""
    told = ask(
        """
lock = aio.Lock()
async def owner():
    await lock.acquire()                # free, so the lock belongs to no loop yet
    return asyncio.current_task()
async def main():
    task = asyncio.create_task(wants(lock))
    await turns()
    entered = above(task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return entered
one = asyncio.new_event_loop()
kept = one.create_task(owner())
one.run_until_complete(kept)
lock._loop = None
tell(asyncio.run(main()))
"""
    )
    assert told == []


# ---- what the stdlib's tool makes of it

WAITING = """
import os
async def keeps(lock, name):
    async with lock:
        task = [asyncio.create_task(wants(lock), name=f"{name}-waiter-{number}") for number in range(2)]
        await turns()
        print("ready", flush=True)
        await asyncio.Event().wait()
async def main():
    await asyncio.create_task(keeps(aio.Lock(), "owner"), name="owner")
asyncio.run(main())
"""
CIRCLE = """
async def crossing(first, second):
    async with first:
        await turns()
        async with second: pass
async def main():
    one, two = aio.Lock(), aio.Lock()
    tasks = [asyncio.create_task(crossing(one, two), name="left"), asyncio.create_task(crossing(two, one), name="right")]
    await turns(6)
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def pstree(source: str) -> subprocess.CompletedProcess[str]:
    """Run a program until it is ready, and then `python -m asyncio pstree` on it; skip where that may not look."""
    import os
    import tempfile
    from pathlib import Path

    environment = {**os.environ, "FASTLOCK_PUBLISH_AWAITS": "1", "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "program.py")
        path.write_text(PRELUDE + source)
        with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as program:
            try:
                assert program.stdout is not None and program.stdout.readline() == "ready\n"
                done = subprocess.run([sys.executable, "-m", "asyncio", "pstree", str(program.pid)], capture_output=True, text=True, timeout=60)
            finally:
                program.kill()
    if done.returncode and not done.stderr.startswith("ERROR: await-graph"):
        pytest.skip(f"pstree does not work here: {done.stderr.strip()[:200]}")
    return done


@new_only
def test_pstree_shows_waiters_under_the_owner() -> None:
    """`python -m asyncio pstree` prints both waiters as children of the task that holds the lock."""
    done = pstree(WAITING)
    depth = {name: line.index("(T)") for line in done.stdout.splitlines() for name in ("owner", "owner-waiter-0", "owner-waiter-1") if line.endswith(f"(T) {name}")}
    assert depth["owner-waiter-0"] == depth["owner-waiter-1"] > depth["owner"], done.stdout
    assert done.stdout.count("(T) owner\n") == 1


@new_only
def test_pstree_names_the_circle() -> None:
    """Two tasks that wait for each other's locks are a cycle for the tool, which names them."""
    done = pstree(CIRCLE)
    assert "cycle: left → right → left" in done.stderr or "cycle: right → left → right" in done.stderr, done.stderr
