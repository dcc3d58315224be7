"""examples/service with real servers: one process deadlocks under load, it is the one that is seen to, and the others serve on."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

for needed in ("flask", "gunicorn", "waitress", "prometheus_client"):
    pytest.importorskip(needed, reason=f"{needed} is not installed (the extra `test` has it)")

from prometheus_client.parser import text_string_to_metric_families

from support import wait_until

SERVICE = Path(__file__).parents[1] / "examples" / "service"
INCIDENT = Path(__file__).parents[1] / "docs" / "incident.md"
pytestmark = pytest.mark.skipif(not SERVICE.is_dir(), reason="the examples are not here")

LIMIT_S = 120.0
GUNICORN = ["-m", "gunicorn", "--config", str(SERVICE / "gunicorn.conf.py"), "--bind", "127.0.0.1:0", "app:app"]
WAITRESS = ["-m", "waitress", "--listen=127.0.0.1:0", "app:app"]


def load_client() -> ModuleType:
    """Return examples/service/load.py."""
    spec = importlib.util.spec_from_file_location("service_load", SERVICE / "load.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Service:
    """A server with the example in a session of its own, and what its processes say of themselves."""

    def __init__(self, arguments: list[str], place: Path) -> None:
        self.place = place
        self.log = place / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
        ours = {
            "FASTLOCK_INSTALL": "1",
            "FASTLOCK_LIVEZ": f"unix:{place}/livez-{{pid}}.sock",
            "FASTLOCK_DUMP_DIR": str(place),
            "HOME": str(place),
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=SERVICE,
                env={**clean, **ours},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self) -> None:
        """Kill all of its processes, and wait for the first."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT_S)

    def text(self) -> str:
        """Return what it has written."""
        return self.log.read_text(errors="replace")

    def url(self) -> str:
        """Wait until it listens, and return where."""

        def listens() -> re.Match[str] | None:
            assert self.process.poll() is None, self.text()
            return re.search(r"(?:Listening at: |Serving on )(http://127\.0\.0\.1:\d+)", self.text())

        return str(wait_until(listens, LIMIT_S)[1])

    def pids(self) -> list[int]:
        """Return the processes that have a /livez."""
        return sorted(int(path.stem.removeprefix("livez-")) for path in self.place.glob("livez-*.sock"))

    def ask(self, pid: int, path: str = "/livez") -> tuple[int, str]:
        """Return status and body of a process's own answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{self.place}/livez-{pid}.sock")
            sock.settimeout(LIMIT_S)
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = b"".join(iter(lambda: sock.recv(65536), b"")).decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def stuck(self) -> list[int]:
        """Return the processes whose /livez fails."""
        return [pid for pid in self.pids() if self.ask(pid)[0] == 503]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fl", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def serve(arguments: list[str], place: Path, processes: int) -> Iterator[Service]:
    """Give a server that listens with all its processes."""
    service = Service(arguments, place)
    try:
        service.url()
        wait_until(lambda: len(service.pids()) == processes, LIMIT_S)
        yield service
    finally:
        service.end()


@pytest.fixture
def gunicorn(place: Path) -> Iterator[Service]:
    """gunicorn's arbiter and four workers."""
    yield from serve(GUNICORN, place, 5)


@pytest.fixture
def waitress(place: Path) -> Iterator[Service]:
    """waitress, which is one process."""
    yield from serve(WAITRESS, place, 1)


def put_under_load(service: Service) -> int:
    """Load the service until one of its processes is deadlocked, and return which: there is one delivery at a time, so there is one."""
    load = load_client().Load(service.url(), timeout_s=1)
    supplier = load_client().Load(service.url(), timeout_s=LIMIT_S)
    for _ in range(100):
        customers = load.customers(orders=24, customers=6)
        delivers = threading.Thread(target=supplier.deliver, args=(4,), daemon=True)
        delivers.start()
        wait_until(lambda: service.stuck() or not delivers.is_alive(), LIMIT_S)
        for customer in customers:
            customer.join(LIMIT_S)
        if delivers.is_alive():
            break
    stuck = service.stuck()
    assert len(stuck) == 1, service.text()
    return stuck[0]


def answering(url: str, wanted: int) -> set[str]:
    """Return which workers have answered an order, when there are as many as wanted; who asks the stuck one gets no answer."""
    import urllib.request

    seen: set[str] = set()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    enough = threading.Event()

    def buy() -> None:
        for _ in range(60):
            if enough.is_set():
                return
            try:
                with opener.open(urllib.request.Request(f"{url}/orders/cups", method="POST"), timeout=2) as answer:
                    seen.add(answer.headers["X-Worker"])
            except OSError:
                continue
            if len(seen) >= wanted:
                enough.set()

    customers = [threading.Thread(target=buy) for _ in range(8)]
    for customer in customers:
        customer.start()
    for customer in customers:
        customer.join(LIMIT_S)
    return seen


def numbers(text: str) -> dict[Any, float]:
    """Return each sample of a scrape by its name, or by name and the value of its one label."""
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples if not sample.name.endswith("_bucket"))
    return {(sample.name, *sample.labels.values()) if sample.labels else sample.name: sample.value for sample in samples}


def from_outside(*arguments: object) -> Any:
    """Return what a verb of the command line has to say, as JSON."""
    command = [sys.executable, "-m", "fastlock", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_the_stuck_one(service: Service, pid: int) -> None:
    """Its /livez says why, its dump is written, and its metrics have the gauges."""
    status, reason = service.ask(pid)
    assert status == 503 and reason.startswith("FL001 deadlock: ") and reason.count("\n") == 1
    assert "orders_lock" in reason and "stock_lock" in reason
    (path,) = service.place.glob(f"fastlock-{pid}-*.json")
    dump = from_outside("dump", path)
    assert dump == json.loads(path.read_text())
    (finding,) = [finding for finding in dump["findings"] if finding["code"] == "FL001"]
    assert dump["pid"] == pid and finding["tier"] == "proven" and {lock["name"] for lock in finding["locks"]} == {"orders_lock", "stock_lock"}
    found = numbers(service.ask(pid, "/metrics")[1])
    assert found["fastlock_deadlocked_agents"] == 2 and found["fastlock_waiting_agents"] >= 2 and found["fastlock_oldest_wait_seconds"] > 0
    assert found["fastlock_findings_total", "FL001"] == 1
    assert found["fastlock_contentions_total", "stock_lock@inventory.py"] >= 1
    assert f"FL001 deadlock, 2 agents (pid {pid})" in service.text()


def check_from_outside(service: Service, stuck: int) -> None:
    """`fastlock ps` tells which process it is, and `fastlock dump` the circle: two agents, and each waits for what the other owns."""
    listed = {each["pid"]: each for each in from_outside("ps")}
    assert [pid for pid in service.pids() if listed[pid]["deadlocked"]] == [stuck]
    dump = from_outside("dump", stuck)
    waits = {wait["agent"]: wait for wait in dump["waits"]}
    circle = [wait for wait in dump["waits"] if wait["owner"] in waits and waits[wait["owner"]]["owner"] == wait["agent"]]
    names = {lock["id"]: lock["name"] for lock in dump["locks"]}
    assert sorted(names[wait["lock"]] for wait in circle) == ["orders_lock", "stock_lock"]
    assert {(Path(wait["wanted_at"]["file"]).name, wait["wanted_at"]["function"]) for wait in circle} == {
        ("inventory.py", "reserve"),
        ("orders.py", "promised"),
    }
    assert [finding["code"] for finding in dump["findings"]][:1] == ["FL001"]


def test_one_of_four_workers_deadlocks_under_load(gunicorn: Service) -> None:
    """The worker is found from outside, its probe fails with the reason, the others' do not, and they serve on."""
    stuck = put_under_load(gunicorn)
    check_from_outside(gunicorn, stuck)
    check_the_stuck_one(gunicorn, stuck)
    others = [pid for pid in gunicorn.pids() if pid != stuck]
    assert [gunicorn.ask(pid) for pid in others] == 4 * [(200, "ok\n")]
    for pid in others:
        assert numbers(gunicorn.ask(pid, "/metrics")[1])["fastlock_deadlocked_agents"] == 0
    workers = {str(pid) for pid in others} - {str(gunicorn.process.pid)}
    assert answering(gunicorn.url(), 3) == workers


def test_waitress_deadlocks_under_load(waitress: Service) -> None:
    """One process of four threads: the same finding, and it says so itself while it serves nobody."""
    check_the_stuck_one(waitress, put_under_load(waitress))


def test_the_load_client_says_what_came_of_it(waitress: Service) -> None:
    """As a program it is bounded, prints a table, and its status tells whether all was answered."""
    command = [sys.executable, str(SERVICE / "load.py"), "--url", waitress.url(), "--orders", "5", "--customers", "1", "--deliveries", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, done.stdout.split()) == (0, ["orders:", "200", "5"]), done.stderr


def morning(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the next morning's test."""
    command = [sys.executable, "-m", "fastlock", "run", "--level", "order", "--on-inversion", "raise", str(directory / "morning.py")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
    return subprocess.run(command, cwd=directory, env=clean, capture_output=True, text=True, timeout=LIMIT_S)


def mend(directory: Path) -> None:
    """Change the service as docs/incident.md does: its diff, whose lines are to be found as they stand there."""
    (diff,) = re.findall(r"```diff\n(.*?)```", INCIDENT.read_text(encoding="utf-8"), re.S)
    hunk = diff.partition("@@\n")[2].splitlines()
    before = "\n".join(line[1:] for line in hunk if not line.startswith("+"))
    after = "\n".join(line[1:] for line in hunk if not line.startswith("-"))
    path = directory / "inventory.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.skipif(not INCIDENT.is_file(), reason="the docs are not here")
def test_the_next_mornings_test_fails_until_it_is_mended(place: Path) -> None:
    """One order and one delivery after the other show the inversion; with the fix of docs/incident.md they pass."""
    shop = place / "shop"
    shutil.copytree(SERVICE, shop)
    before = morning(shop)
    assert before.returncode == 1 and "LockOrderError: FL010" in before.stderr, before.stderr
    mend(shop)
    after = morning(shop)
    assert after.returncode == 0 and "FL010" not in after.stderr, after.stderr
