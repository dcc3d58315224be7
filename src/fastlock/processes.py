"""What the system says of a process from outside, and why one that is there cannot be asked; reads /proc, changes nothing."""

from __future__ import annotations

import os
import pwd
import time
from typing import NamedTuple

from fastlock import config
from fastlock.errors import ConfigError, FastlockError
from fastlock.outside import Unseen, open_table, require_proc

YOUNG_S = 3.0  # a process which has lived shorter may not have come to install fastlock, or to make its socket


class Unreachable(FastlockError):
    """A process cannot be asked; the message is one line that says why."""


class Process(NamedTuple):
    """A process as the system has it: whose it is, its state (a letter of proc(5)), threads, and age."""

    pid: int
    uid: int
    state: str
    threads: int
    age_s: float


def process(pid: int) -> Process:
    """Return what is known of a process; Unreachable where there is none."""
    try:
        require_proc()
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            facts = dict(line.split(":", 1) for line in file if ":" in line)
        age_s = _age_s(pid)
    except Unseen as exc:
        raise Unreachable(str(exc)) from None
    except (FileNotFoundError, ProcessLookupError):
        raise Unreachable(f"there is no process {pid}") from None
    except OSError as exc:
        raise Unreachable(f"process {pid}: /proc says nothing of it: {exc.strerror}") from None
    leader = int(facts["Tgid"])
    if leader != pid:
        raise Unreachable(f"{pid} is a thread of process {leader}")
    state = facts["State"].split()[0]
    if state in "ZX":
        raise Unreachable(f"process {pid} has ended, and its parent has not taken notice yet")
    return Process(pid, int(facts["Uid"].split()[1]), state, int(facts["Threads"]), age_s)


def _age_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        started_ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


def user(uid: int) -> str:
    """Return a user's number, with the name where there is one."""
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"


def why_unseen(pid: int) -> str:
    """Say why the table of a process cannot be read; nothing where it can be."""
    try:
        open_table(pid).close()
    except Unseen as exc:
        return str(exc)
    return ""


def why_unasked(found: Process) -> str:
    """Say why a process that is there does not answer on a socket."""
    pid = found.pid
    reason = why_unseen(pid)
    if reason:
        return reason
    stopped = "it was stopped before it made one, " if found.state in "Tt" else ""
    unmade = f"no socket: {stopped}it has not called install() (or not imported threading yet), or has set control=False"
    return f"process {pid} has fastlock, but {_switched_off(pid) or unmade}"


def _switched_off(pid: int) -> str:
    try:
        started_with = config.environment_of(pid)
        if config.switch("disable", started_with):
            return "it is disabled: the process was started with FASTLOCK_DISABLE"
        text = started_with.get(config.variable("control"), "")
        if text and not config.parse_text("control", text, config.variable("control")):
            return "no socket: the process was started with FASTLOCK_CONTROL=0"
    except (OSError, ConfigError):
        return ""  # what cannot be read or means nothing explains nothing
    return ""
