"""Which threads run an event loop: follows asyncio from the moment that somebody imports it; fastlock itself does not."""

from __future__ import annotations

from fastlock import config, imports
from fastlock._loops import follow_loops

__all__ = ["follow_loops", "start"]


def start() -> None:
    """Follow asyncio's loops, now or as soon as asyncio is imported; inert under FASTLOCK_DISABLE=1."""
    if not config.disabled():
        imports.after("asyncio", follow_loops)
