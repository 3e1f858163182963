"""Colours of classes: how a user writes them, and the colour map of PASCAL VOC."""

from __future__ import annotations

import re
from typing import Any

_COLOR = re.compile(r'#[0-9a-fA-F]{6}')


def parse_color(entry: Any) -> str | None:
    """Read a colour, '#rrggbb' or [red, green, blue] of 0 to 255.

    Returns:
        str: '#rrggbb' in lower case; None if the entry is no colour.

    Example:
        >>> parse_color('#00FF00'), parse_color([0, 255, 0]), parse_color(7)
        ('#00ff00', '#00ff00', None)
    """
    if isinstance(entry, str) and _COLOR.fullmatch(entry):
        return entry.lower()
    if isinstance(entry, list | tuple) and len(entry) == 3:
        if all(type(v) is int and 0 <= v <= 255 for v in entry):
            return '#{:02x}{:02x}{:02x}'.format(*entry)
    return None


def voc_color(index: int) -> list[int]:
    """The colour [red, green, blue] of a class in PASCAL VOC's colour map.

    The map spreads the bits of the index over the high bits of the channels.

    Example:
        >>> [voc_color(index) for index in (0, 1, 2, 8)]
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [64, 0, 0]]
    """
    color = [0, 0, 0]
    for bit in range(8):
        color[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return color
