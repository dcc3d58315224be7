"""For tests of the console's screen: processes made by hand, on a terminal that is not there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastlock.console.app import Top
from fastlock.console.fleet import LevelSet
from fastlock.console.prompt import Prompt
from fastlock.console.seen import Seen
from console_support import Fleet, Process
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

WALL_S = 1_796_082_432.0  # 2026-11-30 23:47:12Z
LIMIT_S = 60.0
SELDOM_S = 1000.0  # between readings: nothing changes but by what a test does


@dataclass
class Staged(Fleet):
    """A fleet that can be looked at: what it is told, and what it answers to a level."""

    levels: list[tuple[int, str, float | None]] = field(default_factory=list)
    level_set: LevelSet = LevelSet(True, "level order for 10m 00s; before: detect")
    readings: int = 0
    broken: str = ""
    moments: list[Sequence[Seen]] = field(default_factory=list)  # that the next readings find

    def refresh(self) -> None:
        self.readings += 1
        if self.moments:
            self.seen = self.moments.pop(0)
        if self.broken:
            raise OSError(self.broken)

    def set_level(self, pid: int, level: str, for_s: float | None) -> LevelSet:
        self.levels.append((pid, level, for_s))
        return self.level_set


def staged(*processes: Process | Seen, **facts: Any) -> Staged:
    """Return a fleet of these."""
    return Staged([each.seen() if isinstance(each, Process) else each for each in processes], **facts)


def queue(waiters: int, pid: int = 41, name: str = "pool_lock") -> Process:
    """A process in which so many wait for one lock, the first for 100 s and each for a second less."""
    made = Process(pid)
    holder = made.agent("holder")
    lock = made.lock(name, holder, "pool.py:12")
    for number in range(waiters):
        made.wait(made.agent(f"waiter-{number}"), lock, 100 - number / 100, f"pool.py:{20 + number % 7}")
    return made


def top(fleet: Staged, **options: Any) -> Top:
    """Return the console, whose time stands still."""
    return Top(fleet, **{"period_s": SELDOM_S, "wall_s": lambda: WALL_S, **options})


async def done(app: Top) -> None:
    """Wait until all that has happened is dealt with, by whatever has the focus and all that it is in, and is drawn."""
    for _ in range(2):
        for node in (app, *(app.focused or app.screen).ancestors_with_self):
            event = asyncio.Event()
            node.call_later(event.set)
            await event.wait()
    event = asyncio.Event()
    app.screen.call_after_refresh(event.set)
    await event.wait()


async def still(app: Top) -> None:
    """Wait until nothing on the screen changes any more: a scrollbar comes when the lines that need it are there."""
    before = ""
    while (now := app.export_screenshot()) != before:
        before = now
        await done(app)


async def until(app: Top, what: Callable[[], bool]) -> None:
    """Wait until something is so, and drawn."""
    end = asyncio.get_running_loop().time() + LIMIT_S
    while not what():
        assert asyncio.get_running_loop().time() < end, "it does not come to that:\n" + "\n".join(screen(app))
        await asyncio.sleep(0.002)
    await done(app)


async def press(app: Top, *keys: str) -> None:
    """Press keys one after another, each when what the one before has asked for is shown."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))
        await done(app)
        await until(app, lambda: app.is_settled)


async def write(app: Top, text: str | None = None) -> None:
    """Wait for the line that asks, and answer with a text, or with what stands there."""
    await until(app, lambda: isinstance(app.focused, Input))
    if text is not None:
        app.query_one("#answer", Input).value = text
    await press(app, "enter")


async def confirm(app: Top, key: str) -> None:
    """Wait for the question whether something is meant, and answer with a key."""
    await until(app, lambda: app.query_one(Prompt).asks and not isinstance(app.focused, Input))
    await press(app, key)
    await until(app, lambda: not app.query_one(Prompt).asks)


async def click(app: Top, pilot: Pilot[None], on: str, x: int, line: int) -> None:
    """Click on a place of the screen, in a widget that is there."""
    widget = app.query_one(on)
    await pilot.click(widget, offset=(x, line - widget.region.y))
    await until(app, lambda: app.is_settled)


@contextlib.asynccontextmanager
async def running(fleet: Staged, size: tuple[int, int] = (80, 24), **options: Any) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    """The console on a screen of this size, its first page shown."""
    app = top(fleet, **options)
    async with app.run_test(size=size) as pilot:
        await until(app, lambda: app.is_settled)
        yield app, pilot


def screen(app: Top) -> list[str]:
    """Return the lines of the screen as text."""
    width, height = app.size
    lines = [[" "] * width for _ in range(height)]
    for widget, region in ((each, each.region) for each in app.screen.walk_children() if each.display and each.region.height):
        for y in range(region.height):
            if 0 <= region.y + y < height and not widget.children:
                text = widget.render_line(y).text
                lines[region.y + y][region.x : region.x + len(text)] = text
    return ["".join(line)[:width].rstrip() for line in lines]


def told(app: Top) -> str:
    """Return the whole screen as one text."""
    return "\n".join(screen(app))


def cursor_row(app: Top) -> str:
    """Return the line of the screen that the cursor is on, "" for none."""
    return next((line for line in screen(app) if line.startswith("> ")), "")


def play(act: Callable[[], Awaitable[None]]) -> None:
    """Run a test that is a coroutine."""
    asyncio.run(asyncio.wait_for(act(), LIMIT_S * 2))  # type: ignore[arg-type]
