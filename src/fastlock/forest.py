"""Who waits, in the end, for whom: out of who needs whom a forest of waiters, each behind one of those that it needs.

On numbers alone: the same for the process's own table, a snapshot, and a table that is read from outside. Needs are nodes of their own, shared by
all who have them: 5,000 who wait for one of 5,000 permits are 10,000 steps and not 25 million. Nothing recurses.
"""

from __future__ import annotations

from fastlock.lean import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping, Sequence
    from typing import Any


class Need(NamedTuple):
    """Whom an agent needs: all of them, or any one; told from others by whatever key, if it is hashable."""

    holders: tuple[int, ...]
    any_one: bool = False


@dataclass(frozen=True)
class Forest:
    """Whom each waiter is behind, by which need, and the circles; siblings are in the order in which grow() was given them."""

    parent: Mapping[int, int]
    through: Mapping[int, Any]
    stuck: frozenset[int]
    circles: tuple[tuple[int, ...], ...]
    children: Mapping[int, Sequence[int]]

    def path(self, agent: int) -> list[int]:
        """Return the agent, whom it is behind, and so on: to the root, or to the first one of a circle."""
        path = [agent]
        inside = {each for circle in self.circles for each in circle} if self.circles else set()
        while path[-1] in self.parent and path[-1] not in inside:
            path.append(self.parent[path[-1]])
        return path

    def circle_of(self, agent: int) -> tuple[int, ...]:
        """Return the circle that the agent is in, () where it is in none."""
        return next((circle for circle in self.circles if agent in circle), ())

    def roots(self) -> Iterator[tuple[int, ...]]:
        """Yield every root that somebody waits for: the circles, and each agent that is behind nobody."""
        yield from self.circles
        yield from ((agent,) for agent in self.children if agent not in self.parent)

    def behind(self, root: Collection[int]) -> list[tuple[int, int]]:
        """Return everybody behind these agents, with their depth, each before those who are behind it."""
        inside = set(root)
        stack = [(child, 1) for agent in root for child in self.children.get(agent, ()) if child not in inside]
        stack.reverse()
        found = []
        while stack:
            agent, depth = entry = stack.pop()
            found.append(entry)
            stack += [(child, depth + 1) for child in reversed(self.children.get(agent, ())) if child not in inside]
        return found


def grow(
    wants: Mapping[int, Sequence[Any]], needs: Mapping[Any, Need], never: Container[int] = frozenset()
) -> Forest:
    """Return the forest of those who want something, in the order of `wants`; linear in wants and holders.

    Who needs nobody runs, unless in `never` (it has ended, or stands still for another reason). Who needs somebody runs when all that it wants can
    be had, and stands behind who lets it go last; everybody else is stuck, behind one who is stuck as well.
    """
    growth = _Growth(wants, needs, never)
    growth.let_run()
    growth.settle_stuck()
    circles = tuple(_circles(growth.parent, growth.stuck))
    inside = {agent for circle in circles for agent in circle}
    children: dict[int, list[int]] = {}
    for agent in wants:
        parent = growth.parent.get(agent)
        if parent is not None and agent not in inside:
            children.setdefault(parent, []).append(agent)
    return Forest(growth.parent, growth.through, frozenset(growth.stuck), circles, children)


class _Growth:
    """Strikes out who can run, from those who need nobody on; then finds for each who is left one that keeps it."""

    def __init__(
        self, wants: Mapping[int, Sequence[Any]], needs: Mapping[Any, Need], never: Container[int]
    ) -> None:
        self.wants, self.needs, self.never = wants, needs, never
        self.parent: dict[int, int] = {}
        self.through: dict[int, Any] = {}
        self.left: dict[Any, int] = {}  # how many holders of each need have still to let go
        self.unmet: dict[int, int] = {}
        self.wanted_by: dict[Any, list[int]] = {}
        self.held: dict[int, list[Any]] = {}
        self.stuck: set[int] = set()
        for agent, keys in wants.items():
            number = 0
            for key in keys:
                waiters = self.wanted_by.get(key)
                if waiters is None:
                    waiters = self._note(key)
                if waiters is not None:
                    waiters.append(agent)
                    number += 1
            if number:
                self.unmet[agent] = number

    def _note(self, key: Any) -> list[int] | None:
        """Return the list of those who want something, None where nobody is needed for it."""
        need = self.needs[key]
        if not need.holders:
            return None
        holders = dict.fromkeys(need.holders)
        self.left[key] = 1 if need.any_one else len(holders)
        for holder in holders:
            self.held.setdefault(holder, []).append(key)
        waiters: list[int] = []
        return self.wanted_by.setdefault(key, waiters)

    def let_run(self) -> None:
        unmet, left, never = self.unmet, self.left, self.never
        running = [agent for agent in self.held if agent not in unmet and agent not in never]
        for agent in running:  # which grows meanwhile
            for key in self.held.get(agent, ()):
                left[key] -= 1
                if left[key] != 0:
                    continue
                for waiter in self.wanted_by[key]:
                    unmet[waiter] -= 1
                    if unmet[waiter] == 0 and waiter not in never:
                        self.parent[waiter], self.through[waiter] = agent, key
                        running.append(waiter)

    def settle_stuck(self) -> None:
        self.stuck = {agent for agent, number in self.unmet.items() if number > 0}
        self.stuck |= {agent for agent in self.held if agent in self.never}
        keeps: dict[Any, int] = {}
        for agent, number in self.unmet.items():
            if number > 0:
                key = next(key for key in self.wants[agent] if self.left.get(key, 0) > 0)
                if key not in keeps:
                    keeps[key] = next(holder for holder in self.needs[key].holders if holder in self.stuck)
                self.parent[agent], self.through[agent] = keeps[key], key


def _circles(parent: Mapping[int, int], stuck: set[int]) -> Iterator[tuple[int, ...]]:
    """Yield each circle once: every walk from a stuck agent ends in one, or at an agent that is behind nobody."""
    seen: dict[int, int] = {}  # agent -> which walk came by
    for start in parent:
        if start not in stuck:
            continue
        path: list[int] = []
        at: int | None = start
        while at is not None and at not in seen:
            seen[at] = start
            path.append(at)
            at = parent.get(at)
        if at is not None and seen[at] == start:
            yield tuple(path[path.index(at) :])
