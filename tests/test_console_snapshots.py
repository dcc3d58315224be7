"""What the console looks like: every view, what its rows lead to, every empty and every error state; narrow and wide, dark and light, without colour.

The pictures lie in __snapshots__, and are made anew by `pytest tests/test_console_snapshots.py --snapshot-update`. They are those of one version of textual and
rich, which the extra `test` names; with any other one these tests are skipped. What they show does not depend on Python's version.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("pytest_textual_snapshot", reason="pytest-textual-snapshot is not installed (the extra `test` has it)")
VERSIONS = {"textual": "8.2.8", "rich": "15.0.0"}
if any(importlib.metadata.version(name) != version for name, version in VERSIONS.items()):
    pytest.skip(f"the pictures are those of {VERSIONS}", allow_module_level=True)

from pytest_textual_snapshot import SVGImageExtension  # noqa: E402
from syrupy.assertion import SnapshotAssertion  # noqa: E402

from console_screen import Staged, confirm, play, press, running, staged, still, until, write  # noqa: E402
from console_support import NOW_NS, Process, busy, deadlocked, inversion, told_deadlock  # noqa: E402
from fastlock.console import watching  # noqa: E402
from fastlock.console.app import Top  # noqa: E402
from fastlock.console.pages import VIEWS as REAL_VIEWS, Page  # noqa: E402
from fastlock.console.prompt import Prompt  # noqa: E402
from fastlock.console.seen import ENDED, STOPPED, UNSEEN, Asked, ClassFacts, Seen  # noqa: E402


NARROW, USUAL, WIDE = (40, 10), (80, 24), (150, 30)
Compare = Callable[[Top, str], Awaitable[None]]
Steps = Sequence[tuple[str, Sequence[str]]]  # a picture's name, and the keys that lead to it from the one before


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> Iterator[Compare]:
    """Compare what is on a screen with the picture of that name; all differences are told at the end."""
    pictures = snapshot.use_extension(SVGImageExtension)
    different = []

    async def compare(app: Top, name: str) -> None:
        await still(app)
        shown = app.export_screenshot(title=name, simplify=True)
        if not shown == pictures(name=name):
            different.append(name)

    yield compare
    assert different == [], "these look different; if they should: --snapshot-update, and look at what git says has changed"


def shop() -> Staged:
    """Two workers of a shop, one of them deadlocked; they have answered whatever they are asked."""
    stuck, well = deadlocked(), replace(busy(), pid=42)
    stuck.findings += [told_deadlock(), inversion()]
    fleet = staged(stuck.seen(process="shop: worker 1"), well.seen(process="shop: worker 2"))
    ledger = ClassFacts("ledger", "Lock", 3, 40, 30, 6.0, ((0.001, 10), (0.1, 22), (1.0, 30)))
    stack = [{"file": "/srv/shop/pay.py", "line": 12, "function": "pay", "text": "bank.send(bill)"}]
    place = {"file": "/srv/shop/shop.py", "line": 52, "function": "reserve", "text": "with stock:"}
    edge = {"first": "audit", "then": "stock", "count": 7, "held_at": place, "wanted_at": {**place, "line": 61}, "first_seen": "2026-11-30T23:00:00.000+00:00", "agent": "replica-1"}
    for pid in (41, 42):
        fleet.answers[pid, "classes", 0] = Asked(NOW_NS, classes={"ledger": ledger})
        fleet.answers[pid, "order", 0] = Asked(NOW_NS, order={"level": "order", "cycles": [], "edges": [edge], "full": False, "cut": {"edges": 0, "cycles": 0}})
        for agent in range(1, 9):
            fleet.answers[pid, "agent", agent] = Asked(NOW_NS, agent={"doing": "runs", "stack": stack, "awaits": [], "loop_does": None})
    return fleet


def look(picture: Compare, fleet: Staged, steps: Steps, size: tuple[int, int] = USUAL, **options: Any) -> None:
    """Take pictures one after another."""

    async def act() -> None:
        async with running(fleet, size=size, **options) as (app, _):
            await until(app, lambda: not fleet.moments)
            for name, keys in steps:
                await press(app, *keys)
                await picture(app, name)

    play(act)


VIEWS: Steps = [
    ("waits", []),
    ("circle", ["enter"]),
    ("locks", ["2"]),
    ("lock", ["enter"]),
    ("agent", ["end", "enter"]),
    ("circles", ["3"]),
    ("order", ["4"]),
    ("inversion", ["enter"]),
    ("findings", ["5"]),
    ("finding", ["enter"]),
    ("finding-end", ["end"]),
    ("roots", ["6"]),
    ("root", ["down", "enter"]),
    ("lints", ["7"]),
    ("processes", ["8"]),
    ("process", ["enter"]),
    ("help", ["question_mark"]),
    ("paused-and-sorted", ["1", "s", "S", "space"]),
]


def test_every_view(picture: Compare) -> None:
    """At 80 x 24 in the colours for a dark terminal, and what the first rows lead to."""
    look(picture, shop(), VIEWS)


def test_narrow(picture: Compare) -> None:
    """At 40 x 10 columns drop out, and the rest can still be read."""
    look(picture, shop(), [(f"narrow-{name}", keys) for name, keys in VIEWS if name in ("waits", "circle", "locks", "processes", "help")], NARROW)


def test_wide(picture: Compare) -> None:
    """At 150 x 30 all columns are there."""
    look(picture, shop(), [("wide-waits", []), ("wide-locks", ["2"]), ("wide-processes", ["8"])], WIDE)


def test_light(picture: Compare) -> None:
    """In the colours for a light terminal."""
    look(picture, shop(), [("light-waits", ["t"]), ("light-circle", ["enter"]), ("light-processes", ["8"])])


def test_without_colour(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR in the environment."""
    monkeypatch.setenv("NO_COLOR", "1")
    look(picture, shop(), [("colourless-waits", []), ("colourless-circle", ["enter"]), ("colourless-processes", ["8"])])


def test_lints(picture: Compare) -> None:
    """A lock that one owner has had for long while others wait, after some seconds of looking."""
    moments: list[Sequence[Seen]] = []
    for at in range(20):
        made = Process(now_ns=NOW_NS + at * 500_000_000)
        owner = made.agent("importer")
        lock = made.lock("catalogue", owner, "load.py:3")
        for number in range(12):
            made.wait(made.agent(f"replica-{number}"), lock, 20 + at / 2, f"shop.py:{40 + number}")
        moments.append([made.seen()])
    fleet = Staged(moments.pop(0), moments=moments)
    look(picture, fleet, [("lints-told", ["7"]), ("lint", ["enter"])], period_s=0.001)


def test_nothing_to_see(picture: Compare) -> None:
    """A calm sentence in each view where nothing is wrong, and where there is no process at all."""
    look(picture, staged(Process(41)), [(f"idle-{name}", [str(number)]) for number, name in enumerate(("waits", "locks", "circles", "order", "findings", "roots", "lints", "processes"), 1)])
    look(picture, staged(), [("no-process", []), ("no-process-processes", ["8"])])


def test_processes_that_cannot_be_asked_or_seen(picture: Compare) -> None:
    """One that is stopped, one that has ended, one of somebody else, one whose table is full; what is gone is said to be gone."""
    stopped = deadlocked(41).seen(state=STOPPED, why="it is stopped since 23:40:00Z: nothing in it runs until it gets SIGCONT")
    ended = busy().seen(pid=42, state=ENDED, why="it has ended; this is how it stood at 23:46:50Z")
    foreign = Process(43).seen(state=UNSEEN, why="process 43 belongs to uid 0 (root): only that user sees its table", health="", process="", python="", level="")
    full = busy().seen(pid=44, unseen=1200, findings_dropped=3, raw_locks=7, health="stalled")
    fleet = staged(stopped, ended, foreign, full)
    look(picture, fleet, [("troubled-waits", []), ("troubled-processes", ["8"]), ("troubled-notes", ["end"])])
    fleet = staged(deadlocked(), queue := busy().seen(pid=42))

    async def act() -> None:
        async with running(fleet) as (app, _):
            await press(app, "enter")
            fleet.seen = [queue]
            await press(app, "2", "1")
            await picture(app, "circle-gone-waits")

    play(act)


def test_a_reading_and_a_page_that_fail(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is a line, and what was there stays; a page that cannot be made is a sentence."""
    fleet = staged(deadlocked())
    monkeypatch.setattr(watching, "one_line", lambda what, exc: f"{what}: {exc} (place.py:1)")  # lines of code move

    def broken(_: object) -> Page:
        raise OSError("Structure needs cleaning")

    monkeypatch.setitem(REAL_VIEWS, "order", REAL_VIEWS["order"]._replace(make=broken))  # type: ignore[arg-type]

    async def act() -> None:
        async with running(fleet, period_s=0.01) as (app, _):
            fleet.broken = "Input/output error"
            await until(app, lambda: app.told is not None and bool(app.told.trouble))
            await picture(app, "reading-failed")
            fleet.broken = ""
            await until(app, lambda: app.told is not None and not app.told.trouble)
            await press(app, "o")
            await picture(app, "page-failed")

    play(act)


def test_a_terminal_that_is_too_small(picture: Compare) -> None:
    """One sentence."""
    look(picture, shop(), [("too-small", [])], (22, 5))


def test_questions(picture: Compare) -> None:
    """The filter, a file's name, a level, and whether it is meant."""

    async def act() -> None:
        async with running(shop()) as (app, _):
            await press(app, "slash", *"kind:task")
            await picture(app, "question-filter")
            await press(app, "enter")
            await picture(app, "filtered")
            await press(app, "slash", *" age:x")
            await picture(app, "question-filter-wrong")
            await press(app, "escape", "escape", "e")
            await until(app, lambda: app.query_one(Prompt).asks)
            await picture(app, "question-save")
            await press(app, "escape", "L")
            await until(app, lambda: app.query_one(Prompt).asks)
            await picture(app, "question-level")
            await write(app)
            await until(app, lambda: app.query_one(Prompt).asks)
            await picture(app, "question-sure")
            await confirm(app, "y")
            await until(app, lambda: bool(app.fleet.levels))  # type: ignore[attr-defined]
            await picture(app, "level-set")

    play(act)
