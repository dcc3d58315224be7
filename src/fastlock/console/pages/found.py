"""Findings: what the processes have told, the newest first; and one finding, its report and what its code means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastlock import explain
from fastlock.console.facts import finding_of
from fastlock.console.names import noun
from fastlock.console.orders import Inversion, counted, happened, inversion_of, inversions_of
from fastlock.console.pages.base import Page, Section, Sight, gone, head, notes, numbered
from fastlock.console.pages.circles import drawn, in_forms, of_report
from fastlock.console.seen import Seen, Target
from fastlock.console.sources import sourced
from fastlock.console.tables import SENTENCE, Cell, Column, Grid, Row, Table, plain
from fastlock.findings import CODES, Finding
from fastlock.reporting import parts, printable

COLUMNS = (
    Column("code", "Code", 5),
    Column("title", "Finding", 22, grow=1),
    Column("tier", "How sure", 10, least=50),
    Column("count", "Seen", 6, right=True, least=58),
    Column("at", "First at", 9, least=40),
    Column("told", "What happened", 20, least=94, grow=6),
)
EMPTY = "No findings: these processes have seen no deadlock and no long wait, and at level order no inversion either. That is how it should be."
GONE = "This finding is not in the table any more: newer ones took its room. The process's own report has it."
DEADLOCKS = frozenset({"FL001", "FL002", "FL003", "FL004", "FL012", "FL030", "FL031"})
_UNBROKEN = 1 << 20  # columns: the screen breaks what is too long for it
_STILL = (Column("what", "What", 6), Column("name", "Still there", 20, grow=1))


class Item(NamedTuple):
    """A finding as its table has it, and whose."""

    seen: Seen
    told: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A text of it, "" where there is none."""
        value = self.told.get(key)
        return printable(value) if isinstance(value, str) else ""

    @property
    def times(self) -> int:
        """How often it has been seen."""
        number = self.told.get("count")
        return number if isinstance(number, int) else 1


def page(sight: Sight) -> Page:
    """Return all findings."""
    items = [Item(seen, told) for seen in sight.seen for told in seen.findings]
    items.sort(key=lambda item: item.text("detected_at"), reverse=True)
    grid = Table(
        columns=sight.columns(*COLUMNS),
        row=lambda item: row_of(item, sight),
        empty=sight.empty(EMPTY),
        keys={
            "pid": lambda item: item.seen.pid,
            "code": lambda item: item.text("code"),
            "title": lambda item: item.text("title"),
            "tier": lambda item: item.text("tier"),
            "count": lambda item: item.times,
            "at": lambda item: item.text("detected_at"),
            "told": lambda item: item.text("explanation"),
        },
        words=lambda item: [item.text(key) for key in ("code", "title", "tier", "explanation", "fix", "fingerprint")],
        kinds=lambda item: (item.text("code"), item.text("tier")),
    ).grid(items, sight.query)
    return Page("Findings", head(sight), (Section("What has been found, the newest first", grid),), notes(sight))


def row_of(item: Item, sight: Sight) -> Row:
    """Return the row of a finding."""
    code = item.text("code")
    style = "bad" if code in DEADLOCKS and item.text("tier") == "proven" else "warn"
    cells = sight.cells(
        item.seen,
        Cell(code, style),
        Cell(item.text("title"), "name"),
        Cell(item.text("tier")),
        numbered(item.times),
        Cell(f"{item.text('detected_at')[11:19]}Z", "dim", item.text("detected_at")),
        Cell(item.text("explanation"), SENTENCE),
    )
    target = target_of(item.seen, item.told)
    return Row(cells, target, target)


def target_of(seen: Seen, told: Mapping[str, Any]) -> Target:
    """Return what leads to a finding."""
    return Target("finding", seen.pid, str(told.get("fingerprint")))


def one(sight: Sight) -> Page:
    """Return the finding that the target names: its report with present ages, who of it is still there, and what its code means."""
    target = sight.target
    seen = sight.targeted
    told = None if seen is None or target is None else next((each for each in seen.findings if each.get("fingerprint") == target.key), None)
    if seen is None or told is None:
        return gone(sight, "Finding", GONE)
    code = str(told.get("code"))
    about = Section(f"What {code} means", drawn(explain.explain(code, _UNBROKEN).splitlines())) if code in CODES else Section("", ())
    orders = inversions_of(seen, sight.fleet.asked(seen.pid, "order")) if code == "FL010" else []
    sections = (*report_of(told, seen, inversion_of(told, orders)), Section("Go on", still_there(told, seen, sight)), about)
    return Page(f"{code} {printable(str(told.get('title')))}", head(sight), sections, notes(sight))


def report_of(told: Mapping[str, Any], seen: Seen, inversion: Inversion | None = None) -> list[Section]:
    """Return the report of a finding, or its sentences where its facts make no report; of an inversion with what is counted now."""
    try:
        finding = finding_of(told, seen)
        if finding.code == "FL010":
            return _of_inversion(counted(finding, inversion), seen)
        first, last = of_report(finding)
        return [in_forms("Report", parts.parts(finding).heads), *first, *last]
    except (ValueError, LookupError, TypeError, OverflowError):  # a table may be damaged, or forged
        item = Item(seen, told)
        sentences = [item.text("explanation"), f"Fix: {item.text('fix')}"]
        return [Section("Report", drawn([*sentences, "The rest of what the table has of it makes no sense here."]))]


def _of_inversion(finding: Finding, seen: Seen) -> list[Section]:
    """Return both orders and what to change, which come first; how they would meet, unless they have met; who completed it last."""
    told = parts.parts(sourced(finding), happened(finding, seen))
    sections = [
        in_forms("Report", told.heads),
        Section("", drawn(told.rows)),
        Section("What to do", drawn(told.fix)),
        *([in_forms("", told.drawings)] if told.drawings else []),
        Section("What else is known", drawn(told.foot)),
        Section("", drawn(told.stacks)),
    ]
    return [each for each in sections if each.body]


def still_there(told: Mapping[str, Any], seen: Seen, sight: Sight) -> Grid:
    """Return who and what of a finding can be gone to."""
    names = sight.names(seen)
    rows = []
    for part, kind, known in (("agents", "agent", seen.agents), ("locks", "lock", seen.locks)):
        for each in told.get(part, ()):
            number = each.get("id") if isinstance(each, Mapping) else None
            if isinstance(number, int) and number in known:
                name = names.agent(number) if kind == "agent" else names.lock(number)
                target = Target(kind, seen.pid, number)
                what = seen.agents[number].kind if kind == "agent" else noun(seen.locks[number])
                rows.append(Row((Cell(what, "dim"), Cell(name, "name")), target, target))
    return plain(_STILL, rows, "Nobody of it holds or waits for anything any more.")
