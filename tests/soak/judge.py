"""Starts processes of programs that were made of a seed, and says what is wrong with what fastlock has told of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from healthy.runs import HOME, environment, forbidden, told_of

LIMIT_S = 240.0
PAUSE_S = 0.05
STANDS_STILL = frozenset({"FL001", "FL002", "FL003", "FL012", "FL030", "FL031"})


@dataclass(frozen=True)
class Trial:
    """A program and how it is run."""

    seed: str
    stuck: bool
    level: str = "detect"
    always: bool = False
    stretch: float = 1.0

    def words(self) -> list[str]:
        """Return the command's arguments that repeat it."""
        return ["--seed", self.seed, "--stretch", str(self.stretch), *["--stuck"] * self.stuck, *["--always"] * self.always]


@dataclass
class Outcome:
    """What came of it: what is wrong, and what was told, by code and tier."""

    wrong: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    looks: int = 0


def run(trial: Trial) -> Outcome:
    """Run a program in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory, "findings.json")
        process = subprocess.Popen(
            [sys.executable, "-m", "soak.child", *trial.words()],
            env=environment(told, trial.level),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        outcome = _stuck(process, told) if trial.stuck else _healthy(process, told)
    if outcome.wrong:
        outcome.wrong.insert(0, f"python -m soak.child {' '.join(trial.words())}, level {trial.level}")
    return outcome


def _healthy(process: subprocess.Popen[str], told: Path) -> Outcome:
    """A healthy program ends well, and nothing is said to stand still; guesses that are told as such are counted."""
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return Outcome([f"hangs\n{_dying_words(process)}"])
    answer = json.loads(out.splitlines()[-1]) if process.returncode == 0 and out else None
    if answer is None:
        return Outcome([f"status {process.returncode}\n{out}\n{err}"])
    findings = [*_findings(told), *answer["found"]]
    wrong = [f"failed: {failure}" for failure in answer["failures"]]
    wrong += [told_of(finding) for finding in findings if forbidden(finding, frozenset({"FL031"}))]
    return Outcome([*wrong, out] if wrong else [], _counted(findings), answer["looks"])


def _stuck(process: subprocess.Popen[str], told: Path) -> Outcome:
    """One that is stuck is told to stand still, and proven to where nothing in it leaves a doubt."""
    end = time.monotonic() + LIMIT_S / 2
    findings: list[dict[str, Any]] = []
    assert process.stdout is not None
    while process.poll() is None and time.monotonic() < end:
        findings = [finding for finding in _findings(told) if finding["code"] in STANDS_STILL]
        if any(finding["tier"] == "proven" for finding in findings):
            break
        time.sleep(PAUSE_S)
    words = _dying_words(process)
    lines = process.stdout.read().splitlines()
    doubts = next((json.loads(line)["doubts"] for line in lines if line.startswith('{"doubts"')), None)
    if doubts is not None and (any(finding["tier"] == "proven" for finding in findings) or (doubts and findings)):
        return Outcome([], _counted(findings))
    said = "nothing told" if not findings else "nothing proven of it, only\n" + "\n".join(map(told_of, findings))
    return Outcome(["\n".join([said, f"doubts: {doubts}", *lines, words])], _counted(findings))


def _findings(told: Path) -> list[dict[str, Any]]:
    lines = told.read_text().splitlines(keepends=True) if told.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _counted(findings: list[dict[str, Any]]) -> Counter[str]:
    return Counter({f"{code} {tier}" for code, tier in ((finding["code"], finding["tier"]) for finding in findings)})


def _dying_words(process: subprocess.Popen[str]) -> str:
    """End it; return what it wrote, with everybody's stack, which faulthandler adds."""
    assert process.stderr is not None
    if process.poll() is None:
        process.send_signal(signal.SIGABRT)
    words = process.stderr.read()
    process.wait()
    return words


