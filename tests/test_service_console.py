"""examples/service/incident.py and the console: two requests stop one of four workers, and `fastlock top` names the two lines of code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

for needed in ("flask", "gunicorn"):
    pytest.importorskip(needed, reason=f"{needed} is not installed (the extra `test` has it)")

from fastlock.outside import find
from support import wait_until

SERVICE = Path(__file__).parents[1] / "examples" / "service"
pytestmark = [
    pytest.mark.skipif(not SERVICE.is_dir(), reason="the examples are not here"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs tables in /proc"),
]

LIMIT_S = 120.0
WORKERS = 4
LINES = {"orders.py:30", "inventory.py:16"}  # where the two wait for each other


class Incident:
    """A running incident: where it listens, its arbiter, its workers, and which of them is stuck."""

    def __init__(self, process: subprocess.Popen[str], bind: str) -> None:
        self.url = f"http://{bind}"
        line = process.stdout.readline()  # type: ignore[union-attr]
        found = re.match(r"worker (\d+) is stuck", line)
        assert found, line
        self.stuck = int(found[1])
        self.arbiter = int(Path(f"/proc/{self.stuck}/stat").read_text().rpartition(")")[2].split()[1])
        self.workers: list[int] = wait_until(self._all_workers, LIMIT_S)

    def _all_workers(self) -> list[int]:
        """The four workers; nobody while the arbiter is still starting them."""
        workers = sorted(map(int, Path(f"/proc/{self.arbiter}/task/{self.arbiter}/children").read_text().split()))
        return workers if len(workers) == WORKERS and all(find.has_table(pid) for pid in workers) else []


@pytest.fixture(scope="module")
def incident() -> Iterator[Incident]:
    """The program in a session of its own, with a home and sockets of its own."""
    with tempfile.TemporaryDirectory(prefix="fl", ignore_cleanup_errors=True) as place, socket.create_server(("127.0.0.1", 0)) as free:
        bind = "127.0.0.1:{}".format(free.getsockname()[1])
        free.close()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
        process = subprocess.Popen(
            [sys.executable, str(SERVICE / "incident.py"), "--bind", bind],
            env={**clean, "HOME": place, "TMPDIR": place},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield Incident(process, bind)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(LIMIT_S)
            process.stdout.close()  # type: ignore[union-attr]


def fastlock(*arguments: object) -> str:
    """Return what a verb of the command line prints."""
    done = subprocess.run([sys.executable, "-m", "fastlock", *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_worker_is_deadlocked(incident: Incident) -> None:
    """`fastlock ps` says so of exactly one of the four workers and not of the arbiter, and others serve on."""
    listed: dict[int, Any] = {each["pid"]: each for each in json.loads(fastlock("ps", "--json"))}
    ours = {incident.arbiter, *incident.workers}
    assert [pid for pid in ours if listed[pid].get("deadlocked")] == [incident.stuck]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers() -> bool:
        try:
            with opener.open(f"{incident.url}/stock/tea", timeout=1) as answer:
                return int(answer.headers["X-Worker"]) in ours - {incident.stuck}
        except OSError:
            return False  # the stuck one has taken it

    wait_until(answers, LIMIT_S)


def test_top_names_the_two_lines(incident: Incident) -> None:
    """The console's first page, as text over all workers, tells the deadlock, its worker and both lines."""
    text = fastlock("top", "--once", incident.arbiter, *incident.workers)
    assert "DEADLOCK" in text and str(incident.stuck) in text
    assert all(line in text for line in LINES), text


def test_what_is_asked_of_the_stuck_worker(incident: Incident) -> None:
    """It answers though it serves nobody: where the agents of the circle are, and the classes of both locks."""
    from fastlock import calling
    from fastlock.outside import open_table

    with open_table(incident.stuck) as table:
        waits = table.snapshot()["waits"]
    owners = {wait["agent"]: wait["owner"] for wait in waits}
    circle = [agent for agent, owner in owners.items() if owners.get(owner) == agent]
    told = calling.call(incident.stuck, {"do": "agent", "agents": circle}, LIMIT_S)["agents"]
    assert {"{}:{}".format(Path(each["stack"][-1]["file"]).name, each["stack"][-1]["line"]) for each in told} == LINES
    classes = {each["name"]: each for each in calling.call(incident.stuck, {"do": "classes"}, LIMIT_S)["classes"]}
    assert all(classes[name]["instances"] == 1 and classes[name]["contentions"] >= 1 for name in ("orders_lock@orders.py", "stock_lock@inventory.py"))

