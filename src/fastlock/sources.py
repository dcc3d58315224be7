"""Lines of source for reports: from linecache, where the program has put them there, else from the file.

linecache itself is not imported: it needs tokenize, re and their like, which take milliseconds of each start, and a report is no place for a first import.
"""

from __future__ import annotations

import os
import sys

MOST_BYTES = 16 << 20  # of a file; a longer one is no source that somebody reads

_read: dict[str, list[str]] = {}  # by file; replaced as a whole by any thread, which at worst reads one twice


def line(file: str, number: int) -> str:
    """Return a line of a source file, stripped; "" where it cannot be read; any thread; a file is read once in a process."""
    lines = _from_linecache(file)
    if lines is None:
        lines = _read.get(file) or _from_file(file)
        if lines:  # else it may be there later
            _read[file] = lines
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def _from_linecache(file: str) -> list[str] | None:
    """Return the lines that the program, a notebook say, has told linecache; None where there are none."""
    known = getattr(sys.modules.get("linecache"), "cache", {}).get(file, ())
    return known[2] if len(known) == 4 else None  # (size, time, lines, full name), or a function that would have to be asked


def _from_file(file: str) -> list[str]:
    if file.startswith("<"):  # typed in, or frozen
        return []
    # A file that is named without its directory is looked for where modules are.
    folders = [""] if os.path.isabs(file) else ["", *(each for each in sys.path if isinstance(each, str))]
    for folder in folders:
        path = os.path.join(folder, file)
        try:
            if not os.path.isfile(path):  # to open a pipe waits for who writes
                continue
            with open(path, "rb") as source:
                text = decoded(source.read(MOST_BYTES))
            return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # a form feed begins no line, as it does for splitlines()
        except (OSError, ValueError):  # a ValueError: a name with a zero in it
            continue
    return []


def decoded(source: bytes) -> str:
    """Return the text of a source, in the encoding that one of its first two lines declares, else UTF-8; what cannot be decoded is shown as such."""
    for first in source.split(b"\n", 2)[:2]:
        comment, found, name = first.partition(b"coding")
        if found and comment.lstrip().startswith(b"#") and name[:1] in (b":", b"="):
            encoding = name[1:].strip().split(b" ")[0].rstrip(b";").decode("latin-1")
            try:
                return source.decode(encoding, "replace")
            except (LookupError, ValueError):  # there is none of this name, or it is none for text
                break
    return source.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
