"""What is seen, written to a file: as text or JSON as `fastlock top --once` has it; an SVG is made by the screen."""

from __future__ import annotations

import errno
import json
import os

from fastlock.console import once
from fastlock.console.pages import Page
from fastlock.reporting import printable

ENDINGS = (".txt", ".json", ".svg")
COLUMNS = 160  # of text


def ending(name: str) -> str:
    """Return the ending of a file's name; ValueError in one line where it is none that can be written."""
    found = os.path.splitext(name)[1].lower()
    if found not in ENDINGS:
        raise ValueError("the name has to end in .txt, .json or .svg")
    return found


def as_text(page: Page) -> str:
    """Return a page as text."""
    return once.render(page, COLUMNS) + "\n"


def as_json(page: Page, view: str, read_at_s: float) -> str:
    """Return a page as JSON with all rows of its tables, and when it was read."""
    return json.dumps(once.document([(view, page)], read_at_s), indent=1) + "\n"


def write(name: str, content: str, *, over: bool = False) -> None:
    """Write a file that is whole or not there; FileExistsError where it exists, unless it may be written `over`; OSError as open() has it."""
    path = os.path.abspath(os.path.expanduser(name))
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    target = f"{path}.{os.getpid()}" if over else path
    with open(target, "x", encoding="utf-8", errors="backslashreplace") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            os.unlink(target)
            raise
    if over:
        os.replace(target, path)


def why_not(name: str, exc: OSError | ValueError) -> str:
    """Say in one line why a file was not written."""
    return printable(f"Not saved: {getattr(exc, 'strerror', None) or exc}: {name}")
