"""The lock-order graph by hand: what makes a circle, what excuses it, and what is forgotten when."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fastlock import _graph_py as g

E = g.EVIDENCE
Answer = tuple[int, "dict[str, Any] | None"]


class Scene:
    """Locks a, b, c, … with a class each; acquire("ab", agent) wants b while a is held."""

    def __init__(self, **options: int) -> None:
        self.graph = g.Graph(**options)
        self.nodes: dict[str, int] = {}

    def lock(self, name: str, flags: int) -> tuple[int, int, int]:
        if name not in self.nodes:
            self.nodes[name] = self.graph.node()
        return ord(name), self.nodes[name], flags

    def acquire(self, names: str, agent: int, *, held: int = E, want: int = 0, **more: Any) -> Answer:
        stack = [self.lock(name, held) for name in names]
        return self.graph.learn(agent, (*stack[-1][:2], want), stack[:-1], **more)

    def filtered(self) -> dict[str, int]:
        return {name: n for name, n in self.graph.stats()["filtered"].items() if n}


def found(answer: Answer) -> tuple[str, set[str]] | None:
    """Tier and doubts of the circle in an answer."""
    code, circle = answer
    assert (code == g.FOUND) == (circle is not None)
    return None if circle is None else (circle["tier"], set(circle["doubts"]))


HIGH: tuple[str, set[str]] = ("high", set())


def test_two_orders() -> None:
    """Two agents, two orders, one after the other: a circle, told once, with who and where."""
    s = Scene()
    assert s.acquire("ab", 1, name="first", wall_s=5.0)[0] == g.LEARNED
    code, circle = s.acquire("ba", 2, name="second")
    assert code == g.FOUND and circle is not None
    assert [(link["from_serial"], link["to_serial"], link["name"]) for link in circle["links"]] == [
        (ord("b"), ord("a"), "second"),
        (ord("a"), ord("b"), "first"),
    ]
    assert circle["links"][1]["first_s"] == 5.0
    assert s.acquire("ba", 2)[0] == g.KNOWN
    assert s.acquire("ba", 3)[0] == g.LEARNED
    assert [c["tier"] for c in s.graph.circles()] == ["high"]


@pytest.mark.parametrize("orders", ["ab bc ca", "ab bc cd da", "ab cd bc da", "ab ac bc ca"])
def test_longer_circles(orders: str) -> None:
    """One agent for each edge: the last edge closes the circle, whatever the sequence."""
    s = Scene()
    answers = [s.acquire(order, agent) for agent, order in enumerate(orders.split())]
    assert [found(a) for a in answers] == [None] * (len(answers) - 1) + [HIGH]


def test_sixteen_links_and_no_more() -> None:
    """A circle of sixteen is found, one of seventeen is not looked for."""
    for length, expected in ((16, HIGH), (17, None)):
        s = Scene()
        names = [chr(ord("a") + i) for i in range(length)]
        answers = [s.acquire(names[i - 1] + names[i], i + 1) for i in range(length)]
        assert found(answers[-1]) == expected


def test_one_agent_is_no_circle() -> None:
    """The same thread in both orders is filtered; another one opens it, on either side."""
    s = Scene()
    s.acquire("ab", 1)
    assert s.acquire("ba", 1)[0] == g.WATCHED
    assert s.filtered() == {"agents": 1}
    assert s.acquire("ba", 1)[0] == g.WATCHED
    assert found(s.acquire("ab", 2)) == HIGH
    assert s.filtered() == {}


def test_implied_edges_keep_one_agent_apart() -> None:
    """A and B held, C wanted, against A wanted under C: two agents, though the edges A-B-C would say one twice."""
    s = Scene()
    s.acquire("ab", 1)
    s.acquire("abc", 1)
    answer = s.acquire("ca", 2)
    assert found(answer) == HIGH and answer[1] is not None
    assert len(answer[1]["links"]) == 2


def test_jobs_of_a_pool() -> None:
    """One worker in two jobs counts as two agents; without a job, or in one, it does not."""
    for first, second, expected in ((1, 2, HIGH), (1, 1, None), (0, 1, None)):
        s = Scene()
        s.acquire("ab", 1, job=first)
        assert found(s.acquire("ba", 1, job=second)) == expected


def test_gate() -> None:
    """A lock that both hold keeps them apart; one witness without it opens the circle."""
    s = Scene()
    s.acquire("gab", 1)
    assert found(s.acquire("gba", 2)) is None
    assert s.filtered() == {"gate": 1}
    assert found(s.acquire("ba", 2)) == HIGH


def test_a_gate_that_is_shared() -> None:
    """Two readers of the gate overlap; a reader and a writer do not."""
    for first, second, expected in ((g.SHARED, g.SHARED, HIGH), (g.SHARED, 0, None)):
        s = Scene()
        for names, agent, mode in (("gab", 1, first), ("gba", 2, second)):
            stack = [s.lock("g", E | mode), s.lock(names[1], E)]
            answer = s.graph.learn(agent, s.lock(names[2], 0), stack)
        assert found(answer) == expected


def test_happens_before() -> None:
    """What was over before the other began is filtered; the same order later opens it."""
    s = Scene()
    main = s.graph.clock()
    s.acquire("ab", 1, clock=main)
    child, later = s.graph.clock(main), s.graph.clock(main)
    assert s.acquire("ba", 2, clock=child)[0] == g.WATCHED
    assert s.filtered() == {"happens-before": 1}
    assert found(s.acquire("ab", 1, clock=later)) == HIGH


@pytest.mark.parametrize(
    "held, want, doubts",
    [(E, g.TIMED, {"timed"}), (0, 0, {"evidence"}), (0, g.TIMED, {"evidence", "timed"}), (E, g.REACQUIRE, set())],
)
def test_doubts(held: int, want: int, doubts: set[str]) -> None:
    """A time limit, or no proof that holders release, makes it possible; a witness without the doubt makes it high."""
    s = Scene()
    s.acquire("ab", 1)
    assert found(s.acquire("ba", 2, held=held, want=want)) == (("possible", doubts) if doubts else HIGH)
    assert found(s.acquire("ba", 2)) == (HIGH if doubts else None)


def test_instances() -> None:
    """Classes generalise: where the lock wanted is not the very one that is held, the circle is possible."""
    s = Scene()
    s.acquire("ab", 1)
    a, b = s.nodes["a"], s.nodes["b"]
    assert found(s.graph.learn(2, (900, a, 0), [(ord("b"), b, E)])) == ("possible", {"instances"})
    assert found(s.graph.learn(2, (ord("a"), a, 0), [(ord("b"), b, E)])) == HIGH


def test_locks_of_one_class() -> None:
    """Two accounts in both orders are a circle of instances; in one order, or sanctioned, they are none."""
    for second, flags, expected in ((("y", "x"), 0, HIGH), (("y", "z"), 0, None), (("y", "x"), g.NESTED, None)):
        graph = g.Graph()
        node = graph.node()
        graph.learn(1, (ord("y"), node, flags), [(ord("x"), node, E)])
        held, want = map(ord, second)
        assert found(graph.learn(2, (want, node, flags), [(held, node, E)])) == expected
        assert graph.edges() == []  # classes only
        if flags:
            assert graph.stats()["edges"] == 0


def test_readers() -> None:
    """Recursive readers never wait for readers; others do behind a writer, which has to exist."""
    s = Scene()
    shared = {"held": E | g.SHARED, "want": g.SHARED}
    s.acquire("ab", 1, held=E | g.SHARED, want=g.SHARED | g.RECURSIVE)
    assert found(s.acquire("ba", 2, held=E | g.SHARED, want=g.SHARED | g.RECURSIVE)) is None
    assert s.filtered() == {"shared": 1}
    s.acquire("ab", 3, **shared)
    assert found(s.acquire("ba", 4, **shared)) == ("possible", {"writer"})
    s.graph.writer(s.nodes["a"])
    s.graph.writer(s.nodes["b"])
    assert found(s.acquire("ba", 5, **shared)) == HIGH


def test_try_locks() -> None:
    """A try-lock is no edge but is held: what lies under it is direct as far as the last lock that was waited for."""
    s = Scene()
    stack = [s.lock("a", E), s.lock("b", E), s.lock("t", E | g.TRY)]
    assert s.acquire("bt", 1, want=g.TRY)[0] == g.KNOWN
    s.graph.learn(1, s.lock("c", 0), stack)
    assert {(e["from"], e["to"]) for e in s.graph.edges()} == {(s.nodes["b"], s.nodes["c"]), (s.nodes["t"], s.nodes["c"])}
    assert s.graph.stats()["edges"] == 3
    assert s.graph.direct_edge != 0


def test_wanted_again() -> None:
    """What the agent already holds adds nothing."""
    s = Scene()
    assert s.acquire("aba", 1)[0] == g.KNOWN
    assert s.graph.stats()["edges"] == 0 and s.graph.direct_edge == 0


def test_retraction() -> None:
    """A refused acquire is as if it had never been: it finds the same circle each time."""
    s = Scene()
    s.acquire("ab", 1)
    for _ in range(3):
        assert found(s.acquire("ba", 2)) == HIGH
        s.graph.retract(s.graph.token)
        assert (s.graph.stats()["edges"], s.graph.circles()) == (1, [])
    s.graph.retract(0)
    s.graph.retract(12345 << 24 | 99)
    assert s.graph.stats()["edges"] == 1


def test_retraction_between_filtered_and_found() -> None:
    """What was filtered before is filtered again."""
    s = Scene()
    s.acquire("ab", 1)
    s.acquire("ba", 1)
    assert found(s.acquire("ba", 2)) == HIGH
    s.graph.retract(s.graph.token)
    assert s.filtered() == {"agents": 1}
    assert s.acquire("ba", 1)[0] == g.WATCHED


def test_foreign_release() -> None:
    """A signal lock leaves edges and circles, and is a gate no more: what it kept apart is told when it is seen again."""
    s = Scene()
    s.acquire("ab", 1)
    s.acquire("gab", 1)
    s.acquire("ba", 2)
    assert len(s.graph.circles()) == 1
    epoch = s.graph.epoch()
    s.graph.signal(ord("b"))
    assert s.graph.epoch() > epoch
    assert s.graph.circles() == []
    assert s.acquire("ba", 3)[0] == g.KNOWN
    s = Scene()
    s.acquire("gab", 1)
    s.acquire("gba", 2)
    s.graph.signal(ord("g"))
    assert found(s.acquire("gba", 2)) == HIGH


def test_a_dead_lock_leaves_nothing() -> None:
    """Edges of instances go with either of them, and with them circles; edges of classes stay."""
    graph = g.Graph()
    node, other = graph.node(), graph.node()
    for a, b, agent in ((1, 2, 1), (2, 1, 2), (2, 3, 1)):
        graph.learn(agent, (b, node, 0), [(a, node, E)])
    graph.learn(1, (9, other, 0), [(1, node, E)])
    assert (graph.stats()["edges"], len(graph.circles())) == (4, 1)
    graph.lock_died(1)
    assert (graph.stats()["edges"], graph.circles()) == (2, [])
    graph.lock_died(2)
    graph.lock_died(3)
    assert (graph.stats()["edges"], graph.stats()["nodes"]) == (1, 2)


def test_a_dead_class_keeps_what_it_connected() -> None:
    """Where a class goes, what came before it still comes before what came after."""
    s = Scene()
    s.acquire("ab", 1)
    s.acquire("bc", 2)
    s.graph.drop_node(s.nodes["b"])
    assert s.graph.stats()["edges"] == 1
    assert found(s.acquire("ca", 3)) == ("possible", {"instances"})


def test_full_tables_keep_checking() -> None:
    """Without room for an edge nothing is learned and nothing forgotten, and a circle is told all the same."""
    s = Scene(nodes=3, edges=2)
    s.acquire("ab", 1)
    s.acquire("bc", 1)
    assert not s.graph.stats()["full"]
    assert s.acquire("ac", 1)[0] == g.FULL
    assert s.graph.stats()["full"]
    for _ in range(2):
        assert found(s.acquire("cb", 2)) == HIGH
    assert s.graph.stats()["edges"] == 2
    assert s.graph.node() == 0
    assert s.graph.learn(1, (7, 0, 0), [(ord("a"), s.nodes["a"], E)])[0] == g.KNOWN


def test_many_witnesses_of_one_edge() -> None:
    """An agent that shows an edge over and over does not crowd out the one that comes late."""
    s = Scene()
    for i in range(40):
        s.acquire(f"{chr(200 + i)}ab", 1)
    assert s.graph.stats()["edges"] == 41
    s.acquire("ab", 2)
    assert found(s.acquire("ba", 1)) == HIGH
    for agent in range(3, 60):
        s.acquire("ab", agent)
    assert s.graph.stats()["witnesses"] <= 40 + 16 + 1


def test_saturation() -> None:
    """Four agents with the same locks held make an edge known to all who hold them."""
    s = Scene()
    seen = []
    for agent in (1, 1, 2, 3, 4, 5):
        s.acquire("ab", agent)
        seen.append(s.graph.saturated(s.graph.direct_edge))
    assert seen == [False, False, False, False, True, True]
    s.acquire("cab", 5)
    s.acquire("ab", 5)
    assert not s.graph.saturated(s.graph.direct_edge)


def test_seventy_locks_held() -> None:
    """Depth has no limit: each lock held gives an edge, and the set of them is a gate as any other."""
    s = Scene()
    names = "".join(chr(ord("a") + i) for i in range(70))
    s.acquire(names + "\u1000", 1)
    assert s.graph.stats()["edges"] == 70
    assert found(s.acquire("\u1000" + names[0], 2)) == HIGH
    assert found(s.acquire(names[5] + "\u1000" + names[60], 2)) is None


def test_counts() -> None:
    """An edge counts what it learned from and what callers add."""
    s = Scene()
    s.acquire("ab", 1)
    s.acquire("ab", 1)
    s.graph.count(s.graph.direct_edge, 40)
    assert [e["count"] for e in s.graph.edges()] == [42]


def test_what_is_counted_for_an_edge_that_has_gone() -> None:
    """It is not given to the edge that has taken the place, nor is that one taken for known or for saturated."""
    s = Scene()
    node = s.graph.node()
    for agent in (1, 2, 3, 4):
        s.graph.learn(agent, (2, node, 0), [(1, node, E)])
    gone = s.graph.direct_edge
    s.graph.remember(99, gone)
    assert s.graph.saturated(gone) and s.graph.count(gone, 5)
    s.graph.lock_died(1)
    assert not s.graph.count(gone, 40)
    s.acquire("ab", 1)
    again = s.graph.direct_edge
    assert again & 0xFFFFFFFF == gone & 0xFFFFFFFF and again != gone, "the same place, another edge"
    assert not s.graph.count(s.graph.seen(99), 40) and not s.graph.saturated(gone) and s.graph.count(again, 1)
    assert [(e["edge"], e["count"]) for e in s.graph.edges()] == [(again, 2)]


def test_a_count_stops_at_its_most() -> None:
    s = Scene()
    s.acquire("ab", 1)
    for _ in range(2):
        assert s.graph.count(s.graph.direct_edge, 2**40 - 2)
    assert [e["count"] for e in s.graph.edges()] == [2**40 - 1]
    assert s.graph.count(s.graph.direct_edge, 1) and not s.graph.count(0, 1)


def test_seen_keys() -> None:
    """Keys are found with their edge, up to a million; then the table starts again rather than to stay full."""
    graph = g.Graph()
    rng = random.Random(3)
    keys = [rng.getrandbits(64) | 1 for _ in range(5000)]
    for i, key in enumerate(keys):
        graph.remember(key, i + 1)
    assert [graph.seen(key) for key in keys] == list(range(1, 5001))
    assert graph.seen(0) == graph.seen(2) == 0
    graph.remember(0, 5)
    graph.remember(keys[0], 77)
    assert (graph.seen(0), graph.seen(keys[0]), graph.stats()["seen"]) == (0, 77, 5000)
    for key in range(2, 2_100_000, 2):
        graph.remember(key, 1)
    assert graph.stats()["seen"] < 1_048_577
    assert graph.seen(2_099_998) == 1


def test_a_circle_that_is_told_is_not_watched() -> None:
    """What cannot become worse may be cached; what may is shown to the graph each time, and older keys die."""
    s = Scene()
    s.acquire("ab", 1)
    epoch = s.graph.epoch()
    assert s.acquire("ba", 1)[0] == g.WATCHED
    assert s.graph.epoch() > epoch
    s.acquire("ba", 2)
    assert s.acquire("ba", 1)[0] == g.KNOWN


def test_a_million_short_threads() -> None:
    """A thread that starts and joins many others keeps a few segments, also where some of them are witnesses."""
    graph = g.Graph()
    main = graph.clock()
    first = main
    node, other = graph.node(), graph.node()
    graph.learn(1, (2, other, 0), [(1, node, E)], clock=main)
    for i in range(100_000):
        child, going_on = graph.clock(main), graph.clock(main)
        graph.unclock(main)
        main = graph.clock(going_on, child) if i % 2 else going_on  # joins every second one
        if i % 2:
            graph.unclock(going_on)
        graph.unclock(child)
        assert graph.stats()["clocks"] <= 8
    assert graph.before(first, main)
    assert not graph.before(main, first) and not graph.before(main, main) and not graph.before(0, main)


def test_a_million_locks_in_turn() -> None:
    """Locks of one class that come and go, each taken under the one before, leave memory as it was."""
    graph = g.Graph(nodes=512, edges=2048)
    node = graph.node()
    after: list[int] = []
    for serial in range(1, 131_072):
        for back in range(1, min(serial, 5)):
            # Newer under older, and the reverse: against the order that the nodes came in.
            pair = [(serial - back, node, E), (serial, node, 0)]
            held, want = pair if serial % 2 else (pair[1], pair[0])
            assert graph.learn(1, (want[0], node, 0), [(held[0], node, E)])[0] in (g.LEARNED, g.KNOWN, g.WATCHED)
        if serial > 64:
            graph.lock_died(serial - 64)
        if serial % 16384 == 0:
            assert graph.fault() is None
            after.append(graph.stats()["bytes"])
    assert graph.stats()["nodes"] <= 66
    assert len(set(after)) == 1


def test_shuffled_dag() -> None:
    """An acyclic program in any sequence is silent; one acquire against it is not."""
    rng = random.Random(11)
    graph = g.Graph()
    nodes = [graph.node() for _ in range(200)]
    rng.shuffle(nodes)
    edges = list(zip(nodes, nodes[1:]))
    for _ in range(2000):
        i, j = sorted(rng.sample(range(200), 2))
        edges.append((nodes[i], nodes[j]))
    rng.shuffle(edges)
    for agent, (a, b) in enumerate(edges):
        assert graph.learn(agent + 1, (b, b, 0), [(a, a, E)])[1] is None
    assert graph.stats()["cyclic"] == 0
    assert found(graph.learn(9999, (nodes[0], nodes[0], 0), [(nodes[-1], nodes[-1], E)])) is not None


def test_a_large_tangle_is_given_up() -> None:
    """Where the search is cut off, that is counted as a filter of its own, and the edges are watched."""
    for budget, reason in ((50, "budget"), (100_000, "gate")):
        s = Scene(budget=budget)
        layers = ["v", "abcd", "efgh", "ijkl"]
        agents = iter(range(1, 1000))
        for here, there in zip(layers, layers[1:]):
            for a in here:
                for b in there:
                    s.acquire(a + b, next(agents))
        for a in layers[-1]:
            s.acquire("x" + a + "u", next(agents))  # x is a gate against the edge that closes the circles
        assert s.acquire("xuv", next(agents))[0] == g.WATCHED
        assert s.filtered() == {reason: 1}
        assert s.graph.fault() is None
