"""The saved file in a fresh Blender without a backend: it plays, and draws frame 40 as it was saved."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
from avatar_scene import look_at, part, settle, uploads
from driving import HERE, OUT, Steps, findings, region_box, save_array, screenshot, start
from mathutils import Matrix


def steps() -> Steps:
    bpy.ops.wm.open_mainfile(filepath=str(HERE.parent / "avatar.blend"))
    yield 1.0
    bpy.context.scene.frame_set(1)
    yield from settle()
    findings["box"] = region_box()
    screenshot("frame_1")
    bpy.context.scene.frame_set(40)
    yield from settle()
    screenshot("frame_40")
    findings["uploads"] = uploads()
    findings["backend_running"] = part("client").backend.running
    avatar = next(c for c in bpy.data.collections if c.lookalike.is_avatar)
    head = next(o for o in avatar.objects if o.lookalike.role == "HEAD")
    look_at(head, turn=0.8)
    yield from settle()
    screenshot("turned")
    part("api").export_avatar(avatar, OUT / "exported.lookalike")
    yield from photo_camera(avatar)


def photo_camera(avatar: bpy.types.Collection) -> Steps:
    """LOD 1 in rest, seen by the camera that the fit found for the photo: to be compared with the backend's own picture."""
    avatar.lookalike.lod = "1"
    for obj in avatar.objects:
        if obj.lookalike.role == "HEAD":
            obj.data.shape_keys.animation_data_clear()
            for key in obj.data.shape_keys.key_blocks[1:]:
                key.value = 0.0
        if obj.type == "ARMATURE":
            obj.animation_data_clear()
            for bone in obj.pose.bones:
                bone.rotation_euler = (0, 0, 0)
    bpy.context.view_layer.update()
    yield 0.5
    driver = json.loads(avatar.lookalike.drivers)[0]
    (width, height), k = driver["size"], driver["intrinsics"]
    # OpenCV (y down, z forward) to OpenGL (y up, z backward); Blender's frame (x, -z, y) to the avatar's.
    flip = Matrix.Diagonal((1, -1, -1, 1))
    to_avatar = Matrix(((1, 0, 0, 0), (0, 0, 1, 0), (0, -1, 0, 0), (0, 0, 0, 1)))
    armature = next(o for o in avatar.objects if o.type == "ARMATURE")
    view = flip @ Matrix(driver["world_to_camera"]) @ to_avatar @ armature.matrix_world.inverted()
    near, far = 0.01, 100.0
    projection = Matrix(
        (
            (2 * k[0][0] / width, 0, 1 - 2 * k[0][2] / width, 0),
            (0, 2 * k[1][1] / height, 2 * k[1][2] / height - 1, 0),
            (0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)),
            (0, 0, -1, 0),
        )
    )
    depsgraph = bpy.context.evaluated_depsgraph_get()
    save_array("photo_view", part("viewport.picture").draw_picture(depsgraph, view, projection, (width, height)))


start(steps)
