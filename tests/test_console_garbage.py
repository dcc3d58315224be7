"""The console and hostile tables: whatever a table says, there is a page, and every character of it may be printed."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest

from console_support import Fleet, grids, shown
from fastlock.console import once
from fastlock.console.history import History
from fastlock.console.lints import lints
from fastlock.console.names import Names
from fastlock.console.pages import VIEWS
from fastlock.console.pages.base import Page
from fastlock.console.readers import seen_of
from fastlock.console.seen import Seen, Target
from fastlock.outside import Unseen
from fastlock.outside.layout import image_of
from fastlock.outside.records import Records
from fastlock.outside.view import View
from fuzz_program import corrupted
from outside_support import fastlock, running
from test_outside import DEADLOCK, SCENE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")
COUNT = int(os.environ.get("FASTLOCK_FUZZ", "4000")) // 40
MOST_DETAILS = 12  # of each corrupted table: which ones is random


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Saved tables of real processes: one of everything, and a deadlock with its findings."""
    made = []
    for source, arguments in ((SCENE, ["order"]), (DEADLOCK + "    ready()\n", [])):
        path = Path(tmp_path_factory.mktemp("tables"), "table")
        with running(source, *arguments) as program:
            assert fastlock("dump", program.pid, "--save", path).returncode == 0
        made.append(path.read_bytes())
    return made


def seen_in(data: bytes, again: bytes | None) -> Seen | None:
    """What is seen in these bytes, None where they are refused."""
    try:
        image = image_of(data)
        return seen_of(View(Records(image, image if again is None else image_of(again)), 10**12, 1.7e9), 41, None, False)
    except Unseen:
        return None


def drawn(page: Page) -> None:
    """Draw a page in every way; what it says may be printed."""
    told = once.render(page, 80)
    assert all(char.isprintable() for char in told.replace("\n", "")), ascii(told)
    json.dumps(once.facts(page, "any"))


def test_every_page_of_corrupted_tables_is_drawn(tables: list[bytes]) -> None:
    """All views, and where their rows lead; the seed is in the failure."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    read = 0
    for data, again in corrupted(tables, COUNT, rng):
        seen = seen_in(data, again)
        if seen is None:
            continue
        read += 1
        try:
            history = History()
            history.note([seen])
            lints(seen, history.of(41), Names(seen), lambda pid, tid: None)
            pages = [shown(view, Fleet([seen])) for view in VIEWS]
            targets = {row.target for page in pages for grid in grids(page) for row in grid.rows} - {None}
            for page in [*pages, *(shown("waits", Fleet([seen]), target) for target in rng.sample(sorted(targets, key=repr), min(MOST_DETAILS, len(targets))))]:
                drawn(page)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert read > COUNT // 10


def test_the_pages_of_the_tables_themselves_are_drawn(tables: list[bytes]) -> None:
    """Every detail of every row, uncorrupted."""
    kinds = set()
    for data in tables:
        of = Fleet([seen] if (seen := seen_in(data, None)) is not None else [])
        targets: set[Target] = {row.target for view in VIEWS for grid in grids(shown(view, of)) for row in grid.rows if row.target is not None}
        kinds |= {target.kind for target in targets}
        for target in targets:
            drawn(shown("waits", of, target))
    assert kinds == {"agent", "lock", "circle", "finding", "root", "process"}
