"""health(), and /livez on a thread of fastlock's own: true at once, in each process its own, and not to be hurt from outside."""

from __future__ import annotations

import json
import os
import random
import select
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed (the extra `test` has it)")

from prometheus_client.parser import text_string_to_metric_families

import fastlock
from fastlock import config, responder
from fastlock.addresses import Address, parse_address
from support import PRELUDE, ask, run_program

# For the programs: a directory for sockets, whose paths must be short, and a client.
CLIENT = """
import socket
import tempfile
place = tempfile.mkdtemp(prefix="fl")

def get(path="/livez", accept="*/*", address=None):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address or f"{place}/{os.getpid()}.sock")
    sock.settimeout(20)
    sock.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\nAccept: {accept}\\r\\n\\r\\n".encode())
    head, _, body = b"".join(iter(lambda: sock.recv(65536), b"")).decode().partition("\\r\\n\\r\\n")
    return int(head.split()[1]), body

def serve(**more):
    fastlock.configure(livez=f"unix:{place}/{{pid}}.sock", **more)

def embrace():
    ring([fastlock.RLock(name="left"), fastlock.RLock(name="right")])
    found("FL001")
"""


def told(source: str, **options):
    return ask(CLIENT.replace("\n", "\n        ") + source, **options)


def run(source: str, **options):
    return run_program(PRELUDE + CLIENT + source, **options)


# ---- health


def test_health_is_well_without_a_deadlock() -> None:
    """Nothing found is "ok"."""
    now = fastlock.health()
    assert (now.ok, now.reason, now.deadlocks, now.deadlocked_agents, now.pid) == (True, "ok", (), 0, os.getpid())
    assert json.loads(json.dumps(now.to_dict()))["ok"] is True


def test_health_fails_while_a_deadlock_stands() -> None:
    """The reason names both agents and locks on one line, with the report's number."""
    now, fingerprint = told("embrace(); tell([fastlock.health().to_dict(), fastlock.findings()[0].fingerprint])")
    assert not now["ok"] and now["deadlocks"] == [fingerprint] and now["deadlocked_agents"] == 2
    assert now["reason"].startswith("FL001 deadlock: ") and "\n" not in now["reason"]
    assert all(word in now["reason"] for word in ("t0", "t1", "left", "right", fingerprint[:6]))


PROVEN = {
    "FL002, itself": "lock = fastlock.Lock()\ndef twice():\n    with lock, lock: pass\nstart(twice)",
    "FL003, of one who has ended": "lock = fastlock.RLock(); start(lock.acquire).join(); start(lock.acquire)",
    "FL001, of readers and a writer": "rw, lock = fastlock.RWLock(), fastlock.RLock()\nboth = threading.Barrier(2)\n"
    "def reads():\n    with rw.read():\n        both.wait()\n        with lock: pass\n"
    "def writes():\n    with lock:\n        both.wait()\n        with rw.write(): pass\nstart(reads), start(writes)",
    "FL001, of two tasks": """import asyncio
from fastlock import aio
async def main():
    left, right = aio.Lock(), aio.Lock()
    async def embrace(first, then):
        async with first:
            await asyncio.sleep(0)
            async with then: pass
    await asyncio.gather(embrace(left, right), embrace(right, left))
start(asyncio.run, main())""",
    "FL001, of a task that holds a lock across an await": """import asyncio
async def main():
    lock = fastlock.Lock()
    async def holds():
        with lock: await asyncio.sleep(0.01)
    async def wants():
        with lock: pass
    await asyncio.gather(holds(), wants())
start(asyncio.run, main())""",
}


@pytest.mark.parametrize("name", PROVEN)
def test_every_confirmed_deadlock_fails(name: str) -> None:
    """Threads, tasks and who waits for somebody that is gone: as soon as it is reported the process is not well, and stays so."""
    source = PROVEN[name].replace("\n", "\n        ")
    agents = 1 if name.startswith(("FL002", "FL003")) else 2
    ok, reason, deadlocked = told(
        f"""
        {source}
        found("{name[:5]}"); fastlock.watchdog.flush(90)
        now = fastlock.health()
        tell([now.ok, now.reason, fastlock.metrics().deadlocked_agents])
        """
    )
    assert (ok, reason[:5], deadlocked) == (False, name[:5], agents)


UNPROVEN = {
    "will-clear": "ring([fastlock.RLock(), fastlock.RLock(timeout=100)])\nfound('FL001')",
    "possible": "fastlock.configure(slow_wait=0.05)\nring([fastlock.Lock(), fastlock.Lock()], 'acquire', 'acquire')\nfound('FL001')",
    "long wait": "fastlock.configure(slow_wait=0.05)\nheld = fastlock.RLock(); held.acquire(); start(held.acquire)\nfound('FL020')",
    "refused": "[t.join() for t in ring([fastlock.RLock(on_deadlock='raise'), fastlock.RLock(on_deadlock='raise')])]\nfound('FL001')",
}


@pytest.mark.parametrize("source", UNPROVEN.values(), ids=UNPROVEN)
def test_what_is_not_a_confirmed_deadlock_leaves_it_well(source: str) -> None:
    """What ends by itself, is only possible, only slow, or has been refused, is no reason to restart a process."""
    source = source.replace("\n", "\n        ")
    assert told(f"{source}\n        fastlock.watchdog.flush(90)\n        tell(fastlock.health().ok)") is True


def test_the_second_circle_of_one_defect_is_a_deadlock_as_well() -> None:
    """A report comes once for each defect, but each circle counts: the first one over, the second fails the process."""
    assert told(
        """
        import signal
        class Over(Exception): pass
        def breaks(*_): raise Over
        signal.signal(signal.SIGUSR1, breaks)
        left, right = fastlock.RLock(name="left"), fastlock.RLock(name="right")
        def want(first, then, go):
            with first:
                go()
                with then: pass
        def mine():
            names.append(f"other{len(names)}")
            t = start(want, right, left, lambda: None, name=names[-1])
            wait_until(lambda: any(agent.name == names[-1] for agent in fastlock.snapshot().agents if agent.waits))
            return t
        names, states = [], []
        for time in range(2):
            def look(time=time):
                wait_until(lambda: not fastlock.health().ok)
                states.append([f.count for f in fastlock.findings()])
                os.kill(os.getpid(), signal.SIGUSR1)
            others = []
            try:
                want(left, right, lambda: (others.append(mine()), start(look)))
            except Over: pass
            others[0].join()
            states.append(fastlock.health().ok)
        tell(states)
        """
    ) == [[1], True, [2], True]


# ---- /livez


def test_livez_says_ok_and_then_the_reason() -> None:
    """200 before, 503 with the reason in a line after, the same as JSON for who accepts it."""
    before, after, as_json, reason = told(
        """
        serve()
        before = get()
        embrace()
        tell([before, get(), get(accept="text/html, application/json;q=0.9"), fastlock.health().reason])
        """
    )
    assert before == [200, "ok\n"]
    assert after == [503, f"{reason}\n"]
    assert as_json[0] == 503 and json.loads(as_json[1])["reason"] == reason


def test_metrics_are_at_the_same_address() -> None:
    """What a deadlocked process says of itself is Prometheus's own text."""
    status, text = told("serve(); embrace(); tell(get('/metrics'))")
    assert status == 200
    values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert (values["fastlock_deadlocked_agents"], values["fastlock_waiting_agents"], values["fastlock_findings_total"]) == (2, 2, 1)


def test_the_dump_is_written_first_and_once_for_each_deadlock() -> None:
    """The file is there when the first 503 is, nobody else reads it, it is a snapshot, and it is not written again."""
    mode, first, second, dump = told(
        """
        serve(dump_dir=place)
        embrace()
        assert get()[0] == 503
        path = f"{place}/fastlock-{os.getpid()}-{fastlock.findings()[0].fingerprint[:6]}.json"
        dump = json.loads(open(path).read())
        first = os.stat(path).st_mtime_ns
        assert get()[0] == 503
        tell([os.stat(path).st_mode, first, os.stat(path).st_mtime_ns, dump])
        """
    )
    assert stat.S_IMODE(mode) == 0o600 and first == second
    assert {"pid", "agents", "locks", "waits", "findings"} <= set(dump)
    assert [finding["code"] for finding in dump["findings"]] == ["FL001"]


def test_without_a_directory_the_reason_goes_to_standard_error_once() -> None:
    """One line, however often it is asked."""
    done = run("serve(); embrace()\nprint([get()[0] for _ in range(3)], flush=True); os._exit(0)\n")
    assert done.stdout == "[503, 503, 503]\n"
    assert done.stderr.count("fastlock: /livez fails: FL001 deadlock: ") == 1


def test_a_dump_that_cannot_be_written_is_said() -> None:
    """The directory has gone: the answer is the same, and the line says why there is no file."""
    done = run(
        "serve(dump_dir=tempfile.mkdtemp())\nos.rmdir(fastlock.config.current().dump_dir)\nembrace()\n"
        "print(get()[0], flush=True); os._exit(0)\n"
    )
    assert done.stdout == "503\n" and ".json: No such file or directory\n" in done.stderr


def test_it_answers_while_every_lock_of_the_program_is_stuck() -> None:
    """Logging's, the registry's, the import lock of a module, standard output's: none of them is waited for."""
    assert told(
        """
        fastlock.install()
        import logging, sys, importlib
        from prometheus_client import REGISTRY
        import fastlock.prometheus
        fastlock.prometheus.register()
        serve(dump_dir=place)
        gate = fastlock.RLock(name="gate"); gate.acquire()
        open(f"{place}/stuck.py", "w").write("import builtins; builtins.gate.acquire()")
        import builtins; builtins.gate = gate; sys.path.insert(0, place)
        def holds(lock):
            with lock: gate.acquire()
        assert isinstance(REGISTRY._lock, (type(fastlock.Lock()), fastlock.RLock)), "the registry's lock is to be ours"
        start(holds, REGISTRY._lock, name="registry")
        start(holds, logging.root.handlers[0].lock if logging.root.handlers else logging._lock, name="log")
        start(importlib.import_module, "stuck", name="import")
        blocked("registry", "log", "import")
        embrace()
        tell([get()[0], get("/metrics")[0], len(list(fastlock.prometheus.Collector().collect())) > 5])
        """
    ) == [503, 200, True]


def test_another_address_ends_the_first() -> None:
    """Settings that do not touch it leave it alone; a new address is served, the old path is gone; None ends it."""
    assert told(
        """
        serve()
        fastlock.configure(slow_wait=5)
        first = get()[0]
        fastlock.configure(livez=f"unix:{place}/other.sock")
        second = get(address=f"{place}/other.sock")[0]
        there = sorted(os.listdir(place))
        fastlock.configure(livez=None)
        tell([first, second, there, os.listdir(place)])
        """
    ) == [200, 200, ["other.sock"], []]


def test_a_loopback_port() -> None:
    """It is served, taken again after a change, and a second process that wants it says so in one line and lives on."""
    done = run(
        """
import subprocess, sys
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
def ask():
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"GET /livez HTTP/1.0\\n\\n")
        return b"".join(iter(lambda: sock.recv(4096), b"")).split()[1]
answers = []
for _ in range(3):
    fastlock.configure(livez=f"127.0.0.1:{port}")
    answers.append(ask())
    fastlock.configure(livez=None)
fastlock.configure(livez=f"localhost:{port}")
second = subprocess.run([sys.executable, "-c", "import fastlock; print(fastlock.health().ok)"],
                        env={**os.environ, "FASTLOCK_LIVEZ": f"127.0.0.1:{port}"}, capture_output=True, text=True, timeout=20)
print(answers, second.returncode, second.stdout.strip(), second.stderr.count("\\n"), second.stderr)
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[b'200', b'200', b'200'] 0 True 1 fastlock: no /livez of process ")
    assert "Address already in use; several processes need unix:/path-{pid}.sock" in done.stdout


def test_each_child_of_a_fork_has_its_own() -> None:
    """With {pid} the child answers for itself: the parent's deadlock is not its own, and the parent's socket goes on."""
    parent, child = told(
        """
        serve()
        embrace()
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, json.dumps(get()).encode())
            os._exit(0)
        os.wait()
        tell([get()[0], json.loads(os.read(reader, 1000))])
        """
    )
    assert (parent, child) == (503, [200, "ok\n"])


def test_a_child_without_an_address_of_its_own_says_so() -> None:
    """The parent's socket is closed in the child, which says in one line that it has none; its own child need not."""
    done = run(
        """
fastlock.configure(livez=f"unix:{place}/one.sock")
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
print(get(address=f"{place}/one.sock")[0], flush=True)
fastlock.configure(livez=None)
try:
    get(address=f"{place}/one.sock")
except OSError as error:
    print(type(error).__name__)
"""
    )
    assert done.stdout == "200\nFileNotFoundError\n"
    assert done.stderr.count("one.sock is its parent's; several processes need unix:/path-{pid}.sock\n") == 1


def test_what_a_killed_process_left_is_replaced() -> None:
    """The path of a process that is gone is taken over; one that somebody listens at, or that is a file, is left alone."""
    with tempfile.TemporaryDirectory(prefix="fl") as place:
        path = f"{place}/l.sock"
        responder.listen_unix(path).close()
        assert os.path.exists(path)
        with responder.listen_unix(path):
            with pytest.raises(OSError, match="in use"):
                responder.listen_unix(path)
        os.unlink(path)
        Path(path).write_text("mine")
        with pytest.raises(OSError, match="in use"):
            responder.listen_unix(path)
        assert Path(path).read_text() == "mine"


def test_the_socket_goes_with_the_process() -> None:
    """A process that ends takes its path away."""
    done = run("serve(); print(place)")
    assert os.listdir(done.stdout.strip()) == [] and done.returncode == 0


def test_fastlocks_own_tool_does_not_serve() -> None:
    """`fastlock explain` in a container that has the variable says what it is asked, and nothing of addresses in use."""
    with tempfile.TemporaryDirectory(prefix="fl") as place, responder.listen_unix(f"{place}/l.sock"):
        done = run_program("", through=["-m", "fastlock", "explain", "FL001"], env={"FASTLOCK_LIVEZ": f"unix:{place}/l.sock"})
        assert "no /livez" not in done.stderr


ADDRESSES = {
    "127.0.0.1:9464": Address("127.0.0.1:9464", host="127.0.0.1", port=9464),
    "127.8.0.1:1": Address("127.8.0.1:1", host="127.8.0.1", port=1),
    "localhost:80": Address("localhost:80", host="127.0.0.1", port=80),
    "[::1]:65535": Address("[::1]:65535", host="::1", port=65535),
    "unix:/tmp/l-{pid}.sock": Address("unix:/tmp/l-{pid}.sock", path="/tmp/l-{pid}.sock"),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    """What may be written and what it means; the bad ones are with the other settings."""
    assert parse_address(text) == ADDRESSES[text]
    assert config._parse("livez", ADDRESSES[text]) == ADDRESSES[text]
    assert parse_address(text).each_has_its_own == ("{pid}" in text)


def test_a_process_without_a_free_descriptor_answers_when_it_has_one_again() -> None:
    """Who asks meanwhile waits in the queue, and nothing is lost."""
    assert told(
        """
        import resource
        serve()
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        free = os.dup(0); os.close(free)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        client.connect(f"{place}/{os.getpid()}.sock")
        client.sendall(b"GET /livez HTTP/1.1\\r\\n\\r\\n")
        try:
            client.settimeout(0.3)
            early = client.recv(1000).decode()
        except TimeoutError:
            early = ""
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.settimeout(20)
        tell([early, client.recv(1000).decode()[:15]])
        """
    ) == ["", "HTTP/1.1 200 OK"]


# ---- from outside


class Served:
    """A Responder on a thread of the test's."""

    def __init__(self, place: str) -> None:
        self.path = f"{place}/r.sock"
        self.responder = responder.Responder(responder.listen_unix(self.path), self.answer)
        self.thread = threading.Thread(target=self.responder.run, daemon=True)
        self.thread.start()

    @staticmethod
    def answer(request: responder.Request) -> responder.Answer:
        """Answer with what was understood; a long text where that is asked for."""
        return responder.Answer(200, "x" * 5_000_000 if request.path == "/long" else f"{request.path} {request.wants_json}\n")

    def connect(self) -> socket.socket:
        """Return a new connection."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)  # before the limit, which would make a full backlog an error
        sock.settimeout(30)
        return sock

    def ask(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes back."""
        with self.connect() as sock:
            sock.sendall(data)
            return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.fixture
def served() -> Iterator[Served]:
    """Give a served socket, whose thread has to end with it."""
    with tempfile.TemporaryDirectory(prefix="fl") as place:
        it = Served(place)
        yield it
        it.responder.stop()
        it.thread.join(30)
        assert not it.thread.is_alive()


REQUESTS = [
    (b"GET /a?b=c HTTP/1.1\r\nAccept: application/json\r\n\r\n", 200, b"/a True\n"),
    (b"GET /a HTTP/1.0\n\n", 200, b"/a False\n"),
    (b"HEAD /a HTTP/1.1\r\n\r\n", 200, b""),
    (b"POST /livez HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405, b"GET and HEAD only\n"),
    (b"GET http://example.org/ HTTP/1.1\r\n\r\n", 400, b"this is no HTTP/1.1 request\n"),
    (b"GET /\r\n\r\n", 400, b"this is no HTTP/1.1 request\n"),
    (b"\x16\x03\x01\x00\xa5\x01\n\n", 400, b"this is no HTTP/1.1 request\n"),
    (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n", 431, b"the request is too long\n"),
]


@pytest.mark.parametrize(("data", "status", "body"), REQUESTS)
def test_requests(served: Served, data: bytes, status: int, body: bytes) -> None:
    """Good ones are answered, others refused with a sentence, and the length is right."""
    head, _, got = served.ask(data).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode() and got == body
    if not data.startswith(b"HEAD"):
        assert f"Content-Length: {len(body)}".encode() in head


def test_a_request_in_pieces_and_a_long_answer(served: Served) -> None:
    """Neither has to come at once."""
    with served.connect() as sock:
        for piece in (b"GET /lo", b"ng HTTP/1.1\r", b"\nHost: x\r\n\r", b"\n"):
            sock.sendall(piece)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert len(answer.partition(b"\r\n\r\n")[2]) == 5_000_000


def test_hostile_bytes_hurt_nobody(served: Served) -> None:
    """A thousand random requests, some broken off, are each answered or closed, and the next honest one is answered."""
    dice = random.Random(20)
    good = b"GET /livez HTTP/1.1\r\nAccept: text/plain\r\n\r\n"
    for _ in range(1000):
        data = bytearray(good)
        for _ in range(dice.randrange(1, 20)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        with served.connect() as sock:
            sock.sendall(data[: dice.randrange(len(data) + 1)])
            if dice.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
    assert served.ask(good).endswith(b"/livez False\n")


def test_who_holds_connections_does_not_keep_others_out(served: Served) -> None:
    """Of too many silent connections the oldest gives way, so that a probe is always served."""
    silent = [served.connect() for _ in range(3 * responder.MOST_CONNECTIONS)]
    assert served.ask(b"GET /livez HTTP/1.1\r\n\r\n").endswith(b"/livez False\n")
    assert silent[0].recv(1) == b""  # closed
    for sock in silent:
        sock.close()


@pytest.mark.parametrize("sends", [b"", b"GET / HT", b"GET /long HTTP/1.1\r\n\r\n"], ids=["nothing", "a part", "but does not read"])
def test_who_is_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch, sends: bytes) -> None:
    """A connection has a limit in all, whatever it does or does not."""
    monkeypatch.setattr(responder, "LIMIT_S", 0.05)
    with tempfile.TemporaryDirectory(prefix="fl") as place:
        it = Served(place)
        with it.connect() as sock:
            sock.sendall(sends)
            hung_up = select.poll()
            hung_up.register(sock, 0)  # what is always told: the other end is gone
            assert hung_up.poll(30_000)
        it.responder.stop()
        it.thread.join(30)
