"""The package is typed: mypy --strict finds nothing, and the stubs of the extension modules say what those have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed (the extra `test` has it)")

TESTS = Path(__file__).parent
PROJECT = TESTS.parent
EXTENSIONS = sorted(path.stem for path in (PROJECT / "src" / "fastlock").glob("*.pyx") if path.stem != "_driver")
USE = """
import fastlock
from typing_extensions import assert_type

class Account:
    lock: fastlock.Lock

    def __init__(self) -> None:
        self.lock = fastlock.Lock(name="account", timeout=2.5, on_deadlock="raise")

    def pay(self) -> None:
        with self.lock:
            pass

condition = fastlock.Condition(fastlock.Lock())
assert_type(condition.wait_for(lambda: 3, timeout=1.0), int)
assert_type(fastlock.Event().wait(), bool)
rw = fastlock.RWLock(prefer="reader")
with rw.read() as held:
    assert_type(held, fastlock.RWLock)
with rw.upgradable() as held, held.write() as again:
    assert_type(again, fastlock.RWLock)
assert_type(rw.acquire_upgradable(timeout=1), bool)
graph = fastlock.order_graph()
assert_type(graph.edges(), list[fastlock.OrderEdge])
assert_type(graph.cycles(), list[fastlock.OrderCycle])
assert_type(fastlock.OrderGraph.load("graph.txt"), fastlock.OrderGraph)
assert_type([advice.kind for advice in fastlock.advice()], list[str])
fastlock.configure(suppress=["9f3a1c", "cache_*"], suppress_file=None)
assert_type([finding.code for finding in fastlock.suppressed()], list[str])
fastlock.configure(livez="unix:/run/app/{pid}.sock", dump_dir=None, report_rate=60, metric_classes=20)
assert_type(fastlock.health().ok, bool)
assert_type(fastlock.metrics().classes, tuple[fastlock.ClassWaits, ...])
fastlock.Lock(naem="typo")  # type: ignore[call-arg]
fastlock.RLock(timeout="soon")  # type: ignore[arg-type]
fastlock.Semaphore(on_deadlock="panic")  # type: ignore[arg-type]
"""


def run(tmp_path: Path, *arguments: str) -> None:
    """Run a module in a directory that nothing of ours can be imported from by accident, and show what it found."""
    environment = {**os.environ, "FASTLOCK_DISABLE": "1"}
    environment.pop("MYPYPATH", None)  # what is installed is found by itself
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sources_are_clean_under_mypy(tmp_path: Path) -> None:
    """mypy --strict has nothing to say about the sources."""
    if not (PROJECT / "src" / "fastlock").is_dir():
        pytest.skip("the sources are not here")
    config = str(PROJECT / "pyproject.toml")
    run(tmp_path, "mypy", "--strict", "--config-file", config, "--cache-dir", str(tmp_path), str(PROJECT / "src"))


def test_the_stubs_say_what_the_extensions_have(tmp_path: Path) -> None:
    """stubtest, which imports the modules and compares, finds no difference that is not in the list of allowed ones."""
    modules = [f"fastlock.{name}" for name in EXTENSIONS]
    allowed = ["--allowlist", str(TESTS / "stubtest-allowlist.txt"), "--ignore-unused-allowlist"]
    run(tmp_path, "mypy.stubtest", *modules, *allowed, "--concise")


def test_users_get_the_types_they_need(tmp_path: Path) -> None:
    """Locks annotate attributes, results have their types, and wrong options are errors: an unused ignore is one too."""
    (tmp_path / "use.py").write_text(USE)
    run(tmp_path, "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "use.py")
