"""The examples do what their docstrings say: the incident under each policy, and twins without a finding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import LIMIT_S, processor_s, wait_until

EXAMPLES = Path(__file__).parents[1] / "examples"
INCIDENTS = {
    "deadly_embrace": "FL001",
    "reentrant_callback": "FL002",
    "inverted_order": "FL001",
    "fork_orphan": "FL004",
    "rwlock_upgrade": "FL012",
    "join_under_lock": "FL001",
    "mixed_ring": "FL001",
    "nested_pool": "FL030",
    "result_under_lock": "FL030",
}
STALLS = ["gone_consumer", "full_queue", "unfinished_queue", "lost_wakeup", "missing_sentinel", "stalled_ring", "short_barrier"]
Completed = subprocess.CompletedProcess


def without_settings() -> dict[str, str]:
    """Return our environment without what is meant for fastlock."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}


def run(example: str, *arguments: str, words: tuple[str, ...] = (), timeout_s: float = LIMIT_S, **settings: str) -> Completed[str]:
    """Run an example, through `fastlock run` where there are words for it."""
    through = ("-W", "ignore", "-m", "fastlock", "run", *words) if words else ()
    return subprocess.run(
        [sys.executable, *through, str(EXAMPLES / f"{example}.py"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=without_settings() | settings,
        timeout=timeout_s,
    )


def line_of(example: str, text: str, occurrence: int = 1) -> str:
    """Return file:line of a line of an example."""
    lines = (EXAMPLES / f"{example}.py").read_text().splitlines()
    numbers = [number for number, line in enumerate(lines, 1) if line.strip() == text]
    return f"{example}.py:{numbers[occurrence - 1]}"


def test_every_example_is_tested() -> None:
    """No example lies about untested."""
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {*INCIDENTS, *(f"{name}_fixed" for name in INCIDENTS), "timeout_names_owner", "owner_task", *STALLS, "nested_semaphore"}


@pytest.mark.parametrize("name", INCIDENTS)
def test_exit_ends_an_incident_with_status_3(name: str) -> None:
    """Each incident ends with 3, with its report on standard error; it waits for no limit, and takes less than two seconds of a processor's time."""
    before = processor_s()
    done = run(name, words=("--on-deadlock", "exit"))
    assert done.returncode == 3, done.stderr
    assert processor_s() - before < 2
    assert f"fastlock explain {INCIDENTS[name]}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", [f"{name}_fixed" for name in INCIDENTS])
def test_a_fixed_twin_ends_with_0_and_no_finding(name: str, tmp_path: Path) -> None:
    """The twin of each incident has nothing to report."""
    findings = tmp_path / "findings.json"
    done = run(name, words=("--on-deadlock", "exit", "--json", str(findings)))
    assert (done.returncode, done.stderr) == (0, "")
    assert findings.read_text() == ""


def test_deadly_embrace_names_agents_locks_and_sites() -> None:
    """Both threads, both locks by the names of their variables, and the four sites with their source."""
    report = run("deadly_embrace", words=("--on-deadlock", "exit")).stderr
    full = report[report.index("FL001 deadlock: 2 agents, 2 locks") :]
    for who in ('thread "refresh_cache"', 'thread "raise_price"'):
        assert who in full
    sites = [("cache_lock", 1, "holds"), ("db_lock", 1, "waits"), ("db_lock", 2, "holds"), ("cache_lock", 2, "waits")]
    for lock, occurrence, verb in sites:
        source = f"with {lock}:"
        row = next(
            line for line in full.splitlines() if line_of("deadly_embrace", source, occurrence) in line and source in line
        )
        assert row.split()[:2] == [verb, lock]


def test_deadly_embrace_recovers_where_deadlocks_raise() -> None:
    """With raise one thread backs off, the other finishes, and both jobs get done."""
    done = run("deadly_embrace", words=("--on-deadlock", "raise"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    backed_off = [line for line in lines if line.endswith(": backs off, because of a DeadlockError")]
    assert len(backed_off) == 1
    assert lines[-2] == backed_off[0].replace("backs off, because of a DeadlockError", "done")
    assert sorted(lines[:-1]) == sorted([*backed_off, "raise_price: done", "refresh_cache: done"])
    assert lines[-1] == "tea costs 5"


@pytest.mark.parametrize("name", sorted({*INCIDENTS} - {"fork_orphan", "rwlock_upgrade"}))
def test_the_incidents_hang_without_fastlock(name: str) -> None:
    """They are real deadlocks of threading's own locks."""
    with pytest.raises(subprocess.TimeoutExpired):
        run(name, timeout_s=1)


def test_reentrant_callback_says_how_and_goes_on_where_it_raises() -> None:
    """The way through the callback is told, and with raise only the listener fails."""
    done = run("reentrant_callback", words=("--on-deadlock", "raise"))
    assert (done.returncode, done.stdout) == (0, "a listener failed with DeadlockError\n2 changes published\n")
    assert "Bus._lock" in done.stderr or sys.version_info < (3, 11)
    assert "How           through a callback" in done.stderr


def test_inverted_order_needs_replicas() -> None:
    """One replica never deadlocks; four do, in the lines that the docstring speaks of."""
    calm = run("inverted_order", "--replicas", "1", words=("--on-deadlock", "exit"))
    assert (calm.returncode, calm.stderr) == (0, "")
    report = run("inverted_order", words=("--on-deadlock", "exit")).stderr
    for line in ("with stock_lock:", "with audit_lock:"):
        assert f"{line_of('inverted_order', line)} " in report
    assert f"{line_of('inverted_order', 'with stock_lock:', 2)} " in report


def test_inverted_order_fails_single_requests_where_deadlocks_raise() -> None:
    """With raise every request is answered, a few of them with a failure."""
    done = run("inverted_order", words=("--on-deadlock", "raise"))
    assert done.returncode == 0, done.stderr
    served, failed = int(done.stdout.split()[0]), int(done.stdout.split()[3])
    assert served + failed == 400
    assert 0 < failed < 200


@pytest.mark.parametrize("name", ["inverted_order", "inverted_order_fixed"])
def test_inverted_order_one_at_a_time_never_blocks(name: str) -> None:
    """Requests that come one after another are all served, without fastlock too."""
    done = run(name, "--one-at-a-time", "--requests", "25")
    assert (done.returncode, done.stdout) == (0, "100 requests served, 0 failed, audit written 5 times\n")


def test_inverted_order_is_predicted_without_any_blocking(tmp_path: Path) -> None:
    """At level order a run in which nobody waited names both orders and the line to change, and ends with 0."""
    pytest.importorskip("fastlock._order", reason="the lock-order graph is not built")
    findings = tmp_path / "findings.json"
    done = run("inverted_order", "--one-at-a-time", words=("--level", "order", "--json", str(findings)))
    assert (done.returncode, done.stdout) == (0, "400 requests served, 0 failed, audit written 20 times\n")
    (finding,) = map(json.loads, findings.read_text().splitlines())
    assert (finding["code"], finding["tier"], finding["clears"]) == ("FL010", "high", None)
    assert "This has not happened yet" in done.stderr
    for text, occurrence in (("with stock_lock:", 1), ("with audit_lock:", 1), ("with stock_lock:", 2)):
        assert f"{line_of('inverted_order', text, occurrence)} " in done.stderr
    assert "take stock_lock before audit_lock" in finding["fix"]
    assert "  Circles       1 high\n" in done.stderr


def test_the_fixed_order_has_no_circle() -> None:
    """The twin's summary has no circle, under load too."""
    pytest.importorskip("fastlock._order", reason="the lock-order graph is not built")
    done = run("inverted_order_fixed", words=("--level", "order"))
    assert done.returncode == 0 and "FL010" not in done.stderr
    assert "  Circles       none\n" in done.stderr


OWNER = {"before": [], "after": ["--owner"]}


@pytest.mark.parametrize("words", OWNER.values(), ids=OWNER)
def test_owner_task_books_the_same(words: list[str]) -> None:
    """The rewrite does what was done before."""
    done = run("owner_task", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "80 receipts, balance 760\n", "")


def test_owner_task_is_advised_before_and_not_after() -> None:
    """The lock that many wait for with others held is named, and the rewrite leaves nothing to advise."""
    pytest.importorskip("fastlock._order", reason="the lock-order graph is not built")
    before, after = (run("owner_task", *words, words=("--level", "order")) for words in OWNER.values())
    assert (before.returncode, after.returncode) == (0, 0)
    assert "_books_lock" in before.stderr.split("  Advice  ")[1] and "one owner thread" in " ".join(before.stderr.split())
    assert "fastlock: the order of locks in owner_task.py" in after.stderr and "  Advice  " not in after.stderr


def test_fork_orphan_names_the_lost_thread(tmp_path: Path) -> None:
    """The child's finding names the thread that it does not have, and goes into the common JSON file."""
    findings = tmp_path / "findings.json"
    done = run("fork_orphan", words=("--on-deadlock", "exit", "--json", str(findings)))
    assert done.stdout == "the worker has ended with status 3\n"
    finding = json.loads(findings.read_text())
    assert (finding["code"], finding["tier"]) == ("FL004", "proven")
    assert [agent["name"] for agent in finding["agents"]] == ["MainThread", "reporter"]


def test_rwlock_upgrade_fails_one_request_where_it_raises() -> None:
    """With raise the upgrade fails, and the lock is free for the request after it."""
    done = run("rwlock_upgrade", words=("--on-deadlock", "raise"))
    first, second, third = done.stdout.splitlines()
    assert (done.returncode, first, third) == (0, "tea costs 3", "tea costs 3")
    assert second.startswith("coffee: FL012 read-write lock deadlock (proven): MainThread reads prices_lock")


def test_nested_pool_makes_the_other_pages_where_deadlocks_raise() -> None:
    """With raise the page whose wait would starve the pool fails, and its worker makes the parts of the other one."""
    done = run("nested_pool", words=("--on-deadlock", "raise"))
    assert done.returncode == 0, done.stderr
    assert sorted(line.partition(":")[0] for line in done.stdout.splitlines())[0] == "a page failed with DeadlockError"
    assert done.stdout.count("part 0, part 1, part 2") == 1


def test_mixed_ring_is_told_link_by_link() -> None:
    """The lock, the future and the thread's end are told as what they are, and the fix is where the lock is held."""
    report = run("mixed_ring", words=("--on-deadlock", "exit")).stderr
    for link in ("waits for end of reader", "waits for config_lock", "waits for result of check()"):
        assert link in report
    assert f"release config_lock before {line_of('mixed_ring', 'return pool.submit(check).result()')}" in report


@pytest.mark.parametrize("name", ["join_under_lock", "mixed_ring", "result_under_lock"])
def test_the_others_end_where_deadlocks_raise(name: str) -> None:
    """With raise somebody gets a RuntimeError, and the program comes to its end."""
    done = run(name, words=("--on-deadlock", "raise"))
    assert done.returncode == 0 and "DeadlockError" in done.stdout + done.stderr


def test_timeout_names_owner() -> None:
    """The error's text has lock, limit, owner and the line where the owner took it."""
    done = run("timeout_names_owner")
    site = line_of("timeout_names_owner", "with ledger_lock:")
    expected = f'ledger_lock not acquired within 200 ms: held by thread "exporter" since {site} (with ledger_lock:)'
    assert (done.returncode, done.stdout, done.stderr) == (0, f"not posted: {expected}\n", "")


SAID = {
    "gone_consumer": ("Queue.put on orders, 4 of 4, at {1}", 'thread "seller", which has ended', "orders.put(order)"),
    "full_queue": ("Queue.put on pages, 4 of 4, at {1}", "it is the only one who takes from it", "pages.put(link)"),
    "unfinished_queue": ("Queue.join on mails, 3 unfinished, at {1}", 'thread "sender", which has ended', "mails.join()"),
    "lost_wakeup": ("MainThread waits for ready at {1}", 'Who has notified it so far: thread "setup", which has ended', "ready.wait()"),
    "missing_sentinel": ("Queue.get on lines, empty, at {1}", 'thread "tuesday.log", which has ended', "if lines.get() is None:"),
    "stalled_ring": ("Queue.put on log, 3 of 3, at {1}", 'thread "log-writer", which waits for cache_lock', "log.put(name)"),
    "short_barrier": ("step_done at {1}", 'Who has come to it so far, beside them: thread "middle", which has ended', "step_done.wait()"),
}


@pytest.mark.parametrize("name", STALLS)
def test_a_stall_is_proven_and_says_who_is_gone(name: str, tmp_path: Path) -> None:
    """Nothing in the process can run: the wait, its queue, and those who used to wake it are named, and the policy acts."""
    findings = tmp_path / "findings.json"
    done = run(name, words=("--on-deadlock", "exit", "--json", str(findings)), FASTLOCK_SLOW_WAIT="0.3")
    assert done.returncode == 3, done.stderr
    (finding,) = [each for each in map(json.loads, findings.read_text().splitlines()) if each["code"] == "FL031"]
    waits, woken, line = SAID[name]
    assert (finding["tier"], finding["clears"]) == ("proven", False)
    assert waits.replace("{1}", line_of(name, line)) in finding["explanation"]
    assert woken in finding["explanation"]
    assert any("nothing in the process can run" in reason for reason in finding["reasons"])
    assert "fastlock explain FL031" in done.stderr


@pytest.mark.parametrize("name", [*STALLS, "nested_semaphore"])
def test_without_the_mistake_there_is_no_finding(name: str, tmp_path: Path) -> None:
    """The same program with --fixed ends with 0, and with nothing to report."""
    findings = tmp_path / "findings.json"
    done = run(name, "--fixed", words=("--on-deadlock", "exit", "--json", str(findings)), FASTLOCK_SLOW_WAIT="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert findings.read_text() == ""


def told_besides_long_waits(findings: Path) -> list[dict[str, Any]]:
    """Return what a program has told so far; on a slow machine one waits for long before the other comes."""
    lines = findings.read_text().rpartition("\n")[0].splitlines() if findings.exists() else []
    told = [json.loads(line) for line in lines]
    return [each for each in told if each["code"] != "FL020"]


def test_a_nested_semaphore_is_possible_only(tmp_path: Path) -> None:
    """Anybody may release a semaphore, so the report is no proof, and names both lines."""
    findings = tmp_path / "findings.json"
    command = [sys.executable, "-m", "fastlock", "run", "--json", str(findings), str(EXAMPLES / "nested_semaphore.py")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**without_settings(), "FASTLOCK_SLOW_WAIT": "0.5"}) as program:
        found = wait_until(lambda: told_besides_long_waits(findings), LIMIT_S)
        program.kill()
    assert {each["tier"] for each in found} == {"possible"} and {each["code"] for each in found} <= {"FL001", "FL002"}
    sites = {(edge[at]["line"]) for each in found for edge in each["edges"] for at in ("held_at", "wanted_at") if edge[at]}
    assert sites == {int(line_of("nested_semaphore", "with connections:", nth).rpartition(":")[2]) for nth in (1, 2)}
