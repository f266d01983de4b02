"""What drawing costs and survives: uploads, level of detail, playback, undo, broken and deleted avatars, add-on off and on."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import PACKAGE, empty_scene, hide_rig, import_avatar, look, part, settle, uploads
from driving import Steps, drag, findings, redraw, region, region_box, screenshot, start, view_area, window


def steps() -> Steps:
    empty_scene()
    avatar = import_avatar()
    avatar.lookalike.lod = "2"
    hide_rig(avatar)
    look()
    yield from settle()
    findings["box"] = region_box()
    yield from idle_and_orbit()
    yield from posing(avatar)
    yield from playback(avatar)
    yield from levels(avatar)
    yield from undo()
    avatar = bpy.data.collections["synthetic"]
    yield from broken(avatar)
    yield from instance(avatar)
    yield from off_and_on()
    yield from other_file()


def idle_and_orbit() -> Steps:
    findings["idle_before"] = uploads()
    for _ in range(10):
        redraw()
        yield 0.1
    findings["idle_after"] = uploads()
    screenshot("before_orbit")
    r = region()
    yield from drag(r.x + r.width * 0.5, r.y + r.height * 0.5, 160, 30)
    yield from settle(0.4)
    findings["orbited"] = uploads()
    screenshot("after_orbit")
    look()
    yield from settle(0.4)


def posing(avatar: bpy.types.Collection) -> Steps:
    before = uploads()
    part("api").set_expressions(avatar, {"mouthSmile": 1.0})
    yield from settle(0.4)
    findings["posed"] = {name: uploads()[name] - before[name] for name in ("geometry_uploads", "appearance_uploads")}
    screenshot("posed")
    before = uploads()
    armature = next(o for o in avatar.objects if o.type == "ARMATURE")
    armature.location.x = 0.1
    yield from settle(0.4)
    findings["moved"] = {name: uploads()[name] - before[name] for name in ("geometry_uploads", "appearance_uploads")}
    armature.location.x = 0.0
    part("api").set_expressions(avatar, {"mouthSmile": 0.0})


def playback(avatar: bpy.types.Collection) -> Steps:
    armature = next(o for o in avatar.objects if o.type == "ARMATURE")
    face = armature.pose.bones["face"]
    for frame, value in ((1, 0.0), (20, 1.5)):
        face["mouthSmile"] = value
        face.keyframe_insert('["mouthSmile"]', frame=frame)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 20
    scene.frame_set(1)
    yield from settle(0.4)
    screenshot("frame_1")
    frames = []
    note = lambda scene, _depsgraph: frames.append(scene.frame_current)
    bpy.app.handlers.frame_change_post.append(note)
    before = uploads()
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.screen.animation_play()
    for _ in range(30):
        yield 1.0
        if len(frames) > 8:
            break
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.screen.animation_cancel(restore_frame=False)
    bpy.app.handlers.frame_change_post.remove(note)
    findings["played"] = {"frames": len(frames), "uploads": uploads()["geometry_uploads"] - before["geometry_uploads"]}
    scene.frame_set(20)
    yield from settle(0.4)
    screenshot("frame_20")
    armature.animation_data.action = None
    face["mouthSmile"] = 0.0
    armature.update_tag()
    scene.frame_set(1)


def levels(avatar: bpy.types.Collection) -> Steps:
    shown = part("avatar.levels").shown_level
    counts = {}
    for level in ("0", "1", "2"):
        avatar.lookalike.lod = level
        yield from settle(0.3)
        counts[level] = uploads()["splats"]
        screenshot(f"lod_{level}")
    findings["splats_by_level"] = counts
    avatar.lookalike.lod = "AUTO"
    automatic = {}
    for name, distance in (("far", 6.0), ("middle", 1.2), ("near", 0.35)):
        look(distance=distance)
        for _ in range(4):
            yield from settle(0.2)
        automatic[name] = shown(avatar)
        screenshot(f"auto_{name}")
    findings["automatic"] = automatic
    avatar.lookalike.lod = "2"
    look()
    yield from settle(0.3)


def undo() -> Steps:
    armature = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    bpy.ops.ed.undo_push(message="before")
    yield from settle(0.3)
    screenshot("undo_before")
    armature.location.x = 0.2
    bpy.context.view_layer.update()
    bpy.ops.ed.undo_push(message="moved")
    yield from settle(0.3)
    screenshot("undo_moved")
    with bpy.context.temp_override(window=window(), area=view_area(), region=region()):
        bpy.ops.ed.undo()
    yield from settle(0.5)
    screenshot("undo_after")


def broken(avatar: bpy.types.Collection) -> Steps:
    """A second avatar loses an attribute: it is reported once and left out, the first one goes on."""
    second = import_avatar()
    second.lookalike.lod = "0"
    armature = next(o for o in second.objects if o.type == "ARMATURE")
    armature.location = (0.18, 0.0, 0.0)
    yield from settle(0.4)
    screenshot("two_avatars")
    splats = next(o for o in second.objects if o.lookalike.role == "SPLATS" and o.lookalike.level == 0)
    modifiers = [m.name for m in splats.modifiers if m.show_viewport]  # the one for final frames stays off
    for name in modifiers:
        splats.modifiers[name].show_viewport = False
    scale = splats.data.attributes["scale"]
    scale.name = "mislaid"
    splats.data.update_tag()
    for _ in range(5):
        yield from settle(0.2)
    findings["broken"] = uploads()
    screenshot("one_broken")
    splats.data.attributes["mislaid"].name = "scale"
    for name in modifiers:
        splats.modifiers[name].show_viewport = True
    splats.data.update_tag()
    part("viewport").retry()
    yield from settle(0.4)
    findings["mended"] = uploads()
    screenshot("mended")
    for obj in list(second.objects):
        bpy.data.objects.remove(obj)
    bpy.data.collections.remove(second)
    yield from settle(0.4)
    findings["deleted"] = uploads()
    screenshot("one_deleted")


def instance(avatar: bpy.types.Collection) -> Steps:
    empty = bpy.data.objects.new("instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", avatar
    empty.location.x = -0.2
    bpy.context.scene.collection.objects.link(empty)
    yield from settle(0.4)
    screenshot("instance")
    bpy.data.objects.remove(empty)


def off_and_on() -> Steps:
    bpy.ops.preferences.addon_disable(module=PACKAGE)
    yield 0.5
    redraw()
    yield 0.3
    screenshot("addon_off")
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    yield 0.5
    yield from settle(0.4)
    screenshot("addon_on")
    findings["after_enabling"] = uploads()


def other_file() -> Steps:
    bpy.ops.wm.read_homefile(app_template="", use_empty=False)
    yield 1.0
    redraw()
    yield 0.3
    findings["other_file"] = uploads()
    screenshot("other_file")


start(steps)
