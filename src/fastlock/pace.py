"""How many full reports there may be: at most `report_rate` in any minute; what is more is counted, and that is said."""

from __future__ import annotations

import time

from fastlock import config
from fastlock.lean import deque
from fastlock.tally import tally

WINDOW_S = 60.0


class Pace:
    """For the reporting thread alone."""

    def __init__(self) -> None:
        self._reported: deque[float] = deque()  # when, by CLOCK_MONOTONIC; those of the last minute
        self._withheld: dict[str, int] = {}  # by code, not said yet

    def admits(self, code: str) -> bool:
        """Tell whether a finding may have its report now; one that may not is counted."""
        rate = config.current().report_rate
        now = time.monotonic()
        self._forget(now)
        if rate is not None and len(self._reported) >= rate:
            self._withheld[code] = self._withheld.get(code, 0) + 1
            tally.withheld_reports += 1
            return False
        self._reported.append(now)
        return True

    def due_s(self) -> float | None:
        """Return in how many seconds told() has something to say, None for never."""
        if not self._withheld:
            return None
        self._forget(now := time.monotonic())
        return max(0.0, self._reported[0] + WINDOW_S - now) if self._reported else 0.0

    def told(self) -> str:
        """Return the line about what has been withheld since it was said last, "" where nothing has."""
        withheld, self._withheld = self._withheld, {}
        if not withheld:
            return ""
        number = sum(withheld.values())
        codes = ", ".join(f"{code} {count:,}" for code, count in sorted(withheld.items()))
        rate = config.current().report_rate
        return f"fastlock: {number:,} more found, not reported in full (report_rate={rate}): {codes}; see fastlock.findings()\n"

    def _forget(self, now: float) -> None:
        while self._reported and self._reported[0] <= now - WINDOW_S:
            self._reported.popleft()
