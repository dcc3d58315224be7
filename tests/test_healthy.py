"""fastlock says nothing wrong of healthy programs: the list is in the package `healthy`, which also runs them for minutes by hand."""

from __future__ import annotations

import pytest

from healthy.programs import THEMES, all_programs
from healthy.runs import Outcome, Way, run

SEEDS = {"detect": "1", "order": "2"}


def judge(outcome: Outcome) -> None:
    """Fail with all that was wrong, in full."""
    assert not outcome.wrong, "\n\n".join(outcome.wrong)


def names(theme: str, *, with_alone: bool = True) -> list[str]:
    """Return the programs of a theme."""
    return [each.name for each in all_programs().values() if each.theme == theme and (with_alone or not each.alone)]


@pytest.mark.parametrize("theme", THEMES)
def test_one_by_one_with_late_looks(theme: str) -> None:
    """Each program alone in its process's threads: fastlock looks when somebody waits for long, and nobody else is there who could run."""
    judge(run(names(theme), SEEDS["detect"], Way("detect")))


@pytest.mark.parametrize("theme", [theme for theme in THEMES if names(theme, with_alone=False)])
def test_together_and_looked_at_all_the_time(theme: str) -> None:
    """All programs of a theme at once, while a thread calls find_deadlocks() without end."""
    outcome = run(names(theme, with_alone=False), SEEDS["order"], Way("order", together=True, always=True))
    judge(outcome)
    assert outcome.looks > 10
