"""The console's reader: what it takes over from the last moment is what a dump of this moment says, and each end of a process is a calm line."""

from __future__ import annotations

import random
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastlock.outside import open_table
from fastlock.outside.find import Table
from fastlock.outside.layout import HEADER_SIZE, Image, Unseen, image_of
from fastlock.outside.records import Records
from fastlock.outside.view import View
from outside_support import fastlock, running
from test_outside import DEADLOCK, SCENE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")

# Threads and tasks that come, wait for everything there is, hold several, give up, and end; some end with what they hold.
STORM = """
    import asyncio, random
    fastlock.set_level("order")
    luck = random.Random(int(sys.argv[1]))
    locks = [fastlock.Lock(name=f"lock {number}") for number in range(6)] + [fastlock.RLock(name="again") for _ in range(3)]
    shared = [fastlock.RWLock(name="shared"), fastlock.RWLock(name="readers", prefer="reader")]
    permits, condition = fastlock.Semaphore(3, name="permits"), fastlock.Condition()
    def nap(): time.sleep(luck.random() / 300)
    def one():
        first, second = luck.choice(locks), luck.choice(locks)
        if first.acquire(timeout=0.02):
            nap()
            if second.acquire(timeout=luck.random() / 200): second.release()
            first.release()
    def several():
        with permits:
            rw, way = luck.choice(shared), luck.choice(("read", "read", "write", "upgradable"))
            with getattr(rw, way)():
                nap()
                if way == "upgradable" and luck.random() < 0.5 and rw.acquire_write(timeout=0.002): rw.release_write()
                nap()
                luck.choice(locks[:6]).acquire(timeout=0.001)  # and it is not given back, until somebody does in free()
    def told():
        with condition:
            condition.notify()
            condition.wait(luck.random() / 200)
    def free():
        for lock in locks:
            try: lock.release()
            except RuntimeError: pass
    def work():
        for _ in range(luck.randrange(5, 60)): luck.choice((one, one, several, told, free))()
    def keep_up():
        while True:
            thread = threading.Thread(target=work, name=f"worker {luck.randrange(100)}", daemon=True)
            thread.start()
            if luck.random() < 0.5: thread.join()
    async def tasks():
        gates = [fastlock.aio.Lock(name=f"gate {number}") for number in range(4)] + [fastlock.aio.Semaphore(2)]
        async def passes():
            async with luck.choice(gates):
                await asyncio.sleep(luck.random() / 300)
                try: await asyncio.wait_for(luck.choice(gates).acquire(), luck.random() / 200)
                except asyncio.TimeoutError: return
        while True:
            await asyncio.gather(*[asyncio.create_task(passes(), name=f"task {number}") for number in range(luck.randrange(1, 12))])
    for _ in range(4): threading.Thread(target=keep_up, daemon=True).start()
    threading.Thread(target=lambda: asyncio.run(tasks()), daemon=True).start()
    ready()
"""
NOW_NS, WALL_S = 10**13, 1.7e9


def said(view: View) -> dict[str, Any]:
    """All that a dump, ps and a console say of a moment."""
    moment = view.moment
    return {
        "snapshot": view.snapshot(),
        "facts": view.facts(),
        "circles": [(circle, view.clears(circle), view.is_proven(circle)) for circle in view.circles],
        "roots": [(root, str(root)) for root in moment.roots()],
        "behind": dict(moment.behind),
    }


def read_on(first: Image, second: Image, before: View | None) -> View:
    """Read a moment after another, and see to it that it is what it is when it is read alone."""
    alone = View(Records(first, second), NOW_NS, WALL_S)
    view = View(Records(first, second, None if before is None else before.records), NOW_NS, WALL_S, before)
    assert said(view) == said(alone)
    assert (list(view.agents), list(view.locks)) == (list(alone.agents), list(alone.locks))
    return view


@pytest.mark.parametrize("seed", [1, 2])
def test_a_moment_after_others_is_what_it_is_alone(seed: int) -> None:
    """Of a program in full traffic: names, owners, queues, what is held, sites, circles, roots and counts, for many moments."""
    view, waits, luck = None, 0, random.Random(seed)
    with running(STORM, seed) as program, open_table(program.pid) as table:
        for _ in range(200):
            view = read_on(table._read(), table._read(), view)
            waits += len(view.waits)
            time.sleep(luck.choice((0, 0.001, 0.004)))  # for other differences, not to wait for anything
    assert waits > 100
