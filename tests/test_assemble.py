"""What a process is called, and stacks and failures as reports show them."""

from __future__ import annotations

import sys
import types

import pytest

from fastlock import assemble


@pytest.mark.parametrize(
    ("argv", "module", "name"),
    [
        (["/srv/billing-api", "-v"], None, "billing-api"),
        (["-m"], "shop.jobs.__main__", "shop.jobs"),
        (["/srv/shop/__main__.py"], "shop.__main__", "shop"),
        (["/srv/shop.pyz/__main__.py"], None, "shop.pyz"),
        (["-c"], None, "python9"),
        ([""], None, "python9"),
        ([], None, "python9"),
    ],
)
def test_process_name(argv, module, name, monkeypatch):
    """The process is called by its script, else its module, else its interpreter."""
    main = types.ModuleType("__main__")
    main.__spec__ = None if module is None else types.SimpleNamespace(name=module)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python9")
    assert assemble.process_name() == name


def test_stack_from_frame_ends_at_the_innermost():
    """A stack is cut at its outer end and has the source of each line."""
    stack = assemble.stack_from_frame(sys._getframe(), limit=2)
    assert len(stack) == 2
    assert stack[-1].function.endswith("test_stack_from_frame_ends_at_the_innermost")
    assert stack[-1].text == "stack = assemble.stack_from_frame(sys._getframe(), limit=2)"
    assert assemble.stack_from_frame(None) == ()


def test_a_failure_is_told_as_python_tells_one() -> None:
    """With its lines, what led to it first, and whatever its own text does."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise Mute from error

    try:
        fail()
    except Mute as error:
        error.__cause__.__context__ = error  # type: ignore[union-attr]  # a circle, as a program can make one
        lines = assemble.failure().splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [
        "Traceback (most recent call last):",
        "KeyError: 'first'",
        "which led to",
        "Traceback (most recent call last):",
        f"{Mute.__qualname__}: <its text cannot be had: ZeroDivisionError>",
    ]
    assert [line.strip() for line in lines if line.startswith("    ")] == ['raise KeyError("first")', "fail()", "raise Mute from error"]
