"""``fastlock run``: a program under fastlock, and for the rest exactly as python runs it.

It is python that runs it: this process checks the options, puts them into the environment, and becomes the interpreter,
where fastlock.pth installs fastlock before the program's first line. So ``__main__``, argv, sys.path, tracebacks,
standard input, signals and the exit status are python's own, and children and ``spawn`` workers are covered too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import site
import subprocess
import sys
import zipfile
from collections.abc import Sequence

from fastlock import config
from fastlock.cli import complain
from fastlock.errors import ConfigError, FastlockError

USAGE = (
    "fastlock run [--level L] [--on-deadlock P] [--on-inversion P] [--acquire-timeout S] [--suppress PATTERNS] [--json FILE] "
    "[--order-graph FILE] [-v] [--] (script.py | -m module | console-script) [args...]"
)
PTH = "fastlock.pth"


class _Refused(FastlockError):
    """The program cannot be started; the message is one line for its user."""


def main(argv: Sequence[str]) -> int:
    """Become the named program; returns only where that is impossible."""
    options, words = _split(list(argv))
    parser = _parser()
    arguments = parser.parse_args(options)
    if not words:
        parser.error("nothing to run: name a script, -m and a module, or a console script")
    try:
        environment = config.child_environment(_settings(arguments))
        command = _command(words)
        _require_pth()
    except (ConfigError, _Refused) as exc:
        return complain(f"fastlock run: {exc}")
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    try:
        os.execve(sys.executable, [sys.executable, *flags, *command], environment)
    except (OSError, ValueError) as exc:
        return complain(f"fastlock run: cannot start {sys.executable}: {_reason(exc)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastlock run",
        usage=USAGE,
        description="Run a Python program with fastlock's locks in place of threading's. Options after the program are its own.",
        allow_abbrev=False,
    )
    parser.add_argument("--level", metavar="L", help="off, detect (default), or order, which ends with a summary")
    parser.add_argument("--on-deadlock", metavar="P", help="report (default), raise, or exit with status 3")
    parser.add_argument("--on-inversion", metavar="P", help="report (default), or raise; --level order goes with it")
    parser.add_argument("--acquire-timeout", metavar="S", help="seconds that any lock may be waited for; none by default")
    parser.add_argument("--suppress", metavar="PATTERNS", help="predictions not to report: fingerprints or lock classes, by commas")
    parser.add_argument("--json", metavar="FILE", help="append findings to FILE as JSON lines")
    parser.add_argument("--order-graph", metavar="FILE", help="save the order of locks in FILE at the end; --level order goes with it")
    parser.add_argument("-v", "--verbose", action="store_true", help="say at start how many locks fastlock cannot see")
    return parser


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Divide what is ours from the program and its arguments, which argparse must not look at."""
    index = 0
    while index < len(argv):
        word = argv[index]
        if word == "--":
            return argv[:index], argv[index + 1 :]
        if not word.startswith("-") or word == "-" or (word.startswith("-m") and not word.startswith("--")):
            break
        # "--level=off" is one word, "--level off" is two; switches have no value.
        index += 1 if "=" in word or word in ("-v", "--verbose", "-h", "--help") else 2
    return argv[:index], argv[index:]


def _settings(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the given options as texts by setting, checked here, where an error is still one line."""
    texts = {}
    for name in ("level", "on_deadlock", "on_inversion", "acquire_timeout", "suppress", "json"):
        text = getattr(arguments, name)
        if text is not None:
            option = "--" + name.replace("_", "-")
            value = config.parse_text(name, text, option)
            texts[name] = value if name == "json" else text  # absolute: the program may change its directory
    if arguments.verbose:
        texts["verbose"] = "1"
    return {**texts, **_ending(arguments)}


def _ending(arguments: argparse.Namespace) -> dict[str, str]:
    """Return what makes this very process, once it is the program, end with a summary."""
    level, path = arguments.level or config.current().level, arguments.order_graph
    for option, value in (("--order-graph", path), ("--on-inversion", arguments.on_inversion)):
        if value is not None and arguments.level not in (None, "order"):
            raise _Refused(f"{option}={value!r}: needs --level order, and not {arguments.level}")
    if path is None and arguments.on_inversion is None and level != "order":
        return {}
    # An empty one too, for an outer `fastlock run` may have left a path of its own.
    saved = "" if path is None else config.parse_text("order_graph", path, "--order-graph")
    return {"level": "order", "summary": str(os.getpid()), "order_graph": saved}


def _command(words: list[str]) -> list[str]:
    """Return what comes after the interpreter and its flags."""
    program = words[0]
    if program.startswith("-m"):
        if words == ["-m"]:
            raise _Refused("-m needs the name of a module")
        return words
    if program == "-":
        return words
    if not program or program.startswith("-"):
        raise _Refused(f"neither a script, -m and a module, nor a console script: {program!r}")
    if os.path.exists(program) and (os.sep in program or not _is_bare_directory(program)):
        _require_readable(program)
        return words
    return [*_console_script(program), *words[1:]]


def _is_bare_directory(path: str) -> bool:
    """Tell apart a directory that merely has a console script's name from one that python can run."""
    return os.path.isdir(path) and not os.path.exists(os.path.join(path, "__main__.py"))


def _require_readable(path: str) -> None:
    if not os.path.isfile(path):  # a directory; or a pipe, which opening would disturb
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as exc:
        raise _Refused(f"cannot read {path}: {_reason(exc)}") from None


def _console_script(name: str) -> list[str]:
    """Return the interpreter's flags and the path of a console script; the ones of this interpreter go first."""
    if os.sep in name or name.endswith((".py", ".pyw")):
        raise _Refused(f"no such file: {name}")
    path = shutil.which(name, path=os.path.dirname(sys.executable)) or shutil.which(name)
    if path is None:
        raise _Refused(f"no such file or console script: {name}")
    flags = _script_flags(path)
    if flags is None:
        raise _Refused(f"not a Python script: {path}")
    return [*flags, path]


def _script_flags(path: str) -> list[str] | None:
    """Return the flags that a script's first line gives to python, or None where it is no Python script."""
    try:
        with open(path, "rb") as file:
            first, second = file.readline(4096), file.readline(4096)
    except OSError as exc:
        raise _Refused(f"cannot read {path}: {_reason(exc)}") from None
    interpreter, _, rest = first[2:].strip().partition(b" ")
    if first.startswith(b"#!"):
        if b"python" in os.path.basename(interpreter):
            return [os.fsdecode(rest.strip())] if rest.strip() else []
        # Through env; or through sh, as pip writes where the interpreter's path is too long for a first line.
        if b"python" in rest or (second.startswith(b"'''exec'") and b"python" in second):
            return []
    return [] if zipfile.is_zipfile(path) else None


def _require_pth() -> None:
    """Refuse where python would start the program without fastlock."""
    if not sys.executable:
        raise _Refused("this Python does not know its own executable")
    if sys.flags.no_site:
        raise _Refused(f"python -S does not read {PTH}, so the program would run without fastlock")
    if start_file() is None:
        raise _Refused(
            f"{PTH} is in no site directory of {sys.executable}, so the program would run without fastlock; "
            "install fastlock with this Python's pip"
        )


def start_file() -> str | None:
    """Return the path of fastlock.pth where python reads it at its start, None where it lies in no such place."""
    directories = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        directories.append(site.getusersitepackages())
    paths = (os.path.join(directory, PTH) for directory in directories)
    return next((path for path in paths if os.path.exists(path)), None)


def _reason(exc: OSError | ValueError) -> str:
    return getattr(exc, "strerror", None) or str(exc)
