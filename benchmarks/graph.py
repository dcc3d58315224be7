"""What the lock-order graph costs as it grows: nanoseconds for a new edge and for a known one, bytes for each.

    python benchmarks/graph.py [--rounds N]

Edges of a random acyclic graph come in random sequence, from one agent that holds one lock each time, so that an edge is an edge
and a witness. "Created in order" are programs whose locks are made in about the order in which they are taken; "at random" is the
worst case, where half of the first edges go against the order of the nodes. In "tangled" one edge of a thousand is turned round.
A known edge is a key that graph_seen finds, among all keys of that graph. The contract: 2 µs and 6 ns.
"""

from __future__ import annotations

import argparse
import random
import statistics
from array import array

from fastlock import _graph_py

CASES = [
    (100, 1_000, "in order"),
    (100, 4_000, "at random"),
    (1_000, 10_000, "in order"),
    (1_000, 10_000, "at random"),
    (1_000, 100_000, "at random"),
    (10_000, 100_000, "in order"),
    (10_000, 100_000, "at random"),
    (10_000, 100_000, "tangled"),
]


def random_edges(nodes: list[int], count: int, rng: random.Random, turned: float) -> array[int]:
    """That many different edges along the list of nodes, in random sequence, a few of them turned round."""
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < count:
        i, j = sorted(rng.sample(range(len(nodes)), 2))
        pairs.add((nodes[i], nodes[j]))
    shuffled = sorted(pairs)
    rng.shuffle(shuffled)
    return array("I", [n for a, b in shuffled for n in ((b, a) if rng.random() < turned else (a, b))])


def measure(classes: int, count: int, kind: str, seed: int) -> tuple[float, float, float]:
    """Nanoseconds for a new edge and for a known one, and bytes for an edge with its witness."""
    rng = random.Random(seed)
    graph = _graph_py.Graph(classes, count)
    nodes = [graph.node() for _ in range(classes)]
    before = graph.stats()["bytes"]
    if kind != "in order":
        rng.shuffle(nodes)
    edges = random_edges(nodes, count, rng, 0.001 if kind == "tangled" else 0)
    new_ns = graph.time_learning(edges) / count
    stats = graph.stats()
    assert stats["edges"] == count and not stats["full"]
    keys = array("Q", [rng.getrandbits(64) for _ in range(count)])
    for number, key in enumerate(keys):
        graph.remember(key, 1 << 40 | number + 1)
    hot = keys[:1000]  # what a program does again and again
    known_ns, missing = graph.time_seen(hot, 200)
    assert missing == 0
    return new_ns, known_ns / (200 * len(hot)), (stats["bytes"] - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{'classes':>8} {'edges':>8}  {'nodes':<10} {'new, ns':>9} {'worst':>7} {'known, ns':>10} {'bytes':>7}")
    for classes, count, kind in CASES:
        measured = [measure(classes, count, kind, seed) for seed in range(rounds)]
        new, known, size = (statistics.median(column) for column in zip(*measured))
        worst = max(row[0] for row in measured)
        print(f"{classes:>8} {count:>8}  {kind:<10} {new:>9.0f} {worst:>7.0f} {known:>10.1f} {size:>7.0f}")


if __name__ == "__main__":
    main()
