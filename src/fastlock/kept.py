"""Findings by fingerprint: the newest thousand, each with its first facts and a count."""

from __future__ import annotations

from fastlock.findings import Finding
from fastlock.lean import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def is_news(self, finding: Finding) -> bool:
        """Tell whether the finding is to be reported: an unknown one, or an inversion whose tier has risen."""
        before = self._known.get(finding.fingerprint)
        return before is None or (before.code, before.tier, finding.tier) == ("FL010", "possible", "high")

    def record(self, finding: Finding, again: bool = False) -> tuple[Finding, bool]:
        """Count a finding under its fingerprint; return it with its count, and whether it is to be reported.

        A known one keeps its first facts unless it is news. It does not count `again` where it is the very thing that has been counted.
        """
        news = self.is_news(finding)
        before = self._known.get(finding.fingerprint)
        if before is not None:
            finding = replace(finding if news else before, count=before.count + (not again))
        elif len(self._known) >= KEPT_FINDINGS:
            del self._known[next(iter(self._known))]
            self._dropped += 1
        self._known[finding.fingerprint] = finding
        return finding, news

    def all(self) -> FindingList:
        """Return what is kept, with the count of what is not; any thread."""
        while True:
            try:
                return FindingList(self._known.values(), self._dropped)
            except RuntimeError:  # one was added meanwhile
                continue
