"""The report for the person on call: two lines of code that block each other, readable without a manual."""

from __future__ import annotations

from fastlock.findings import AgentFact, EdgeFact, Finding, LockFact, Site
from fastlock.lean import dataclass
from fastlock.reporting import FACTS, Labels, duration, fact, inversion, pad, printable, shorten, stacks, stalls, starvation, trees, width, wrapped
from fastlock.reporting.wording import (
    CONFIRMED,
    ITS_LOOP,
    causes_of,
    first_to_give_up,
    held_site,
    is_result,
    reasons_of,
    relation,
    waiting_edge,
    wanted_name,
    ways_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SHOWN = 12  # agents, in the picture and as sections: more is scrolled past
PICTURE_NAMES = (30, 20, 14, 10)  # how long names are in the picture: as long as there is room
_LEAST_SOURCE = 24
_RIGHT = 59  # where the right column of the head starts, unless the left one is longer
_TEXT = 96
_NOBODY_WAITS = frozenset({"FL005", "FL010", "FL011"})  # for a lock: found before the acquire, or without any
_REASONS = {"FL006": "Stopped", "FL011": "Declared", "FL020": "Because of"}
_WAKES = ("wakes", "woke ")  # who does so, and who has ended
_STATES = {"ended": "ended", "lost-in-fork": "not in this process: lost in fork"}


def render(finding: Finding) -> str:
    """Return the report, several lines without a final newline; no address is in it; reads no files, takes no locks."""
    return "\n\n".join("\n".join(block) for block in blocks(finding))


def blocks(finding: Finding) -> list[list[str]]:
    """Return the report's blocks as lines: the head, the picture, who holds and wants what, and what follows from it; none is empty."""
    page = Report(finding)
    if finding.code == "FL010":
        told = [page.head(), inversion.orders(finding, page.names), inversion.scenario(finding, page.names), page.completed(), page.foot()]
    else:
        told = [page.head(), page.picture(), page.sections(), page.foot()]
    return [[printable(line).rstrip() for line in block] for block in told if block]


@dataclass(frozen=True)
class _Row:
    verb: str
    name: str
    site: Site | None
    note: str = ""


class Report:
    """The blocks of one report, each as lines; the pictures and sentences of `columns` at most."""

    def __init__(self, finding: Finding, columns: int = _TEXT) -> None:
        self.finding = finding
        self.happened: Finding | None = None  # the deadlock that an inversion has led to
        self.columns = columns  # of sentences
        self.names_in_picture = PICTURE_NAMES[0]
        self.told = finding.told
        self.names = Labels(finding)
        self.locks: dict[int | None, LockFact] = {lock.id: lock for lock in self.told.locks}
        self.agents = {agent.id: agent for agent in self.told.agents}
        self.wanted = {edge.waits for edge in self.told.edges}
        self.everybody = self._everybody()

    def head(self) -> list[str]:
        """What, how sure, where and when."""
        (left, right), (below, report) = self._head()
        column = max(_RIGHT, width(left) + 4, width(below) + 4)
        return [f"{pad(left, column)}{right}", f"{pad(below, column)}{report}"]

    def narrow_head(self) -> list[str]:
        """The same, one below the other."""
        (left, right), (below, report) = self._head()
        return [left, below, f"{right}, {report}"]

    def _head(self) -> tuple[tuple[str, str], tuple[str, str]]:
        finding = self.finding
        left = f"{finding.code} {_title(finding)}: {self._subject()}"
        clock = finding.detected_at[11:19]
        parts = [f"detected {clock}Z", self._age(), "confirmed twice" if CONFIRMED in finding.reasons else ""]
        if finding.count > 1:
            parts.append(f"seen {finding.count:,} times")
        below = ", ".join(part for part in parts if part)
        return (left, f"{finding.process}, pid {finding.pid}"), (below, f"report {finding.fingerprint[:6]}")

    def _subject(self) -> str:
        if self.finding.code == "FL010":
            # Not the agents: one worker of a pool may have done both, in two jobs.
            return f"{_count(len(self.finding.locks), 'lock')}, {_count(len(self.finding.edges), 'order')}"
        if self.finding.code == "FL030":
            return starvation.subject(self.finding, self.names)
        if self.finding.code != "FL001" and len(self.finding.locks) == 1:
            return self.names.lock(self.finding.locks[0].id)
        return f"{_count(len(self.finding.agents), 'agent')}, {_count(len(self.finding.locks), 'lock')}"

    def _age(self) -> str:
        if self.finding.code in _NOBODY_WAITS:
            return self._so_far() if self.finding.code == "FL010" else ""
        ages = [edge.since_s for edge in self.told.edges if edge.waits is not None]  # since when a task awaits is not known
        if not ages:
            return ""
        # A circle exists since its youngest wait.
        age = min(ages) if self.finding.code == "FL001" else ages[0]
        if age < 0.01:
            return "as it formed"
        return f"{'waiting' if self.finding.tier == 'measured' else 'stuck'} {duration(age)}"

    def _so_far(self) -> str:
        return "nobody is stuck" if self.happened is None else f"and it has happened: deadlock {self.happened.fingerprint[:6]}"

    def picture(self) -> list[str]:
        """The circle, drawn; anything else in a sentence."""
        if not self.is_drawn:
            return self.sentence()
        edges = self.told.edges
        return self._pair(*edges) if len(edges) == 2 else self.chain()

    @property
    def is_drawn(self) -> bool:
        """Whether it is a circle of several."""
        return self.finding.code == "FL001" and len(self.told.edges) > 1

    def sentence(self) -> list[str]:
        """What happens, in words."""
        told = self.finding.explanation.removesuffix(trees.sentence(self.finding, self.names))  # that stands in the foot
        return wrapped(told, self.columns, "  ", "  ")

    def _pair(self, first: EdgeFact, second: EdgeFact) -> list[str]:
        a, b = self._short(first.agent), self._short(second.agent)
        one, two = self._wanted(first), self._wanted(second)
        below = f" {self._has(second, first.agent)} {'─' * 4} {two} ◀{'─' * 8} {self._asks(second)} "
        ask, have = f" {self._asks(first)} ", f" {self._has(first, second.agent)} "
        left, right_in = 2 + min(6, width(a) // 2), min(14, width(b) // 2)
        row = f"  {a} ──{ask}──▶ {one} ──{have}──▶ "
        room = width(row) + right_in - left - 1
        short = max(0, width(below) + 8 - room)
        # Where the lower lock's name is the longer one, the upper row is stretched and not the circle broken.
        ask, have = f"{'─' * (short // 2)}{ask}", f"{'─' * (short - short // 2)}{have}"
        row = f"  {a} ──{ask}──▶ {one} ──{have}──▶ "
        room += short
        bars = "─" * ((room - width(below)) // 2)
        rest = "─" * (room - width(below) - len(bars))
        margin, gap = " " * left, " " * room
        return [f"{row}{b}", f"{margin}▲{gap}│", f"{margin}└{bars}{below}{rest}┘"]

    def chain(self) -> list[str]:
        """The circle as a list, each above the one that it waits for."""
        edges = self.told.edges
        shown = list(edges) if len(edges) <= _SHOWN else [*edges[: _SHOWN - 1], edges[-1]]
        names = [self._short(edge.agent) for edge in shown]
        wants = [f"{self._asks(edge)}{'' if self._is_rw(edge) else ' for'} {self._wanted(edge)}" for edge in shown]
        name_width, want_width = max(map(width, names)), max(map(width, wants))
        lines = []
        for at, edge in enumerate(shown):
            last = at == len(shown) - 1
            hidden = len(self.finding.edges) - len(shown)
            if last and hidden:
                lines.append(f"  │   … and {hidden:,} more, each waits for something that the next one has")
            mark = "┌─▶" if at == 0 else "└──" if last else "│  "
            after = edges[0] if last else edges[at + 1]
            to = names[0] if last else "↓"
            link = f"{self._has(edge, after.agent)} {to}"
            lines.append(f"  {mark} {pad(names[at], name_width)}  {pad(wants[at], want_width)}  {link}")
        return lines

    def _wanted(self, edge: EdgeFact) -> str:
        return shorten(wanted_name(edge, self.names), self.names_in_picture)

    def _short(self, agent: int) -> str:
        return shorten(self.names.agent(agent), self.names_in_picture)

    def _is_rw(self, edge: EdgeFact) -> bool:
        lock = self.locks.get(edge.waits)
        return lock is not None and lock.kind == "RWLock"

    def _asks(self, edge: EdgeFact) -> str:
        if not self._is_rw(edge):
            return "waits"
        return "waits to read" if edge.mode == "shared" else "waits to write"

    def _has(self, edge: EdgeFact, holder: int) -> str:
        if edge.what == ITS_LOOP:
            return "stopped by"
        return relation(self.locks.get(edge.waits), holder)

    def sections(self, with_stacks: bool = True) -> list[str]:
        """For each agent what it holds and waits for, at which lines, since when."""
        shown = self.shown()
        table = {agent: list(self._rows(agent)) for agent in shown}
        rows = [row for rows in table.values() for row in rows]
        columns = [max((width(cells[at]) for cells in map(self._cells, rows)), default=0) for at in range(3)]
        room = stacks.WIDE - stacks.INDENT - columns[0] - columns[1] - max((len(row.note) for row in rows), default=0) - 9
        columns[2] = min(columns[2], max(room, _LEAST_SOURCE))
        heads = {agent: self.names.agent(agent) for agent in shown}
        column = max((width(head) for head in heads.values()), default=0) + 4
        lines = []
        for agent in shown:
            lines.append(f"  {pad(heads[agent], column)}{self._about(agent)}")
            lines += [self._line(row, columns) for row in table[agent]]
            lines += self._stopped(self.agents.get(agent))
            lines += self.stack(agent) if with_stacks else []
        hidden = len(self.everybody) - len(shown) + len(self.finding.agents) - len(self.told.agents)
        if hidden:
            lines.append(f"  … and {hidden:,} more")
        return lines

    def _everybody(self) -> list[int]:
        # In the circle's order; behind it those who hold something but wait for nothing.
        order = [edge.agent for edge in self.told.edges]
        for lock in self.told.locks:
            if lock.id in self.wanted:
                order += [agent for agent in lock.holders if agent in self.agents]
        return list(dict.fromkeys(order))

    def shown(self) -> list[int]:
        """Who has a section."""
        everybody = self.everybody
        if len(everybody) <= _SHOWN:
            return everybody
        # As in the picture, the last one of a circle closes it.
        last = self.told.edges[-1].agent
        return [*[agent for agent in everybody if agent != last][: _SHOWN - 1], last]

    def _about(self, agent_id: int) -> str:
        agent = self.agents.get(agent_id)
        if agent is None:
            return ""
        if agent.state != "alive":
            return _STATES.get(agent.state, agent.state)
        if agent.loop is not None:
            return f"loop of {agent.loop}"
        return "" if agent.native_id is None else f"tid {agent.native_id}"

    def _rows(self, agent: int) -> Iterator[_Row]:
        edges = [edge for edge in self.told.edges if edge.agent == agent]
        holds = dict.fromkeys(edge.holds for edge in edges if edge.holds is not None)
        for lock in self.told.locks:
            if lock.id in self.wanted and (agent == lock.owner or agent in lock.readers):
                holds[lock.id] = None
        for held in holds:
            verb, how = self._holding(held, agent)
            yield _Row(verb, how + self.names.lock(held) + self._held_how(held, agent), held_site(self.finding, held, agent))
        for edge in edges:
            if edge.is_wait:
                left = "" if edge.deadline_s is None else f", gives up in {duration(edge.deadline_s)}"
                name = wanted_name(edge, self.names) + self._wanted_how(edge)
                if self.finding.code == "FL031":
                    name = stalls.wanted(edge, self.names)
                if self.finding.code == "FL005":
                    yield _Row("await", "", edge.wanted_at)
                elif self.finding.code in _NOBODY_WAITS:
                    yield _Row("wants", name, edge.wanted_at)
                else:
                    age = "" if edge.waits is None else duration(edge.since_s)
                    yield _Row("waits", name, edge.wanted_at, f"{age}{left}".removeprefix(", "))

    def _holding(self, lock_id: int, agent: int) -> tuple[str, str]:
        """How others depend on the agent for this."""
        lock = self.locks.get(lock_id)
        if lock is not None and lock.kind == starvation.POOL:
            return "runs ", "a job of "
        if any(edge.agent == agent and edge.holds == lock_id and stalls.is_woken(lock, edge) for edge in self.told.edges):
            return _WAKES[agent in self.agents and self.agents[agent].state != "alive"], ""
        return "owes " if is_result(lock) else "holds", ""

    def _held_how(self, lock_id: int, agent: int) -> str:
        lock = self.locks.get(lock_id)
        if lock is not None and lock.kind == starvation.POOL:
            return ""
        if lock is not None and lock.kind == "RWLock":
            return " (write)" if agent == lock.owner else " (read)" if agent in lock.readers else ""
        return f" (one of {len(lock.holders)} holders)" if lock is not None and len(lock.holders) > 1 else ""

    def _wanted_how(self, edge: EdgeFact) -> str:
        lock = self.locks.get(edge.waits)
        if lock is not None and lock.kind == "RWLock":
            return " (read)" if edge.mode == "shared" else " (write)"
        return f" ({len(lock.holders)} holders)" if lock is not None and len(lock.holders) > 1 else ""

    def _cells(self, row: _Row) -> tuple[str, str, str]:
        if row.site is None:
            return row.name, "" if row.verb in ("owes ", *_WAKES) else self.names.site(None), ""
        return row.name, self.names.site(row.site), stacks.source(row.site.text)

    def _line(self, row: _Row, columns: list[int]) -> str:
        name, site, source = self._cells(row)
        cells = "   ".join(pad(cell, column) for cell, column in zip((name, site, stacks.source(source, columns[2])), columns))
        return f"    {row.verb}  {cells}   {row.note}"

    def _stopped(self, agent: AgentFact | None) -> list[str]:
        if agent is None or agent.stands is None:
            return []
        with_it = f", {_count(agent.stands, 'task')} with it" if agent.stands else ""
        return [f"           a synchronous lock inside a task: this loop is stopped{with_it}"]

    def stack(self, agent_id: int) -> list[str]:
        """Where an agent of the finding is."""
        agent = self.agents.get(agent_id)
        return stacks.lines(agent.stack if agent is not None else ())

    def completed(self) -> list[str]:
        """Who completed an inversion, and on which way: its lines may be in helpers that everybody calls."""
        agent = next((agent for agent in self.finding.agents if agent.stack), None)
        return [] if agent is None else [f"  Completed by {self.names.agent(agent.id)}", *self.stack(agent.id)]

    def foot(self, with_fix: bool = True) -> list[str]:
        """What follows from it, and what to do."""
        finding = self.finding
        facts = [("How" if at == 0 else "", reason) for at, reason in enumerate(ways_of(finding))]
        if finding.filters:
            facts.append(("Passed", ", ".join(inversion.passed(finding, self.names))))
        label = self._reasons_are()
        facts += [(label if at == 0 else "", reason) for at, reason in enumerate(reasons_of(finding))]
        lines = self._facts(facts) + self._behind()
        end = []
        if finding.refused:
            end.append(("Refused", self._refused()))
        elif finding.clears is not None and finding.code not in _NOBODY_WAITS:
            end.append(("By itself?", self._clears()))
        return lines + self._facts(end) + (self.fix() if with_fix else [])

    def fix(self) -> list[str]:
        """What to change, and where more about it stands."""
        return self._facts([("Fix", self.finding.fix), ("Explain", f"fastlock explain {self.finding.code}")])

    def _facts(self, facts: Sequence[tuple[str, str]]) -> list[str]:
        columns = max(self.columns, FACTS)
        return [line for label, text in facts if text for line in fact(label, text, columns)]

    def _behind(self) -> list[str]:
        """How many more wait for what it is about; whom everybody waits for in the end, and the tree of those behind that one."""
        told = [self._more()] if self.finding.behind else []
        return trees.foot(self.finding, self.names, told, len(self.agents))

    def _more(self) -> str:
        number = self.finding.behind
        if self.finding.code == "FL030":
            return f"{_count(number, 'job')} in the queue"
        name = self.names.lock(self.finding.locks[0].id) if len(self.finding.locks) == 1 else "these locks"
        return f"{number:,} more {'waits' if number == 1 else 'wait'} for {name}"

    def _refused(self) -> str:
        edge = waiting_edge(self.finding)
        lock = wanted_name(edge, self.names)
        if is_result(self.locks.get(edge.waits)):
            return f"the wait in {self.names.site(edge.wanted_at)}: {self.finding.refused} was raised"
        return f"the acquire in {self.names.site(edge.wanted_at)}: {self.finding.refused} was raised, and {lock} was not taken"

    def _reasons_are(self) -> str:
        if self.finding.code in _REASONS:
            return _REASONS[self.finding.code]
        if self.finding.tier == "possible":
            return "Doubts" if self.finding.code == "FL010" else "Not proven"
        return "Evidence"

    def _clears(self) -> str:
        code = self.finding.code
        if code in ("FL006", "FL020"):
            return self._released()
        soonest = first_to_give_up(self.finding)
        if self.finding.clears:
            return "yes" if soonest is None else f"yes: {self._gives_up(soonest)}"
        no = "only if somebody else releases it" if self.finding.tier == "possible" else "no"
        if code == "FL031":
            return f"{no.replace('releases it', 'wakes them')}: no wait in it has a timeout"
        if code in ("FL003", "FL004"):
            return f"{no}: its owner {'has ended' if code == 'FL003' else 'is not in this process'}"
        if soonest is not None:
            return no
        nobody = {"FL001": "nobody in the circle has a timeout", "FL030": "nobody in it has a timeout"}
        return f"{no}: {nobody.get(code, 'the wait has no timeout')}"

    def _released(self) -> str:
        edge = waiting_edge(self.finding)
        limit = "the wait has no timeout" if edge.deadline_s is None else f"at the latest {self._gives_up(edge)}"
        when = next((f"not before {cause} ends" for cause in causes_of(self.finding)), "as soon as it is released")
        return f"{when}; {limit}"

    def _gives_up(self, edge: EdgeFact) -> str:
        return f"{self.names.agent(edge.agent)} gives up in {duration(edge.deadline_s or 0.0)}"


def _title(finding: Finding) -> str:
    if finding.tier == "will-clear":
        return f"{finding.title} that will clear"
    return f"possible {finding.title}" if finding.tier == "possible" else finding.title


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
