"""fastlock.waiting_for: what a program says that it waits for, in threads and tasks, with and without somebody who ends it."""

from __future__ import annotations

from support import ask

INSTALLED = """
import asyncio, contextlib, signal, time
fastlock.install()
def declared():
    table = fastlock.snapshot()
    names, agents = {lock.id: lock for lock in table.locks}, {agent.id: agent.name.partition(" ")[0] for agent in table.agents}
    return sorted([agents[wait.agent], names[wait.lock].name, names[wait.lock].kind] for wait in table.waits if wait.what == "waiting_for")
def shape(finding):
    locks = {lock.id: lock.name for lock in finding.locks}
    agents = {agent.id: agent.name.partition(" ")[0] for agent in finding.agents}
    return [finding.code, finding.tier, sorted((agents[edge.agent], locks.get(edge.waits, "")) for edge in finding.edges)]
def caught(call, *arguments, **words):
    try:
        return call(*arguments, **words)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


def told(source: str, **options: object) -> object:
    """Run a program that has installed fastlock; return what it told."""
    return ask(INSTALLED + source, **options)


def test_what_it_takes() -> None:
    """A name, and threads or tasks; anything else is refused in a line."""
    assert told(
        """
wait = fastlock.waiting_for
tell([caught(wait), caught(wait, 1), caught(wait, b"x"), caught(wait, "x", wakers=1), caught(wait, "x", wakers=[1]),
      caught(wait, "x", wakers=[None]), repr(wait("db", wakers=[threading.current_thread()])), repr(wait("db", wakers=())),
      caught(wait("x").__exit__), caught(wait, "x", [threading.current_thread()])])
"""
    ) == [
        "TypeError: __init__() takes exactly 1 positional argument (0 given)",
        "TypeError: what must be a str, not int",
        "TypeError: what must be a str, not bytes",
        "TypeError: 'int' object is not iterable",
        "TypeError: wakers must be threads or asyncio tasks, not int",
        "TypeError: wakers must be threads or asyncio tasks, not NoneType",
        "<waiting_for 'db'>",
        "<waiting_for 'db'>",
        "RuntimeError: waiting_for() has not been entered",
        "TypeError: __init__() takes exactly 1 positional argument (2 given)",
    ]


def test_it_is_shown_while_it_lasts() -> None:
    """Nested, again inside of itself, by many threads, left by an exception, or in another order: each ends with its block."""
    assert told(
        """
said = []
row = fastlock.waiting_for("row of orders")
with row:
    with fastlock.waiting_for("socket", wakers=[threading.main_thread()]), row:
        said.append(declared())
    said.append(len(declared()))
try:
    with row: raise KeyError
except KeyError:
    said.append(declared())
first, second = fastlock.waiting_for("first"), fastlock.waiting_for("second")
first.__enter__(); second.__enter__(); first.__exit__()
said.append(declared())
lock = fastlock.Lock()
with lock: said.append(len(declared()))
second.__exit__()
said.append(declared())
go_on = threading.Event()
def waits():
    with row: go_on.wait()
threads = [start(waits, name=f"t{number}") for number in range(3)]
blocked("t0", "t1", "t2")
said.append(declared())
go_on.set()
for thread in threads: thread.join()
handed = fastlock.waiting_for("handed over")
handed.__enter__()
ends = start(handed.__exit__)
ends.join()
tell(said + [declared(), ends.error is None])
"""
    ) == [
        [["MainThread", "row of orders", "Wait"], ["MainThread", "row of orders", "Wait"], ["MainThread", "socket", "Result"]],
        1,
        [],
        [["MainThread", "second", "Wait"]],
        1,
        [],
        [["t0", "row of orders", "Wait"], ["t1", "row of orders", "Wait"], ["t2", "row of orders", "Wait"]],
        [],
        True,
    ]


def test_wakers_close_circles_of_threads() -> None:
    """A thread that says it waits for one that wants its lock is in a deadlock as any other; any other waker who can run breaks it."""
    assert told(
        """
lock = fastlock.RLock(name="lock")
def wants():
    with lock: pass
def idles(): threading.Event().wait()
wanting, idle = [], start(idles)
def asks(more=()):
    with lock:
        wanting.append(start(wants))
        blocked("wants")
        with fastlock.waiting_for("reply", wakers=[wanting[-1], *more]): pass
healthy = start(asks, [threading.main_thread()])
wait_until(lambda: not healthy.is_alive())          # in join() this thread would be no waker who can run
unknown = start(asks, [threading.Thread()])
unknown.join()
before = len(fastlock.findings())
stuck = start(asks)
first = shape(found("FL001")[0])
fastlock.configure(on_deadlock="raise")
refused = start(asks)
refused.join()
tell([before, first, type(refused.error).__name__, declared()])
"""
    ) == [0, ["FL001", "proven", [["asks", "reply"], ["wants", "lock"]]], "DeadlockError", []]


def test_tasks() -> None:
    """In a task the task waits, by `with` and `async with`; tasks that wait for each other are a deadlock; nothing is left when they are cancelled."""
    assert told(
        """
fastlock.configure(on_deadlock="raise")
async def main():
    said, mine = [], asyncio.current_task()
    mine.set_name("mine")
    async def other():
        async with fastlock.waiting_for("first", wakers=[mine]):
            await asyncio.Event().wait()
    task = asyncio.create_task(other(), name="other")
    await asyncio.sleep(0)
    with fastlock.waiting_for("plain"):
        await asyncio.sleep(0)
        said.append(declared())
    try:
        async with fastlock.waiting_for("second", wakers=[task]):
            said.append("entered")
    except fastlock.DeadlockError as error:
        said.append("mine waits for second" in str(error).replace('Task "mine"', "mine").replace('task "mine"', "mine"))
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    async with fastlock.waiting_for("third", wakers=[task, done]):
        said.append(len(declared()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    said.append(declared())
    lost = asyncio.create_task(other())
    await asyncio.sleep(0)
    return said
said = asyncio.run(main())
tell([said, declared(), [agent.kind for agent in fastlock.snapshot().agents if agent.kind == "task"]])
"""
    ) == [[[["mine", "plain", "Wait"], ["other", "first", "Result"]], True, 2, []], [], []]


def test_a_circle_that_a_task_closes_later() -> None:
    """A task whose waker comes to await it afterwards is found, a while later, by fastlock's own thread."""
    assert told(
        """
async def main():
    mine, begun = asyncio.current_task(), asyncio.Event()
    async def other():
        async with fastlock.waiting_for("reply", wakers=[mine]):
            begun.set()
            await asyncio.sleep(30)
    task = asyncio.create_task(other())
    await begun.wait()
    await task
def tells():
    tell(shape(found("FL001")[0])[:2])
    import os; os._exit(0)
start(tells)
asyncio.run(main())
"""
    ) == ["FL001", "proven"]


def test_signals_and_conditions_inside() -> None:
    """A condition that is waited for inside is a part of it; a handler's exception ends it; at level off nothing is noted."""
    assert told(
        """
condition, said = fastlock.Condition(), []
lock = fastlock.RLock(name="lock")
def answers():
    with lock: pass
    with condition: condition.notify()
def asks():
    with lock:
        thread = start(answers)
        blocked("answers")
        with fastlock.waiting_for("answer", wakers=[thread]):
            with condition: condition.wait()
start(asks)
first = shape(found("FL001")[0])
class Stop(Exception): pass
def handler(number, frame): raise Stop
signal.signal(signal.SIGUSR1, handler)
try:
    with fastlock.waiting_for("signal"):
        signal.raise_signal(signal.SIGUSR1)
        time.sleep(0)
except Stop:
    said = [row for row in declared() if row[0] == "MainThread"]
fastlock.set_level("off")
with fastlock.waiting_for("nothing"):
    off = [row for row in declared() if row[0] == "MainThread"]
    fastlock.set_level("detect")
tell([first, said, off, [row for row in declared() if row[0] == "MainThread"]])
"""
    ) == [["FL001", "proven", [["answers", "lock"], ["asks", "answer"]]], [], [], []]
