"""The records of what is imported at each start: to who uses them they are dataclasses and named tuples."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
import typing

import pytest

import fastlock
from fastlock import lean
from fastlock.findings import Finding, Snapshot

PUBLIC = [each for each in vars(sys.modules[Finding.__module__]).values() if isinstance(each, type) and dataclasses.is_dataclass(each)]


@lean.dataclass(frozen=True)
class Place:
    file: str
    line: int = 1
    note: str = lean.field(default="", repr=False)
    seen: object = lean.field(repr=False, default=None)


@lean.dataclass(frozen=True)
class Named(Place):
    name: str = "it"


@dataclasses.dataclass(frozen=True)
class Real:
    file: str
    line: int = 1
    note: str = dataclasses.field(default="", repr=False)
    seen: object = dataclasses.field(repr=False, default=None)


class Pair(lean.NamedTuple):
    left: int
    right: str = "r"

    def both(self) -> str:
        return f"{self.left}{self.right}"


class RealPair(typing.NamedTuple):
    left: int
    right: str = "r"


@pytest.mark.parametrize("record", [Place, Real])
def test_a_record_is_a_frozen_dataclass(record: typing.Any) -> None:
    """Arguments, defaults, equality, hash, repr, immutability and what the modules dataclasses, copy, pickle and inspect make of it."""
    one = record("a.py", note="n")
    assert (one.file, one.line, one.note, one.seen) == ("a.py", 1, "n", None)
    assert one == record(file="a.py", line=1, note="n") != record("a.py", 2)
    assert one != ("a.py", 1, "n", None) and len({one, record("a.py", 1, "n"), record("b.py")}) == 2
    assert repr(one) == f"{record.__name__}(file='a.py', line=1)"
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'line'"):
        one.line = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'line'"):
        del one.line
    assert dataclasses.is_dataclass(record) and dataclasses.is_dataclass(one)
    assert [(field.name, field.repr, field.default) for field in dataclasses.fields(one)][1:3] == [("line", True, 1), ("note", False, "")]
    assert dataclasses.replace(one, line=3) == record("a.py", 3, "n")
    assert dataclasses.asdict(one) == {"file": "a.py", "line": 1, "note": "n", "seen": None} == vars(one)
    assert dataclasses.astuple(one) == ("a.py", 1, "n", None)
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert str(inspect.signature(record)) == "(file: 'str', line: 'int' = 1, note: 'str' = '', seen: 'object' = None) -> None"
    assert record.__match_args__ == ("file", "line", "note", "seen")
    for wrong in ((), ("a", 1, "", None, 5), ("a", 1)):
        with pytest.raises(TypeError):
            record(*wrong, **({"line": 2} if len(wrong) == 2 else {}))
    with pytest.raises(TypeError):
        record("a.py", lime=2)


def test_a_record_may_have_a_base() -> None:
    """The fields of the base come first, one of ours is never equal to one of its base, and a real dataclass may derive from it."""
    assert repr(Named("a", 2, "n", name="x")) == "Named(file='a', line=2, name='x')"
    assert Named("a") != Place("a")
    assert [field.name for field in dataclasses.fields(Named)] == ["file", "line", "note", "seen", "name"]
    derived = dataclasses.make_dataclass("derived", [("more", int, 0)], bases=(Named,), frozen=True)
    assert vars(derived("a", more=4)) == {**vars(Named("a")), "more": 4}


@pytest.mark.parametrize("pair", [Pair, RealPair])
def test_a_named_tuple_is_one(pair: typing.Any) -> None:
    """Names, defaults, and what a tuple is."""
    one = pair(1)
    assert (one.left, one.right, one, len(one)) == (1, "r", (1, "r"), 2)
    assert one == pair(left=1) == pair(1, right="r") and hash(one) == hash((1, "r"))
    assert repr(one) == f"{pair.__name__}(left=1, right='r')"
    assert one._replace(right="s") == (1, "s") and one._asdict() == {"left": 1, "right": "r"}
    assert pair._fields == pair.__match_args__ == ("left", "right")
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one and type(copy.copy(one)) is pair
    for wrong in ((), (1, 2, 3)):
        with pytest.raises(TypeError):
            pair(*wrong)
    with pytest.raises(TypeError):
        pair(1, middle=2)
    with pytest.raises(TypeError):
        pair(1, left=2)
    with pytest.raises(AttributeError):
        one.left = 2
    assert Pair(1).both() == "1r" and not hasattr(Pair(1), "__dict__")


def test_the_public_types_are_dataclasses() -> None:
    """Finding, Snapshot and what they are made of, to whoever takes them apart."""
    assert {Finding, Snapshot} < set(PUBLIC) and len(PUBLIC) == 10
    snapshot = fastlock.snapshot()
    assert dataclasses.asdict(snapshot)["pid"] == snapshot.pid
    assert dataclasses.replace(snapshot, level="off").level == "off"
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.pid = 1  # type: ignore[misc]
