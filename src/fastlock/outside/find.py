"""Finds the tables of other processes, and says in one line why one cannot be seen. Linux: all of it is read in /proc."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastlock.outside import layout
from fastlock.outside.layout import HEADER_SIZE, Image, Unseen
from fastlock.outside.live import Live
from fastlock.outside.records import Records
from fastlock.outside.view import View

_MEMORY = "/memfd:fastlock-table"
_ONLOOKER = "fastlock-onlooker"  # the name of an empty memfd, in who only looks at others
_EXTENSION = "/fastlock/_mapping"
_FORK_LIMIT_S = 0.2  # that a child may take to make its table its own
_NO_DESCRIPTOR = "its table has no descriptor any more (the program closes them in bulk); it has one again as soon as somebody waits for a lock"


class Stat(NamedTuple):
    """What the kernel says of a process: its state (a letter of proc(5)), its parent, and when it began, in ticks: its number may be another's by now."""

    state: str
    parent: int
    started: str

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped, by a signal or a debugger."""
        return self.state in ("T", "t")

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, and waits for its parent to ask for its status."""
        return self.state in ("Z", "X")


class Table:
    """The table of a live process, or one that was saved; each call reads it anew. Not thread-safe; close() or `with`."""

    def __init__(self, descriptor: int, pid: int | None, started: str | None = None, path: str = "") -> None:
        self._descriptor = descriptor
        self._pid = pid
        self._started = started
        self._path = path  # where the process has it
        self._followed: View | None = None
        self._live = Live(descriptor)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the table go; a second time does nothing."""
        self._followed = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()

    def view(self) -> View:
        """Return one moment of the process; Unseen where it is over, or the table damaged. Some milliseconds."""
        return self._view(self._live.read(), self._live.read(), None)

    def follow(self) -> View:
        """The same for who calls it again and again: what still holds of the moment before is taken over, facts and all."""
        last, self._followed = self._followed, None
        if last is None:
            first, second = self._live.read(), self._live.read()
        else:
            first, second = (self._live.read_on(last.records.second) for _ in range(2))
        self._followed = self._view(first, second, last)
        second.settle()
        first.patches = {}
        return self._followed

    def _view(self, first: Image, second: Image, before: View | None) -> View:
        self._still_there()
        header = second.header
        now = header.captured_ns or time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        wall_s = header.captured_wall_ns / 1e9 if header.captured_ns else time.time()
        return View(Records(first, second, None if before is None else before.records), now, wall_s, before)

    def snapshot(self) -> dict[str, Any]:
        """Return what Snapshot.to_dict() returns in that process."""
        return self.view().snapshot()

    def facts(self) -> dict[str, Any]:
        """Return what one line about the process says: names, counts, the oldest wait, health; see docs/table.md."""
        return self.facts_of(self.view())

    def facts_of(self, view: View) -> dict[str, Any]:
        """The same of a moment that is at hand."""
        if self._pid is None:
            return {**view.facts(), "uid": None}
        return facts_of(view, self._pid, uid_of(self._pid), self.is_stopped())

    def is_stopped(self) -> bool:
        """Tell whether the process is stopped, by a signal or a debugger."""
        stat = None if self._pid is None else stat_of(self._pid)
        return stat is not None and stat.is_stopped

    def is_current(self) -> bool:
        """Tell whether this is the process's table still: a program that it executes has another one, or none, and a table may move to another file."""
        mine = os.fstat(self._descriptor)
        try:
            theirs = os.stat(self._path)
            if (theirs.st_dev, theirs.st_ino) == (mine.st_dev, mine.st_ino):
                return True
        except PermissionError:
            return True  # it may not be looked at any more: what is open stays open
        except OSError:
            pass  # closed; it may be in use all the same
        try:
            return any(_MEMORY in line and line.split()[4] == str(mine.st_ino) for line in _maps(self._pid or 0))
        except OSError:
            return False

    def saved(self) -> bytes:
        """Return the table as the bytes of a file that open_file() reads."""
        first, second = self._live.read(), self._live.read()
        raw = os.pread(self._descriptor, HEADER_SIZE, 0)
        return layout.saved(first, second, time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns(), raw)

    def check_owner(self, own_pid: int, patience_s: float) -> None:
        """See to it that the table is that process's own: in the child of a fork it is its parent's for a moment."""
        end = time.monotonic() + patience_s
        while (pid := layout.parse_header(self._live.header()).pid) != own_pid:
            if time.monotonic() >= end:
                when = "without" if patience_s else "just now, or without"
                raise Unseen(f"the table is that of process {pid}, which this one was copied from {when} a fork that fastlock sees")
            time.sleep(0.005)

    def _still_there(self) -> None:
        stat = None if self._pid is None else stat_of(self._pid)
        if self._pid is not None and (stat is None or stat.started != self._started):
            raise Unseen(f"process {self._pid} has ended")


def open_file(path: str) -> Table:
    """Return a table that was saved to a file; Unseen where it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for who writes into it
    except (OSError, ValueError) as error:
        raise Unseen(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    table = Table(descriptor, None)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unseen("this is no regular file")
        table._live.read()
    except Unseen as error:
        table.close()
        raise Unseen(f"{path}: {error}") from None
    return table


def open_table(pid: int, patience_s: float = _FORK_LIMIT_S) -> Table:
    """Return the table of a live process; Unseen, with the reason in one line, where it cannot be seen. Some milliseconds.

    ``patience_s`` is how long the child of a fork is waited for that has not made its own yet.
    """
    _check_process(pid)
    stat = stat_of(pid)
    descriptor, path = _table_of(pid)
    table = Table(descriptor, pid, None if stat is None else stat.started, path)
    try:
        table.check_owner(_own_pid(pid), patience_s)
        table._still_there()
    except Unseen as error:
        table.close()
        raise Unseen(f"process {pid}: {error}") from None
    return table


def facts_of(view: View, pid: int, uid: int | None, is_stopped: bool) -> dict[str, Any]:
    """Return what one line about a live process says, of a moment of it."""
    facts = view.facts()
    facts["pid"] = pid  # as we see it: in a container of its own the process has another number
    if facts["health"] == "ok" and is_stopped:
        facts["health"] = "stopped"
    return {**facts, "uid": uid}


def processes() -> list[int]:
    """Return the PIDs of this user's (root: everybody's) live processes with a table; a fraction of a millisecond each.

    Unseen where the system does not say which processes there are.
    """
    return [pid for pid in numbers() if is_ours(pid) and has_table(pid)]


@contextlib.contextmanager
def looking_on() -> Iterator[None]:
    """Mark this process for the block as one that only looks at others, so that processes() and has_table() leave it out; a descriptor is the mark."""
    mark = -1
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # without descriptors, or by a filter of system calls: then it is seen like any other
            mark = os.memfd_create(_ONLOOKER)
    try:
        yield
    finally:
        if mark >= 0:
            os.close(mark)


def numbers() -> list[int]:
    """Return the PIDs of all processes; Unseen where the system does not say which there are. Some tens of microseconds for a hundred."""
    require_proc()
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def is_ours(pid: int) -> bool:
    """Tell whether a process is this user's; for root each is."""
    user = os.geteuid()
    return user == 0 or uid_of(pid) == user


def has_table(pid: int) -> bool:
    """Tell whether a process has a table, and does more than look at others: a look at each of its descriptors, and at its maps where there is none among these."""
    try:
        opened = [name for _, name in _links(pid)]
        if any(name.startswith(f"/memfd:{_ONLOOKER}") for name in opened):
            return False
        return any(True for _ in _descriptors(pid)) or _mapped(pid) is not None
    except OSError:
        return False


# ---- what /proc says ------------------------------------------------------------------------------------------


def require_proc() -> None:
    """Raise Unseen where processes cannot be seen at all."""
    if not sys.platform.startswith("linux"):
        raise Unseen("processes are seen in /proc, which this system does not have")
    if not os.path.exists("/proc/self/status"):
        raise Unseen("processes are seen in /proc, which is not mounted here")


def _check_process(pid: int) -> None:
    require_proc()
    if pid <= 0:
        raise Unseen(f"{pid} is no process's number")
    status = _status(pid)
    if not status:
        raise Unseen(f"there is no process {pid}")
    if status.get("Tgid", str(pid)) != str(pid):
        raise Unseen(f"{pid} is a thread of process {status['Tgid']}")
    if status.get("State", "").startswith(("Z", "X")):
        raise Unseen(f"process {pid} has ended, and waits for its parent to ask for its status")


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
    except OSError:
        return {}


def stat_of(pid: int) -> Stat | None:
    """Return what the kernel says of a process, None where there is none of that number; some microseconds."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return Stat(fields[0], int(fields[1]), fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _own_pid(pid: int) -> int:
    """The number by which the process knows itself, in the innermost of its namespaces."""
    numbers = _status(pid).get("NSpid", "").split()
    return int(numbers[-1]) if numbers else pid


def uid_of(pid: int) -> int | None:
    """Return the effective user of a process, None where there is none of that number."""
    uids = _status(pid).get("Uid", "").split()
    return int(uids[1]) if len(uids) > 1 else None


def _links(pid: int) -> Iterator[tuple[str, str]]:
    """The process's descriptors: the path of each, and what is open there; OSError where they may not be seen."""
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield path, os.readlink(path)


def _descriptors(pid: int) -> Iterator[str]:
    """Paths of the process's descriptors of a table that it may write: its own, for who looks at another's has opened that for reading."""
    for path, name in _links(pid):
        with contextlib.suppress(FileNotFoundError):
            if name.startswith(_MEMORY) and os.lstat(path).st_mode & stat.S_IWUSR:  # the mode of the link is how it was opened
                yield path


def _maps(pid: int) -> list[str]:
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        return file.readlines()


def _mapped(pid: int) -> str | None:
    """The line of the process's maps that its own table is in: who merely reads another's may not write it."""
    return next((line for line in _maps(pid) if _MEMORY in line and line.split()[1].startswith("rw")), None)


def _table_of(pid: int) -> tuple[int, str]:
    """A descriptor of the process's table, and where the process has it."""
    try:
        for path in _descriptors(pid):
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), path
        line = _mapped(pid)
        loaded = line is None and any(_EXTENSION in each for each in _maps(pid))
    except PermissionError:
        raise Unseen(f"process {pid}: {_why_not(pid)}") from None
    except OSError as error:
        raise Unseen(f"process {pid} cannot be seen: {error.strerror}") from None
    if line is None:
        raise Unseen(f"process {pid}: {'fastlock is in it, but ' + _unmade() if loaded else 'there is no fastlock in it'}")
    path = f"/proc/{pid}/map_files/{_range(line)}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), path
    except OSError:
        raise Unseen(f"process {pid}: {_NO_DESCRIPTOR}; until then only root may read it") from None


def _unmade() -> str:
    return "had no descriptor left to make a table with; it tries again when somebody waits for a lock"


def _range(line: str) -> str:
    """The name in map_files of a line of maps: the same numbers without leading zeros."""
    first, _, last = line.split()[0].partition("-")
    return f"{int(first, 16):x}-{int(last, 16):x}"


def _why_not(pid: int) -> str:
    """Why the kernel does not let us look: it asks for the same user, no more capabilities, and a dumpable process."""
    status = _status(pid)
    theirs = {int(uid) for uid in status.get("Uid", "").split()}
    mine = os.geteuid()
    if theirs - {mine}:
        other = (theirs - {mine}).pop()
        return f"it belongs to {_user(other)}, and this is {_user(mine)}; that user or root may look"
    if int(status.get("CapPrm", "0"), 16) & ~int(_status(os.getpid()).get("CapEff", "0"), 16):
        return "it has capabilities that this process has not; root may look"
    with contextlib.suppress(OSError):
        if os.stat(f"/proc/{pid}/status").st_uid != mine:  # of the directory itself the kernel tells the user anyway
            return "it is not dumpable (it has changed its user, or wants it so); root may look"
    return "the system does not let this process look (a security module, or another user namespace); root may look"


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
