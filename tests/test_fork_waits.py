"""Fork while other threads wait in every way there is: the child has none of these waits, says nothing of them, and can use all of it; the parent loses no wake."""

from __future__ import annotations

import pytest

from support import ask

# Each way: what is set up, what a thread named "waiter" waits in, what ends that, and what the child does with the very same things.
WAYS: dict[str, tuple[str, str, str, str]] = {
    "join": ("thread = start(go_on.wait, name='other')", "thread.join()", "go_on.set()", "start(int).join()"),
    "result": (
        "pool = ThreadPoolExecutor(1); future = pool.submit(go_on.wait)",
        "future.result()",
        "go_on.set()",
        "own = ThreadPoolExecutor(1); assert own.submit(int).result() == 0; own.shutdown()",
    ),
    "result, queued": (
        "pool = ThreadPoolExecutor(1); first, future = pool.submit(go_on.wait), pool.submit(int)",
        "future.result()",
        "go_on.set()",
        "own = ThreadPoolExecutor(1); assert own.submit(int).result() == 0; own.shutdown()",
    ),
    "result by hand": ("future = Future()", "future.result()", "future.set_result(1)", "own = Future(); start(own.set_result, 1); own.result()"),
    "wait": (
        "pool = ThreadPoolExecutor(1); all_of = [pool.submit(go_on.wait), pool.submit(int)]",
        "wait(all_of)",
        "go_on.set()",
        "own = ThreadPoolExecutor(2); wait([own.submit(int), own.submit(int)]); own.shutdown()",
    ),
    "as_completed": (
        "pool = ThreadPoolExecutor(1); all_of = [pool.submit(go_on.wait), pool.submit(int)]",
        "list(as_completed(all_of))",
        "go_on.set()",
        "own = ThreadPoolExecutor(2); assert len(list(as_completed([own.submit(int), own.submit(int)]))) == 2; own.shutdown()",
    ),
    "shutdown": ("pool = ThreadPoolExecutor(1); pool.submit(go_on.wait)", "pool.shutdown()", "go_on.set()", "ThreadPoolExecutor(1).shutdown()"),
    "queue get": ("items = queue.Queue()", "items.get()", "items.put(1)", "items.put(2); assert items.get() == 2"),
    "queue put": ("items = queue.Queue(1); items.put(1)", "items.put(2)", "items.get()", "assert items.get() == 1; items.put(3)"),
    "queue join": ("items = queue.Queue(); items.put(1)", "items.join()", "items.task_done()", "items.task_done(); items.join()"),
    "simple queue": ("items = queue.SimpleQueue()", "items.get()", "items.put(1)", "own = queue.SimpleQueue(); start(own.put, 2); assert own.get() == 2"),
    "condition": (
        "condition = threading.Condition()",
        "condition.__enter__(); condition.wait(); condition.__exit__(None, None, None)",
        "condition.__enter__(); condition.notify_all(); condition.__exit__(None, None, None)",
        "notified(condition)",
    ),
    "event": ("event = threading.Event()", "event.wait()", "event.set()", "start(event.set); assert event.wait()"),
    "barrier": ("barrier = threading.Barrier(2)", "barrier.wait()", "barrier.wait()", "own = threading.Barrier(2); start(own.wait); own.wait()"),
    "semaphore": (
        "semaphore = threading.Semaphore(0)",
        "semaphore.acquire()",
        "semaphore.release()",
        "start(semaphore.release); assert semaphore.acquire()",
    ),
    "upgradable": (
        "rw = fastlock.RWLock(); rw.acquire_upgradable()",
        "rw.acquire_upgradable(); rw.release_upgradable()",
        "rw.release_upgradable()",
        "assert rw.acquire_write(); rw.release_write(); rw.release_upgradable(); assert rw.acquire_upgradable(timeout=60)",
    ),
    "upgrade": (
        "rw = fastlock.RWLock(); rw.acquire_read()",
        "rw.acquire_upgradable(); rw.acquire_write(); rw.release_write(); rw.release_upgradable()",
        "rw.release_read()",
        "rw._at_fork_reinit(); assert rw.acquire_write(timeout=60)",
    ),
    "waiting_for": (
        "thread = start(go_on.wait, name='other')",
        "fastlock.waiting_for('database', wakers=[thread]).__enter__() and None; go_on.wait()",
        "go_on.set()",
        "declared()",
    ),
    "waiting_for anybody": (
        "",
        "fastlock.waiting_for('database').__enter__() and None; go_on.wait()",
        "go_on.set()",
        "declared()",
    ),
    "process": (
        "import subprocess; process = subprocess.Popen(['sleep', '600'])",
        "process.wait()",
        "process.terminate()",
        "assert subprocess.run(['true']).returncode == 0",
    ),
    "coroutine of another thread": (
        "loop = running(); future = asyncio.run_coroutine_threadsafe(never(), loop)",
        "raises(futures_cancelled, future.result)",
        "future.cancel()",
        "own = running(); assert asyncio.run_coroutine_threadsafe(soon(), own).result() == 1",
    ),
    "task": (
        "loop = running(); ready = threading.Event(); future = asyncio.run_coroutine_threadsafe(holds(ready), loop); ready.wait()",
        "raises(futures_cancelled, asyncio.run_coroutine_threadsafe(wants(), loop).result)",
        "loop.call_soon_threadsafe(cancel_all, loop)",
        "own = running(); assert asyncio.run_coroutine_threadsafe(soon(), own).result() == 1",
    ),
}  # fmt: skip

SETUP = """
import asyncio, faulthandler, os, queue, warnings
from concurrent.futures import CancelledError as futures_cancelled
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
warnings.simplefilter("ignore")
fastlock.install()
fastlock.configure(slow_wait=0.05, suppress=[])
go_on = threading.Event()

def notified(condition):
    def notify():
        with condition:
            condition.notify_all()
    with condition:
        start(notify)
        condition.wait()

def declared():
    with fastlock.waiting_for("other"):
        assert [wait.what for wait in fastlock.snapshot().waits], "nothing declared"

def running():
    loop = asyncio.new_event_loop()
    start(loop.run_forever, name="loop")
    wait_until(loop.is_running)
    return loop

async def soon():
    lock = asyncio.Lock()
    async with lock:
        one = await asyncio.get_running_loop().run_in_executor(None, int) + 1
    await asyncio.get_running_loop().shutdown_default_executor()
    return one

async def never():
    await asyncio.Event().wait()

async def holds(ready):
    global lock
    lock = asyncio.Lock()
    async with lock:
        ready.set()
        await asyncio.Event().wait()

async def wants():
    async with lock:
        pass

def cancel_all(loop):
    for task in asyncio.all_tasks(loop):
        task.cancel()

def raises(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError("nothing raised")

STANDS_STILL = {"FL001", "FL002", "FL003", "FL004", "FL012", "FL030", "FL031"}

def said():
    return [f"{each.code} {each.tier} {each.explanation}" for each in (*fastlock.findings(), *fastlock.find_deadlocks()) if each.code in STANDS_STILL]

def seen():
    table = fastlock.snapshot()
    return [len(table.waits), [agent.name for agent in table.agents if agent.state == "alive" and agent.name != "MainThread"]]

def from_outside(pid):
    import subprocess, sys
    clean = {key: value for key, value in os.environ.items() if key != "FASTLOCK_INSTALL"}
    dump = subprocess.run([sys.executable, "-m", "fastlock", "dump", str(pid), "--json"], capture_output=True, text=True, timeout=60, env=clean)
    assert dump.returncode == 0, dump.stderr
    dump = json.loads(dump.stdout)
    return [len(dump["waits"]), [agent["name"] for agent in dump["agents"] if agent["name"] != "MainThread"]]

import json

def child(use):
    faulthandler.dump_traceback_later(60, exit=True)
    told = {"at first": seen(), "said": said()}
    print(json.dumps(told), file=there, flush=True)
    os.read(here_in, 1)                                 # the parent looks from outside meanwhile
    use()
    for thread in threading.enumerate():
        if thread not in (threading.current_thread(), threading.main_thread()) and not thread.name.startswith(("loop", "asyncio_")):
            thread.join()
    told = {"used": [seen()[0], said()], "errors": [repr(thread.error) for thread in threading.enumerate() if getattr(thread, "error", None)]}
    print(json.dumps(told), file=there, flush=True)
"""

FORKS = """
out, there = os.pipe()
here_in, go = os.pipe()
there = os.fdopen(there, "w")
pid = os.fork()
if pid == 0:
    try:
        child(use)
    except BaseException:
        import traceback; traceback.print_exc()
        os._exit(1)
    os._exit(0)
there.close()
lines = os.fdopen(out)
first = json.loads(lines.readline() or "null")
outside = from_outside(pid)
os.write(go, b"x")
second = json.loads(lines.readline() or "null")
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
still = seen()[0]
"""


def program(way: str) -> str:
    """Return a program that forks while a thread waits, and ends that wait in the parent."""
    make, waits, ends, use = WAYS[way]
    return f"""{SETUP}
{make}
def waiter(): {waits}
def use(): {use}
thread_of_wait = start(waiter, name="waiter")
blocked("waiter")
{FORKS}
{ends}
thread_of_wait.join(60)
tell([first, outside, second, status, still > 0, thread_of_wait.is_alive(), repr(thread_of_wait.error), said()])
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_fork_among_waiters(way: str) -> None:
    """The child has no wait and nobody but itself, and nothing is said; all of it works there; the parent's waiter goes on as if nothing had been."""
    first, outside, second, status, still, alive, error, said = ask(program(way), through=("-W", "ignore"))
    assert first == {"at first": [0, []], "said": []}
    assert outside == [0, []]
    assert second == {"used": [0, []], "errors": []}
    assert (status, still, alive, error, said) == (0, True, False, "None", [])


POOL = """
import faulthandler, os, warnings
from concurrent.futures import ThreadPoolExecutor, wait
warnings.simplefilter("ignore")
fastlock.install()
fastlock.configure(slow_wait=0.05)
go_on = threading.Event()
"""


@pytest.mark.parametrize(
    "before, size, tier",
    [("pool.submit(go_on.wait)", 1, "proven"), ("pool.submit(int).result()", 1, "proven"), ("pool.submit(int).result()", 2, "possible")],
    ids=["busy at the fork", "idle at the fork", "idle, with room for another"],
)
def test_a_pool_whose_workers_stayed_in_the_parent(before: str, size: int, tier: str) -> None:
    """Who waits in the child for work in the parent's pool waits for ever: FL004 says whose workers are not here, and that later jobs may bring new ones."""
    finding = ask(
        f"""{POOL}
pool = ThreadPoolExecutor({size})
{before}
if os.fork() == 0:
    start(lambda: pool.submit(int).result(), name="waiter")
    tell(found("FL004")[0].to_dict())
os.wait(); os._exit(0)
""",
        through=("-W", "ignore"),
    )
    assert (finding["code"], finding["tier"]) == ("FL004", tier)
    assert [agent["name"] for agent in finding["agents"]] == ["waiter", "ThreadPoolExecutor-0_0"]
    assert "which stands in the queue of pool: its workers stayed in the parent of the fork" in finding["explanation"]
    assert "make pool anew in the child" in finding["fix"]


def test_a_pool_with_room_works_in_the_child() -> None:
    """A pool whose worker was busy has another one started for what the child submits, and nothing is said of it, whatever else it is asked."""
    assert ask(
        f"""{POOL}
pool = ThreadPoolExecutor(3)
pool.submit(go_on.wait)
pid = os.fork()
if pid == 0:
    faulthandler.dump_traceback_later(60, exit=True)
    values = [pool.submit(abs, -number).result() for number in range(5)]
    wait([pool.submit(int) for _ in range(5)])
    os._exit(values != list(range(5)) or len(fastlock.find_deadlocks()) + len(fastlock.findings()))
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
go_on.set()
tell(status)
""",
        through=("-W", "ignore"),
    ) == 0


def test_a_pool_of_the_parent_starves_in_the_child() -> None:
    """The one new worker of a pool waits for what is queued behind it; those that stayed in the parent do not help."""
    finding = ask(
        f"""{POOL}
pool = ThreadPoolExecutor(2)
pool.submit(go_on.wait)
if os.fork() == 0:
    start(lambda: pool.submit(lambda: pool.submit(int).result()).result(), name="waiter")
    tell(found("FL030")[0].to_dict())
os.wait(); os._exit(0)
""",
        through=("-W", "ignore"),
    )
    assert (finding["code"], finding["tier"]) == ("FL030", "proven")


@pytest.mark.parametrize("way", ["items.get()", "event.wait()", "barrier.wait()", "Future().result()"])
def test_what_nobody_in_the_child_will_bring(way: str) -> None:
    """The child has none of its parent's threads: who waits there for one of them is a stall, proven, and those who woke it are said to have stayed behind."""
    finding = ask(
        f"""{POOL}
import queue
from concurrent.futures import Future
items, event, barrier = queue.Queue(), threading.Event(), threading.Barrier(2)
def other():
    for _ in range(3):
        items.put(1); event.set()
    barrier.wait()
    go_on.wait()
start(other, name="other")
for _ in range(3):
    items.get()
barrier.wait(); event.wait(); event.clear()
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    fastlock.on_finding(lambda finding: finding.code == "FL031" and os.write(write, json.dumps(finding.to_dict()).encode()) and os._exit(0))
    {way}
os.close(write)
with os.fdopen(read) as told:
    finding = json.loads(told.read())
os.waitpid(pid, 0)
go_on.set()
tell(finding)
""".replace("import queue", "import json, queue"),
        through=("-W", "ignore"),
    )
    assert finding["tier"] == "proven"
    if "Future" not in way:
        assert 'thread "other", which stayed in the parent of a fork' in finding["explanation"]


def test_processes_of_multiprocessing_that_are_forked() -> None:
    """Processes forked among waiters use pools, queues and loops of their own; none of them, nor the parent, has anything to say."""
    assert ask(
        f"""{POOL}
import asyncio, multiprocessing, queue
items = queue.Queue()
idle = start(items.get, name="idle")
blocked("idle")

def work(number):
    with ThreadPoolExecutor(2) as pool:
        total = sum(pool.map(abs, range(-number, 0)))
    async def main():
        queued = asyncio.Queue()
        async def put():
            await asyncio.to_thread(int)
            await queued.put(total)
        task = asyncio.create_task(put())
        value = await queued.get()
        await task
        return value
    return asyncio.run(main()), len(fastlock.find_deadlocks()) + len(fastlock.findings())

with multiprocessing.get_context("fork").Pool(2) as pool:
    told = pool.map(work, range(6), chunksize=1)
items.put(1)
idle.join()
tell([told, len(fastlock.findings()), repr(idle.error)])
""",
        through=("-W", "ignore"),
    ) == [[[total, 0] for total in (0, 1, 3, 6, 10, 15)], 0, "None"]
