"""The other end of a process's socket: finds it, makes sure whose it is, asks, and says why there is no answer."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from typing import Any

from fastlock import sockets
from fastlock.processes import YOUNG_S, Process, Unreachable, process, why_unasked, why_unseen

PROTOCOL = 1
LIMIT_S = 3.0
MOST_BYTES = 16_000_000  # of an answer
_NAP_S = 0.02
_FORK_S = 0.2  # after which the child of a fork has a table of its own, and can be seen
_ATTEMPT_S = 0.1  # with less than that left, silence would say nothing about the process


def call(pid: int, request: dict[str, Any], limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Return the answer of a process of this user (root: of any); Unreachable, in one line, where there is none in time.

    The answer's "ok" is true; a refusal is an Unreachable too. What has not been heard in that time is not done later.
    """
    found = process(pid)
    end_s = time.monotonic() + limit_s
    line = json.dumps({"fastlock": PROTOCOL, **request, **_limit(found, end_s)}).encode() + b"\n"
    while True:
        connection = _connection(found, limit_s)
        if connection is None:
            if not _may_come(found) or time.monotonic() > end_s - _ATTEMPT_S:
                raise Unreachable(why_unasked(process(pid)))
        else:
            with connection:
                _require_peer(connection, found)
                answered = _exchange(connection, line, found, end_s, limit_s)
            if answered:
                return _checked(answered, pid)
            process(pid)
        if time.monotonic() > end_s - _ATTEMPT_S:
            raise Unreachable(f"process {pid} hangs up without an answer")
        time.sleep(_NAP_S)  # in the middle of a fork, or of making its socket anew


def _limit(found: Process, end_s: float) -> dict[str, int]:
    """Say when nobody waits for the answer any more, where both of us have the same clock."""
    try:
        same = os.readlink(f"/proc/{found.pid}/ns/time") == os.readlink("/proc/self/ns/time")
    except OSError:
        same = False
    return {"by_ns": int(end_s * 1e9)} if same else {}


def _may_come(found: Process) -> bool:
    """Tell whether a process that has no socket may be about to make one."""
    if found.age_s >= YOUNG_S:
        return False
    if why_unseen(found.pid):
        time.sleep(_FORK_S)
    return not why_unseen(found.pid)


def _connection(found: Process, limit_s: float) -> socket.socket | None:
    for address in sockets.addresses_of(found.pid, found.uid):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(limit_s)
            connection.connect(address)
            return connection
        except OSError as exc:
            connection.close()
            if exc.errno == errno.ECONNREFUSED and not address.startswith("\0"):
                sockets.remove_if_stale(address)
            elif exc.errno in (errno.EAGAIN, errno.ETIMEDOUT):  # so many are waiting for an answer
                raise Unreachable(_silent(found, limit_s)) from None
    return None


def _require_peer(connection: socket.socket, found: Process) -> None:
    """Refuse an answer from another process than the one that is asked."""
    facts = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid = int.from_bytes(facts[:4], sys.byteorder)
    if pid not in (0, found.pid):  # 0: it is in a container that we are not above
        raise Unreachable(f"the socket of process {found.pid} is process {pid}'s")


def _exchange(connection: socket.socket, line: bytes, found: Process, end_s: float, limit_s: float) -> bytes:
    """Return the answer, nothing where the other end hangs up; Unreachable where it is silent."""
    answered = b""
    try:
        connection.sendall(line)
        while not answered.endswith(b"\n") and len(answered) < MOST_BYTES:
            connection.settimeout(max(0.001, end_s - time.monotonic()))
            more = connection.recv(65536)
            if not more:
                return b""
            answered += more
    except TimeoutError:
        raise Unreachable(_silent(found, limit_s)) from None
    except OSError:
        # A refusal may have been sent before the request was read.
        return answered if answered.endswith(b"\n") else b""
    return answered


def _silent(found: Process, limit_s: float) -> str:
    now = process(found.pid)
    seen = f"`fastlock dump {now.pid}` reads it all the same"
    if now.state in "Tt":
        return f"process {now.pid} is stopped and answers when it goes on; {seen}"
    return f"process {now.pid} does not answer within {limit_s:g} s: something keeps its GIL; {seen}"


def _checked(line: bytes, pid: int) -> dict[str, Any]:
    try:
        answer = json.loads(line)
        ok, version = answer["ok"], answer["fastlock"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unreachable(f"process {pid} answers what is no answer of fastlock's") from None
    if ok is not True:
        raise Unreachable(f"process {pid} refuses: {' '.join(str(answer.get('error')).split())}")
    if version != PROTOCOL:
        raise Unreachable(f"process {pid} speaks version {version} of the protocol, not {PROTOCOL}")
    return dict(answer)
