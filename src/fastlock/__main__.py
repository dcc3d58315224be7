"""``python -m fastlock`` is the ``fastlock`` command."""

from __future__ import annotations

from fastlock.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
