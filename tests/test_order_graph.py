"""order_graph(): what is in it, how it is drawn, and the file that diffs and merges."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import order_events
from fastlock import order, orderfile
from fastlock.assemble import Sites
from fastlock.errors import ConfigError
from fastlock.findings import Site
from fastlock.order import OrderEdge, OrderGraph
from order_events import arrow, dump, node

STOCK, AUDIT = "stock_lock@shop.py", "audit_lock@audit.py"


def graph(facts: dict[str, Any] | None = None) -> OrderGraph:
    """The graph of a dump."""
    order_events.provide_sources()
    return order.graph_from_dump(facts or dump(), Sites(order_events.site))


def of_edges(*pairs: str) -> OrderGraph:
    """A graph that was loaded, of edges such as "ab"."""
    text = "\n".join(f"{first} -> {then}\t1\t?\t?" for first, then in pairs)
    edges = [OrderEdge(*line) for line in orderfile.read(f"{orderfile.HEADER}\n{text}", "graph")]
    return OrderGraph(_edges=tuple(edges))


# ---- what is in it


def test_edges_have_their_facts() -> None:
    """Orders are sorted by name, with count and first sites, time and agent."""
    edges = graph().edges()
    assert [(edge.first, edge.then, edge.count) for edge in edges] == [
        (AUDIT, STOCK, 3),
        ("config_lock", STOCK, 7),
        (STOCK, AUDIT, 18_204),
    ]
    assert edges[2].held_at == Site("/srv/app/shop.py", 32, "Shop.sell", "with stock_lock:")
    assert edges[2].wanted_at == Site("/srv/app/audit.py", 47, "Audit.add", "with audit_lock:")
    assert (edges[2].first_seen, edges[2].agent) == ("2025-11-04T21:02:11.500+00:00", "replica-1")


def test_cycles_have_tier_and_reasons() -> None:
    """Circles are what the core has judged: classes in their order, tier, reasons and the edges."""
    (cycle,) = graph().cycles()
    assert (cycle.classes, cycle.tier, cycle.reasons) == ((STOCK, AUDIT), "high", ())
    assert [edge.count for edge in cycle.edges] == [18_204, 3]
    circles = [{"high": False, "reasons": ["a wait has a timeout"], "edges": [1, 2]}]
    assert graph({**dump(), "circles": circles}).cycles()[0].reasons == ("a wait has a timeout",)


def test_a_circle_over_an_order_that_only_follows() -> None:
    """With three locks held the circle may go by an order that is not listed: its classes are all there."""
    nodes = {1: node("a"), 2: node("b"), 3: node("c")}
    edges = [arrow(1, 2), arrow(2, 3), arrow(3, 1)]
    circles = [{"high": True, "reasons": [], "edges": [2], "nodes": [1, 3]}]
    (cycle,) = graph(dump(nodes, edges, circles=circles)).cycles()
    assert (cycle.classes, [edge.first for edge in cycle.edges]) == (("a", "c"), ["c"])
    assert graph(dump(nodes, edges, circles=circles)).to_mermaid().splitlines()[-1] == "    linkStyle 2 stroke:red"


def test_an_empty_graph() -> None:
    """A process that never was at level order has an empty graph, which can be drawn and saved."""
    empty = graph(dump({}, []))
    assert (empty.edges(), empty.cycles(), empty.classes) == ([], [], ())
    assert empty.to_mermaid() == "flowchart LR\n"


def test_instances_of_a_class_are_one_class() -> None:
    """Nodes of one name become one; their orders are counted together, and the first one seen tells the sites."""
    nodes = {1: node("account"), 2: node("account"), 3: node("bank")}
    edges = [arrow(3, 1, 4, 3, 4), arrow(3, 2, 5, 1, 2, first_s=order_events.FIRST_S - 1), arrow(1, 2, 2), arrow(2, 1, 1)]
    merged = graph(dump(nodes, edges))
    assert [(edge.first, edge.then, edge.count) for edge in merged.edges()] == [("account", "account", 3), ("bank", "account", 9)]
    held_at = merged.edges()[1].held_at
    assert held_at is not None and held_at.line == 32
    assert merged.classes == ("account", "bank")


def test_the_graph_is_frozen() -> None:
    """A graph is one moment's, and what it hands out does not change it."""
    one = graph(dump(filtered={"gate": 2}))
    with pytest.raises(FrozenInstanceError):
        one.full = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        one.filtered["gate"] = 3  # type: ignore[index]
    one.edges().clear()
    assert len(one.edges()) == 3 and one.filtered == {"gate": 2}


# ---- drawn


def test_dot_marks_circles() -> None:
    """Every class and order is there, and what is in a circle is red."""
    assert graph().to_dot() == (
        'digraph "lock order" {\n'
        "  rankdir=LR;\n"
        f'  "{AUDIT}";\n'
        '  "config_lock";\n'
        f'  "{STOCK}";\n'
        f'  "{AUDIT}" -> "{STOCK}" [label="3", color=red, penwidth=2];\n'
        f'  "config_lock" -> "{STOCK}" [label="7"];\n'
        f'  "{STOCK}" -> "{AUDIT}" [label="18,204", color=red, penwidth=2];\n'
        "}\n"
    )


def test_mermaid_marks_circles() -> None:
    """The same as a flowchart."""
    assert graph().to_mermaid() == (
        "flowchart LR\n"
        f'    n0["{AUDIT}"]\n'
        '    n1["config_lock"]\n'
        f'    n2["{STOCK}"]\n'
        "    n0 -->|3| n2\n"
        "    n1 -->|7| n2\n"
        "    n2 -->|18204| n0\n"
        "    linkStyle 0,2 stroke:red\n"
    )


NASTY = ['quo"te', "back\\slash", "#5;", "<b>", "a\nb", "x]", "größe", "\udc80", "a -> b", "`", "&amp;", ""]


def test_any_name_can_be_drawn() -> None:
    """Names cannot end their quotes, start a line or be taken for markup."""
    nodes = {number: node(name) for number, name in enumerate(NASTY, 1)}
    drawn = graph(dump(nodes, [arrow(number, number % len(NASTY) + 1) for number in nodes]))
    dot, mermaid = drawn.to_dot(), drawn.to_mermaid()
    for text in (dot, mermaid):
        text.encode("utf-8")
        assert len(text.splitlines()) == 2 * len(NASTY) + (3 if text is dot else 1)
    assert all(re.fullmatch(r'    n\d+\["[^"<>`\\]*"\]', line) for line in mermaid.splitlines()[1 : len(NASTY) + 1])
    assert all(re.fullmatch(r'  "(?:[^"\\]|\\["\\])*";', line) for line in dot.splitlines()[2 : len(NASTY) + 2])
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tplain"], input=dot, text=True, check=True, capture_output=True, timeout=60)


# ---- circles of a loaded graph


@pytest.mark.parametrize(
    ("edges", "circles"),
    [
        ([], []),
        (["ab", "bc", "ac"], []),
        (["ab", "ba"], ["ab"]),
        (["aa"], ["a"]),
        (["ab", "bc", "ca", "cd", "de", "ed"], ["abc", "de"]),
        (["ab", "bc", "ca", "ba"], ["ab", "bca"]),
        (["ab", "bc", "cd", "da", "ca"], ["abc", "cdab"]),
    ],
)
def test_circles_of_a_file(edges: list[str], circles: list[str]) -> None:
    """Each order in a circle is in one of the circles that are told, a shortest one; none has been judged."""
    found = of_edges(*edges).cycles()
    assert ["".join(cycle.classes) for cycle in found] == circles
    assert {cycle.tier for cycle in found} <= {"possible"}


def test_circles_of_a_deep_graph() -> None:
    """A chain of a hundred thousand orders is walked without recursion."""
    edges = tuple(OrderEdge(f"{n:06}", f"{n + 1:06}", 1) for n in range(100_000))
    assert OrderGraph(_edges=edges).cycles() == []
    (cycle,) = OrderGraph(_edges=(*edges, OrderEdge("100000", "000000", 1))).cycles()
    assert len(cycle.edges) == 100_001


def test_circles_of_a_file_are_bounded() -> None:
    """Of many circles a hundred are told, and every order in one is red all the same."""
    many = OrderGraph(
        classes=tuple(f"{n:03}" for n in range(300)),
        _edges=tuple(OrderEdge(f"{n:03}", f"{n ^ 1:03}", 1) for n in range(300)),
    )
    assert len(many.cycles()) == 100
    assert many.to_dot().count("color=red") == 300


# ---- the file


def test_the_file_in_full(tmp_path: Path) -> None:
    """The file is sorted, has no line numbers, and the last part of functions' names only."""
    graph().save(tmp_path / "graph.txt")
    assert (tmp_path / "graph.txt").read_bytes().decode("utf-8") == (
        "# fastlock order graph 1\n"
        "audit_lock@audit.py -> stock_lock@shop.py\t3\twrite: with audit_lock:\twrite: with stock_lock:\n"
        "config_lock -> stock_lock@shop.py\t7\t__init__: self._lock = fastlock.Lock()\tsell: with stock_lock:\n"
        "stock_lock@shop.py -> audit_lock@audit.py\t18204\tsell: with stock_lock:\tadd: with audit_lock:\n"
    )


def test_an_edit_above_leaves_the_file(tmp_path: Path) -> None:
    """Moved lines and another directory leave every byte."""
    graph().save(tmp_path / "before.txt")
    moved = {n: (file.replace("/srv", "/opt"), line + 9, *rest) for n, (file, line, *rest) in order_events.SITES.items()}
    order_events.provide_sources(moved)
    order.graph_from_dump(dump(), Sites(lambda n: moved[n][:4] if n else None)).save(tmp_path / "after.txt")
    assert (tmp_path / "after.txt").read_bytes() == (tmp_path / "before.txt").read_bytes()


def test_load_gives_back_what_was_saved(tmp_path: Path) -> None:
    """Classes, counts and source come back; files, lines, times and agents do not."""
    graph().save(tmp_path / "graph.txt")
    loaded = OrderGraph.load(tmp_path / "graph.txt")
    assert loaded.classes == graph().classes
    assert [(e.first, e.then, e.count) for e in loaded.edges()] == [(e.first, e.then, e.count) for e in graph().edges()]
    assert loaded.edges()[2].held_at == Site("", 0, "sell", "with stock_lock:")
    assert (loaded.edges()[2].first_seen, loaded.edges()[2].agent) == ("", "")
    assert loaded.to_dot() == graph().to_dot()
    loaded.save(str(tmp_path / "again.txt"))
    assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "graph.txt").read_bytes()


SOME_TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(NASTY)  # surrogates too
SOME_SITE = st.none() | st.builds(lambda text: Site("", 0, "f", " ".join(text.split())), SOME_TEXT)


@given(st.dictionaries(st.tuples(SOME_TEXT, SOME_TEXT), st.tuples(st.integers(1, 10**12), SOME_SITE, SOME_SITE), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_graph_comes_back(facts: dict[Any, Any]) -> None:
    """Whatever classes are called, a file has one line for each order, in UTF-8, and is read as it was written."""
    lines = [orderfile.Line(first, then, *rest) for (first, then), rest in facts.items()]
    text = orderfile.write(lines)
    assert text.encode("utf-8").count(b"\n") == len(lines) + 1
    assert sorted(orderfile.read(text, "graph"), key=lambda line: line[:2]) == sorted(lines, key=lambda line: line[:2])
    assert orderfile.write(orderfile.read(text.replace("\n", "\r\n"), "graph")) == text


def test_merged_files_are_read() -> None:
    """What two branches added is accepted in any order; of an order that both have the greater count is kept."""
    text = f"{orderfile.HEADER}\nb -> a\t5\t?\t?\n\n# a comment\na -> b\t2\t?\tf: x\nb -> a\t9\t?\t?\na -> b\t1\t?\t?\n"
    assert orderfile.read(text, "graph") == [
        orderfile.Line("b", "a", 9, None, None),
        orderfile.Line("a", "b", 2, None, Site("", 0, "f", "x")),
    ]


H = orderfile.HEADER + "\n"
GARBAGE = {
    "empty": (b"", "{} is no order graph: its first line is not '# fastlock order graph 1'"),
    "other text": (b"digraph x {\n", "{} is no order graph"),
    "later version": (b"# fastlock order graph 2\n", "{} is an order graph of version 2, which this fastlock does not know"),
    "not UTF-8": (b"# fastlock order graph 1\n\xff", "{} is no order graph: it is not UTF-8"),
    "no arrow": (f"{H}a\t1\t?\t?".encode(), "{}, line 2: not of the form 'first -> then', count, held and wanted with tabs"),
    "too few": (f"{H}\na -> b\t1\t?".encode(), "{}, line 3: not of the form"),
    "too many": (f"{H}a -> b\t1\t?\t?\t?".encode(), "{}, line 2: not of the form"),
    "no count": (f"{H}a -> b\tx\t?\t?".encode(), "{}, line 2: a count must be a whole number, at least 1, and not 'x'"),
    "zero": (f"{H}a -> b\t0\t?\t?".encode(), "{}, line 2: a count must be"),
    "digits of another script": (f"{H}a -> b\t٣\t?\t?".encode(), "{}, line 2: a count must be"),
    "no place": (f"{H}a -> b\t1\tx\t?".encode(), "{}, line 2: a place must be 'function: source text' or '?', and not 'x'"),
    "no character": (f"{H}\\Uffffffff -> b\t1\t?\t?".encode(), "{}, line 2: no such character: '\\\\Uffffffff'"),
    "merge conflict": (f"{H}<<<<<<< HEAD\na -> b\t1\t?\t?".encode(), "{}, line 2: a merge conflict; both sides may stay"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    """What is no order graph is an error of ours that names file and line."""
    path = tmp_path / "graph.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        OrderGraph.load(path)
    assert str(caught.value).startswith(message.format(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "reason"), [("missing", "No such file or directory"), (".", "Is a directory")])
def test_files_that_cannot_be_read_or_written(name: str, reason: str, tmp_path: Path) -> None:
    """Reading is a ConfigError with the system's reason, writing the OSError itself."""
    with pytest.raises(ConfigError, match=f"cannot be read: {reason}"):
        OrderGraph.load(tmp_path / name)
    with pytest.raises(OSError):
        graph().save(tmp_path / name / "graph.txt" if name != "." else tmp_path)
