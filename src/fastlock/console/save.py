"""What is seen, written to a file: as text or JSON here, as SVG by the screen. All rows of the page, not only those in sight."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from fastlock.console.pages.base import Page
from fastlock.console.tables import Grid, Line, Row, text_of
from fastlock.console import once
from fastlock.reporting import printable

ENDINGS = (".txt", ".json", ".svg")
TEXT_COLUMNS = 160


def ending(name: str) -> str:
    """Return the ending of a file's name; ValueError in one line where it is none that can be written."""
    found = os.path.splitext(name)[1].lower()
    if found not in ENDINGS:
        raise ValueError("the name has to end in .txt, .json or .svg")
    return found


def as_text(page: Page) -> str:
    """Return a page as `fastlock top --once` prints it."""
    return once.render(page, TEXT_COLUMNS) + "\n"


def as_json(page: Page, view: str, read_at: str) -> str:
    """Return a page as JSON: its lines, its tables with a record for each row by the columns' keys, and what each row names."""
    shown = {
        "view": view,
        "title": page.title,
        "read_at": read_at,
        "head": [text_of(line) for line in page.head],
        "sections": [{"title": section.title, **_body(section.body)} for section in page.sections],
        "notes": list(page.notes),
    }
    return json.dumps(shown, indent=1) + "\n"


def _body(body: Grid | tuple[Line, ...]) -> dict[str, Any]:
    if not isinstance(body, Grid):
        return {"lines": [text_of(line) for line in body]}
    titles = [{"key": column.key, "title": column.title} for column in body.columns]
    return {"columns": titles, "total": body.total, "rows": [_row(body, row) for row in body.rows]}


def _row(grid: Grid, row: Row) -> dict[str, Any]:
    named = {column.key: cell.text for column, cell in zip(grid.columns, row.cells, strict=True)}
    return {**named, "target": None if row.target is None else row.target._asdict()}


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
    return printable(f"{name} was not written: {getattr(exc, 'strerror', None) or exc}")
