"""What ``fastlock run --level order`` ends with: what was learned of the order of locks, on standard error or in a file."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence

from fastlock import _core, config, stderr, suppression, watchdog
from fastlock.advising import Advice, advice_from_dump
from fastlock.assemble import Sites, failure, process_name
from fastlock.findings import Finding
from fastlock.order import OrderGraph, dump, graph_from_dump
from fastlock.reporting import fact, printable, times

_SHOWN = 5  # circles, and pieces of advice
_PREVENTED: Mapping[str, str] = {
    "agents": "done by one agent alone",
    "gate": "under a common lock",
    "happens-before": "ordered by start or join",
    "shared": "of readers that let each other in",
}
_CUT_SHORT = "budget"  # of the search: nothing prevents these, nor is it known that they can happen
_pid = 0  # of the process that tells; 0 when it has told


def start() -> None:
    """Have the summary written at the end of this process; once, at import, where the environment asks for it."""
    global _pid
    _pid = os.getpid()
    atexit.register(_at_exit)
    watchdog.before_exit(_tell)


def _at_exit() -> None:
    watchdog.flush()  # what was found comes before what it comes to
    _tell()


def _tell() -> None:
    global _pid
    # A child of a fork has inherited the registration, and a policy may end a process that is ending already.
    told, _pid = _pid != os.getpid(), 0
    if told:
        return
    try:
        facts = dump()
        graph = graph_from_dump(facts, Sites(_core.site))
        lines = summary(graph, advice_from_dump(facts), watchdog.findings())
        stderr.write("\n".join([*lines, *_save(graph), ""]))
    except Exception:
        stderr.write(f"fastlock: the summary failed\n{failure()}")


def _save(graph: OrderGraph) -> list[str]:
    path = config.ending().order_graph
    if path is None:
        return []
    try:
        graph.save(path)
    except OSError as exc:
        return [f"fastlock: cannot save the order graph in {path}: {exc.strerror}"]
    return fact("Order graph", f"saved in {path}")


def summary(graph: OrderGraph, advice: Sequence[Advice], findings: Sequence[Finding]) -> list[str]:
    """Return the lines of the summary."""
    edges, cycles = graph.edges(), graph.cycles()
    taken = sum(edge.count for edge in edges)
    between = f", with {_count(len(edges), 'order')} between them, taken {times(taken)}" if edges else ""
    facts = [("Classes", f"{len(graph.classes):,}{between}" if edges else "no lock was taken under another one")]
    tiers = [cycle.tier for cycle in cycles]
    told = ", ".join(f"{tiers.count(tier):,} {tier}" for tier in ("high", "possible") if tier in tiers)
    facts.append(("Circles", told or "none"))
    for cycle in cycles[:_SHOWN]:
        facts.append(("", f"{cycle.tier}: {' → '.join([*cycle.classes, *cycle.classes[:1]])}"))
    facts += _more(len(cycles), "fastlock.order_graph().cycles()")
    facts += [("Filtered", _filtered(graph.filtered)), ("Reported", _reported(findings))]
    facts.append(("Suppressed", suppression.told().removeprefix("suppressed ")))
    facts.append(("Full", "the tables are full: what was new after that is not in here" if graph.full else ""))
    facts += [("Advice" if at == 0 else "", str(each)) for at, each in enumerate(advice[:_SHOWN])]
    facts += _more(len(advice), "fastlock.advice()")
    head = f"fastlock: the order of locks in {process_name()}, pid {os.getpid()}"
    return [printable(line) for line in [head, *(line for label, text in facts if text for line in fact(label, text))]]


def _more(number: int, where: str) -> list[tuple[str, str]]:
    return [("", f"and {number - _SHOWN:,} more, see {where}")] if number > _SHOWN else []


def _filtered(filtered: Mapping[str, int]) -> str:
    parts = [f"{number:,} {_PREVENTED.get(name, name)}" for name, number in filtered.items() if number and name != _CUT_SHORT]
    number = sum(number for name, number in filtered.items() if name != _CUT_SHORT)
    told = [f"{_count(number, 'circle')} that cannot happen: {', '.join(parts)}"] if parts else []
    cut = filtered.get(_CUT_SHORT, 0)
    return "; ".join([*told, f"{_count(cut, 'circle')} whose search was cut short"] if cut else told)


def _reported(findings: Sequence[Finding]) -> str:
    known = [f"{each.code} {each.tier}, report {each.fingerprint[:6]}" for each in findings if each.code in suppression.CODES]
    more = f"; and {len(known) - _SHOWN:,} more" if len(known) > _SHOWN else ""
    return "; ".join(known[:_SHOWN]) + more


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
