"""What fastlock's own reporting has counted since start; written by the reporting thread alone, read by any thread."""

from __future__ import annotations

import os


class Tally:
    """Numbers that only rise: findings by code, and what of them did not get everywhere."""

    def __init__(self) -> None:
        self.findings: dict[str, int] = {}
        self.withheld_reports = 0
        self.missed_findings = 0
        self.hooks_cut_off = 0

    def count(self, code: str) -> None:
        """Count an occurrence of a finding, the first one or another."""
        self.findings[code] = self.findings.get(code, 0) + 1

    def by_code(self) -> dict[str, int]:
        """Return how often each code has been found; any thread."""
        return dict(self.findings)  # one step under the GIL


tally = Tally()
# The child of a fork counts its own: whoever adds up processes would have the parent's twice.
os.register_at_fork(after_in_child=tally.__init__)  # type: ignore[misc]
