"""Threads that wait for tasks, and tasks that wait for threads: one graph, and nothing left behind."""

from __future__ import annotations

import sys

import pytest

from support import answer, run_program

PRELUDE = """
import asyncio, gc, threading, weakref
import fastlock
from support import *
fastlock.install()

def looping(name="looper"):
    "A loop that runs in a thread of its own."
    loop = asyncio.new_event_loop()
    start(loop.run_forever, name=name)
    wait_until(loop.is_running)
    return loop

def in_result(name="MainThread"):
    "Wait until the thread is in result()."
    def waits():
        table = fastlock.snapshot()
        agents = {agent.id for agent in table.agents if agent.name == name}
        return [wait for wait in table.waits if wait.what == "Future.result" and wait.agent in agents]
    wait_until(waits)

def shape(finding):
    "Code, tier, and who waits for what."
    locks = {lock.id: lock.name for lock in finding.locks}
    agents = {agent.id: agent.kind if agent.kind == "task" else agent.name for agent in finding.agents}
    return [finding.code, finding.tier, sorted((agents[edge.agent], locks.get(edge.waits, "")) for edge in finding.edges)]

def results():
    "What the table has of results that are waited for."
    table = fastlock.snapshot()
    return [lock.name for lock in table.locks if lock.kind == "Result"], [wait.what for wait in table.waits if wait.what.startswith("Future")]
"""


def ask(source: str, **options: object) -> object:
    """Run a program behind PRELUDE; return what it told."""
    return answer(run_program(PRELUDE + source, **options))


# ---- a thread waits for a task


def test_nothing_changes_where_nothing_is_wrong() -> None:
    """Results, exceptions, cancellation, timeouts, callbacks and the future's looks are those of concurrent.futures."""
    told = ask(
        """
import concurrent.futures, inspect
loop = looping()
async def fine(): return 7
async def raises(): raise KeyError("k")
async def for_ever(): await asyncio.Event().wait()
def caught(call, *arguments):
    try:
        return call(*arguments)
    except BaseException as error:
        return type(error).__name__
def send(coroutine): return asyncio.run_coroutine_threadsafe(coroutine, loop)
good, bad, endless, cancelled = send(fine()), send(raises()), send(for_ever()), send(for_ever())
done = []
good.add_done_callback(done.append)
said = [good.result(), good.result(timeout=0), good.exception(1), caught(bad.result), type(bad.exception(5)).__name__,
        caught(endless.result, 0.01), caught(endless.result, 0), caught(endless.result, -1), caught(endless.result, "x"),
        cancelled.cancel(), caught(cancelled.result), cancelled.cancelled(), done == [good],
        isinstance(good, concurrent.futures.Future), repr(good).split(" at ")[0], caught(asyncio.run_coroutine_threadsafe, 1, loop),
        str(inspect.signature(asyncio.run_coroutine_threadsafe)), results(), len(fastlock.findings())]
tell(said)
"""
    )
    timeout = "TimeoutError"
    assert told == [
        7, 7, None, "KeyError", "KeyError", timeout, timeout, timeout, "TypeError", True, "CancelledError", True, True,
        True, "<Future", "TypeError", "(coro, loop)", [[], []], 0,
    ]  # fmt: skip


def test_the_table_shows_the_wait() -> None:
    """A thread in result() waits for what a task is to bring; its wait has a site, a deadline and an owner, and goes with it."""
    told = ask(
        """
loop = looping()
go_on = None
async def brings():
    global go_on
    go_on = asyncio.Event()
    await go_on.wait()
def waiter():
    asyncio.run_coroutine_threadsafe(brings(), loop).result(timeout=60)
thread = start(waiter)
def named():
    table = fastlock.snapshot()
    kinds = {agent.id: agent.kind for agent in table.agents}
    return [(wait, kinds[wait.owner]) for wait in table.waits if wait.what == "Future.result" and kinds.get(wait.owner) == "task"]
(wait, owner), = wait_until(lambda: go_on and named())  # the table knows the task before its first step
names = results()[0]
agent, = [agent for agent in fastlock.snapshot().agents if agent.name == "waiter"]
loop.call_soon_threadsafe(go_on.set)
thread.join()
tell([wait.mode, owner, 0 < wait.deadline_s <= 60, wait.wanted_at.text, names, agent.waits == wait.lock, results(), thread.error is None])
"""
    )
    line = "asyncio.run_coroutine_threadsafe(brings(), loop).result(timeout=60)"
    assert told == ["exclusive", "task", True, line, ["result of brings()"], True, [[], []], True]


LOCK_HELD = """
lock = fastlock.RLock(name="lock")
loop = looping()
async def wants():
    with lock: pass
def holder():
    with lock:
        asyncio.run_coroutine_threadsafe(wants(), loop).result()
"""


def test_result_while_holding_what_the_task_wants() -> None:
    """A thread holds a lock and waits for a task that blocks on it: told as soon as the task blocks."""
    told = ask(LOCK_HELD + "start(holder)\ntell(shape(found('FL001')[0]))")
    assert told == ["FL001", "proven", [["holder", "result of wants()"], ["task", "lock"]]]


def test_result_while_holding_what_the_loop_waits_for_already() -> None:
    """The loop's thread has blocked before it could make the task: the thread waits for that one, and is the one who closes the circle."""
    told = ask(
        LOCK_HELD
        + """
fastlock.configure(on_deadlock="raise")
def late():
    with lock:
        loop.call_soon_threadsafe(lock.acquire)
        blocked("looper")
        asyncio.run_coroutine_threadsafe(wants(), loop).result()
thread = start(late)
thread.join()
tell([type(thread.error).__name__, shape(found("FL001")[0]), results()])
"""
    )
    assert told == ["DeadlockError", ["FL001", "proven", [["late", "result of wants()"], ["looper", "lock"]]], [[], []]]


def test_result_on_the_own_loop() -> None:
    """The loop's own thread waits for what only its loop can run: told at once, and raised where the policy says so."""
    told = ask(
        """
fastlock.configure(on_deadlock="raise")
async def inner():
    return 1
async def before_the_task_exists():
    asyncio.run_coroutine_threadsafe(inner(), asyncio.get_running_loop()).result()
async def after():
    future = asyncio.run_coroutine_threadsafe(inner(), asyncio.get_running_loop())
    await asyncio.sleep(0)
    future.exception()
said = []
for main in before_the_task_exists, after:
    try:
        asyncio.run(main())
    except fastlock.DeadlockError as error:
        said.append(str(error).count("await the coroutine: a loop's thread cannot wait for work of its own loop"))
tell([said, sorted(shape(finding) for finding in found("FL001", "FL002")), results()])
"""
    )
    result = "result of inner()"
    assert told == [
        [1, 1],
        [["FL001", "proven", [["task", ""], ["task", result]]], ["FL002", "proven", [["task", result]]]],
        [[], []],
    ]


def test_a_timeout_makes_it_clear_by_itself() -> None:
    """result(timeout) on the own loop is a circle that clears; the report says when, and the wait ends as it would."""
    told = ask(
        """
async def inner(): pass
async def main():
    try:
        asyncio.run_coroutine_threadsafe(inner(), asyncio.get_running_loop()).result(timeout=0.05)
    except BaseException as error:
        return type(error).__name__
said = asyncio.run(main())
finding, = found("FL002")
tell([said, finding.tier, finding.clears, finding.edges[0].deadline_s <= 0.05])
"""
    )
    assert told == ["TimeoutError", "will-clear", True, True]


def test_two_loops_wait_for_each_other() -> None:
    """Two threads with loops, each in result() of the other one's: a circle of both."""
    told = ask(
        """
one, two = looping("one"), looping("two")
async def never(): pass
both = threading.Barrier(2)
async def crosses(other):
    both.wait()
    asyncio.run_coroutine_threadsafe(never(), other).result()
one.call_soon_threadsafe(lambda: one.create_task(crosses(two)))
two.call_soon_threadsafe(lambda: two.create_task(crosses(one)))
finding = found("FL001")[0]
tell([finding.code, finding.tier, sorted((agent.kind, agent.loop, agent.stands is None) for agent in finding.agents)])
"""
    )
    # Whether the tasks that are waited for exist already when the circle is closed is a matter of time.
    code, tier, agents = told
    assert (code, tier) == ("FL001", "proven")
    assert [agent for agent in agents if not agent[2]] == [["task", "one", False], ["task", "two", False]]


def test_one_circle_is_counted_once() -> None:
    """The wait for the future's condition, inside of the result's, does not tell the same circle again."""
    told = ask(
        """
fastlock.configure(slow_wait=0.02)
async def inner(): pass
async def main():
    try:
        asyncio.run_coroutine_threadsafe(inner(), asyncio.get_running_loop()).result(0.1)
    except BaseException as error:
        return type(error).__name__
said = asyncio.run(main())
from fastlock import watchdog
watchdog.flush(90)
tell([said, [(finding.code, finding.count) for finding in fastlock.findings()]])
"""
    )
    assert told == ["TimeoutError", [["FL002", 1]]]


def test_a_possible_circle_is_told_after_slow_wait() -> None:
    """Where a lock in the circle may be released by anybody, it is told when it has lasted, by the thread in result()."""
    told = ask(
        """
lock = fastlock.Lock(name="lock")
loop = looping()
async def wants():
    lock.acquire()
fastlock.configure(slow_wait=0.05)
def holder():
    lock.acquire()
    asyncio.run_coroutine_threadsafe(wants(), loop).result()
start(holder)
# A long wait may be told as well, by the one who looks while the other one is telling.
tell(shape(next(finding for finding in found("FL001") if finding.code == "FL001"))[:2])
"""
    )
    assert told == ["FL001", "possible"]


def test_a_long_result_is_no_finding() -> None:
    """Work may last: waiting for a result longer than slow_wait is nobody's fault, nor is what the loop waits for meanwhile."""
    told = ask(
        """
fastlock.configure(slow_wait=0.02)
loop = looping()
async def long():
    await asyncio.sleep(0.2)
asyncio.run_coroutine_threadsafe(long(), loop).result()
from fastlock import watchdog
watchdog.flush(90)
tell([len(fastlock.findings()), results()])
"""
    )
    assert told == [0, [[], []]]


def test_every_way_out_leaves_nothing() -> None:
    """After a result, an exception, a timeout, Ctrl-C and a cancellation no wait is left, and no task is kept alive."""
    told = ask(
        """
import signal
loop = looping()
async def endless(): await asyncio.Event().wait()
async def fine(): await asyncio.sleep(0)
async def bad(): await asyncio.sleep(0); raise KeyError
tasks = []
def send(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop)
async def remember():
    tasks.extend(weakref.ref(task) for task in asyncio.all_tasks())
said = []
def attempt(coroutine, *arguments, alarm=False, cancel=False):
    future = send(coroutine)
    send(remember()).result()
    if cancel:
        start(lambda: (in_result(), future.cancel()))
    if alarm:
        start(lambda: (in_result(), signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)))
    try:
        future.result(*arguments)
    except BaseException as error:
        said.append(type(error).__name__)
    future.cancel()
attempt(fine())
attempt(bad())
attempt(endless(), 0.01)
attempt(endless(), alarm=True)
attempt(endless(), cancel=True)
def gone():
    send(asyncio.sleep(0)).result()
    gc.collect()
    return [task for task in tasks if task() is not None] == []
wait_until(gone)
waits = [agent.waits for agent in fastlock.snapshot().agents]
tell([said, results(), sorted(set(waits), key=str)])
"""
    )
    assert told == [["KeyError", "TimeoutError", "KeyboardInterrupt", "CancelledError"], [[], []], [None]]


def test_no_cycle_keeps_a_failed_future() -> None:
    """An exception that result() raised does not keep the future by our frames."""
    told = ask(
        """
loop = looping()
async def bad(): raise KeyError
gc.disable()
future = asyncio.run_coroutine_threadsafe(bad(), loop)
reference = weakref.ref(future)
try:
    future.result()
except KeyError:
    pass
del future
wait_until(lambda: reference() is None)
tell("gone")
"""
    )
    assert told == "gone"


def test_a_handler_that_runs_inside_of_the_wait() -> None:
    """A signal handler that runs while its thread is in result() is running: what it holds can be released, and nothing is told."""
    told = ask(
        """
import signal
lock = fastlock.RLock(name="lock")
loop = looping()
released = []
async def wants():
    with lock:
        return 5
def handler(number, frame):
    asked = asyncio.run_coroutine_threadsafe(wants(), loop)
    blocked("looper")
    lock.release()
    released.append(asked.result())
signal.signal(signal.SIGUSR1, handler)
async def for_later():
    await asyncio.get_running_loop().run_in_executor(None, wait_until, lambda: released)
lock.acquire()
future = asyncio.run_coroutine_threadsafe(for_later(), loop)
start(lambda: (in_result(), signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)))
future.result(30)
from fastlock import watchdog
watchdog.flush(90)
tell([released, [finding.code for finding in fastlock.findings()]])
"""
    )
    assert told == [[5], []]


def test_a_wrapper_of_somebody_else_stays() -> None:
    """What a tracer has put around run_coroutine_threadsafe before goes on being called, and the wait is known all the same."""
    told = ask(
        """
fastlock.uninstall()
calls, original = [], asyncio.run_coroutine_threadsafe
def traced(coro, loop):
    calls.append(coro.__name__)
    return original(coro, loop)
asyncio.run_coroutine_threadsafe = asyncio.tasks.run_coroutine_threadsafe = traced
fastlock.install()
fastlock.configure(on_deadlock="raise")
async def inner(): pass
async def main():
    asyncio.run_coroutine_threadsafe(inner(), asyncio.get_running_loop()).result()
try:
    asyncio.run(main())
except fastlock.DeadlockError:
    tell(calls)
"""
    )
    assert told == ["inner"]


# ---- a task waits for a thread

JOBS = """
begun, go_on = threading.Event(), threading.Event()
seen = []
def job(value, *, extra=0):
    seen.append(threading.current_thread())
    begun.set()
    go_on.wait(30)
    return value + extra
def work(future):
    "What suspended.py says that a loop's future stands for."
    from fastlock import suspended
    return next((what for what, how in suspended._behind(future)), None)
def worker():
    return [agent.id for agent in fastlock.snapshot().agents if agent.name == seen[0].name]
"""


@pytest.mark.parametrize("pool", ["None", "ThreadPoolExecutor(1)"])
def test_the_thread_of_a_job(pool: str) -> None:
    """What a loop's future stands for is told: the pool while its job is queued, the thread that runs it, nothing when it is over."""
    told = ask(
        JOBS
        + f"""
from concurrent.futures import ThreadPoolExecutor
async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    pool = {pool}
    first, second = loop.run_in_executor(pool, job, 1), loop.run_in_executor(pool, job, 2)
    wait_until(begun.is_set)
    said = [work(first) in worker(), type(work(second)).__name__, work(second).queued]
    go_on.set()
    said += [await first, await second, work(first), work(loop.create_future())]
    return said
tell(asyncio.run(main()))
"""
    )
    assert told == [True, "Pool", 1, 1, 2, None, None]


def test_to_thread_is_followed() -> None:
    """asyncio.to_thread's future is known as well: its arguments, result, context and exceptions are as before."""
    told = ask(
        JOBS
        + """
import contextvars, functools, inspect
variable = contextvars.ContextVar("variable", default=0)
async def main():
    variable.set(3)
    task = asyncio.ensure_future(asyncio.to_thread(job, 1, extra=2))
    await asyncio.sleep(0)
    wait_until(begun.is_set)
    future, = [future for future in _jobs() if work(future) in worker()]
    go_on.set()
    said = [await task, await asyncio.to_thread(variable.get), await asyncio.to_thread(functools.partial(int, "10", base=2))]
    try:
        await asyncio.to_thread(int, "x")
    except ValueError as error:
        said.append(str(error))
    return said
def _jobs():
    return [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Future) and isinstance(work(thing), int)]
tell([asyncio.run(main()), inspect.iscoroutinefunction(asyncio.to_thread), str(inspect.signature(asyncio.to_thread)),
      str(inspect.signature(asyncio.BaseEventLoop.run_in_executor))])
"""
    )
    assert told == [
        [3, 3, 2, "invalid literal for int() with base 10: 'x'"], True, "(func, /, *args, **kwargs)", "(self, executor, func, *args)",
    ]  # fmt: skip


def test_jobs_keep_nothing() -> None:
    """When a job is over its function, arguments and result are kept by nobody of ours, though its future is."""
    told = ask(
        """
class Thing: pass
async def main():
    thing = Thing()
    reference = weakref.ref(thing)
    future = asyncio.get_running_loop().run_in_executor(None, lambda held=thing: None)
    del thing
    await future
    wait_until(lambda: reference() is None)
    return future.done()
tell(asyncio.run(main()))
"""
    )
    assert told is True


@pytest.mark.parametrize("debug", [False, True])
def test_other_executors_are_left_alone(debug: bool) -> None:
    """An executor that pickles gets the function itself; debug mode refuses coroutine functions as before."""
    told = ask(
        f"""
from concurrent.futures import Executor, Future
class Pickles(Executor):
    def submit(self, function, *arguments):
        future = Future()
        future.set_result([type(function).__name__, function(*arguments)])
        return future
async def coroutine_function(): pass
async def main():
    loop = asyncio.get_running_loop()
    said = [await loop.run_in_executor(Pickles(), abs, -1)]
    try:
        value = await loop.run_in_executor(None, coroutine_function)
        value.close()
        said.append("ran")
    except TypeError as error:
        said.append(str(error))
    return said
tell(asyncio.run(main(), debug={debug}))
"""
    )
    assert told == [["builtin_function_or_method", 1], "coroutines cannot be used with run_in_executor()" if debug else "ran"]


# ---- loops of other kinds, modes and ends




def test_uvloop() -> None:
    """On uvloop: locks, circles of tasks, results across threads, and to_thread's jobs."""
    pytest.importorskip("uvloop")
    told = ask(
        JOBS
        + """
import uvloop
fastlock.configure(on_deadlock="raise")
lock, other = asyncio.Lock(), asyncio.Lock()
sync = fastlock.RLock(name="sync")
async def crossing(first, second, both):
    async with first:
        both.append(1)
        while len(both) < 2:
            await asyncio.sleep(0)
        async with second:
            pass
async def wants():
    with sync: pass
async def main():
    both = []
    ends = await asyncio.gather(crossing(lock, other, both), crossing(other, lock, both), return_exceptions=True)
    task = asyncio.ensure_future(asyncio.to_thread(job, 1))
    await asyncio.sleep(0)
    wait_until(begun.is_set)
    known = [future for future in gc.get_objects() if isinstance(future, asyncio.Future) and isinstance(work(future), int)]
    running = [work(future) in worker() for future in known]
    go_on.set()
    return [sorted(type(end).__name__ for end in ends), running, await task]
said = uvloop.new_event_loop().run_until_complete(main())
loop = uvloop.new_event_loop()
start(loop.run_forever, name="looper")
def holder():
    with sync:
        return asyncio.run_coroutine_threadsafe(wants(), loop).result(30)
fastlock.configure(on_deadlock="report")
start(holder)
tell([said, shape(wait_until(lambda: [finding for finding in fastlock.findings() if finding.tier == "will-clear"])[0])])
"""
    )
    circle = ["FL001", "will-clear", [["holder", "result of wants()"], ["task", "sync"]]]
    assert told == [[["DeadlockError", "NoneType"], [True], 1], circle]


def test_asyncio_run_again_and_again() -> None:
    """Loops that come and go, with tasks cancelled while they wait and hold: nothing is left, and locks are free each time."""
    told = ask(
        """
async def keeps(lock):
    async with lock:
        await asyncio.Event().wait()
async def wants(lock):
    async with lock: pass
async def main():
    lock = asyncio.Lock()
    tasks = [asyncio.create_task(keeps(lock)), *(asyncio.create_task(wants(lock)) for _ in range(3))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    locks.append(lock)          # asyncio.run cancels the tasks
locks = []
for number in range(20):
    asyncio.run(main(), debug=number % 2 == 1)
table = fastlock.snapshot()
tell([any(lock.locked() for lock in locks), len(table.waits), len(table.locks), [agent.kind for agent in table.agents if agent.kind == "task"],
      len(fastlock.findings())])
"""
    )
    assert told == [False, 0, 0, [], 0]


def test_a_loop_closed_with_tasks_pending() -> None:
    """A loop that is closed under waiting tasks: their waits end with them, and other loops go on."""
    told = ask(
        """
lock = asyncio.Lock()
async def keeps():
    async with lock:
        await asyncio.Event().wait()
async def wants():
    async with lock: pass
loop = asyncio.new_event_loop()
tasks = [loop.create_task(keeps()), loop.create_task(wants())]
loop.run_until_complete(asyncio.sleep(0))
waiting = len(fastlock.snapshot().waits)
loop.close()
for task in tasks:
    task._log_destroy_pending = False
del tasks, task, loop
lock = None
gc.collect()
table = fastlock.snapshot()
async def fine():
    async with asyncio.Lock(): return 1
tell([waiting, len(table.waits), len([agent for agent in table.agents if agent.kind == "task"]), asyncio.run(fine()), len(fastlock.findings())])
"""
    )
    assert told == [2, 0, 0, 1, 0]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks() -> None:
    """A task that begins before its creator goes on owns what it takes, waits as itself, and its result can be waited for."""
    told = ask(
        """
fastlock.configure(on_deadlock="raise")
lock, other = asyncio.Lock(), asyncio.Lock()
async def member(first, second):
    async with first:
        await asyncio.sleep(0)
        async with second:
            return 1
async def main():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    ends = await asyncio.gather(asyncio.create_task(member(lock, other)), asyncio.create_task(member(other, lock)), return_exceptions=True)
    return sorted(type(end).__name__ for end in ends)
said = asyncio.run(main())
loop = looping()
loop.call_soon_threadsafe(loop.set_task_factory, asyncio.eager_task_factory)
sync = fastlock.RLock(name="sync")
async def wants():
    with sync: pass
with sync:
    future = asyncio.run_coroutine_threadsafe(wants(), loop)
    blocked("looper")
    try:
        future.result()
    except fastlock.DeadlockError as error:
        said.append(type(error).__name__)
tell([said, results()])
"""
    )
    assert told == [["DeadlockError", "int", "DeadlockError"], [[], []]]


def test_fork_with_a_running_loop() -> None:
    """A child that is forked inside a coroutine has nobody else's waits, and runs a loop of its own with locks and results."""
    told = ask(
        """
import os
loop = looping()
async def endless(): await asyncio.Event().wait()
def waiter():
    asyncio.run_coroutine_threadsafe(endless(), loop).result()
start(waiter)
blocked("waiter")
async def child():
    lock = asyncio.Lock()
    async def member():
        async with lock:
            await asyncio.sleep(0)
    await asyncio.gather(*(member() for _ in range(3)))
    return lock.locked()
def in_child():
    seen = results()
    own = looping("own")
    return 0 if seen == ([], []) and asyncio.run_coroutine_threadsafe(child(), own).result() is False else 1
async def main():
    lock = asyncio.Lock()
    async with lock:
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(in_child())
            finally:
                os._exit(9)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
tell([asyncio.run(main()), results()[1], len(fastlock.findings())])
"""
    )
    assert told == [0, ["Future.result"], 0]
