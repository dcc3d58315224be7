"""Findings as JSON lines in a file that several processes may share."""

from __future__ import annotations

import errno
import json
import os

from fastlock.findings import Finding


def encode(finding: Finding) -> bytes:
    """Return the finding as one line of ASCII JSON with its newline, as docs/finding.schema.json describes it."""
    # ASCII, for a file name may hold surrogates that UTF-8 cannot express.
    line = json.dumps(finding.to_dict(), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return line.encode("ascii") + b"\n"


def append(path: str | os.PathLike[str], finding: Finding) -> None:
    """Append the finding to the file as one line; OSError where that fails; safe between threads and processes.

    One write on an O_APPEND descriptor, so that lines of several processes never mix. The file is opened
    each time: a fork, a log rotation or a program that closes all descriptors cannot hurt it.
    """
    data = encode(finding)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        written = os.write(descriptor, data)
    finally:
        os.close(descriptor)
    if written != len(data):
        raise OSError(errno.ENOSPC, "a finding was written only in part", os.fspath(path))
