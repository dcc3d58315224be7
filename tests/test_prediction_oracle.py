"""Prediction against a naive reading of its rules: random programs on real threads; no miss, no false alarm, the same tier.

FASTLOCK_STRESS_PROGRAMS (1000) is how many, FASTLOCK_STRESS_SEED (1124) which; a failure has its program, step by step.
"""

from __future__ import annotations

import os

import pytest

from workers import check_program

PROGRAMS = int(os.environ.get("FASTLOCK_STRESS_PROGRAMS", "1000"))
SEED = int(os.environ.get("FASTLOCK_STRESS_SEED", 1124))


@pytest.mark.parametrize("many", [False, True], ids=["one lock a class", "many locks a class"])
def test_random_programs(many: bool) -> None:
    """Each step is reported as the rules have it; where locks share a class, at the latest when the program runs once more."""
    print("seed", SEED)
    limit_s = 60 + PROGRAMS / 10
    check_program(f"import order_program; order_program.main({SEED}, {PROGRAMS}, {many})", timeout_s=limit_s)
