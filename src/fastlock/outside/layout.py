"""The layout of a table, as docs/table.md describes it: bytes become records, and nothing in them is believed.

What is torn, stale or forged costs that record, or is an Unseen: never another error, and never more memory than a small multiple of the table's size, which
has a limit.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
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
RECORDS = (AGENTS, LOCKS, SHARES)  # what changes all the time

_HEADER = struct.Struct("<QIIQIIqqIIIIIIqqq64s64s")
_AREA = struct.Struct("<QIIII")
_SITE = struct.Struct("<IIII")
_AGENT = struct.Struct("<4xIIBBBBII16xQqq4xI4xIQqqII48s")
_LOCK = struct.Struct("<IIQQqIIIIIIIBBBB")
_SHARE = struct.Struct("<QIIII")
_FINDING = struct.Struct("<II")
_SIZES = (1, _SITE.size, _AGENT.size, _LOCK.size, _SHARE.size, 1)
BLOCK = 64  # records that are compared, and copied, at once
HEADER_SIZE = _HEADER.size + len(AREAS) * _AREA.size
_FINDINGS_AT = 60  # offset of findings_seq and findings_count
_CAPTURED_AT = 80  # offset of captured_ns and captured_wall_ns
STATE_AT, WAITED_AT = 12, 62  # offsets in a record of the byte that is 0 where it is not used, or not waited for
FREE, ALIVE, ENDED, LOST = range(4)


Bytes = bytes | bytearray


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
    """A thread or task; the innermost wait is first, at most two are known. ``id`` is what snapshots call it, and lock words: their upper 56 bits."""

    number: int
    id: int
    state: int
    native_id: int
    loop: int
    name: str
    runs: bool
    waits: tuple[Wait, ...]
    held: int
    held_count: int


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
    """One copy of a table: its header, and the used part of each area.

    Who reads a table again has `patches`: what is not as in an area, which is that of the last image, in blocks by their offset.
    """

    def __init__(self, header: Header, areas: Sequence[Bytes], patches: Mapping[int, Mapping[int, Bytes]] | None = None) -> None:
        self.header = header
        self.areas = areas
        self.patches = patches or {}

    def block(self, area: int, at: int) -> Bytes:
        """Return the bytes of a block."""
        patch = self.patches.get(area, {}).get(at)
        return self.areas[area][at : at + BLOCK * self.header.areas[area].record] if patch is None else patch

    def whole(self, area: int) -> Bytes:
        """Return the bytes of an area."""
        return _patched(bytearray(self.areas[area]), self.patches[area]) if self.patches.get(area) else self.areas[area]

    def record(self, area: int, number: int) -> Bytes:
        """Return the bytes of a record, b"" where there is none of that number."""
        size = self.header.areas[area].record
        at = number * size
        data = self.areas[area]
        if self.patches.get(area):
            block = number // BLOCK * BLOCK * size
            patch = self.patches[area].get(block)
            if patch is not None:
                data, at = patch, at - block
        record = data[at : at + size]
        return record if len(record) == size else b""

    def settle(self) -> None:
        """Put the patches into the areas, which are those of the images before no longer."""
        for area, patches in self.patches.items():
            data = self.areas[area]
            if isinstance(data, bytearray):
                _patched(data, patches)
        self.patches = {}


def _patched(data: bytearray, patches: Mapping[int, Bytes]) -> bytearray:
    for at, patch in patches.items():
        data[at : at + len(patch)] = patch
    return data


def text_of(raw: bytes) -> str:
    """Return the text of a field that has a fixed size."""
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
        pid, parent, started, generation, python, level, seq, count, dropped, raw, at, wall, text_of(program), text_of(interpreter), tuple(areas)
    )


def image_of(data: bytes) -> Image:
    """Return the table that the bytes of a file are."""
    header = parse_header(data)
    areas = [data[area.offset : area.offset + area.record * area.used] for area in header.areas]
    for name, area, part in zip(AREAS, header.areas, areas, strict=True):
        if len(part) != area.record * area.used:
            raise Unseen(f"the table is damaged: its {name} are cut off")
    return Image(header, areas)


def agent_of(record: Bytes) -> Agent:
    """Return the agent whose record these bytes are."""
    (
        generation, number, state, mode, runs, outer_mode, native_id, loop, serial, since, deadline, site,
        outer_site, outer_serial, outer_since, outer_deadline, held, held_count, name,
    ) = _AGENT.unpack_from(record)  # fmt: skip
    waits: tuple[Wait, ...] = ()
    if mode and state == ALIVE:
        waits = (Wait(mode, serial, site, since, deadline),)
        if outer_mode:
            waits += (Wait(outer_mode, outer_serial, outer_site, outer_since, outer_deadline),)
    return Agent(number, generation << 24 | number, state, native_id, loop, text_of(name), bool(runs), waits, held, held_count)


def lock_of(number: int, record: Bytes) -> Lock | None:
    """Return the lock whose record these bytes are, None where it is nobody's."""
    _, _, serial, owner, count, limit, site, created, name, label, shares, more, kind, marks, waited, _ = _LOCK.unpack_from(record)
    if serial == 0:
        return None
    return Lock(number, serial, owner, count, limit, site, created, name, label, shares, more, kind, marks, bool(waited))


def share_of(record: Bytes) -> tuple[Share, int]:
    """Return the share whose record these bytes are, and the number of the next one."""
    who, times, site, following, _ = _SHARE.unpack_from(record)
    return Share(who, times, site), following


def site_of(record: Bytes) -> tuple[int, int, int] | None:
    """Return the strings of file and function of a site, and the line; None where it is not known yet."""
    known, file, function, line = _SITE.unpack_from(record)
    return (file, function, line) if known else None


def string_at(data: Bytes, offset: int) -> str | None:
    """Return the string at an offset, None where there is none."""
    if offset + 4 > len(data):
        return None
    length = int.from_bytes(data[offset : offset + 4], "little")
    raw = data[offset + 4 : offset + 4 + length]
    if length > MOST_TEXT or len(raw) != length:
        return None
    return raw.decode("utf-8", "replace")


def findings_of(image: Image) -> list[tuple[int, bytes]]:
    """Return (count, JSON) of each finding, the oldest first; none where they were being written."""
    seq = image.header.findings_seq
    if seq & 1:
        return []
    data = image.areas[FINDINGS]
    half = len(data) // 2
    at = half if seq & 2 else 0
    end = at + half
    found: list[tuple[int, bytes]] = []
    for _ in range(min(image.header.findings_count, half // _FINDING.size)):
        if at + _FINDING.size > end:
            break
        length, count = _FINDING.unpack_from(data, at)
        if at + _FINDING.size + length > end:
            break
        found.append((count, bytes(data[at + _FINDING.size : at + _FINDING.size + length])))
        at += (_FINDING.size + length + 3) // 4 * 4
    return found


def saved(first: Image, second: Image, now_ns: int, wall_ns: int, raw_header: bytes) -> bytes:
    """Return the table as a file: the areas close together, records that were being written marked as such."""
    areas = list(second.areas)
    for area in (AGENTS, LOCKS):
        size = second.header.areas[area].record
        changed = bytearray(areas[area])
        for at in range(0, len(changed), size):
            if changed[at : at + size] != first.areas[area][at : at + size]:
                changed[at] |= 1
        areas[area] = changed
    findings = findings_of(second) if first.header.findings_seq == second.header.findings_seq else []
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
