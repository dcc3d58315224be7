"""The settings: their names, what each may be, where they come from; the only reader of the environment.

A setting comes from a ``configure`` keyword, from the variable FASTLOCK_<KEYWORD> or from an option of ``fastlock run``;
each source is checked by the same parser, and an error names the source. An empty variable counts as unset. With
FASTLOCK_DISABLE=1 the other variables are not even read, for a kill switch must not fail on them.

Two variables are no settings, for they are about one process and its end: FASTLOCK_SUMMARY and FASTLOCK_ORDER_GRAPH, which
``fastlock run`` sets for the program that it becomes. See `Ending`.
"""

from __future__ import annotations

import _thread
import os
import sys
import time

from fastlock import levels, values
from fastlock.addresses import Address, parse_address
from fastlock.errors import ConfigError
from fastlock.levels import Decision, Levels, Word
from fastlock.lean import NamedTuple, dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

LEVELS: Mapping[str, int] = {"off": 0, "detect": 1, "order": 2}
_LATER_LEVELS = ("trace",)
_POLICIES = ("report", "raise", "exit")
_SWITCHES: Mapping[str, bool] = {
    "": False, "0": False, "false": False, "no": False, "off": False,
    "1": True, "true": True, "yes": True, "on": True,
}  # fmt: skip
_UNSET: Any = object()


class PatternFile(NamedTuple):
    """A file of suppressions and what was in it when it was named."""

    path: str
    patterns: tuple[str, ...]


class Ending(NamedTuple):
    """How this process ends: with or without a summary on standard error, and its order graph in which file, if any."""

    summary: bool = False
    order_graph: str | None = None


@dataclass(frozen=True)
class Settings:
    """What ``configure`` can set, by keyword; times are in seconds."""

    level: str = "detect"
    on_deadlock: str | Callable[..., Any] = "report"
    on_inversion: str = "report"
    acquire_timeout: float | None = None
    slow_wait: float = 10.0
    loop_block: float = 0.1
    gil_stall: float | None = 10.0
    json: str | None = None
    suppress: tuple[str, ...] = ()
    suppress_file: PatternFile | None = None
    publish_awaits: bool = False
    report_rate: int | None = None
    metric_classes: int = 100
    livez: Address | None = None
    dump_dir: str | None = None
    control: bool | None = None
    said: Levels = field(default=Levels(), repr=False)  # of which `level` is what was decided


# Raw and re-entrant: a signal handler or finaliser may configure in the middle of a configure.
_mutex = _thread.RLock()
os.register_at_fork(after_in_child=_mutex._at_fork_reinit)  # type: ignore[attr-defined]
_current = Settings()
_ending = Ending()
_observers: list[Callable[[Settings], None]] = []
_disabled = False
_started = False


# ---- what each setting may be; an error's text goes on after the name and the value --------------


def _level(value: Any) -> str:
    if isinstance(value, str) and value in LEVELS:
        return value
    fate = "comes with a later version" if isinstance(value, str) and value in _LATER_LEVELS else "is unknown"
    raise ConfigError(f"{fate}; this one has: {', '.join(LEVELS)}")


def _on_deadlock(value: Any) -> str | Callable[..., Any]:
    if isinstance(value, str):
        if value in _POLICIES:
            return value
    elif callable(value):
        return value  # type: ignore[no-any-return]
    raise ConfigError("must be 'report', 'raise', 'exit' or, in Python, a callable")


def _on_inversion(value: Any) -> str:
    if isinstance(value, str) and value in ("report", "raise"):
        return value
    raise ConfigError("must be 'report' or 'raise'")


def _seconds(value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value <= _thread.TIMEOUT_MAX:  # NaN fails here
        return float(value)
    raise ConfigError(f"must be a number of seconds, more than 0 and at most {_thread.TIMEOUT_MAX:.0f}")


def _seconds_or_none(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return _seconds(value)
    except ConfigError as exc:
        raise ConfigError(f"{exc}, or None") from None


def _json(value: Any) -> str | None:
    if value is not None:
        import fastlock.reporting.jsonl  # now, and not by the first report
    return None if value is None else _writable(value, "appended to")


def _writable(value: Any, purpose: str = "written") -> str:
    try:
        path = os.path.abspath(os.fsdecode(value))
        # Opened now, for a report is no place to learn that the disk is read-only. Never waits for a FIFO's reader, and
        # keeps what is there.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        os.close(os.open(path, flags, 0o666))
    except TypeError:
        raise ConfigError("must be the path of a file, or None") from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot be {purpose}: {getattr(exc, 'strerror', None) or exc}") from None
    return path


def _order_graph(value: Any) -> str:
    from fastlock import orderfile  # which not every process that starts needs
    header = orderfile.ANY_HEADER.encode()
    path = _writable(value)
    if os.path.isfile(path):  # of a FIFO or a terminal nothing is lost, and reading it could wait for ever
        try:
            with open(path, "rb") as file:
                begins = file.read(len(header))
        except OSError as exc:
            raise ConfigError(f"cannot be read: {exc.strerror}") from None
        if begins and begins != header:
            raise ConfigError("exists and is no order graph; it is left as it is")
    return path


def _suppress(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        # A single string is no iterable of patterns that anybody means: each of its letters would be one.
        raise ConfigError("must be a list of fingerprints (6 hex digits or more) and globs of lock classes")
    patterns = tuple(value)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern.strip():
            raise ConfigError(f"{pattern!r} is neither a fingerprint nor a glob of lock classes")
    if patterns:
        import fnmatch  # now, and not by the first report
    return tuple(dict.fromkeys(pattern.strip() for pattern in patterns))


def _suppress_file(value: Any) -> PatternFile | None:
    if value is None:
        return None
    try:
        path = os.path.abspath(os.fsdecode(value))
        if os.path.exists(path) and not os.path.isfile(path):
            raise ConfigError("it is no regular file")  # reading a pipe or a device may not end
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except TypeError:
        raise ConfigError("must be the path of a file, or None") from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
    # A comment may stand behind a pattern, after a blank.
    patterns = [f" {line}".partition(" #")[0].strip() for line in lines]
    return PatternFile(path, _suppress(pattern for pattern in patterns if pattern))


def _publish_awaits(value: Any) -> bool:
    on = _SWITCHES.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(on, bool):
        raise ConfigError("must be True or False")
    if on and sys.version_info < (3, 14):
        raise ConfigError(f"needs Python 3.14 or later, whose asyncio shows who awaits whom; this is {sys.version.split()[0]}")
    return on


def _livez(value: Any) -> Address | None:
    return value if value is None or isinstance(value, Address) else parse_address(value)


def _control(value: Any) -> bool | None:
    on = _SWITCHES.get(value.strip().lower()) if isinstance(value, str) else value
    if not (isinstance(on, bool) or value is None):
        raise ConfigError("must be True, False or, in Python, None")
    return on


def _summary(text: str) -> bool:
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError("must be the id of the process that ends with a summary")
    # The id and not a yes: the program's children inherit the variable, and one summary is enough.
    return int(text) == os.getpid()


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "level": _level,
    "on_deadlock": _on_deadlock,
    "on_inversion": _on_inversion,
    "acquire_timeout": _seconds_or_none,
    "slow_wait": _seconds,
    "loop_block": _seconds,
    "gil_stall": _seconds_or_none,
    "json": _json,
    "suppress": _suppress,
    "suppress_file": _suppress_file,
    "publish_awaits": _publish_awaits,
    "report_rate": values.report_rate,
    "metric_classes": values.metric_classes,
    "livez": _livez,
    "dump_dir": values.directory,
    "control": _control,
}
# Not for configure(): about one process and its end.
_ENDINGS: Mapping[str, Callable[[Any], Any]] = {"summary": _summary, "order_graph": _order_graph}
_FLAGS = ("install", "disable", "verbose")  # no settings either: plain switches
_NUMBERS = frozenset({"acquire_timeout", "slow_wait", "loop_block", "gil_stall", "report_rate", "metric_classes"})


def _parse(name: str, value: Any) -> Any:
    try:
        return _PARSERS[name](value)
    except ConfigError as exc:
        where = f"level {value!r}" if name == "level" else f"{name}={value!r}:"
        raise ConfigError(f"{where} {exc}") from None


def parse_text(name: str, text: str, source: str) -> Any:
    """Return the value that ``text`` means for a setting; ConfigError names ``source``, as in "--level='x': …"."""
    value: Any = text
    if name in _NUMBERS:
        try:
            value = None if text.strip().lower() == "none" else float(text)
        except ValueError:
            value = text  # refused below, in the words of the setting
    elif name == "suppress":
        value = [pattern for pattern in text.split(",") if pattern.strip()]
    try:
        return (_PARSERS.get(name) or _ENDINGS[name])(value)
    except ConfigError as exc:
        raise ConfigError(f"{source}={text!r}: {exc}") from None


# ---- the environment ----------------------------------------------------------------------------


def variable(name: str) -> str:
    """Return the environment variable of a setting or switch."""
    return f"FASTLOCK_{name.upper()}"


def switch(name: str, environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether FASTLOCK_<NAME> is on; ConfigError unless it is a plain yes or no."""
    text = (os.environ if environ is None else environ).get(variable(name), "")
    try:
        return _SWITCHES[text.strip().lower()]
    except KeyError:
        raise ConfigError(f"{variable(name)}={text!r}: must be 1 or 0") from None


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the FASTLOCK_* variables ask for; ConfigError names the first bad one."""
    environ = os.environ if environ is None else environ
    for name in ("install", "verbose"):
        switch(name, environ)
    texts = {name: environ.get(variable(name), "") for name in _PARSERS}
    return Settings(**{name: parse_text(name, text, variable(name)) for name, text in texts.items() if text})


def ending_from_environment(environ: Mapping[str, str] | None = None) -> Ending:
    """Return what the variables say about this process's end; ConfigError for a bad one."""
    environ = os.environ if environ is None else environ
    pid, path = (environ.get(variable(name), "") for name in ("summary", "order_graph"))
    if path and not pid:
        raise ConfigError(f"{variable('order_graph')}={path!r}: needs {variable('summary')}, which names the process")
    # A child has inherited both: it would write over its parent's file, and may not even be allowed to.
    if not pid or not parse_text("summary", pid, variable("summary")):
        return Ending()
    return Ending(True, parse_text("order_graph", path, variable("order_graph")) if path else None)


def directories_for_sockets(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return where a process with this environment (None: this one) may put a directory of its own, best first."""
    environ = os.environ if environ is None else environ
    named = (environ.get("XDG_RUNTIME_DIR"), environ.get("TMPDIR"), "/tmp")
    return list(dict.fromkeys(path for path in named if path and os.path.isabs(path)))


def wants_colour(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether a terminal may be written to in colour: not with NO_COLOR (https://no-color.org), nor where it knows none."""
    environ = os.environ if environ is None else environ
    return not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the FASTLOCK_* variables as they are."""
    environ = os.environ if environ is None else environ
    return {name: text for name, text in sorted(environ.items()) if name.startswith("FASTLOCK_")}


def meaning(name: str, text: str) -> str:
    """Say what a variable means to a process that finds it, or what is wrong with it."""
    setting = name.removeprefix("FASTLOCK_").lower()
    if not text:
        return "empty counts as unset"
    try:
        if setting in _FLAGS:
            return "on" if switch(setting, {name: text}) else "off"
        if setting in _ENDINGS:
            return "set by `fastlock run`"
        return f"{setting}={parse_text(setting, text, name)!r}" if setting in _PARSERS else "fastlock has no such variable"
    except ConfigError as exc:
        return f"wrong: {str(exc).partition('=')[2]}"


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that another process was started with; OSError where it may not be read."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = (os.fsdecode(line).partition("=") for line in file.read().split(b"\0"))
        return {name: value for name, equals, value in pairs if equals}


def child_environment(texts: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with FASTLOCK_INSTALL=1 and the named settings, for a program to be started."""
    return {**os.environ, variable("install"): "1", **{variable(name): text for name, text in texts.items()}}


def start() -> None:
    """Take the settings from the environment, once in a process; ConfigError for a bad value."""
    global _disabled, _ending, _started
    if _started:
        return
    try:
        _disabled = switch("disable")
        settings = Settings() if _disabled else from_environment()
        _ending = Ending() if _disabled else ending_from_environment()
    except ConfigError as exc:
        if not is_command():
            raise
        # Our own tool has no caller that could catch it, and its users want one line.
        os.write(2, f"fastlock: {exc}\n".encode(errors="backslashreplace"))
        raise SystemExit(2) from None
    given = {name: value for name, value in vars(settings).items() if name != "said"}
    _change(given, levels.DEFAULT if _disabled or not os.environ.get(variable("level")) else levels.ENVIRONMENT)
    _started = True


def is_command() -> bool:
    """Tell whether this process is the ``fastlock`` tool; while ``python -m`` looks for a module, argv[0] is "-m"."""
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program == "-m":
        return not {"fastlock", "-mfastlock"}.isdisjoint(sys.orig_argv)
    return os.path.basename(program) == "fastlock"


# ---- the current settings -----------------------------------------------------------------------


def current() -> Settings:
    """Return the settings in force, one consistent set; any thread; costs an attribute load."""
    return _current


def ending() -> Ending:
    """Return how this process ends, as the environment said at start."""
    return _ending


def disabled() -> bool:
    """Tell whether FASTLOCK_DISABLE made everything inert: locks lock, and nothing else happens."""
    return _disabled


def apply(settings: Settings) -> None:
    """Hand the settings to the core, which knows numbers only; inert ones where fastlock is disabled."""
    from fastlock import _core, _delays, _stall

    _delays.set_room(settings.metric_classes)
    _stall.set_limit(-1 if _disabled or settings.level == "off" else _nanoseconds(settings.gil_stall))
    if _disabled:
        _core.set_limits(-1, -1, -1)
        _core.set_level(LEVELS["off"])
        return
    limits = (settings.slow_wait, settings.acquire_timeout, settings.loop_block)
    _core.set_limits(*map(_nanoseconds, limits))
    _core.set_level(LEVELS[settings.level])


def observe(observer: Callable[[Settings], None]) -> None:
    """Have a part that stands above this one told of the settings, each time they have been applied; for ever."""
    _observers.append(observer)


def _nanoseconds(seconds: float | None) -> int:
    return -1 if seconds is None else -int(-seconds * 1e9 // 1)  # rounded up


def _change(changes: Mapping[str, Any], source: str = levels.CODE) -> tuple[Decision, Decision]:
    """Replace some settings; the level is what `source` says, and None takes that back. Return who decided before and who does.

    Both loops are for a signal handler that configures in between: no change gets lost.
    """
    global _current
    with _mutex:
        while True:
            before = _current
            said = changes.get("said", before.said).without_those_over(time.monotonic_ns())
            if "level" in changes and "said" not in changes:
                word = changes["level"]
                said = said.saying(source, Word(word) if isinstance(word, str) else word)
            after = replace(before, **{**changes, "said": said, "level": said.decision().level})
            if _current is before:
                _current = after
                break
        while True:
            settled = _current
            apply(settled)
            if _current is settled:
                break
    for observer in _observers:
        observer(settled)
    return before.said.decision(), settled.said.decision()


def configure(
    *,
    level: str = _UNSET,
    on_deadlock: str | Callable[..., Any] = _UNSET,
    on_inversion: str = _UNSET,
    acquire_timeout: float | None = _UNSET,
    slow_wait: float = _UNSET,
    loop_block: float = _UNSET,
    gil_stall: float | None = _UNSET,
    json: str | os.PathLike[str] | None = _UNSET,
    suppress: Iterable[str] = _UNSET,
    suppress_file: str | os.PathLike[str] | None = _UNSET,
    publish_awaits: bool = _UNSET,
    report_rate: int | None = _UNSET,
    metric_classes: int = _UNSET,
    livez: str | None = _UNSET,
    dump_dir: str | os.PathLike[str] | None = _UNSET,
    control: bool | None = _UNSET,
) -> None:
    """Change settings of the whole process, all or (ConfigError) none; times in seconds; any thread; microseconds.

    ``on_deadlock``: "report", "raise", "exit" or a callable. ``on_inversion``: "report" or "raise".
    ``acquire_timeout``: the limit of every lock that has none of its own; None for no limit. ``slow_wait`` and
    ``loop_block``: how long a wait, and a wait on an event loop's thread, may last unreported. ``gil_stall``: how long the
    GIL may stand still, wanted and not let go, while a thread waits; None for ever. ``json``: a file that findings are appended to. ``suppress``: fingerprints, or the first 6 or more digits of one, and globs of lock classes
    or names; FL010 and FL011 that match one are counted in ``suppressed()`` and neither reported nor raised.
    ``suppress_file``: a file with one of these a line, and comments after #; read now, and beside ``suppress``, not in its
    place. ``publish_awaits`` (3.14 and later): a task that waits for an aio lock also stands under its owner in
    ``python -m asyncio pstree PID``, at about a microsecond for each such wait. ``control``: whether ``fastlock level`` and
    ``doctor`` reach this process by a socket; None for as soon as fastlock is installed.
    ``report_rate``: how many full reports there may be in any minute, None for no limit; what is more is counted, and in
    ``findings()`` and the ``json`` file all the same. ``metric_classes``: how many lock classes have numbers of their own in
    ``metrics()``. ``livez``: where /livez and /metrics are answered by a thread of fastlock's, "127.0.0.1:9464" or
    "unix:/path", with the process's id for {pid}; None for nowhere. ``dump_dir``: where it writes a snapshot when /livez fails.
    Settings are kept but inert under FASTLOCK_DISABLE=1.
    """
    given = {name: value for name, value in locals().items() if value is not _UNSET}
    _change({name: _parse(name, value) for name, value in given.items()})


def set_level(name: str) -> None:
    """Switch to level "off", "detect" or "order" (else ConfigError); any thread, at any moment; inert under FASTLOCK_DISABLE=1.

    What ``fastlock level`` or a feature flag says comes before it, and after that is over this is in force.
    """
    _change({"level": _parse("level", name)})


def check_level(name: str) -> None:
    """Raise the ConfigError that `set_level` would raise."""
    _parse("level", name)


def say(source: str, name: str | None, until_ns: int | None = None) -> tuple[Decision, Decision]:
    """Let a source of levels other than code say one, None for nothing any more; return who decided before and who does now."""
    return _change({"level": None if name is None else Word(_parse("level", name), until_ns)}, source)


def end_what_is_over() -> int | None:
    """Take back the levels whose time has passed; return when the next one ends, in ns of CLOCK_MONOTONIC, None for never."""
    end_ns = _current.said.next_end_ns()
    if end_ns is not None and end_ns <= time.monotonic_ns():
        _change({})
        end_ns = _current.said.next_end_ns()
    return end_ns


def level() -> str:
    """Return the name of the level in force; "off" under FASTLOCK_DISABLE=1."""
    return "off" if _disabled else _current.level


class at_level:
    """Context manager: code's level is ``name`` inside, and what it was before the entry again after; for the whole process.

    As with ``set_level``, what ``fastlock level`` or a feature flag says meanwhile comes before it.
    """

    __slots__ = ("_before", "_name")

    def __init__(self, name: str) -> None:
        self._name = _parse("level", name)
        self._before: list[Word | None] = []  # one may be entered again inside itself

    def __enter__(self) -> None:
        self._before.append(_current.said.code)
        set_level(self._name)

    def __exit__(self, *exc_info: object) -> None:
        _change({"level": self._before.pop()})
