"""How a finding gets out: raw first, in full once, as JSON and to hooks; and that reporting hurts nobody."""

from __future__ import annotations

import json
import textwrap
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest

from support import PRELUDE, ask, run_program

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "finding.schema.json").read_text())
# A self-deadlock that goes on, of a lock with a name of its own.
TWICE = """
def twice(name):
    lock = fastlock.Lock(name=name, on_deadlock="raise")
    try:
        with lock, lock: pass
    except fastlock.DeadlockError: pass
"""


def run(source: str, **options):
    return run_program(PRELUDE + TWICE + source, **options)


def told(source: str, **options):
    return ask(TWICE.replace("\n", "\n        ") + source, **options)


# ---- standard error


def test_the_raw_report_comes_first_and_the_full_one_after() -> None:
    """Each line of the raw report is prefixed and names agents, locks and sites; then comes the full text."""
    done = run(
        """
left = fastlock.RLock(name="left")
right = fastlock.RLock(name="right")
ring([left, right])
found("FL001")
print(os.getpid())
"""
    )
    raw, full = done.stderr.split("FL001 deadlock: 2 agents, 2 locks", 1)
    site = "support.py:"
    assert raw.splitlines()[0] == f"fastlock: FL001 deadlock, 2 agents (pid {done.stdout.strip()})"
    for line, agent, held, wanted in zip(raw.splitlines()[1:], ("t1", "t0"), ("right", "left"), ("left", "right")):
        assert line.startswith(f"fastlock:   {agent} holds {held} [{site}")
        assert f", waits for {wanted} [{site}" in line
    assert raw.count("\n") == 3
    assert full.endswith("fastlock explain FL001\n")


def test_names_cannot_begin_lines_or_speak_to_the_terminal() -> None:
    """A program may make names of what it is sent: both reports show them on one line each, without control characters."""
    name = "\x1b[31m\x9bx\u202e\nfastlock: FL001 forged"
    stderr = run(f"ring([fastlock.RLock(name={name!a}) for _ in range(2)])\nfound('FL001')\n").stderr
    assert stderr.count("\ufffd[31m\ufffdx\ufffd fastlock: FL001 forged") > 4
    assert all(line.isprintable() for line in stderr.split("\n"))
    assert stderr.count("\nfastlock: FL001 forged") == 0


def test_a_long_circle_is_cut_in_both_reports() -> None:
    """A hundred threads are named in part, and the rest is counted."""
    stderr = run("ring([fastlock.RLock() for _ in range(100)])\nfound('FL001')\n").stderr
    assert "fastlock:   and 88 more\n" in stderr
    assert "100 agents, 100 locks" in stderr
    assert stderr.count("\n") < 150


def test_one_report_for_each_fingerprint() -> None:
    """The same defect ten times is one raw report, one full report and a count; another defect has its own."""
    done = run(
        """
for _ in range(10):
    twice("same")
twice("different")
wait_until(lambda: len(fastlock.findings()) == 2)
print([finding.count for finding in fastlock.findings()])
"""
    )
    assert done.stdout == "[10, 1]\n"
    assert done.stderr.count("FL002 self-deadlock: ") == 2


def test_the_newest_thousand_findings_are_kept() -> None:
    """Older findings make room, and their number is known."""
    counts = told(
        """
        for number in range(1010):
            lock = fastlock.Lock(name=f"lock-{number}", lock_class=f"class-{number}", on_deadlock="raise")
            try:
                with lock, lock: pass
            except fastlock.DeadlockError: pass
        wait_until(lambda: len(fastlock.findings()) + fastlock.findings().dropped == 1010)
        tell([len(fastlock.findings()), fastlock.findings().dropped, fastlock.findings()[0].locks[0].name])
        """
    )
    assert counts == [1000, 10, "lock-10"]


def test_a_closed_standard_error() -> None:
    """Without standard error hooks and JSON still get the finding, and nothing else breaks."""
    finding = told(
        """
        os.close(2)
        seen = []
        fastlock.on_finding(seen.append)
        twice("lock")
        wait_until(lambda: seen)
        tell(seen[0].to_dict())
        """
    )
    assert finding["code"] == "FL002"


def test_a_standard_error_that_blocks_while_the_circle_clears() -> None:
    """The locks of a circle may go while its raw report is written: the report still speaks of them."""
    text = told(
        """
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x" * 512)
        except BlockingIOError:
            os.set_blocking(writer, True)
        both = threading.Barrier(2)
        def make():
            one, other = fastlock.RLock(name="gone1"), fastlock.RLock(name="gone2")
            def gives_up():
                with one:
                    both.wait()
                    other.acquire(timeout=2)
            def closes():
                nonlocal one
                with other:
                    both.wait()
                    blocked("gives_up")
                    one.acquire(timeout=60)
            return start(gives_up), start(closes)
        gives_up, closes = make()
        gives_up.join()
        start(lambda: [os.read(reader, 65536) for _ in iter(int, 1)])
        closes.join()
        assert closes.error is None, closes.error
        tell(str(found("FL001")[0]))
        """
    )
    assert text.startswith("FL001 deadlock that will clear: 2 agents, 2 locks")
    assert 'thread "closes" ── waits ──▶ gone1 ── held by ──▶ thread "gives_up"' in text


# ---- JSON


def test_json_lines_follow_the_schema(tmp_path: Path) -> None:
    """Each new finding is one line that the schema describes, of every code and tier that there is so far."""
    file = tmp_path / "findings.json"
    run(
        """
fastlock.configure(slow_wait=0.05)
twice("self")
ring([fastlock.RLock(), fastlock.RLock()])
ring([fastlock.Lock(), fastlock.Semaphore(1)], "acquire", "acquire")
rwlock = fastlock.RWLock()
start(lambda: [rwlock.acquire_read(), rwlock.acquire_write()])
left = fastlock.RLock(); start(left.acquire).join(); start(left.acquire)
held = fastlock.RLock(); held.acquire(); start(held.acquire)
found("FL001", "FL002", "FL003", "FL012", "FL020")
wait_until(lambda: {"possible", "proven", "measured"} <= {finding.tier for finding in fastlock.findings()})
""",
        env={"FASTLOCK_JSON": str(file)},
    )
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    findings = [json.loads(line) for line in file.read_text().splitlines()]
    for finding in findings:
        validator.validate(finding)
        assert datetime.fromisoformat(finding["detected_at"]).tzinfo
        known = {lock["id"] for lock in finding["locks"]}
        agents = {agent["id"] for agent in finding["agents"]}
        for edge in finding["edges"]:
            assert {edge["holds"], edge["waits"]} - {None} <= known
            assert edge["agent"] in agents
    assert {finding["code"] for finding in findings} == {"FL001", "FL002", "FL003", "FL012", "FL020"}
    assert len({finding["fingerprint"] for finding in findings}) == len(findings)


def test_a_json_file_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    """The directory is gone when the finding comes: one line, and the rest of the report goes on."""
    folder = tmp_path / "gone"
    folder.mkdir()
    done = run(
        f"""
seen = []
fastlock.configure(json={str(folder / 'findings.json')!r})
os.unlink({str(folder / 'findings.json')!r}), os.rmdir({str(folder)!r})
fastlock.on_finding(seen.append)
twice("lock")
wait_until(lambda: seen)
"""
    )
    assert f"fastlock: cannot append to {folder / 'findings.json'}: No such file or directory\n" in done.stderr
    assert done.returncode == 0


# ---- hooks


def test_hooks_choose_codes_and_can_be_removed() -> None:
    """A hook gets each new finding of its codes once, in order, until it is removed; a code alone will do for one."""
    seen = told(
        """
        everything, selves, circles, removed = [], [], [], []
        fastlock.on_finding(lambda finding: everything.append(finding.code))
        fastlock.on_finding(lambda finding: selves.append(finding.code), codes="FL002")
        fastlock.on_finding(lambda finding: circles.append(finding.code), codes=["FL001", "FL003"])
        handle = fastlock.on_finding(removed.append)
        handle.remove(), handle.remove()
        twice("one"), twice("one"), twice("other")
        ring([fastlock.RLock(), fastlock.RLock()])
        wait_until(lambda: circles)
        tell([everything, selves, circles, removed])
        """
    )
    assert seen == [["FL002", "FL002", "FL001"], ["FL002", "FL002"], ["FL001"], []]


@pytest.mark.parametrize("value", ["None", "3"])
def test_a_hook_must_be_callable(value: str) -> None:
    """What cannot be called is a TypeError at once."""
    text = told(f"""
        try:
            fastlock.on_finding({value})
        except TypeError as error:
            tell(str(error))
        """)
    assert text.startswith("on_finding needs a callable, not ")


BAD_HOOKS = {
    "raises": "raise ValueError('mine')",
    "exits": "raise SystemExit(5)",
    "calls back": "results.append([fastlock.snapshot().pid, fastlock.findings(), fastlock.find_deadlocks()]); "
    "fastlock.on_finding(print, codes=()).remove(); fastlock.configure(slow_wait=5)",
    "deadlocks itself": "twice('of the hook')",
}


@pytest.mark.parametrize("body", BAD_HOOKS.values(), ids=BAD_HOOKS)
def test_a_hook_that_misbehaves_hurts_nobody(body: str) -> None:
    """The next hook is called, the next finding too, and the process ends well."""
    done = run(
        f"""
results, seen = [], []
def bad(finding):
    {body}
fastlock.on_finding(bad)
fastlock.on_finding(lambda finding: seen.append(finding.locks[0].name))
twice("first")
wait_until(lambda: "first" in seen)
twice("second")
wait_until(lambda: "second" in seen)
print(len(results), threading.active_count())
"""
    )
    assert done.returncode == 0, done.stderr
    if "raise" in body:
        assert done.stderr.count("fastlock: on_finding failed") == 2
    if "results" in body:
        assert done.stdout.startswith("2 ")


def test_a_hook_that_hangs_is_left_behind() -> None:
    """It is cut off after its limit, said so, and called no more; who waits behind it is served."""
    done = run(
        """
from fastlock import guests
guests.limited.__defaults__ = (1,)
seen, hung = [], []
def hangs(finding):
    hung.append(finding)
    threading.Event().wait()
fastlock.on_finding(hangs)
fastlock.on_finding(lambda finding: seen.append(finding.locks[0].name))
twice("first"), twice("second")
wait_until(lambda: seen == ["first", "second"])
print(len(hung))
"""
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "fastlock: on_finding has not returned in 1 s and is left behind\n" in done.stderr


SINKS = {
    "logging": """
        import logging
        class Sink(logging.Handler):
            def emit(self, record):
                sink(record.fastlock_finding["locks"][0]["name"])
        logging.getLogger().addHandler(Sink())
        """,
    "on_deadlock": """
        policy = lambda finding: sink(finding.locks[0].name)
        def twice(name):
            def wait():
                with lock, lock: pass
            lock = fastlock.Lock(name=name, on_deadlock=policy)
            start(wait)
        """,
}


@pytest.mark.parametrize("what", SINKS)
def test_a_sink_that_hangs_is_skipped_until_it_returns(what: str) -> None:
    """It is waited for once and said once; meanwhile texts and hooks come as ever, and afterwards it is used again."""
    done = run(
        f"""
import _thread
from fastlock import guests, watchdog
gate, got, seen = _thread.allocate_lock(), [], []
gate.acquire()
def sink(name):
    got.append(name)
    if name == "first":
        gate.acquire()
{textwrap.dedent(SINKS[what])}
fastlock.on_finding(lambda finding: seen.append(finding.locks[0].name))
guests.limited.__defaults__ = (1,)
twice("first")
wait_until(lambda: guests._hung)
guests.limited.__defaults__ = (1000.0,)  # who waited for it once more would wait for ever
twice("second")
wait_until(lambda: seen == ["first", "second"])
twice("third")
wait_until(lambda: seen == ["first", "second", "third"])
assert watchdog.flush(90)
gate.release()
wait_until(lambda: not guests._hung)
twice("fourth")
wait_until(lambda: got == ["first", "fourth"])
tell("ok")
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"fastlock: {what} has not returned in 1 s and is left behind\n") == 1
    assert done.stderr.count(f"fastlock: {what} has returned and is used again; findings that it missed: 2\n") == 1
    assert done.stderr.count("fastlock explain FL002") == 4


@pytest.mark.parametrize("code", ["hook takes it", "logging handler takes it"])
def test_user_code_may_want_a_lock_of_the_circle(code: str) -> None:
    """A hook or a logging handler whose lock is stuck in the circle hangs alone: text, JSON and exit still come."""
    done = run(
        f"""
import logging
from fastlock import guests
guests.limited.__defaults__ = (1,)
fastlock.install()
handler = logging.StreamHandler()
handler.createLock()
logging.getLogger().addHandler(handler)
stuck, other = handler.lock, fastlock.RLock()
assert type(stuck) is fastlock.RLock
def take(finding):
    with other: pass
if "{code}".startswith("hook"):
    logging.getLogger().removeHandler(handler)
    fastlock.on_finding(take)
fastlock.configure(on_deadlock="exit")
ring([stuck, other])
threading.Event().wait()
"""
    )
    assert done.returncode == 3, done.stderr
    assert "fastlock explain FL001" in done.stderr
    what = "on_finding" if code.startswith("hook") else "logging"
    assert f"fastlock: {what} has not returned in 1 s and is left behind\n" in done.stderr


def test_a_finaliser_in_the_middle_of_fastlock() -> None:
    """Finalisers that ask for findings, or deadlock themselves, run wherever a collection starts: nothing hangs."""
    assert told(
        """
        import gc
        class Loud:
            def __init__(self):
                self.me = self
            def __del__(self):
                fastlock.findings(), fastlock.on_finding(len).remove()
                twice("of the finaliser")
        gc.set_threshold(3)
        for number in range(300):
            Loud(), fastlock.findings(), twice("of the program")
        gc.set_threshold(700)
        # Collecting does nothing while another thread collects, so once may not be enough.
        wait_until(lambda: gc.collect() < 0 or sum(finding.count for finding in fastlock.findings()) == 600)
        tell(len(fastlock.findings()))
        """
    ) == 2


def test_logging_gets_a_record_with_fields() -> None:
    """Proven findings are errors of the logger `fastlock`, with the finding in the record's fields."""
    records = told(
        """
        import logging
        records = []
        class Keep(logging.Handler):
            def emit(self, record):
                records.append([record.name, record.levelname, record.getMessage()])
                records[-1] += [record.fastlock_code, record.fastlock_tier]
                records[-1] += [record.fastlock_locks, record.fastlock_agents]
        logging.getLogger().addHandler(Keep())
        twice("lock")
        wait_until(lambda: records)
        tell(records)
        """
    )
    assert [record[:2] + record[3:] for record in records] == [["fastlock", "ERROR", "FL002", "proven", ["lock"], ["MainThread"]]]
    assert records[0][2].startswith("FL002 self-deadlock (proven): MainThread holds lock since ")


def test_what_is_found_at_the_end_is_reported_before_the_process_ends() -> None:
    """A finding of the last moment is still printed in full: the end of the program waits for the report."""
    for _ in range(5):
        done = run("twice('last')\n")
        assert (done.returncode, "fastlock explain FL002" in done.stderr) == (0, True)


def test_ctrl_c_in_the_middle_of_a_report_is_not_swallowed() -> None:
    """What a signal handler raises while its thread reports goes on to the program, and leaves no trace."""
    assert told(
        """
        import signal
        from fastlock import _core, watchdog
        def handler(event):
            os.kill(os.getpid(), signal.SIGINT)
            return watchdog.handle(event)
        _core.set_handler(handler)
        lock = fastlock.Lock()
        try:
            with lock, lock: pass
        except KeyboardInterrupt:
            tell([lock.locked(), len(fastlock.snapshot().waits)])
        """
    ) == [False, 0]


def test_the_reporting_thread_takes_no_signal_of_the_program() -> None:
    """A signal that the program blocks in all its threads, to wait for it, is not delivered to a thread of fastlock's that was there before."""
    done = run(
        """
import signal
from fastlock import watchdog
twice("first")
assert watchdog.flush(30)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
for _ in range(20):
    os.kill(os.getpid(), signal.SIGUSR2)
    assert signal.sigwait([signal.SIGUSR2]) == signal.SIGUSR2
seen = []
fastlock.on_finding(lambda finding: seen.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
twice("second")
wait_until(lambda: seen)
print(seen)
"""
    )
    assert (done.returncode, done.stdout) == (0, "[set()]\n"), done.stderr


def test_the_schema_itself_is_valid() -> None:
    """docs/finding.schema.json is a JSON schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
