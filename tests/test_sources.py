"""Lines of source as reports show them: without linecache, but from it where a program has put them there."""

from __future__ import annotations

import linecache
import os
from pathlib import Path

import pytest

from fastlock import sources


def test_lines_of_a_file(tmp_path: Path) -> None:
    """A line is stripped, one that is not there is "", and a file is read once."""
    file = tmp_path / "one.py"
    file.write_text("def f():\n    return 'ä'\n", encoding="utf-8")
    assert [sources.line(str(file), number) for number in range(-1, 4)] == ["", "", "def f():", "return 'ä'", ""]
    file.unlink()
    assert sources.line(str(file), 2) == "return 'ä'"


def test_lines_are_those_that_python_counts(tmp_path: Path) -> None:
    """A form feed begins no line, and neither do what else a string can be split at; a carriage return does."""
    file = tmp_path / "old.py"
    file.write_bytes("a = 1\n\f\nb = '\u2028'\r\nc = 3\rd = 4".encode())
    assert [sources.line(str(file), number) for number in range(1, 6)] == ["a = 1", "", "b = '\u2028'", "c = 3", "d = 4"]


def test_a_file_may_come_later(tmp_path: Path) -> None:
    """What could not be read once is tried again."""
    file = tmp_path / "late.py"
    assert sources.line(str(file), 1) == ""
    file.write_text("here = 1\n")
    assert sources.line(str(file), 1) == "here = 1"


def test_linecache_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's cell, or a source out of an archive, is where its program has put it."""
    monkeypatch.setitem(linecache.cache, "<cell 3>", (10, None, ["a = 1\n", "  b = 2\n"], "<cell 3>"))
    assert sources.line("<cell 3>", 2) == "b = 2"
    monkeypatch.setitem(linecache.cache, "<lazy>", (lambda: 1 / 0,))  # type: ignore[arg-type]
    assert sources.line("<lazy>", 1) == ""


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    """No file, a directory, a name that is none, a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe.py")
    for file in ("", "<string>", "<frozen importlib>", str(tmp_path), str(tmp_path / "gone.py"), str(tmp_path / "pipe.py"), "a\0b"):
        assert sources.line(file, 1) == ""


def test_a_file_without_its_directory_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As linecache does: where modules are."""
    (tmp_path / "somewhere.py").write_text("here = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert sources.line("somewhere.py", 1) == "here = 1"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"a = '\xc3\xa4'\n", "a = 'ä'\n"),
        (b"\xef\xbb\xbfa = '\xc3\xa4'\n", "a = 'ä'\n"),
        (b"# -*- coding: latin-1 -*-\na = '\xe4'\n", "# -*- coding: latin-1 -*-\na = 'ä'\n"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\na = '\xe4'\n", "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\na = 'ä'\n"),
        (b"# -*- coding: latin-1; mode: python -*-\na = '\xe4'", "# -*- coding: latin-1; mode: python -*-\na = 'ä'"),
        (b"a = 1  # coding: latin-1\nb = '\xc3\xa4'", "a = 1  # coding: latin-1\nb = 'ä'"),
        (b"# coding: nonsense\na = '\xc3\xa4'\n", "# coding: nonsense\na = 'ä'\n"),
        (b"a = '\xe4'\n", "a = '�'\n"),
        (b"", ""),
    ],
)
def test_encodings(source: bytes, text: str) -> None:
    """The declared one, else UTF-8; a report is never lost for a byte."""
    assert sources.decoded(source) == text
