"""Stacks in reports: the application's frames with their source, those of the standard library folded."""

from __future__ import annotations


from fastlock.findings import Site, basename
from fastlock.reporting import is_stdlib, pad, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INDENT = 11  # of what stands behind a row's verb
WIDE = 100  # columns, which names, places and lines of source together keep to where they can
_FRAMES = 16  # of the application, for each stack
_SOURCE = 64


def lines(stack: Sequence[Site]) -> list[str]:
    """Return a stack, the innermost frame last; where a place and its source have no room on one line, each has its own."""
    entries = list(_fold(stack))
    hidden = len(entries) - _FRAMES
    if hidden > 0:
        entries = [(f"… {_frames(hidden, 'outer frame')}", ""), *entries[hidden:]]
    column = max((width(place) for place, text in entries if text), default=0)
    if INDENT + column + 3 + max((width(text) for _, text in entries), default=0) > WIDE:
        rows = [line for place, text in entries for line in (place, f"  {text}") if line.strip()]
    else:
        rows = [f"{pad(place, column)}   {text}" for place, text in entries]
    return [f"    {mark}  {row}" for mark, row in zip(["stack", *["     "] * len(rows)], rows)]


def source(text: str, most: int = _SOURCE) -> str:
    """Return a line of source with its end cut, where it is longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _fold(stack: Sequence[Site]) -> Iterator[tuple[str, str]]:
    """Yield (place, source) for each frame of the application, and one entry for each run of library frames."""
    folded: list[Site] = []
    for site in stack:
        if is_stdlib(site.file):
            folded.append(site)
            continue
        if folded:
            yield _folded(folded), ""
            folded = []
        yield f"{site.file}:{site.line} in {site.function}", source(site.text)
    if folded:
        yield _folded(folded), ""


def _folded(frames: list[Site]) -> str:
    files = dict.fromkeys(basename(site.file) for site in frames)
    return f"… {_frames(len(frames), 'frame')} in {', '.join(files)}"


def _frames(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
