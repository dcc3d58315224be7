"""Deadlocks that stand: the circles that the table shows, in the words of the process's own findings where it has told them, and what only these know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastlock.console.names import Names
from fastlock.console.seen import Circle, Seen, Target
from fastlock.outside.told import Told
from fastlock.reporting import printable, tidy


class Alarm(NamedTuple):
    """A deadlock: where it leads to, what it is, a sentence about it, who is in it; ``circle`` where the table shows one.

    ``names`` are those in it where the process says more of it than that they wait for each other, else "".
    """

    target: Target
    what: str
    told: str
    agents: tuple[int, ...]
    circle: Circle | None = None
    names: str = ""

    def behind(self, seen: Seen) -> int:
        """Return how many who are not in it wait for anybody in it in the end."""
        if self.circle is not None and not self.names:
            return seen.behind(self.circle.agents[0])
        return 0 if seen.moment is None else len(seen.moment.forest.behind(self.agents))


def alarms_of(seen: Seen, names: Names) -> list[Alarm]:
    """Return the deadlocks of a process, circles first; of one that is not deadlocked nothing is worked out."""
    if not seen.is_deadlocked:
        return []
    alarms: list[Alarm] = []
    known: list[Told] = []
    for circle in seen.circles:
        told = None if circle.clears else seen.told_of(circle)
        if not circle.clears and told not in known:
            alarms.append(_of_circle(circle, told, seen, names))
            known += [] if told is None else [told]
    inside = {agent for alarm in alarms for agent in alarm.agents}
    return alarms + [_of_finding(told, seen, names) for told in seen.stands if told.is_proven and told not in known and inside.isdisjoint(told.everybody)]


def _of_circle(circle: Circle, told: Told | None, seen: Seen, names: Names) -> Alarm:
    target = Target("circle", seen.pid, circle.agents[0])
    if told is not None and not told.is_just(circle.agents):
        agents = tuple(dict.fromkeys([*circle.agents, *told.everybody]))
        return Alarm(target, named(told), _explained(told), agents, circle, _listed_in(told, seen, names))
    what = "DEADLOCK" if circle.proven else "POSSIBLE DEADLOCK"
    return Alarm(target, what, among(circle, seen, names), circle.agents, circle)


def _of_finding(told: Told, seen: Seen, names: Names) -> Alarm:
    target = Target("finding", seen.pid, str(told.finding["fingerprint"]))
    return Alarm(target, named(told), _explained(told), told.everybody, None, _listed_in(told, seen, names))


def named(told: Told) -> str:
    """Return what a finding is: ``FL030 pool starvation``."""
    title = "STALL" if told.finding["code"] == "FL031" else told.finding["title"]
    return printable(f"{told.finding['code']} {title}")


def _explained(told: Told) -> str:
    return printable(str(told.finding["explanation"]))


def among(circle: Circle, seen: Seen, names: Names) -> str:
    """Return who is in a circle, as a sentence without an end."""
    told = seen.told_of(circle)
    if told is not None and not told.is_just(circle.agents):
        return f"{named(told)}: {_listed_in(told, seen, names)}"
    agents = circle.agents
    if len(agents) == 1:
        return f"{names.agent(agents[0])} {_alone(agents[0], seen, names, told)}"
    if len(agents) == 2:
        return f"{names.agent(agents[0])} and {names.agent(agents[1])} wait for each other"
    return f"{len(agents):,} agents wait in a circle, {names.agent(agents[0])} among them"


def _listed_in(told: Told, seen: Seen, names: Names) -> str:
    """Return the first names of those in a finding, and how many more they are."""
    return _listed([_name(each, told, seen, names) for each in told.agents])


def _alone(agent: int, seen: Seen, names: Names, told: Told | None) -> str:
    """Return for what somebody waits behind whom the table shows nobody else; it may be a task that waits, and another one that holds it."""
    number = seen.agents[agent].waits if agent in seen.agents else None
    lock = None if number is None else seen.locks.get(number)
    if lock is None:
        return "waits for itself"
    if told is None and (agent not in (lock.owner, *lock.readers) or seen.runs_tasks(agent)):
        return f"waits for {names.lock(lock.id)}, which can come from nobody who runs"
    return "waits for itself"


def _name(agent: int, told: Told, seen: Seen, names: Names) -> str:
    """Return the name of an agent of a finding; a task that the table does not show has the one that the finding tells."""
    name = told.names().get(agent)
    return names.agent(agent) if agent in seen.agents or not name else f"{tidy(name)} (task)"


def _listed(names: Sequence[str]) -> str:
    if len(names) < 3:
        return " and ".join(names)
    return f"{', '.join(names[:2])} and {len(names) - 2:,} more"
