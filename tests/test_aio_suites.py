"""CPython's own suites of asyncio, with fastlock.aio's primitives in place of asyncio's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("aio_suite.py")
SUITES = ["test_locks", "test_queues", "test_taskgroups", "test_timeouts", "test_waitfor"]
pytest.importorskip("test.test_asyncio", reason="this interpreter has no package 'test'")


def run(mode: str, suite: str, level: str) -> subprocess.CompletedProcess[str]:
    """Run a suite with ours, or with asyncio's own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
    environment["FASTLOCK_LEVEL"] = level
    command = [sys.executable, str(RUNNER), mode, f"test.test_asyncio.{suite}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)


@pytest.mark.parametrize("level", ["detect", "order"])
@pytest.mark.parametrize("suite", SUITES)
def test_suite(suite: str, level: str) -> None:
    """It ends as it does with asyncio's own, and brings no `proven` or `high` finding: each would be wrong."""
    ours = run("ours", suite, level)
    if "No module named" in ours.stderr and suite in ours.stderr:
        pytest.skip("not in this version")
    if ours.returncode:  # is it the suite, on this machine, or is it us?
        plain = run("plain", suite, level)
        assert plain.returncode, ours.stdout[-3000:] + ours.stderr[-6000:]
    assert ours.stdout.splitlines()[-1] == "findings []"
