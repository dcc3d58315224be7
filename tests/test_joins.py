"""Thread.join: a wait of the table and of every circle, and otherwise what it was."""

from __future__ import annotations


from support import ask

INSTALLED = """
import signal, sys, time
fastlock.install()
def waits(what="Thread.join"):
    return [wait for wait in fastlock.snapshot().waits if wait.what == what]
def shape(finding):
    "Code, tier, and who waits for what."
    locks = {lock.id: lock.name for lock in finding.locks}
    agents = {agent.id: agent.name for agent in finding.agents}
    return [finding.code, finding.tier, sorted((agents[edge.agent], locks.get(edge.waits, "")) for edge in finding.edges)]
"""


def told(source: str, **options: object) -> object:
    """Run a program that has installed fastlock; return what it told."""
    return ask(INSTALLED + source, **options)


def test_a_lock_around_a_join() -> None:
    """A lock held around the join of a thread that wants it is a deadlock as it forms, whoever of the two comes last."""
    assert told(
        """
lock = fastlock.RLock(name="lock")
may_want, holds = threading.Event(), threading.Event()
def wants():
    may_want.wait()
    with lock: pass
def joins():
    with lock:
        holds.set()
        threads[0].join()
threads = [start(wants)]
start(joins)
holds.wait()
wait_until(waits)
may_want.set()          # the thread that is joined comes last, and had no agent of its own before
first = shape(found("FL001")[0])
second_lock = fastlock.RLock(name="second_lock")
def wants_second():
    with second_lock: pass
def joins_second():
    with second_lock:
        thread = start(wants_second)
        blocked("wants_second")
        thread.join()
start(joins_second)
tell([first, shape(wait_until(lambda: fastlock.findings()[1:])[0])])
"""
    ) == [
        ["FL001", "proven", [["joins", "end of wants"], ["wants", "lock"]]],
        ["FL001", "proven", [["joins_second", "end of wants_second"], ["wants_second", "second_lock"]]],
    ]


def test_raise_lets_the_joiner_go_on() -> None:
    """on_deadlock="raise" raises in who would close the circle, before it blocks; nothing is left in the table."""
    assert told(
        """
fastlock.configure(on_deadlock="raise")
lock = fastlock.RLock(name="lock")
def wants():
    with lock: pass
said = []
with lock:
    thread = start(wants)
    blocked("wants")
    try:
        thread.join()
    except fastlock.DeadlockError as error:
        said = [thread.is_alive(), "end of wants" in str(error), len(waits())]
thread.join()
tell([said, thread.is_alive(), thread.error is None])
"""
    ) == [[True, True, 0], False, True]


def test_a_timeout_clears_it() -> None:
    """A join with a limit makes the circle one that will clear, and returns when its time is over."""
    assert told(
        """
lock = fastlock.RLock(name="lock")
def wants():
    with lock: pass
with lock:
    thread = start(wants)
    blocked("wants")
    thread.join(0.2)
    alive = thread.is_alive()
thread.join()
tell([alive, [shape(finding) for finding in found("FL001")], len(waits())])
"""
    ) == [True, [["FL001", "will-clear", [["MainThread", "end of wants"], ["wants", "lock"]]]], 0]


def test_errors_and_values_are_threadings() -> None:
    """Every misuse raises what it did, and what does not block goes straight through; subclasses that override join count."""
    assert told(
        """
import inspect
def caught(call, *arguments):
    try:
        return call(*arguments)
    except Exception as error:
        return type(error).__name__, str(error)
def same(make):
    "What ours does, and then threading's own."
    ours = make()
    fastlock.uninstall()
    try:
        return ours == make()
    finally:
        fastlock.install()
class Without(threading.Thread):
    def __init__(self): pass
class Mine(threading.Thread):
    joined = 0
    def join(self, timeout=None):
        self.joined += 1
        return super().join(timeout=timeout)
go_on = threading.Event()
running = start(go_on.wait)
mine = Mine(target=go_on.wait, daemon=True)
mine.start()
over = start(lambda: None, name="over")
over.join()
makes = [
    lambda: caught(threading.Thread().join),
    lambda: caught(threading.current_thread().join),
    lambda: caught(Without().join),
    lambda: caught(running.join, "x"),
    lambda: caught(running.join, [])[0],
    lambda: caught(running.join, -1),
    lambda: caught(running.join, 0),
    lambda: caught(over.join),
    lambda: caught(over.join, 1),
]
said = [same(make) for make in makes]
def join_mine(): mine.join()
joiner = start(join_mine)
wait_until(waits)
shown = [wait.what for wait in fastlock.snapshot().waits if wait.what.startswith("Thread")]
go_on.set()
mine.join()
joiner.join()
running.join(timeout=10)
tell([said, shown, mine.joined, str(inspect.signature(threading.Thread.join)), threading.Thread.join.__qualname__, len(waits())])
"""
    ) == [[True] * 9, ["Thread.join"], 2, "(self, timeout=None)", "Thread.join", 0]


def test_uninstall_takes_it_back() -> None:
    """After uninstall Thread.join is threading's own again, and after another install it is followed; at level order it counts for the graph only."""
    assert told(
        """
def joins_in(what):
    go_on = threading.Event()
    thread = start(go_on.wait, name="joined")
    joiner = start(thread.join, name="joiner")
    seen = None
    if what:
        seen = [wait.what for wait in wait_until(waits)]
    go_on.set()
    joiner.join()
    return seen
ours = threading.Thread.join
said = [joins_in(True)]
fastlock.uninstall()
said.append(threading.Thread.join is ours)
fastlock.install()
said.append(joins_in(True))
fastlock.set_level("order")
fastlock.uninstall()
said.append(threading.Thread.join.__name__)
tell(said)
"""
    ) == [["Thread.join"], False, ["Thread.join"], "join"]


def test_shutdown_of_a_pool_waits_for_its_workers() -> None:
    """shutdown(wait=True) under a lock that a job wants is a deadlock of lock and join."""
    assert told(
        """
from concurrent.futures import ThreadPoolExecutor
lock = fastlock.RLock(name="lock")
def wants():
    with lock: pass
def closes():
    with lock:
        pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        pool.submit(wants)
        blocked("jobs_0")
        pool.shutdown()
start(closes)
tell(shape(found("FL001")[0]))
"""
    ) == ["FL001", "proven", [["closes", "end of jobs_0"], ["jobs_0", "lock"]]]


def test_a_signal_handler_inside_of_a_join_runs() -> None:
    """While a handler runs in the middle of the main thread's join, the main thread counts as running; its own waits count as such."""
    assert told(
        """
lock = fastlock.RLock(name="lock")
in_handler, wanted = threading.Event(), threading.Event()
seen = []
def wants():
    in_handler.wait()
    with lock: pass
def handler(number, frame):
    with lock:
        in_handler.set()
        blocked("wants")
        seen.append(len(fastlock.findings()) + len(fastlock.find_deadlocks()))
signal.signal(signal.SIGUSR1, handler)
thread = start(wants)
def sends():
    wait_until(waits)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
start(sends)
thread.join()
tell([seen, thread.is_alive(), len(fastlock.findings()), len(waits())])
"""
    ) == [[0], False, 0, 0]


def test_ctrl_c_ends_a_join() -> None:
    """An exception of a signal handler ends the join as before, and nothing is left in the table."""
    assert told(
        """
go_on = threading.Event()
thread = start(go_on.wait)
def sends():
    wait_until(waits)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
start(sends)
said = []
try:
    thread.join()
except KeyboardInterrupt:
    said = [len(waits())]       # up to 3.12 the thread counts as ended from here on
go_on.set()
thread.join()
tell([said, thread.is_alive()])
"""
    ) == [[0], False]


def test_a_fork_in_the_middle() -> None:
    """The child of a fork has no joins of the threads that it does not have, and joins its own."""
    assert told(
        """
import os
go_on = threading.Event()
thread = start(go_on.wait)
joiner = start(thread.join)
wait_until(waits)
pid = os.fork()
if pid == 0:
    try:
        left = len(waits())
        mine = start(lambda: None, name="mine")
        mine.join()
        os._exit(left + mine.is_alive())
    finally:
        os._exit(9)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
go_on.set()
joiner.join()
tell([status, len(waits())])
""",
        through=("-W", "ignore"),
    ) == [0, 0]


def test_a_long_join_calls_for_a_look() -> None:
    """A join without a limit that lasts for longer than slow_wait has somebody look, once, and goes on."""
    assert told(
        """
from fastlock import _block
late = []
_block.set_late_waker(lambda: late.append(threading.current_thread().name))
fastlock.configure(slow_wait=0.05)
go_on = threading.Event()
thread = start(go_on.wait)
def joins():
    thread.join()
joiner = start(joins)
wait_until(lambda: "joins" in late)
alive = [thread.is_alive(), joiner.is_alive(), len(waits())]
go_on.set()
joiner.join()
tell([alive, late.count("joins"), thread.is_alive()])
"""
    ) == [[True, True, 1], 1, False]


def test_the_end_of_the_interpreter_waits_as_before() -> None:
    """Threads that are not daemons are waited for at the end, and what they do is done."""
    assert told(
        """
import atexit
go_on = threading.Event()
def last():
    go_on.wait()
    tell("done")
thread = threading.Thread(target=last)
thread.start()
go_on.set()
"""
    ) == "done"


def test_outside_sees_a_join() -> None:
    """A dump of the process from outside names the call, the thread and who brings its end."""
    assert told(
        """
import json, os, subprocess
lock = fastlock.RLock(name="lock")
go_on = threading.Event()
def worker():
    with lock: go_on.wait()
thread = start(worker)
def joins(): thread.join()
joiner = start(joins)
wait_until(waits)
dump = json.loads(subprocess.run([sys.executable, "-m", "fastlock", "dump", str(os.getpid()), "--json"], capture_output=True, text=True).stdout)
names = {agent["id"]: agent["name"] for agent in dump["agents"]}
locks = {lock["id"]: lock for lock in dump["locks"]}
said = [(wait["what"], names[wait["agent"]], locks[wait["lock"]]["name"], locks[wait["lock"]]["kind"], names.get(wait["owner"]))
        for wait in dump["waits"] if wait["what"] in ("Thread.join", "Popen.wait")]
own = {agent.id: agent.name for agent in fastlock.snapshot().agents}
inside = [(wait.what, own.get(wait.owner)) for wait in waits()]
go_on.set()
joiner.join()
tell([sorted(said)[-1], inside])
""",
        timeout_s=60,
    ) == [["Thread.join", "joins", "end of worker", "Result", "worker"], [["Thread.join", "worker"]]]


