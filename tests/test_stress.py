"""Randomised stress with a seed: no hang, no two threads inside, no proven finding where nothing can deadlock.

FASTLOCK_STRESS_SECONDS (3) is how long it runs, FASTLOCK_STRESS_SEED repeats the choices of a run (not its timing).
"""

from __future__ import annotations

import os
import time

import pytest

from workers import check_program

SECONDS = float(os.environ.get("FASTLOCK_STRESS_SECONDS", "3"))
SEED = int(os.environ.get("FASTLOCK_STRESS_SEED", time.time_ns() % 1_000_000))


@pytest.mark.parametrize("switch_interval", [0.005, 1e-5])
def test_random_actions(switch_interval: float) -> None:
    """Eight threads use every primitive in every way that cannot deadlock, under signals and changes of level."""
    print("seed", SEED)
    check_program(f"import stress_program; stress_program.main({SEED}, {SECONDS / 2}, {switch_interval})", timeout_s=SECONDS / 2 + 90)
