"""Benchmarks as pytest-benchmark sees them: one group for each row, the two sides in it.

    pytest benchmarks --benchmark-autosave            then, after a change:  pytest benchmarks --benchmark-compare

One round repeats a body as often as cases.py's rounds do, for calling the body costs more than a lock; the times shown are
of BODIES repetitions. Ratios to quote come from ratios.py, whose rounds take turns.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cases import Case, Side

BODIES = 1000
SLOW_BODIES = 20  # ping-pong: a switch of threads each


def pairs(cases: list[Case]) -> list[Any]:
    """Return a pytest parameter for each side of each row."""
    return [
        pytest.param(case, side, id=f"{case.name}-{side.label}") for case in cases for side in (case.theirs, case.ours)
    ]


@pytest.fixture
def timed(benchmark: Any) -> Iterator[Callable[[Case, Side], None]]:
    """Return a function that benchmarks one side of a row in the row's group, with the collector off."""

    def run(case: Case, side: Side) -> None:
        benchmark.group = case.name
        run_bodies = side.runner(case.form)
        bodies = BODIES if side.body else SLOW_BODIES
        benchmark.extra_info["bodies"] = bodies
        benchmark(run_bodies, bodies)

    gc.collect()
    gc.disable()
    yield run
    gc.enable()
