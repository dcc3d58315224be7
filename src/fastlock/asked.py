"""What the console asks a process for, beside the table that it reads itself: its lock classes, and the order of its locks. See answers.py.

An answer is worked out in slices of two milliseconds, between which other threads have the GIL, is given up where a fork waits for it, and has limits on time, rows and
bytes; what is left out is said. Nothing is kept between two questions. Runs in the listener's thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from fastlock import _asked, _core, _delays, _listen, config, measures, order
from fastlock.assemble import source_site
from fastlock.findings import Site

SLICE_NS = 2_000_000
NAP_S = 0.0002  # to sleep for nothing would give the GIL to nobody: who waits for it has yet to wake
LIMIT_S = 1.2
MOST_CLASSES = 1000
MOST_CIRCLES = 64
MOST_EDGES = 400
MOST_BYTES = 240_000  # of the rows of an answer; the whole is at most 256 KiB
_MOST_RECORDS = 500  # of waits, in one slice
_MOST_TEXT = 200  # characters of a source line
_MOST_PATH = 1000  # of a file's name, or a function's


class Refused(Exception):
    """A request that makes no sense, or cannot be answered now; the message goes back to who made it."""


class Interrupted(Exception):
    """The thread that answers is to end, for a fork or for good: who has asked is to ask again."""


def shown(value: object) -> str:
    """A value of the request's, short enough to be said back."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def require_only(request: Mapping[str, Any], *known: str) -> None:
    """Refuse a request that has more in it than what is known."""
    strange = sorted(request.keys() - {"fastlock", "do", "by_ns", *known})
    if strange:
        raise Refused(f"unknown in a request for {request['do']}: {shown(strange[0])}")


class Turns:
    """The slices of one answer."""

    def __init__(self) -> None:
        self._end = time.monotonic() + LIMIT_S
        self._listens = _listen.is_running()

    def through(self, go_on: Callable[[int], bool]) -> bool:
        """Call go_on(ns) until it returns False, and let others run between; whether it has come to its end in time."""
        while go_on(SLICE_NS):
            if not self.next():
                return False
        return True

    def next(self) -> bool:
        """Let others run; whether there is time left."""
        if self._listens and not _listen.is_running():
            raise Interrupted
        time.sleep(NAP_S)
        return time.monotonic() < self._end


class Room:
    """How many bytes an answer may still grow by."""

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def fits(self, row: Any) -> bool:
        """Whether there is room for a row, which then is taken."""
        size = len(json.dumps(row)) + 2
        if size > self._left:
            return False
        self._left -= size
        return True

    def of(self, rows: Iterable[Any]) -> list[Any]:
        """Return the first rows that there is room for."""
        kept: list[Any] = []
        for row in rows:
            if not self.fits(row):
                break
            kept.append(row)
        return kept


def site_facts(site: Site | None) -> dict[str, Any] | None:
    """Return a site as builtins, of bounded length."""
    if site is None:
        return None
    return {"file": site.file[-_MOST_PATH:], "line": site.line, "function": site.function[-_MOST_PATH:], "text": site.text[:_MOST_TEXT]}


# ---- classes --------------------------------------------------------------------------------------------------------

_Key = Any  # of a class, as _delays has it


def classes(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with the lock classes, the most contended first: how many locks of each live, and how they were waited for."""
    require_only(request)
    turns = Turns()
    waits = _waits(turns)
    instances = _asked.Instances()
    counted = turns.through(instances.go_on)
    living = instances.by_key if counted else {}
    keys = sorted({*waits, *living} - {None}, key=lambda key: (-waits[key].contentions if key in waits else 0, -living.get(key, 0)))
    rows: dict[str, dict[str, Any]] = {}
    if None in waits:
        rows[""] = _class_row(measures.OTHER, "", None, waits[None], apart=True)
    named = 0
    for key in keys[:MOST_CLASSES]:
        name, kind = _asked.class_of_key(key)
        row = _class_row(name, kind, living.get(key, 0) if counted else None, waits.get(key), apart=None not in waits)
        rows[name] = _together(rows[name], row) if name in rows else row
        named += 1
        if named % 100 == 0 and not turns.next():
            break
    kept = Room().of(rows.values())
    turns.next()
    return {"classes": kept, "cut": len(keys) - named + len(rows) - len(kept)}


def _waits(turns: Turns) -> dict[_Key, measures.ClassWaits]:
    waits: dict[_Key, measures.ClassWaits] = {}
    start = 0
    while True:
        records, start = _delays.delays_from(start, _MOST_RECORDS)
        for key, contentions, ended, waited_ns in records:
            waits[key] = measures.class_waits("", contentions, ended, waited_ns)
        if start == 0 or not turns.next():
            return waits


def _class_row(name: str, kind: str, instances: int | None, waits: measures.ClassWaits | None, *, apart: bool) -> dict[str, Any]:
    """Return a class's row; of one that has no record, its waits are none, or not known `apart` from others'."""
    none = 0 if apart else None
    return {
        "name": name,
        "kind": kind,
        "instances": instances,
        "contentions": none if waits is None else waits.contentions,
        "waits": none if waits is None else waits.count,
        "waited_s": none if waits is None else round(waits.sum_s, 9),
        "buckets": [] if waits is None else waits.buckets,
    }


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a class that two lines make, as when a name is used twice; the kind is that of the more contended."""
    summed = {key: one[key] if other[key] is None else other[key] if one[key] is None else one[key] + other[key] for key in ("instances", "contentions", "waits", "waited_s")}
    both = one["buckets"] and other["buckets"]
    buckets = [(bound, a + b) for (bound, a), (_, b) in zip(one["buckets"], other["buckets"])] if both else one["buckets"] or other["buckets"]
    return {**one, **summed, "buckets": buckets}


# ---- the order of locks -------------------------------------------------------------------------------------------------


def orders(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with the order graph as fastlock.order_graph() has it: circles first, then the most frequent orders."""
    require_only(request)
    excerpt = _asked.Orders(MOST_CIRCLES, MOST_EDGES)
    turns, room = Turns(), Room()
    turns.through(excerpt.go_on)
    facts = excerpt.facts()
    turns.next()
    graph = order.graph_from_dump(facts, _place)
    turns.next()
    cycles = room.of(map(_cycle_row, graph.cycles()))
    inside = {(edge["first"], edge["then"]) for cycle in cycles for edge in cycle["edges"]}
    listed = sorted(graph.edges(), key=lambda edge: ((edge.first, edge.then) not in inside, -edge.count))
    edges = room.of(map(_edge_row, listed))
    turns.next()
    named = {edge[end] for edge in edges for end in ("first", "then")}.union(*(cycle["classes"] for cycle in cycles))
    return {
        "level": config.level(),
        "cycles": cycles,
        "edges": edges,
        "classes": room.of(_node_rows(facts["nodes"].values(), named)),
        "filtered": dict(graph.filtered),
        "full": graph.full,
        "size_bytes": graph.size_bytes,
        "whole": facts["whole"],
        "cut": {"edges": facts["cut"]["edges"] + len(listed) - len(edges), "cycles": facts["cut"]["circles"] + len(graph.cycles()) - len(cycles)},
    }


def _place(number: int) -> Site | None:
    """Return a site without its source: to read that of hundreds would leave it in the process's memory."""
    raw = _core.site(number) if number else None
    return None if raw is None else Site(raw[0], raw[1], raw[2], "")


def _edge_row(edge: order.OrderEdge) -> dict[str, Any]:
    return {**vars(edge), "held_at": site_facts(edge.held_at), "wanted_at": site_facts(edge.wanted_at)}


def _cycle_row(cycle: order.OrderCycle) -> dict[str, Any]:
    """Return a circle, with the source of its lines: those of one that has been reported are in memory already."""
    edges = (replace(edge, held_at=_with_text(edge.held_at), wanted_at=_with_text(edge.wanted_at)) for edge in cycle.edges)
    return {**vars(cycle), "edges": [_edge_row(edge) for edge in edges]}


def _with_text(site: Site | None) -> Site | None:
    return None if site is None else source_site(site.file, site.line, site.function)


def _node_rows(nodes: Iterable[Mapping[str, Any]], named: set[str]) -> list[dict[str, Any]]:
    """Return the classes of these names; nodes of one name, such as the instances of a class, are one."""
    rows: dict[str, dict[str, Any]] = {}
    for node in nodes:
        name = node["class"]
        if name in named:
            row = rows.setdefault(name, {"name": name, "kind": node["kind"], "live": 0, "acquired": 0, "contended": 0})
            for key in ("live", "acquired", "contended"):
                row[key] += node[key]
    return list(rows.values())
