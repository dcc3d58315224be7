"""What two copies of a table agree in, and what of it is new since the last time.

A table is copied twice. A record counts where both copies are equal and its number is even: nobody was writing it then, for its writer makes the number
odd first. Who reads a table again and again gives the records of the last time: what is as it was is not made anew, and `changed` names the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fastlock.findings import Site
from fastlock.outside import layout
from fastlock.outside.layout import AGENTS, BLOCK, LOCKS, LOST, MOST_CHAIN, MOST_RECORDS, SHARES, SITES, STATE_AT, STRINGS, WAITED_AT
from fastlock.outside.layout import Agent, Bytes, Image, Lock, Share

_NOT_ZERO = re.compile(rb"[^\0]")
_TORN = b""
_MORE_CHAINS = 4  # so many times the shares there are chains kept of


class Changed(NamedTuple):
    """What is not as it was the last time: agents by number and locks by serial, each with what it was (None: nothing)."""

    agents: dict[int, Agent | None]
    locks: dict[int, Lock | None]


class Chain(NamedTuple):
    """The shares of a chain, and the numbers of their records."""

    shares: tuple[Share, ...]
    numbers: tuple[int, ...]


@dataclass
class _Kept:
    """What the next records are compared with, and may take over."""

    areas: Sequence[Bytes] = (b"",) * len(layout.AREAS)
    agents: dict[int, Agent] = field(default_factory=dict)
    locks: dict[int, Lock] = field(default_factory=dict)
    serials: dict[int, int] = field(default_factory=dict)  # of the locks that are waited for, by the number of the record
    torn: dict[int, set[int]] = field(default_factory=lambda: {AGENTS: set(), LOCKS: set()})  # records by area that were being written
    differed: bool = False  # whether not all was as before, so that what was being written then may be right now
    looked_at: dict[int, tuple[Bytes, Lock | None]] = field(default_factory=dict)
    chains: dict[tuple[int, int], Chain] = field(default_factory=dict)
    strings: dict[int, str | None] = field(default_factory=dict)
    sites: dict[int, Site | None] = field(default_factory=dict)


class Records:
    """The agents by number and the locks that are waited for by serial, in no order; more of the table when it is asked for.

    `before` are the records of the last time. An object of theirs that still holds is here too, the same one.
    """

    def __init__(self, first: Image, second: Image, before: Records | None = None) -> None:
        self.header = second.header
        self.first = first
        self.second = second
        # Each share is in one chain: a forged table that has it in many must not cost more.
        self._steps = second.header.areas[SHARES].used + 1
        self.is_later = before is not None and before._is_of(second)
        last: _Kept = before._kept if before is not None and self.is_later else _Kept()
        self.changed = Changed({}, {})
        self.differs = not self.is_later or last.differed  # whether anything may be not as it was
        self._kept: _Kept = _Kept(second.areas, dict(last.agents), dict(last.locks), dict(last.serials), looked_at=last.looked_at)
        # Strings and sites hold for ever, once they are there.
        self._kept.strings = {offset: text for offset, text in last.strings.items() if text is not None}
        self._kept.sites = {number: site for number, site in last.sites.items() if site is not None}
        self._kept.chains = self._lasting_chains(last)
        self.agents, self.locks = self._kept.agents, self._kept.locks
        self._read_agents(last)
        self._read_locks(last)

    def _is_of(self, image: Image) -> bool:
        """Tell whether an image is a later one of the same table."""
        mine, other = self.header, image.header
        same = (mine.pid, mine.generation, mine.started_ns, mine.captured_ns) == (other.pid, other.generation, other.started_ns, other.captured_ns)
        return same and all(old.record == new.record and old.used <= new.used for old, new in zip(mine.areas, other.areas, strict=True))

    # ---- what is new

    def _blocks(self, area: int, last: _Kept) -> Iterator[tuple[int, Bytes, Bytes, Bytes]]:
        """Offset, second and first copy, and what was there the last time, of the blocks in which not all three are the same."""
        first, second, old = self.first, self.second, last.areas[area]
        step = self.header.areas[area].record * BLOCK
        if second.areas[area] is old and first.areas[area] is old:
            for at in sorted({*first.patches.get(area, ()), *second.patches.get(area, ())}):
                yield at, second.block(area, at), first.block(area, at), old[at : at + step]
            return
        limit = min(len(second.areas[area]), MOST_RECORDS * step // BLOCK)
        if not old:
            yield 0, second.whole(area)[:limit], first.whole(area), old
            return
        for at in range(0, limit, step):
            blocks = second.block(area, at), first.block(area, at), old[at : at + step]
            if not blocks[0] == blocks[1] == blocks[2]:
                yield at, *blocks

    def _fresh(self, area: int, last: _Kept, mark_at: int | None) -> Iterator[tuple[int, Bytes]]:
        """Number and bytes (none: it was being written) of the records that are not as they were; of those whose byte at `mark_at` is, or was, not 0."""
        size = self.header.areas[area].record
        for at, second, first, old in self._blocks(area, last):
            self.differs = self._kept.differed = True
            if mark_at is None:
                marked: Iterable[int] = range(len(second) // size)
            else:
                marked = {found.start() for each in (second, old) for found in _NOT_ZERO.finditer(each[mark_at::size])}
            for inside in marked:
                place = slice(inside * size, (inside + 1) * size)
                record = second[place]
                lasts = record == first[place]
                if not lasts or record != old[place]:
                    yield at // size + inside, record if lasts and not record[0] & 1 else _TORN

    def _stable(self, area: int, number: int) -> Bytes:
        """The bytes of a record that nobody was writing, else b""."""
        record = self.second.record(area, number)
        if not record or record[0] & 1 or record != self.first.record(area, number):
            return b""
        return record

    def _again(self, area: int, last: _Kept, mark_at: int) -> Iterator[tuple[int, Bytes]]:
        """What is fresh, and what was being written the last time."""
        yield from ((number, self._stable(area, number)) for number in last.torn[area])
        yield from self._fresh(area, last, mark_at)

    def _read_agents(self, last: _Kept) -> None:
        agents, changed, torn = self.agents, self.changed.agents, self._kept.torn[AGENTS]
        for number, record in self._again(AGENTS, last, STATE_AT):
            if not record:
                torn.add(number)
            agent = layout.agent_of(record) if record and 0 < record[STATE_AT] <= LOST else None
            if agent is not None and agent.number != number:
                agent = None
            was = last.agents.get(number)
            if agent == was:
                continue
            changed[number] = was
            if agent is None:
                del agents[number]
            else:
                agents[number] = agent

    def _read_locks(self, last: _Kept) -> None:
        for number, record in self._again(LOCKS, last, WAITED_AT):
            if not record:
                self._kept.torn[LOCKS].add(number)
            lock = layout.lock_of(number, record) if record and record[WAITED_AT] else None
            serial = last.serials.get(number, 0)
            was = last.locks.get(serial)
            if lock is not None and lock == was:
                continue
            if was is not None and was.number == number:
                self._set_lock(number, serial, was, None)
            if lock is not None:
                self._set_lock(number, lock.serial, last.locks.get(lock.serial), lock)

    def _set_lock(self, number: int, serial: int, was: Lock | None, lock: Lock | None) -> None:
        self.changed.locks.setdefault(serial, was)
        if lock is not None:
            self.locks[serial] = lock
            self._kept.serials[number] = serial
            return
        self._kept.serials.pop(number, None)
        if self.locks.get(serial) is was:
            del self.locks[serial]

    # ---- what is asked for

    def lock_at(self, number: int) -> Lock | None:
        """Return the lock whose record has that number, waited for or not; None where there is none that counts."""
        record = self._stable(LOCKS, number)
        if not record:
            return None
        known = self._kept.looked_at.get(number)
        if known is None or known[0] != record:
            known = self._kept.looked_at[number] = record, layout.lock_of(number, record)
        return known[1]

    def text(self, offset: int) -> str | None:
        """Return a string by its offset, None for 0 and where there is none."""
        if offset not in self._kept.strings:
            self._kept.strings[offset] = layout.string_at(self.second.areas[STRINGS], offset) if offset else None
        return self._kept.strings[offset]

    def site(self, number: int) -> Site | None:
        """Return the place that a site is, None where it is not known."""
        if number not in self._kept.sites:
            self._kept.sites[number] = self._read_site(number)
        return self._kept.sites[number]

    def _read_site(self, number: int) -> Site | None:
        record = self.second.record(SITES, number) if number else b""
        known = layout.site_of(record) if record else None
        name = None if known is None else self.text(known[0])
        return None if known is None or name is None else Site(name, known[2], self.text(known[1]) or "")

    def _lasting_chains(self, last: _Kept) -> dict[tuple[int, int], Chain]:
        if not self.is_later:
            return {}
        fresh = {number for number, _ in self._fresh(SHARES, last, None)}
        if len(last.chains) > _MORE_CHAINS * self._steps:
            return {}
        return {key: chain for key, chain in last.chains.items() if fresh.isdisjoint(chain.numbers)} if fresh else dict(last.chains)

    def chain(self, first: int, count: int = MOST_CHAIN) -> tuple[Share, ...]:
        """Return at most `count` shares of a chain."""
        known = self._kept.chains.get((first, count))
        if known is not None and len(known.numbers) <= self._steps:
            self._steps -= len(known.numbers)
            return known.shares
        shares: list[Share] = []
        numbers: list[int] = []
        number = first
        while number and len(shares) < min(count, MOST_CHAIN):
            if self._steps <= 0:
                return tuple(shares)
            self._steps -= 1
            record = self.second.record(SHARES, number)
            if not record or record != self.first.record(SHARES, number):
                return tuple(shares)  # which may be more the next time
            numbers.append(number)
            share, number = layout.share_of(record)
            shares.append(share)
        chain = self._kept.chains[first, count] = Chain(tuple(shares), tuple(numbers))
        return chain.shares

    def findings(self) -> list[tuple[int, bytes]]:
        """Return (count, JSON) of each finding, the oldest first; none where they were being written."""
        return layout.findings_of(self.second) if self.header.findings_seq == self.first.header.findings_seq else []
