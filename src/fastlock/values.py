"""What a setting may be that is a whole number, a time or a directory; an error's text goes on after the name and the value."""

from __future__ import annotations

import os

from fastlock.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Return the seconds in 90, 90s, 10m, 2h or 1d; ValueError for anything else."""
    import re  # not in every process that starts

    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", text, re.ASCII)
    if found is None or float(found[1]) == 0:
        raise ValueError("must be a time such as 90s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def report_rate(value: Any) -> int | None:
    """Return how many reports there may be in a minute, None for any number."""
    return None if value is None else _whole(value, 1, 1_000_000, " reports a minute, or None")


def metric_classes(value: Any) -> int:
    """Return how many lock classes have numbers of their own."""
    return _whole(value, 1, 10_000, "")


def _whole(value: Any, least: int, most: int, what: str) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and least <= value <= most and value == int(value):
        return int(value)
    raise ConfigError(f"must be a whole number from {least:,} to {most:,}{what}")


def directory(value: Any) -> str | None:
    """Return the absolute path of a directory that can be written to."""
    if value is None:
        return None
    try:
        path = os.path.abspath(os.fsdecode(value))
        with os.scandir(path):
            pass
    except TypeError:
        raise ConfigError("must be the path of a directory, or None") from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"is no directory to write to: {getattr(exc, 'strerror', None) or exc}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError("is no directory to write to: Permission denied")
    return path
