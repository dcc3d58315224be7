"""Circles in which tasks are: what a suspended one holds, what it awaits, and silence where it will go on."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from support import PRELUDE, answer, run_program

LOOPS = """
import asyncio, contextlib, gc, os, time
from fastlock import aio

async def until(condition):
    while not condition():
        await asyncio.sleep(0)

def codes():
    return [finding.code for finding in fastlock.findings()]

async def told(*wanted):
    while not set(wanted) <= set(codes()):
        await asyncio.sleep(0.001)
    return [finding.to_dict() for finding in fastlock.findings()]
"""
since_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup are 3.11's")


def run(source: str, **options: Any) -> Any:
    """Run a program after PRELUDE and LOOPS."""
    import textwrap

    return run_program(PRELUDE + LOOPS + textwrap.dedent(source), **options)


def ask(source: str, **options: Any) -> Any:
    """Run a program that ends with tell(); return what it told."""
    return answer(run(source, **options))


def names(finding: dict[str, Any]) -> list[str]:
    """Return who is in a circle, in its order."""
    by_id = {agent["id"]: agent["name"] for agent in finding["agents"]}
    return [by_id[edge["agent"]] for edge in finding["edges"]]


def locks(finding: dict[str, Any], key: str) -> list[str | None]:
    """Return the names of what is held (key "holds") or waited for ("waits"), in the circle's order."""
    by_id = {lock["id"]: lock["name"] for lock in finding["locks"]}
    return [by_id.get(edge[key]) for edge in finding["edges"]]


# ---- a synchronous lock held across await -------------------------------------------------------------

ACROSS = """
fastlock.configure(on_deadlock="{policy}")
ledger = fastlock.Lock()

async def settle():
    await asyncio.sleep(1000)

async def keeper():
    with ledger:
        await settle()

async def wants():
    await until(ledger.locked)
    try:
        with ledger:
            tell("not reached")
    except fastlock.DeadlockError as error:
        return error

async def main():
    idle = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(7)]
    kept = asyncio.create_task(keeper(), name="the keeper")
    error = await asyncio.create_task(wants(), name="the taker")
    kept.cancel()
    await asyncio.wait([kept])
    assert not ledger.locked()
    tell([error.finding.to_dict(), str(error.finding), str(error), [finding.code for finding in fastlock.find_deadlocks()]])

asyncio.run(main())
"""


def test_the_suspended_holder_of_a_synchronous_lock_is_named() -> None:
    """The task that blocks its own loop ends with status 3; both tasks, the line of the await, and what stands still are told."""
    done = run(ACROSS.format(policy="exit"))
    assert done.returncode == 3, done.stderr
    page = done.stderr[done.stderr.index("FL001 deadlock: 2 agents, 1 lock") :]
    for told in (
        'task "the taker" ── waits ──▶ ledger ── held by ──▶ task "the keeper"',
        "stopped by ──── its loop",
        'task "the keeper"    loop of MainThread',
        "a synchronous lock inside a task: this loop is stopped, 9 tasks with it",
        "await settle()",
        "await asyncio.sleep(1000)",
        "FL005: ledger is a synchronous lock that is held across await",
        "make ledger a fastlock.aio.Lock, or release it before the await",
    ):
        assert told in page, page
    assert "FL002" not in done.stderr and "Traceback" not in done.stderr


def test_raise_raises_inside_the_task_that_would_stop_its_loop() -> None:
    """The exception comes in the task that wants the lock; the loop goes on, and afterwards there is nothing to find."""
    finding, text, error, after = ask(ACROSS.format(policy="raise"))
    assert (finding["code"], finding["tier"], finding["clears"]) == ("FL001", "proven", False)
    assert names(finding) == ["the taker", "the keeper"]
    taker, keeper = finding["agents"]
    assert (taker["kind"], taker["loop"], keeper["kind"], keeper["loop"]) == ("task", "MainThread", "task", "MainThread")
    assert [frame["text"] for frame in keeper["stack"]][:2] == ["await settle()", "await asyncio.sleep(1000)"]
    assert taker["stack"][-1]["text"] == "with ledger:"
    assert (locks(finding, "holds"), locks(finding, "waits")) == ([None, "ledger"], ["ledger", None])
    assert "confirmed twice" in text and "the keeper" in error
    assert after == []


HOLDERS = {
    "contextmanager": "with managed(): await forever()",
    "contextmanager in contextmanager": "with outer(): await forever()",
    "ExitStack": "with contextlib.ExitStack() as stack: stack.enter_context(managed()); await forever()",
    "AsyncExitStack": "async with contextlib.AsyncExitStack() as stack: stack.enter_context(managed()); await forever()",
    "asynccontextmanager": "async with async_managed(): await forever()",
    "a function that takes it": "take(); await forever()",
    "a class with __enter__": "with Managed(): await forever()",
    "an async generator": "[None async for _ in generate()]",
    "an await deeper": "await deeper()",
    "a coroutine that is awaited twice removed": "await asyncio.wait_for(deeper(), 1000)",
}


@pytest.mark.parametrize("body", HOLDERS.values(), ids=HOLDERS)
def test_a_holder_is_found_however_it_took_the_lock(body: str) -> None:
    """Context managers, stacks of them, generators, helpers: the task is named, of several that do the same."""
    finding = ask(
        f"""
        fastlock.configure(on_deadlock="raise")
        lock = fastlock.Lock()
        def take(): lock.acquire()
        take(); lock.release()      # its owner releases it: evidence
        async def forever(): await asyncio.sleep(1000)
        async def deeper():
            with lock: await forever()
        @contextlib.contextmanager
        def managed():
            with lock: yield
        @contextlib.contextmanager
        def outer():
            with managed(): yield
        @contextlib.asynccontextmanager
        async def async_managed():
            with lock: yield
        async def generate():
            with lock:
                await forever()
                yield
        class Managed:
            def __enter__(self): lock.acquire()
            def __exit__(self, *error): lock.release()
        async def holder():
            {body}
        async def taker():
            with lock: pass
        async def main():
            others = [asyncio.create_task(forever()) for _ in range(5)]
            held = asyncio.create_task(holder(), name="the holder")
            await until(lock.locked)
            others += [asyncio.create_task(forever()) for _ in range(5)]
            await asyncio.sleep(0.001)
            try:
                await asyncio.create_task(taker(), name="the taker")
            except fastlock.DeadlockError as error:
                tell(error.finding.to_dict())
        asyncio.run(main())
        """
    )
    if "wait_for" in body and sys.version_info < (3, 12):
        # The lock is the inner task's.
        assert names(finding)[0] == "the taker" and names(finding)[1].endswith("(deeper)")
    else:
        assert names(finding) == ["the taker", "the holder"]
    assert locks(finding, "holds") == [None, "lock"]


# ---- what tasks await -------------------------------------------------------------------------------------

AWAITS = {
    "a task": "await asyncio.create_task(child())",
    "gather": "await asyncio.gather(asyncio.sleep(1000), child())",
    "wait": "await asyncio.wait([asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(child())])",
    "shield": "await asyncio.shield(child())",
    "wait_for without a limit": "await asyncio.wait_for(child(), None)",
    "a gather in a task in a shield": "await asyncio.shield(asyncio.create_task(of_all(asyncio.sleep(1000), child())))",
    "acquire() in a task": "await asyncio.create_task(lock.acquire())",
}
if sys.version_info >= (3, 11):
    AWAITS["a task group"] = "async with asyncio.TaskGroup() as group: group.create_task(child())"


@pytest.mark.parametrize("body", AWAITS.values(), ids=AWAITS)
def test_who_awaits_a_task_waits_for_what_that_one_waits_for(body: str) -> None:
    """A parent holds a lock and awaits, in whatever way, the end of a child that wants it: found when the child wants it."""
    finding, ended = ask(
        f"""
        fastlock.configure(on_deadlock="raise")
        lock = aio.Lock()
        async def of_all(*those): await asyncio.gather(*those)
        async def child():
            async with lock: pass
        async def parent():
            async with lock:
                {body}
        async def main():
            task = asyncio.create_task(parent(), name="the parent")
            await asyncio.wait([task], timeout=60)
            tell([found()[0].to_dict(), task.done()])
        asyncio.run(main())
        """
    )
    assert finding["tier"] == "proven" and ended
    assert finding["code"] == ("FL001" if len(names(finding)) > 1 else "FL002")
    if len(names(finding)) > 1:         # not where it has run the child itself
        edge = finding["edges"][names(finding).index("the parent")]
        assert edge["waits"] is None and edge["wanted_at"]["function"].rpartition(".")[2] == "parent"
        assert locks(finding, "waits")[0] == "lock" and edge["holds"] == finding["locks"][0]["id"]


def test_a_lock_acquired_through_a_wrapper_belongs_to_who_called() -> None:
    """Two tasks acquire crosswise, each through another task; the wrappers wait, and the owners wait for them."""
    finding = ask(
        """
        fastlock.configure(on_deadlock="raise")
        left, right = aio.Lock(), aio.Lock()
        async def member(mine, other):
            await asyncio.create_task(mine.acquire())
            await until(lambda: left.locked() and right.locked())
            await asyncio.gather(other.acquire())
        async def main():
            tasks = [asyncio.create_task(member(left, right), name="one"), asyncio.create_task(member(right, left), name="two")]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            assert [type(task.exception()) for task in done] == [fastlock.DeadlockError]
            tell(found()[0].to_dict())
        asyncio.run(main())
        """
    )
    assert (finding["code"], finding["tier"], len(finding["edges"])) == ("FL001", "proven", 4)
    assert {"one", "two"} < set(names(finding))
    assert sorted(filter(None, locks(finding, "holds"))) == sorted(filter(None, locks(finding, "waits"))) == ["left", "right"]


# ---- loops and threads -------------------------------------------------------------------------------------

def test_two_loops_that_hold_a_synchronous_lock_across_await_each() -> None:
    """A task of each loop holds a lock over a suspension, and another one of each blocks on the other loop's: four tasks."""
    finding = ask(
        """
        a, b = fastlock.Lock(), fastlock.Lock()
        both = threading.Barrier(2)
        async def keep(lock):
            with lock: await asyncio.sleep(1000)
        async def want(lock, others):
            both.wait()
            if others: blocked(*others)
            with lock: pass
        async def main(mine, other, others):
            kept = asyncio.create_task(keep(mine), name=f"{threading.current_thread().name} keeps")
            await until(mine.locked)
            await asyncio.create_task(want(other, others), name=f"{threading.current_thread().name} wants")
        def run(*what): asyncio.run(main(*what))
        def blocked(name):
            wait_until(lambda: any(wait.lock and wait.what for wait in fastlock.snapshot().waits))
        start(run, a, b, [], name="loop-a")
        start(run, b, a, ["loop-a"], name="loop-b")
        tell(found("FL001")[0].to_dict())
        """
    )
    assert (finding["tier"], len(finding["edges"])) == ("proven", 4)
    assert names(finding) == ["loop-b wants", "loop-a keeps", "loop-a wants", "loop-b keeps"]
    assert [agent["loop"] for agent in finding["agents"]] == ["loop-b", "loop-a", "loop-a", "loop-b"]
    assert (locks(finding, "holds"), locks(finding, "waits")) == ([None, "a", None, "b"], ["a", None, "b", None])
    assert "the loop of loop-a is stopped, 2 tasks with it" in finding["reasons"]


def test_a_thread_waits_for_a_task_that_is_suspended_in_a_loop_that_runs() -> None:
    """Thread, synchronous lock, suspended task, asyncio's lock, task, its loop's thread, the thread's lock: in one ring."""
    finding = ask(
        """
        outer, inner, cell = fastlock.Lock(), aio.Lock(), fastlock.Lock()
        ready = threading.Event()
        async def keeper():
            with cell:
                async with inner: pass
        async def closer():
            async with inner:
                await until(cell.locked)
                ready.set()
                blocked("stranger")
                with outer: pass
        def stranger():
            with outer:
                ready.wait()
                with cell: pass
        async def main():
            closing = asyncio.create_task(closer(), name="closer")
            await until(inner.locked)
            await asyncio.gather(closing, asyncio.create_task(keeper(), name="keeper"))
        start(stranger)
        start(lambda: asyncio.run(main()), name="loop")
        tell([found("FL001")[0].to_dict(), str(found("FL001")[0])])
        """
    )
    finding, text = finding
    assert finding["tier"] == "proven"
    told = list(zip(names(finding), locks(finding, "holds"), locks(finding, "waits")))
    first = [name for name, _, _ in told].index("closer")  # the stranger looks again by itself, and may come before
    assert told[first:] + told[:first] == [("closer", None, "outer"), ("stranger", "outer", "cell"), ("keeper", "cell", None)]
    assert "loop of loop" in text


def test_a_thread_closes_the_circle_while_the_loop_is_idle() -> None:
    """The holder of a synchronous lock is suspended on a thread's work, which then wants that very lock: nothing of the loop's is blocked."""
    finding = ask(
        """
        fastlock.install()
        cell = fastlock.Lock()
        going = threading.Event()
        begun = threading.Event()
        def work():
            begun.set()
            going.wait()
            with cell: pass
        async def keeper():
            with cell: await asyncio.to_thread(work)
        async def main():
            task = asyncio.create_task(keeper(), name="keeper")
            await until(begun.is_set)
            going.set()
            await task
        start(lambda: asyncio.run(main()), name="loop")
        tell(found("FL001")[0].to_dict())
        """
    )
    assert (finding["tier"], names(finding)[1:]) == ("proven", ["keeper"])
    assert (locks(finding, "holds"), locks(finding, "waits")) == ([None, "cell"], ["cell", None])
    assert finding["edges"][1]["wanted_at"]["function"].endswith("keeper")


# ---- tasks that have ended ------------------------------------------------------------------------------------

ENDS = {"returns": "return", "raises": "raise ValueError", "is cancelled": "await asyncio.sleep(1000)"}


@pytest.mark.parametrize("late", [False, True], ids=["while somebody waits", "before somebody waits"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_task_that_ends_with_a_lock_leaves_it_abandoned(end: str, late: bool) -> None:
    """Whoever waits already is told at once, whoever comes later when it starts to wait; the policy raises in each."""
    findings, errors, seen, stack = ask(
        f"""
        fastlock.configure(on_deadlock="raise")
        lock = aio.Lock()
        async def owner(go):
            await lock.acquire()
            await go.wait()
            {end}
        async def waiter():
            async with lock: pass
        async def main():
            go = asyncio.Event()
            owning = asyncio.create_task(owner(go), name="the owner")
            await until(lock.locked)
            waiting = [] if {late} else [asyncio.create_task(waiter()) for _ in range(2)]
            await asyncio.sleep(0)
            go.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            owning.cancel()
            await asyncio.wait([owning])
            waiting = waiting or [asyncio.create_task(waiter()) for _ in range(2)]
            await asyncio.wait(waiting, timeout=60)
            errors = [type(task.exception()).__name__ for task in waiting]
            wait_until(lambda: found("FL003")[0].count == 2)
            kept = [finding.to_dict() for finding in fastlock.findings()]
            lock.release()              # another one may; then it is a signal
            async with lock: pass
            tell([kept, errors, str(fastlock.findings()[0]), [frame["text"] for frame in kept[0]["agents"][0]["stack"]]])
        asyncio.run(main())
        """
    )
    assert [finding["code"] for finding in findings] == ["FL003"]
    assert (findings[0]["tier"], findings[0]["count"]) == ("proven", 2)
    assert errors == ["DeadlockError", "DeadlockError"]
    assert "that task has ended and left it locked" in findings[0]["explanation"]
    assert 'task "the owner"' in seen and "ended" in seen
    assert stack[-1] == "async with lock: pass"


def test_a_child_of_a_fork_lacks_the_tasks_of_its_parent() -> None:
    """In the child a lock that another task held is a fork orphan; the forking task's own locks are its own."""
    status, text = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock, own = aio.Lock(), aio.Lock()
        async def owner():
            async with lock: await asyncio.sleep(1000)
        async def late(lock):
            async with lock: pass
        async def main():
            asyncio.create_task(owner())
            await until(lock.locked)
            read, write = os.pipe()
            async with own:
                child = os.fork()
                if child == 0:
                    coroutine = late(lock)
                    asyncio._set_running_loop(None)
                    said = "nothing"
                    try:
                        asyncio.run(asyncio.wait_for(late(own), 0.05))
                    except TimeoutError:
                        said = "timeout"
                    except BaseException as error:
                        said = repr(error)
                    try:
                        asyncio.run(coroutine)
                    except fastlock.DeadlockError as error:
                        said += " " + error.finding.code
                    os.write(write, said.encode())
                    os._exit(0)
                _, status = os.waitpid(child, 0)
                tell([status, os.read(read, 1000).decode()])
        asyncio.run(main())
        """
    )
    assert status == 0
    assert text.endswith(" FL004"), text
    assert text.startswith(("timeout", "TimeoutError")), text


@pytest.mark.parametrize("waits", ["with cell: pass", "cell.acquire()"])
def test_a_task_closes_a_circle_by_awaiting_the_work_that_waits_for_its_lock(waits: str) -> None:
    """The thread was blocked first, by a task that still ran: it looks again by itself, long before its wait is slow."""
    finding = ask(
        f"""
        fastlock.install()
        fastlock.configure(slow_wait=1000)
        cell = fastlock.RLock()
        def work():
            {waits}
        async def main():
            with cell:
                job = asyncio.get_running_loop().run_in_executor(None, work)
                wait_until(lambda: fastlock.snapshot().waits)
                await job
        start(lambda: asyncio.run(main()), name="loop")
        tell(found("FL001")[0].to_dict())
        """
    )
    assert (finding["tier"], locks(finding, "holds"), locks(finding, "waits")) == ("proven", [None, "cell"], ["cell", None])


def test_a_task_closes_a_circle_by_awaiting_a_task_that_waits_for_its_lock() -> None:
    """The same between tasks: nobody's thread is blocked, so fastlock's own looks again."""
    finding = ask(
        """
        fastlock.configure(slow_wait=1000)
        cell = aio.Lock()
        async def wants():
            async with cell: pass
        async def main():
            async with cell:
                task = asyncio.create_task(wants(), name="late")
                await until(lambda: cell._waiters)
                await task
        start(lambda: asyncio.run(main()), name="loop")
        tell(found("FL001")[0].to_dict())
        """
    )
    assert (finding["tier"], names(finding)[0]) == ("proven", "late")


# ---- what will clear, and what is no circle ---------------------------------------------------------------------

LIMITS = {
    "a limit of wait_for": "await asyncio.wait_for(take(other), 50)",
    "a timer that cancels the task": "asyncio.get_running_loop().call_later(50, asyncio.current_task().cancel); await take(other)",
    "a limit of wait_for around a task": "await asyncio.wait_for(asyncio.gather(take(other)), 50)",
}
if sys.version_info >= (3, 11):
    LIMITS["asyncio.timeout"] = "async with asyncio.timeout(50): await take(other)"
    LIMITS["asyncio.timeout around another task"] = "async with asyncio.timeout(50): await asyncio.create_task(take(other))"


@pytest.mark.parametrize("last", ["limited", "unlimited"])
@pytest.mark.parametrize("body", LIMITS.values(), ids=LIMITS)
def test_a_circle_with_a_limit_in_it_will_clear(body: str, last: str) -> None:
    """Whoever gives up by itself is named with the time that is left, and no policy acts; also where it closes the circle and so runs."""
    finding, text = ask(
        f"""
        fastlock.configure(on_deadlock="raise")
        left, right = aio.Lock(), aio.Lock()
        async def take(lock):
            async with lock: pass
        async def turn(who, mine):
            await until(lambda: mine._waiters if who == {last!r} else left.locked() and right.locked())
        async def limited(mine, other):
            async with mine:
                await turn("limited", mine)
                {body}
        async def unlimited(mine, other):
            async with mine:
                await turn("unlimited", mine)
                await take(other)
        async def main():
            tasks = [asyncio.create_task(limited(left, right)), asyncio.create_task(unlimited(right, left))]
            await until(lambda: codes() or any(task.done() for task in tasks))
            assert not any(task.done() for task in tasks)
            tell([fastlock.findings()[0].to_dict(), str(fastlock.findings()[0])])
        asyncio.run(main())
        """
    )
    assert (finding["code"], finding["tier"], finding["clears"]) == ("FL001", "will-clear", True)
    assert "gives up in 50s" in text


@since_311
def test_a_lock_wanted_again_within_a_timeout_will_clear() -> None:
    """The task runs when it closes the circle of one: its timeout is known by the timer."""
    finding, text = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock = aio.RWLock()
        async def main():
            with contextlib.suppress(TimeoutError):
                async with lock.write(), asyncio.timeout(0.05), lock.read(): pass
            tell([found("FL002")[0].to_dict(), str(found("FL002")[0])])
        asyncio.run(main())
        """
    )
    assert (finding["tier"], "callback" in text) == ("will-clear", False)


def test_a_cancellation_that_is_due_clears_a_circle() -> None:
    """A task awaits one that wants its lock and is to be cancelled in this very turn of the loop: nothing is raised."""
    tier, ended = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock = aio.Lock()
        async def main():
            async with lock:
                task = asyncio.create_task(lock.acquire())
                asyncio.get_running_loop().call_soon(task.cancel)
                await asyncio.wait([task])
            tell([found("FL001")[0].tier, task.cancelled()])
        asyncio.run(main())
        """
    )
    assert (tier, ended) == ("will-clear", True)


def test_a_limit_does_not_help_in_a_loop_that_is_stopped() -> None:
    """The timeout of a task fires in its loop: where that one stands still the circle is proven."""
    finding = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock = fastlock.Lock()
        async def keeper():
            with lock: await asyncio.wait_for(asyncio.sleep(1000), 5)
        async def taker():
            try:
                with lock: pass
            except fastlock.DeadlockError as error:
                tell(error.finding.to_dict())
        async def main():
            kept = asyncio.create_task(keeper())
            await until(lock.locked)
            await asyncio.wait_for(taker(), 5)
        asyncio.run(main())
        """
    )
    assert (finding["tier"], finding["clears"]) == ("proven", False)


QUIET = {
    "a holder that sleeps": "async with lock: await asyncio.sleep(0.01)",
    "a holder that awaits a task that sleeps": "async with lock: await asyncio.create_task(asyncio.sleep(0.01))",
    "a holder that awaits a future of a thread": "async with lock: await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)",
    "a holder that gathers": "async with lock: await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0))",
    "a holder that awaits one of two": "async with lock: await asyncio.wait([asyncio.create_task(wants()), asyncio.create_task(asyncio.sleep(0.01))],"
    " return_when=asyncio.FIRST_COMPLETED)",
    "a holder that does not await who wants": "async with lock: task = asyncio.create_task(wants()); await asyncio.sleep(0.01)",
    "a holder that awaits an event": "async with lock: asyncio.get_running_loop().call_later(0.01, event.set); await event.wait()",
    "a holder that a thread resumes": "async with lock: threading.Timer(0.01, loop.call_soon_threadsafe, [event.set]).start(); await event.wait()",
    "a synchronous lock across await that nobody of the loop wants": "sync.acquire(); await asyncio.sleep(0.01); sync.release()",
}


@pytest.mark.parametrize("body", QUIET.values(), ids=QUIET)
def test_a_holder_that_goes_on_is_no_finding(body: str) -> None:
    """Tasks and a thread wait for a holder that is suspended on what will happen: nothing is found, and everybody gets the lock."""
    found = ask(
        f"""
        lock, sync, event = aio.Lock(), fastlock.Lock(), asyncio.Event()
        async def wants():
            async with lock: pass
        async def holder(loop):
            {body}
        def stranger():
            for _ in range(100):
                with sync: pass
        async def main():
            loop = asyncio.get_running_loop()
            for _ in range(3):
                event.clear()
                tasks = [asyncio.create_task(coroutine) for coroutine in (holder(loop), wants(), wants())]
                await asyncio.sleep(0)
                thread = start(stranger)
                await asyncio.wait(tasks)
                await until(lambda: not thread.is_alive())
                assert [task.exception() for task in tasks] == [None] * 3 and thread.error is None
            tell([codes(), [finding.code for finding in fastlock.find_deadlocks()]])
        asyncio.run(main())
        """
    )
    assert found == [["FL005"] if "sync." in body else [], []]


def test_a_gate_of_asyncios_keeps_tasks_apart() -> None:
    """Two orders of two locks under a third one: nobody ever waits in a circle."""
    assert ask(
        """
        gate, left, right = aio.Lock(), aio.Lock(), aio.Lock()
        async def member(one, other):
            for _ in range(20):
                async with gate, one:
                    await asyncio.sleep(0)
                    async with other: await asyncio.sleep(0)
        async def main():
            await asyncio.gather(member(left, right), member(right, left), member(left, right))
            tell(codes())
        asyncio.run(main())
        """
    ) == []


def test_the_holder_among_ten_thousand_tasks_is_found_in_bounded_time() -> None:
    """A find looks at each task of the one loop once a round; it is told in less than a second, and nothing is left in the table."""
    took, holders, agents = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock = fastlock.Lock()
        async def idle(): await asyncio.sleep(1000)
        async def deep(): await idle()
        async def keeper():
            with lock: await idle()
        async def taker():
            begun = time.perf_counter()
            try:
                with lock: pass
            except fastlock.DeadlockError as error:
                return time.perf_counter() - begun, error.finding
        async def main():
            tasks = [asyncio.create_task(deep()) for _ in range(10000)]
            kept = asyncio.create_task(keeper(), name="keeper")
            await until(lock.locked)
            took, finding = await taker()
            agents = [agent.name for agent in finding.agents]
            del finding
            fastlock.snapshot()
            gc.collect()
            tell([took, agents, len(fastlock.snapshot().agents)])
        asyncio.run(main())
        """
    )
    assert took < 1.0
    assert holders[1] == "keeper"
    assert agents < 20


# ---- waits that are no circle ----------------------------------------------------------------------------------

def test_a_lock_timeout_names_the_task_that_owns_the_lock() -> None:
    """A task's limit and a thread's: the owner is a task, of asyncio's lock and, suspended, of a synchronous one."""
    texts = ask(
        """
        fastlock.configure(acquire_timeout=0.01)
        own, sync = aio.Lock(), fastlock.Lock()
        async def owner():
            async with own:
                with sync: await asyncio.sleep(1000)
        def stranger(said):
            try:
                sync.acquire()
            except fastlock.LockTimeout as error:
                said.append([str(error), error.owner])
        async def main():
            asyncio.create_task(owner(), name="the owner")
            await until(sync.locked)
            said = []
            try:
                await own.acquire()
            except fastlock.LockTimeout as error:
                said.append([str(error), error.owner])
            await asyncio.to_thread(stranger, said)
            tell(said)
        asyncio.run(main())
        """
    )
    assert [owner for _, owner in texts] == ['task "the owner"'] * 2
    assert all('held by task "the owner" since program.py:' in text for text, _ in texts)


def test_a_long_wait_names_the_suspended_holder() -> None:
    """FL020 of a thread: who holds the lock is a task that sleeps, and where it does."""
    finding, text = ask(
        """
        fastlock.configure(slow_wait=0.01)
        lock = fastlock.Lock()
        async def owner():
            with lock: await asyncio.sleep(1000)
        async def main():
            asyncio.create_task(owner(), name="the owner")
            await until(lock.locked)
            start(lock.acquire, name="stranger")
            await told("FL020")
            finding = next(finding for finding in fastlock.findings() if finding.code == "FL020")
            tell([finding.to_dict(), str(finding)])
        asyncio.run(main())
        """
    )
    assert [agent["name"] for agent in finding["agents"]] == ["stranger", "the owner"]
    assert [frame["function"].rpartition(".")[2] for frame in finding["agents"][1]["stack"]][:1] == ["owner"]
    assert 'held by task "the owner"' in text


def test_an_owner_that_has_been_waited_for_before_says_that_it_ends() -> None:
    """A task lets go one lock that others wait for, and ends with another one: who waits for that one is told at once, and the policy raises in it."""
    assert ask(
        """
        fastlock.configure(on_deadlock="raise")
        first, second = aio.Lock(name="first"), aio.Lock(name="second")
        async def keeper():
            async with first:
                await until(lambda: first._waiters)
            await second.acquire()
            await until(lambda: second._waiters)
        async def waiter():
            async with first: pass
            await until(second.locked)
            await second.acquire()
        async def main():
            keeping = asyncio.create_task(keeper(), name="keeper")
            await until(first.locked)
            waiting = asyncio.create_task(waiter(), name="waiter")
            await keeping
            await asyncio.wait([waiting], timeout=10)
            return type(waiting.exception()).__name__
        error = asyncio.run(main())
        tell([error, [[f.code, f.locks[0].name] for f in found("FL003")]])
        """
    ) == ["DeadlockError", [["FL003", "second"]]]
