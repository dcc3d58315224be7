"""asyncio's primitives, owned by tasks: see fastlock._aio for the locks."""

from fastlock._aio import Lock, RLock

__all__ = ["Lock", "RLock"]
