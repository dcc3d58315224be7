"""The words of the lines around the page: where the user is, the views, what has happened, the keys. What has no room goes first."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastlock.console.bars import Word
from fastlock.console.pages import VIEWS
from fastlock.console.tables import Query
from fastlock.console.trail import Trail
from fastlock.console.watching import PERIOD_S, Told
from fastlock.console.wording import filter_text
from fastlock.reporting import duration, width

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
        words.append(Word(f" every {duration(told.slow_s)}", "warn", right=True))
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


def said(message: tuple[str, str], query: Query, told: Told | None) -> Sequence[Word]:
    """Return what has just happened, else what is wrong, else the filter, else the first note; [] where there is nothing to say."""
    if message[0]:
        return [Word(message[0], message[1])]
    if told is not None and told.trouble:
        return [Word(told.trouble, "warn")]
    told_filter = filter_text(query)
    if told_filter:
        return [Word("Filter: ", "dim"), Word(told_filter, "title", "filter"), Word("  Esc shows all", "dim")]
    if told is None or told.page is None or not told.page.notes:
        return []
    more = len(told.page.notes) - 1
    return [Word(told.page.notes[0], "warn"), *([Word(f" (and {more} more below)", "dim", right=True)] if more else [])]
