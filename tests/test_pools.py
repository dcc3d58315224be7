"""Pools of threads: where the work for a future is, who waits for it, and pools whose workers all wait for work behind them."""

from __future__ import annotations

import sys

import pytest

from support import ask

INSTALLED = """
import asyncio, concurrent.futures as futures, gc, json, os, subprocess, sys, time, weakref
from concurrent.futures import ThreadPoolExecutor, Future
fastlock.install()
fastlock.configure(slow_wait=3600)  # what is found is found as it forms
def waits(what="Future.result"):
    return [wait for wait in fastlock.snapshot().waits if wait.what == what]
def shape(finding):
    "Code, tier, and who holds what and waits for what."
    locks = {lock.id: lock.name for lock in finding.locks}
    agents = {agent.id: agent.name.partition(" ")[0] if agent.kind == "task" else agent.name for agent in finding.agents}
    return [finding.code, finding.tier,
            sorted((agents[edge.agent], locks.get(edge.holds, ""), locks.get(edge.waits, "")) for edge in finding.edges)]
def part(number=0):
    return number
def caught(call, *arguments, **words):
    try:
        return call(*arguments, **words)
    except BaseException as error:
        return type(error).__name__
"""


def told(source: str, **options: object) -> object:
    """Run a program that has installed fastlock; return what it told."""
    return ask(INSTALLED + source, **options)


# ---- starved pools


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_nested_work_in_a_full_pool(workers: int) -> None:
    """When the last worker waits for work that is queued behind it, all workers are told: where their jobs came from, where they wait."""
    shape, behind, fix, held = told(
        f"""
pool = ThreadPoolExecutor({workers}, thread_name_prefix="pages")
begun = threading.Barrier({workers})
def page():
    begun.wait()
    return pool.submit(part).result()
pages = [pool.submit(page) for _ in range({workers})]
finding, = found("FL030")
line = "pages = [pool.submit(page) for _ in range({workers})]"
tell([shape(finding), finding.behind, finding.fix, [edge.held_at.text == line for edge in finding.edges]])
os._exit(0)
"""
    )
    assert shape == ["FL030", "proven", [[f"pages_{number}", "pages", "result of part()"] for number in range(workers)]]
    assert (behind, held) == (workers, [True] * workers)
    assert fix.startswith("do not wait in program.py:") and fix.endswith("give that work a pool of its own")


def test_raise_lets_the_others_go_on() -> None:
    """on_deadlock="raise" raises in the worker whose wait would close it; its place is free then, and all the work gets done."""
    assert told(
        """
fastlock.configure(on_deadlock="raise")
pool = ThreadPoolExecutor(2)
begun = threading.Barrier(2)
def page(name):
    begun.wait()
    return [name, pool.submit(part, 7).result()]
pages = [pool.submit(page, name) for name in "ab"]
ends = [caught(page.result) for page in pages]
pool.shutdown()
table = fastlock.snapshot()
tell([sorted(map(str, ends)), len(table.waits), [lock.kind for lock in table.locks], len(found("FL030"))])
"""
    ) in ([["DeadlockError", "['a', 7]"], 0, [], 1], [["DeadlockError", "['b', 7]"], 0, [], 1])


def test_a_timeout_will_clear_it() -> None:
    """One worker's timeout makes it a starvation that will clear, and no policy acts on it."""
    assert told(
        """
fastlock.configure(on_deadlock="raise")
def run(limit):
    pool, begun = ThreadPoolExecutor(2), threading.Barrier(2)
    def page(limit):
        begun.wait()
        return pool.submit(part, 7).result(limit)
    pages = [pool.submit(page, limit) for limit in (limit, None)]
    ends = [caught(page.result) for page in pages]
    pool.shutdown()
    fastlock.watchdog.flush(90)
    return ends
for limit in (0.3, 3, 30):  # until the other one waits in time
    ends = run(limit)
    if fastlock.findings(): break
tell([ends[0].replace("_", ""), ends[1], [(finding.code, finding.tier, finding.clears) for finding in found("FL030")]])
"""
    ) == ["TimeoutError", 7, [["FL030", "will-clear", True]]]


def test_many_and_any() -> None:
    """wait() for all of several results is stuck with one of them, as_completed() and FIRST_COMPLETED with all of them only."""
    assert told(
        """
def run(how, extra):
    "A pool with one worker that waits for queued work and for what another pool brings."
    before = len(fastlock.findings())
    pool, other, go_on = ThreadPoolExecutor(1, thread_name_prefix=f"one-{how}-{extra}"), ThreadPoolExecutor(1), threading.Event()
    def page():
        mine = [pool.submit(part)]
        if extra:
            mine.append(other.submit(go_on.wait))
        call = {"all": lambda: futures.wait(mine), "first": lambda: futures.wait(mine, return_when="FIRST_COMPLETED"),
                "raised": lambda: futures.wait(mine, return_when="FIRST_EXCEPTION"), "each": lambda: list(futures.as_completed(mine))}[how]
        call()
    pool.submit(page)
    what = "concurrent.futures.as_completed" if how == "each" else "concurrent.futures.wait"
    wait = wait_until(lambda: [wait for wait in waits(what) if wait.agent in {a.id for a in fastlock.snapshot().agents if a.name.startswith(f"one-{how}-{extra}")}])
    name = next(lock.name for lock in fastlock.snapshot().locks if lock.id == wait[0].lock)
    stuck = bool(fastlock.find_deadlocks() and any(agent.name.startswith(f"one-{how}-{extra}") for finding in fastlock.find_deadlocks() for agent in finding.agents))
    go_on.set()
    return [how, extra, name, stuck]
said = [run(how, extra) for how in ("all", "first", "raised", "each") for extra in (False, True)]
tell(said)
os._exit(0)
"""
    ) == [
        ["all", False, "all of 1 results of part()", True],
        ["all", True, "all of 2 results", True],
        ["first", False, "any of 1 results of part()", True],
        ["first", True, "any of 2 results", False],
        ["raised", False, "any of 1 results of part()", True],
        ["raised", True, "any of 2 results", False],
        ["each", False, "any of 1 results of part()", True],
        ["each", True, "any of 2 results", False],
    ]


def test_a_callback_that_wants_the_lock() -> None:
    """A worker stands in a callback that wants the lock under which a result is waited for: who waits need not be a worker."""
    shape, fix = told(
        """
pool = ThreadPoolExecutor(1, thread_name_prefix="one")
lock = fastlock.RLock(name="lock")
added = threading.Event()
def callback(future):
    with lock: pass
def waiter():
    with lock:
        pool.submit(added.wait).add_done_callback(callback)
        added.set()
        pool.submit(part).result()
start(waiter)
finding, = found("FL030")
tell([shape(finding), finding.fix])
os._exit(0)
"""
    )
    assert shape == ["FL030", "proven", [["one_0", "one", "lock"], ["waiter", "lock", "result of part()"]]]
    assert fix.startswith("release lock before program.py:")


def test_a_result_set_under_the_lock_of_its_callback() -> None:
    """set_result() under a lock that the callback takes is a self-deadlock through a callback."""
    assert told(
        """
lock = fastlock.Lock(name="lock")
future = Future()
def callback(future):
    with lock: pass
future.add_done_callback(callback)
def resolves():
    with lock:
        future.set_result(1)
start(resolves)
finding, = found("FL002")
tell([finding.tier, finding.reasons[-1], finding.fix.split(", ")[0], finding.fix.split(", ")[2]])
"""
    ) == ["proven", "through a callback", "release lock", "before the callback is called"]


def test_two_pools_that_need_each_other() -> None:
    """Two pools whose only workers each wait for work that is queued in the other one."""
    assert told(
        """
first, second = (ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("first", "second"))
both = threading.Barrier(2)
def job(other):
    both.wait()
    other.submit(part).result()
first.submit(job, second)
second.submit(job, first)
tell(shape(found("FL030")[0]))
os._exit(0)
"""
    ) == ["FL030", "proven", [["first_0", "first", "result of part()"], ["second_0", "second", "result of part()"]]]


def test_workers_that_wait_for_something_else_are_told() -> None:
    """A worker that waits for a lock which another worker holds keeps the pool full as well, and is told with what it waits for."""
    assert told(
        """
pool = ThreadPoolExecutor(2, thread_name_prefix="pool")
lock = fastlock.RLock(name="lock")
def wants():
    with lock: pass
def page():
    with lock:
        pool.submit(wants)
        blocked("pool_1")
        pool.submit(part).result()
pool.submit(page)
finding, = found("FL030")
tell(shape(finding))
os._exit(0)
"""
    ) == ["FL030", "proven", [["pool_0", "pool", "result of part()"], ["pool_1", "pool", "lock"]]]


def test_the_report_and_the_table() -> None:
    """The text names pool, size, workers, sites and queue; the table has the pool with its workers, inside and from outside."""
    text, inside, outside, health = told(
        """
pages = ThreadPoolExecutor(2)
begun = threading.Barrier(2)
def page():
    begun.wait()
    parts = [pages.submit(part, number) for number in range(3)]
    return [each.result() for each in parts]
for _ in range(2):
    pages.submit(page)
finding, = found("FL030")
def told_of(locks, agents):
    names = {agent["id"]: agent["name"].rpartition("_")[2] for agent in agents}
    return sorted([lock["name"], lock["kind"], sorted(names[agent] for agent in lock["readers"])] for lock in locks if lock["kind"] == "ThreadPoolExecutor")
own = fastlock.snapshot().to_dict()
dump = json.loads(subprocess.run([sys.executable, "-m", "fastlock", "dump", str(os.getpid()), "--json"], capture_output=True, text=True).stdout)
ps = json.loads(subprocess.run([sys.executable, "-m", "fastlock", "ps", "--json"], capture_output=True, text=True).stdout)
tell([str(finding), told_of(own["locks"], own["agents"]), told_of(dump["locks"], dump["agents"]),
      [process["health"] for process in ps if process["pid"] == os.getpid()]])
os._exit(0)
""",
        timeout_s=60,
    )
    lines = text.splitlines()
    assert lines[0].startswith("FL030 pool starvation: pages, all 2 workers")
    assert "for result of part()" in text and "stands in the queue of pages: all 2 workers are busy" in " ".join(text.split())
    assert sum(line.split()[:5] == ["runs", "a", "job", "of", "pages"] and "pages.submit(page)" in line for line in lines) == 2
    assert sum(line.split()[:4] == ["waits", "result", "of", "part()"] for line in lines) == 2
    assert "  Behind it     6 jobs in the queue" in lines
    assert inside == outside == [["pages", "ThreadPoolExecutor", ["0", "1"]]]
    assert health == ["deadlocked"]


# ---- through a loop

PING_PONG = """
begun = threading.Barrier(2)
def job(loop):
    begun.wait()
    return asyncio.run_coroutine_threadsafe(back(), loop).result()
async def back():
    return await asyncio.get_running_loop().run_in_executor(POOL, part, 7)
async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2, thread_name_prefix="default"))
    await asyncio.gather(*(loop.run_in_executor(POOL, job, loop) for _ in range(2)))
def tells():
    finding = found("FL030")[0]
    tell([shape(finding), finding.fix.partition(" for work")[0]])
    os._exit(0)
start(tells)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("pool", ["default", "named"])
def test_run_in_executor_ping_pong(loop: str, pool: str) -> None:
    """Jobs that wait for coroutines which wait for jobs in the same executor, the loop's own or one of the program's."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    shape, fix = told(
        f"""
POOL = None if {pool!r} == "default" else ThreadPoolExecutor(2, thread_name_prefix="named")
{PING_PONG}
if {loop!r} == "uvloop":
    import uvloop
    uvloop.new_event_loop().run_until_complete(main())
else:
    asyncio.run(main())
"""
    )
    code, tier, edges = shape
    assert (code, tier) == ("FL030", "proven")
    workers = [edge for edge in edges if edge[0].startswith(pool)]
    assert sorted(edge[:2] for edge in workers if edge[1] == pool) == [[f"{pool}_0", pool], [f"{pool}_1", pool]]
    assert {edge[2] for edge in workers} == {"result of back()"}
    assert len([edge for edge in edges if edge[0].startswith("Task-")]) == 2
    assert fix.startswith("do not wait in program.py:")


def test_a_task_waits_for_a_job_that_runs() -> None:
    """A thread's work that a task awaits is a link of a circle once it runs, and none while a worker could begin it."""
    assert told(
        """
lock = fastlock.RLock(name="lock")
async def main():
    with lock:
        await asyncio.get_running_loop().run_in_executor(None, wants)
def wants():
    with lock: pass
def tells():
    tell(shape(found("FL001")[0])[:2])
    os._exit(0)
start(tells)
asyncio.run(main())
"""
    ) == ["FL001", "proven"]


# ---- what is healthy


def test_healthy_pools_are_silent() -> None:
    """Pools that are only slow, that others wait for, that grow, that are resized, whose jobs wait for other pools or have been cancelled."""
    assert told(
        """
go_on = threading.Event()
def slow(): return go_on.wait()
pool, other = ThreadPoolExecutor(2), ThreadPoolExecutor(2)
jobs = [pool.submit(slow) for _ in range(6)]
waiters = [start(job.result, name=f"w{number}") for number, job in enumerate(jobs)]
wait_until(lambda: len(waits()) == 6)
busy = pool.submit(lambda: other.submit(part, 3).result())
cancelled = pool.submit(part)
waiter = start(lambda: caught(cancelled.result), name="cancelled")
wait_until(lambda: len(waits()) == 7)
cancelled.cancel()
waiter.join()
stuck = len(fastlock.find_deadlocks())
go_on.set()
for each in waiters: each.join()
growing = ThreadPoolExecutor(3)
nested = growing.submit(lambda: growing.submit(part, 4).result()).result()
resized = ThreadPoolExecutor(1)
def page():
    resized._max_workers = 2
    return resized.submit(part, 5).result()
tell([stuck, busy.result(), nested, resized.submit(page).result(), len(fastlock.findings()), len(fastlock.snapshot().waits) <= 8])
"""
    ) == [0, 3, 4, 5, 0, True]


def test_hand_made_futures_are_opaque() -> None:
    """A future that nobody is known to complete is shown, and closes no circle, alone or among others; so is a process pool's."""
    assert told(
        """
lock = fastlock.RLock(name="lock")
mine = Future()
def waiter():
    with lock: return mine.result()
start(waiter)
wait_until(waits)
def wants():
    with lock: pass
start(wants)
blocked("wants")
pool = ThreadPoolExecutor(1)
def page():
    for future in futures.as_completed([mine, pool.submit(part)]):
        return future.result()
first = pool.submit(page)
wait_until(lambda: waits("concurrent.futures.as_completed"))
shown = [(lock.name, lock.kind, lock.owner) for lock in fastlock.snapshot().locks if lock.kind == "Result"]
stuck = len(fastlock.find_deadlocks())
mine.set_result(8)
tell([sorted(shown), stuck, first.result(), len(fastlock.findings())])
"""
    ) == [[["any of 2 results", "Result", None], ["result of a future", "Result", None]], 0, 8, 0]


def test_futures_from_before_go_on() -> None:
    """Futures, pools and jobs from before install() work on, and nothing is claimed of them; submitted afterwards they are followed."""
    assert ask(
        """
import os
from concurrent.futures import ThreadPoolExecutor
go_on = threading.Event()
pool = ThreadPoolExecutor(1, thread_name_prefix="old")
old = pool.submit(go_on.wait)
queued = pool.submit(int, "3")
fastlock.install()
def waiter(): return queued.result()
thread = start(waiter)
new = pool.submit(lambda: pool.submit(int, "4").result)
go_on.set()
thread.join()
said = [old.result(), queued.result(), new.result()(), len(fastlock.findings())]
pool.submit(lambda: pool.submit(int, "5").result())
finding, = found("FL030")
tell([said, [lock.name for lock in finding.locks if lock.kind == "ThreadPoolExecutor"]])
os._exit(0)
"""
    ) == [[True, 3, 4, 0], ["old"]]


# ---- nothing changes


def test_nothing_changes_where_nothing_is_wrong() -> None:
    """Results, exceptions with their tracebacks, reprs, pickles, signatures and errors are concurrent.futures' own."""
    assert told(
        """
import inspect, pickle, re, traceback
def same(make):
    "What ours does, and then the stdlib's own."
    ours = make()
    fastlock.uninstall()
    try:
        theirs = make()
        return ours == theirs or repr([ours, theirs])
    finally:
        fastlock.install()
def fails(): raise KeyError("k")
def with_pool(call):
    with ThreadPoolExecutor(2, "names") as pool:
        return call(pool)
def after_shutdown(pool):
    pool.shutdown()
    return caught(pool.submit, part)
def frames(pool):
    try:
        pool.submit(fails).result()
    except KeyError as error:
        return [(frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)]
def item(pool):
    pool.submit(part).result()      # a worker that reads the queue itself
    seen = []
    put = pool._work_queue.put
    class Queue:
        def put(self, item):
            seen.append(item)
            return put(item)
    pool._work_queue, queue = Queue(), pool._work_queue
    future = pool.submit(part)
    pool._work_queue = queue
    cls = type(seen[0])
    return [cls.__name__, cls.__module__, cls.__qualname__, seen[0].future is future, future.result()]
def late(pool):
    go_on = threading.Event()
    slow = pool.submit(go_on.wait)
    said = [caught(slow.result, 0.01).replace("_", ""), caught(slow.exception, 0).replace("_", ""), caught(slow.result, "x"), slow.cancel()]
    done, not_done = futures.wait([slow], 0.01)
    said += [len(done), len(not_done), caught(lambda: list(futures.as_completed([slow], 0.01))).replace("_", "")]
    go_on.set()
    return [*said, slow.result(), len(futures.wait([slow], return_when="FIRST_COMPLETED").done)]
def looks(pool):
    future = pool.submit(part, 1)
    future.result()
    return [re.sub("0x[0-9a-f]+", "", repr(future)), type(future).__name__, type(future) is Future, caught(pickle.dumps, future),
            isinstance(pool, ThreadPoolExecutor), str(inspect.signature(pool.submit)), pool.submit.__doc__ is not None]
makes = [
    lambda: with_pool(lambda pool: list(pool.map(part, range(5)))),
    lambda: with_pool(after_shutdown),
    lambda: with_pool(frames),
    lambda: with_pool(item),
    lambda: with_pool(late),
    lambda: with_pool(looks),
    lambda: caught(ThreadPoolExecutor, 0),
    lambda: caught(ThreadPoolExecutor, 1, initializer=3),
    lambda: with_pool(lambda pool: caught(pool.submit)),
    lambda: with_pool(lambda pool: sorted(future.result() for future in futures.as_completed([pool.submit(part, n) for n in range(9)]))),
    lambda: str(inspect.signature(ThreadPoolExecutor)),
]
tell([same(make) for make in makes] + [len(fastlock.snapshot().waits), len(fastlock.findings())])
"""
    ) == [True] * 11 + [0, 0]


def test_nothing_is_kept() -> None:
    """Of a job nothing is kept once it is over, though its future is: not its function, arguments nor result; nor a pool that is gone."""
    assert told(
        """
class Thing: pass
def gone(reference):
    wait_until(lambda: reference() is None)
    return True
thing, result = Thing(), Thing()
references = [weakref.ref(thing), weakref.ref(result)]
pool = ThreadPoolExecutor(1)
future = pool.submit(lambda held, given=result: None, thing)
del thing, result
future.result()
said = [gone(reference) for reference in references]
kept = pool.submit(Thing)
result = weakref.ref(kept.result())
del kept
said.append(gone(result))
cls = type(pool)
pool.shutdown()
pool = weakref.ref(pool)
gc.collect()
said.append(pool() is None)
tell(said + [future.done()])
"""
    ) == [True, True, True, True, True]


def test_as_completed_keeps_no_future() -> None:
    """What as_completed() has yielded is kept by nobody, while it waits for the others."""
    assert told(
        """
go_on = threading.Event()
pool = ThreadPoolExecutor(2)
both = [pool.submit(part), pool.submit(go_on.wait)]
reference = weakref.ref(both[0])
completed = futures.as_completed(both)
del both
first = next(completed)
del first
def rest(): list(completed)
thread = start(rest)
wait_until(lambda: waits("concurrent.futures.as_completed"))
gc.collect()
gone = reference() is None
go_on.set()
thread.join()
tell([gone, thread.error is None])
"""
    ) == [True, True]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="interpreters came to concurrent.futures with 3.14")
def test_interpreters_are_left_alone() -> None:
    """A pool of interpreters works as before, and its results are opaque."""
    assert told(
        """
from concurrent.futures import InterpreterPoolExecutor
import math
with InterpreterPoolExecutor(1) as pool:
    tell([pool.submit(math.sqrt, 4).result(), len(fastlock.findings())])
"""
    ) == [2.0, 0]


def test_uninstall_takes_it_back() -> None:
    """After uninstall everything in concurrent.futures is its own, and what was submitted goes on."""
    assert told(
        """
from concurrent.futures import thread, _base
def state():
    return [ThreadPoolExecutor.submit, ThreadPoolExecutor.__init__, thread._WorkItem, _base._create_and_install_waiters]
ours = state()
pool = ThreadPoolExecutor(1)
go_on = threading.Event()
slow, queued = pool.submit(go_on.wait), pool.submit(part, 5)
fastlock.uninstall()
taken = [mine is theirs for mine, theirs in zip(ours, state())]
go_on.set()
said = [slow.result(), queued.result(), pool.submit(part, 6).result()]
fastlock.install()
tell([taken, said, pool.submit(part, 7).result(), [each.__name__ for each in state()]])
"""
    ) == [[False] * 4, [True, 5, 6], 7, ["submit", "__init__", "_WorkItem", "_create_and_install_waiters"]]


def test_a_fork_while_results_are_waited_for() -> None:
    """The child of a fork has nobody else's waits, and a pool of its own works there."""
    assert told(
        """
go_on = threading.Event()
pool = ThreadPoolExecutor(1)
slow, queued = pool.submit(go_on.wait), pool.submit(part, 5)
start(queued.result, name="waiter")
start(lambda: futures.wait([slow, queued]), name="both")
blocked("waiter", "both")
pid = os.fork()
if pid == 0:
    try:
        left = len(fastlock.snapshot().waits)
        with ThreadPoolExecutor(1) as mine:
            os._exit(left + mine.submit(part, 0).result() + len(fastlock.find_deadlocks()))
    finally:
        os._exit(9)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
go_on.set()
tell([status, queued.result()])
""",
        through=("-W", "ignore"),
    ) == [0, 5]
