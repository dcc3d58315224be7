"""Sockets, pipes and servers: the thread that could wake the others is in the system, waiting for somebody else."""

from __future__ import annotations

import fcntl
import http.client
import http.server
import os
import queue
import selectors
import socket
import socketserver
import tempfile
import threading
from typing import Any

import fastlock

from .programs import Pace, joined, program, started, together


@program()
def echo(pace: Pace) -> None:
    """A thread echoes over a pair of sockets, and takes its time."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            while data := theirs.recv(100):
                pace.maybe_long(0.3)
                theirs.sendall(data.upper())

    (server,) = started(serve)
    with ours:
        for word in (b"one", b"two", b"three", b"four"):
            ours.sendall(word)
            assert ours.recv(100) == word.upper()
    server.join()


@program()
def pipe_between_threads(pace: Pace) -> None:
    """A writer fills a pipe, whose reader is slow: the system lets the writer wait."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb", buffering=0) as target:
            for _ in range(4):
                target.write(b"x" * 40_000)

    (writer,) = started(write)
    size = 0
    with open(reading, "rb", buffering=0) as source:
        while data := source.read(30_000):
            size += len(data)
            pace.maybe_long()
    writer.join()
    assert size == 160_000


@program()
def reader_thread(pace: Pace) -> None:
    """A thread reads from a socket into a queue, from which the main thread takes; the answers come late, from yet another thread."""
    ours, theirs = socket.socketpair()
    lines: Any = queue.Queue()

    def read() -> None:
        with ours, ours.makefile("r") as source:
            for line in source:
                lines.put(line.strip())
        lines.put(None)

    def write() -> None:
        with theirs:
            for number in range(5):
                pace.maybe_long(0.5)
                theirs.sendall(b"%d\n" % number)

    threads = started(read, write)
    assert list(iter(lines.get, None)) == ["0", "1", "2", "3", "4"]
    joined(threads)


@program()
def selecting_server(pace: Pace) -> None:
    """One thread serves many connections with a selector, and is woken by a socket to end."""
    pairs = [socket.socketpair() for _ in range(3)]
    wake, woken = socket.socketpair()

    def serve() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            for _, theirs in pairs:
                selector.register(theirs, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is woken:
                        return
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(100)
                    pace.maybe_long()
                    key.fileobj.sendall(data[::-1])

    (server,) = started(serve)

    def ask(ours: socket.socket) -> None:
        for word in (b"abc", b"def"):
            ours.sendall(word)
            assert ours.recv(100) == word[::-1]

    together(*(lambda s=s: ask(s) for s, _ in pairs))
    pace.long()
    wake.sendall(b"x")
    server.join()
    for each in (*(one for pair in pairs for one in pair), wake, woken):
        each.close()


@program()
def guarded_connection(pace: Pace) -> None:
    """Threads share one connection under a lock that is held while the answer is on its way."""
    ours, theirs = socket.socketpair()
    lock = threading.Lock()

    def serve() -> None:
        with theirs:
            while data := theirs.recv(1):
                pace.maybe_long(0.3)
                theirs.sendall(data)

    def ask(letter: bytes) -> None:
        for _ in range(2):
            with lock:
                ours.sendall(letter)
                assert ours.recv(1) == letter

    (server,) = started(serve)
    together(*(lambda letter=letter: ask(letter) for letter in (b"a", b"b", b"c")))
    ours.close()
    server.join()


class Upper(socketserver.StreamRequestHandler):
    """Answers each line in capitals."""

    def handle(self) -> None:
        for line in self.rfile:
            self.server.pace.maybe_long()  # type: ignore[attr-defined]
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each connection, which the server joins at its end."""

    block_on_close = True


@program()
def thread_for_each_connection(pace: Pace) -> None:
    """socketserver with threads: the server waits in a selector, the handlers in their sockets, shutdown() for the server."""
    with tempfile.TemporaryDirectory() as directory:
        with Server(os.path.join(directory, "s"), Upper) as server:
            server.pace = pace  # type: ignore[attr-defined]
            (serving,) = started(lambda: server.serve_forever(poll_interval=0.05))

            def ask() -> None:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(server.server_address)  # type: ignore[arg-type]
                    with client.makefile("rw") as file:
                        for word in ("one", "two"):
                            file.write(f"{word}\n")
                            file.flush()
                            assert file.readline() == f"{word.upper()}\n"

            together(*[ask] * 3)
            server.shutdown()
            serving.join()


class Page(http.server.BaseHTTPRequestHandler):
    """Answers with the path, behind a lock that all handlers share."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()

    def do_GET(self) -> None:
        with self.lock:
            self.server.pace.maybe_long()  # type: ignore[attr-defined]
            body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@program()
def web_server(pace: Pace) -> None:
    """http.server with threads, whose clients are threads too."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.pace = pace  # type: ignore[attr-defined]
        (serving,) = started(lambda: server.serve_forever(poll_interval=0.05))

        def visit() -> None:
            client = http.client.HTTPConnection("127.0.0.1", server.server_port)
            for number in range(3):
                client.request("GET", f"/{number}")
                assert client.getresponse().read() == b"/%d" % number
            client.close()

        together(*[visit] * 3)
        server.shutdown()
        serving.join()


@program()
def acceptor(pace: Pace) -> None:
    """One thread accepts and hands the connections to a few workers by a queue, which are idle most of the time."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: Any = queue.Queue()

    def accept() -> None:
        for _ in range(4):
            connections.put(listener.accept()[0])
        for _ in workers:
            connections.put(None)

    def work() -> None:
        while (connection := connections.get()) is not None:
            with connection:
                pace.maybe_long()
                connection.sendall(b"hello")

    workers = started(*[work] * 3)
    threads = started(accept)
    for _ in range(4):
        pace.maybe_long(0.5)
        with socket.create_connection(listener.getsockname()) as client:
            assert client.recv(100) == b"hello"
    joined([*threads, *workers])
    listener.close()


@program()
def locked_file(pace: Pace) -> None:
    """Threads take a file's lock from the system, which fastlock cannot see, under a lock that it can."""
    count = [0]
    lock = threading.Lock()
    with tempfile.NamedTemporaryFile() as file:

        def use() -> None:
            with open(file.name, "wb") as mine:
                fcntl.flock(mine, fcntl.LOCK_EX)
                pace.maybe_long(0.3)
                with lock:
                    count[0] += 1
                fcntl.flock(mine, fcntl.LOCK_UN)

        together(*[use] * 4)
    assert count == [4]


@program()
def declared(pace: Pace) -> None:
    """Waits that the program declares itself, and whom it waits for, around sockets; each ends."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            while data := theirs.recv(1):
                pace.maybe_long(0.5)
                theirs.sendall(data)

    (server,) = started(serve)
    with ours:
        for number in range(4):
            ours.sendall(b"x")
            with fastlock.waiting_for("the answer", wakers=[server] if number % 2 else None):
                assert ours.recv(1) == b"x"
    with fastlock.waiting_for("the server's end", wakers=[server]):
        server.join()
