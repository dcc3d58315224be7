"""The recipes of docs/recipes.md, each as it stands there, with the real libraries and a finding that goes through."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support import PRELUDE, answer, run_program

RECIPES = Path(__file__).parents[1] / "docs" / "recipes.md"
pytestmark = pytest.mark.skipif(not RECIPES.is_file(), reason="the docs are not here")

DEADLOCK = """
ring([fastlock.RLock(name="left"), fastlock.RLock(name="right")])
finding = found("FL001")[0]
fastlock.watchdog.flush(90)
"""


def recipes() -> dict[str, str]:
    """Return the block of each section that has one."""
    sections = re.split(r"^## (.*)$", RECIPES.read_text(encoding="utf-8"), flags=re.M)[1:]
    blocks = {title: re.findall(r"```python\n(.*?)```", text, re.S) for title, text in zip(sections[::2], sections[1::2])}
    assert all(len(found) == 1 for found in blocks.values())
    return {title: found[0] for title, found in blocks.items()}


def told(title: str, before: str = "", after: str = "", **options: Any) -> Any:
    """Run a recipe between what a test needs, with a deadlock after it."""
    return answer(run_program(f"{PRELUDE}{before}\n{recipes()[title]}\n{DEADLOCK}\n{after}", **options))


def test_every_recipe_has_its_test() -> None:
    """What is in the page is run here."""
    assert set(recipes()) == {"logging", "Sentry", "structlog", "OpenTelemetry", "A webhook", "Prometheus"}


def test_logging() -> None:
    """The line has the record's own words and all fields."""
    line = told(
        "logging",
        "import io; stream = io.StringIO(); import logging\nlogging.StreamHandler.__init__.__defaults__ = (stream,)",
        "tell(json.loads(stream.getvalue()))",
    )
    assert (line["level"], line["logger"], line["fastlock_code"], line["fastlock_tier"]) == ("ERROR", "fastlock", "FL001", "proven")
    assert line["fastlock_locks"] == ["left", "right"] and sorted(line["fastlock_agents"]) == ["t0", "t1"]
    assert line["message"].startswith("FL001 deadlock (proven): ")
    assert line["fastlock_finding"]["fingerprint"] == line["fastlock_fingerprint"]


def test_sentry() -> None:
    """One event, grouped by our fingerprint, with tags and the report as an attachment."""
    pytest.importorskip("sentry_sdk")
    (event,), attachments, fingerprint, report = told(
        "Sentry",
        """
import functools, logging
import sentry_sdk
from sentry_sdk.transport import Transport
sent = []
class Capturing(Transport):
    def capture_envelope(self, envelope):
        sent.append(envelope)
sentry_sdk.init = functools.partial(sentry_sdk.init, transport=Capturing)
""",
        """
events = [envelope.get_event() for envelope in sent if envelope.get_event()]
attached = [item.payload.get_bytes().decode() for envelope in sent for item in envelope.items if item.type == "attachment"]
for event in events:
    event.pop("timestamp"); event.pop("sdk", None)
print(json.dumps([events, attached, finding.fingerprint, str(finding)], default=str), flush=True)
os._exit(0)
""",
    )
    assert event["fingerprint"] == ["fastlock", fingerprint] and event["level"] == "error"
    assert event["tags"]["fastlock.code"] == "FL001"
    assert event["contexts"]["locks"] == {"left": "left", "right": "right"}
    assert attachments == [report]


def test_structlog() -> None:
    """One event with the fields, at error."""
    pytest.importorskip("structlog")
    (event,) = told(
        "structlog",
        "from structlog.testing import capture_logs\ncapturing = capture_logs(); events = capturing.__enter__()",
        "tell(events)",
    )
    assert (event["event"], event["log_level"], event["code"], event["locks"]) == ("deadlock", "error", "FL001", ["left", "right"])
    assert sorted(event["agents"]) == ["t0", "t1"] and event["fix"]


def test_opentelemetry() -> None:
    """One span that has failed, with attributes."""
    pytest.importorskip("opentelemetry.sdk")
    (span,) = told(
        "OpenTelemetry",
        """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
""",
        """
spans = exporter.get_finished_spans()
tell([[s.name, s.status.status_code.name, s.end_time >= s.start_time, {k: list(v) if isinstance(v, tuple) else v for k, v in s.attributes.items()}] for s in spans])
""",
    )
    name, status, in_order, attributes = span
    assert (name, status, in_order) == ("fastlock FL001", "ERROR", True)
    assert attributes["fastlock.locks"] == ["left", "right"] and attributes["fastlock.tier"] == "proven"


def test_webhook() -> None:
    """A server on this machine gets one request with the finding as JSON."""
    (body,), fingerprint = told(
        "A webhook",
        """
import http.server
bodies = []
class Pager(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Pager)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["ALERT_URL"] = f"http://127.0.0.1:{server.server_port}/"
os.environ["no_proxy"] = "*"
""",
        "tell([bodies, finding.fingerprint])",
    )
    assert body["finding"]["fingerprint"] == fingerprint and body["text"].startswith("FL001 deadlock (proven): ")


def test_prometheus() -> None:
    """The endpoint of prometheus_client's own serves our numbers."""
    pytest.importorskip("prometheus_client")
    text = told(
        "Prometheus",
        """
import prometheus_client, urllib.request
def start_and_keep(*arguments, **options):
    global server
    server, _ = starts(*arguments, **options)
starts, prometheus_client.start_http_server = prometheus_client.start_http_server, start_and_keep
""",
        """
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
tell(opener.open(f"http://127.0.0.1:{server.server_port}/metrics", timeout=20).read().decode())
""",
    )
    assert "\nfastlock_deadlocked_agents 2.0\n" in text
