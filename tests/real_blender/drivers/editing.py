"""Brush, box and lasso as a user's hands do them: tool chosen, dragged over the head, undone, with the header's hints."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
import numpy as np
from avatar_scene import empty_scene, hide_rig, import_avatar, look_at, part, settle
from driving import Steps, event, findings, move, press, region, region_box, screenshot, start, view_area, window


def steps() -> Steps:
    empty_scene()
    avatar = import_avatar()
    name = avatar.name
    hide_rig(avatar)
    head = next(obj for obj in avatar.objects if obj.lookalike.role == "HEAD")
    avatar.lookalike.lod = "2"
    look_at(head, 0.0, 0.75)
    view_area().spaces.active.show_region_toolbar = True
    bpy.ops.ed.undo_push(message="start")
    yield from settle()
    screenshot("start")
    findings["box"] = region_box()
    middle = region().x + region().width // 2, region().y + region().height // 2
    yield from brush(name, middle)
    yield from box(name, middle)
    yield from lasso(name, middle)
    yield from cancelled(name, middle)


def brush(name: str, middle: tuple[int, int]) -> Steps:
    use_tool("lookalike.brush")
    window_settings().radius = 35
    yield from stroke([(middle[0] + dx, middle[1] + 40) for dx in range(-60, 61, 10)], during="brush_during")
    yield from settle()
    screenshot("brush_after")
    findings["brushed"] = hidden(name)
    findings["undo_label"] = last_operator()
    findings["brush_redo"] = redo_properties()
    yield from press("Z", *middle, ctrl=True)
    yield from settle()
    screenshot("brush_undone")
    findings["brush_undone"] = hidden(name)
    window_settings().mode = "MIRROR"
    yield from stroke([(middle[0] + 60, middle[1] + dy) for dy in range(-40, 41, 10)], during="repair_during")
    yield from settle()
    screenshot("repair_after")
    findings["repaired"] = last_operator()
    window_settings().mode = "HIDE"
    yield from press("Z", *middle, ctrl=True)
    yield from settle()


def box(name: str, middle: tuple[int, int]) -> Steps:
    use_tool("lookalike.box")
    yield from stroke([(middle[0] - 300, middle[1] - 60), (middle[0] + 300, middle[1] - 300)], during="box_during")
    yield from settle()
    screenshot("box_after")
    findings["boxed"] = hidden(name)
    yield from stroke([(middle[0] - 300, middle[1] - 60), (middle[0] + 300, middle[1] - 300)], ctrl=True)
    yield from settle()
    findings["box_shown_again"] = hidden(name)


def lasso(name: str, middle: tuple[int, int]) -> Steps:
    use_tool("lookalike.lasso")
    around = [(middle[0] + 70 * np.cos(a), middle[1] + 120 + 60 * np.sin(a)) for a in np.linspace(0, 6.2, 24)]
    yield from stroke(around, during="lasso_during")
    yield from settle()
    screenshot("lasso_after")
    findings["lassoed"] = hidden(name)
    yield from press("Z", *middle, ctrl=True)
    yield from settle()
    findings["lasso_undone"] = hidden(name)


def cancelled(name: str, middle: tuple[int, int]) -> Steps:
    """Esc in the middle of a stroke leaves everything as it was."""
    use_tool("lookalike.brush")
    yield from stroke([(middle[0] + dx, middle[1]) for dx in range(-60, 61, 10)], release="ESC")
    yield from settle()
    screenshot("cancelled")
    findings["cancelled"] = hidden(name)
    findings["error"] = part("viewport").status.last_error


def use_tool(name: str) -> None:
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.wm.tool_set_by_id(name=name)


def window_settings() -> bpy.types.PropertyGroup:
    return bpy.context.window_manager.lookalike_edit


def stroke(points: list, during: str = "", ctrl: bool = False, release: str = "LEFTMOUSE") -> Steps:
    """Press at the first point, drag through the others, let go (or press `release` instead)."""
    yield from move(*points[0])
    event("LEFTMOUSE", "PRESS", *points[0], ctrl=ctrl)
    yield 0.15
    for point in points[1:]:
        event("MOUSEMOVE", "NOTHING", *point)
        yield 0.1
    if during:
        yield 0.3
        screenshot(during)
    event(release, "RELEASE" if release == "LEFTMOUSE" else "PRESS", *points[-1])
    yield 0.4
    if release != "LEFTMOUSE":
        event("LEFTMOUSE", "RELEASE", *points[-1])
        yield 0.2


def hidden(name: str) -> dict[str, int]:
    """How many splats of each level are hidden."""
    host = part("avatar.host")
    splats = part("avatar").splats_of(bpy.data.collections[name])
    return {str(level): int((host.read_attribute(obj.data, "radiance:base")[:, 3] == 0).sum()) for level, obj in splats.items()}


def last_operator() -> str:
    done = bpy.context.window_manager.operators
    return done[-1].name if done else ""


def redo_properties() -> dict[str, object]:
    done = bpy.context.window_manager.operators[-1].properties
    return {"points": len(done.points), "radius": done.radius, "mode": done.mode}


start(steps)
