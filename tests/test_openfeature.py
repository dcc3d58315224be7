"""A feature flag decides the level: with the SDK's in-memory provider, and with one that reads a file and says when that has changed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openfeature", reason="the OpenFeature SDK is not installed (the extra `test` has it)")

from openfeature import api
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, GeneralError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

import fastlock
from fastlock import config, levels
from fastlock.errors import ConfigError, FastlockError
from fastlock.openfeature import follow
from support import wait_until

FLAG = "fastlock-level"


class FileProvider(AbstractProvider):
    """Flags are the pairs of a JSON file; look() is what a watcher of the file would call."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._flags: dict[str, Any] = {}

    def get_metadata(self) -> Metadata:
        return Metadata("file")

    def initialize(self, evaluation_context: Any) -> None:
        self._flags = json.loads(self._path.read_text())

    def look(self) -> None:
        """Read the file again and say what has come of it."""
        try:
            before, self._flags = self._flags, json.loads(self._path.read_text())
        except OSError as exc:
            self.emit_provider_error(ProviderEventDetails(message=str(exc), error_code=ErrorCode.GENERAL))
            return
        changed = [name for name in before.keys() | self._flags.keys() if before.get(name) != self._flags.get(name)]
        self.emit_provider_ready(ProviderEventDetails())
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))

    def resolve_string_details(self, flag_key: str, default_value: str, evaluation_context: Any = None) -> Any:
        if self._flags.get(flag_key) == "(broken)":
            raise GeneralError("the rules do not compile")
        if flag_key not in self._flags:
            return FlagResolutionDetails(value=default_value, reason=Reason.ERROR, error_code=ErrorCode.FLAG_NOT_FOUND)
        return FlagResolutionDetails(value=self._flags[flag_key], reason=Reason.STATIC)

    resolve_boolean_details = resolve_integer_details = resolve_float_details = resolve_object_details = resolve_string_details


def in_memory(value: Any, flag: str = FLAG) -> InMemoryProvider:
    return InMemoryProvider({flag: InMemoryFlag("on", {"on": value})})


def said() -> str | None:
    """What the flag says now."""
    word = config.current().said.flag
    return None if word is None else word.level


@pytest.fixture(autouse=True)
def sdk() -> Iterator[None]:
    """Leave neither a provider, nor a follower, nor a level."""
    before = config.current().said
    yield
    from fastlock import openfeature

    if openfeature._followed is not None:
        openfeature._followed.close()
    api.clear_providers()
    config._change({"said": before})


class Words(logging.Handler):
    """What our logger said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def words() -> Iterator[list[str]]:
    """Record the warnings of the logger "fastlock"."""
    handler = Words()
    logging.getLogger("fastlock").addHandler(handler)
    yield handler.lines
    logging.getLogger("fastlock").removeHandler(handler)


@pytest.mark.parametrize("level", ["off", "order"])
def test_the_flag_decides_at_once(level: str) -> None:
    """With a provider that is ready the level is there when follow() returns, and close() takes it back."""
    api.set_provider_and_wait(in_memory(level)) if hasattr(api, "set_provider_and_wait") else api.set_provider(in_memory(level))
    following = follow(FLAG)
    assert fastlock.level() == level and config.current().said.decision().source == levels.FLAG
    following.close()
    following.close()
    assert said() is None


def test_another_provider_is_followed() -> None:
    """A program may begin to follow before it has a provider; the event that one is ready brings the level."""
    follow(FLAG)
    assert said() is None
    api.set_provider(in_memory("order"))
    wait_until(lambda: said() == "order")
    api.set_provider(in_memory("off"))
    wait_until(lambda: said() == "off")


def test_a_file_provider(tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Changes in the file are followed; what is no level, a failure, or a lost file leave the last good one; a flag that is gone takes its word back."""
    path = tmp_path / "flags.json"

    def write(**flags: Any) -> None:
        path.write_text(json.dumps({name.replace("_", "-"): value for name, value in flags.items()}))

    write(fastlock_level="order")
    provider = FileProvider(path)
    api.set_provider(provider, "ops")
    follow(FLAG, api.get_client("ops"))
    wait_until(lambda: said() == "order")
    write(fastlock_level="off", other=1)
    provider.look()
    wait_until(lambda: said() == "off")
    for bad in ("loud", "(broken)", 7):
        write(fastlock_level=bad)
        for _ in range(3):
            provider.look()
        count = ("loud", "(broken)", 7).index(bad) + 1
        wait_until(lambda count=count: len(words) == count)
        assert said() == "off"
    path.unlink()
    provider.look()
    provider.emit_provider_stale(ProviderEventDetails())
    assert said() == "off"
    write(fastlock_level="detect")
    provider.look()
    wait_until(lambda: said() == "detect")
    write()
    provider.look()
    wait_until(lambda: said() is None)
    assert words[0] == "the flag 'fastlock-level' is 'loud', which is no level: must be off, detect, order; the level stays off"
    assert "GENERAL: the rules do not compile" in words[1] and "TYPE_MISMATCH" in words[2] and len(words) == 3
    assert [line for line in capfd.readouterr().err.splitlines() if line.startswith("fastlock: the flag")] == [f"fastlock: {word}" for word in words]


def test_default_where_there_is_no_flag() -> None:
    """The default stands in for a flag that does not exist, also where there is no provider."""
    following = follow(FLAG, default="off")
    assert said() == "off"
    api.set_provider(in_memory("order"))
    wait_until(lambda: said() == "order")
    api.set_provider(in_memory("order", "another"))
    wait_until(lambda: said() == "off")
    following.close()


def test_the_switch_comes_before_the_flag() -> None:
    """A flag that changes during an incident is in force when the switch goes back."""
    api.set_provider(in_memory("off"))
    follow(FLAG)
    wait_until(lambda: said() == "off")
    config.say(levels.SWITCH, "order")
    api.set_provider(in_memory("detect"))
    wait_until(lambda: said() == "detect")
    assert fastlock.level() == "order"
    config.say(levels.SWITCH, None)
    assert fastlock.level() == "detect"


def test_one_flag_at_a_time() -> None:
    """Two flags cannot both decide; after close() another one can."""
    following = follow(FLAG)
    with pytest.raises(FastlockError, match="the flag 'fastlock-level' decides the level already"):
        follow("other")
    following.close()
    follow("other").close()


def test_bad_arguments() -> None:
    """A default that is no level, and what is no key, are refused before anything is followed."""
    with pytest.raises(ConfigError, match="level 'loud' is unknown"):
        follow(FLAG, default="loud")
    with pytest.raises(TypeError, match="needs the key of a flag, not None"):
        follow(None)  # type: ignore[arg-type]
    assert said() is None


def test_closed_handlers_say_nothing() -> None:
    """What the provider says after close() changes nothing."""
    provider = in_memory("order")
    api.set_provider(provider)
    following = follow(FLAG)
    wait_until(lambda: said() == "order")
    following.close()
    following.refresh()
    assert said() is None


def test_without_the_sdk(python: Any, tmp_path: Path) -> None:
    """The import says what is to be installed."""
    (tmp_path / "openfeature").mkdir()
    (tmp_path / "openfeature" / "__init__.py").write_text("")
    done = python("-c", "import fastlock.openfeature", env={"PYTHONPATH": os.fspath(tmp_path)})
    assert done.returncode == 1
    assert "ImportError: fastlock.openfeature needs the SDK, pip install 'fastlock[openfeature]'" in done.stderr
