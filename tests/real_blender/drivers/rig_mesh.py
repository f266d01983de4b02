"""What the rig mesh itself adds to the picture, with its own splats out of the way: a second avatar stands behind it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import empty_scene, hide_rig, import_avatar, look_at, settle
from driving import Steps, click, findings, region, region_box, screenshot, screenshot_when_still, space, start

MODES = (("solid", "SOLID", ""), ("material", "MATERIAL", ""), ("eevee", "RENDERED", "EEVEE"))


def steps() -> Steps:
    empty_scene()
    first, second = import_avatar(), import_avatar()
    rig = {obj.lookalike.role: obj for obj in first.objects if obj.lookalike.role != "SPLATS"}
    for obj in first.objects:
        if obj.lookalike.role == "SPLATS":
            obj.hide_set(True)
    second.lookalike.lod = "1"
    next(obj for obj in second.objects if obj.type == "ARMATURE").location = (0.05, 0.3, 0.0)
    rig["ARMATURE"].location = (0.0, 0.0, 0.0)
    hide_rig(first)
    space().overlay.show_object_origins = False
    look_at(rig["HEAD"], 0.2, 0.9)
    for name, shading, engine in MODES:
        yield from in_mode(name, shading, engine, rig["ARMATURE"], rig["HEAD"])
    findings["box"] = region_box()


def in_mode(name: str, shading: str, engine: str, armature: bpy.types.Object, head: bpy.types.Object) -> Steps:
    scene = bpy.context.scene
    if engine:
        scene.render.engine = next(e for e in engines() if engine in e)
    space().shading.type = shading
    for pose, angle in (("rest", 0.0), ("turned", 0.7)):
        armature.pose.bones["neck"].rotation_euler.y = angle
        for state in ("shown", "hidden"):
            bpy.ops.object.select_all(action="DESELECT")
            head.hide_set(state == "hidden")
            yield from settle()
            yield from screenshot_when_still(f"{name}_{pose}_{state}")
        head.hide_set(False)
    yield from settle()
    r = region()
    bpy.context.view_layer.objects.active = None
    yield from click(r.x + r.width / 2, r.y + r.height / 2)
    active = bpy.context.view_layer.objects.active
    findings[f"{name}_clicked"] = active.name if active and active.select_get() else ""
    yield from settle()
    screenshot(f"{name}_selected")
    space().shading.type = "SOLID"


def engines() -> list[str]:
    return [item.identifier for item in bpy.types.RenderSettings.bl_rna.properties["engine"].enum_items]


start(steps)
