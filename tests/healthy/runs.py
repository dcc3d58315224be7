"""Starts processes of programs, and judges what fastlock has said about them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .programs import SLOW_WAIT_S, all_programs

HOME = Path(__file__).resolve().parents[1]  # from where the package is imported
LIMIT_S = 240.0
# What measures something may be said of anybody: that a wait is long, or that a loop's thread had to wait.
MEASURED = frozenset({"FL006", "FL020"})


@dataclass(frozen=True)
class Way:
    """How a process of programs is run."""

    level: str = "detect"
    together: bool = False
    always: bool = False
    stretch: float = 1.0

    def __str__(self) -> str:
        words = [self.level, "together" if self.together else "one by one", "looked at all the time" if self.always else "late looks"]
        return ", ".join([*words, *([f"stretched {self.stretch:g} times"] if self.stretch != 1 else [])])


@dataclass(frozen=True)
class Outcome:
    """What came of a process: what is wrong with it, line by line, and how often find_deadlocks() was called."""

    wrong: tuple[str, ...]
    looks: int


def run(names: Sequence[str], seed: str, way: Way) -> Outcome:
    """Run programs in a process of their own."""
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory, "findings.json")
        words = ["--seed", seed, "--stretch", str(way.stretch), *(["--together"] if way.together else []), *(["--always"] if way.always else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "healthy.child", *words, *names],
            env=environment(told, way.level),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler writes where everybody is
            out, err = process.communicate()
            return Outcome((f"hangs\n{err}",), 0)
        findings = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
    if process.returncode != 0 or not out:
        return Outcome((f"status {process.returncode}\n{out}\n{err}",), 0)
    answer = json.loads(out.splitlines()[-1])
    wrong = [f"a program failed: {failure}" for failure in answer["failures"]]
    guesses = frozenset[str]().union(*(all_programs()[name].guesses for name in names))
    wrong += [told_of(finding) for finding in findings if forbidden(finding, guesses)]
    # Who asks is told what may be, too.
    wrong += [told_of(finding) for finding in answer["found"] if forbidden(finding, guesses | {"FL031"})]
    return Outcome(tuple(wrong), answer["looks"])


def environment(told: Path, level: str) -> dict[str, str]:
    """Return the environment of a process that has fastlock installed and tells its findings to a file."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
    ours = {"INSTALL": "1", "LEVEL": level, "SLOW_WAIT": str(SLOW_WAIT_S), "JSON": str(told), "REPORT_RATE": "1000"}
    return clean | {"PYTHONPATH": str(HOME)} | {f"FASTLOCK_{name}": value for name, value in ours.items()}


def forbidden(finding: dict[str, Any], guesses: frozenset[str]) -> bool:
    """Tell whether a finding may not be said of healthy programs."""
    guess = finding["tier"] != "proven" and finding["code"] in guesses
    return finding["code"] not in MEASURED and not guess


def told_of(finding: dict[str, Any]) -> str:
    """Return a finding as text: what was said, of whom, and where they are."""
    lines = [f"{finding['code']} {finding['tier']}: {finding['explanation']}", *(f"  because: {reason}" for reason in finding["reasons"])]
    locks = {lock["id"]: f"{lock['kind']} {lock['name']}" for lock in finding["locks"]}
    agents = {agent["id"]: agent["name"] for agent in finding["agents"]}
    for edge in finding["edges"]:
        wanted = edge["wanted_at"] or {"file": "?", "line": 0, "function": "?", "text": ""}
        place = f"{os.path.basename(wanted['file'])}:{wanted['line']} in {wanted['function']}"
        holds, waits = (locks.get(edge[key], edge[key]) for key in ("holds", "waits"))
        lines.append(f"  {agents.get(edge['agent'], edge['agent'])} holds {holds}, waits for {waits} at {place}")
    for agent in finding["agents"]:
        lines.append(f"  stack of {agent['name']}: " + " < ".join(f"{site['function']}:{site['line']}" for site in agent["stack"][-8:][::-1]))
    return "\n".join(lines)
