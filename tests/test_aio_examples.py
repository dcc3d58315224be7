"""The examples of asyncio do what their docstrings say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import processor_s
from test_examples import EXAMPLES, run

INCIDENTS = {
    "deadly_embrace": "FL001",
    "reentrant_callback": "FL002",
    "inverted_order": "FL001",
    "lock_across_await": "FL001",
    "two_loops": "FL001",
    "executor_ping_pong": "FL030",
}
SHOP = "Shop." if sys.version_info >= (3, 11) else ""  # qualified names of code objects came with 3.11
TWINS = ["deadly_embrace_fixed", "reentrant_callback_fixed", "inverted_order_fixed", "lock_across_await_fixed", "executor_ping_pong_fixed"]
STALLS = {"unfinished_queue": ("mails", "await mails.join()")}


def run_aio(example: str, *arguments: str, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run one of examples/aio."""
    return run(f"aio/{example}", *arguments, words=words)


def line_of(example: str, text: str) -> str:
    """Return file:line of the first such line of an example."""
    lines = (EXAMPLES / "aio" / f"{example}.py").read_text().splitlines()
    return f"{example}.py:{1 + next(number for number, line in enumerate(lines) if line.strip() == text)}"


def test_every_example_is_tested() -> None:
    """No example lies about untested."""
    assert {path.stem for path in (EXAMPLES / "aio").glob("*.py")} == {*INCIDENTS, *TWINS, *STALLS, "actor"}


@pytest.mark.parametrize("name", INCIDENTS)
def test_exit_ends_an_incident_with_status_3(name: str) -> None:
    """Each incident ends with 3, with its report on standard error; it waits for no limit, and takes less than two seconds of a processor's time."""
    before = processor_s()
    done = run_aio(name, words=("--on-deadlock", "exit"))
    assert done.returncode == 3, done.stderr
    assert processor_s() - before < 2
    assert f"fastlock explain {INCIDENTS[name]}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", TWINS)
def test_a_fixed_twin_ends_with_0_and_no_finding(name: str, tmp_path: Path) -> None:
    """The twin of each incident has nothing to report."""
    findings = tmp_path / "findings.json"
    done = run_aio(name, words=("--on-deadlock", "exit", "--json", str(findings)))
    assert (done.returncode, done.stderr) == (0, "")
    assert findings.read_text() == ""


def test_raise_lets_the_embrace_recover() -> None:
    """One of the tasks backs off, and both get done."""
    done = run_aio("deadly_embrace", words=("--on-deadlock", "raise"))
    assert done.returncode == 0, done.stderr
    assert "backs off, because of a DeadlockError" in done.stdout
    assert done.stdout.splitlines()[-1] == "tea costs 5"


def test_raise_lets_the_other_job_be_done() -> None:
    """The job whose wait is refused fails, and its thread does what the other one waits for."""
    done = run_aio("executor_ping_pong", words=("--on-deadlock", "raise"))
    assert done.returncode == 0, done.stderr
    assert "a job failed with DeadlockError" in done.stdout


def test_the_embrace_names_tasks_locks_and_sites() -> None:
    """Both tasks, both locks by the attributes that they are kept in, and the lines."""
    report = run_aio("deadly_embrace", words=("--on-deadlock", "exit")).stderr
    for name in (f"{SHOP}_cache_lock", f"{SHOP}_db_lock", "Task-2", "Task-3", "loop of MainThread"):
        assert name in report
    for source in ("async with self._cache_lock:", "async with self._db_lock:"):
        assert line_of("deadly_embrace", source) in report


def test_a_lock_across_await_names_the_suspended_holder() -> None:
    """The holder is on no stack: its task, its chain down to the line, the blocked task, and what stands still."""
    report = run_aio("lock_across_await", words=("--on-deadlock", "exit")).stderr
    page = report[report.index("FL001 deadlock") :]
    for word in ("refresher", "reader", "rates_lock", "this loop is stopped"):
        assert word in page
    for source in ("rates[currency] = await ask_the_bank(currency)", "await asyncio.sleep(0.05)"):
        assert line_of("lock_across_await", source).partition(":")[2] in page and source in page
    assert "5 tasks with it" in page or "6 tasks with it" in page


def test_a_lock_across_await_is_told_without_a_deadlock() -> None:
    """Where nobody else wants the lock, FL005 says that it was held across an await."""
    done = run_aio("lock_across_await", "--quiet", words=("--on-deadlock", "exit"))
    assert done.returncode == 0, done.stderr
    assert "FL005" in done.stderr and "rates_lock" in done.stderr
    assert line_of("lock_across_await", "with rates_lock:") in done.stderr


def test_an_inversion_of_tasks_is_told_before_it_happens() -> None:
    """One request at a time: nobody waits, and both orders are named."""
    done = run_aio("inverted_order", "--one-at-a-time", words=("--level", "order"))
    assert done.returncode == 0, done.stderr
    assert "FL010 lock-order inversion" in done.stderr
    assert f"{SHOP}_stock_lock" in done.stderr and f"{SHOP}_audit_lock" in done.stderr


def test_two_loops_are_one_graph() -> None:
    """The ring over two threads names both threads or their tasks, and both locks."""
    report = run_aio("two_loops", words=("--on-deadlock", "exit")).stderr
    for word in ("orders_lock", "ledger_lock", "loop of orders", "loop of ledger"):
        assert word in report


@pytest.mark.parametrize("name", STALLS)
def test_a_stall_is_proven_where_the_loop_has_nothing_to_run(name: str, tmp_path: Path) -> None:
    """The wait, its queue and line are named, and the worker that has failed."""
    findings = tmp_path / "findings.json"
    done = run(f"aio/{name}", words=("--on-deadlock", "exit", "--json", str(findings)), FASTLOCK_SLOW_WAIT="0.3")
    assert done.returncode == 3, done.stderr
    (finding,) = map(json.loads, findings.read_text().splitlines())
    queue, line = STALLS[name]
    assert (finding["code"], finding["tier"]) == ("FL031", "proven")
    assert f"waits in asyncio.Queue.join on {queue}, 3 unfinished, at {line_of(name, line)}" in finding["explanation"]
    assert any(reason.startswith('sender "work" has ended with ValueError') for reason in finding["reasons"])
    assert "fastlock explain FL031" in done.stderr


@pytest.mark.parametrize("name", STALLS)
def test_without_the_mistake_there_is_no_stall(name: str) -> None:
    """The same program with --fixed ends with 0, and with nothing to report."""
    done = run(f"aio/{name}", "--fixed", words=("--on-deadlock", "exit"), FASTLOCK_SLOW_WAIT="1")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_actor_says_what_each_way_takes() -> None:
    """Both keep the same books."""
    done = run_aio("actor", "--clerks", "3", "--bookings", "20")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "balance 570"
    assert [line.split()[0] for line in lines[1:]] == ["LockedBooks", "OwnedBooks"]
