"""What many tests use: a fresh interpreter with a clean environment and a limit, because what is tested may hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

Python = Callable[..., "subprocess.CompletedProcess[str]"]


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
