"""What makes two findings the same defect: classes of locks, functions and source text, on every machine and after edits elsewhere."""

from __future__ import annotations

from fastlock.findings import EdgeFact, Finding, LockFact, Site, basename, quoted
from fastlock.lean import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What hashlib takes from there: it loads OpenSSL at each start of a process.
try:
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]  # through 3.11
    except ImportError:
        from hashlib import sha256

# In these a waiter's own holds, and a holder's own waits, are accidental: the wait and the hold make the finding.
_NOT_A_CIRCLE = frozenset({"FL003", "FL004", "FL006", "FL020"})


def fingerprint(code: str, locks: Iterable[LockFact], edges: Iterable[EdgeFact]) -> str:
    """Return the sha256 hex of what makes two findings the same defect: code, lock classes, functions and source text.

    Edges are a set: where a circle starts, and how many agents run the same two lines, makes no other defect.
    """
    by_id: dict[int | None, LockFact] = {lock.id: lock for lock in locks}
    named = {lock_id: _class_key(lock) for lock_id, lock in by_id.items()}
    facts = set()
    for edge in _essential(code, by_id, tuple(edges)):
        classes = (named.get(edge.holds, ""), named.get(edge.waits, edge.what))
        facts.add((*classes, *_site_key(edge.held_at), *_site_key(edge.wanted_at)))
    listed = ", ".join(f"[{', '.join(map(quoted, fact))}]" for fact in sorted(facts))
    digest: str = sha256(f"[{quoted(code)}, [{listed}]]".encode("ascii")).hexdigest()  # of JSON
    return digest


def _essential(code: str, locks: Mapping[int | None, LockFact], edges: tuple[EdgeFact, ...]) -> Iterable[EdgeFact]:
    wait = next((edge for edge in edges if edge.is_wait), None)
    if code not in _NOT_A_CIRCLE or wait is None:
        return edges
    holds = [replace(edge, waits=None, wanted_at=None, what="") for edge in edges if edge.holds == wait.waits]
    lock = locks.get(wait.waits)
    held_at = lock.held_at if lock is not None and not holds else None
    return [replace(wait, holds=None, held_at=held_at), *holds]


def _site_key(site: Site | None) -> tuple[str, str]:
    # The last part of the name only: 3.10's code objects have no qualified name, and the fingerprint
    # that CI finds on one version has to be the one that production finds on another.
    return ("", "") if site is None else (site.function.rpartition(".")[2], " ".join(site.text.split()))


def class_of(lock: LockFact) -> tuple[str, str]:
    """Return the lock's class and, where that is its creation site, the file.

    The class is without the directories that tell files of one name apart: whether there are several is not known from the start.
    """
    name, at, place = lock.lock_class.rpartition("@")
    path = place.partition(":")[0]
    if at and path and lock.created is not None and f"/{lock.created.file}".endswith(f"/{path}"):
        return f"{name}@{basename(path)}{place[len(path):]}", lock.created.file
    return lock.lock_class, ""


def classes_of(finding: Finding) -> dict[int | None, tuple[str, str]]:
    """Return class_of() of each lock that the finding's text is about, by id."""
    return {lock.id: class_of(lock) for lock in finding.told.locks}


def _class_key(lock: LockFact) -> str:
    lock = replace(lock, lock_class=class_of(lock)[0])
    # A class that is a creation site has a line number in it, which an edit above the line would change.
    place, colon, line = lock.lock_class.rpartition(":")
    if not (colon and line.isdecimal()):
        return lock.lock_class
    base = basename(place.rpartition("@")[2])
    made = lock.created
    if made is not None and (base, int(line)) == (basename(made.file), made.line):
        return "@".join((base, *_site_key(made)))
    return base if base.endswith((".py", ".pyx", ">")) else lock.lock_class
