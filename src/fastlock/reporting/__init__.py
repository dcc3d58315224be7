"""Reports of findings, one output a file; what they share is here: the names of the parts, units, safe characters."""

from __future__ import annotations

import os
import unicodedata

from fastlock.findings import AgentFact, Finding, LockFact, Site, basename
from fastlock.roots import Link, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    class Names(Protocol):
        """What agents, locks and sites are called in one text."""

        def agent(self, agent_id: int | None) -> str: ...
        def lock(self, lock_id: int | None, otherwise: str = ...) -> str: ...
        def site(self, site: Site | None) -> str: ...


_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


def shorten(text: str, width: int) -> str:
    """Return text of at most width characters, its middle replaced by an ellipsis: names differ at either end."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def printable(text: str) -> str:
    """Return text on one line that any UTF-8 terminal takes, without control characters and lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)


def width(text: str) -> int:
    """Return how many columns of a terminal text takes: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)


def pad(text: str, columns: int) -> str:
    """Return text with spaces behind it, so that it takes at least that many columns."""
    return text + " " * (columns - width(text))


def duration(seconds: float) -> str:
    """Return seconds as people say them: ``12 ms``, ``3.2s``, ``4m 32s``, ``2h 05m``, ``3d 4h``."""
    if seconds < 0.001:
        return "under 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def wrapped(text: str, columns: int, first: str, rest: str) -> list[str]:
    """Return text as lines of at most so many characters, with one indent for the first and one for the others."""
    # textwrap does this as well, and to import it takes longer than to import all of this package.
    words = text.split()
    lines: list[str] = []
    while words:
        line = (rest if lines else first) + words.pop(0)
        while words and len(line) + 1 + len(words[0]) <= columns:
            line += f" {words.pop(0)}"
        lines.append(line)
    return lines


FACTS = 112  # columns of a report's facts


def fact(label: str, text: str, columns: int = FACTS) -> list[str]:
    """Return the lines of one fact, its label standing out to the left."""
    return wrapped(text, columns, f"  {label:<14}", " " * 16)


def is_stdlib(file: str) -> bool:
    """Tell whether a file is the interpreter's own."""
    if file.startswith("<frozen"):
        return True
    return "-packages" not in file and (file.startswith(_STDLIB) or _is_in_some_stdlib(file))


def _is_in_some_stdlib(file: str) -> bool:
    """Tell whether a file is in lib/python3.N of whichever interpreter: who reads may run on another one."""
    folders = file.split("/")[1:-1]
    named = [at for at, folder in enumerate(folders) if folder.startswith("python3.") and folder[8:].removesuffix("t").isdecimal()]
    return any(at and folders[at - 1] in ("lib", "lib64") for at in named)


def times(number: int) -> str:
    """Return how often: ``once``, ``18,204 times``."""
    return "once" if number == 1 else f"{number:,} times"


class Labels:
    """Short, distinct names for the agents, locks and sites of one finding; never an address."""

    def __init__(self, finding: Finding) -> None:
        agents, locks, edges = finding.told
        links = [] if finding.root is None else _links(finding.root)
        sites = [site for edge in edges for site in (edge.held_at, edge.wanted_at)]
        sites += [site for order in finding.orders for site in (order.held_at, order.wanted_at)]
        sites += [site for lock in locks for site in (lock.created, lock.held_at)]
        sites += [] if finding.root is None else [finding.root.at]
        self._name(agents, {lock.id: _lock_name(lock) for lock in locks}, links, sites)

    @classmethod
    def of_root(cls, root: Root) -> Labels:
        """Return the names for a root that belongs to no finding."""
        self = cls.__new__(cls)
        links = _links(root)
        self._name((), {}, links, [root.at])
        return self

    def _name(
        self, agents: Iterable[AgentFact], locks: dict[int, str], links: Iterable[Link], sites: Iterable[Site | None]
    ) -> None:
        # What a finding is about keeps its names, whoever stands behind it.
        self._agents = distinct({agent.id: _agent_name(agent) for agent in agents})
        self._agents |= distinct({link.agent: _agent_name(link) for link in links}, self._agents)
        self._locks = distinct(locks)
        behind = {link.lock: shorten(tidy(link.what) or link.lock_kind, _NAME_WIDTH) for link in links if link.lock is not None}
        self._locks |= distinct(behind, self._locks)
        files: dict[str, set[str]] = {}
        for site in (*sites, *(link.wanted_at for link in links)):
            if site is not None:
                files.setdefault(basename(site.file), set()).add(site.file)
        self._vague = {base for base, full in files.items() if len(full) > 1} | {"__init__.py", "__main__.py"}

    def agent(self, agent_id: int | None) -> str:
        """Return for example ``Thread-9 "exporter"``."""
        return self._agents.get(agent_id, "an unknown agent") if agent_id is not None else "nobody known"

    def lock(self, lock_id: int | None, otherwise: str = "an unknown lock") -> str:
        """Return for example ``ledger_lock``, or ``Account._lock #2`` where several have the name."""
        return self._locks.get(lock_id, otherwise) if lock_id is not None else otherwise

    def site(self, site: Site | None) -> str:
        """Return for example ``export.py:120``, with the directory where the name alone says too little."""
        if site is None:
            return "unknown site"
        name = basename(site.file)
        if name in self._vague:
            name = f"{basename(os.path.dirname(site.file))}/{name}"
        return f"{printable(name)}:{site.line}"


_NAME_WIDTH = 40


def _links(root: Root) -> list[Link]:
    return [*root.agents, *(row for row in root.rows if isinstance(row, Link))]


def _agent_name(agent: AgentFact | Link) -> str:
    name = tidy(agent.name)
    numbered, bracket, target = name.partition(" (")
    if bracket and target[1:].endswith(")") and _is_numbered(numbered, "Thread-", "Task-"):
        return shorten(f'{numbered} "{target[:-1]}"', _NAME_WIDTH)
    if agent.kind == "agent" or name == "MainThread" or _is_numbered(name, "Thread-", "Task-", "Dummy-", "Thread "):
        return name
    return f'{agent.kind} "{shorten(name, _NAME_WIDTH - 9)}"' if name else f"{agent.kind} without a name"


def _is_numbered(name: str, *words: str) -> bool:
    """Tell whether a name is one of these words and a number."""
    return any(name.startswith(word) and name[len(word) :].isdecimal() for word in words)


def _lock_name(lock: LockFact) -> str:
    made = "" if lock.created is None else f"@{basename(lock.created.file)}:{lock.created.line}"
    return shorten(tidy(lock.name) or f"{lock.kind}{made}", _NAME_WIDTH)


def tidy(name: str) -> str:
    """Return a name on one line, without the addresses that a program has put into it."""
    name = printable(name).strip()
    return _without_addresses(name).strip() if "0x" in name else name


def _without_addresses(name: str) -> str:
    told, *rest = name.split("0x")
    for part in rest:
        left = part.lstrip("0123456789abcdefABCDEF")
        begins = not (told[-1:].isalnum() or told.endswith("_"))
        if begins and len(part) - len(left) >= 6:
            told = told.removesuffix(" ").removesuffix(" at") + left
        else:
            told += f"0x{part}"
    return told


def distinct(names: dict[int, str], given: Mapping[int, str] | None = None) -> dict[int, str]:
    """Return names that differ from each other, and from those that others have been given."""
    # Two locks of one class, or two workers of one name, are the most common circle of all.
    given = given or {}
    taken = set(given.values())
    same: dict[str, list[int]] = {}
    for key in sorted(names):
        if key not in given:
            same.setdefault(names[key], []).append(key)
    distinct = {}
    for name, keys in same.items():
        number = 1 if name in taken else 0
        for key in keys:
            told = name
            while told in taken or (told == name and len(keys) > 1):
                number += 1
                told = f"{name} #{number}"
            distinct[key] = told
            taken.add(told)
    return distinct
