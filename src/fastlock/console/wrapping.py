"""Lines of cells that are too long for a screen, broken at their spaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fastlock.console.pages.base import Section
from fastlock.console.tables import Cell, Grid, Line
from fastlock.reporting import printable, width

_LABEL = re.compile(r" +\S+(?: \S+)* {2,}(?=\S)")
_HANG = 2  # how much further in stands what is broken off


def wrap(line: Line, columns: int) -> list[Line]:
    """Return a line as lines of at most so many columns of a terminal, without control characters; a word that is longer is broken."""
    cells = [Cell(printable(cell.text), cell.style) for cell in line]
    if sum(width(cell.text) for cell in cells) <= columns:
        return [tuple(cells)]
    indent = _indent("".join(cell.text for cell in cells), columns)
    lines: list[list[Cell]] = [[]]
    left = columns
    for word, style in _words(cells):
        if width(word) > left and left < columns - (indent if len(lines) > 1 else 0):
            lines.append([Cell(" " * indent)])
            left = columns - indent
            word = word.lstrip(" ")
        while width(word) > left:
            head = _head(word, left)
            lines[-1].append(Cell(head, style))
            lines.append([Cell(" " * indent)])
            word, left = word[len(head) :], columns - indent
        lines[-1].append(Cell(word, style))
        left -= width(word)
    return [_joined(each) for each in lines]


def fitting(section: Section, columns: int) -> tuple[Line, ...]:
    """Return the lines of a section in the first of its forms that has room; the last one, which is to be broken, where none has."""
    assert not isinstance(section.body, Grid)
    for form in (section.body, *section.narrower[:-1]):
        if all(sum(width(cell.text) for cell in line) <= columns for line in form):
            return form
    return section.narrower[-1] if section.narrower else section.body


def _indent(text: str, columns: int) -> int:
    """Return how far in stands what is broken off: below what follows a label, else a little further in than the line."""
    label = _LABEL.match(text)
    if label is not None and label.end() <= columns // 3:
        return label.end()
    return min(len(text) - len(text.lstrip(" ")) + _HANG, columns // 3)


def _words(cells: Sequence[Cell]) -> Iterator[tuple[str, str]]:
    """Yield each word with the spaces before it, and its style."""
    for cell in cells:
        start, inside = 0, False
        for place, char in enumerate(cell.text):
            if char == " " and inside:
                yield cell.text[start:place], cell.style
                start, inside = place, False
            inside = inside or char != " "
        if start < len(cell.text):
            yield cell.text[start:], cell.style


def _head(word: str, columns: int) -> str:
    """Return as much of a word as fits, one character at least."""
    end = 1
    while end < len(word) and width(word[: end + 1]) <= columns:
        end += 1
    return word[:end]


def _joined(cells: Sequence[Cell]) -> Line:
    """Return cells with neighbours of one style made one."""
    joined: list[Cell] = []
    for cell in cells:
        if joined and joined[-1].style == cell.style:
            joined[-1] = Cell(joined[-1].text + cell.text, cell.style)
        else:
            joined.append(cell)
    return tuple(joined)
