"""RWLock against our Lock, readerwriterlock and fasteners; rows of rivals that are not installed are absent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cases import Case, Side, rwlocks
from conftest import pairs


@pytest.mark.parametrize(("case", "side"), pairs(rwlocks()))
def test_rwlock(timed: Callable[[Case, Side], None], case: Case, side: Side) -> None:
    """One side of a row of reads or writes."""
    timed(case, side)
