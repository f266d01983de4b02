"""From a photo to a keyed avatar with the mouse: sidebar, Create, progress, the head in the view, keys, save."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import PACKAGE, empty_scene, hide_rig, look_at, part, settle, uploads
from driving import (
    ARGUMENTS,
    HERE,
    OUT,
    Steps,
    click,
    findings,
    move,
    press,
    press_button,
    region,
    region_box,
    screenshot,
    space,
    start,
    window,
)

PATIENCE = 240.0


def steps() -> Steps:
    endpoint = json.loads((HERE.parent / "endpoint.json").read_text())
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    preferences.location, preferences.address, preferences.server_key = "REMOTE", endpoint["address"], endpoint["key"]
    empty_scene()
    yield 0.5
    yield from open_sidebar()
    # What dropping a photo onto the view calls.
    bpy.ops.lookalike.add_photos("INVOKE_DEFAULT", directory=str(HERE.parent), files=[{"name": ARGUMENTS[1]}])
    yield 0.7
    screenshot("photo_added")
    yield from press_button("lookalike.create")
    yield from watch_job()
    yield from settle()
    findings["uploads"] = uploads()
    screenshot("created")
    avatar = next(c for c in bpy.data.collections if c.lookalike.is_avatar)
    findings["avatar"] = {o.name: o.lookalike.role for o in avatar.objects}
    yield from click_on_the_face()
    yield from keys(avatar)
    bpy.ops.wm.save_as_mainfile(filepath=str(OUT / "avatar.blend"))


def open_sidebar() -> Steps:
    r = region()
    x, y = r.x + r.width // 3, r.y + r.height // 3
    yield from move(x, y)
    if not space().show_region_ui:
        yield from press("N", x, y)
    findings["sidebar"] = space().show_region_ui
    yield 0.7
    region("UI").active_panel_category = "Lookalike"
    region("UI").tag_redraw()
    yield 0.7
    findings["tab"] = region("UI").active_panel_category
    screenshot("sidebar")


def watch_job() -> Steps:
    """Until the job has left the panel; notes stages, when each level was there, and how long Blender was busy."""
    state = bpy.context.window_manager.lookalike
    begin = last = time.monotonic()
    stages, levels, slowest, shot = [], {}, 0.0, False
    while True:
        yield 0.05
        now = time.monotonic()
        slowest, last = max(slowest, now - last - 0.05), now
        job = state.jobs[0] if state.jobs else None
        if job is not None and job.stage and job.stage not in stages:
            stages.append(job.stage)
        for obj in bpy.data.objects:
            if obj.lookalike.role == "SPLATS":
                levels.setdefault(obj.lookalike.level, round(now - begin, 2))
        if job is not None and job.fraction > 0.3 and not shot:
            shot = True
            screenshot("progress")
            last = time.monotonic()
        failed = job is not None and job.state in {"FAILED", "CHOOSING"}
        if failed or now - begin > PATIENCE:
            screenshot("failed")
            raise RuntimeError(f"no avatar: {job.state if job else 'time is up'}: {job.error if job else ''}")
        if job is None or job.state == "WARNED":
            break
    findings["job"] = {"stages": stages, "levels": levels, "seconds": round(now - begin, 2), "slowest_tick": round(slowest, 3)}


def click_on_the_face() -> Steps:
    """What a click in the middle of the face selects."""
    bpy.ops.object.select_all(action="DESELECT")
    r = region()
    head = next(o for o in bpy.data.objects if o.lookalike.role == "HEAD")
    middle = sum((head.matrix_world @ v.co for v in head.data.vertices), start=head.location * 0) / len(head.data.vertices)
    flat = space().region_3d.perspective_matrix @ middle.to_4d()
    yield from click(r.x + (0.5 + 0.5 * flat.x / flat.w) * r.width, r.y + (0.5 + 0.5 * flat.y / flat.w) * r.height)
    active = bpy.context.view_layer.objects.active
    findings["clicked"] = active.lookalike.role if active and active.select_get() else ""
    screenshot("clicked")


def keys(avatar: bpy.types.Collection) -> Steps:
    """A performance of 80 frames as an animator keys it; frame 40 is what the reopened file must show."""
    head = next(o for o in avatar.objects if o.lookalike.role == "HEAD")
    armature = next(o for o in avatar.objects if o.lookalike.role == "ARMATURE")
    face = armature.pose.bones["face"]
    jaw, neck = armature.pose.bones["jaw"], armature.pose.bones["neck"]
    for frame, amount in ((1, 0.0), (40, 1.0), (80, 0.0)):
        for name in ("mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft"):
            face[name] = amount
            face.keyframe_insert(f'["{name}"]', frame=frame)
        jaw.rotation_euler.x, neck.rotation_euler.y = 0.25 * amount, 0.4 * amount
        jaw.keyframe_insert("rotation_euler", frame=frame)
        neck.keyframe_insert("rotation_euler", frame=frame)
    bpy.context.scene.frame_end = 80
    bpy.ops.object.select_all(action="DESELECT")
    hide_rig(avatar)
    space().show_region_ui = False
    look_at(head)
    bpy.context.scene.frame_set(1)
    yield from settle()
    screenshot("frame_1")
    bpy.context.scene.frame_set(40)
    yield from settle()
    findings["box"] = region_box()
    screenshot("frame_40")
    findings["shown_level"] = part("avatar.levels").shown_level(avatar)
    findings["windows"] = len(window().screen.areas)


start(steps)
