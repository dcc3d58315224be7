"""What a thread of another process sleeps in, as the kernel says it: read in /proc, from outside, without stopping it."""

from __future__ import annotations

import os
from typing import NamedTuple

# Beginnings of the kernel's names for what a thread sleeps in, and what that is for people. The names differ between kernels.
_CHANNELS = (
    (("hrtimer_nanosleep", "do_nanosleep", "clock_nanosleep"), "sleeps for a time"),
    (("do_poll", "poll_schedule", "do_sys_poll", "do_select", "ep_poll", "do_epoll"), "waits for a socket or pipe to be ready"),
    (("tcp_", "udp_", "inet_csk", "sk_wait", "sk_stream", "unix_stream", "unix_accept", "unix_dgram", "wait_woken", "__skb_wait", "skb_"), "waits for the network, or another process at a socket"),
    (("pipe_", "anon_pipe", "wait_for_partner"), "waits at a pipe"),
    (("futex", "do_futex"), "waits for another thread, or for its turn to run Python (the GIL)"),
    (("do_wait", "kernel_wait", "wait4", "waitid"), "waits for a child process"),
    (("io_schedule", "folio_wait", "wait_on_page", "jbd2", "rq_qos", "blk_", "ext4", "xfs_", "btrfs", "nfs", "rpc_wait", "fuse_", "request_wait_answer"), "waits for a disk or file system"),
    (("flock_lock", "fcntl_setlk", "posix_lock", "locks_lock"), "waits for a lock on a file"),
    (("n_tty_read", "tty_"), "waits for a terminal"),
)  # fmt: skip
_STATES = {"S": "sleeps in the kernel", "D": "waits in the kernel, and nothing can interrupt it"}


class Sleep(NamedTuple):
    """A thread that sleeps: in words, and the kernel's name for it, "" where it is not told."""

    text: str
    channel: str


def sleep_of(pid: int, tid: int) -> Sleep | None:
    """Return what a thread sleeps in, None where it runs, is stopped or gone, or may not be looked at; ``tid`` as the process itself has it."""
    directory = f"/proc/{pid}/task/{tid}"
    if not _is_it(directory, tid):
        directory = _in_its_namespace(pid, tid)
        if not directory:
            return None
    try:
        with open(f"{directory}/stat", encoding="utf-8", errors="replace") as file:
            state = file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    if state not in _STATES:
        return None
    channel = _channel(directory)
    words = next((text for starts, text in _CHANNELS if channel and channel.lstrip("_").startswith(starts)), _STATES[state])
    return Sleep(words, channel)


def _channel(directory: str) -> str:
    try:
        with open(f"{directory}/wchan", encoding="ascii", errors="replace") as file:
            name = file.read(64).strip()
    except OSError:
        return ""
    return name if name.replace("_", "").replace(".", "").isalnum() and not name.isdigit() else ""


def _is_it(directory: str, tid: int) -> bool:
    return _numbers(directory)[-1:] == [str(tid)]


def _numbers(directory: str) -> list[str]:
    """Return a thread's numbers, from our PID namespace to its own."""
    try:
        with open(f"{directory}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NSpid:"):
                    return line.split()[1:]
    except OSError:
        return []
    return [os.path.basename(directory)]


def _in_its_namespace(pid: int, tid: int) -> str:
    """Return the directory of the thread with that number in a container of its own, "" where there is none."""
    task = f"/proc/{pid}/task"
    if len(_numbers(f"/proc/{pid}")) < 2:
        return ""
    try:
        names = os.listdir(task)
    except OSError:
        return ""
    return next((f"{task}/{name}" for name in names if _is_it(f"{task}/{name}", tid)), "")
