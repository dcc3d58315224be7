"""Copies of a table whose process goes on writing it; who copies it again copies what is new."""

from __future__ import annotations

import fcntl
import mmap
import os

from fastlock.outside import layout
from fastlock.outside.layout import BLOCK, Area, Bytes, Image, Unseen


class Live:
    """The file of a table, or a saved one, as images; not thread-safe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mapped: memoryview | None = None

    def header(self) -> bytes:
        """Return the bytes that the header is in; Unseen where they cannot be read."""
        try:
            return os.pread(self._descriptor, 4096, 0)
        except OSError as error:
            raise Unseen(f"the table cannot be read: {error.strerror}") from None

    def read(self) -> Image:
        """Copy the table; Unseen where it is none."""
        return self._image(None)

    def read_on(self, last: Image) -> Image:
        """Copy what is not as in the last image; this one's areas are the last one's, with patches."""
        if self._mapped is None:
            self._mapped = self._map()
        return self._image(last)

    def _image(self, last: Image | None) -> Image:
        try:
            header = layout.parse_header(self.header())
            areas: list[Bytes] = []
            patches: dict[int, dict[int, bytearray]] = {}
            for number, area in enumerate(header.areas):
                known = self._known(number, area, last)
                if known is not None and number in layout.RECORDS:
                    patches[number] = self._patches(area, known)
                elif known is not None and known != self._lies(area):
                    known = None  # read by who has an old image, so it is not patched
                areas.append(self._copy(area, last is not None) if known is None else known)
            return Image(header, areas, patches)
        except OSError as error:
            raise Unseen(f"the table cannot be read: {error.strerror}") from None

    def _known(self, number: int, area: Area, last: Image | None) -> bytearray | None:
        """Return what the last image has of an area, if it lies where it lay, and can be compared and patched."""
        if last is None or not self._mapped or last.header.areas[number][:4] != area[:4]:
            return None
        known = last.areas[number]
        return known if isinstance(known, bytearray) else None

    def _lies(self, area: Area) -> memoryview:
        """The bytes of an area where they are."""
        live = (self._mapped or memoryview(b""))[area.offset : area.offset + area.record * area.used]
        if len(live) != area.record * area.used:
            raise Unseen("the table is damaged: it is cut off")
        return live

    def _copy(self, area: Area, to_patch: bool) -> Bytes:
        size = area.record * area.used
        if to_patch:
            data: Bytes = bytearray(size)
            length = os.preadv(self._descriptor, [data], area.offset) if size else 0
        else:
            data = os.pread(self._descriptor, size, area.offset) if size else b""
            length = len(data)
        if length != size:
            raise Unseen("the table is damaged: it is cut off")
        return data

    def _patches(self, area: Area, last: bytearray) -> dict[int, bytearray]:
        """Return the blocks of an area that are not as they were, by their offset."""
        live, step = self._lies(area), area.record * BLOCK
        if last == live:
            return {}
        return {at: bytearray(live[at : at + step]) for at in range(0, len(last), step) if not last.startswith(live[at : at + step], at)}

    def _map(self) -> memoryview:
        """The live table itself, to compare with: where it is sealed, so that reading it never fails; else nothing."""
        try:
            if fcntl.fcntl(self._descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                return memoryview(mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ))
        except (OSError, ValueError):
            pass  # a file that is no memory, or has nothing in it
        return memoryview(b"")
