"""The names that Prometheus knows the metrics by, and its text format (version 0.0.4); what each means is in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from fastlock.measures import ClassWaits, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One number, with its full name and its labels."""

    name: str
    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """A metric: its name without a suffix, its kind, what it says, and its samples."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def families(metrics: Metrics) -> Iterator[Family]:
    """Give all metrics, those without a sample too."""
    yield Family(
        "fastlock_wait_seconds",
        "histogram",
        "How long contended waits for locks lasted, those that are over.",
        [sample for waits in metrics.classes for sample in _histogram(waits)],
    )
    yield _counter(
        "fastlock_contentions",
        "Acquires that had to wait, those that still do included.",
        [({"lock_class": waits.lock_class}, waits.contentions) for waits in metrics.classes],
    )
    yield _gauge("fastlock_oldest_wait_seconds", "How long the oldest wait for a lock lasts already; 0 where nobody waits.", metrics.oldest_wait_s)
    yield _gauge("fastlock_waiting_agents", "Threads and tasks that wait for a lock now.", metrics.waiting_agents)
    yield _gauge("fastlock_deadlocked_agents", "Threads and tasks in a deadlock that stands now.", metrics.deadlocked_agents)
    yield _counter("fastlock_findings", "What has been found, each occurrence, by code.", [({"code": code}, n) for code, n in metrics.findings.items()])
    for name, text, value in (
        ("fastlock_dropped_findings", "Findings that had to make room for newer ones.", metrics.dropped_findings),
        ("fastlock_withheld_reports", "Reports that report_rate did not admit.", metrics.withheld_reports),
        ("fastlock_missed_findings", "Findings that logging or a policy missed because it hung.", metrics.missed_findings),
        ("fastlock_hooks_cut_off", "Calls of hooks, logging and policies that did not return in time.", metrics.hooks_cut_off),
    ):
        yield _counter(name, text, [({}, value)])


def text(metrics: Metrics) -> str:
    """Return the metrics in Prometheus's text format."""
    lines = []
    for family in families(metrics):
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        lines += [f"# HELP {name} {_escaped(family.help)}", f"# TYPE {name} {family.kind}"]
        lines += [f"{sample.name}{_labels(sample.labels)} {_number(sample.value)}" for sample in family.samples]
    return "\n".join(lines) + "\n"


def _histogram(waits: ClassWaits) -> Iterator[Sample]:
    label = {"lock_class": waits.lock_class}
    for bound, count in (*waits.buckets, (float("inf"), waits.count)):
        yield Sample("fastlock_wait_seconds_bucket", {**label, "le": _number(bound)}, count)
    yield Sample("fastlock_wait_seconds_sum", label, waits.sum_s)
    yield Sample("fastlock_wait_seconds_count", label, waits.count)


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, [Sample(name, {}, value)])


def _counter(name: str, text: str, values: Sequence[tuple[Mapping[str, str], int]]) -> Family:
    return Family(name, "counter", text, [Sample(f"{name}_total", labels, value) for labels, value in values])


def _labels(labels: Mapping[str, str]) -> str:
    listed = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in labels.items())
    return f"{{{listed}}}" if listed else ""


def _escaped(text: str, quoted: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quoted else text


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(float(value))
