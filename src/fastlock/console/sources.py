"""Lines of source, where what a process has told has none: read from the file as the process sees it, if that is as old as what was told."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import TypeVar

from fastlock.findings import EdgeFact, Finding, OrderFact, Site

_T = TypeVar("_T", EdgeFact, OrderFact)
_MOST_BYTES = 4 << 20


def sourced(finding: Finding) -> Finding:
    """Return the finding with the text of each line that is held and wanted: of its own stacks, else of the file; "" stays where neither has it."""
    known = {(site.file, site.line): site.text for agent in finding.agents for site in agent.stack if site.text}

    def with_text(site: Site | None) -> Site | None:
        if site is None or site.text:
            return site
        text = known.get((site.file, site.line)) or _line(finding.pid, site.file, site.line, finding.detected_at)
        return replace(site, text=text)

    def both(each: _T) -> _T:
        return replace(each, held_at=with_text(each.held_at), wanted_at=with_text(each.wanted_at))

    locks = tuple(replace(lock, held_at=with_text(lock.held_at)) for lock in finding.locks)
    return replace(finding, edges=tuple(map(both, finding.edges)), orders=tuple(map(both, finding.orders)), locks=locks)


@lru_cache(4096)
def _line(pid: int, file: str, line: int, told_at: str) -> str:
    """Return a line of a Python file without its indent; "" where it cannot be read, or has been changed since."""
    path = f"/proc/{pid}/root{file}"  # what the process calls that, also in a container
    try:
        about = os.stat(path)
        if not file.startswith("/") or not file.endswith(".py") or not os.path.isfile(path) or about.st_size > _MOST_BYTES:
            return ""
        if about.st_mtime > datetime.fromisoformat(told_at).timestamp():
            return ""
        with open(path, encoding="utf-8", errors="replace") as source:
            return next(islice(source, line - 1, line), "").strip() if line > 0 else ""
    except (OSError, ValueError):
        return ""
