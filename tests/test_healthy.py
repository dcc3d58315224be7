"""fastlock says nothing wrong of healthy programs: the list is in the package `healthy`, which also runs them for minutes by hand."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from healthy.programs import THEMES, all_programs
from healthy.runs import Outcome, Way, run

AT_A_TIME = 4  # processes: they wait most of the time
ONE_BY_ONE = Way("detect")
TOGETHER = Way("order", together=True, always=True)
SEED = "1"

Outcomes = dict[tuple[str, Way], "Future[Outcome]"]


def names(theme: str, way: Way) -> list[str]:
    """Return the programs of a theme that can be run in this way."""
    return [each.name for each in all_programs().values() if each.theme == theme and not (way.together and each.alone)]


CASES = [(theme, way) for way in (ONE_BY_ONE, TOGETHER) for theme in THEMES if names(theme, way)]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Outcomes]:
    """What comes of each case, some of them at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {(theme, way): pool.submit(run, names(theme, way), SEED, way) for theme, way in CASES}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("theme", [theme for theme, way in CASES if way == ONE_BY_ONE])
def test_one_by_one_with_late_looks(theme: str, outcomes: Outcomes) -> None:
    """Each program by itself: fastlock looks when somebody waits for long, and no thread is there but the program's who could run."""
    outcome = outcomes[theme, ONE_BY_ONE].result()
    assert not outcome.wrong, "\n\n".join(outcome.wrong)


@pytest.mark.parametrize("theme", [theme for theme, way in CASES if way == TOGETHER])
def test_together_and_looked_at_all_the_time(theme: str, outcomes: Outcomes) -> None:
    """All programs of a theme at once, while a thread calls find_deadlocks() without end."""
    outcome = outcomes[theme, TOGETHER].result()
    assert not outcome.wrong, "\n\n".join(outcome.wrong)
    assert outcome.looks > 10
