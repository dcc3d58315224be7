"""Who decides the level: each source has a place, the highest one that has said something decides, and who that is is known.

From the lowest: the default; FASTLOCK_LEVEL; code (``set_level``, ``configure``, ``at_level``); a feature flag; the switch of
whoever is on call (``fastlock level``). So a program that sets its level during an incident does not undo the switch, and
what it asked for is in force when the switch goes back.

A word may end by itself, at a time of CLOCK_MONOTONIC. `Levels` is immutable: `config` keeps one and replaces it.
"""

from __future__ import annotations

from fastlock.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT, ENVIRONMENT, CODE, FLAG, SWITCH = "default", "environment", "code", "flag", "switch"
SOURCES = (DEFAULT, ENVIRONMENT, CODE, FLAG, SWITCH)  # who comes later here outranks who comes earlier
WORDING: Mapping[str, str] = {
    DEFAULT: "the default",
    ENVIRONMENT: "FASTLOCK_LEVEL",
    CODE: "set in code",
    FLAG: "a feature flag",
    SWITCH: "fastlock level",
}


class Word(NamedTuple):
    """What a source says: a level, and until when (nanoseconds of CLOCK_MONOTONIC), for ever where that is None."""

    level: str
    until_ns: int | None = None

    def is_over(self, now_ns: int) -> bool:
        """Tell whether its time has passed."""
        return self.until_ns is not None and self.until_ns <= now_ns


class Decision(NamedTuple):
    """The level in force, the source that decided it, and until when it does."""

    level: str
    source: str
    until_ns: int | None


class Levels(NamedTuple):
    """What each source says, None where it says nothing; the default always does."""

    default: Word = Word("detect")
    environment: Word | None = None
    code: Word | None = None
    flag: Word | None = None
    switch: Word | None = None

    def saying(self, source: str, word: Word | None) -> Levels:
        """Return the same with another word of one source; None takes it back."""
        return self._replace(**{source: word})  # type: ignore[arg-type]

    def without_those_over(self, now_ns: int) -> Levels:
        """Return the same without the words whose time has passed."""
        return Levels(*(None if word is not None and word.is_over(now_ns) else word for word in self))  # type: ignore[arg-type]

    def decision(self) -> Decision:
        """Return what the highest source says that says something."""
        source, word = next((source, word) for source, word in zip(reversed(SOURCES), reversed(self)) if word is not None)
        return Decision(word.level, source, word.until_ns)

    def next_end_ns(self) -> int | None:
        """Return when the next word ends, None where all stay."""
        return min((word.until_ns for word in self if word is not None and word.until_ns is not None), default=None)
