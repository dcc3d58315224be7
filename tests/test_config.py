"""Settings: what each may be, where they come from, and that the core gets the last word of whoever speaks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from fastlock import _core, config
from fastlock.addresses import Address
from fastlock.errors import ConfigError


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    """Leave the settings as they were."""
    before = config.current()
    yield
    config._change(asdict(before))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, ...]]:
    """Record what the core is told last, by function."""
    calls: dict[str, tuple[int, ...]] = {}
    for name in ("set_level", "set_limits"):
        monkeypatch.setattr(_core, name, lambda *numbers, name=name: calls.update({name: numbers}))
    return calls


def test_defaults() -> None:
    """The defaults are the contract's."""
    assert config.Settings() == config.Settings("detect", "report", "report", None, 10.0, 0.1, 10.0, None, (), None)


GOOD = [
    ("level", "off", "off"),
    ("level", "detect", "detect"),
    ("level", "order", "order"),
    ("on_deadlock", "report", "report"),
    ("on_deadlock", "raise", "raise"),
    ("on_deadlock", "exit", "exit"),
    ("on_deadlock", print, print),
    ("on_inversion", "raise", "raise"),
    ("acquire_timeout", 1, 1.0),
    ("acquire_timeout", 0.25, 0.25),
    ("acquire_timeout", None, None),
    ("slow_wait", 3, 3.0),
    ("slow_wait", threading.TIMEOUT_MAX, threading.TIMEOUT_MAX),
    ("loop_block", 0.5, 0.5),
    ("gil_stall", 30, 30.0),
    ("gil_stall", None, None),
    ("json", None, None),
    ("suppress", [], ()),
    ("suppress", [" 9f3a1c", "cache_*", "9f3a1c"], ("9f3a1c", "cache_*")),
    ("suppress_file", None, None),
    ("report_rate", None, None),
    ("report_rate", 60, 60),
    ("metric_classes", 1e3, 1000),
    ("livez", None, None),
    ("dump_dir", None, None),
    ("dump_dir", Path("/tmp"), "/tmp"),
]


@pytest.mark.parametrize(("name", "given", "kept"), GOOD)
def test_configure_keeps(name: str, given: object, kept: object) -> None:
    """A good value is kept, a number of seconds as a float."""
    config.configure(**{name: given})
    value = getattr(config.current(), name)
    assert value == kept and type(value) is type(kept)


BAD = [
    ("level", "loud", "level 'loud' is unknown; this one has: off, detect, order"),
    ("level", "trace", "level 'trace' comes with a later version; this one has: off, detect, order"),
    ("level", "DETECT", "level 'DETECT' is unknown"),
    ("level", None, "level None is unknown"),
    ("level", 1, "level 1 is unknown"),
    ("level", ["off"], "level ['off'] is unknown"),
    ("on_deadlock", "explode", "on_deadlock='explode': must be 'report', 'raise', 'exit' or, in Python, a callable"),
    ("on_deadlock", None, "on_deadlock=None: must be"),
    ("on_inversion", "exit", "on_inversion='exit': must be 'report' or 'raise'"),
    ("on_inversion", print, "on_inversion=<built-in function print>: must be"),
    ("acquire_timeout", -1, "acquire_timeout=-1: must be a number of seconds, more than 0"),
    ("acquire_timeout", 0, "acquire_timeout=0: must be"),
    ("acquire_timeout", float("nan"), "acquire_timeout=nan: must be"),
    ("acquire_timeout", float("inf"), "acquire_timeout=inf: must be"),
    ("acquire_timeout", True, "acquire_timeout=True: must be"),
    ("acquire_timeout", "5", "acquire_timeout='5': must be a number"),
    ("slow_wait", None, "slow_wait=None: must be"),
    ("slow_wait", 10**30, "slow_wait=1000000000000000000000000000000: must be"),
    ("loop_block", 1j, "loop_block=1j: must be"),
    ("gil_stall", 0, "gil_stall=0: must be a number of seconds, more than 0"),
    ("gil_stall", "10", "gil_stall='10': must be a number of seconds"),
    ("suppress", "cache_*", "suppress='cache_*': must be a list of fingerprints (6 hex digits or more) and globs"),
    ("suppress", None, "suppress=None: must be a list"),
    ("suppress", ["a", " "], "suppress=['a', ' ']: ' ' is neither a fingerprint nor a glob of lock classes"),
    ("suppress", [7], "suppress=[7]: 7 is neither"),
    ("suppress_file", 7, "suppress_file=7: must be the path of a file, or None"),
    ("suppress_file", "/no/such/file", "suppress_file='/no/such/file': cannot be read: No such file or directory"),
    ("suppress_file", "/", "suppress_file='/': cannot be read: it is no regular file"),
    ("suppress_file", "/dev/zero", "suppress_file='/dev/zero': cannot be read: it is no regular file"),
    ("report_rate", 0, "report_rate=0: must be a whole number from 1 to 1,000,000 reports a minute, or None"),
    ("report_rate", 1.5, "report_rate=1.5: must be"),
    ("report_rate", float("nan"), "report_rate=nan: must be"),
    ("metric_classes", None, "metric_classes=None: must be a whole number from 1 to 10,000"),
    ("metric_classes", True, "metric_classes=True: must be"),
    ("metric_classes", "many", "metric_classes='many': must be"),
    ("livez", 9464, "livez=9464: must be \"127.0.0.1:9464\", \"unix:/path\" or None"),
    ("livez", "9464", "livez='9464': must be an address with a port from 1 to 65535"),
    ("livez", "127.0.0.1:0", "livez='127.0.0.1:0': must be an address with a port"),
    ("livez", "127.0.0.1:99999999999", "must be an address with a port"),
    ("livez", "0.0.0.0:9464", "livez='0.0.0.0:9464': 0.0.0.0 is no loopback address: others could reach it"),
    ("livez", "[::]:9464", "[::] is no loopback address"),
    ("livez", "example.org:80", "example.org is neither an IP address nor localhost"),
    ("livez", "unix:livez.sock", "a unix socket needs an absolute path"),
    ("livez", "unix:/no/such/directory/l.sock", "there is no directory /no/such/directory"),
    ("livez", "unix:/tmp/" + 100 * "x" + "{pid}", "a unix socket's path has at most 107 bytes"),
    ("dump_dir", 7.5, "dump_dir=7.5: must be the path of a directory, or None"),
    ("dump_dir", "/no/such", "dump_dir='/no/such': is no directory to write to: No such file or directory"),
    ("dump_dir", __file__, "is no directory to write to: Not a directory"),
    ("json", 7, "json=7: must be the path of a file, or None"),
    ("json", "a\0b", "json='a\\x00b': cannot be appended to"),
    ("json", "/", "json='/': cannot be appended to: Is a directory"),
    ("json", "/no/such/directory/x", "json='/no/such/directory/x': cannot be appended to: No such file or directory"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_configure_refuses(name: str, value: object, message: str) -> None:
    """A bad value is one clear sentence, and nothing has changed, the good keyword beside it included."""
    before = config.current()
    other = {"slow_wait": 4.0} if name != "slow_wait" else {"loop_block": 4.0}
    with pytest.raises(ConfigError) as caught:
        config.configure(**other, **{name: value})
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert config.current() == before


def test_unknown_keyword_is_a_type_error() -> None:
    """A misspelt keyword is Python's own error."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'levle'"):
        config.configure(levle="off")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional argument"):
        config.configure("off")  # type: ignore[misc]


def test_configure_without_keywords_changes_nothing() -> None:
    """An empty configure is allowed."""
    before = config.current()
    config.configure()
    assert config.current() == before


def test_json_becomes_absolute_and_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The findings file is opened when it is named, so that a later chdir moves nothing."""
    monkeypatch.chdir(tmp_path)
    config.configure(json=Path("findings.jsonl"))
    assert config.current().json == str(tmp_path / "findings.jsonl")
    assert (tmp_path / "findings.jsonl").read_bytes() == b""


def test_suppress_file_has_a_pattern_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty lines and comments do not count, and the file is read when it is named."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "known.txt"
    path.write_text("# known ones\n\n9f3a1c0d  # the report of Tuesday\n  cache_*\nlock #2\n#x\n", encoding="utf-8")
    config.configure(suppress_file="known.txt")
    path.unlink()
    assert config.current().suppress_file == (str(path), ("9f3a1c0d", "cache_*", "lock"))


def test_suppress_file_that_is_no_text(tmp_path: Path) -> None:
    """A file that cannot be understood is an error at the start and not an empty list."""
    path = tmp_path / "known.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read: "):
        config.configure(suppress_file=path)


# ---- the environment


def test_environment_of_every_setting(tmp_path: Path) -> None:
    """There is a variable for each keyword."""
    path = str(tmp_path / "f.jsonl")
    environ = {
        "FASTLOCK_LEVEL": "off",
        "FASTLOCK_ON_DEADLOCK": "exit",
        "FASTLOCK_ON_INVERSION": "raise",
        "FASTLOCK_ACQUIRE_TIMEOUT": "2.5",
        "FASTLOCK_SLOW_WAIT": "3",
        "FASTLOCK_LOOP_BLOCK": "0.25",
        "FASTLOCK_GIL_STALL": "none",
        "FASTLOCK_JSON": path,
        "FASTLOCK_SUPPRESS": "9f3a1c, cache_*,",
        "FASTLOCK_SUPPRESS_FILE": path,
        "FASTLOCK_REPORT_RATE": "60",
        "FASTLOCK_METRIC_CLASSES": "20",
        "FASTLOCK_LIVEZ": "127.0.0.1:9464",
        "FASTLOCK_DUMP_DIR": str(tmp_path),
    }
    expected = config.Settings(
        "off", "exit", "raise", 2.5, 3.0, 0.25, None, path, ("9f3a1c", "cache_*"), config.PatternFile(path, ()),
        report_rate=60, metric_classes=20, livez=Address("127.0.0.1:9464", host="127.0.0.1", port=9464), dump_dir=str(tmp_path),
    )  # fmt: skip
    assert config.from_environment(environ) == expected


def test_unset_and_empty_variables_are_defaults() -> None:
    """An empty variable is how a deployment file unsets one."""
    assert config.from_environment({}) == config.Settings()
    assert config.from_environment({"FASTLOCK_LEVEL": "", "FASTLOCK_INSTALL": ""}) == config.Settings()
    assert config.from_environment({"FASTLOCK_ACQUIRE_TIMEOUT": "none"}) == config.Settings()


@pytest.mark.parametrize(
    ("variable", "text", "rest"),
    [
        ("FASTLOCK_LEVEL", "x", "is unknown; this one has: off, detect, order"),
        ("FASTLOCK_LEVEL", "trace", "comes with a later version"),
        ("FASTLOCK_ON_DEADLOCK", "print", "must be 'report'"),
        ("FASTLOCK_ON_INVERSION", "x", "must be"),
        ("FASTLOCK_ACQUIRE_TIMEOUT", "soon", "must be a number of seconds"),
        ("FASTLOCK_ACQUIRE_TIMEOUT", "-1", "must be a number of seconds"),
        ("FASTLOCK_SLOW_WAIT", "none", "must be a number of seconds"),
        ("FASTLOCK_LOOP_BLOCK", "nan", "must be a number of seconds"),
        ("FASTLOCK_JSON", "/", "cannot be appended to"),
        ("FASTLOCK_SUPPRESS_FILE", "/no/such/file", "cannot be read: No such file or directory"),
        ("FASTLOCK_REPORT_RATE", "often", "must be a whole number"),
        ("FASTLOCK_LIVEZ", "0.0.0.0:9464", "0.0.0.0 is no loopback address"),
        ("FASTLOCK_DUMP_DIR", "/no/such", "is no directory to write to"),
        ("FASTLOCK_INSTALL", "maybe", "must be 1 or 0"),
        ("FASTLOCK_VERBOSE", "2", "must be 1 or 0"),
    ],
)
def test_bad_variable_is_named(variable: str, text: str, rest: str) -> None:
    """The message starts with the variable and its value as they were given."""
    with pytest.raises(ConfigError) as caught:
        config.from_environment({variable: text})
    assert str(caught.value).startswith(f"{variable}={text!r}: ") and rest in str(caught.value)


def test_ending_is_this_processs(tmp_path: Path) -> None:
    """Only the process that is named ends with a summary; others, which inherit the variables, do not touch the file."""
    path = str(tmp_path / "graph.txt")
    mine = {"FASTLOCK_SUMMARY": str(os.getpid()), "FASTLOCK_ORDER_GRAPH": path}
    assert config.ending_from_environment({}) == config.Ending(False, None)
    assert config.ending_from_environment({**mine, "FASTLOCK_SUMMARY": str(os.getppid())}) == (False, None)
    assert not Path(path).exists()
    assert config.ending_from_environment({**mine, "FASTLOCK_ORDER_GRAPH": ""}) == (True, None)
    assert config.ending_from_environment(mine) == (True, path)
    assert Path(path).read_bytes() == b""


@pytest.mark.parametrize(
    ("summary", "graph", "message"),
    [
        ("yes", "", "FASTLOCK_SUMMARY='yes': must be the id of the process that ends with a summary"),
        ("-1", "", "FASTLOCK_SUMMARY='-1': must be"),
        ("", "x", "FASTLOCK_ORDER_GRAPH='x': needs FASTLOCK_SUMMARY, which names the process"),
        (str(os.getpid()), "/", "FASTLOCK_ORDER_GRAPH='/': cannot be written: Is a directory"),
    ],
)
def test_bad_ending(summary: str, graph: str, message: str) -> None:
    """A bad variable about the end is an error at the start."""
    with pytest.raises(ConfigError) as caught:
        config.ending_from_environment({"FASTLOCK_SUMMARY": summary, "FASTLOCK_ORDER_GRAPH": graph})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("text", "on"), [("1", True), ("on", True), ("Yes", True), ("0", False), ("", False), ("off", False)])
def test_switches(text: str, on: bool) -> None:
    """A switch understands the usual words."""
    assert config.switch("disable", {"FASTLOCK_DISABLE": text}) is on


def test_import_takes_the_environment(python) -> None:
    """Importing fastlock is enough for FASTLOCK_* to count, and a bad value is a ConfigError there."""
    code = "import fastlock._core as c, fastlock.config as f; f.start(); print(f.level(), c.get_level(), f.current().slow_wait)"
    good = python("-c", code, env={"FASTLOCK_LEVEL": "off", "FASTLOCK_SLOW_WAIT": "7"})
    assert (good.stdout, good.stderr) == ("off 0 7.0\n", "")
    bad = python("-c", code, env={"FASTLOCK_SLOW_WAIT": "x"})
    assert bad.returncode == 1 and "ConfigError: FASTLOCK_SLOW_WAIT='x': must be" in bad.stderr


def test_disable_makes_everything_inert(python) -> None:
    """Under FASTLOCK_DISABLE=1 calls are still checked and accepted, the core stays off, other variables are not read."""
    code = """
import threading
import fastlock, fastlock.auto
from fastlock import _core, config, patching
assert config.disabled() and config.level() == "off" and _core.get_level() == 0
config.set_level("detect")
config.configure(on_deadlock="exit", slow_wait=1)
with config.at_level("detect"):
    assert config.level() == "off" and _core.get_level() == 0
try:
    config.set_level("x")
except fastlock.ConfigError:
    pass
else:
    raise SystemExit("accepted")
patching.install()
assert not patching.installed()
with fastlock.Lock():
    print("locks")
"""
    environ = {"FASTLOCK_DISABLE": "1", "FASTLOCK_INSTALL": "1", "FASTLOCK_LEVEL": "nonsense"}
    done = python("-c", code, env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "locks\n", "")


# ---- what the core is told


def test_core_gets_numbers(told: dict[str, tuple[int, ...]]) -> None:
    """Seconds become nanoseconds, rounded up so that nothing times out early or at once; None becomes -1."""
    config.configure(level="off", slow_wait=1.5, acquire_timeout=1e-10)
    assert told == {"set_level": (0,), "set_limits": (1_500_000_000, 1, 100_000_000)}
    config.configure(level="detect", acquire_timeout=None)
    assert told == {"set_level": (1,), "set_limits": (1_500_000_000, -1, 100_000_000)}
    config.set_level("order")
    assert told["set_level"] == (2,)
    config.configure(slow_wait=threading.TIMEOUT_MAX)
    assert told["set_limits"][0] < 2**63


def test_set_level_reaches_the_core() -> None:
    """The level's name and the core's number go together."""
    config.set_level("off")
    assert (config.level(), _core.get_level()) == ("off", 0)
    config.set_level("detect")
    assert (config.level(), _core.get_level()) == ("detect", 1)


def test_at_level_restores_after_an_exception() -> None:
    """at_level nests, in itself too, and always goes back."""
    config.set_level("detect")
    off = config.at_level("off")
    with pytest.raises(KeyError), off, config.at_level("detect"), off:
        assert (config.level(), _core.get_level()) == ("off", 0)
        raise KeyError
    assert (config.level(), _core.get_level()) == ("detect", 1)


def test_at_level_refuses_early() -> None:
    """A bad name fails where it is written, not at the entry."""
    with pytest.raises(ConfigError, match="level 'x' is unknown"):
        config.at_level("x")


def test_change_inside_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that sets the level while configure runs neither blocks nor loses either's change."""
    plain, handled = config.apply, []

    def interrupted(settings: config.Settings) -> None:
        if not handled:
            handled.append(True)
            config.set_level("off")
        plain(settings)

    config.set_level("detect")
    monkeypatch.setattr(config, "apply", interrupted)
    config.configure(slow_wait=5)
    assert (config.level(), config.current().slow_wait, _core.get_level()) == ("off", 5.0, 0)


def test_change_before_the_first_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the handler comes between reading the settings and storing them."""
    plain, handled = config.replace, []

    def interrupted(before: config.Settings, **changes: object) -> config.Settings:
        after = plain(before, **changes)
        if not handled:
            handled.append(True)
            config.set_level("off")
        return after

    config.set_level("detect")
    monkeypatch.setattr(config, "replace", interrupted)
    config.configure(slow_wait=6)
    assert (config.level(), config.current().slow_wait, _core.get_level()) == ("off", 6.0, 0)


def test_levels_from_many_threads() -> None:
    """Whatever the order, the core ends with what level() says, and no other setting is lost."""
    start = threading.Barrier(4)

    def flip(names: tuple[str, str], wait_s: int) -> None:
        start.wait()
        for _ in range(200):
            for name in names:
                config.set_level(name)
        config.configure(**{("slow_wait", "loop_block")[wait_s % 2]: wait_s})

    threads = [
        threading.Thread(target=flip, args=(names, 40 + i))
        for i, names in enumerate([("off", "detect"), ("detect", "off")] * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _core.get_level() == config.LEVELS[config.level()]
    assert config.current().slow_wait in (40, 42) and config.current().loop_block in (41, 43)


def test_fork_while_another_thread_configures(python) -> None:
    """A child never inherits a held mutex."""
    code = """
import os, threading
from fastlock import config
held, go = threading.Event(), threading.Event()
def hold():
    with config._mutex:
        held.set()
        go.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    config.set_level("off")
    os._exit(0)
go.set()
thread.join()
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert python("-W", "ignore", "-c", code).returncode == 0
