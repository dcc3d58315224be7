"""What many tests use: a fresh interpreter with a clean environment and a limit, because what is tested may hang."""

from __future__ import annotations

import gc
import linecache
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import finding_events

Python = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure() -> None:
    """Take SIGINT back where a shell has us ignore it, as it has what it starts in the background: programs would inherit that, and some send it to themselves."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Spare the collector what the whole suite is made of: tests have it come by some thousand times, and it would look at all of that each time."""
    import hypothesis  # noqa: F401  for it asks the collector who refers to what it manages: before, then

    gc.collect()
    gc.freeze()


@pytest.fixture
def python() -> Python:
    """Return a function that runs this interpreter with the arguments, and ``env`` on top of our FASTLOCK-free one."""

    def run(
        *arguments: object, env: Mapping[str, str] | None = None, timeout_s: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOCK_")}
        if not {"input", "stdin"} & options.keys():
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
            env={**clean, **(env or {})},
            timeout=timeout_s,
        )

    return run


@pytest.fixture
def sources(monkeypatch):
    """Gives linecache the sources of finding_events' sites, or of others."""

    def provide(sites=finding_events.SITES):
        files = {}
        for file, line, _, _, text in sites.values():
            files.setdefault(file, {})[line] = text
        for file, lines in files.items():
            text = [f"    {lines.get(number, '')}\n" for number in range(1, max(lines) + 1)]
            monkeypatch.setitem(linecache.cache, file, (1, None, text, file))
        return lambda number: sites[number][:4] if number in sites else None

    return provide
