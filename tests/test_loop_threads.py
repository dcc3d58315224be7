"""Threads that run an event loop: they are known as such while they do, and locks are in them what they are elsewhere."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from support import TESTS, answer, ask, run_program

LOOPS = "import asyncio\nfrom fastlock._loops import runs_loop\n"


def ask_loops(source: str, **options: Any) -> Any:
    """Run a program that can ask runs_loop(); it ends with tell()."""
    return ask(LOOPS + source, **options)


def test_only_while_the_loop_runs() -> None:
    """Before, in callbacks and tasks, between two runs, and after; also where the loop ends by an exception."""
    assert ask_loops(
        """
seen = [runs_loop()]
async def main(error=None):
    asyncio.get_running_loop().call_soon(lambda: seen.append(runs_loop()))
    await asyncio.sleep(0)
    seen.append(runs_loop())
    if error: raise error
asyncio.run(main())
seen.append(runs_loop())
for error in (ValueError(), KeyboardInterrupt()):
    try:
        asyncio.run(main(error))
    except BaseException:
        seen.append(runs_loop())
tell(seen)
"""
    ) == [False, True, True, False, True, True, False, True, True, False]


def test_threads_are_told_apart() -> None:
    """Loops in two threads, a third without: each knows of itself alone."""
    assert ask_loops(
        """
together = threading.Barrier(3)
seen = {}
def note(name):
    together.wait()
    seen[name] = runs_loop()
    together.wait()
async def main(name):
    note(name)
threads = [start(asyncio.run, main("one")), start(asyncio.run, main("two")), start(note, "plain")]
for thread in threads: thread.join()
tell([seen["one"], seen["two"], seen["plain"], runs_loop()])
"""
    ) == [True, True, False, False]


def test_nested_loops() -> None:
    """A loop inside another's callback, as nest_asyncio runs it: the outer one goes on afterwards."""
    assert ask_loops(
        """
lock = fastlock.Lock()
seen = []
async def inner():
    with lock: seen.append(runs_loop())
async def outer():
    running, task = asyncio._get_running_loop(), asyncio.current_task()
    asyncio.tasks._leave_task(running, task)
    asyncio._set_running_loop(None)
    seen.append(runs_loop())
    other = asyncio.new_event_loop()
    other.run_until_complete(inner())
    seen.append(runs_loop())
    asyncio._set_running_loop(running)
    asyncio.tasks._enter_task(running, task)
    with lock: seen.append(runs_loop())
asyncio.run(outer())
tell(seen + [runs_loop()])
"""
    ) == [False, True, False, True, False]


@pytest.mark.parametrize("first", ["fastlock", "asyncio"])
def test_either_may_be_imported_first(first: str) -> None:
    """fastlock imports no asyncio; where the program does, before or after, its loops are followed, once."""
    second = "asyncio" if first == "fastlock" else "fastlock"
    done = run_program(
        f"""
import json, sys
import {first}
early = "asyncio" in sys.modules
import {second}
from fastlock._loops import follow_loops, runs_loop
import asyncio.events
follow_loops(asyncio)
async def main():
    return runs_loop()
print(json.dumps([early, asyncio.run(main()), asyncio._set_running_loop is asyncio.events._set_running_loop,
                  type(asyncio._set_running_loop.__wrapped__).__name__, asyncio.__spec__.loader is asyncio.__loader__,
                  [type(finder).__module__ for finder in sys.meta_path if "fastlock.loops" in type(finder).__module__]]))
"""
    )
    assert answer(done) == [first == "asyncio", True, True, "builtin_function_or_method", True, []]


def test_a_loop_that_runs_already() -> None:
    """Who imports fastlock inside a running loop is followed from there on."""
    done = run_program(
        """
import asyncio, json
async def main():
    import fastlock
    from fastlock._loops import runs_loop
    return [runs_loop()], runs_loop
seen, runs_loop = asyncio.run(main())
print(json.dumps([*seen, runs_loop()]))
"""
    )
    assert answer(done) == [True, False]


def test_disabled_follows_nothing() -> None:
    """FASTLOCK_DISABLE=1 leaves asyncio as it is."""
    done = run_program(
        "import fastlock, asyncio, json\nprint(json.dumps(type(asyncio._set_running_loop).__name__))",
        env={"FASTLOCK_DISABLE": "1"},
    )
    assert answer(done) == "builtin_function_or_method"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore")
def test_the_child_of_a_fork_runs_no_loop() -> None:
    """As asyncio itself has it: the child may run a loop of its own, and the parent's goes on."""
    assert ask_loops(
        """
import os, warnings
warnings.simplefilter("ignore")
lock = fastlock.Lock()
async def main():
    with lock: pass
    pid = os.fork()
    if pid == 0:
        if runs_loop(): os._exit(1)
        with lock: pass
        asyncio._set_running_loop(None)
        async def child():
            with lock: return runs_loop()
        os._exit(7 if asyncio.run(child()) and not runs_loop() else 2)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with lock: return [status, runs_loop()]
tell(asyncio.run(main()))
"""
    ) == [7, True]


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_uvloop() -> None:
    """uvloop takes its copy of _set_running_loop when it is imported, which is after asyncio: so it is followed as well."""
    assert ask_loops(
        """
import uvloop
from fastlock import watchdog
lock = fastlock.Lock()
async def hold():
    with lock: await asyncio.sleep(0)
async def main():
    for _ in range(2): await asyncio.create_task(hold())
    return runs_loop()
loop = uvloop.new_event_loop()
running = loop.run_until_complete(main())
watchdog.flush(90)
tell([running, runs_loop(), [f.code for f in fastlock.findings()]])
"""
    ) == [True, False, ["FL005"]]


SUITES = ("test_lock.py", "test_rlock.py", "test_rwlock.py", "test_condition.py", "test_semaphore_event_barrier.py", "test_model.py", "test_bad_use.py")
ELSEWHERE = "not no_use_crashes and not forgets_its_base"  # those run programs of their own, which have no loop


@pytest.mark.parametrize("level", ["off", "order"])
def test_locks_are_what_they_are_elsewhere(level: str, tmp_path: Path) -> None:
    """The primitives' own tests pass inside a task of a running loop, with nothing noted and with all of it."""
    plugin = tmp_path / "inside_a_loop.py"
    plugin.write_text(
        f"""
import asyncio, gc, pytest, fastlock
fastlock.configure(level="{level}", loop_block=3600)

def pytest_collection_finish():
    gc.freeze()  # what is there by now is no test's: to look through all of pytest and its plugins after each one is most of the work

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    async def body():
        arguments = {{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}}
        pyfuncitem.obj(**arguments)
    asyncio.run(body())
    gc.collect()  # a task that has failed is a cycle, with its frames and what they hold
    return True
"""
    )
    done = run_program(
        f"""
import sys
import pytest
sys.path.insert(0, {str(tmp_path)!r})
files = [{str(TESTS)!r} + "/" + name for name in {SUITES!r}]
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "inside_a_loop", "-k", {ELSEWHERE!r}, "--rootdir", {str(TESTS)!r}, *files]))
""",
        timeout_s=900,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
