"""advice(): each kind with its evidence, and silence where there is not enough of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from fastlock.advising import advice_from_dump
from order_events import arrow, dump, node


def kinds(nodes: dict[int, Any], edges: list[Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Kind and locks of each advice."""
    return [(each.kind, each.locks) for each in advice_from_dump(dump(nodes, edges))]


# ---- an owner with a queue


def busy(**more: Any) -> dict[int, Any]:
    """A lock of three threads that wait for it now and then, and another one that is taken under it now and then."""
    return {1: node("stock", **{"acquired": 200, "contended": 2, "consumers": 3, **more}), 2: node("audit", 100)}


def test_a_contended_nested_lock_of_many_wants_an_owner() -> None:
    """More than two consumers, nested use and contention together, with the numbers."""
    (found,) = advice_from_dump(dump(busy(), [arrow(1, 2, 50)]))
    assert (found.kind, found.locks) == ("owner-task", ("stock",))
    assert found.evidence == {"consumers": 3, "acquired": 200, "contended": 2, "nested with": 1}
    assert str(found) == (
        "stock: 3 threads contend for it, with other locks held: let one owner thread have what it guards, "
        "and the others send it requests through a queue (consumers 3, acquired 200, contended 2, nested with 1)"
    )


def test_consumers_are_counted_up_to_five() -> None:
    """The core stops counting, and the text says so."""
    assert "5 or more threads" in advice_from_dump(dump(busy(consumers=5), [arrow(2, 1, 1)]))[0].text


@pytest.mark.parametrize(
    "change", [{"consumers": 2}, {"contended": 0}, {"contended": 1}, {"acquired": 19}, {"kind": "Semaphore"}, {"kind": "RWLock"}], ids=str
)
def test_without_one_of_these_there_is_no_owner(change: dict[str, Any]) -> None:
    """Two consumers, little contention, few acquires or shared use are no reason."""
    assert kinds(busy(**change), [arrow(1, 2, 50)]) == []


def test_a_lock_used_alone_needs_no_owner() -> None:
    """Contention without nested use is what a lock is for."""
    assert kinds(busy(), []) == []


# ---- always under another one


def test_a_lock_always_under_another_is_redundant() -> None:
    """Its acquires are those of its one order, and the outer lock excludes everybody."""
    nodes = {1: node("outer", 90), 2: node("inner", 40)}
    (found,) = advice_from_dump(dump(nodes, [arrow(1, 2, 40)]))
    assert (found.kind, found.locks) == ("redundant", ("outer", "inner"))
    assert found.evidence == {"acquired inner": 40, "under outer": 40, "acquired outer": 90}
    assert str(found).startswith("inner was always taken under outer, which excludes everybody already (acquired inner 40")


def test_locks_always_taken_together_could_be_one() -> None:
    """The order's count is that of both locks."""
    assert kinds({1: node("left", 40), 2: node("right", 40)}, [arrow(1, 2, 40)]) == [("merge", ("left", "right"))]


def test_a_pair_for_each_object_could_be_one() -> None:
    """Many locks of each class, pair by pair, as attributes of one class are."""
    nodes = {1: node("left", 40, live=7), 2: node("right", 40, live=7)}
    assert kinds(nodes, [arrow(1, 2, 40)]) == [("merge", ("left", "right"))]


@pytest.mark.parametrize(
    ("outer", "inner", "count"),
    [
        ({}, {"acquired": 41}, 40),
        ({}, {"acquired": 19}, 19),
        ({"live": 2}, {}, 40),
        ({"kind": "RWLock"}, {}, 40),
        ({"acquired": 40, "live": 2}, {}, 40),
    ],
    ids=["once alone", "too few", "many outer locks", "outer lock is shared", "many outer locks, one inner"],
)
def test_without_certainty_nothing_is_redundant(outer: dict[str, Any], inner: dict[str, Any], count: int) -> None:
    """An acquire without the outer lock, or an outer lock that does not exclude everybody, ends it."""
    nodes = {1: node("outer", **{"acquired": 90, **outer}), 2: node("inner", **{"acquired": 40, **inner})}
    assert kinds(nodes, [arrow(1, 2, count)]) == []


def test_two_outer_classes_are_no_order() -> None:
    """A lock that is taken under either of two others is needed."""
    nodes = {1: node("a", 90), 2: node("b", 90), 3: node("inner", 40)}
    assert kinds(nodes, [arrow(1, 3, 20), arrow(2, 3, 20)]) == []


def test_locks_of_one_class_are_not_redundant() -> None:
    """A class under itself is a transfer between two of its locks."""
    assert kinds({1: node("account", 40, live=1)}, [arrow(1, 1, 40)]) == []


def test_an_empty_graph_has_no_advice() -> None:
    """Nothing is said about what was not seen."""
    assert advice_from_dump(dump({}, [])) == []


def test_advice_is_sorted_and_frozen() -> None:
    """The same graph tells the same, in one order."""
    nodes = {1: node("z", 40), 2: node("y", 40), 3: node("x", 90, 9, 4), 4: node("w", 30)}
    edges = [arrow(1, 2, 40), arrow(3, 4, 30)]
    assert kinds(nodes, edges) == [("merge", ("z", "y")), ("owner-task", ("x",)), ("redundant", ("x", "w"))]
    found = advice_from_dump(dump(nodes, edges))[0]
    with pytest.raises(FrozenInstanceError):
        found.kind = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.evidence["acquired"] = 1  # type: ignore[index]
