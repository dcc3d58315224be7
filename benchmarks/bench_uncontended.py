"""Lock and RLock that nobody else wants: with, acquire and release, nested, in a loop and in a new frame."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cases import Case, Side, uncontended
from conftest import pairs


@pytest.mark.parametrize(("case", "side"), pairs(uncontended()))
def test_uncontended(timed: Callable[[Case, Side], None], case: Case, side: Side) -> None:
    """One side of a row of uncontended locking."""
    timed(case, side)
