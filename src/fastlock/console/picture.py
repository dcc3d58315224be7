"""What is on the screen as an SVG, in the colours of a dark or a light terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.color import blend_rgb
from rich.color_triplet import ColorTriplet
from rich.terminal_theme import SVG_EXPORT_THEME, TerminalTheme

_LIGHT = TerminalTheme(
    (252, 252, 252),
    (36, 38, 41),
    [(36, 38, 41), (190, 30, 45), (20, 120, 50), (150, 100, 0), (25, 80, 190), (140, 40, 150), (0, 115, 125), (200, 200, 200)],
    [(100, 104, 110), (220, 50, 65), (30, 150, 70), (175, 125, 10), (50, 110, 220), (165, 70, 175), (0, 140, 150), (240, 240, 240)],
)
_DIM = 0.4  # as rich blends what is dim with the background
_FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def drawn(svg: str, dark: bool) -> str:
    """Return textual's picture without fonts from elsewhere, in the colours of a light terminal unless it is `dark`."""
    svg = _FONT.sub("", svg)
    if dark:
        return svg
    pairs = zip(_colours(SVG_EXPORT_THEME), _colours(_LIGHT), strict=True)
    colours = dict(reversed(list(pairs)))  # rich's white is its text's colour too: text comes first
    return re.sub(r"#[0-9a-f]{6}", lambda found: colours.get(found[0], found[0]), svg)


def _colours(theme: TerminalTheme) -> Sequence[str]:
    """Return every colour of a theme, plain and dim."""
    plain = [theme.background_color, theme.foreground_color, *(theme.ansi_colors[number] for number in range(16))]
    dim = [blend_rgb(colour, theme.background_color, _DIM) for colour in plain[1:]]
    return [ColorTriplet(*colour).hex for colour in (*plain, *dim)]
