"""Findings by fingerprint: the newest thousand, each with its first facts and a count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fastlock.findings import Finding

KEPT_FINDINGS = 1000


class FindingList(tuple[Finding, ...]):
    """The findings kept, oldest first; `dropped` counts older ones that made room."""

    dropped: int

    def __new__(cls, findings: Iterable[Finding] = (), dropped: int = 0) -> FindingList:
        """Return the tuple with its count."""
        self = super().__new__(cls, findings)
        self.dropped = dropped
        return self


class KeptFindings:
    """One thread at a time may record, any thread may read meanwhile: no mutex, for a signal handler may read as well."""

    def __init__(self) -> None:
        self._known: dict[str, Finding] = {}
        self._dropped = 0

    def record(self, finding: Finding) -> tuple[Finding, bool]:
        """Count a finding under its fingerprint; return it with its count, and whether it is to be reported.

        A known one keeps its first facts and is not reported again, but for an inversion whose tier has risen.
        """
        before = self._known.get(finding.fingerprint)
        if before is not None:
            rises = (before.code, before.tier, finding.tier) == ("FL010", "possible", "high")
            finding = self._known[finding.fingerprint] = replace(finding if rises else before, count=before.count + 1)
            return finding, rises
        if len(self._known) >= KEPT_FINDINGS:
            del self._known[next(iter(self._known))]
            self._dropped += 1
        self._known[finding.fingerprint] = finding
        return finding, True

    def all(self) -> FindingList:
        """Return what is kept, with the count of what is not; any thread."""
        while True:
            try:
                return FindingList(self._known.values(), self._dropped)
            except RuntimeError:  # one was added meanwhile
                continue
