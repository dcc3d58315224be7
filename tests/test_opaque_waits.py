"""SimpleQueue.get and the end of a process: shown while they block, and otherwise what they were."""

from __future__ import annotations

from support import ask

INSTALLED = """
import gc, os, pickle, queue, signal, subprocess, sys, weakref
before = [queue.SimpleQueue]      # a global of the very class would be replaced
fastlock.install()
def waits(what):
    return [wait for wait in fastlock.snapshot().waits if wait.what == what]
def caught(call, *arguments, **words):
    try:
        return call(*arguments, **words)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


def told(source: str, **options: object) -> object:
    """Run a program that has installed fastlock; return what it told."""
    return ask(INSTALLED + source, **options)


def test_a_queue_is_c_s_own() -> None:
    """Items, order, limits, errors, looks and subclasses are those of queue.SimpleQueue; one from before works on."""
    assert told(
        """
def use(cls):
    q = cls()
    q.put(1); q.put(2, True, 5); q.put_nowait(3)
    said = [q.qsize(), q.get(), q.get(True), q.get(block=True, timeout=3), q.empty()]
    said += [caught(q.get, False), caught(q.get, True, 0.001), caught(q.get, True, 0), caught(q.get, timeout=-1), caught(q.get, True, "x"),
             caught(q.get_nowait), caught(q.get, 0), caught(q.get, 1, 0.001), caught(q.get, 1, 2, 3).partition(":")[0]]
    q.put(None)
    said += [q.get(timeout=None), cls.__name__, cls.__module__, repr(q).partition(" at ")[0], caught(pickle.dumps, q).partition(":")[0],
             type(weakref.ref(q)).__name__, caught(setattr, q, "x", 1).partition(":")[0], cls[int] is not None, isinstance(q, before[0])]
    class Mine(cls):
        extra = 1
    mine = Mine()
    mine.x = 4
    mine.put(5)
    return said + [mine.get(), mine.x]
ours, theirs = use(queue.SimpleQueue), use(before[0])
tell([ours == theirs or repr([ours, theirs]), queue.SimpleQueue is before[0], len(waits("SimpleQueue.get"))])
"""
    ) == [True, False, 0]


def test_a_get_that_blocks_is_shown() -> None:
    """A thread in get() is in the table until an item comes, its time is over or a handler raises; a long one has somebody look."""
    assert told(
        """
from fastlock import _block
late, got = [], []
_block.set_late_waker(lambda: late.append(threading.current_thread().name))
fastlock.configure(slow_wait=0.05)
q = queue.SimpleQueue()
def gets(): got.append(q.get())
def gets_in_time(): got.append(caught(q.get, timeout=0.2))
threads = [start(gets), start(gets_in_time)]
wait_until(lambda: "gets" in late)
kinds = [lock.kind for lock in fastlock.snapshot().locks if lock.name == "SimpleQueue"]
threads[1].join()
said = [len(waits("SimpleQueue.get")), set(kinds) == {"Condition"}, got]
q.put(7)
threads[0].join()
said += [got, len(waits("SimpleQueue.get")), len(fastlock.findings())]
def handler(number, frame): raise InterruptedError("stop")
signal.signal(signal.SIGUSR1, handler)
def sends():
    wait_until(lambda: waits("SimpleQueue.get"))
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
start(sends)
said += [caught(q.get), len(waits("SimpleQueue.get"))]
fastlock.uninstall()
tell(said + [queue.SimpleQueue is before[0]])
"""
    ) == [1, True, ["Empty: ", 7], ["Empty: ", 7], 0, 0, "InterruptedError: stop", 0, True]


def test_a_process_that_is_waited_for() -> None:
    """Popen.wait is shown with the process's number, ends as before, and who waits for it counts as one who can run."""
    assert told(
        """
lock = fastlock.RLock(name="lock")
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
def waiter():
    with lock: return child.wait()
thread = start(waiter)
wait_until(lambda: waits("Popen.wait"))
def wants():
    with lock: pass
other = start(wants)
blocked("wants")
shown = [(lock.name == f"process {child.pid}", lock.kind, lock.owner) for lock in fastlock.snapshot().locks if lock.name.startswith("process")]
said = [shown, len(fastlock.find_deadlocks()), caught(child.wait, 0.01).partition(":")[0]]
child.communicate(b"x\\n")
thread.join(); other.join()
said += [child.wait(), child.wait(timeout=1), len(waits("Popen.wait")), subprocess.run([sys.executable, "-c", "raise SystemExit(3)"]).returncode,
         caught(subprocess.run, [sys.executable, "-c", "import signal; signal.pause()"], timeout=0.01).partition(":")[0]]
ours = subprocess.Popen._wait
fastlock.uninstall()
tell(said + [subprocess.Popen._wait is ours, subprocess.Popen._wait.__qualname__])
"""
    ) == [[[True, "Wait", None]], 0, "TimeoutExpired", 0, 0, 0, 3, "TimeoutExpired", False, "Popen._wait"]
