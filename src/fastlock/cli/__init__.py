"""The ``fastlock`` command: finds the verb; each verb is a module of its own with a ``main(arguments) -> exit status``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from fastlock.outside.find import looking_on

VERBS = {
    "run": "run a Python program with fastlock's locks in place of threading's",
    "ps": "list the live processes that use fastlock",
    "dump": "show who waits for what in a process, read from outside: also where it is stopped or hung",
    "top": "watch processes: who waits for what, who has it, what stands still; --once prints it",
    "level": "show the level of a running process, or set it for a while",
    "doctor": "say what is wrong with this installation, or why a process cannot be seen or asked",
    "explain": "tell what a finding's code means, with an example and the fix",
}
WRONG_USE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 fine, 2 wrong use; never a traceback for what a user did."""
    try:
        try:
            return _dispatch(list(sys.argv[1:] if argv is None else argv))
        finally:
            # Not left to the interpreter's end, where a closed pipe can only be complained about.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + 2  # as a shell counts SIGINT
    except BrokenPipeError:
        _discard_output()
        return 128 + 13  # as a shell counts SIGPIPE
    except OSError as exc:
        _discard_output()
        return complain(f"fastlock: cannot write: {exc.strerror}")


def say(text: str) -> None:
    """Print text to standard output, where there is one: a question mark for what its encoding lacks is better than a traceback."""
    if sys.stdout is not None:
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding))


def complain(line: str) -> int:
    """Print a line to standard error and return the exit status of wrong use."""
    print(line, file=sys.stderr)
    return WRONG_USE


def _dispatch(argv: list[str]) -> int:
    index = next((i for i, word in enumerate(argv) if not word.startswith("-")), len(argv))
    parser = _parser()
    options = parser.parse_args(argv[:index])
    if options.version:
        from importlib.metadata import version

        print(f"fastlock {version('fastlock')}")
        return 0
    if index == len(argv):
        parser.print_usage(sys.stderr)
        return WRONG_USE
    verb = argv[index]
    if verb not in VERBS:
        parser.error(f"there is no command {verb!r}, only {', '.join(VERBS)}")
    with contextlib.nullcontext() if verb == "run" else looking_on():  # which has a table, and nothing in it that anybody wants to see
        status: int = importlib.import_module(f"fastlock.cli.{verb}").main(argv[index + 1 :])
    return status


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="fastlock",
        usage="fastlock [--help] [--version] COMMAND ...",
        description="Locks that know their owner: see deadlocks as they form.",
        epilog="commands:\n" + "\n".join(f"  {verb:{width}}  {what}" for verb, what in VERBS.items())
        + "\n\n'fastlock COMMAND --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush has nothing to fail on."""
    if sys.stdout is not None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
