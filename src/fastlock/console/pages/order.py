"""The order graph: inversions first, with both places; then which class was taken under which, how often and where first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastlock.console.names import place, place_in
from fastlock.console.orders import Edge, Inversion, edges_of, inversion_of, inversions_of, number
from fastlock.console.pages.base import Page, Section, Sight, count, gone, head, line, not_told, notes, of_processes, sited
from fastlock.console.pages.found import report_of
from fastlock.console.seen import Seen, Target
from fastlock.console.tables import Cell, Column, Field, Line, Table
from fastlock.reporting import printable
from fastlock.reporting import times as told_times

NO_INVERSION = "No inversion is known. At level order fastlock learns who takes which lock under which, and this stays empty while all agree."
NO_EDGES = "No order is known: nobody has taken a lock while holding another one, or this is not learned at the present level."
GONE = "This inversion is not known any more: the process has ended, or an unlisted newer one took its place."


def page(sight: Sight) -> Page:
    """Return the inversions and orders of all processes."""
    inversions = [each for seen in sight.seen for each in inversions_of(seen, sight.fleet.asked(seen.pid, "order"))]
    edges = [each for seen in sight.seen for each in edges_of(seen, sight.fleet.asked(seen.pid, "order"))]
    sections = (
        Section("Inversions: who do all of this at once wait for each other for ever", _table_of_inversions(sight).grid(inversions, sight.query)),
        Section("Orders that were seen", _table_of_edges(sight).grid(edges, sight.query)),
    )
    return Page("Order", head(sight), sections, notes(sight, *_missing(sight)))


def _missing(sight: Sight) -> list[str]:
    lines = not_told(sight, "order", "its order graph is not known")
    return lines + of_processes((seen.pid, text) for seen in sight.seen for text in _limits(seen, sight))


def _limits(seen: Seen, sight: Sight) -> Iterator[str]:
    answer = sight.fleet.asked(seen.pid, "order").order
    if seen.level not in ("order", "trace", "off", ""):
        yield "orders are learned at level order: `fastlock level PID order --for 10m` turns it on for a while"
    if answer is None:
        return
    cut = answer.get("cut")
    if isinstance(cut, Mapping) and (cut.get("edges") or cut.get("cycles")):
        yield f"left out here are {number(cut.get('edges')):,} orders and {number(cut.get('cycles')):,} circles; fastlock.order_graph() has them"
    if answer.get("whole") is False:
        yield "its order graph is large: there was not time to go through all of it"
    if answer.get("full") is True:
        yield "its order graph is full, and learns nothing new"


# ---- tables ---------------------------------------------------------------------------------------------------------


def _table_of_inversions(sight: Sight) -> Table[Inversion]:
    return sight.table(
        (
            Field(Column("classes", "Inversion", 16, grow=3), _classes),
            Field(Column("one", "One order", 19, least=46, grow=2), lambda item: Cell(_both(item.edges[0]) if item.edges else "-", "site")),
            Field(Column("other", "The other", 19, least=70, grow=2), _other),
            Field(Column("tier", "How sure", 8, least=100), lambda item: Cell(item.tier)),
        ),
        lambda item: Target("inversion", item.seen.pid, item.key),
        NO_INVERSION,
        words=lambda item: (item.key, item.tier, *(word for edge in item.edges for word in _words(edge))),
        kinds=lambda item: (item.tier, "inversion"),
    )


def _classes(item: Inversion) -> Cell:
    named = " ⇄ ".join(item.classes) if len(item.classes) == 2 else f"{item.key} → …"
    return Cell(named, "bad" if item.tier == "high" else "warn")


def _other(item: Inversion) -> Cell:
    more = len(item.edges) - 2
    other = _both(item.edges[1]) if len(item.edges) > 1 else "-"
    return Cell(f"{other} and {more:,} more" if more > 0 else other, "site")


def _table_of_edges(sight: Sight) -> Table[Edge]:
    return sight.table(
        (
            Field(Column("first", "Holds", 12, grow=2), lambda edge: Cell(edge.first, "name")),
            Field(Column("then", "Takes", 12, grow=2), lambda edge: Cell(edge.then, "name")),
            Field(Column("count", "Times", 7, right=True), lambda edge: Cell(f"{edge.times:,}" if edge.times else "-", "", edge.times or None)),
            Field(Column("held", "Held since", 14, least=56, grow=1), lambda edge: sited(edge.held_at)),
            Field(Column("wanted", "Taken at", 14, least=72, grow=1), lambda edge: sited(edge.wanted_at)),
            Field(Column("agent", "First by", 12, least=100, grow=1), lambda edge: Cell(edge.agent, "dim")),
        ),
        lambda edge: Target("class", edge.seen.pid, edge.then),
        NO_EDGES,
        _words,
        lambda edge: ("order",),
        key=lambda edge: ("order", edge.seen.pid, edge.first, edge.then),
    )


def _words(edge: Edge) -> tuple[str, ...]:
    return (edge.first, edge.then, place(edge.held_at), place(edge.wanted_at), edge.agent)


def _both(edge: Edge) -> str:
    held, wanted = place(edge.held_at) or "unknown", place(edge.wanted_at) or "unknown"
    if edge.held_at and edge.wanted_at and edge.held_at.file == edge.wanted_at.file:
        wanted = str(edge.wanted_at.line)
    return f"{held} → {wanted}{f', {told_times(edge.times)}' if edge.times else ''}"


# ---- one inversion -------------------------------------------------------------------------------------------------


def one(sight: Sight) -> Page:
    """Return the inversion that the target names: each of its orders with both lines of code, and what is known of it."""
    target = sight.target
    seen = sight.targeted
    item = None if seen is None or target is None else next((each for each in inversions_of(seen, sight.fleet.asked(seen.pid, "order")) if each.key == target.key), None)
    if seen is None or item is None:
        return gone(sight, "Inversion", GONE)
    told = item.finding or next((each for each in reversed(seen.findings) if each.get("code") == "FL010" and inversion_of(each, [item])), None)
    grid = Section("Its orders, as they are counted now", _table_of_edges(sight).grid(item.edges, sight.query))
    sections = _untold(item) if told is None else report_of(told, seen, item)
    return Page(f"Inversion {item.key}", head(sight), (*sections, grid), notes(sight))


def _untold(item: Inversion) -> list[Section]:
    """Return what is known of an inversion of which there is no finding any more."""
    lines: list[Line] = [line for edge in item.edges for line in _told(edge)]
    sections = [Section(f"{count(len(item.edges), 'order')} that make a circle: {item.tier}", tuple(lines))]
    return [*sections, Section("Doubts", tuple(line(each) for each in item.reasons))] if item.reasons else sections


def _told(edge: Edge) -> list[Line]:
    often = f"    {told_times(edge.times)}" if edge.times else ""
    by = f", first by {edge.agent}" if edge.agent else ""
    lines = [line(Cell(f"{edge.first} → {edge.then}", "title"), f"{often}{by}")]
    for verb, name, site in (("holds", edge.first, edge.held_at), ("takes", edge.then, edge.wanted_at)):
        text = "" if site is None or not site.text else f"  {printable(site.text)}"
        lines.append(line(Cell(f"  {verb}  ", "dim"), Cell(name, "name"), Cell(f"  {place_in(site) or 'unknown'}", "site"), text))
    return lines
