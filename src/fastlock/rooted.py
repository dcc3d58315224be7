"""A finding with the root of its waits: whom everybody in it waits for in the end, where that stands, and who waits behind.

For the thread that reports, out of the core's table of that moment; what suspended tasks await is asked of asyncio.
"""

from __future__ import annotations

import time

from fastlock import _core, assemble, related, standing, suspended
from fastlock.findings import Finding, Site
from fastlock.lean import cached_property, replace
from fastlock.reporting import is_stdlib, trees, wording
from fastlock.roots import Moment, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

CODES = trees.ENDS | {"FL006", "FL020"}
MOST_QUESTIONS = 4  # to asyncio, for a chain that leads from task to task


class Rooting:
    """What one moment's table says about the roots of findings."""

    def __init__(self, table: Mapping[str, Any], known: Iterable[Finding] = ()) -> None:
        self._table = table
        self._now_ns = time.monotonic_ns()
        self._sites = assemble.Sites(_core.site)
        self._below_dead: dict[int, Root] = {}
        self._stuck = related.stuck_in(known, table["waits"])

    def rooted(self, finding: Finding, event: Mapping[str, Any]) -> Finding:
        """Return the finding with its root, a long wait also with the deadlock that it is behind; as it is where its waits are over."""
        if finding.code in trees.ENDS:
            return replace(finding, root=self._below(event))
        if finding.code not in CODES:
            return finding
        moment, path = self._chain(event)
        if not path:
            return finding
        members = moment.forest.circle_of(path[-1]) or path[-1:]
        cause = next((self._stuck[each] for each in (*path[1:], *members) if each in self._stuck), None)
        if cause is not None and finding.code == "FL020":
            reason = f"{cause.title} {cause.fingerprint[:6]} ({cause.code})"
            finding = wording.complete(replace(finding, reasons=(reason, *finding.reasons)))
        place = None if len(members) > 1 else self._place(moment.agents.get(members[0]), finding)
        return trees.rooted(finding, moment.root(members, place, cut=True))

    # ---- whose root

    def _below(self, event: Mapping[str, Any]) -> Root | None:
        """Return those that nobody can wake as one root, with everybody behind them."""
        if event["code"] in ("FL003", "FL004"):
            return self._below_one(next(edge["agent"] for edge in event["edges"] if edge["waits"] is None))
        inside = [edge["agent"] for edge in event["edges"]]
        stopped = {agent["native_id"] for agent in event["agents"] if agent.get("stops")}
        if stopped:
            inside += [each["id"] for each in self._table["agents"] if each["kind"] == "thread" and each["native_id"] in stopped]
        members = tuple(dict.fromkeys(inside))
        moment = self._plain
        if not moment.forest.stuck.issuperset(members):  # by what asyncio alone knows
            moment = self._moment(self._table["agents"], self._table["locks"], never=frozenset(members))
        root = moment.root(members, cut=True, together=True)
        return root if root.total else None

    def _below_one(self, dead: int) -> Root | None:
        if dead not in self._below_dead:  # thousands may wait for it, each with a finding of its own
            self._below_dead[dead] = self._plain.root([dead], cut=True)
        root = self._below_dead[dead]
        return root if root.total > 1 else None

    def _chain(self, event: Mapping[str, Any]) -> tuple[Moment, list[int]]:
        """Return who waits for whom from the event's waiter on, the root last; [] where it does not wait any more."""
        moment, agents, locks = self._with_holder(event)
        start = self._waiter(event, moment)
        awaits: dict[int, tuple[int, ...]] = {}
        for _ in range(MOST_QUESTIONS):
            path = moment.forest.path(start) if start is not None else []
            last = moment.agents.get(path[-1]) if path else None
            asked = [] if last is None or last["kind"] != "task" or last["id"] in moment.waits else self._awaited(last, moment)
            if not asked or path[-1] in moment.forest.parent:
                return moment, path
            for task, whom in asked:
                awaits[task["id"]] = (*awaits.get(task["id"], ()), whom["id"])
                agents += [each for each in (task, whom) if each["id"] not in moment.agents]
            moment = self._moment(agents, locks, awaits, frozenset(self._stuck))
        return moment, path

    @cached_property
    def _plain(self) -> Moment:
        return self._moment(self._table["agents"], self._table["locks"], never=frozenset(self._stuck))

    def _moment(
        self,
        agents: Iterable[Mapping[str, Any]],
        locks: Iterable[Mapping[str, Any]],
        awaits: Mapping[int, tuple[int, ...]] | None = None,
        never: frozenset[int] = frozenset(),
    ) -> Moment:
        return Moment(
            agents,
            locks,
            self._table["waits"],
            age_s=lambda wait: (self._now_ns - wait["since_ns"]) / 1e9,
            left_s=lambda wait: None if wait["deadline_ns"] is None else max(0, wait["deadline_ns"] - self._now_ns) / 1e9,
            site=self._sites,
            awaits=awaits,
            never=never,
        )

    def _with_holder(self, event: Mapping[str, Any]) -> tuple[Moment, list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """Return agents and locks of the table, where the event has found that a suspended task holds the lock that its thread took."""
        agents, locks = list(self._table["agents"]), list(self._table["locks"])
        lock = event["locks"][0]
        holder = next((each for each in event["agents"] if each["id"] == lock["owner"] and "task" in each), None)
        if holder is None:
            return self._plain, agents, locks
        if all(each["id"] != holder["id"] for each in agents):
            agents.append({**holder, "waits": None})
        locks = [{**each, "owner": holder["id"]} if each["id"] == lock["id"] else each for each in locks]
        return self._moment(agents, locks, never=frozenset(self._stuck)), agents, locks

    def _waiter(self, event: Mapping[str, Any], moment: Moment) -> int | None:
        """Return who waits: the event's agent or, where that is a task that has stopped its loop, the thread; None where it waits no more."""
        edge = next(edge for edge in event["edges"] if edge["waits"] is not None)
        told = next((each for each in event["agents"] if each["id"] == edge["agent"]), None)
        if told is None:
            return None
        able = [told["id"]]
        if told["kind"] == "task":
            able += [number for number, each in moment.agents.items() if each["kind"] == "thread" and each["native_id"] == told["native_id"]]
        return next((each for each in able if each in moment.waits and moment.waits[each]["lock"] == edge["waits"]), None)

    # ---- what a task awaits

    def _awaited(self, record: Mapping[str, Any], moment: Moment) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Return who awaits whom, from a suspended task on, as records."""
        task = record.get("task") or _core.task_of(record["id"])
        if task is None:
            return []
        known = {record["id"]: task}
        known |= {number: _core.task_of(number) for number, each in moment.agents.items() if each["kind"] == "task" and "task" not in each}
        records = {id(each): moment.agents[number] for number, each in known.items() if each is not None}
        records |= {id(each["task"]): each for each in moment.agents.values() if "task" in each}
        found = []
        for one, other, ident in suspended.awaited_from(task):
            whom = moment.agents.get(other) if isinstance(other, int) else self._record(other[0], other[1], records)
            if whom is not None:
                found.append((self._record(one, ident, records), whom))
        return found

    def _record(self, task: Any, ident: int | None, records: dict[int, Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the record of a task; most have none in the table, for they neither hold nor wait for something."""
        if id(task) not in records:
            thread = next((each for each in self._table["agents"] if each["kind"] == "thread" and each["ident"] == ident), None)
            records[id(task)] = {
                "id": -1 - len(records),
                "kind": "task",
                "name": task.get_name(),
                "ident": ident,
                "native_id": None if thread is None else thread["native_id"],
                "loop": None if thread is None else thread["name"],
                "state": "alive",
                "stops": False,
                "waits": None,
                "task": task,
            }
        return records[id(task)]

    def _place(self, record: Mapping[str, Any] | None, finding: Finding) -> Site | None:
        """Return the line of the program where an agent stands that waits for nothing of ours; of a suspended task its await."""
        if record is None or record["waits"] is not None or record["state"] != "alive":
            return None
        told = next((agent.stack for agent in finding.told.agents if agent.id == record["id"]), ())
        stack = told or standing.stacks_of({"agents": [record]}).get(record["id"], ())
        return next((site for site in reversed(stack) if not is_stdlib(site.file)), stack[-1] if stack else None)
