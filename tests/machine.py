"""What every machine of test_model.py is made of: threads that take steps, and a queue of those that wait."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import fastlock
from workers import Crew, wait_until

WHO = st.integers(0, 3)
RULES = settings(
    max_examples=50, stateful_step_count=30, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Threads, who of them waits for what, and the level, which must not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew()
        self.queue: list[tuple[int, str]] = []  # who waits, oldest first, and for what

    def busy(self, who: int) -> bool:
        """Tell whether a thread waits and so cannot take a step."""
        return any(waiter == who for waiter, _ in self.queue)

    def wait(self, who: int, what: str, call: Any, *args: Any) -> None:
        """Let a thread take a step that must wait."""
        self.crew[who].block(call, *args)
        self.queue.append((who, what))

    def served(self, entry: tuple[int, str]) -> int:
        """Take a waiter that must have got what it waits for out of the queue."""
        self.queue.remove(entry)
        assert self.crew[entry[0]].result() is True
        return entry[0]

    def fails(self, who: int, call: Any, error: type[Exception], *args: Any) -> None:
        """Let a thread take a step that must raise."""
        try:
            self.crew[who].do(call, *args)
        except error:
            return
        raise AssertionError(f"{call} did not raise {error.__name__}")

    @rule(level=st.sampled_from(["off", "detect"]))
    def change_level(self, level: str) -> None:
        """The level may change at any moment."""
        fastlock.set_level(level)

    @invariant()
    def table_shows_who_waits(self) -> None:
        """The table has exactly the waits that the model has."""
        names = {f"worker-{who}" for who, _ in self.queue}

        def agrees() -> bool:
            table = fastlock.snapshot()
            waiting = {wait.agent for wait in table.waits}
            return {agent.name for agent in table.agents if agent.id in waiting} == names

        wait_until(agrees)

    def release_all(self) -> None:
        """Bring every thread out of its waits and holds."""

    def teardown(self) -> None:
        """Nobody is left behind, and nothing that cannot deadlock was reported as proven."""
        self.release_all()
        assert not self.queue
        self.crew.__exit__(None, None, None)
        assert not [finding for finding in fastlock.findings() if finding.tier == "proven"]
        fastlock.set_level("detect")


def as_test(machine: type[Machine]) -> Any:
    """Return the test case of a machine."""
    machine.TestCase.settings = RULES
    return machine.TestCase
