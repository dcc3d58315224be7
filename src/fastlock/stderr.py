"""Standard error, as fastlock's words reach it."""

from __future__ import annotations

import os


def write(message: str) -> None:
    """Write to standard error in one piece, whatever the program has done with sys.stderr."""
    data = message.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        return  # standard error is closed: logging and hooks still get it
