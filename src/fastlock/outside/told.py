"""Which of a process's findings tell of what is seen now: each agent of them still waits for what it waited for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from fastlock.forest import Forest
from fastlock.outside.facts import Wait

# Findings about agents that wait for ever, or would but for a timeout.
DEADLOCKS = frozenset({"FL001", "FL002", "FL003", "FL004", "FL012", "FL030", "FL031"})
_CIRCLES = frozenset({"FL001", "FL002", "FL012"})  # who is in one, waits for the next in it
Pair = tuple[int, int]  # an agent that waits, and the lock


class Told(NamedTuple):
    """A finding that stands, and the waits of now that it is about."""

    finding: Mapping[str, Any]
    waits: frozenset[Pair]

    @property
    def is_proven(self) -> bool:
        """Whether it is certain, and will not end by itself."""
        return bool(self.finding["tier"] == "proven")

    @property
    def agents(self) -> tuple[int, ...]:
        """Who is in it, tasks that have stopped their loop among them."""
        numbers = [edge.get("agent") for edge in _listed(self.finding, "edges")]
        return tuple(dict.fromkeys(each for each in numbers if isinstance(each, int)))

    @property
    def everybody(self) -> tuple[int, ...]:
        """Who is in it, and who waits now in the place of such a task: its thread."""
        return tuple(dict.fromkeys([*self.agents, *(agent for agent, _ in self.waits)]))

    def names(self) -> dict[int, str]:
        """Return what the finding calls its agents, by their ids."""
        agents = _listed(self.finding, "agents")
        return {each["id"]: each["name"] for each in agents if isinstance(each.get("id"), int) and isinstance(each.get("name"), str)}

    def is_just(self, circle: Collection[int]) -> bool:
        """Tell whether it says no more than that these agents wait for each other."""
        return self.finding["code"] in _CIRCLES and set(self.agents) == set(circle)


def standing(findings: Iterable[Mapping[str, Any]], waits: Iterable[Pair], threads: Mapping[int, int]) -> list[Told]:
    """Return the deadlocks among the findings that stand, oldest first; `threads` has their ids by their kernel's numbers.

    Linear in waits where there are such findings. A task that waits synchronously stops its thread: in the table that thread waits for it.
    """
    told = [finding for finding in findings if finding.get("code") in DEADLOCKS and _listed(finding, "edges")]
    waiting = set(waits) if told else set()
    found = []
    for finding in told:
        pairs = _pairs(finding, waiting, threads)
        if pairs:
            found.append(Told(finding, pairs))
    return found


def about(stands: Iterable[Told], waits: Collection[Pair], clears: bool) -> Told | None:
    """Return which of these tells of the waits of a circle: the one that has most of them, of several the newest; None where none has any."""
    best, most = None, 0
    for told in stands:
        number = len(told.waits.intersection(waits))
        if number and number >= most and (told.finding.get("tier") == "will-clear") == clears:
            best, most = told, number
    return best


def stuck(stands: Iterable[Told], forest: Callable[[], Forest]) -> set[int]:
    """Return who is in a deadlock or stall that stands, or behind one; the forest is asked for where there is one."""
    inside = {agent for told in stands if told.is_proven for agent, _ in told.waits}
    return inside.union(agent for agent, _ in forest().behind(inside)) if inside else inside


def pressing(waits: Iterable[Wait], kept: Collection[int]) -> list[Wait]:
    """Return by agent its innermost wait, of those that are for a lock or permit, or of who is kept by a deadlock: the others may last."""
    innermost: dict[int, Wait] = {}
    for wait in waits:
        innermost.setdefault(wait.agent, wait)
    return [wait for wait in innermost.values() if wait.is_for_a_lock or wait.agent in kept]


def _pairs(finding: Mapping[str, Any], waiting: Collection[Pair], threads: Mapping[int, int]) -> frozenset[Pair]:
    """Return the waits of now that the finding's edges are; none where one of them is over."""
    stopped = {each.get("id"): threads.get(each.get("native_id") or 0) for each in _listed(finding, "agents") if each.get("kind") == "task"}
    pairs = set()
    for edge in _listed(finding, "edges"):
        agent, lock = edge.get("agent"), edge.get("waits")
        if lock is None:
            continue
        if not isinstance(agent, int) or not isinstance(lock, int):
            return frozenset()
        pair = (agent, lock) if (agent, lock) in waiting else (stopped.get(agent) or 0, lock)
        if pair not in waiting:
            return frozenset()
        pairs.add(pair)
    return frozenset(pairs)


def _listed(finding: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    value = finding.get(part)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, (list, tuple)) else []
