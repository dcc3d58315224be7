"""The order of nodes under insertion and removal, against plain reachability."""

from __future__ import annotations

import random

import pytest

from fastlock import _graph_py as g

OPERATIONS = 100_000


class Naive:
    """Sets of successors, and a search."""

    def __init__(self) -> None:
        self.out: dict[int, set[int]] = {}

    def reaches(self, start: int, target: int) -> bool:
        seen, todo = {start}, [start]
        while todo:
            for n in self.out[todo.pop()]:
                if n == target:
                    return True
                if n not in seen:
                    seen.add(n)
                    todo.append(n)
        return False


def check(order: g.Order, naive: Naive, edges: list[tuple[int, int]]) -> None:
    assert order.fault() is None
    on_circles = [(a, b) for a, b in edges if naive.reaches(b, a)]
    assert all(order.together(a, b) and order.reaches(b, a) for a, b in on_circles)
    assert all(order.together(a, b) or order.rank(a) < order.rank(b) for a, b in edges)
    # Components are taken apart late where they are large: an edge may be taken for one on a circle then, but is not judged so.
    assert len(on_circles) <= order.cyclic()
    assert all(not order.together(a, b) or not order.reaches(b, a) for a, b in set(edges) - set(on_circles))


@pytest.mark.parametrize("nodes, density", [(6, 0.5), (30, 0.8), (30, 2.0), (300, 1.5)])
def test_random_operations(nodes: int, density: float) -> None:
    """100,000 insertions and removals of nodes and edges leave order and components true; circles come and go."""
    seed = nodes * 1000 + int(density * 10)
    rng = random.Random(seed)
    order, naive = g.Order(2 * nodes, 100 * nodes), Naive()
    alive = [order.node() for _ in range(nodes)]
    naive.out = {n: set() for n in alive}
    edges: list[tuple[int, int]] = []
    for step in range(OPERATIONS):
        dice = rng.random()
        if dice < 0.001:
            gone = alive.pop(rng.randrange(len(alive)))
            order.drop_node(gone)
            edges = [e for e in edges if gone not in e]
            del naive.out[gone]
            for successors in naive.out.values():
                successors.discard(gone)
            alive.append(order.node())
            naive.out[alive[-1]] = set()
        elif rng.random() * density * nodes * 2 > len(edges):
            a, b = rng.sample(alive, 2)
            if b not in naive.out[a]:
                assert order.insert(a, b), f"seed {seed}, step {step}"
                naive.out[a].add(b)
                edges.append((a, b))
        elif edges:
            i = rng.randrange(len(edges))
            edges[i], edges[-1] = edges[-1], edges[i]
            a, b = edges.pop()
            order.remove(order.find(a, b))
            naive.out[a].discard(b)
        if step % (200 if nodes < 100 else 5000) == 0:
            check(order, naive, edges)
    check(order, naive, edges)


def test_sliding_windows() -> None:
    """131,072 nodes, of which each leads to those before it for a while and then goes: the order holds, nothing is left behind."""
    total, window, reach = 131_072, 64, 4
    order = g.Order(window + reach + 1, (window + reach + 1) * reach)
    nodes = [order.node() for _ in range(window)]
    for i in range(total - window):
        for j in range(1, reach + 1):
            # Against the order in which the nodes came: each insertion moves some.
            assert order.insert(nodes[-1], nodes[-1 - j]) or i == 0
        order.drop_node(nodes.pop(0))
        nodes.append(order.node())
        if i % 8192 == 0:
            assert order.fault() is None
    assert order.fault() is None
    assert order.cyclic() == 0


def test_shuffled_dag() -> None:
    """The edges of an acyclic graph close no circle in any sequence; one edge back closes one."""
    rng = random.Random(7)
    for size in (10, 100, 400):
        order = g.Order(size, size * size)
        nodes = [order.node() for _ in range(size)]
        rng.shuffle(nodes)
        chain = [(nodes[i], nodes[i + 1]) for i in range(size - 1)]
        more = [tuple(nodes[k] for k in sorted(rng.sample(range(size), 2))) for _ in range(size * 5)]
        edges = list({*chain, *more})
        rng.shuffle(edges)
        for a, b in edges:
            assert order.insert(a, b)
        assert (order.cyclic(), order.fault()) == (0, None)
        back = order.insert(nodes[-1], nodes[0])
        assert order.cyclic() == len(edges) + 1  # the chain leads through all of them
        assert order.reaches(nodes[0], nodes[-1])
        order.remove(back)
        assert order.fault() is None
        assert all(order.rank(a) < order.rank(b) or not order.reaches(b, a) for a, b in edges)


def test_full() -> None:
    """Where there is no room the answer is 0, and what is there stays true."""
    order = g.Order(3, 2)
    a, b, c = order.node(), order.node(), order.node()
    assert order.node() == 0
    assert order.insert(c, b) and order.insert(b, a)
    assert order.insert(c, a) == 0
    assert order.fault() is None
