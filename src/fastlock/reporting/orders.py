"""The sentences about an inversion, and what fixes of circles have in common with them: orders of two locks."""

from __future__ import annotations


from fastlock.findings import EdgeFact, Finding, OrderFact, Site
from fastlock.fingerprints import classes_of
from fastlock.reporting import Labels, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Order = tuple[tuple[str, str], tuple[str, str]]  # two classes, as class_of() has them


def orders_of(finding: Finding) -> tuple[OrderFact, ...]:
    """Return the orders of an inversion; where only its edges are known, with a count of 0."""
    if finding.orders:
        return finding.orders
    return tuple(
        OrderFact(edge.holds, edge.waits, edge.held_at, edge.wanted_at, 0, "", edge.agent)
        for edge in finding.told.edges
        if edge.holds is not None and edge.waits is not None
    )


def explain(finding: Finding, names: Labels) -> str:
    """Return what was done in which order where, and what may come of it."""
    orders = orders_of(finding)
    if len(orders) == 2:
        one, two = (f"{names.lock(o.first)} → {names.lock(o.then)} ({_both_sites(o, names)})" for o in orders)
        told = f"two orders exist, {one} and {two}"
    else:
        path = [names.lock(order.first) for order in orders[:6]]
        more = [f"{len(orders) - 6:,} more"] if len(orders) > 6 else []
        told = f"{len(orders):,} orders make a circle, {' → '.join([*path, *more, *path[:1]])}"
    return f"{told}; nobody is stuck, but agents that do all of this at once wait for each other for ever."


def _both_sites(order: OrderFact, names: Labels) -> str:
    often = f": {times(order.count)}" if order.count else ""
    return f"{names.site(order.held_at)}, then {names.site(order.wanted_at)}{often}"


def fix(finding: Finding, names: Labels) -> str:
    """Return which line should take which lock first."""
    orders = _by_rank(finding, names)
    if not orders:
        return "take these locks in one order everywhere"
    turned, others = orders[0], orders[1:]
    of_one_class = all_of_one_class(finding, turned.held_at, names)
    if of_one_class is not None:
        return of_one_class
    first = turn(turned, names)
    if len(others) == 1 and turned.held_at is not None and others[0].held_at is not None:
        first += f", as {names.site(others[0].held_at)} does"
    # Advice that was given before stands, whatever has become of the counts: then they speak for nothing.
    if not others or turned.count >= others[0].count:
        return first
    most = times(others[0].count) if len(others) == 1 else f"{times(others[0].count)} and more"
    return f"{first}: this order was taken {times(turned.count)}, the other{'' if len(others) == 1 else 's'} {most}"


def turn(order: OrderFact, names: Labels) -> str:
    """Return the advice to turn an order round, without what speaks for it."""
    where = "everywhere" if order.held_at is None else f"in {names.site(order.held_at)}"
    return f"{where} take {names.lock(order.then)} before {names.lock(order.first)}"


def _by_rank(finding: Finding, names: Labels) -> list[OrderFact]:
    # The rarer order adapts to the more frequent one: fewer callers rely on it.
    said = turns_as_said(finding)
    return sorted(orders_of(finding), key=lambda o: (not said(o.first, o.then), o.count, effort(o, names)))


def turned(finding: Finding, names: Labels) -> OrderFact | None:
    """Return the order of an inversion that the fix turns round."""
    return next(iter(_by_rank(finding, names)), None)


def turns_as_said(finding: Finding) -> Callable[[int | None, int | None], bool]:
    """Return what tells whether an order of two locks is the one that was said to be turned round."""
    classes = classes_of(finding)

    def is_turned(first: int | None, then: int | None) -> bool:
        return first is not None and then is not None and finding.turns == (classes.get(first), classes.get(then))

    return is_turned


def all_of_one_class(finding: Finding, held: Site | None, names: Labels) -> str | None:
    """Return the fix for locks of one class, which no order of names can help, or None where they are of several."""
    if len(finding.locks) < 2 or len({lock.lock_class for lock in finding.told.locks}) > 1:
        return None
    both = "both locks" if len(finding.locks) == 2 else "all locks"
    module = "fastlock.aio" if all(agent.kind == "task" for agent in finding.told.agents) else "fastlock"
    return f"take {both} in {names.site(held)} by one {module}.acquire_all(...), which has one order for everybody"


def effort(fact: EdgeFact | OrderFact, names: Labels) -> tuple[int, str, str]:
    """Return how hard it is to exchange two lines, least where both are in one function; comparable whatever the start."""
    held, wanted = fact.held_at, fact.wanted_at
    unknown = held is None or wanted is None
    apart = held is None or wanted is None or (held.file, held.function) != (wanted.file, wanted.function)
    return unknown + apart, names.site(held), names.site(wanted)
