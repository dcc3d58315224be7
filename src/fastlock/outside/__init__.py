"""Other processes' tables, read from outside: no help of theirs, no GIL, no ptrace; the standard library alone."""

from __future__ import annotations

from fastlock.outside.find import Table, open_table, processes, require_proc
from fastlock.outside.layout import Unseen

__all__ = ["Table", "Unseen", "open_table", "processes", "require_proc"]
