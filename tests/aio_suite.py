"""Runs suites of CPython's with fastlock.aio's primitives in place of asyncio's: aio_suite.py (ours|plain) MODULE…"""

from __future__ import annotations

import asyncio
import asyncio.locks
import sys
import unittest

import fastlock.aio


# What test_locks does on purpose: tasks end as owners and others release for them, as told when it is told.
MEANT = {"FL003"}


def put_in_place() -> None:
    """Give asyncio our primitives under all the names that it has for its own."""
    for name in ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"):
        for module in (asyncio, asyncio.locks):
            if hasattr(module, name):
                setattr(module, name, getattr(fastlock.aio, name))


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        put_in_place()
    program = unittest.main(module=None, argv=["aio_suite", *sys.argv[2:]], exit=False)
    meant = MEANT if any("test_locks" in name for name in sys.argv) else set()
    sure = [finding.code for finding in fastlock.findings() if finding.tier in ("proven", "high") and finding.code not in meant]
    print("findings", sure)
    sys.exit(not program.result.wasSuccessful() or bool(sure))
