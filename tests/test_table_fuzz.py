"""The reader and hostile tables: whatever the bytes are, it reads them or says in a line why not, and takes little memory.

FASTLOCK_FUZZ sets how many corrupted tables there are, 4,000 where it does not; the full number is 100000.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlock.cli import dump
from fastlock.outside import Unseen
from fastlock.outside.find import open_file
from fuzz_program import swallow
from outside_support import fastlock, running
from support import TESTS
from test_outside import DEADLOCK, SCENE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tables are read in /proc")
COUNT = int(os.environ.get("FASTLOCK_FUZZ", "4000"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Saved tables of real processes: one of everything, and a deadlock with its findings."""
    directory = tmp_path_factory.mktemp("tables")
    paths = []
    for name, source, arguments in (("scene", SCENE, ["order"]), ("deadlock", DEADLOCK + "    ready()\n", [])):
        with running(source, *arguments) as program:
            paths.append(directory / name)
            assert fastlock("dump", program.pid, "--save", paths[-1]).returncode == 0
    return paths


def test_corrupted_tables(tables: list[Path]) -> None:
    """None of thousands of them raises anything but Unseen, in a process with a gigabyte of memory; the seed is in the failure."""
    seed = random.randrange(1 << 30)
    command = [sys.executable, str(TESTS / "fuzz_program.py"), str(COUNT), str(seed), *map(str, tables)]
    env = {**os.environ, "FASTLOCK_DISABLE": "1", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240 + COUNT / 50)
    assert done.returncode == 0, f"seed {seed}\n{done.stderr}"
    answer = json.loads(done.stdout)
    assert answer["read"] + answer["refused"] == COUNT
    assert answer["read"] > COUNT // 10
    assert answer["refused"] > COUNT // 100


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_what_hypothesis_thinks_of(tables: list[Path], data: st.DataObject) -> None:
    """Bytes that begin as a table does, and tables with pieces replaced."""
    table = data.draw(st.sampled_from([path.read_bytes() for path in tables]))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(table)))
        piece = data.draw(st.binary(max_size=400))
        changed = table[:at] + piece + table[at + len(piece) :]
    else:
        changed = table[: data.draw(st.integers(0, 600))] + data.draw(st.binary(max_size=600))
    swallow(changed, data.draw(st.sampled_from([None, table])))


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = SIMPLE | st.lists(SIMPLE, max_size=3) | st.dictionaries(st.sampled_from(["id", "file", "agent"]), SIMPLE, max_size=3)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, by the keys that lead there."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places_in(inner, (*path, key))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_saved_json_with_anything_in_it(tables: list[Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A dump in JSON of which a part is replaced is dumped, or refused as none."""
    table = dump.shown_of(open_file(str(data.draw(st.sampled_from(tables)))).view())["snapshot"]
    table = json.loads(json.dumps(table))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places_in(table))[1:]))
        inner = table
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = data.draw(JSON)
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(json.dumps(table))
    try:
        text = dump.text(dump.from_json(str(path)))
    except Unseen as error:
        assert "no dump of fastlock" in str(error)
    else:
        assert all(char.isprintable() for char in text.replace("\n", ""))


@pytest.mark.parametrize("data", [b"", b"FSTLOCK1", b"FSTLOCK1" + bytes(5000), b"\xff" * 5000])
def test_what_is_no_table(data: bytes) -> None:
    """Too little, nothing, and noise are refused."""
    assert not swallow(data)
