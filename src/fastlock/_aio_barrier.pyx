# cython: language_level=3, binding=False, embedsignature=True, embedsignature.format=clinic
"""asyncio's Barrier, which asyncio has from 3.11 on: a count and a state on a condition.

The condition's lock serves nobody else, and its waits are the barrier's; so it is kept out of all reasoning about owners.
"""
cimport cython

from fastlock._aio cimport repr_of, unexpected
from fastlock._aio_conditions cimport Condition, barrier_condition
from fastlock._native cimport fl_type_name, fl_type_set

import asyncio
import sys

BrokenBarrierError = getattr(asyncio, "BrokenBarrierError", None)
if BrokenBarrierError is None:
    BrokenBarrierError = type("BrokenBarrierError", (RuntimeError,), {
        "__module__": "fastlock.aio", "__doc__": "Raised to those who wait on a barrier that is broken or reset."})

cdef str FILLING = "filling"
cdef str DRAINING = "draining"
cdef str RESETTING = "resetting"
cdef str BROKEN = "broken"


@cython.auto_pickle(False)
cdef class Barrier:
    """Barrier(parties)\n--\n\nA point that `parties` tasks pass together; asyncio.Barrier's interface, for one loop's thread."""

    cdef Condition condition
    cdef object _parties
    cdef readonly str _state
    cdef readonly int _count    # of those inside
    cdef object __weakref__
    cdef dict __dict__

    def __cinit__(self):
        self.condition = barrier_condition()
        self._state = FILLING

    def __init__(self, parties, **unknown):
        if unknown:
            unexpected("Barrier", unknown)
        if parties < 1:
            raise ValueError("parties must be >= 1" if sys.version_info >= (3, 14) else "parties must be > 0")
        self._parties = parties

    @property
    def _cond(self):
        return self.condition

    @property
    def parties(self):
        """How many tasks pass together."""
        return self._parties

    @property
    def n_waiting(self):
        """How many tasks wait now."""
        return self._count if self._state == FILLING else 0

    @property
    def broken(self):
        """Whether the barrier is broken."""
        return self._state == BROKEN

    def __repr__(self):
        state = self._state if self.broken else f"{self._state}, waiters:{self.n_waiting}/{self.parties}"
        return f"<{repr_of(self)} [{state}]>"

    async def __aenter__(self):
        return await self.wait()

    async def __aexit__(self, *exc_info):
        pass

    async def wait(self):
        """Waits for the others; returns 0 to parties - 1, each once; BrokenBarrierError where that can't be."""
        async with self.condition:
            await self.condition.wait_for(lambda: self._state not in (DRAINING, RESETTING))
            if self._state == BROKEN:
                raise BrokenBarrierError("Barrier aborted")
            try:
                index = self._count
                self._count += 1
                if index + 1 == self._parties:
                    self._become(DRAINING)
                else:
                    await self.condition.wait_for(lambda: self._state != FILLING)
                    if self._state in (BROKEN, RESETTING):
                        raise BrokenBarrierError("Abort or reset of barrier")
                return index
            finally:
                self._count -= 1
                if self._count == 0:    # those may come in who wait for it to be empty
                    self._become(FILLING if self._state in (DRAINING, RESETTING) else self._state)

    async def reset(self):
        """Empties the barrier: who waits gets BrokenBarrierError, who comes next finds it whole."""
        async with self.condition:
            self._become(RESETTING if self._count > 0 else FILLING)

    async def abort(self):
        """Breaks the barrier for all, until reset()."""
        async with self.condition:
            self._become(BROKEN)

    cdef _become(self, str state):
        self._state = state
        self.condition.notify_all()


fl_type_name(Barrier, b"Barrier")
fl_type_set(Barrier, "__module__", "fastlock.aio")
