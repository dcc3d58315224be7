"""Creation and disposal of each kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cases import Case, Side, creation
from conftest import pairs


@pytest.mark.parametrize(("case", "side"), pairs(creation()))
def test_create(timed: Callable[[Case, Side], None], case: Case, side: Side) -> None:
    """One side of a row of creation."""
    timed(case, side)
