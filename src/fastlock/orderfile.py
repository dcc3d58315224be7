"""The text of a saved order graph: one order a line, sorted, without line numbers, so that it diffs and merges.

    # fastlock order graph 1
    first -> then<TAB>count<TAB>function: source text held<TAB>function: source text wanted

Names are classes. In a name or text a backslash, "->", a leading "#" and what cannot be printed are escaped by a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastlock.errors import ConfigError
from fastlock.findings import Site

ANY_HEADER = "# fastlock order graph "  # and the version
HEADER = f"{ANY_HEADER}1"
_HEADER_OF_ANY = re.compile(rf"{ANY_HEADER}(\d+)")
_ARROW = " -> "
_UNKNOWN = "?"
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")


class Line(NamedTuple):
    """One order as it is saved; a Site that was read has no file and no line."""

    first: str
    then: str
    often: int
    held_at: Site | None
    wanted_at: Site | None


def write(lines: Iterable[Line]) -> str:
    """Return the text of a file with these orders; their order does not matter."""
    return "\n".join([HEADER, *sorted(map(_line, lines)), ""])


def read(text: str, source: str) -> list[Line]:
    """Return the orders of a file's text; ConfigError, which names the source and the line, for anything else.

    Comments, empty lines and any order of lines are accepted. An order that is there twice, as after a merge of two
    versions, counts once, with the greater number.
    """
    first, _, rest = text.partition("\n")
    header = _HEADER_OF_ANY.fullmatch(first.rstrip())
    if header is None:
        raise ConfigError(f"{source} is no order graph: its first line is not {HEADER!r}")
    if header[1] != HEADER.rpartition(" ")[2]:
        raise ConfigError(f"{source} is an order graph of version {header[1]}, which this fastlock does not know")
    found: dict[tuple[str, str], Line] = {}
    for line in _lines(rest, source):
        known = found.get(line[:2])
        if known is None or known.often < line.often:
            found[line[:2]] = line
    return list(found.values())


def _line(line: Line) -> str:
    names = f"{_escape(line.first, name=True)}{_ARROW}{_escape(line.then, name=True)}"
    return "\t".join((names, str(line.often), _site(line.held_at), _site(line.wanted_at)))


def _lines(text: str, source: str) -> Iterator[Line]:
    # Split here and not by splitlines(), which has more ideas of what ends a line.
    for number, line in enumerate(text.split("\n"), 2):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            yield _parse(line)
        except ValueError as exc:
            raise ConfigError(f"{source}, line {number}: {exc}") from None


def _parse(line: str) -> Line:
    cells = line.split("\t")
    first, arrow, then = cells[0].partition(_ARROW)
    if not arrow or len(cells) != 4:
        if re.match(r"<{7}|={7}|>{7}", line):
            raise ValueError("a merge conflict; both sides may stay, without the lines of marks")
        raise ValueError(f"not of the form 'first{_ARROW}then', count, held and wanted with tabs between: {line[:60]!r}")
    if not (cells[1].isascii() and cells[1].isdecimal() and int(cells[1])):
        raise ValueError(f"a count must be a whole number, at least 1, and not {cells[1][:60]!r}")
    return Line(_unescape(first), _unescape(then), int(cells[1]), _read_site(cells[2]), _read_site(cells[3]))


def _site(site: Site | None) -> str:
    # The last part of the function's name only: 3.10 has no more, and one file serves all versions.
    function = "" if site is None else site.function.rpartition(".")[2]
    return _UNKNOWN if site is None else _escape(f"{function}: {' '.join(site.text.split())}".rstrip())


def _read_site(cell: str) -> Site | None:
    function, colon, text = _unescape(cell).partition(":")
    if cell == _UNKNOWN:
        return None
    if not colon:
        raise ValueError(f"a place must be 'function: source text' or {_UNKNOWN!r}, and not {cell[:60]!r}")
    return Site("", 0, function, text.strip())


def _escape(text: str, name: bool = False) -> str:
    text = text.replace("\\", "\\\\")
    if name:
        text = text.replace("->", "-\\>")
        text = f"\\{text}" if text.startswith("#") else text
    return text if text.isprintable() else "".join(char if char.isprintable() else _code(char) for char in text)


def _code(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _unescape(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        number = found[1] or found[2]
        try:
            return chr(int(number, 16)) if number else str(found[3])
        except (ValueError, OverflowError):
            raise ValueError(f"no such character: {found[0]!r}") from None

    return _ESCAPE.sub(plain, text)
