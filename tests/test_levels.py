"""Who decides the level: the order of precedence, levels that end, and blocks that nest with all of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from fastlock import _core, config, levels
from fastlock.errors import ConfigError
from fastlock.levels import CODE, DEFAULT, ENVIRONMENT, FLAG, SOURCES, SWITCH, Decision, Levels, Word


@pytest.fixture(autouse=True)
def levels_restored() -> Iterator[None]:
    """Begin with nothing said, and leave what was there."""
    before = config.current().said
    config._change({"said": Levels()})
    yield
    config._change({"said": before})


def in_force() -> tuple[str, str, int]:
    """The level's name, who decided it, and the number that the core has."""
    decision = config.current().said.decision()
    assert decision.level == config.level() == config.current().level
    return decision.level, decision.source, _core.get_level()


# ---- the pure part


@pytest.mark.parametrize("spoken", [set(some) for size in range(5) for some in itertools.combinations(SOURCES[1:], size)])
def test_the_highest_source_that_speaks_decides(spoken: set[str]) -> None:
    """In each of the 16 combinations the one that comes last in SOURCES wins, and it is known who that was."""
    said = Levels()
    for source in spoken:
        said = said.saying(source, Word("order" if source == max(spoken, key=SOURCES.index) else "off"))
    expected = Decision("order", max(spoken, key=SOURCES.index), None) if spoken else Decision("detect", DEFAULT, None)
    assert said.decision() == expected


def test_the_documented_order() -> None:
    """The order is a contract, and each source has words for people."""
    assert SOURCES == (DEFAULT, ENVIRONMENT, CODE, FLAG, SWITCH) == Levels._fields
    assert set(levels.WORDING) == set(SOURCES)


def test_a_word_that_is_over_is_taken_out() -> None:
    """At its very time a word is over; others stay, and the next end is the nearest."""
    said = Levels(switch=Word("order", 100), flag=Word("off", 50), code=Word("order"))
    assert said.next_end_ns() == 50
    assert said.without_those_over(49) == said
    assert said.without_those_over(50) == said.saying(FLAG, None)
    assert said.without_those_over(100) == Levels(code=Word("order")) and Levels().next_end_ns() is None


# ---- in the process


# What is said, one after the other, and what is in force then; a level "-" takes back.
STORIES = {
    "code over default": [(CODE, "off", "off", CODE)],
    "code over environment": [(ENVIRONMENT, "order", "order", ENVIRONMENT), (CODE, "off", "off", CODE)],
    "environment under code": [(CODE, "off", "off", CODE), (ENVIRONMENT, "order", "off", CODE)],
    "flag over code": [(CODE, "off", "off", CODE), (FLAG, "order", "order", FLAG), (FLAG, "-", "off", CODE)],
    "switch over all": [(FLAG, "off", "off", FLAG), (SWITCH, "order", "order", SWITCH), (SWITCH, "-", "off", FLAG)],
    "code during the switch": [
        (SWITCH, "order", "order", SWITCH),
        (CODE, "off", "order", SWITCH),
        (SWITCH, "-", "off", CODE),
    ],
    "flag during the switch": [
        (SWITCH, "off", "off", SWITCH),
        (FLAG, "order", "off", SWITCH),
        (CODE, "detect", "off", SWITCH),
        (SWITCH, "-", "order", FLAG),
        (FLAG, "-", "detect", CODE),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_precedence(story: list[tuple[str, str, str, str]]) -> None:
    """Whoever speaks in whichever order, the highest source decides and the others' words are kept."""
    for source, level, expected, decided in story:
        config.say(source, None if level == "-" else level)
        assert in_force() == (expected, decided, config.LEVELS[expected])


def test_say_returns_before_and_after() -> None:
    """Who sets the level is told what it was, and what it is now where somebody else decides."""
    config.set_level("off")
    assert config.say(SWITCH, "order") == (Decision("off", CODE, None), Decision("order", SWITCH, None))
    assert config.say(FLAG, "detect") == (Decision("order", SWITCH, None), Decision("order", SWITCH, None))


def test_say_refuses_what_is_no_level() -> None:
    """A bad name is the ConfigError of set_level, and changes nothing."""
    with pytest.raises(ConfigError, match="level 'loud' is unknown"):
        config.say(SWITCH, "loud")
    assert in_force() == ("detect", DEFAULT, 1)


def test_at_level_inside_the_switch() -> None:
    """A block that runs during an incident neither undoes the switch nor is it lost: its level is in force when the switch ends inside it."""
    config.say(SWITCH, "order")
    with config.at_level("off"):
        assert in_force()[:2] == ("order", SWITCH)
        config.say(SWITCH, None)
        assert in_force()[:2] == ("off", CODE)
    assert in_force()[:2] == ("detect", DEFAULT)


def test_the_switch_inside_at_level() -> None:
    """A switch that comes inside a block stays when the block is left."""
    with config.at_level("off"):
        config.say(SWITCH, "order")
    assert in_force()[:2] == ("order", SWITCH)
    config.say(SWITCH, None)
    assert in_force()[:2] == ("detect", DEFAULT)


def test_at_level_nests_over_the_environment() -> None:
    """A block takes back all that it said: afterwards the environment decides again, not a copy of it in code."""
    config.say(ENVIRONMENT, "order")
    with config.at_level("off"), config.at_level("detect"):
        assert in_force()[:2] == ("detect", CODE)
    assert in_force()[:2] == ("order", ENVIRONMENT)


def test_a_level_that_is_over_ends_with_the_next_look() -> None:
    """Its end is known, nothing happens before it, and after it the next source decides."""
    config.set_level("off")
    soon_ns = time.monotonic_ns() + 10**12
    config.say(SWITCH, "order", soon_ns)
    assert config.end_what_is_over() == soon_ns and in_force()[:2] == ("order", SWITCH)
    config.say(SWITCH, "order", time.monotonic_ns())
    assert config.end_what_is_over() is None and in_force()[:2] == ("off", CODE)


def test_environment_is_a_source(python) -> None:
    """FASTLOCK_LEVEL speaks as the environment, and its absence as the default."""
    code = "from fastlock import config as c; print(*c.current().said.decision()[:2])"
    assert python("-c", code, env={"FASTLOCK_LEVEL": "order"}).stdout == "order environment\n"
    assert python("-c", code).stdout == "detect default\n"
    assert python("-c", code, env={"FASTLOCK_DISABLE": "1", "FASTLOCK_LEVEL": "order"}).stdout == "detect default\n"


@pytest.mark.parametrize(("given", "kept"), [(True, True), (False, False), (None, None)])
def test_control_setting(given: bool | None, kept: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`control` is on, off, or left to install()."""
    before = config.current().control
    try:
        config.configure(control=given)
        assert config.current().control is kept
    finally:
        config.configure(control=before)


def test_control_refuses() -> None:
    """What is neither is refused in one line, and the variable has the same rule."""
    with pytest.raises(ConfigError, match="control='maybe': must be True, False or, in Python, None"):
        config.configure(control="maybe")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="FASTLOCK_CONTROL='2': must be"):
        config.from_environment({"FASTLOCK_CONTROL": "2"})
    assert config.from_environment({"FASTLOCK_CONTROL": "0"}).control is False
