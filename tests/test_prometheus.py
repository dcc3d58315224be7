"""The collector of the extra `prometheus`: real scrapes by prometheus_client, whose own locks may be fastlock's."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed (the extra `test` has it)")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

import fastlock
import fastlock.prometheus
from fastlock import exposition
from fastlock.measures import ClassWaits, Metrics
from support import ask

WAITS = ClassWaits("cache \"of\" \\ née", 5, 4, 1.5, ((0.001, 1), (60.0, 3)))
NUMBERS = Metrics(41, "shop", "order", (WAITS,), 2.5, 3, 2, {"FL001": 1, "FL020": 7}, 1, 2, 3, 4)


def samples(families) -> dict[tuple, float]:
    """Each sample's value by its name and labels."""
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """A registry with our collector, which sees NUMBERS."""
    monkeypatch.setattr(fastlock.prometheus, "metrics", lambda: NUMBERS)
    registry = CollectorRegistry()
    fastlock.prometheus.register(registry)
    return registry


def test_a_scrape_has_every_number(registry: CollectorRegistry) -> None:
    """Names, labels and values as docs/metrics.md lists them, read back by prometheus_client's own parser."""
    label = ("lock_class", "cache \"of\" \\ née")
    assert samples(parse(generate_latest(registry).decode())) == {
        ("fastlock_wait_seconds_bucket", ("le", "0.001"), label): 1,
        ("fastlock_wait_seconds_bucket", ("le", "60.0"), label): 3,
        ("fastlock_wait_seconds_bucket", ("le", "+Inf"), label): 4,
        ("fastlock_wait_seconds_sum", label): 1.5,
        ("fastlock_wait_seconds_count", label): 4,
        ("fastlock_contentions_total", label): 5,
        ("fastlock_oldest_wait_seconds",): 2.5,
        ("fastlock_waiting_agents",): 3,
        ("fastlock_deadlocked_agents",): 2,
        ("fastlock_findings_total", ("code", "FL001")): 1,
        ("fastlock_findings_total", ("code", "FL020")): 7,
        ("fastlock_dropped_findings_total",): 1,
        ("fastlock_withheld_reports_total",): 2,
        ("fastlock_missed_findings_total",): 3,
        ("fastlock_hooks_cut_off_total",): 4,
    }


def test_our_own_text_is_the_same(registry: CollectorRegistry) -> None:
    """What /metrics says without prometheus_client is read as the very same families, kinds and sentences included."""
    ours, theirs = list(parse(exposition.text(NUMBERS))), list(parse(generate_latest(registry).decode()))
    assert [(f.name, f.type, f.documentation) for f in ours] == [(f.name, f.type, f.documentation) for f in theirs]
    assert samples(ours) == samples(theirs)


def test_openmetrics_too(registry: CollectorRegistry) -> None:
    """The stricter format takes them as well."""
    assert samples(parse_openmetrics(generate_openmetrics(registry).decode())) == samples(parse(generate_latest(registry).decode()))


def test_register_twice_is_an_error_and_unregister_works() -> None:
    """One collector a registry; the names are known to it without a scrape."""
    registry = CollectorRegistry()
    collector = fastlock.prometheus.register(registry)
    with pytest.raises(ValueError, match="fastlock_wait_seconds"):
        fastlock.prometheus.register(registry)
    registry.unregister(collector)
    fastlock.prometheus.register(registry)


def test_a_live_process_is_scraped() -> None:
    """What has happened in this process is in its scrape, under the names of its lock classes."""
    text = ask(
        """
        from prometheus_client import generate_latest
        import fastlock.prometheus
        fastlock.prometheus.register()
        lock = fastlock.Lock(name="ledger")
        with lock:
            t = start(lock.acquire, True, 0.001)
            t.join()
        ring([fastlock.RLock(), fastlock.RLock()])
        found("FL001")
        tell(generate_latest().decode())
        """
    )
    values = samples(parse(text))
    assert values["fastlock_wait_seconds_count", ("lock_class", "ledger")] == 1
    assert values["fastlock_deadlocked_agents",] == 2
    assert values["fastlock_findings_total", ("code", "FL001")] == 1
    assert values["fastlock_oldest_wait_seconds",] > 0


def test_it_is_scraped_while_prometheus_clients_own_locks_are_ours_and_contended() -> None:
    """Four threads count and four scrape, all through locks of fastlock's: no deadlock, no finding, and the contention is in the scrape."""
    text, findings = ask(
        """
        fastlock.install()
        from prometheus_client import Counter, REGISTRY, generate_latest
        import fastlock.prometheus
        fastlock.prometheus.register()
        counter = Counter("work", "Done.", ["kind"])
        assert isinstance(REGISTRY._lock, (type(fastlock.Lock()), fastlock.RLock)), "prometheus_client's locks are to be ours"
        texts = []
        def works():
            for number in range(2000): counter.labels(str(number % 50)).inc()
        def scrapes():
            for _ in range(50): texts.append(generate_latest())
        with counter._lock, REGISTRY._lock:
            threads = [start(each) for each in 4 * [works] + 4 * [scrapes]]
            wait_until(lambda: fastlock.metrics().waiting_agents == 8)
        [t.join() for t in threads]
        assert [t.error for t in threads] == 8 * [None]
        fastlock.watchdog.flush(90)
        tell([generate_latest().decode(), [f.code for f in fastlock.findings()]])
        """
    )
    values = samples(parse(text))
    assert sum(value for (name, *_), value in values.items() if name == "work_total") == 8000
    assert sum(value for (name, *_), value in values.items() if name == "fastlock_contentions_total") >= 8
    assert findings == []
