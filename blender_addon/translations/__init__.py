"""What the interface says in other languages. English is the source; a text without a translation stays English."""

from __future__ import annotations

import bpy

from .chinese import CHINESE

_NAME = "lookalike"


def table() -> dict[str, dict[tuple[str, str], str]]:
    """Locale -> (context, English) -> translation, as Blender wants it."""
    entries = {(context, text): said for text, said in CHINESE.items() for context in ("*", "Operator")}
    return {"zh_HANS": entries, "zh_CN": entries}  # its name up to Blender 3.x, still given by some systems


def register() -> None:
    bpy.app.translations.register(_NAME, table())


def unregister() -> None:
    bpy.app.translations.unregister(_NAME)
