"""Text of any length in a panel of any width: Blender's labels do not wrap by themselves."""

from __future__ import annotations

import re
from functools import lru_cache

import blf
import bpy

from ..translations import explained

_MARGIN = 84  # pixels at scale 1 that the tabs, a panel's and a box's padding take from a region's width
_ICON = 20
CJK, CJK_STOPS = "\u2e80-\u9fff\uff00-\uffef", "\u3001\u3002\uff0c\uff1a\uff1b\uff09\u201d"
"""Characters between which a line may break, and those that must not begin one."""


def draw_wrapped(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """Draw `text` as a column of labels no wider than the region; `icon` stands before the first.

    It is translated as a whole: Blender would look its broken lines up, which nobody translates. Chinese breaks anywhere.
    """
    text = explained(text)
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(wrap(text, context, 0 if icon == "NONE" else _ICON)):
        if icon == "NONE":
            column.label(text=line, translate=False)
        else:
            column.label(text=line, icon=icon if number == 0 else "BLANK1", translate=False)


def wrap(text: str, context: bpy.types.Context, taken: int = 0) -> tuple[str, ...]:
    """Break `text` at spaces so that each line fits the region of `context`, less `taken` pixels, in the interface's font."""
    scale = context.preferences.system.ui_scale or 1.0  # 0 in background mode
    width = context.region.width if context.region else 280 * scale
    points = context.preferences.ui_styles[0].widget.points
    return _broken(text, max(40, int(width - (_MARGIN + taken) * scale)), points * scale)


@lru_cache(maxsize=128)
def _broken(text: str, width: int, size: float) -> tuple[str, ...]:
    blf.size(0, size)
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for space, word in _words(paragraph):
            for number, piece in enumerate(_pieces(word, width)):
                longer = f"{line}{space if number == 0 else ' '}{piece}".strip()
                if line and blf.dimensions(0, longer)[0] > width:
                    lines.append(line)
                    line = piece
                else:
                    line = longer
        lines.append(line)
    return tuple(lines)


def _words(paragraph: str) -> list[tuple[str, str]]:
    """(what stands before it, word); a Chinese character is a word of its own, with the punctuation that follows it."""
    words = []
    for match in re.finditer(rf"(\s*)([{CJK}][{CJK_STOPS}]*|[^\s{CJK}]+)", paragraph):
        words.append((" " if match[1] else "", match[2]))
    return words


def _pieces(word: str, width: int) -> list[str]:
    """`word` itself, or, where it alone is wider than a line (a path), parts that are not."""
    pieces = []
    while len(word) > 1 and blf.dimensions(0, word)[0] > width:
        count = max(1, int(len(word) * width / blf.dimensions(0, word)[0]) - 1)
        pieces.append(word[:count])
        word = word[count:]
    return [*pieces, word]
