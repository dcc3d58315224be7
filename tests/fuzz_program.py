"""Run by test_table_fuzz in a process with little memory: corrupted tables through the reader, and nothing but Unseen comes of it.

    python fuzz_program.py COUNT SEED TABLE…

Prints as JSON how many were read, how many refused, and the seed.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
from collections.abc import Iterator

from fastlock.cli import dump
from fastlock.outside.find import Table
from fastlock.outside.layout import HEADER_SIZE, Unseen, image_of
from fastlock.outside.records import Records
from fastlock.outside.view import View

EXTREMES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1)
MEMORY = 1 << 30


def swallow(data: bytes, again: bytes | None = None) -> bool:
    """Put the bytes through all that a dump and ps do; whether they passed for a table."""
    try:
        image = image_of(data)
        view = View(Records(image, image if again is None else image_of(again)), 10**12, 1.7e9)
        snapshot = view.snapshot()
        facts = Table(-1, None).facts_of(view)
        shown = dump.shown_of(view)
    except Unseen as error:
        assert str(error) and "\n" not in str(error)
        return False
    json.dumps([snapshot, facts])
    text = dump.text(shown)
    assert all(char.isprintable() for char in text.replace("\n", ""))
    return True


def corrupted(tables: list[bytes], count: int, random: random.Random) -> Iterator[tuple[bytes, bytes | None]]:
    """Tables with flipped bytes, extreme numbers, records in each other's place, cut off, and torn between two copies."""
    for _ in range(count):
        table = random.choice(tables)
        data = bytearray(table)
        way = random.randrange(6)
        for _ in range(1 << random.randrange(6)):
            at = random.randrange(HEADER_SIZE if random.random() < 0.3 else len(data))
            if way < 2:
                data[at] ^= 1 << random.randrange(8)
            elif way == 2:
                data[at] = random.randrange(256)
            elif way == 3:
                size, form = random.choice(((4, "<I"), (8, "<Q")))
                at = min(at // 4 * 4, len(data) - size)
                struct.pack_into(form, data, at, random.choice(EXTREMES) & (256**size - 1))
            elif way == 4:
                other = random.randrange(len(data))
                length = random.randrange(1, 200)
                data[at : at + length] = data[other : other + length]
            else:
                del data[random.randrange(len(data)) :]
                break
        yield bytes(data), table if random.random() < 0.2 and len(data) == len(table) else None


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tables = []
    for path in sys.argv[3:]:
        with open(path, "rb") as file:
            tables.append(file.read())
    assert all(map(swallow, tables))
    read = sum(swallow(data, again) for data, again in corrupted(tables, count, random.Random(seed)))
    print(json.dumps({"seed": seed, "read": read, "refused": count - read}))


if __name__ == "__main__":
    main()
