"""The words of the lines around the page: where the user is, the views, what has happened, the keys. What has no room goes first."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastlock.console.bars import Word
from fastlock.console.pages import VIEWS, Page
from fastlock.console.tables import Cell, Grid, Query, text_of
from fastlock.console.trail import Trail
from fastlock.console.watching import PERIOD_S, Told
from fastlock.console.wording import filter_text
from fastlock.console.wrapping import wrap
from fastlock.reporting import duration, width

_MOST_SAID = 3  # lines of what has happened
_KEYS = (
    ("Enter", "open", "open"),
    ("Esc", "back", "leave_page"),
    ("?", "help", "help"),
    ("q", "quit", "quit"),
    ("/", "filter", "filter"),
    ("s", "sort", "sort"),
    ("Space", "pause", "pause"),
    ("e", "save", "save"),
    ("L", "level", "level"),
)


def title(trail: Trail, told: Told | None, paused: bool) -> list[Word]:
    """Return the line on top: the pages that led here, and when was read what is shown."""
    names = [VIEWS[trail.view].title, *(place.title or "…" for place in trail.places[1:])]
    words = [Word(" › ".join(names), "title")]
    if paused:
        words.append(Word(" PAUSED", "alarm", "pause", right=True))
    elif told is not None and told.slow_s > PERIOD_S * 1.5:
        words.append(Word(f" reads every {duration(told.slow_s)}", "warn", right=True))
    if told is not None and told.read_at_s:
        words.append(Word(f" {clock(told.read_at_s)}", "", right=True))
    return words


def clock(at_s: float) -> str:
    """Return a time of the day."""
    return time.strftime("%H:%M:%SZ", time.gmtime(at_s))


def views(view: str, room: int) -> list[Word]:
    """Return the views, the one that is shown marked; on a narrow screen the others by their numbers alone."""
    full = [Word(f"{number} {each.title}", "here" if each.name == view else "", f"view('{each.name}')") for number, each in enumerate(VIEWS.values(), 1)]
    if sum(width(word.text) for word in full) + len(full) - 1 > room:
        full = [word if word.meaning else word._replace(text=word.text.split()[0]) for word in full]
    return [part for word in full for part in (word, Word(" "))][:-1]


def keys(room: int) -> list[Word]:
    """Return the keys that have room, the ones that nobody guesses first."""
    words: list[Word] = []
    taken = 0
    for key, told, action in _KEYS:
        parts = [Word(key, "key", action), Word(f" {told}", "", action), Word(" ")]
        taken += sum(width(part.text) for part in parts)
        if taken - 1 > room:
            break
        words += parts
    return words


def said(message: tuple[str, str], query: Query, told: Told | None, room: int) -> Sequence[Sequence[Word]]:
    """Return as lines what has just happened, else what is wrong, else the filter, else the first note; [] where there is nothing to say."""
    if message[0]:
        return _broken(*message, room)
    if told is not None and told.trouble:
        return _broken(told.trouble, "warn", room)
    shown = None if told is None else told.page
    told_filter = filter_text(query)
    if told_filter:
        number = "" if shown is None else _of_all(shown)
        return [[Word("Filter: ", "dim"), Word(told_filter, "title", "filter"), Word(number), Word("  Esc shows all", "dim")]]
    if shown is None or not shown.notes:
        return []
    more = len(shown.notes) - 1
    return [[Word(shown.notes[0], "warn"), *([Word(f" (and {more} more below)", "dim", right=True)] if more else [])]]


def _broken(text: str, meaning: str, room: int) -> list[list[Word]]:
    """Return a text in as many lines as it needs, within reason."""
    lines = wrap((Cell(text, meaning),), max(1, room))
    return [[Word(text_of(line), meaning)] for line in lines[:_MOST_SAID]]


def _of_all(shown: Page) -> str:
    """Say how many of a page's rows pass the filter."""
    grids = [section.body for section in shown.sections if isinstance(section.body, Grid)]
    return f"  {sum(len(grid.rows) for grid in grids):,} of {sum(grid.total for grid in grids):,}" if grids else ""
