"""Renaming an avatar where a user does: its row in the panel's list, the new name, Enter; and Ctrl+Z."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import empty_scene, import_avatar, settle
from driving import Steps, event, findings, move, press, redraw, region, screenshot, space, start


def steps() -> Steps:
    empty_scene()
    import_avatar()
    bpy.ops.ed.undo_push(message="import")  # as the operator itself does where a user calls it
    space().show_region_ui = True
    yield 0.7
    region("UI").active_panel_category = "Lookalike"
    redraw()
    yield from settle()
    x, y = yield from find_row("synthetic")
    yield from edit_row(x, y)
    for letter in "Grace":
        event(letter.upper(), "PRESS", x, y, unicode=letter)
        yield 0.1
        event(letter.upper(), "RELEASE", x, y)
        yield 0.1
    yield from press("RET", x, y)
    yield from settle()
    screenshot("renamed")
    findings["renamed"] = names()
    r = region()
    yield from move(r.x + r.width // 3, r.y + r.height // 3)
    yield from press("Z", r.x + r.width // 3, r.y + r.height // 3, ctrl=True)
    yield from settle()
    screenshot("undone")
    findings["undone"] = names()


def find_row(text: str):
    """Where the list shows `text`: Ctrl+C over a text field copies it."""
    ui = region("UI")
    x = ui.x + ui.width * 0.4
    for y in range(ui.y + ui.height - 10, ui.y + 10, -9):
        bpy.context.window_manager.clipboard = ""
        yield from move(x, y)
        event("C", "PRESS", x, y, ctrl=True)
        yield 0.1
        event("C", "RELEASE", x, y)
        yield 0.1
        if bpy.context.window_manager.clipboard == text:
            return x, y
    screenshot("row_not_found")
    raise LookupError(f"no row with {text} in the sidebar")


def edit_row(x: float, y: float) -> Steps:
    """Ctrl+click, which does what a double click does; simulated events know no double clicks."""
    yield from move(x, y)
    event("LEFTMOUSE", "PRESS", x, y, ctrl=True)
    yield 0.1
    event("LEFTMOUSE", "RELEASE", x, y)
    yield 0.5


def names() -> list[str]:
    avatar = next(c for c in bpy.data.collections if c.lookalike.is_avatar)
    return [avatar.name, *sorted(o.name for o in avatar.objects), *sorted(o.data.name for o in avatar.objects)]


start(steps)
