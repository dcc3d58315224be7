"""fastlock.aio.RWLock: shared reads and exclusive writes for tasks, with the rules of the threads' RWLock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import fastlock
from aio_support import cancelled, holders_of, nothing_left, settle, started, waits_of
from fastlock import aio
from support import answer, run_program


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """No test leaves a trace in the table."""
    with nothing_left():
        yield


async def inside(guard: Any, until: asyncio.Event | None = None, log: list[str] | None = None, name: str = "") -> None:
    """Hold a side of the lock until the event is set."""
    async with guard:
        if log is not None:
            log.append(name)
        if until is not None:
            await until.wait()


def test_readers_share_and_writers_do_not() -> None:
    """Many read at once; a writer waits for all of them, and they for the writer."""

    async def main() -> None:
        lock = aio.RWLock(name="rw")
        go = asyncio.Event()
        readers = [await started(inside(lock.read(), go), f"r{number}") for number in range(3)]
        assert lock.readers == 3 and holders_of("rw") == ["r0", "r1", "r2"] and repr(lock).endswith(" [read-locked by 3]>")
        writer = await started(inside(lock.write(), go), "w")
        assert waits_of("w") == ["RWLock.acquire"] and repr(lock).endswith(" [read-locked by 3, waiters:1]>")
        late = await started(inside(lock.read()))
        assert not late.done()  # behind the writer
        go.set()
        await asyncio.gather(writer, late, *readers)
        assert not lock.locked() and lock.readers == 0 and repr(lock).endswith(" [unlocked]>")

    asyncio.run(main())


def test_methods() -> None:
    """acquire_read() and acquire_write() return True; releasing what the task does not have is a RuntimeError."""

    async def main() -> None:
        lock = aio.RWLock()
        assert await lock.acquire_read() is True and await lock.read().acquire() is True and lock.readers == 2
        with pytest.raises(RuntimeError, match="^cannot release un-acquired write lock$"):
            lock.release_write()
        other = await started(released(lock))
        assert str(other.exception()) == "cannot release un-acquired read lock"
        lock.release_read()
        lock.read().release()
        with pytest.raises(RuntimeError, match="^cannot release un-acquired read lock$"):
            lock.release_read()
        assert await lock.acquire_write() is True and repr(lock).endswith(" [write-locked]>")
        lock.release_write()
        assert await lock.write().acquire() is True
        lock.write().release()
        assert not lock.locked()

    asyncio.run(main())


async def released(lock: Any) -> None:
    lock.release_read()


@pytest.mark.parametrize(("prefer", "order"), [("writer", ["w1", "r2", "r3", "w2"]), ("reader", ["r2", "r3", "w1", "w2"])])
def test_preference(prefer: str, order: list[str]) -> None:
    """Writers preferred: nobody passes a waiting writer. Readers preferred: they join those who read."""

    async def main() -> None:
        lock = aio.RWLock(prefer=prefer)
        go = asyncio.Event()
        log: list[str] = []
        tasks = [await started(inside(lock.read(), go))]
        for name in ("w1", "r2", "r3", "w2"):
            guard = lock.write() if name.startswith("w") else lock.read()
            tasks.append(await started(inside(guard, None, log, name)))
        go.set()
        await asyncio.gather(*tasks)
        assert log == order

    asyncio.run(main())


def test_bad_preference() -> None:
    """Another word is a ValueError."""
    with pytest.raises(ValueError, match="prefer='both'"):
        aio.RWLock(prefer="both")


def test_a_writer_that_gives_up_lets_readers_in() -> None:
    """Readers behind a writer that is cancelled go on, though the first reader is still inside."""

    async def main() -> None:
        lock = aio.RWLock()
        go = asyncio.Event()
        first = await started(inside(lock.read(), go))
        writer = await started(inside(lock.write()))
        behind = await started(inside(lock.read()))
        assert not behind.done()
        assert await cancelled(writer)
        await settle()
        assert behind.done() and not first.done()
        go.set()
        await first

    asyncio.run(main())


@pytest.mark.parametrize("side", ["read", "write"])
def test_cancelled_after_it_was_let_in(side: str) -> None:
    """Who has been given the lock and is cancelled before it runs gives it to the next one."""

    async def main() -> None:
        lock = aio.RWLock()
        await lock.acquire_write()
        called = await started(inside(getattr(lock, side)()))
        behind = await started(inside(lock.write()))
        lock.release_write()
        assert lock.locked()
        called.cancel()
        await settle()
        assert called.cancelled() and behind.done() and not lock.locked()

    asyncio.run(main())


def test_the_owner_is_who_asked() -> None:
    """A side belongs to the task that called acquire, whichever task runs it."""

    async def main() -> None:
        asyncio.current_task().set_name("main")
        lock = aio.RWLock(name="asked")
        await asyncio.create_task(as_coroutine(lock.acquire_read()))
        assert holders_of("asked") == ["main"]
        lock.release_read()
        await asyncio.wait_for(lock.acquire_write(), 60)
        assert holders_of("asked") == ["main"]
        lock.release_write()

    asyncio.run(main())


async def as_coroutine(asked: Any) -> Any:
    return await asked


def test_recursive_reads_pass() -> None:
    """A reader may read again, as long as no writer waits; where readers are preferred, also then."""

    async def main() -> None:
        lock = aio.RWLock()
        async with lock.read(), lock.read():
            assert lock.readers == 2
        preferred = aio.RWLock(prefer="reader")
        async with preferred.read():
            writer = await started(inside(preferred.write()))
            async with preferred.read():
                assert preferred.readers == 2
        await writer

    asyncio.run(main())


@pytest.mark.parametrize("prefer", ["writer", "reader"])
def test_an_upgrade(prefer: str) -> None:
    """One reads upgradably, beside readers; its write waits for them, comes before all others, and leaves it reading."""

    async def main() -> None:
        lock = aio.RWLock(name="rw", prefer=prefer)
        ends = {name: asyncio.Event() for name in ("r1", "r2", "u1")}
        writes, log = asyncio.Event(), []

        async def upgrade() -> None:
            async with lock.upgradable():
                await ends["u1"].wait()
                async with lock.write():
                    assert repr(lock).endswith(", waiters:5]>") and "write-locked, upgraded" in repr(lock)
                    log.append("u1")
                    await writes.wait()
                assert lock.readers == (1 if prefer == "writer" else 3)
                await ends["r2"].wait()

        first = await started(inside(lock.read(), ends["r1"]), "r1")
        upgrader = await started(upgrade(), "u1")
        assert holders_of("rw") == ["r1", "u1"] and "read-locked by 2, one of them upgradable" in repr(lock)
        tasks = [await started(inside(lock.write(), None, log, name), name) for name in ("w1", "w2")]
        tasks += [await started(inside(lock.upgradable(), None, log, "u2"), "u2")]
        assert waits_of("u2") == ["RWLock.acquire_upgradable"] and waits_of("w1") == ["RWLock.acquire"]
        ends["u1"].set()
        await settle()
        tasks += [await started(inside(lock.read(), None, log, name), name) for name in ("r2", "r3")]
        assert log == []
        ends["r1"].set()
        await settle()
        assert log == ["u1"] and first.done() and holders_of("rw") == ["u1"]
        writes.set()
        await settle()
        assert log == (["u1"] if prefer == "writer" else ["u1", "r2", "r3"])
        ends["r2"].set()
        await asyncio.gather(upgrader, *tasks)
        assert log[0] == "u1" and sorted(log) == ["r2", "r3", "u1", "u2", "w1", "w2"]
        assert not lock.locked() and repr(lock).endswith(" [unlocked]>")

    asyncio.run(main())


def test_upgradable_readers_take_turns() -> None:
    """Who waits for the upgradable share holds no reader back, and gets it in its turn, also while others read."""

    async def main() -> None:
        lock = aio.RWLock()
        ends = [asyncio.Event() for _ in range(3)]
        log: list[str] = []
        tasks = [await started(inside(lock.upgradable(), ends[number], log, f"u{number}")) for number in range(3)]
        async with lock.read():
            for number in range(3):
                assert log == [f"u{other}" for other in range(number + 1)] and lock.readers == 2
                ends[number].set()
                await settle()
        await asyncio.gather(*tasks)
        assert not lock.locked()

    asyncio.run(main())


def test_reads_inside_an_upgradable_read() -> None:
    """Its holder reads again past a waiting writer, and upgrades inside that."""

    async def main() -> None:
        lock = aio.RWLock()
        async with lock.upgradable():
            writer = await started(inside(lock.write()))
            async with lock.read(), lock.write():
                assert lock.readers == 2
            assert await lock.acquire_read() is True
            lock.release_read()
            assert not writer.done()
        await writer

    asyncio.run(main())


def test_upgradable_methods() -> None:
    """acquire_upgradable() returns True; releasing what the task does not have, or while it writes, is a RuntimeError."""

    async def release(what: str) -> str:
        with pytest.raises(RuntimeError) as caught:
            getattr(lock, what)()
        return str(caught.value)

    lock = aio.RWLock()

    async def main() -> None:
        assert await release("release_upgradable") == "cannot release un-acquired upgradable lock"
        assert await lock.acquire_upgradable() is True
        asked = lock.upgradable().acquire()
        assert asked.__qualname__ == "RWLock.acquire_upgradable"
        asked.close()
        for what, word in (("release_upgradable", "upgradable"), ("release_read", "read")):
            assert await asyncio.create_task(release(what)) == f"cannot release un-acquired {word} lock"
        assert await release("release_read") == "cannot release un-acquired read lock"
        await lock.acquire_write()
        assert await release("release_upgradable") == "cannot release upgradable lock while it is write-locked"
        lock.release_write()
        lock.upgradable().release()
        async with aio.acquire_all(lock.upgradable(), aio.Lock()), aio.acquire_all(lock.write()):
            assert "write-locked" in repr(lock)
        assert not lock.locked()

    asyncio.run(main())


@pytest.mark.parametrize("let_in", [False, True])
@pytest.mark.parametrize("side", ["write", "upgradable"])
def test_cancelled_on_the_way_to_it(side: str, let_in: bool) -> None:
    """A cancelled upgrade leaves its task reading upgradably; a cancelled wait for the share leaves it to the next one."""

    async def main() -> None:
        lock = aio.RWLock(prefer="reader")
        reader, over = asyncio.Event(), asyncio.Event()

        async def asks() -> None:
            if side == "write":
                await lock.acquire_upgradable()
            try:
                await getattr(lock, f"acquire_{side}")()
            except asyncio.CancelledError:
                assert "upgradable" in repr(lock)
                await over.wait()
                lock.release_upgradable() if side == "write" else None

        first = await started(inside(lock.read() if side == "write" else lock.upgradable(), reader))
        called = await started(asks())
        behind = await started(inside(lock.read() if side == "write" else lock.upgradable()))
        assert behind.done() is False
        if let_in:                      # it has the lock, and is cancelled before it runs
            reader.set()
            while not first.done():
                await asyncio.sleep(0)
        called.cancel()
        await settle()
        assert behind.done() is (side == "write" or let_in)
        reader.set()
        over.set()
        await asyncio.gather(first, called, behind)
        assert not lock.locked()

    asyncio.run(main())


def test_the_upgradable_share_is_of_who_asked() -> None:
    """Under create_task and wait_for too; and what another task's end of the coroutine lets go is that task's."""

    async def main() -> None:
        asyncio.current_task().set_name("main")
        lock = aio.RWLock(name="asked")
        await asyncio.wait_for(lock.acquire_upgradable(), 60)
        await asyncio.create_task(as_coroutine(lock.acquire_write()))
        assert holders_of("asked") == ["main"]
        lock.release_write()
        lock.release_upgradable()

        async def generator() -> Any:
            async with lock.upgradable():
                yield

        asked = generator()
        await asyncio.create_task(as_coroutine(asked.__anext__()))
        assert lock.readers == 1
        await asked.aclose()
        assert not lock.locked()

    asyncio.run(main())


CIRCLES = {
    "upgrade": ("FL012", "async with lock.read():\n  async with lock.write(): pass"),
    "upgradable in read": ("FL012", "async with lock.read():\n  async with lock.upgradable(): pass"),
    "upgradable in upgradable": ("FL002", "async with lock.upgradable():\n  async with lock.upgradable(): pass"),
    "read behind an upgrade": (
        "FL012",
        "async with lock.read():\n  task = await started(upgrades(lock))\n  async with lock.read(): pass",
    ),
    "upgrade and reader": (
        "FL001",
        "async with lock.upgradable():\n  async with other:\n"
        "    task = await started(reads(lock, other), 'r')\n    async with lock.write(): pass",
    ),
    "write in write": ("FL002", "async with lock.write():\n  async with lock.write(): pass"),
    "read in write": ("FL002", "async with lock.write():\n  async with lock.read(): pass"),
    "read behind a writer": (
        "FL012",
        "async with lock.read():\n  writer = await started(inside(lock))\n  async with lock.read(): pass",
    ),
    "writers and readers": (
        "FL001",
        "async with lock.read():\n  task = await started(holds(other, lock), 'w')\n  async with other: pass",
    ),
}


@pytest.mark.parametrize("case", CIRCLES)
def test_circles(case: str) -> None:
    """What closes a circle is found as it forms, proven, and raises where it is to; afterwards all go on."""
    code, body = CIRCLES[case]
    program = f"""\
import asyncio, json, fastlock
from fastlock import aio
from aio_support import *
from support import found
lock, other = aio.RWLock(name="rw", on_deadlock="raise"), aio.Lock(name="other", on_deadlock="raise")
async def inside(lock):
    async with lock.write(): pass
async def holds(other, lock):
    async with other, lock.write(): pass
async def upgrades(lock):
    async with lock.upgradable(), lock.write(): pass
async def reads(lock, other):
    async with lock.read(), other: pass
async def main():
    try:
{chr(10).join("        " + line for line in body.splitlines())}
    except fastlock.DeadlockError:
        await settle()
        return True
raised = asyncio.run(main())
told = [(finding.code, finding.tier) for finding in found("{code}")]
print(json.dumps([raised, told, lock.locked(), other.locked(), tasks_in_table()]))
"""
    assert answer(run_program(program)) == [True, [[code, "proven"]], False, False, []]


def test_a_limit_of_its_own() -> None:
    """timeout= ends a wait by LockTimeout, and who is behind goes on."""

    async def main() -> None:
        lock = aio.RWLock(name="limited", timeout=0.01)
        async with lock.read():
            writer = await started(inside(lock.write()))
            behind = await started(inside(lock.read()))
            with pytest.raises(fastlock.LockTimeout):
                await writer
            await asyncio.wait([behind])
        assert not lock.locked()

    asyncio.run(main())


def test_bound_to_a_loop_by_waiting() -> None:
    """Waiting in a second loop is a RuntimeError; without a wait it may be used in any."""
    lock = aio.RWLock()

    async def contend() -> None:
        await lock.acquire_write()
        waiter = await started(inside(lock.read()))
        lock.release_write()
        await waiter

    async def elsewhere() -> None:
        async with lock.write():
            with pytest.raises(RuntimeError, match="is bound to a different event loop"):
                await asyncio.create_task(inside(lock.read()))

    asyncio.run(contend())
    asyncio.run(elsewhere())
