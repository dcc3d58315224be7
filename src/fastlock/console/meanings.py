"""What meanings look like. Colours are the terminal's own sixteen, so that they suit its background; every meaning has a word as well."""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style

_BOTH = {
    "": "",
    "bad": "bold red",
    "dim": "dim",
    "title": "bold",
    "head": "bold underline",
    "key": "bold",
    "here": "reverse",
    "alarm": "bold reverse",
}
_DARK = {**_BOTH, "warn": "bold yellow", "good": "green", "name": "bold", "owner": "cyan", "age": "yellow", "site": "magenta"}
_LIGHT = {**_BOTH, "warn": "bold magenta", "good": "green", "name": "bold", "owner": "blue", "age": "", "site": "magenta"}


def _styles(meanings: Mapping[str, str]) -> dict[str, Style]:
    return {meaning: Style.parse(look) for meaning, look in meanings.items()}


STYLES = {"ansi-dark": _styles(_DARK), "ansi-light": _styles(_LIGHT)}  # by textual's theme
PLAIN = Style()
CURSOR = Style(reverse=True)


def style(theme: str, meaning: str) -> Style:
    """Return what a meaning looks like; one that is not known looks like any text."""
    return STYLES[theme].get(meaning, PLAIN)
