"""fastlock's metrics for prometheus_client (the extra fastlock[prometheus]): register() once in a process, and they are in its scrapes.

A scrape reads numbers: it takes no lock of the application's, and may come while prometheus_client's own locks are fastlock's.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as _Collector
from prometheus_client.registry import CollectorRegistry

from fastlock import exposition
from fastlock.measures import metrics


class Collector(_Collector):
    """A collector of prometheus_client's; its numbers are those of fastlock.metrics() at the moment of the scrape."""

    def collect(self) -> Iterator[Metric]:
        """Give the metrics as they are now; any thread; see metrics() for the cost."""
        for family in exposition.families(metrics()):
            metric = Metric(family.name, family.help, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric

    def describe(self) -> Iterator[Metric]:
        """Give the metrics without numbers: a registry wants their names under its lock."""
        for family in exposition.families(metrics()):
            yield Metric(family.name, family.help, family.kind)


def register(registry: CollectorRegistry | None = None) -> Collector:
    """Register a Collector, with prometheus_client's own registry where none is given, and return it.

    ValueError where that registry has one already. Any thread.
    """
    collector = Collector()
    (REGISTRY if registry is None else registry).register(collector)
    return collector
