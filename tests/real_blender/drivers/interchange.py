"""A sequence exported with a window open: frame by frame with progress, stopped with Esc; a splat file drawn after import."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import empty_scene, hide_rig, import_avatar, look_at, part, settle
from driving import OUT, Steps, findings, press, region, region_box, screenshot, start, view_area, window


def steps() -> Steps:
    empty_scene()
    avatar = import_avatar()
    hide_rig(avatar)
    head = next(obj for obj in avatar.objects if obj.lookalike.role == "HEAD")
    look_at(head, 0.4, 0.75)
    bpy.context.scene.frame_set(7)
    yield from settle()
    findings["box"] = region_box()
    screenshot("avatar")
    middle = region().x + region().width // 2, region().y + region().height // 2
    findings["started"] = sorted(export("take.ply", 6))
    for _ in range(60):
        yield 0.5
        if len(list(OUT.glob("take_*.ply"))) == 6 and bpy.context.scene.frame_current == 7:
            break
    findings["written"] = sorted(path.name for path in OUT.glob("take_*.ply"))
    findings["frame"] = bpy.context.scene.frame_current
    export("long.ply", 5000)
    yield 2.0
    screenshot("exporting")
    yield from press("ESC", *middle)
    yield 1.0
    stopped = len(list(OUT.glob("long_*.ply")))
    yield 1.0
    findings["stopped"] = [stopped, len(list(OUT.glob("long_*.ply")))]
    findings["frame_after_stop"] = bpy.context.scene.frame_current
    yield from drawn_after_import(avatar)
    findings["error"] = part("viewport").status.last_error


def export(name: str, last: int) -> set[str]:
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        return bpy.ops.lookalike.export_splats("EXEC_DEFAULT", filepath=str(OUT / name), animation=True, first=1, last=last, level="0")


def drawn_after_import(avatar: bpy.types.Collection) -> Steps:
    """The avatar's own file in its place: what the viewport draws must look the same."""
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.lookalike.export_splats("EXEC_DEFAULT", filepath=str(OUT / "whole.ply"))
        bpy.ops.lookalike.delete_avatar()
        bpy.ops.lookalike.import_splats("EXEC_DEFAULT", filepath=str(OUT / "whole.ply"))
    bpy.context.active_object.select_set(False)
    yield from settle()
    screenshot("cloud")
    for path in OUT.glob("*.ply"):
        path.unlink()


start(steps)
