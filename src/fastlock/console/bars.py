"""Lines of the screen that are made of words, of which some can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from fastlock.console import meanings
from fastlock.reporting import printable, width


class Word(NamedTuple):
    """A text, what it means, and the action of a click on it; ``right`` from here on words stand at the right end."""

    text: str
    meaning: str = ""
    action: str = ""
    right: bool = False


class Bar(Widget):
    """A line of words, or some; what has no room is left out."""

    DEFAULT_CSS = "Bar { height: 1; }"

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._lines: tuple[tuple[Word, ...], ...] = ((),)

    def show(self, *lines: Sequence[Word]) -> None:
        """Show these words, in one line or in several."""
        new = tuple(map(tuple, lines)) or ((),)
        if new != self._lines:
            if len(new) != len(self._lines):
                self.styles.height = len(new)
            self._lines = new
            self.refresh()

    def _placed(self, y: int) -> list[tuple[int, Word]]:
        """Return the words that have room, each with where it begins: those at the right end first of all."""
        room, at = self.size.width, 0
        words = self._lines[y] if y < len(self._lines) else ()
        rights = [word._replace(text=printable(word.text)) for word in words if word.right]
        taken = sum(width(word.text) for word in rights)
        placed = []
        for word in words:
            if word.right:
                continue
            text = printable(word.text)
            left = room - taken - at
            if width(text) > left:
                text = text[: max(0, left - 1)] + "…" if left > 1 and at == 0 else ""
            if not text:
                break
            placed.append((at, word._replace(text=text)))
            at += width(text)
        at = max(at, room - taken)
        for word in rights:
            placed.append((at, word))
            at += width(word.text)
        return placed

    def render_line(self, y: int) -> Strip:
        """Return a line."""
        segments, end = [], 0
        for at, word in self._placed(y):
            if at > end:
                segments.append(Segment(" " * (at - end)))
            segments.append(Segment(word.text, meanings.style(self.app.theme, word.meaning)))
            end = at + width(word.text)
        return Strip(segments).adjust_cell_length(self.size.width)

    async def on_click(self, event: events.Click) -> None:
        """Do what the word under the mouse says."""
        for at, word in self._placed(event.y):
            if word.action and at <= event.x < at + width(word.text):
                event.stop()
                await self.app.run_action(word.action)
