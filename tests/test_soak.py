"""Programs made of a seed: of those that are healthy by the way they are built nothing is said to stand still, of those that are stuck by it something is.

More of them, for minutes: python -m tests.soak --minutes 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from soak.judge import Outcome, Trial, run

AT_A_TIME = 4  # processes: they wait most of the time
TRIALS = [
    Trial(f"suite.{number}", stuck, "order" if number % 2 else "detect", always=not stuck and number % 4 > 1)
    for number in range(12)
    for stuck in (False, True)
]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[Trial, Future[Outcome]]]:
    """What comes of each, some of them at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {trial: pool.submit(run, trial) for trial in TRIALS}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("trial", TRIALS, ids=[f"{trial.seed} {'stuck' if trial.stuck else 'healthy'}" for trial in TRIALS])
def test_a_program_made_of_a_seed(trial: Trial, outcomes: dict[Trial, Future[Outcome]]) -> None:
    """A healthy one ends and nothing is proven of it; one that is stuck is told, and proven where nothing in it leaves a doubt."""
    outcome = outcomes[trial].result()
    assert not outcome.wrong, "\n".join(outcome.wrong)
