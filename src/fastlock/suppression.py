"""Suppressed findings: which they are, and that they are counted where everybody can see them.

Only predictions can be suppressed. A pattern that was written for an inversion must not hide the deadlock that it becomes.
"""

from __future__ import annotations

from fastlock import config
from fastlock.findings import Finding
from fastlock.fingerprints import class_of
from fastlock.kept import FindingList, KeptFindings

CODES = frozenset({"FL010", "FL011"})
_kept = KeptFindings()


def patterns() -> tuple[str, ...]:
    """Return the patterns in force, of the code or environment and of the file."""
    settings = config.current()
    return settings.suppress + (settings.suppress_file.patterns if settings.suppress_file is not None else ())


def matches(finding: Finding) -> bool:
    """Tell whether a pattern suppresses the finding: a start of its fingerprint, or a glob of one of its locks.

    A glob is held against the classes and the names of the locks, each in full and in its case; a class that has directories
    in it, to tell files of one name apart, is met without them as well. Any thread.
    """
    if finding.code not in CODES:
        return False
    wanted = patterns()
    if not wanted:
        return False
    from fnmatch import fnmatchcase  # imported when the patterns were named

    names = {name for lock in finding.locks for name in (lock.lock_class, class_of(lock)[0], lock.name)}
    return any(_is_start(pattern, finding) or any(fnmatchcase(name, pattern) for name in names) for pattern in wanted)


def _is_start(pattern: str, finding: Finding) -> bool:
    # A class may have a name like this, so a pattern that looks like a fingerprint is tried as a glob as well.
    digits = 6 <= len(pattern) <= 64 and not pattern.strip("0123456789abcdefABCDEF")
    return digits and finding.fingerprint.startswith(pattern.lower())


def keep(finding: Finding) -> None:
    """Count a suppressed finding; one thread at a time."""
    _kept.record(finding)


def suppressed() -> FindingList:
    """Return the newest 1,000 findings that were suppressed, one for each fingerprint, with their counts; any thread."""
    return _kept.all()


def told() -> str:
    """Return "suppressed 3, see fastlock.suppressed()", or "" where nothing is suppressed."""
    known = suppressed()
    number = len(known) + known.dropped
    return f"suppressed {number:,}, see fastlock.suppressed()" if number else ""
