"""A root and those who wait behind it, as lines of a tree for people."""

from __future__ import annotations

from fastlock.findings import Finding, Site
from fastlock.lean import replace
from fastlock.reporting import Labels, duration, fact, printable
from fastlock.roots import ITS_LOOP, WHAT_IT_AWAITS, Link, More, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastlock.reporting import Names

# Whoever is in one of these is waited for in the end. In other findings about waits somebody else is.
ENDS = frozenset({"FL001", "FL002", "FL003", "FL004", "FL012", "FL030", "FL031"})
_MEMBERS = 12  # of a circle, as lines


def rooted(finding: Finding, root: Root) -> Finding:
    """Return the finding with its root, and the sentence about it in the explanation."""
    finding = replace(finding, root=root)
    return replace(finding, explanation=f"{finding.explanation}{sentence(finding, Labels(finding))}")


def sentence(finding: Finding, names: Names) -> str:
    """Return who is waited for in the end, as a sentence with a space before it; "" where the finding or its cause is about that."""
    told = finding.code in ENDS or (finding.code == "FL020" and finding.reasons)
    return "" if finding.root is None or told else f" Everybody here waits, in the end, for {who_of(finding.root, names)}."


def render(root: Root) -> str:
    """Return the tree of a root that belongs to no finding, several lines without a final newline."""
    names = Labels.of_root(root)
    who = who_of(root, names)
    lines = [f"{who[:1].upper()}{who[1:]}; {behind_of(root)}"]
    if root.kind == "circle":
        lines += [f"  ↻ {told(link, names)}" for link in root.agents[:_MEMBERS]]
        lines += [f"  ↻ … and {root.number - _MEMBERS:,} more"] if root.number > _MEMBERS else []
    return "\n".join(printable(line) for line in [*lines, *(f"  {line}" for line in rows_of(root, names))])


def behind_of(root: Root) -> str:
    """Return how many wait behind it: "3 agents wait for it in the end, the oldest for 4m 32s"."""
    return number_behind(root, " for it in the end") if root.total else "nobody waits behind it"


def number_behind(root: Root, how: str = "") -> str:
    """Return the same below a label that says behind whom: "1 agent waits, for 4 ms"; `how` follows the verb."""
    who = "1 agent waits" if root.total == 1 else f"{root.total:,} agents wait"
    return f"{who}{how}, {'' if root.total == 1 else 'the oldest '}for {duration(root.oldest_s)}"


def who_of(root: Root, names: Names) -> str:
    """Return who it is, and where that stands: "Thread-7 at db.py:88 in recv()"."""
    if root.kind == "circle":
        return f"a circle of {root.number:,} agents, {names.agent(root.agents[0].agent)} among them" if root.number > 2 else _pair(root, names)
    link = root.agents[0]
    agent = names.agent(link.agent)
    if root.kind == "ended":
        return f"{agent}, which has ended"
    if root.kind == "lost-in-fork":
        return f"{agent}, which is not in this process: lost in fork"
    if root.kind == "waiting":
        what = f"{names.lock(link.lock)} ({link.lock_kind})" if link.lock is not None else link.what or "something unknown"
        return f"{agent}, which waits for {what}{_at(link.wanted_at, names)}"
    return f"{agent}{place_of(root.at, names)}" if root.at is not None else f"{agent}, which waits for no lock"


def _pair(root: Root, names: Names) -> str:
    if root.number == 1:
        return f"{names.agent(root.agents[0].agent)}, which waits for itself"
    return f"a circle of {' and '.join(names.agent(link.agent) for link in root.agents)}"


def place_of(site: Site | None, names: Names) -> str:
    """Return " at db.py:88 in recv()", "" for no site."""
    if site is None:
        return ""
    call = site.function.rpartition(".")[2]
    return f"{_at(site, names)}{'' if call.startswith('<') else f' in {call}()'}"


def afterwards(finding: Finding) -> str:
    """Return who waits behind a finding whose report has been written without; "" for nobody, else lines with a final newline."""
    root = finding.root
    if root is None:
        return ""
    names = Labels(finding)
    head = f"{finding.code} {finding.title}, report {finding.fingerprint[:6]}: {behind_of(root)}"
    return "".join(f"{printable(line)}\n" for line in [head, *(f"  {row}" for row in rows_of(root, names))])


def foot(finding: Finding, names: Names, told: list[str], agents: int) -> list[str]:
    """Return the facts of a report about those behind: `told` already, of so many agents; who is waited for in the end, and the tree of those behind that one."""
    root = finding.root
    lines = fact("Behind it", ", ".join(told)) if told else []
    if root is None:
        return lines
    if finding.code in ENDS:
        counted = 0 if finding.code == "FL030" else finding.behind  # jobs in a queue wait for nobody
        if root.total > counted + (root.kind != "circle"):  # there it is the waiter itself
            all_of_them = number_behind(root, " in all" if counted else "")
            lines = fact("Behind it", "; ".join([*told, all_of_them]))
        return lines + indented(root, names)
    lines += fact("Root", f"everybody here waits, in the end, for {who_of(root, names)}")
    # Who is told above already makes no tree.
    return lines if root.total < agents else lines + indented(root, names)


def indented(root: Root, names: Names) -> list[str]:
    """Return the lines of its rows, to stand under a fact of a report."""
    return [f"{' ' * 16}{line}" for line in rows_of(root, names)]


def rows_of(root: Root, names: Names) -> list[str]:
    """Return a line for each row of the cut tree."""
    texts = [_more(row) if isinstance(row, More) else told(row, names) for row in root.rows]
    return [f"{mark}{text}" for mark, text in zip(_marks([row.depth for row in root.rows]), texts)]


def _marks(depths: Sequence[int]) -> list[str]:
    """Return the strokes before each row: which of those above it have more to come."""
    marks: list[str] = []
    coming: set[int] = set()  # depths that still get a row
    for depth in reversed(depths):
        coming = {each for each in coming if each <= depth}
        strokes = "".join("│ " if each in coming else "  " for each in range(1, depth))
        marks.append(f"{strokes}{'├ ' if depth in coming else '└ '}")
        coming.add(depth)
    return marks[::-1]


def told(link: Link, names: Names) -> str:
    """Return who waits for what, how, where, and for how long."""
    agent = names.agent(link.agent)
    if link.what == ITS_LOOP:
        return f"{agent} stands still: its loop is stopped"
    if link.what == WHAT_IT_AWAITS:
        return f"{agent} awaits it{_at(link.wanted_at, names)}"
    how = f" ({link.how})" if link.how else ""
    age = "" if link.since_s is None else f", for {duration(link.since_s)}"
    left = "" if link.deadline_s is None else f", gives up in {duration(link.deadline_s)}"
    return f"{agent} waits for {names.lock(link.lock, link.what or 'something unknown')}{how}{_at(link.wanted_at, names)}{age}{left}"


def _more(row: More) -> str:
    return f"{'… ' if row.between else 'and '}{row.number:,} more{' in between' if row.between else ''}, the oldest for {duration(row.oldest_s)}"


def _at(site: Site | None, names: Names) -> str:
    return "" if site is None else f" at {names.site(site)}"
