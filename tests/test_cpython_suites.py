"""CPython's own suites with fastlock's locks in place of the standard library's."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

import fastlock

# The package test of the interpreter is not installed everywhere (Debian has it in a package of its own).
pytest.importorskip("test.support", reason="this interpreter has no package 'test'")
lock_tests = pytest.importorskip("test.lock_tests")

PRIMITIVES = {
    "LockTests": ("locktype", fastlock.Lock),
    "RLockTests": ("locktype", fastlock.RLock),
    "EventTests": ("eventtype", fastlock.Event),
    "ConditionTests": ("condtype", fastlock.Condition),
    "SemaphoreTests": ("semtype", fastlock.Semaphore),
    "BoundedSemaphoreTests": ("semtype", fastlock.BoundedSemaphore),
    "BarrierTests": ("barriertype", fastlock.Barrier),
}
SUITES = [
    "test_thread",
    "test_threading",
    "test_queue",
    "test_threadsignals",
    "test_fork1",
    "test_socketserver",
    "test_logging",
    "test_concurrent_futures.test_thread_pool",
    "test_concurrent_futures.test_wait",
    "test_concurrent_futures.test_as_completed",
]
PREDICTED = ["test_queue", "test_logging", "test_concurrent_futures.test_wait", "test_concurrent_futures.test_as_completed"]


@pytest.mark.parametrize("suite", PRIMITIVES)
def test_lock_tests(suite: str) -> None:
    """Each class of test.lock_tests passes on the primitive itself."""
    attribute, factory = PRIMITIVES[suite]
    case = type(suite, (getattr(lock_tests, suite),), {attribute: staticmethod(factory)})
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun > 0
    assert [*result.errors, *result.failures] == []


def told(how: str, done: subprocess.CompletedProcess[str]) -> str:
    """What a run has printed, the failures in full: their tracebacks stand before the suite's own summary."""
    streams = {"standard output": done.stdout[-20000:], "standard error": done.stderr[-10000:]}
    return "\n".join([f"==== {how}: status {done.returncode}", *(f"---- {name}\n{text}" for name, text in streams.items())])


@pytest.mark.parametrize(
    ("suite", "level"), [*((suite, "detect") for suite in SUITES), *((suite, "order") for suite in PREDICTED)]
)
def test_installed_suite(suite: str, level: str, tmp_path: Path) -> None:
    """A suite under `fastlock run` ends as it does under python, and brings no `proven` or `high` finding: each would be wrong."""
    package, _, part = suite.partition(".")
    spec = importlib.util.find_spec(f"test.{package}")
    if spec is None:
        pytest.skip("this interpreter comes without it")
    if part and not spec.submodule_search_locations:
        pytest.skip("all in one file in this version, which takes minutes")
    findings = tmp_path / "findings.jsonl"
    program = ["-m", "test", "-u", "network", suite]
    ours = [sys.executable, "-m", "fastlock", "run", "--level", level, "--json", str(findings), *program]
    done = subprocess.run(ours, capture_output=True, text=True, timeout=1200, cwd=tmp_path)
    if done.returncode:  # is it the suite, on this machine, or is it us?
        plain = subprocess.run([sys.executable, *program], capture_output=True, text=True, timeout=1200, cwd=tmp_path)
        assert plain.returncode, f"{told('with fastlock', done)}\n{told('without it', plain)}"
    sure = [fact for fact in map(json.loads, findings.read_text().splitlines()) if fact["tier"] in ("proven", "high")]
    assert sure == []
