"""A minimal HTTP/1.1 responder: GET and HEAD, one thread, one answer for each connection, limits on everything.

Every byte comes from somebody who may be hostile, slow or gone. A connection has so many bytes and so many seconds; of too many connections the
oldest gives way. Nothing here takes a lock, and only the answers themselves run code that is not in this file.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

MOST_BYTES = 8192  # of a request's head; its body is not wanted
MOST_CONNECTIONS = 32
BACKLOG = 128
LIMIT_S = 5.0
PAUSE_S = 0.1  # before the next attempt, where the process has no descriptor for a connection
STATUS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Request(NamedTuple):
    """What is asked for: the path without a query, and whether the answer is to be JSON."""

    path: str
    wants_json: bool


class Answer(NamedTuple):
    """What is answered."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


Answerer = Callable[[Request], Answer]


class _Connection:
    """One client: what it has sent so far, what it is still to be sent, and until when."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""
        self.answer: bytes | None = None  # None until the request is complete
        self.deadline = time.monotonic() + LIMIT_S


class Responder:
    """Serves a listening socket, which becomes its own, from run() until stop()."""

    def __init__(self, listener: socket.socket, answerer: Answerer) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._answerer = answerer
        self._connections: dict[int, _Connection] = {}  # oldest first; run()'s alone
        self._wake, self._waker = os.pipe()
        self._closed = False

    def run(self) -> None:
        """Answer until stop() is called, on the calling thread."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for fd, _ in poll.poll(self._patience_ms()):
                if fd == self._wake:
                    self.close()
                    return
                if fd == self._listener.fileno():
                    self._accept(poll)
                elif fd in self._connections:
                    self._advance(fd, poll)
            now = time.monotonic()
            for fd in [fd for fd, connection in self._connections.items() if connection.deadline <= now]:
                self._drop(fd, poll)

    def stop(self) -> None:
        """End run(); any thread; once."""
        os.write(self._waker, b".")

    def close(self) -> None:
        """Close everything: at the end of run(), and in the child of a fork, whose parent goes on."""
        if self._closed:
            return
        self._closed = True
        for connection in self._connections.values():
            connection.sock.close()
        self._connections.clear()
        self._listener.close()
        os.close(self._wake)
        os.close(self._waker)

    def _patience_ms(self) -> float | None:
        if not self._connections:
            return None
        soonest = min(connection.deadline for connection in self._connections.values())
        return max(0.0, soonest - time.monotonic()) * 1000 + 1

    def _accept(self, poll: select.poll) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            # It has hung up again, or this process has no descriptor left: then who is here makes room, or there is none to be had just now.
            if self._connections:
                self._drop(next(iter(self._connections)), poll)
            else:
                time.sleep(PAUSE_S)
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            self._drop(next(iter(self._connections)), poll)
        sock.setblocking(False)
        self._connections[sock.fileno()] = _Connection(sock)
        poll.register(sock, select.POLLIN)

    def _drop(self, fd: int, poll: select.poll) -> None:
        poll.unregister(fd)
        self._connections.pop(fd).sock.close()

    def _advance(self, fd: int, poll: select.poll) -> None:
        connection = self._connections[fd]
        try:
            if connection.answer:
                connection.answer = connection.answer[connection.sock.send(connection.answer) :]
            else:
                self._read(connection)
            if connection.answer is None:
                return
            if connection.answer:
                poll.modify(fd, select.POLLOUT)
            else:
                # To close with something unread would be a reset, which may overtake the answer: read on until the client closes.
                poll.modify(fd, select.POLLIN)
                connection.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._drop(fd, poll)

    def _read(self, connection: _Connection) -> None:
        data = connection.sock.recv(MOST_BYTES)
        if not data:
            raise ConnectionResetError
        if connection.answer is not None:
            return  # what comes after the answer is of no interest
        connection.request += data
        end = _end_of_head(connection.request)
        if end < 0 and len(connection.request) < MOST_BYTES:
            return
        if not 0 <= end <= MOST_BYTES:
            connection.answer = _encoded(Answer(431, "the request is too long\n"), with_body=True)
        else:
            connection.answer = self._answered(connection.request[:end])

    def _answered(self, head: bytes) -> bytes:
        first, *others = head.decode("latin-1").replace("\r\n", "\n").split("\n")
        method, _, rest = first.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not target.startswith("/"):
            return _encoded(Answer(400, "this is no HTTP/1.1 request\n"), with_body=True)
        if method not in ("GET", "HEAD"):
            return _encoded(Answer(405, "GET and HEAD only\n"), {"Allow": "GET, HEAD"}, with_body=True)
        accepts = [value for name, _, value in (line.partition(":") for line in others) if name.strip().lower() == "accept"]
        wants_json = any("application/json" in value.lower() for value in accepts)
        return _encoded(self._answerer(Request(target.partition("?")[0], wants_json)), with_body=method == "GET")


def _end_of_head(data: bytes) -> int:
    ends = [end for end in (data.find(b"\r\n\r\n"), data.find(b"\n\n")) if end >= 0]
    return min(ends, default=-1)


def _encoded(answer: Answer, headers: Mapping[str, str] | None = None, *, with_body: bool) -> bytes:
    body = answer.body.encode("utf-8", "backslashreplace")
    lines = [f"HTTP/1.1 {answer.status} {STATUS[answer.status]}", f"Content-Type: {answer.content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = "\r\n".join([*lines, "Cache-Control: no-store", "Connection: close", "", ""]).encode("latin-1")
    return head + body if with_body else head


def listen_unix(path: str) -> socket.socket:
    """Return a socket that listens at a path; what a process that is gone left there is replaced; OSError where it is in use."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.bind(path)
        except OSError:
            if not _is_left_over(path):
                raise
            os.unlink(path)
            sock.bind(path)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_left_over(path: str) -> bool:
    """Whether it is a socket, and nobody listens at it any more."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False  # to connect to a file is refused as well
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False


def listen_tcp(host: str, port: int) -> socket.socket:
    """Return a socket that listens at a loopback address; OSError where the port is in use."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not REUSEPORT: two processes would answer in turn
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
