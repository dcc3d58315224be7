"""The page that `?` shows."""

from __future__ import annotations

from fastlock.console.pages import VIEWS, Page, Section
from fastlock.console.tables import Cell, Line

_IN = 2
_NAMES = 15  # columns for what is explained
KEYS = (
    ("1 … 8", f"choose a view; so do letters: {' '.join(view.key for view in VIEWS.values())}"),
    ("Enter", "go to what the row names: a lock, an agent, a circle, a process; a second click does so too"),
    ("Esc Backspace", "go back; in a view: take the filter away"),
    ("arrows j k", "move the cursor, or the page where there are no rows; PgUp, PgDn, Home and End too"),
    ("/", "filter: words that a row has to have, kind:RLock, age:10s"),
    ("s S", "sort by the next column; reverse. A click on a column's title does both"),
    ("Space", "pause, to look at one moment; again to go on"),
    ("e", "save what is seen: as text (200 rows of a table), JSON (all of them) or a picture, by the ending .txt, .json, .svg"),
    ("L", "change the level of the process that the row belongs to, for a time; asks before it does"),
    ("t", "colours for a dark or a light terminal"),
    ("?", "this help"),
    ("q Ctrl-C", "end"),
)
WORDS = (
    ("DEADLOCK", "bad", "agents wait for each other in a circle, and nothing will end that"),
    ("deadlocked", "bad", "the health of a process with a deadlock"),
    ("stalled", "warn", "somebody has waited for a lock for ten seconds or more"),
    ("ok", "good", "neither"),
    ("Behind", "name", "how many wait for somebody in the end; those in a deadlock are not behind each other"),
    ("stopped", "warn", "the process was stopped by a signal; what is shown is how it stands"),
)
ABOUT = (
    "The console reads each process's table from outside, so a process that hangs or is stopped is seen as well, and none is slowed down. "
    "What a row says is how it was at one moment; `fastlock dump PID --json` says the same. "
    "Sites are file, line and function: where a lock was taken by who holds it, and where it is wanted."
)


def help_page() -> Page:
    """Return the page."""
    words = tuple(_entry(word, style, told) for word, style, told in WORDS)
    keys = tuple(_entry(key, "key", told) for key, told in KEYS)
    return Page("Help", (), (Section("Keys", keys), Section("Words", words), Section("What is shown", ((Cell(ABOUT),),))), ())


def _entry(name: str, style: str, told: str) -> Line:
    return (Cell(" " * _IN), Cell(name, style), Cell(f"{' ' * max(2, _NAMES - len(name))}{told}"))

