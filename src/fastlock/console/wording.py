"""What people type into the console: a filter, a level with its time; as text and back."""

from __future__ import annotations

from typing import NamedTuple

from fastlock import values
from fastlock.console.tables import Query
from fastlock.reporting import duration

FILTER_HELP = "words, kind:RLock, age:10s"
LEVELS = ("off", "detect", "order")


class LevelWish(NamedTuple):
    """A level for a process, and for how many seconds; None: until it is set again."""

    level: str
    for_s: float | None


def parse_filter(text: str, query: Query) -> Query:
    """Return a query with the filter that a text says, and the order that it had; ValueError in one line where the text says none."""
    words, kind, age_s = [], "", 0.0
    for word in text.split():
        key, colon, value = word.partition(":")
        if colon and key == "kind":
            kind = value
        elif colon and key == "age":
            age_s = _seconds(value, word) if value else 0.0
        else:
            words.append(word)
    return query._replace(text=" ".join(words), kind=kind, min_age_s=age_s)


def filter_text(query: Query) -> str:
    """Return the text that says the filter of a query, "" for none."""
    parts = [query.text] if query.text else []
    parts += [f"kind:{query.kind}"] if query.kind else []
    parts += [f"age:{query.min_age_s:g}s"] if query.min_age_s else []
    return " ".join(parts)


def parse_level(text: str) -> LevelWish:
    """Return what a text such as ``order 10m`` wishes; ValueError in one line where it wishes nothing that there is."""
    words = text.split()
    if not words or len(words) > 2 or words[0] not in LEVELS:
        raise ValueError(f"say one of {', '.join(LEVELS)}, and for how long: order 10m")
    return LevelWish(words[0], _seconds(words[1], words[1]) if len(words) == 2 else None)


def _seconds(text: str, word: str) -> float:
    try:
        return values.seconds(text)
    except ValueError as exc:
        raise ValueError(f"{word}: {exc}") from None


def level_prompt(pid: int, now: str, room: int) -> str:
    """Return what is asked for, so that the levels have room beside it."""
    full = f"Level for pid {pid}, now {now}, and for how long:"
    return full if len(full) + sum(len(level) + 3 for level in LEVELS) <= room else f"Level {pid}:"


def level_question(wish: LevelWish, who: str) -> str:
    """Return the question whether that is meant."""
    limit = "until it is set again" if wish.for_s is None else f"for {duration(wish.for_s)}"
    return f"Set level {wish.level} {limit} in {who}?"
