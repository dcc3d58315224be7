"""The layout of a table, as docs/table.md describes it: bytes become records, and nothing in them is believed.

A table is copied twice. A record counts where both copies are equal and its number is even: nobody was writing it then, for its writer
makes the number odd first. What is torn, stale or forged costs that record, or is an Unseen: never another error, and never more memory than a
small multiple of the table's size, which has a limit.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from fastlock.errors import FastlockError
from fastlock.findings import Site

MAGIC = int.from_bytes(b"FSTLOCK1", "little")
LAYOUT = 1
MOST_BYTES = 128 << 20
MOST_RECORDS = 1 << 20  # of one kind: what a table says to have beyond that is not looked at
MOST_TEXT = 4096
MOST_CHAIN = 256
AREAS = ("strings", "sites", "agents", "locks", "shares", "findings")
STRINGS, SITES, AGENTS, LOCKS, SHARES, FINDINGS = range(6)

_HEADER = struct.Struct("<QIIQIIqqIIIIIIqqq64s64s")
_AREA = struct.Struct("<QIIII")
_SITE = struct.Struct("<IIII")
_AGENT = struct.Struct("<IIIBBBBIIQQQqqIIHHIQqqII48s")
_LOCK = struct.Struct("<IIQQqIIIIIIIBBBB")
_SHARE = struct.Struct("<QIIII")
_FINDING = struct.Struct("<II")
_SIZES = (1, _SITE.size, _AGENT.size, _LOCK.size, _SHARE.size, 1)
HEADER_SIZE = _HEADER.size + len(AREAS) * _AREA.size
_FINDINGS_AT = 60  # offset of findings_seq and findings_count
_CAPTURED_AT = 80  # offset of captured_ns and captured_wall_ns
_STATE_AT, _WAITED_AT = 12, 62
_NOT_ZERO = re.compile(rb"[^\0]")
FREE, ALIVE, ENDED, LOST = range(4)


class Unseen(FastlockError):
    """A process or file whose table cannot be read; the message is one line that says why."""


class Area(NamedTuple):
    """Where an area lies in the file, the bytes of a record, and how many are in use."""

    offset: int
    record: int
    capacity: int
    used: int
    hidden: int


class Header(NamedTuple):
    """What a table says of its process; times in nanoseconds."""

    pid: int
    parent: int
    started_ns: int
    generation: int
    python: int
    level: int
    findings_seq: int
    findings_count: int
    findings_dropped: int
    raw_locks: int
    captured_ns: int
    captured_wall_ns: int
    program: str
    interpreter: str
    areas: tuple[Area, ...]


class Wait(NamedTuple):
    """One wait of an agent; ``deadline_ns`` is -1 where it has none."""

    mode: int
    serial: int
    site: int
    since_ns: int
    deadline_ns: int


class Agent(NamedTuple):
    """A thread or task; the innermost wait is first, at most two are known."""

    number: int
    generation: int
    state: int
    native_id: int
    loop: int
    name: str
    runs: bool
    waits: tuple[Wait, ...]
    held: int
    held_count: int

    @property
    def id(self) -> int:
        """What snapshots call it."""
        return self.generation << 24 | self.number

    @property
    def word(self) -> int:
        """What lock words call it."""
        return self.generation << 32 | self.number << 8


class Lock(NamedTuple):
    """A lock that somebody waits for, or has waited for."""

    number: int
    serial: int
    owner: int
    permits: int
    limit: int
    site: int
    created: int
    name: int
    lock_class: int
    shares: int
    more: int
    kind: int
    marks: int
    waited: bool


class Share(NamedTuple):
    """A share of a lock, or an entry of a held stack."""

    who: int
    times: int
    site: int


class Image:
    """One copy of a table: its header, and the used part of each area."""

    def __init__(self, header: Header, areas: list[bytes]) -> None:
        self.header = header
        self.areas = areas

    def record(self, area: int, number: int) -> bytes:
        """Return the bytes of a record, b"" where there is none of that number."""
        size = self.header.areas[area].record
        data = self.areas[area][number * size : (number + 1) * size]
        return data if len(data) == size else b""


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace")


def parse_header(data: bytes) -> Header:
    """Return a table's header; Unseen where it is none, or one of another layout."""
    if len(data) < 16 or struct.unpack_from("<Q", data)[0] != MAGIC:
        raise Unseen("this is no table of fastlock")
    layout, header_size = struct.unpack_from("<II", data, 8)
    if layout != LAYOUT:
        raise Unseen(f"the table has layout {layout}, written by another version of fastlock; this one reads layout {LAYOUT}")
    if len(data) < HEADER_SIZE or header_size < HEADER_SIZE:
        raise Unseen("the table is damaged: its header is cut off")
    fields = _HEADER.unpack_from(data)
    _, _, _, size, pid, parent, started, _, generation, python, level, seq, count, dropped, raw, at, wall, program, interpreter = fields
    areas = []
    total = 0
    for number in range(len(AREAS)):
        area = Area(*_AREA.unpack_from(data, _HEADER.size + number * _AREA.size))
        total += area.record * area.used
        if not _SIZES[number] <= area.record <= 4096 or area.used > area.capacity or area.offset + area.record * area.used > size:
            raise Unseen(f"the table is damaged: its {AREAS[number]} lie outside of it")
        areas.append(area)
    if total > MOST_BYTES:
        raise Unseen(f"the table is damaged: it says to be larger than {MOST_BYTES >> 20} MB")
    return Header(
        pid, parent, started, generation, python, level, seq, count, dropped, raw, at, wall, _text(program), _text(interpreter), tuple(areas)
    )


def image_of(data: bytes) -> Image:
    """Return the table that the bytes of a file are."""
    header = parse_header(data)
    areas = [data[area.offset : area.offset + area.record * area.used] for area in header.areas]
    for name, area, part in zip(AREAS, header.areas, areas, strict=True):
        if len(part) != area.record * area.used:
            raise Unseen(f"the table is damaged: its {name} are cut off")
    return Image(header, areas)


class Records:
    """What two copies of a table agree in."""

    def __init__(self, first: Image, second: Image) -> None:
        self.header = second.header
        self._first = first
        self._second = second
        self._strings: dict[int, str | None] = {0: None}
        self._sites: dict[int, Site | None] = {}
        # Each share is in one chain: a forged table that has it in many must not cost more.
        self._steps = second.header.areas[SHARES].used + 1
        self.agents = {agent.number: agent for agent in self._agents()}
        self.locks = {lock.serial: lock for lock in self._locks()}

    def _stable(self, area: int, number: int) -> bytes:
        """The bytes of a record that nobody was writing, else b""."""
        record = self._second.record(area, number)
        if not record or record[0] & 1 or record != self._first.record(area, number):
            return b""
        return record

    def _in_use(self, area: int, at: int) -> Iterator[int]:
        """Numbers of the records whose byte at that offset is not 0."""
        marks = self._second.areas[area][at :: self.header.areas[area].record]
        return (found.start() for found in _NOT_ZERO.finditer(marks[:MOST_RECORDS]))

    def _agents(self) -> Iterator[Agent]:
        for number in self._in_use(AGENTS, _STATE_AT):
            record = self._stable(AGENTS, number)
            if record:
                agent = _agent(record)
                if agent.number == number and agent.state <= LOST:
                    yield agent

    def _locks(self) -> Iterator[Lock]:
        for number in self._in_use(LOCKS, _WAITED_AT):
            lock = self.lock_at(number)
            if lock is not None:
                yield lock

    def lock_at(self, number: int) -> Lock | None:
        """Return the lock whose record has that number, None where there is none that counts."""
        record = self._stable(LOCKS, number)
        if not record:
            return None
        _, _, serial, owner, count, limit, site, created, name, label, shares, more, kind, marks, waited, _ = _LOCK.unpack_from(record)
        if serial == 0:
            return None
        return Lock(number, serial, owner, count, limit, site, created, name, label, shares, more, kind, marks, bool(waited))

    def text(self, offset: int) -> str | None:
        """Return a string by its offset, None for 0 and where there is none."""
        if offset not in self._strings:
            self._strings[offset] = self._read_text(offset)
        return self._strings[offset]

    def _read_text(self, offset: int) -> str | None:
        data = self._second.areas[STRINGS]
        if offset + 4 > len(data):
            return None
        length = int.from_bytes(data[offset : offset + 4], "little")
        raw = data[offset + 4 : offset + 4 + length]
        if length > MOST_TEXT or len(raw) != length:
            return None
        return raw.decode("utf-8", "replace")

    def site(self, number: int) -> Site | None:
        """Return the place that a site is, None where it is not known."""
        if number not in self._sites:
            self._sites[number] = self._read_site(number)
        return self._sites[number]

    def _read_site(self, number: int) -> Site | None:
        record = self._second.record(SITES, number) if number else b""
        if not record:
            return None
        known, file, function, line = _SITE.unpack_from(record)
        name = self.text(file)
        return Site(name, line, self.text(function) or "") if known and name is not None else None

    def chain(self, first: int, count: int = MOST_CHAIN) -> list[Share]:
        """Return at most `count` shares of a chain."""
        shares: list[Share] = []
        number = first
        while number and len(shares) < min(count, MOST_CHAIN) and self._steps > 0:
            self._steps -= 1
            record = self._second.record(SHARES, number)
            if not record or record != self._first.record(SHARES, number):
                break
            who, held, site, number, _ = _SHARE.unpack_from(record)
            shares.append(Share(who, held, site))
        return shares

    def findings(self) -> list[tuple[int, bytes]]:
        """Return (count, JSON) of each finding, the oldest first; none where they were being written."""
        seq = self.header.findings_seq
        if seq & 1 or seq != self._first.header.findings_seq:
            return []
        data = self._second.areas[FINDINGS]
        half = len(data) // 2
        at = half if seq & 2 else 0
        end = at + half
        found: list[tuple[int, bytes]] = []
        for _ in range(min(self.header.findings_count, half // _FINDING.size)):
            if at + _FINDING.size > end:
                break
            length, count = _FINDING.unpack_from(data, at)
            if at + _FINDING.size + length > end:
                break
            found.append((count, data[at + _FINDING.size : at + _FINDING.size + length]))
            at += (_FINDING.size + length + 3) // 4 * 4
        return found


def _agent(record: bytes) -> Agent:
    fields = _AGENT.unpack_from(record)
    _, generation, index, state, mode, runs, outer_mode, native_id, loop, _, _, serial, since, deadline, _, site, _, _ = fields[:18]
    outer_site, outer_serial, outer_since, outer_deadline, held, held_count, name = fields[18:]
    waits: tuple[Wait, ...] = ()
    if mode and state == ALIVE:
        waits = (Wait(mode, serial, site, since, deadline),)
        if outer_mode:
            waits += (Wait(outer_mode, outer_serial, outer_site, outer_since, outer_deadline),)
    return Agent(index, generation, state, native_id, loop, _text(name), bool(runs), waits, held, held_count)


def saved(first: Image, second: Image, now_ns: int, wall_ns: int, raw_header: bytes) -> bytes:
    """Return the table as a file: the areas close together, records that were being written marked as such."""
    areas = list(second.areas)
    for area in (AGENTS, LOCKS):
        size = second.header.areas[area].record
        changed = bytearray(areas[area])
        for at in range(0, len(changed), size):
            if changed[at : at + size] != first.areas[area][at : at + size]:
                changed[at] |= 1
        areas[area] = bytes(changed)
    findings = Records(first, second).findings()
    half = b"".join((_FINDING.pack(len(text), count) + text).ljust((11 + len(text)) // 4 * 4, b"\0") for count, text in findings)
    areas[FINDINGS] = half + bytes(len(half))
    header = bytearray(raw_header[:HEADER_SIZE])
    struct.pack_into("<II", header, _FINDINGS_AT, 0, len(findings))
    struct.pack_into("<qq", header, _CAPTURED_AT, now_ns, wall_ns)
    offset = HEADER_SIZE
    for number, (place, data) in enumerate(zip(second.header.areas, areas, strict=True)):
        used = len(data) // place.record
        _AREA.pack_into(header, _HEADER.size + number * _AREA.size, offset, place.record, used, used, place.hidden)
        offset += len(data)
    struct.pack_into("<IQ", header, 12, HEADER_SIZE, offset)
    return bytes(header) + b"".join(areas)
