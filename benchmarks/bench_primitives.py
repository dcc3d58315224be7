"""Semaphore, BoundedSemaphore, Event, Condition and queue.Queue, most of the time without waiters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cases import Case, Side, primitives
from conftest import pairs


@pytest.mark.parametrize(("case", "side"), pairs(primitives()))
def test_primitives(timed: Callable[[Case, Side], None], case: Case, side: Side) -> None:
    """One side of a row of the other primitives."""
    timed(case, side)
