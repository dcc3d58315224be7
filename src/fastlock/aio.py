"""asyncio's primitives, owned by tasks; RLock, RWLock and acquire_all besides, and Barrier on 3.10 too.

Each has asyncio's interface and behaves as asyncio's does, for one loop's thread at a time; options of ours are keyword-only.
"""

from fastlock._aio_locks import Lock, RLock
from fastlock._aio_barrier import Barrier, BrokenBarrierError as BrokenBarrierError
from fastlock._aio_conditions import Condition, Event
from fastlock._aio_multiple import acquire_all
from fastlock._aio_rwlock import RWLock
from fastlock._aio_semaphores import BoundedSemaphore, Semaphore

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "RWLock",
    "Semaphore",
    "acquire_all",
]
