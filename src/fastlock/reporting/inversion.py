"""The page of an inversion: the orders that exist, and how they would meet, which has not happened yet."""

from __future__ import annotations

from fastlock.findings import AgentFact, EdgeFact, Finding, LockFact, OrderFact, Site
from fastlock.reporting import Labels, pad, shorten, times, width
from fastlock.reporting.orders import orders_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    _Cell = tuple[str, str]

_SHOWN = 12  # orders: more is scrolled past
_COLUMNS = 4  # agents side by side
_NAME = 30
_SOURCE = 64
_WIDTH = 116
_GAP = 4


def orders(finding: Finding, names: Labels) -> list[str]:
    """Return each order with its two lines of code, how often it was taken, and when and by whom first."""
    facts = orders_of(finding)
    if not facts:
        return []
    shown = facts[:_SHOWN]
    pairs = [f"{names.lock(order.first)} → {names.lock(order.then)}" for order in shown]
    column = max(map(width, pairs)) + 4
    rows = [_rows(order, names) for order in shown]
    columns = [max(width(row[at]) for pair in rows for row in pair) for at in range(1, 3)]
    lines = ["  Two orders exist" if len(facts) == 2 else f"  {len(facts):,} orders exist that make a circle"]
    for order, pair, both in zip(shown, pairs, rows):
        lines.append(f"    {pad(pair, column)}{_often(order, finding, names)}".rstrip())
        lines += [f"      {verb}  {pad(name, columns[0])}   {pad(at, columns[1])}   {text}" for verb, name, at, text in both]
    if len(facts) > len(shown):
        lines.append(f"    … and {len(facts) - len(shown):,} more")
    return lines


def scenario(finding: Finding, names: Labels) -> list[str]:
    """Return how these orders would block each other, one agent a column, or a row where there are many."""
    forms = scenarios(finding, names)
    side_by_side = forms[:-1] or forms
    return next((form for form in side_by_side if max(map(width, form)) <= _WIDTH), side_by_side[-1]) if forms else []


def scenarios(finding: Finding, names: Labels) -> list[list[str]]:
    """Return the same in each of its forms, the widest first; [] where there are no two orders."""
    links = [edge for edge in finding.edges if edge.holds is not None and edge.waits is not None]
    if len(links) < 2:
        return []
    people = _people(links, finding, names)
    locks = {lock.id: lock for lock in finding.locks}
    takes = [(f"takes {_name(edge.holds, names)}", names.site(edge.held_at)) for edge in links]
    waits = [(f"{_verb(edge, locks)} {_name(edge.waits, names)}", names.site(edge.wanted_at)) for edge in links]
    end = "neither can go on" if len(links) == 2 else "none of them can go on"
    if finding.tier == "possible" and finding.reasons:
        end += ", unless a doubt below keeps them apart"
    drawn = [_side_by_side(people, takes, waits, cell) for cell in (_in_one_line, _in_two_lines)] if len(links) <= _COLUMNS else []
    drawn.append(_one_below_the_other(people, takes, waits))
    return [["  This has not happened yet: time runs down", *each, f"    {end}"] for each in drawn]


def passed(finding: Finding, names: Labels) -> list[str]:
    """Return the filters that an inversion has passed; several jobs of one pool thread are no distinct agents."""
    jobs = _counted(edge.agent for edge in finding.edges if edge.holds is not None and edge.waits is not None)
    twice = {agent: number for agent, number in jobs.items() if number > 1}
    words = [
        f"{'two' if number == 2 else number} jobs of pool {names.agent(agent)}" for agent, number in twice.items()
    ]  # any two threads of the pool may run them at once
    others = [] if len(jobs) == len(twice) else ["distinct agents"]
    return [each for name in finding.filters for each in ([*others, *words] if name == "distinct agents" else [name])]


def _side_by_side(people: Sequence[str], takes: Sequence[_Cell], waits: Sequence[_Cell], cells: Callable[..., list[list[str]]]) -> list[str]:
    # Of each agent its name, what it does first and what it does then; each a cell of one or two lines.
    columns = [[[name], *cells(do, wait)] for name, do, wait in zip(people, takes, waits)]
    table = [[column[0][0] for column in columns]]
    for step in (1, 2):
        for who, column in enumerate(columns):
            begun = ["│" if step == 2 or other < who else "" for other in range(len(columns))]
            table += [[*begun[:who], text, *begun[who + 1 :]] for text in column[step]]
    widths = [_columns_width(column) for column in columns]
    gap = " " * _GAP
    return [f"    {gap.join(pad(cell, room) for cell, room in zip(row, widths))}".rstrip() for row in table]


def _in_one_line(*cells: _Cell) -> list[list[str]]:
    room = max(width(what) for what, _ in cells)
    return [[f"{pad(what, room)}   {at}"] for what, at in cells]


def _in_two_lines(*cells: _Cell) -> list[list[str]]:
    return [[what, f"  {at}"] for what, at in cells]


def _columns_width(column: Sequence[Sequence[str]]) -> int:
    return max(width(text) for cell in column for text in cell)


def _one_below_the_other(people: Sequence[str], takes: Sequence[_Cell], waits: Sequence[_Cell]) -> list[str]:
    rows = [(name, *do, f"then {wait}", at) for name, do, (wait, at) in zip(people, takes, waits)]
    hidden = len(rows) - _SHOWN
    if hidden > 0:
        rows = [*rows[: _SHOWN - 1], rows[-1]]
        hidden = len(people) - len(rows)
    columns = [max(width(row[at]) for row in rows) for at in range(5)]
    lines = ["    " + "   ".join(pad(cell, room) for cell, room in zip(row, columns)).rstrip() for row in rows]
    if hidden > 0:
        lines.insert(-1, f"    … and {hidden:,} more, each waits for what the next one has")
    return lines


def _people(edges: Sequence[EdgeFact], finding: Finding, names: Labels) -> list[str]:
    agents: dict[int, AgentFact] = {agent.id: agent for agent in finding.agents}
    many = _counted(edge.agent for edge in edges)
    seen = dict.fromkeys(many, 0)
    people = []
    for edge in edges:
        seen[edge.agent] += 1
        known = agents.get(edge.agent)
        # One worker of a pool did both, in two jobs: two workers of the pool may do them at once.
        job = f", job {seen[edge.agent]}" if many[edge.agent] > 1 else ""
        people.append(shorten(names.agent(edge.agent), _NAME) + job if known is not None else f"an unknown agent{job}")
    return people


def _counted(agents: Iterable[int]) -> dict[int, int]:
    """Return how often each agent is there."""
    number: dict[int, int] = {}
    for agent in agents:
        number[agent] = number.get(agent, 0) + 1
    return number


def _name(lock: int | None, names: Labels) -> str:
    return shorten(names.lock(lock), _NAME)


def _verb(edge: EdgeFact, locks: dict[int, LockFact]) -> str:
    lock = locks.get(edge.waits) if edge.waits is not None else None
    if lock is None or lock.kind != "RWLock":
        return "waits for"
    return "waits to read" if edge.mode == "shared" else "waits to write"


def _rows(order: OrderFact, names: Labels) -> list[tuple[str, str, str, str]]:
    return [
        ("holds", names.lock(order.first), names.site(order.held_at), _source(order.held_at)),
        ("wants", names.lock(order.then), names.site(order.wanted_at), _source(order.wanted_at)),
    ]


def _source(site: Site | None) -> str:
    text = "" if site is None else site.text
    return text if len(text) <= _SOURCE else f"{text[: _SOURCE - 1]}…"


def _often(order: OrderFact, finding: Finding, names: Labels) -> str:
    parts = [times(order.count)] if order.count else []
    if order.first_seen:
        day, clock = order.first_seen[:10], f"{order.first_seen[11:19]}Z"
        when = clock if finding.detected_at.startswith(day) else f"{day} {clock}"
        # Whoever took it first may be nobody of this circle, whose name is not here.
        by = f" by {names.agent(order.agent)}" if any(agent.id == order.agent for agent in finding.agents) else ""
        parts.append(f"first {when}{by}" if order.count > 1 else f"{when}{by}")
    return ", ".join(parts)
